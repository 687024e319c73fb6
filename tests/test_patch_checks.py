"""Every fault in a patch is one sentence that names it, and leaves no store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as array_strategy

from benchmark import patchset
from benchmark.api import BRIGHTNESS_TEMPERATURE, CLOUD, ELEVATION, IGNORE, REFLECTANCE, Band, UserError
from benchmark.patchset._checks import check_patch

BANDS = (
    Band("S1", "GREEN", 0.554, REFLECTANCE),
    Band("S3", "NIR_NARROW", 0.868, REFLECTANCE),
    Band("S8", "BT_11", 10.854, BRIGHTNESS_TEMPERATURE),
)
HEIGHT = Band("elevation", "ELEVATION", 0.0, ELEVATION)
ATTRS = {"sensor": "test", "label_source": "drawn", "label_bands": [], "licence": "none"}
SIZE = 6


def patch(seed: int = 0, patches: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    toa = rng.uniform(0, 1, (patches, 3, SIZE, SIZE)).astype(np.float32)
    toa[:, 2] = 220 + 80 * toa[:, 2]
    return toa, rng.integers(0, 2, (patches, SIZE, SIZE)).astype(np.uint8)


def change(store: Path, **changes: object) -> None:
    toa, mask = patch()
    values = {"patch_ids": ["x"], "scene": "s", "toa": toa, "mask": mask} | changes
    bands = values.pop("bands", BANDS)
    with patchset.PatchWriter(store, bands, values.pop("attrs", ATTRS)) as writer:
        writer.append(**values)


def scaled(channel: int, factor: float, offset: float = 0) -> np.ndarray:
    toa = patch()[0]
    toa[:, channel] = toa[:, channel] * factor + offset
    return toa


def with_pixel(channel: int, value: float) -> np.ndarray:
    toa = patch()[0]
    toa[0, channel, 0, 0] = value
    return toa


def on_ground(metres: float) -> dict:
    toa = patch()[0]
    toa[:, 2] = metres
    return {"bands": (*BANDS[:2], HEIGHT), "toa": toa}


def with_label(value: int, every: bool = False) -> np.ndarray:
    mask = patch()[1]
    mask[0, :, slice(None) if every else 0] = value
    return mask


FAULTS = [
    ({"mask": with_label(7)}, r"patch 'x' has label value 7; labels are 0, 1 and 255"),
    ({"toa": np.full_like(patch()[0], np.nan)}, r"patch 'x' has no valid pixel"),
    ({"mask": with_label(IGNORE, every=True)}, r"patch 'x' has no labelled pixel"),
    ({"toa": with_pixel(1, np.inf)}, r"patch 'x', band 'S3', holds infinite values"),
    ({"toa": scaled(1, 100)}, r"patch 'x', band 'S3', .* looks like percent"),
    ({"toa": scaled(0, 10_000)}, r"patch 'x', band 'S1', .* looks like a fraction times 10000"),
    ({"toa": with_pixel(0, -9999)}, r"patch 'x', band 'S1', holds reflectance -9999, .* fill value"),
    ({"toa": scaled(2, 1, -273.15)}, r"patch 'x', band 'S8', .* looks like Celsius"),
    ({"toa": scaled(2, 100)}, r"patch 'x', band 'S8', .* looks like a wrong scale"),
    ({"toa": with_pixel(2, 0)}, r"patch 'x', band 'S8', .* temperature 0, .* looks like a fill value"),
    ({"patch_ids": [""]}, r"a patch has an empty id"),
    ({"scene": ""}, r"patch 'x' has an empty scene"),
    ({"toa": patch()[0].astype(np.float64)}, r"toa is float64; it must be float32"),
    ({"mask": patch()[1].astype(bool)}, r"mask is bool; it must be uint8"),
    ({"toa": patch()[0][:, :2]}, r"toa has 2 bands, and the band table has 3"),
    ({"toa": patch()[0][0]}, r"toa has shape \(3, 6, 6\)"),
    ({"mask": patch()[1][:, :3]}, r"mask has shape \(1, 3, 6\)"),
    ({"strata": {"land": with_label(2)}}, r"stratum 'land' holds 2; it must be 0 water, 1 land or 255 unknown"),
    ({"strata": {"land": np.array([1])}}, r"stratum 'land' must be uint8 for each pixel"),
    ({"strata": {"scene": np.array([1])}}, r"stratum 'scene' has the name of another variable"),
    ({"strata": {"dem": np.zeros((2, 2))}}, r"stratum 'dem' has shape \(2, 2\)"),
    ({"strata": {"dem": np.array([None])}}, r"stratum 'dem' has type object"),
    ({"bands": (BANDS[0], BANDS[0])}, r"two bands have the name 'S1'"),
    ({"bands": (BANDS[0], Band("S9", "GREEN", 1.0, REFLECTANCE))}, r"two bands have the role 'GREEN'"),
    ({"bands": (Band("S1", "", 1.0, REFLECTANCE),)}, r"band 1 of the patch set has an empty role"),
    ({"bands": (Band("F3", "FIRE", np.nan, REFLECTANCE),)}, r"unknown role 'FIRE' and no wavelength; roles are BLUE"),
    ({"bands": (Band("S1", "GREEN", np.nan, REFLECTANCE),)}, r"band 'S1' has no wavelength"),
    ({"bands": (Band("S1", "GREEN", 0.5, "radiance"),)}, r"band 'S1' has quantity 'radiance'"),
    ({"bands": ()}, r"the patch set has no bands"),
    ({"bands": (HEIGHT,)}, r"the patch set has no band that a sensor measured"),
    ({"bands": (Band("dem", "ELEVATION", 0.5, REFLECTANCE),)}, r"'dem' is reflectance and has role ELEVATION"),
    ({"bands": (Band("dem", "GREEN", 0.0, ELEVATION),)}, r"'dem' is elevation and has role GREEN"),
    (on_ground(-9999), r"patch 'x', band 'elevation', holds elevation -9999, outside -600 to 9000 m"),
    (on_ground(29029), r"patch 'x', band 'elevation', holds elevation 2.903e\+04, outside -600 to 9000 m"),
    ({"attrs": {"sensor": "x"}}, r"no attribute 'label_source'"),
    ({"attrs": ATTRS | {"label_bands": "S1"}}, r"'label_bands' must be a list"),
]


@pytest.mark.parametrize(("changes", "sentence"), FAULTS, ids=[fault[1][:48] for fault in FAULTS])
def test_a_fault_is_named_and_leaves_no_store(tmp_path: Path, changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        change(tmp_path / "set.zarr", **changes)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_role_is_allowed_with_a_wavelength(tmp_path: Path) -> None:
    bands = (*BANDS[:2], Band("F1", "FIRE_37", 3.742, BRIGHTNESS_TEMPERATURE))
    change(tmp_path / "set.zarr", bands=bands)
    assert patchset.arrays(tmp_path / "set.zarr").bands == bands


@pytest.mark.parametrize("metres", [-430.0, 0.0, 8849.0])
def test_elevation_stands_beside_what_was_measured_without_a_wavelength(tmp_path: Path, metres: float) -> None:
    change(tmp_path / "set.zarr", **on_ground(metres))
    arrays = patchset.arrays(tmp_path / "set.zarr")
    assert arrays.bands == (*BANDS[:2], HEIGHT)
    assert (arrays.toa[0, 2] == metres).all()
    with patchset.open_store(tmp_path / "set.zarr") as ds:
        patchset.validate(ds)


@settings(max_examples=40, deadline=None)
@given(array_strategy(np.uint8, (SIZE, SIZE), elements=st.sampled_from([0, 1, 255]) | st.integers(0, 255)))
def test_every_label_but_three_is_refused(mask: np.ndarray) -> None:
    wrong = set(np.unique(mask).tolist()) - {0, CLOUD, IGNORE}
    if not wrong and not (mask == IGNORE).all():
        check_patch("x", patch()[0][0], mask, BANDS)
        return
    with pytest.raises(UserError, match="label value" if wrong else "no labelled pixel"):
        check_patch("x", patch()[0][0], mask, BANDS)
