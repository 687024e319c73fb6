"""Truth, strata and pictures of the test part, kept once per split: views need neither data set nor inference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmark import strata
from benchmark._composite import composite, kelvin_range
from benchmark._files import replacing
from benchmark.api import Part
from benchmark.patchset import attributes
from benchmark.plan import Cell
from benchmark.record import PROBABILITIES, Record, write_json
from benchmark.strata import Stratum

STRATA = "strata.npz"


def keep(test: Part, patches: tuple[str, ...], folder: Path) -> None:
    """Write mask.npy (n, y, x) uint8, composite.npy (n, y, x, 3) uint8 and, last, meta.json; once per folder.

    Args:
        test: the test part with every band of the data set.
        patches: its patch ids.
        folder: `<out>/truth/<split hash>`.
    """
    if (folder / "meta.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_array(folder / "mask.npy", test.masks())
    images = [test.images.toa[row] for row in test.images.index]
    kelvin = kelvin_range(images, test.images.bands)
    save_array(folder / "composite.npy", np.stack([composite(toa, test.images.bands, kelvin) for toa in images]))
    write_json(folder / "meta.json", {"patches": list(patches), "scenes": list(test.scenes)})


def keep_strata(store: Path, patches: Sequence[str], mask: np.ndarray, folder: Path) -> dict[str, Stratum]:
    """Return the strata of the test part, kept in STRATA; they are made and written where that is not there yet.

    Args:
        store: the patch set.
        patches: ids of the test patches.
        mask: (n, y, x) their truth.
        folder: `<out>/truth/<split hash>`.
    """
    kept = read_strata(folder)
    if kept is not None:
        return kept
    made = strata.strata(store, patches, mask)
    _write_strata(made, folder / STRATA)
    return made


def complete(store: Path, fingerprint: str, folder: Path) -> None:
    """Keep the strata of test patches that were kept without them, as long as their very patch set is there."""
    if not (folder / "meta.json").exists() or not store.exists():
        return
    if attributes(store)["fingerprint"] == fingerprint:
        patches = json.loads((folder / "meta.json").read_text())["patches"]
        keep_strata(store, patches, np.load(folder / "mask.npy", mmap_mode="r"), folder)


def stored(cell: Cell, kept: Record, out: Path) -> tuple[Path, Path] | None:
    """Return the file of a record's probabilities and the folder of their truth; None where either is not kept.

    Raises:
        ValueError: the truth is that of other patches.
    """
    probabilities, truth = cell.folder(out) / PROBABILITIES, cell.truth(out)
    if not (probabilities.exists() and (truth / "mask.npy").exists()):
        return None
    if _patches(meta := truth / "meta.json", meta.stat().st_mtime_ns) != kept.patches:
        raise ValueError(f"the patches in {truth} are not those of {probabilities.parent}")
    return probabilities, truth


@cache
def _patches(meta: Path, changed: int) -> list[str]:
    """Return the patches that a truth is of; `changed` makes a rewritten file another one."""
    return list(json.loads(meta.read_text())["patches"])


def _write_strata(found: Mapping[str, Stratum], path: Path) -> None:
    columns = {f"codes {name}": stratum.codes for name, stratum in found.items()}
    columns |= {f"labels {name}": np.array(stratum.labels, str) for name, stratum in found.items()}
    columns["version"] = np.array(strata.VERSION)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **columns)


def read_strata(folder: Path) -> dict[str, Stratum] | None:
    """Return the strata that were kept in a folder; None where there are none, or they are of another version."""
    if not (folder / STRATA).exists():
        return None
    with np.load(folder / STRATA, allow_pickle=False) as found:
        if int(found["version"]) != strata.VERSION:
            return None
        names = [name.removeprefix("codes ") for name in found.files if name.startswith("codes ")]
        return {name: Stratum(tuple(found[f"labels {name}"].tolist()), found[f"codes {name}"]) for name in names}


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a .npy file to a temporary name and rename it."""
    values = np.ascontiguousarray(values)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        # Plain writes: where the disk is full, np.save says how much was written and not why.
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(values))
        stream.write(values.data)
