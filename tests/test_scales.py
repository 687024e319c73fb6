from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_factory import make_images

from benchmark.api import UserError
from datasets.simulator import scene
from models import _scales, _train
from models._encoder import Statistics

# Reflectance as a fraction: what Prithvi-EO-2.0 declares, over 10,000.
MEAN = {"BLUE": 0.1087, "GREEN": 0.1342, "RED": 0.1433, "NIR_NARROW": 0.2734, "SWIR_1": 0.1958, "SWIR_2": 0.1363}
STD = {"BLUE": 0.2248, "GREEN": 0.2179, "RED": 0.2178, "NIR_NARROW": 0.1850, "SWIR_1": 0.1242, "SWIR_2": 0.1049}
SLSTR = ("GREEN", "RED", "NIR_NARROW", "CIRRUS", "SWIR_1", "SWIR_2", "BT_37", "BT_11", "BT_12")
SOLAR = ("GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")
# Clear open ocean: what the air and a little foam send back, and nothing in the shortwave infrared.
OCEAN = {"GREEN": 0.045, "RED": 0.025, "NIR_NARROW": 0.012, "SWIR_1": 0.005, "SWIR_2": 0.003}


def declared(roles=SOLAR, **other):
    return Statistics(
        tuple(other.get(role, MEAN.get(role, np.nan)) for role in roles),
        tuple(0.1 * other[role] if role in other else STD.get(role, np.nan) for role in roles),
    )


def noisy(level, roles=SOLAR, count=2, spread=0.02, seed=0):
    noise = np.random.default_rng(seed).normal(0, spread, (count, len(roles), 16, 16))
    middle = np.array([level[role] for role in roles])[:, None, None]
    return np.maximum(middle + noise * np.minimum(1, middle / 0.1), 0).astype(np.float32)


def scenes():
    """Each kind of weather and ground of the simulator once."""
    return [scene.simulate(0, 0, number, 32) for number in range(18)]


# The scale in use


def test_own_is_what_the_backbone_declares_and_the_data_fill_the_gaps():
    images = make_images(noisy(OCEAN, SOLAR), SOLAR)
    own = declared(SOLAR)
    assert _scales.choose(own, images, "own") == {"mean": list(own.mean), "std": list(own.std)}
    gap = Statistics((np.nan, *own.mean[1:]), (np.nan, *own.std[1:]))
    mean, std = _train.band_statistics(images)
    assert _scales.choose(gap, images, "own") == {"mean": [mean[0], *own.mean[1:]], "std": [std[0], *own.std[1:]]}
    assert _scales.choose(None, images, "own") == {"mean": mean, "std": std}
    assert _scales.choose(own, images, "train") == {"mean": mean, "std": std}


# The gate


def test_every_weather_passes_and_its_clear_pixels_alone():
    own = declared(SLSTR)
    for one in scenes():
        _scales.gate(make_images(one.toa, SLSTR), own)
        clear = np.where((one.mask == 0)[:, None], one.toa, np.nan)
        _scales.gate(make_images(clear, SLSTR), own)


@pytest.mark.parametrize(
    ("factor", "unit"), [(100, "percent"), (1e4, "times 10,000"), (1e-2, "over 100 "), (1e-4, "over 10,000")]
)
def test_no_weather_hides_another_unit(factor, unit):
    own = declared(SLSTR)
    for one in scenes():
        toa = one.toa.copy()
        toa[:, :6] *= np.float32(factor)
        with pytest.raises(UserError, match=r"^band (green|red|nir_narrow|swir_1|swir_2) reaches") as caught:
            _scales.gate(make_images(toa, SLSTR), own)
        assert unit in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    level=st.floats(0.04, 1.2),
    swir=st.floats(0.0, 0.6),
    factor=st.sampled_from([1.0, 100.0, 1e4, 0.01, 1e-4]),
    count=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_only_the_unit_decides(level, swir, factor, count, seed):
    """From dark ocean to snow, and from one patch on."""
    ground = dict.fromkeys(SOLAR, level) | {"SWIR_1": swir, "SWIR_2": swir}
    images = make_images(noisy(ground, count=count, seed=seed) * np.float32(factor), SOLAR)
    if factor == 1:
        _scales.gate(images, declared())
    else:
        with pytest.raises(UserError, match="must be a fraction"):
            _scales.gate(images, declared())


@pytest.mark.parametrize("roles", [SOLAR, SOLAR[2:], SOLAR[3:]])
def test_clear_ocean_passes_in_any_bands(roles):
    _scales.gate(make_images(noisy(OCEAN, roles, spread=0.002), roles), declared(roles))
    dark = make_images(noisy(OCEAN, roles, spread=0.002) * np.float32(1e-4), roles)
    with pytest.raises(UserError, match="over 10,000"):
        _scales.gate(dark, declared(roles))


def test_kelvin_where_reflectance_is_expected_is_named():
    toa = noisy(OCEAN)
    toa[:, 1] = np.random.default_rng(0).normal(285, 8, toa[:, 1].shape)
    with pytest.raises(UserError, match=r"band red reaches .* looks like kelvin and must be a fraction"):
        _scales.gate(make_images(toa, SOLAR), declared())


@pytest.mark.parametrize(("level", "unit"), [(0.5, "a fraction"), (14.0, "degrees Celsius"), (28500.0, "scaled")])
def test_a_brightness_temperature_must_be_kelvin(level, unit):
    roles = (*SOLAR, "BT_11")
    own = declared(roles, BT_11=285.0)
    level_of = OCEAN | {"BT_11": 285.0}
    _scales.gate(make_images(noisy(level_of, roles), roles), own)
    _scales.gate(make_images(noisy(level_of | {"BT_11": 205.0}, roles), roles), own)
    with pytest.raises(UserError, match=rf"band bt_11 has a median of .*{unit}.* must be kelvin"):
        _scales.gate(make_images(noisy(level_of | {"BT_11": level}, roles), roles), own)


def test_nothing_is_compared_where_nothing_is_known():
    images = make_images(noisy(OCEAN) * np.float32(1e4), SOLAR)
    _scales.gate(images, None)
    _scales.gate(images, Statistics((np.nan,) * 5, (np.nan,) * 5))
    _scales.gate(make_images(np.full((2, 5, 8, 8), np.nan, np.float32), SOLAR), declared())


def test_few_patches_are_read_from_all_over_the_set():
    toa = noisy(OCEAN, count=200)
    images = make_images(toa, SOLAR)
    read = []

    class Watched:
        def __getitem__(self, row):
            read.append(int(row))
            return toa[row]

    _scales.gate(replace(images, toa=Watched()), declared())
    assert len(set(read)) <= 40
    assert {0, 199} <= set(read)
    toa[150:] *= 100
    with pytest.raises(UserError, match="percent"):
        _scales.gate(images, declared())
