"""Simulated scenes on relief: heights against published values, and what stays as on level ground."""

import os
from dataclasses import replace

import numpy as np
import pytest

from benchmark import patchset
from benchmark.api import ELEVATION
from benchmark.sources import Request
from benchmark.studies import _arm_domain
from datasets import _relief_ground, _relief_scene, _relief_sky, simulated, simulated_relief
from datasets import _relief_tables as relief
from datasets._relief_sky import ReliefSky
from datasets.simulator import clouds, optics, scene, surface, tables, thermal
from datasets.simulator.geometry import PIXEL, Grid
from datasets.simulator.render import Sky

# US Standard Atmosphere 1976: height in km, pressure over that at the sea.
STANDARD = ((1, 898.75 / 1013.25), (2, 794.95 / 1013.25), (3, 701.09 / 1013.25), (4, 616.40 / 1013.25))
SIDE = 96
NUMBERS = range(6)  # of scenes: one hand, of which more than half show mountains


@pytest.fixture(scope="module")
def grid():
    return Grid((SIDE, SIDE), 5.0 + (np.arange(SIDE) - SIDE / 2) * PIXEL, 40.0, 120.0)


@pytest.fixture(scope="module")
def skies():
    return [_relief_scene.draw_sky(7, 0, number, 48)[0] for number in NUMBERS]


def level(grid, kind, air=290.0, water=1.5):
    flat = np.zeros(grid.shape, np.float32)
    kinds = np.full(grid.shape, kind, np.uint8)
    return surface.Surface(kinds, flat, flat, flat + 5, flat + np.float32(air), air, water, flat + 2)


def sky(grid, height, kind=tables.DESERT, layers=(), **given):
    bare = level(grid, kind, **given)
    fall = np.float32(tables.LAPSE * height)
    ground = np.full(grid.shape, height, np.float32)
    return ReliefSky(grid, replace(bare, temperature=bare.temperature - fall), list(layers), ground)


def slab(grid, depth, height):
    margin = grid.margin(height)
    field = np.pad(depth, ((margin[0],) * 2, (margin[1],) * 2)).astype(np.float32)
    return clouds.Layer("slab", optics.LIQUID, height, field, margin, optics.cloud(optics.LIQUID, 10.0, 10.0))


def t11(one):
    return thermal.brightness(tables.WAVELENGTH[7], one.radiance(7))


@pytest.mark.parametrize(("height", "share"), STANDARD)
def test_pressure_is_that_of_the_standard_atmosphere(height, share):
    assert _relief_sky.air_share(np.array([height]))[0] == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize(("height", "share"), STANDARD)
def test_the_path_of_green_light_shrinks_with_the_pressure(grid, height, share, monkeypatch):
    """Over a black ground S1 holds what molecules scatter back: at the sea 0.75 (1 + c^2) tau / 4 mu mu0."""
    monkeypatch.setattr(tables, "ALBEDO", np.zeros_like(tables.ALBEDO))
    middle = SIDE // 2
    low, high = (sky(grid, at).reflectance(0)[middle, middle] for at in (0.0, height))
    tau, sun, view = 0.0948, grid.sun, float(grid.view[middle])  # Bodhaine et al. 1999 at 0.554 um
    expected = tau * 0.75 * (1 + float(grid.scattering[middle]) ** 2) / (4 * sun * view)
    assert low == pytest.approx(expected, rel=0.2)  # ozone, and what is scattered twice or on its way out
    assert 0.8 * share < high / low < 1.1 * share + 0.05


def test_the_cirrus_band_sees_high_ground_and_no_low_ground(grid):
    """MOD35's cirrus test cuts at 0.03: clear desert passes it above 3 to 4 km, and its sensor is blind at the sea."""
    seen = [float(np.median(sky(grid, height).reflectance(3))) for height in (0, 1, 2, 3, 4)]
    assert seen == sorted(seen)
    assert seen[0] < 0.003
    assert seen[2] < 0.03 < seen[4] < 0.15
    moist = float(np.median(sky(grid, 4, water=4.5).reflectance(3)))
    assert moist < seen[4] / 2


def test_clear_ground_cools_by_the_lapse_rate(grid):
    seen = [np.median(t11(sky(grid, height, water=0.01))) for height in (0.0, 1.0, 3.0)]
    falls = seen[0] - np.array(seen[1:])
    assert falls == pytest.approx([6.5, 19.5], abs=0.5)


def test_the_split_window_closes_over_high_ground(grid):
    """Less vapour above: T11 - T12 of clear ground falls with height."""
    splits = []
    for height in (0.0, 2.0, 4.0):
        up = sky(grid, height, kind=tables.SEA_ICE, water=4.0)
        t12 = thermal.brightness(tables.WAVELENGTH[8], up.radiance(8))
        splits.append(np.median(t11(up) - t12))
    assert splits[0] > splits[1] + 0.5 > splits[2] + 0.5


@pytest.mark.parametrize(
    ("latitude", "day", "low", "high"),
    [(0, 200, 4.0, 5.0), (46.5, 215, 2.5, 3.2), (46.5, 105, 1.0, 2.2), (67, 215, 1.0, 1.8), (-46.5, 33, 2.5, 3.2)],
)  # fmt: skip
def test_snow_lines_lie_where_they_do(latitude, day, low, high):
    """Equatorial peaks, Alps in August and April, northern Scandinavia in August, New Zealand in February."""
    assert low < _relief_ground.snow_line(latitude, day) < high


def test_snow_lines_fall_towards_poles_and_winter():
    summer = [_relief_ground.snow_line(latitude, 200) for latitude in (5, 25, 45, 65, 80)]
    assert summer == sorted(summer, reverse=True)
    assert _relief_ground.snow_line(45, 15) < _relief_ground.snow_line(45, 105) < _relief_ground.snow_line(45, 200)
    assert _relief_ground.snow_line(75, 15) == relief.LOWEST_SNOW_LINE


def test_relief_lies_between_the_sea_and_four_kilometres(skies):
    for sky_ in skies:
        below = sky_.surface.relief <= 0
        assert (sky_.ground[below] == 0).all()
        assert 0 <= sky_.ground.min() <= sky_.ground.max() <= relief.HIGHEST[1]
    assert max(sky_.ground.max() for sky_ in skies) > 2


def test_snow_covers_what_lies_above_its_line_and_is_no_warmer_than_melting(grid):
    bare = level(grid, tables.VEGETATION, air=295.0)
    bare = replace(bare, kind=np.where(np.arange(SIDE) < 8, tables.TURBID_WATER, bare.kind).astype(np.uint8))
    ground = _relief_ground.draw_ground(np.random.default_rng(5), bare, grid, 46.0, 160.0)
    line = _relief_ground.snow_line(46.0, 160.0)
    kind, height = ground.surface.kind, ground.height
    assert height.min() < line - 0.6 < line + 0.6 < height.max()
    white = np.isin(kind, (tables.SNOW, tables.SEA_ICE))
    assert white[height > line + 4 * relief.SNOW_EDGE].all()
    assert not white[height < line - 4 * relief.SNOW_EDGE].any()
    assert ground.surface.temperature[white].max() <= relief.MELTING
    assert set(kind[:, :8].ravel()) <= {tables.TURBID_WATER, tables.SEA_ICE}
    green = kind == tables.VEGETATION
    np.testing.assert_allclose(ground.surface.temperature[green], 295.0 - 6.5 * height[green], atol=1e-3)


@pytest.mark.parametrize("number", NUMBERS)
def test_without_heights_radiation_is_that_of_the_level_scene(skies, number):
    raised = skies[number]
    flat = ReliefSky(raised.grid, raised.surface, raised.layers, np.zeros_like(raised.ground))
    plain = Sky(raised.grid, raised.surface, raised.layers)
    for band in tables.SUNLIT_BANDS:
        np.testing.assert_allclose(flat.reflectance(band), plain.reflectance(band), atol=1e-5)
    for band in tables.THERMAL_BANDS:
        np.testing.assert_allclose(flat.radiance(band), plain.radiance(band), rtol=1e-5)


def test_a_scene_of_open_sea_is_that_of_the_simulated_set():
    """Sun, clouds, instrument and noise are drawn alike: what differs elsewhere is what height does."""
    number = next(n for n in range(18) if scene.regime_of(0, 0, n).name == "trade-cumulus")
    level_, raised = (each.simulate(0, 0, number, 32) for each in (scene, _relief_scene))
    np.testing.assert_array_equal(raised.mask, level_.mask)
    np.testing.assert_allclose(raised.toa[:, :9], level_.toa, rtol=1e-4, atol=2e-4)
    assert np.nanmax(np.abs(raised.toa[:, 9])) == 0


def test_layers_keep_their_height_and_rest_on_ground_that_reaches_them(grid):
    ramp = np.broadcast_to(np.linspace(0, 4, SIDE, dtype=np.float32), grid.shape)
    cover = np.full(grid.shape, 5.0)
    raised = ReliefSky(grid, level(grid, tables.DESERT), [slab(grid, cover, 0.2), slab(grid, cover, 2.0)], ramp)
    fog, cumulus = raised.levels[1:]
    assert cumulus[:, ramp[0] < 1.7] == pytest.approx(2.0)
    high = ramp > 2
    assert (cumulus - ramp)[high] == pytest.approx(relief.CLEARANCE, abs=1e-5)
    assert fog[0, 0] == pytest.approx(0.2)
    assert (fog <= cumulus + 1e-6).all()


def test_shadow_and_parallax_shorten_with_the_height_of_the_ground():
    """A cloud at 5 km over a plateau of 2 km throws its shadow and is displaced as one at 3 km over the sea."""
    across = 400.0 + (np.arange(SIDE) - SIDE / 2) * PIXEL
    grid = Grid((SIDE, SIDE), across, 50.0, 120.0)
    spot = np.zeros(grid.shape)
    spot[40:56, 40:56] = 20.0
    high = sky(grid, 2.0, layers=[slab(grid, spot, 5.0)])
    low = sky(grid, 0.0, layers=[slab(grid, spot, 3.0)])

    def at(depth):
        total = depth.sum()
        return np.array([(np.arange(SIDE) * depth.sum(axis)).sum() / total for axis in (1, 0)])

    for name in ("depths", "shades"):
        there, here = (at(shade(one) if name == "shades" else one.depths[0]) for one in (high, low))
        assert there == pytest.approx(here, abs=0.05)
    assert np.abs(at(shade(high)) - at(high.depths[0])).max() > 4  # pixels: 3 km tan(50 degrees) / 0.25 km is 14


def shade(one):
    """The shadow on the ground, (y, x)."""
    return 1 - one.beam(0, one.over_ground)


@pytest.fixture(scope="module")
def raised_scenes():
    return [_relief_scene.simulate(7, 0, number, 48) for number in NUMBERS]


def test_elevation_is_in_whole_metres_and_zones_follow_it(raised_scenes):
    for made in raised_scenes:
        metres, zone = made.toa[:, -1], made.strata["terrain"]
        known = np.isfinite(metres)
        assert (metres[known] == np.round(metres[known])).all()
        assert (known == np.isfinite(made.toa[:, 0])).all()
        for code, (low, high) in enumerate(((-1, 500), (500, 1500), (1500, 4001))):
            inside = metres[(zone == code) & known]
            assert ((inside >= low - 1) & (inside <= high + 1)).all()
    assert {2, 1, 0} == set(np.unique([made.strata["terrain"] for made in raised_scenes]))


def test_tops_of_clouds_lie_above_the_ground(raised_scenes):
    for made in raised_scenes:
        top, metres = made.strata["top_height"], made.toa[:, -1]
        cloudy = (made.strata["phase"] > 0) & np.isfinite(metres)
        assert (top[cloudy] > metres[cloudy] / 1000 + 0.05).all()


def test_scenes_follow_their_arguments_alone(raised_scenes):
    again = _relief_scene.simulate(7, 0, NUMBERS[2], 48)
    np.testing.assert_array_equal(raised_scenes[2].toa, again.toa)
    other = _relief_scene.simulate(8, 0, NUMBERS[2], 48)
    assert not np.array_equal(other.toa, again.toa, equal_nan=True)


def request(path, **changes):
    return Request(**{"paths": (), "store": path, "patches": {"train": 5, "val": 1, "test": 2}, "size": 32, **changes})


def test_the_patch_set_is_sound_and_the_same_for_any_number_of_processes(tmp_path, monkeypatch):
    simulated_relief.SOURCE.make(request(tmp_path / "one.zarr"), lambda *count: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    simulated_relief.SOURCE.make(request(tmp_path / "two.zarr"), lambda *count: None)
    first, second = (patchset.attributes(tmp_path / f"{name}.zarr") for name in ("one", "two"))
    assert first["fingerprint"] == second["fingerprint"]
    with patchset.open_store(tmp_path / "one.zarr") as ds:
        patchset.validate(ds)
        assert ds.band.values.tolist() == [*(band.name for band in simulated.BANDS), "elevation"]
        assert ds.quantity.values[-1] == ELEVATION
        assert ds.terrain.attrs["flag_meanings"] == "lowland hills mountains"
        most = [np.bincount(codes.ravel()).argmax() for codes in ds.terrain.values]
    zones = _arm_domain.attribute(tmp_path / "one.zarr", "terrain")
    assert zones == tuple(relief.ZONES[code] for code in most)
    assert len(set(zones)) > 1


def test_versions_follow_the_request_and_the_code(tmp_path, monkeypatch):
    base = request(tmp_path / "a.zarr")
    assert simulated_relief.SOURCE.version(base) != simulated_relief.SOURCE.version(request(base.store, seed=1))
    names = {path.name for path in simulated_relief.KIND.files}
    assert {"_relief_sky.py", "_relief_tables.py", "tables.py", "scene.py", "simulated_relief.py"} <= names
    assert not {path.name for path in simulated.KIND.files} & {name for name in names if "relief" in name}


def test_every_number_has_a_source():
    named = {name for names in relief.SOURCES for name in names.split()}
    numbers = {name for name in vars(relief) if name.isupper()} - {"SOURCES", "MEMORY", "MEASURED", "ELEVATION"}
    assert numbers == named
