"""Pretraining without labels: from a data set to a checkpoint that rows load as they load one of the hub.

Written into `<out>/pretrained/`: `<backbone>-simpretrained.safetensors`, beside it a JSON of what it came from, and
pictures of losses and reconstructions. Only the train part of the data is read, an eighth of its scenes held out to
judge by: neither validation nor test patches of a benchmark on the same patch set are ever seen. Patches of another
size are another patch set, with a split of its own, so the size can be chosen only where patches are simulated.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmark import _pretrain_pictures as pictures
from benchmark import bands, catalog, data, environment, patchset, splits
from benchmark._files import alone, checksum
from benchmark.api import HLS_ROLES, Budget, Context, Images, NotRun, UserError, digest
from benchmark.profiles import Profile
from benchmark.record import write_json

SCHEMA = 1
PATCHES = 256  # that a source makes where the user names no number
SIZE = 224  # of its patches, likewise
HELD = 8  # of so many scenes one is held out
SHOWN = 4  # patches in the picture
TOLD = ("data", "epochs", "batch", "lr", "mask_ratio", "seed")  # of a checkpoint that is in the way


class Pretraining(Protocol):
    """What a module of `models` holds as PRETRAIN: a dataclass whose fields are its hyperparameters.

    `fingerprint` pins the fields and the code, `history_` has one dict an epoch.
    """

    fingerprint: str
    history_: list[dict[str, float]]

    def check(self) -> None:
        """Raise UserError where a field is impossible."""

    def fit(self, train: Images, val: Images, ctx: Context) -> None:
        """Learn from `train` and judge by `val`; go on with what was begun in ctx.training."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights under their names in a checkpoint."""

    def reconstruct(self, images: Images, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is made of patches (n, b, y, x), and what was hidden of them (n, y, x) bool."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        backbone: name in TerraTorch's registry.
        data: data source that needs no files, Zarr store, or folder of patches.
        patches: patches to use, those held out included; None: a source makes PATCHES, given data are used whole.
        size: rows and columns of patches that a source makes; None: SIZE; given data have a size.
        epochs: passes over the patches.
        batch: patches a step.
        lr: highest learning rate.
        mask_ratio: share of tokens that is hidden.
        seed: of weights, order and what is hidden.
        device: torch device.
        out: root of what is kept.
        fresh: replace a checkpoint that is there, whatever it is from.
    """

    backbone: str
    data: str
    patches: int | None
    size: int | None
    epochs: int
    batch: int
    lr: float
    mask_ratio: float
    seed: int
    device: str
    out: Path
    fresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """The checkpoint, the facts in the JSON beside it, and whether both were there already."""

    path: Path
    facts: dict[str, Any]
    kept: bool


def pretrain(asked: Asked, making: Callable[[int, int], None], report: Callable[..., None]) -> Outcome:
    """Pretrain a backbone and write checkpoint, JSON and pictures; what the same request has left is kept.

    Args:
        asked: what the user asked for.
        making: called with patches made and patches in all.
        report: called once an epoch with its number and losses.

    Raises:
        UserError: no such backbone, data that it cannot be pretrained on, a checkpoint of another request is there, or
            another process is at the same work.
    """
    method: Pretraining = catalog.pretraining()(asked.backbone, asked.mask_ratio, asked.lr)
    method.check()
    if asked.size is not None and asked.data not in catalog.sources():
        raise UserError("--size is for data sets that are simulated; those of a folder or patch set have their size")
    _, store = data.prepare(asked.data, _profile(asked), asked.out, making)
    seen, held = _parts(store, asked)
    key = digest(SCHEMA, method.fingerprint, seen.fingerprint, held.fingerprint, asked.epochs, asked.batch, asked.seed)
    path = asked.out / "pretrained" / f"{asked.backbone}-simpretrained.safetensors"
    with alone(path.with_suffix(".lock"), f"another process is pretraining {path.name}"):
        facts = None if asked.fresh else _finished(path, key)
        if facts is not None:
            return Outcome(path, facts, True)
        training = path.parent / "unfinished" / key[:16]
        ctx = Context(asked.seed, asked.device, Budget(asked.epochs, asked.batch), report=report, training=training)
        seconds = _fit(method, seen, held, ctx)
        facts = {"key": key, **_facts(asked, store, seen, held), "history": method.history_, "seconds": seconds}
        facts = _write(path, method.tensors(), facts)
        _draw(path, method, held, asked.seed)
        shutil.rmtree(training, ignore_errors=True)
    return Outcome(path, facts, False)


def _profile(asked: Asked) -> Profile:
    """Return how much a source should make; it knows no data set without validation and test patches."""
    return Profile("pretrain", (), {"train": asked.patches or PATCHES, "val": 1, "test": 1}, size=asked.size or SIZE)


def _parts(store: Path, asked: Asked) -> tuple[Images, Images]:
    """Return patches to learn from and to judge by, both of the train part, with no scene in common."""
    entries = bands.choose(patchset.arrays(store).bands, ",".join(HLS_ROLES))
    part = data.open_part(store, splits.read(splits.split_path(store), store), entries, "train", ())
    wanted = asked.patches or len(part)
    if wanted > len(part):
        raise UserError(f"{wanted} patches were asked for, and the train part of the data has {len(part)}")
    rows = np.linspace(0, len(part) - 1, wanted).astype(int)
    scenes = [part.scenes[row] for row in rows]
    place = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
    if len(place) < 2:
        raise UserError("pretraining needs patches of two scenes or more in the train part, as it holds some out")
    last = min(HELD, len(place)) - 1
    held = np.array([place[scene] % HELD == last for scene in scenes])
    return part.images.take(rows[~held]), part.images.take(rows[held])


def _fit(method: Pretraining, seen: Images, held: Images, ctx: Context) -> float:
    """Fit, and return the seconds that this took."""
    started = time.perf_counter()
    try:
        method.fit(seen, held, ctx)
    except NotRun as reason:
        raise UserError(str(reason)) from None
    return time.perf_counter() - started


def _facts(asked: Asked, store: Path, seen: Images, held: Images) -> dict[str, Any]:
    values = {name: value for name, value in asdict(asked).items() if name not in ("out", "size", "patches", "fresh")}
    return {
        **values,
        "fingerprint": patchset.attributes(store)["fingerprint"],
        "patches": {"train": len(seen), "held out": len(held)},
        "shape": seen.shape[1:],
        "steps": asked.epochs * -(-len(seen) // asked.batch),
        "environment": environment.describe(asked.device),
    }


def _finished(path: Path, key: str) -> dict[str, Any] | None:
    """Return the facts of a checkpoint that the same request has left, None where there is none or it was changed.

    Raises:
        UserError: the checkpoint that is there is of another request.
    """
    if not path.exists():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        found, sha256 = facts["key"], facts["sha256"]
        what = ", ".join(f"{name} {facts[name]}" for name in TOLD)
    except (OSError, ValueError, KeyError):
        found, sha256, what = "", "", "unknown, as no JSON beside it says"
    if found != key:
        raise UserError(
            f"{path} is there from other options, data or code ({what}); give --fresh to replace it, or another --out"
        )
    return facts if sha256 == checksum(path) else None


def _write(path: Path, tensors: dict[str, np.ndarray], facts: dict[str, Any]) -> dict[str, Any]:
    """Write checkpoint and facts, each whole or not at all; return the facts with the file's checksum."""
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary)
        temporary.chmod(mode)  # safetensors lets nobody else read
        facts = {**facts, "sha256": checksum(temporary)}
        write_json(path.with_suffix(".json"), facts)  # first: a checkpoint whose JSON is missing is nobody's to replace
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return facts


def _draw(path: Path, method: Pretraining, held: Images, seed: int) -> None:
    """Draw the losses, and patches that were held out as they are, as the encoder sees them, and as they come out."""
    pictures.losses(method.history_, path.with_name(f"{path.stem}-losses.png"))
    few = held.take(np.unique(np.linspace(0, len(held) - 1, SHOWN).astype(int)))
    made, hidden = method.reconstruct(few, seed)
    pictures.reconstructions(few.read(), made, hidden, few.bands, path.with_name(f"{path.stem}-reconstruction.png"))
