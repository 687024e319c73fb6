"""Confusion counts inside strata: surface, optical depth, cloud phase, biome and whatever else a patch set holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark import patchset, scores
from benchmark.api import IGNORE

# Edges between thin, medium and thick cloud: 0.3 is the usual limit of what counts as cloud in an imager's mask.
OPTICAL_DEPTH = {"below 0.3": 0.0, "0.3 to 1": 0.3, "1 to 3": 1.0, "above 3": 3.0}
MOST_CLASSES = 32  # an integer stratum with more values is a measurement, not a class

Counts = dict[str, dict[str, list[list[int]]]]


def counts(store: Path, patches: Sequence[str], cloud: np.ndarray, mask: np.ndarray) -> Counts:
    """Return stratum -> value -> counts per patch, [true clear, false cloud, missed cloud, true cloud].

    Args:
        store: the patch set.
        patches: ids of the patches.
        cloud: (n, y, x) the method's mask.
        mask: (n, y, x) the truth.
    """
    arrays = patchset.arrays(store)
    index = arrays.positions(patches)
    found: Counts = {}
    # What names a patch, and other people's masks, are no strata.
    apart = {*arrays.attrs.get("metadata", ()), *arrays.attrs.get("maps", ())}
    for name, values in arrays.strata.items():
        if name in apart:
            continue
        classes = _classes(name, np.asarray(values[index]), arrays.legends.get(name, {}))
        if classes is not None:
            found[name] = {label: _inside(cloud, mask, where) for label, where in classes.items() if where.any()}
    return found


def _classes(name: str, values: np.ndarray, legend: dict[int, str]) -> dict[str, np.ndarray] | None:
    """Return label -> boolean (n, y, x) or (n,) of a stratum; None for a continuous one that has no classes."""
    if name == "optical_depth":
        edges = list(OPTICAL_DEPTH.values())
        place = np.digitize(values, edges) - 1
        return {label: (place == i) & (values > 0) for i, label in enumerate(OPTICAL_DEPTH)}
    known = np.unique(values)
    if values.dtype.kind == "f" or len(known) > MOST_CLASSES:
        return None
    return {legend.get(_key(value), str(value)): values == value for value in known}


def _key(value: np.generic) -> int:
    """Return a stratum's value as a key of its legend; text has none."""
    return int(value) if value.dtype.kind in "iub" else -1


def _inside(cloud: np.ndarray, mask: np.ndarray, where: np.ndarray) -> list[list[int]]:
    """Return counts per patch of the pixels, or whole patches, at `where`."""
    inside = where if where.ndim == mask.ndim else where[:, None, None]
    return scores.confusion(cloud, np.where(inside, mask, IGNORE)).tolist()
