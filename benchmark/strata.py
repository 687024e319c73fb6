"""Strata: parts of the test pixels that are scored apart, and the confusion counts inside them.

They come from three places: what a patch set holds (surface, optical depth, cloud phase, biome, ...), what follows from
that (coast, sun zenith of a patch), and what follows from the truth alone (size of a cloud, distance to its edge). All
of them are kept once beside the truth (`evidence.keep_strata`), so no score in a stratum needs the patch set again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark import patchset, scores
from benchmark.api import CLEAR, CLOUD, IGNORE
from benchmark.boundary import within

VERSION = 1  # raise it when a stratum changes its meaning: kept strata are made anew
NONE = 255  # code of a pixel that is in no class of a stratum
MOST_CLASSES = 32  # an integer stratum with more values is a measurement, not a class
COAST = 2  # pixels between a pixel of the coast and the other side of the shoreline, at most; chosen here

Counts = dict[str, dict[str, list[list[int]]]]


@dataclass(frozen=True)
class Cut:
    """How a continuous quantity is cut: label -> lower limit of its class, which belongs to it; where that is from."""

    limits: Mapping[str, float]
    source: str


CUTS = {
    "optical_depth": Cut(
        {"below 0.3": 0.0, "0.3 to 1": 0.3, "1 to 3": 1.0, "above 3": 3.0},
        "0.3 is where an imager's mask is usually said to begin (from memory), and the simulator's truth does; 1 and 3 "
        "chosen here, half a decade apart",
    ),
    "sun": Cut(
        {"0-40": 0.0, "40-60": 40.0, "60-75": 60.0, "above_75": 75.0},
        "sun zenith in degrees, as the data sets of products cut it; chosen here, 75 is the simulator's lowest sun",
    ),
    "view": Cut(
        {"0-20": 0.0, "20-40": 20.0, "40-55": 40.0, "above_55": 55.0},
        "view zenith in degrees, as the data sets of products cut it; chosen here, 55 is SLSTR's oblique view",
    ),
    "cloud_size": Cut(
        {"below 10": 1.0, "10 to 99": 10.0, "100 to 999": 100.0, "1000 to 9999": 1000.0, "10000 and more": 10000.0},
        "pixels of a cloud of the truth; decades",
    ),
    "edge_distance": Cut(
        {"1": 1.0, "2": 2.0, "3-4": 3.0, "5-8": 5.0, "above 8": 9.0},
        "pixels to the nearest pixel of the other class of the truth; powers of two",
    ),
}
# Name in a patch set -> name of the stratum that it is cut into.
CONTINUOUS = {"optical_depth": "optical_depth", "sun_zenith": "sun", "view_zenith": "view"}


@dataclass(frozen=True)
class Stratum:
    """A partition of pixels or of patches: its classes, and of each pixel (n, y, x) or patch (n,) which, uint8."""

    labels: tuple[str, ...]
    codes: np.ndarray


def strata(store: Path, patches: Sequence[str], mask: np.ndarray) -> dict[str, Stratum]:
    """Return all strata of some patches by name.

    Args:
        store: the patch set.
        patches: ids of the patches.
        mask: (n, y, x) their truth.
    """
    return of_store(store, patches) | of_truth(mask)


def of_store(store: Path, patches: Sequence[str]) -> dict[str, Stratum]:
    """Return the strata of some patches that a patch set holds, and those that follow from them."""
    arrays = patchset.arrays(store)
    index = arrays.positions(patches)
    # What names a patch, and other people's masks, are no strata.
    apart = {*arrays.attrs.get("metadata", ()), *arrays.attrs.get("maps", ())}
    values = {name: np.asarray(each[index]) for name, each in arrays.strata.items() if name not in apart}
    values.setdefault("sun_zenith", arrays.sun_zenith[index])
    found: dict[str, Stratum] = {}
    for name, each in values.items():
        stratum = _classes(name, each, arrays.legends.get(name, {}))
        # A product's own classes of an angle go before the angle of the patch's centre.
        if stratum is not None and (CONTINUOUS.get(name, name) == name or CONTINUOUS[name] not in values):
            found[CONTINUOUS.get(name, name)] = stratum
    if "land" in values and values["land"].ndim == 3 and "coast" not in arrays.legends.get("surface", {}).values():
        found["coast"] = _coast(values["land"])
    return {name: stratum for name, stratum in found.items() if (stratum.codes != NONE).any()}


def _classes(name: str, values: np.ndarray, legend: Mapping[int, str]) -> Stratum | None:
    """Return the stratum of a variable of a patch set; None for a measurement that nobody has cut into classes."""
    if name in CONTINUOUS:
        positive = values > 0 if name == "optical_depth" else np.isfinite(values)
        return _cut(CONTINUOUS[name], values, positive)
    known, codes = np.unique(values, return_inverse=True)
    if values.dtype.kind == "f" or len(known) > MOST_CLASSES:
        return None
    codes = codes.reshape(values.shape).astype(np.uint8)
    unknown = [place for place, value in enumerate(known) if _key(value) == IGNORE and IGNORE not in legend]
    codes[np.isin(codes, unknown)] = NONE
    return Stratum(tuple(legend.get(_key(value), str(value)) for value in known), codes)


def _key(value: np.generic) -> int:
    """Return a stratum's value as a key of its legend; text has none."""
    return int(value) if value.dtype.kind in "iub" else -1


def _cut(name: str, values: np.ndarray, where: np.ndarray) -> Stratum:
    """Return a quantity cut into the classes of CUTS; pixels not at `where` are in none."""
    limits = CUTS[name].limits
    place = np.digitize(values, list(limits.values())) - 1
    return Stratum(tuple(limits), np.where(where & (place >= 0), place, NONE).astype(np.uint8))


def _coast(land: np.ndarray) -> Stratum:
    """Return whether pixels are at a coast, of land (1) and water (0), (n, y, x)."""
    codes = np.full(land.shape, NONE, np.uint8)
    for code, here in zip(codes, land, strict=True):
        sides = [(here == kind).astype(np.uint8) for kind in (0, 1)]
        near = [within(side, COAST) for side in sides]
        code[here <= 1] = (near[0] & near[1])[here <= 1]
    return Stratum(("no", "yes"), codes)


def of_truth(mask: np.ndarray) -> dict[str, Stratum]:
    """Return the strata that follow from the truth (n, y, x) alone.

    - `cloud_size`: area of the cloud that a pixel of cloud belongs to, 8-connected. Clouds that the edge of a patch or
      a pixel without truth cuts off are as large as what is seen of them.
    - `cloud_side` and `clear_side`: distance (chessboard) of pixels of cloud to the nearest clear pixel of the patch,
      and of clear pixels to the nearest cloud. Beyond the patch nothing is known, so "above 8" holds all pixels of a
      patch with one class.
    """
    size, cloud_side, clear_side = (np.full(mask.shape, NONE, np.uint8) for _ in range(3))
    for place, truth in enumerate(mask):
        cloud, clear = ((truth == kind).astype(np.uint8) for kind in (CLOUD, CLEAR))
        size[place] = _sizes(cloud)
        cloud_side[place], clear_side[place] = _distances(cloud, clear), _distances(clear, cloud)
    edges = tuple(CUTS["edge_distance"].limits)
    sides = {"cloud_side": Stratum(edges, cloud_side), "clear_side": Stratum(edges, clear_side)}
    return {"cloud_size": Stratum(tuple(CUTS["cloud_size"].limits), size), **sides}


def _sizes(cloud: np.ndarray) -> np.ndarray:
    """Return the code of `cloud_size` of one patch."""
    from scipy.ndimage import label

    which, _ = label(cloud, np.ones((3, 3)))
    areas = np.bincount(which.ravel())
    areas[0] = 0  # what is no cloud
    return _cut("cloud_size", areas, areas > 0).codes[which]


def _distances(side: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the code of the distance of one patch's pixels of a side (0 or 1) to the other."""
    limits = [int(limit) for limit in CUTS["edge_distance"].limits.values()]
    codes = np.where(side == 1, len(limits) - 1, NONE).astype(np.uint8)
    for place in range(len(limits) - 2, -1, -1):
        codes[(side & within(other, limits[place + 1] - 1)) == 1] = place
    return codes


def count(found: Mapping[str, Stratum], cloud: np.ndarray, mask: np.ndarray) -> Counts:
    """Return stratum -> class -> counts per patch, [true clear, false cloud, missed cloud, true cloud].

    Classes without a pixel that has truth are left out.

    Args:
        found: strata of these patches.
        cloud: (n, y, x) bool, the method's mask.
        mask: (n, y, x) the truth.
    """
    whole = scores.confusion(cloud, mask)
    ends = np.where(mask == IGNORE, 4, 2 * (mask == CLOUD) + cloud).astype(np.uint16)
    tables = {name: np.zeros((len(mask), NONE + 1, 4), np.int64) for name in found}
    for place, end in enumerate(ends):  # patch by patch, as the processor's cache holds one
        for name, stratum in found.items():
            codes = stratum.codes[place]
            if codes.ndim == 0:
                tables[name][place, codes] = whole[place]
            else:
                pairs = codes.astype(np.uint16) * 8 + end
                tables[name][place] = np.bincount(pairs.ravel(), minlength=8 * (NONE + 1)).reshape(-1, 8)[:, :4]
    return {
        name: {label: tables[name][:, i].tolist() for i, label in enumerate(one.labels) if tables[name][:, i].any()}
        for name, one in found.items()
    }
