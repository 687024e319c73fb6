"""What a patch set holds, as tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich.table import Table

from benchmark.api import BRIGHTNESS_TEMPERATURE, CLEAR, CLOUD, ELEVATION, IGNORE, REFLECTANCE
from benchmark.patchset import Arrays
from benchmark.splits import PARTS, Split

UNITS = {REFLECTANCE: "fraction", BRIGHTNESS_TEMPERATURE: "K", ELEVATION: "m"}
SAMPLE = 64
SHOWN = 8


def all_tables(arrays: Arrays, split: Split | None) -> list[Table]:
    """Return the tables of bands, parts and, where there are any, strata."""
    tables = [_bands(arrays), _parts(arrays, split)]
    return [*tables, _strata(arrays)] if arrays.strata else tables


def _table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _sample(arrays: Arrays) -> np.ndarray:
    """Return positions of at most SAMPLE patches, evenly spread."""
    count = len(arrays.ids)
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(int))


def _bands(arrays: Arrays) -> Table:
    table = _table("bands", ("band", "role", "unit"), ("um", "1 %", "median", "99 %"))
    rows = _sample(arrays)
    for channel, band in enumerate(arrays.bands):
        ranks = np.nanpercentile(arrays.toa[rows, channel], (1, 50, 99))
        wavelength = f"{band.wavelength:.3f}" if band.wavelength else ""
        table.add_row(band.name, band.role, UNITS[band.quantity], wavelength, *(f"{rank:.4g}" for rank in ranks))
    if len(rows) < len(arrays.ids):
        table.caption = f"values of {len(rows)} patches"
    return table


def _parts(arrays: Arrays, split: Split | None) -> Table:
    title = f"parts, split by {split.unit}" if split else "parts: there is no split"
    table = _table(title, ("part",), ("patches", "scenes", "cloud", "ignored"))
    parts = {part: split.parts[part] for part in PARTS} if split else {"all": arrays.ids}
    for part, ids in parts.items():
        rows = arrays.positions(ids)
        counts = np.sum([np.bincount(arrays.mask[row].ravel(), minlength=256) for row in rows], axis=0)
        cloud = counts[CLOUD] / (counts[CLOUD] + counts[CLEAR])
        ignored = counts[IGNORE] / counts.sum()
        scenes = len({arrays.scenes[row] for row in rows})
        table.add_row(part, str(len(rows)), str(scenes), f"{cloud:.1%}", f"{ignored:.1%}")
    return table


def _strata(arrays: Arrays) -> Table:
    table = _table("strata", ("stratum", "of", "values"), ())
    for name in sorted(arrays.strata.keys() - set(arrays.attrs.get("metadata", ()))):
        values = arrays.strata[name]
        sample = np.asarray(values if values.ndim == 1 else values[_sample(arrays)])
        of = "patch" if values.ndim == 1 else "pixel"
        table.add_row(name, of, _values(sample, arrays.legends.get(name, {})))
    return table


def _values(values: np.ndarray, legend: dict[int, str]) -> str:
    if values.dtype.kind == "f":
        return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}" if np.isfinite(values).any() else "unknown"
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    known = {255: "unknown"} | legend if legend else {}
    shares = [f"{known.get(found[place], found[place])} {counts[place] / values.size:.0%}" for place in order]
    return ", ".join(shares) + (", ..." if len(found) > SHOWN else "")
