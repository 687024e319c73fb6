"""Truth for SLSTR granules: from the product's own flags and probabilities, or from a mask file.

None of the product's flags is truth; each names the bands that it derives from, so that rows that see these bands can
be marked. Labels:

- `summary_cloud` (the default): the summary of the basic tests.
- `cloud:TEST,...`: any of these basic tests.
- `bayes`, `bayes:NAME`: a flag of the Bayesian mask, single_moderate without a name; 255 where it has its fill value.
  The real granule that was looked at (see `datasets._slstr_flags.read`) has none: a pixel without flag is clear there,
  whether or not the mask was made.
- `probability_cloud:P`: the single-view probability is P or more; 255 where there is none, which in that granule is all
  but 5 % of the pixels.
- `file:TEMPLATE`: a mask file, see `datasets._mask_files`.
- `study`: what the EUMETSAT study learned: 0 clear-sky ocean, 1 everything else, land among it. It is no cloud mask.

Pixels that the product leaves unfilled are 255 under every label. Bayesian flags and probabilities are on the 1 km
grid; a 500 m pixel has those of the nearest 1 km pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from benchmark.api import IGNORE, UserError
from datasets import _mask_files, _slstr_flags
from datasets._slstr_flags import TEST_BANDS, has
from datasets._slstr_geometry import coarse_index

DEFAULT = "summary_cloud"
GRAMMAR = "summary_cloud, cloud:TEST,..., bayes[:NAME], probability_cloud:P, file:TEMPLATE or study"
# Maps that are a label, or a threshold of what it is made of: they would be scored against themselves.
SAME = {
    "summary_cloud": "slstr_basic",
    "study": "slstr_basic",
    "bayes": "slstr_bayes",
    "probability_cloud": "slstr_bayes",
}

# Maps that are of the algorithm that made a label without being that label.
KIN = {"cloud": ("slstr_basic",)}

# What a label makes of product, grid and its argument: the mask (0, 1, 255), its source in words, its bands.
Made = tuple[xr.DataArray, str, Sequence[str] | None]


def add(ds: xr.Dataset, product: Path, label: str = DEFAULT) -> xr.Dataset:
    """Return the granule with `mask`, `label_source` and `label_bands`, and without the map that is this label.

    Args:
        ds: a granule of the product, on its own grid.
        product: the .SEN3 folder.
        label: see above.

    Raises:
        UserError: not such a label, or the product or mask file does not have it.
    """
    kind, colon, argument = label.partition(":")
    grid = ds.attrs["provenance"]["grid"]
    unfilled = has(_slstr_flags.read(product, grid)["confidence"], "unfilled")
    if kind + colon == _mask_files.PREFIX:
        labelled = _mask_files.add(ds, product, label)
        return labelled.assign(mask=labelled["mask"].where(~unfilled, np.uint8(IGNORE)))
    if kind not in _KINDS or (colon and not argument):
        raise UserError(f"SLSTR has no label '{label}'; labels are {GRAMMAR}")
    mask, source, bands = _KINDS[kind](product, grid, argument)
    mask = mask.where(~unfilled, IGNORE).astype(np.uint8).drop_attrs()
    maps = {name: value for name, value in ds.attrs["maps"].items() if name != SAME.get(kind)}
    ds = ds.drop_vars([name for name in ds.attrs["maps"] if name not in maps])
    listed = None if bands is None else list(bands)
    kin = [name for name in KIN.get(kind, ()) if name in maps]
    return ds.assign(mask=mask).assign_attrs(maps=maps, label_source=source, label_bands=listed, label_maps=kin)


def _summary(product: Path, grid: str, argument: str) -> Made:
    _refuse("summary_cloud", argument)
    cloud = has(_slstr_flags.read(product, grid)["confidence"], "summary_cloud")
    return cloud, "SLSTR summary_cloud, any of the basic tests", TEST_BANDS["summary_cloud"]


def _tests(product: Path, grid: str, argument: str) -> Made:
    tests = [test.strip() for test in argument.split(",")]
    cloud = has(_slstr_flags.read(product, grid)["cloud"], *tests)
    known = all(test in TEST_BANDS for test in tests)
    bands = tuple(dict.fromkeys(band for test in tests for band in TEST_BANDS[test])) if known else None
    return cloud, f"SLSTR cloud tests: any of {', '.join(tests)}", bands


def _bayes(product: Path, grid: str, argument: str) -> Made:
    flag, coarse = argument or "single_moderate", f"i{grid[1]}"
    bayes = _slstr_flags.read(product, coarse)["bayes"]
    cloud = has(bayes, flag).where(bayes != _slstr_flags.BAYES_FILL, IGNORE)
    return _on(product, grid, cloud.astype(np.uint8)), f"SLSTR Bayesian cloud flag {flag}", TEST_BANDS["bayes"]


def _probability(product: Path, grid: str, argument: str) -> Made:
    try:
        threshold = float(argument)
    except ValueError:
        threshold = float("nan")
    if not 0 < threshold < 1:
        raise UserError(f"label probability_cloud needs a probability between 0 and 1, not '{argument}'")
    flags = _slstr_flags.read(product, f"i{grid[1]}")
    name = "probability_cloud_single"
    if name not in flags:
        raise UserError(f"{product.name} has no {name}, which older processing baselines do not give")
    cloud = (flags[name] >= threshold).where(flags[name].notnull(), IGNORE).astype(np.uint8)
    source = f"SLSTR single-view cloud probability of {threshold:g} or more"
    return _on(product, grid, cloud), source, TEST_BANDS["probability_cloud"]


def _study(product: Path, grid: str, argument: str) -> Made:
    _refuse("study", argument)
    confidence = _slstr_flags.read(product, grid)["confidence"]
    other = has(confidence, "summary_cloud") | ~has(confidence, "ocean")
    source = (
        "definition of the EUMETSAT study, no cloud mask: 0 ocean without SLSTR summary_cloud, 1 everything else, "
        "land among it"
    )
    return other, source, TEST_BANDS["summary_cloud"]


def _on(product: Path, grid: str, values: xr.DataArray) -> xr.DataArray:
    """Bring values of the 1 km grid to the grid that is wanted."""
    return values if grid[0] == "i" else coarse_index(product, grid, f"i{grid[1]}").bring(values)


def _refuse(label: str, argument: str) -> None:
    if argument:
        raise UserError(f"label {label} stands alone, without ':{argument}'")


_KINDS: dict[str, Callable[[Path, str, str], Made]] = {
    "summary_cloud": _summary,
    "cloud": _tests,
    "bayes": _bayes,
    "probability_cloud": _probability,
    "study": _study,
}
