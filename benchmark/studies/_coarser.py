"""Patch sets of coarser pixels: block means of another patch set, made once and named by content.

Each patch becomes a smaller one: neighbours are not put together, so a patch of 224 pixels has 22 at a tenth of the
resolution. Brightness temperatures are averaged as such, not as radiances, which differ by little within a cloud and by
more across its edge.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import patchset, splits
from benchmark.api import CLOUD, IGNORE, UserError, code, digest
from benchmark.patchset import Arrays, PatchWriter
from benchmark.studies import _derived

SMALLEST = 16  # rows and columns of a coarse patch, chosen here: fewer hold no field of clouds
KNOWN = 0.5  # of a block: fewer valid, or labelled, pixels give none


def made(store: Path, factor: int, out: Path) -> Path:
    """Return the patch set of block means, with a split of the same patches beside it; made now if it is not there.

    A coarse pixel is invalid, or without label, where fewer than half of its pixels have values, or labels; it is cloud
    where at least half of those with a label are. Strata of classes take that of most pixels, numbers their mean; masks
    of others are left out.

    Args:
        store: the patch set.
        factor: pixels a side that become one; rows and columns that are left over are cut off on both sides.
        out: root of what is kept.

    Raises:
        UserError: patches too small for it.
    """
    arrays = patchset.arrays(store)
    rows, columns = (side // factor for side in arrays.toa.shape[2:])
    if min(rows, columns) < SMALLEST:
        raise UserError(
            f"patches of {arrays.toa.shape[2]}x{arrays.toa.shape[3]} pixels, {factor} times coarser, have {rows}x"
            f"{columns}, and {SMALLEST} are needed: make larger patches, as patches are not put together"
        )
    name = digest(arrays.fingerprint, factor, _code())[:12]
    coarse = out / "data" / f"{store.stem}-coarser{factor}-{name}.zarr"
    return _derived.make(coarse, lambda to: _write(arrays, factor, to), lambda: _parts(store))


def _parts(store: Path) -> tuple[dict[str, tuple[str, ...]], str]:
    given = splits.read(splits.split_path(store), store)
    return given.parts, given.unit


@cache
def _code() -> str:
    return code(Path(__file__))


def _write(arrays: Arrays, factor: int, coarse: Path) -> None:
    """Write the coarse patch set, few patches in memory at a time."""
    gone = ("maps", "label_maps", "schema", "fingerprint")
    attrs: dict[str, Any] = {key: value for key, value in arrays.attrs.items() if key not in gone}
    attrs["coarser"] = {"factor": factor, "of": arrays.fingerprint}
    strata = {name: values for name, values in arrays.strata.items() if _kept(name, values, arrays)}
    legends = {name: legend for name, legend in arrays.legends.items() if name in strata}
    with PatchWriter(coarse, arrays.bands, attrs, legends) as writer:
        for rows, where in _derived.batches(arrays):
            coarser = [block_means(*both, factor) for both in zip(arrays.toa[rows], arrays.mask[rows], strict=True)]
            toa, mask = (np.stack(each) for each in zip(*coarser, strict=True))
            found = {name: np.stack([_stratum(one, factor) for one in values[rows]]) for name, values in strata.items()}
            writer.append(arrays.ids[rows], arrays.scenes[rows], toa, mask, found, **where)


def _kept(name: str, values: np.ndarray, arrays: Arrays) -> bool:
    if name in arrays.attrs.get("maps", ()):
        return False
    return values.ndim == 1 or values.dtype.kind == "f" or values.dtype in (np.dtype(np.uint8), np.dtype(bool))


def _blocks(values: np.ndarray, factor: int) -> np.ndarray:
    """Return (..., rows, columns, factor * factor) of values (..., y, x), cut to whole blocks about the centre."""
    rows, columns = (side // factor for side in values.shape[-2:])
    top, left = ((side % factor) // 2 for side in values.shape[-2:])
    cut = values[..., top : top + rows * factor, left : left + columns * factor]
    parted = cut.reshape(*values.shape[:-2], rows, factor, columns, factor)
    return np.moveaxis(parted, -3, -2).reshape(*values.shape[:-2], rows, columns, factor * factor)


def block_means(toa: np.ndarray, mask: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coarse toa (b, y, x) and mask (y, x) of a patch."""
    labels, valid = _blocks(mask, factor), _blocks(np.isfinite(toa).all(0), factor)
    mean = np.stack([_mean(_blocks(band, factor), valid) for band in toa])
    known = (labels != IGNORE) & valid
    number = known.sum(-1)
    cloud = ((labels == CLOUD) & known).sum(-1) * 2 >= number
    unknown = (number < KNOWN * factor * factor) | np.isnan(mean[0])
    return mean, np.where(unknown, np.uint8(IGNORE), cloud.astype(np.uint8))


def _mean(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the means of the valid values of blocks, NaN where there are too few."""
    number = valid.sum(-1)
    total = np.where(valid, values, 0).sum(-1, dtype=np.float64)
    enough = number >= KNOWN * values.shape[-1]
    return np.where(enough, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _stratum(values: np.ndarray, factor: int) -> np.ndarray:
    """Return a stratum of a patch, (y, x) or of one value, of coarse pixels."""
    values = np.asarray(values)
    if values.ndim == 0:
        return values
    blocks = _blocks(values, factor)
    if values.dtype.kind == "f":
        return _mean(blocks, np.isfinite(blocks)).astype(values.dtype)
    known = np.unique(blocks)
    counts = np.stack([(blocks == value).sum(-1) for value in known])
    return known[counts.argmax(0)].astype(values.dtype)
