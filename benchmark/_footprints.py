"""Which patches look at the same place at nearly the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely
from shapely.affinity import translate

# Weather that one part has seen is not new to another: frames of one orbit in two timeliness versions, and the tandem
# of two satellites on one track, are minutes apart, neighbouring orbits less than two hours; another day has other
# clouds over the same ground.
NEAR = np.timedelta64(12, "h")
# Footprints are drawn through the corners of patches, so neighbours whose edges bend can share a sliver.
SLIVER = 0.01


def overlaps(footprints: Sequence[str], times: np.ndarray, groups: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of two patches of different groups whose footprints overlap within hours.

    Args:
        footprints: WKT polygons of longitude and latitude, degrees; "" where unknown.
        times: datetime64[s], NaT where unknown: such patches are near to all.
        groups: name of the group of each patch.
    """
    shapes = [_unwrapped(text) for text in footprints]
    # A polygon near the date line is looked up on both sides of it.
    copies = [(place, translate(shape, turn)) for place, shape in enumerate(shapes) for turn in (-360, 0, 360)]
    tree = shapely.STRtree([shape for _, shape in copies])
    for found, place in zip(*tree.query(shapes, predicate="intersects")[::-1], strict=True):
        other = copies[found][0]
        if groups[other] == groups[place] or _far(times[other], times[place]):
            continue
        shared = shapely.area(shapely.intersection(copies[found][1], shapes[place]))
        if shared > SLIVER * min(shapes[place].area, shapes[other].area):
            yield min(place, other), max(place, other)


def joined(footprints: Sequence[str], times: np.ndarray, groups: Sequence[str]) -> list[str]:
    """Return a name of the group of each patch, where groups that overlap are one."""
    root: dict[str, str] = {group: group for group in groups}
    for first, second in overlaps(footprints, times, groups):
        one, other = sorted((_root(root, groups[first]), _root(root, groups[second])))
        root[other] = one
    return [_root(root, group) for group in groups]


def _root(root: Mapping[str, str], group: str) -> str:
    while root[group] != group:
        group = root[group]
    return group


def _far(first: np.datetime64, second: np.datetime64) -> bool:
    return bool(abs(first - second) >= NEAR) if not (np.isnat(first) or np.isnat(second)) else False


def _unwrapped(text: str) -> shapely.Polygon:
    """Return a footprint whose longitudes run on over the date line instead of jumping by 360 degrees."""
    if not text:
        return shapely.Polygon()
    points = np.asarray(shapely.from_wkt(text).exterior.coords)
    turns = np.unwrap(points[:, 0], period=360)
    return shapely.Polygon(np.column_stack([turns, points[:, 1]]))
