"""What a row sees that the label was made of."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark import bands, patchset
from benchmark.api import Row
from benchmark.plan import SOURCE, UNKNOWN


def missing_maps(row: Row, arrays: patchset.Arrays) -> list[str]:
    """Return the masks of others that a row is, and that these data do not hold."""
    return [name for name in row.reads if name != "land" and name not in arrays.attrs.get("maps", ())]


def circular(row: Row, entries: Sequence[str], arrays: patchset.Arrays) -> tuple[str, ...]:
    """Return the bands that the label derives from and that the row sees, itself or through a mask that it reads.

    SOURCE comes first where the mask is of the algorithm that made the label.
    """
    if row.family == "floor":  # it looks at no band
        return ()
    maps = arrays.attrs.get("maps", {})
    masks = [name for name in row.reads if name in maps]
    seen = {band for name in masks for band in maps[name]} if masks else {bands.true_name(entry) for entry in entries}
    derived = arrays.attrs.get("label_bands")
    found = (UNKNOWN,) if derived is None else tuple(band for band in derived if band in seen)
    return (SOURCE, *found) if set(row.reads) & set(arrays.attrs.get("label_maps", ())) else found
