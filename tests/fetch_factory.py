"""Two small products, and a download of them that soon loses its patience."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_store_server import SECRET, manifest_of

from benchmark.api import UserError
from benchmark.sources import Search
from datasets._slstr_fetch import fetch
from datasets._slstr_manifest import MANIFEST, NEEDED
from datasets._slstr_patience import Patience

ONE = "S3A_SL_1_RBT____20210827T074336_20210827T074636_20210827T094954_0179_075_320_3060_LN2_O_NR_004.SEN3"


TWO = "S3A_SL_1_RBT____20210827T074636_20210827T074936_20210827T095054_0179_075_320_3240_LN2_O_NR_004.SEN3"


HASTY = Patience(opening=3, tries=4, first=0.01, longest=0.02, silence=1.5, total=8.0)


FILE = "S1_radiance_an.nc"


def product(seed: int, names: tuple[str, ...] = (*NEEDED, "met_tx.nc")) -> dict[str, bytes]:
    """Files of a few kilobytes and their manifest."""
    files = {name: bytes((seed * 31 + i * 7 + k) % 251 for k in range(2000 + 13 * i)) for i, name in enumerate(names)}
    return {MANIFEST: manifest_of(files), **files}


SMALL = (FILE, "S8_BT_in.nc", "viscal.nc")


def run(search: Search, patience: Patience = HASTY) -> tuple[int, list[str], list[tuple[int, int]]]:
    said: list[str] = []
    steps: list[tuple[int, int]] = []
    return fetch(search, said.append, lambda *step: steps.append(step), patience), said, steps


def refused(search: Search, patience: Patience = HASTY) -> str:
    """Run a search that has to fail; return its one sentence."""
    with pytest.raises(UserError) as caught:
        run(search, patience)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def whole(out: Path, id: str, files: dict[str, bytes]) -> bool:
    folder = out / id
    return folder.is_dir() and {path.name: path.read_bytes() for path in folder.iterdir()} == files


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.suffix == ".SEN3")
