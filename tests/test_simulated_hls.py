"""Simulated land at 30 m: its physics, its statistics, and the patch set that it becomes."""

import os

import numpy as np
import pytest

from benchmark import patchset, splits
from benchmark.api import HLS_ROLES, UserError
from benchmark.sources import Request
from datasets import _hls_land, _hls_scene, _hls_tables, _simulated_scenes, simulated, simulated_hls
from datasets.simulator import optics, tables, twostream
from datasets.simulator.regimes import TYPES

PRITHVI_MEAN = np.array([0.1087, 0.1342, 0.1433, 0.2734, 0.1958, 0.1363])  # surface reflectance of its pretraining
PRITHVI_STD = np.array([0.2248, 0.2179, 0.2178, 0.1850, 0.1242, 0.1049])
BLUE, RED, NIR, SWIR_1 = (HLS_ROLES.index(role) for role in ("BLUE", "RED", "NIR_NARROW", "SWIR_1"))
SHAPE = (48, 48)


@pytest.fixture(scope="module")
def deck():
    """Every kind of land three times."""
    return [_hls_scene.simulate(0, 0, number, 64) for number in range(3 * len(_hls_tables.DECK))]


def flat(kind, slope=(0.0, 0.0)):
    albedo = np.broadcast_to(_hls_tables.ALBEDO[kind][:, None, None], (len(HLS_ROLES), *SHAPE))
    slopes = np.broadcast_to(np.array(slope)[:, None, None], (2, *SHAPE))
    return _hls_land.Ground(np.full(SHAPE, kind, np.uint8), albedo, slopes)


def layer(above, sunward, sun=0.7):
    fluxes = optics.fluxes(optics.cloud(optics.LIQUID, 10.0, 10.0), sun)
    return _hls_scene.Cloud(fluxes, np.full(SHAPE, above, np.float32), np.full(SHAPE, sunward, np.float32))


def seen(cloud, band, kind=tables.VEGETATION):
    return _hls_scene.reflectance(flat(kind), cloud, np.ones(SHAPE, np.float32), band)


def test_means_and_deviations_are_of_the_order_of_the_pretraining(deck):
    toa = np.stack([patch.toa for patch in deck])
    assert toa.dtype == np.float32
    for found, known in ((toa.mean((0, 2, 3)), PRITHVI_MEAN), (toa.std((0, 2, 3)), PRITHVI_STD)):
        assert (found > known / 2).all()
        assert (found < known * 2).all()


def test_the_ground_is_land_with_lakes(deck):
    kinds = np.concatenate([patch.surface.ravel() for patch in deck])
    land = {tables.VEGETATION, tables.CROP, tables.DESERT, tables.SNOW}
    assert set(np.unique(kinds)) == land | {tables.TURBID_WATER}
    assert 0.01 < (kinds == tables.TURBID_WATER).mean() < 0.15


def test_spectra_are_those_of_the_classes(deck):
    clear = [patch for patch in deck if not patch.mask.any()]
    spectrum = {
        kind: np.median(np.concatenate([patch.toa[:, patch.surface == kind] for patch in clear], 1), 1)
        for kind in (tables.TURBID_WATER, tables.VEGETATION, tables.SNOW)
    }
    assert spectrum[tables.VEGETATION][NIR] > 4 * spectrum[tables.VEGETATION][RED]
    assert spectrum[tables.TURBID_WATER][BLUE] > 2 * spectrum[tables.TURBID_WATER][SWIR_1]
    assert spectrum[tables.SNOW][BLUE] > 0.7 > 0.3 > spectrum[tables.SNOW][SWIR_1]


def test_clouds_are_in_some_scenes_and_brighter_than_the_ground(deck):
    cover = np.array([patch.mask.mean() for patch in deck])
    assert 0.02 < cover.mean() < 0.2
    assert (cover == 0).mean() > 0.3
    cloudy = [patch for patch in deck if patch.mask.mean() > 0.02 and "snow" not in patch.regime]
    for patch in cloudy:
        assert patch.toa[BLUE][patch.mask == 1].mean() > patch.toa[BLUE][patch.mask == 0].mean()


@pytest.mark.parametrize("band", range(len(HLS_ROLES)))
def test_an_endless_layer_is_the_two_stream_solution(band):
    at = 200
    depth = optics.DEPTHS[at]
    cloud = layer(depth, depth)
    exact = twostream.Layer(
        *(
            getattr(cloud.fluxes, name)[_hls_tables.COLUMNS[band], at].astype(float)
            for name in ("reflected", "diffused", "direct", "reflected_diffuse", "transmitted_diffuse")
        )
    )
    expected = twostream.over_surface(exact, _hls_tables.ALBEDO[tables.VEGETATION, band])
    assert seen(cloud, band)[0, 0] == pytest.approx(expected, abs=5e-3)


def test_a_shadow_keeps_more_of_the_blue_than_of_the_infrared():
    kept = [float((seen(layer(0, 50.0), band) / seen(None, band)).mean()) for band in (BLUE, SWIR_1)]
    assert kept[1] < 0.1 < 0.2 < kept[0] < 0.4


def test_slopes_that_face_the_sun_are_bright():
    ground = flat(tables.VEGETATION, (0.1, 0.0))  # rises towards the bottom, so it faces up
    north, south = (_hls_scene.terrain_light(ground, 60.0, azimuth) for azimuth in (0.0, 180.0))
    assert north.mean() > 1.1 > 0.9 > south.mean()
    east, west = (_hls_scene.terrain_light(flat(tables.VEGETATION, (0.0, -0.1)), 60.0, angle) for angle in (90, 270))
    assert east.mean() > 1.1 > 0.9 > west.mean()
    assert np.allclose(_hls_scene.terrain_light(flat(tables.VEGETATION), 60.0, 77.0), 1)


def test_the_shadow_lies_where_the_sun_puts_it():
    rng, land = np.random.default_rng(3), _hls_tables.DECK[4]
    cloud = next(made for _ in range(20) if (made := _hls_scene.draw_cloud(rng, land, (400, 400), 30.0, 90.0)))
    shift = np.arange(0, 160)
    # the sun stands to the right, so the cloud that shades a pixel lies to its right
    fit = [np.abs(cloud.above[:, step:] - cloud.sunward[:, : 400 - step]).mean() for step in shift]
    height = shift[int(np.argmin(fit))] * _hls_tables.PIXEL / np.tan(np.radians(30))
    assert min(fit) == 0
    lowest, highest = TYPES["cumulus"].height
    assert lowest - 0.06 < height < highest


def test_fields_have_sharp_edges_and_one_cover_each():
    share = _hls_land.parcels(np.random.default_rng(0), (200, 200))
    assert ((share >= 0) & (share <= 1)).all()
    assert 0.3 < share.mean() < 0.9
    steps = np.abs(np.diff(share, axis=1))
    assert (steps == 0).mean() > 0.8
    assert steps.max() > 0.3


def test_scenes_follow_their_arguments_alone():
    first = _hls_scene.simulate(3, 0, 5, 48)
    again = _hls_scene.simulate(3, 0, 5, 48)
    assert np.array_equal(first.toa, again.toa)
    assert (first.time, first.lat, first.lon) == (again.time, again.lat, again.lon)
    for other in ((4, 0, 5, 48), (3, 1, 5, 48), (3, 0, 5 + len(_hls_tables.DECK), 48)):
        assert not np.array_equal(first.toa, _hls_scene.simulate(*other).toa)


def request(path, **changes):
    return Request(**{"paths": (), "store": path, "patches": {"train": 9, "val": 1, "test": 2}, "size": 32, **changes})


def test_the_patch_set_is_sound_and_the_same_for_any_number_of_processes(tmp_path, monkeypatch):
    done = []
    simulated_hls.SOURCE.make(request(tmp_path / "one.zarr"), lambda *count: done.append(count))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    simulated_hls.SOURCE.make(request(tmp_path / "two.zarr"), lambda *count: None)
    first, second = (patchset.attributes(tmp_path / f"{name}.zarr") for name in ("one", "two"))
    assert first["fingerprint"] == second["fingerprint"]
    assert done[-1] == (12, 12)
    ds = patchset.open_store(tmp_path / "one.zarr")
    patchset.validate(ds)
    assert ds.role.values.tolist() == list(HLS_ROLES)
    assert not np.isnat(ds.time.values).any()
    assert np.isfinite([ds.lat.values, ds.lon.values, ds.sun_zenith.values]).all()
    split = splits.read(splits.split_path(tmp_path / "one.zarr"), tmp_path / "one.zarr")
    assert [len(split.parts[part]) for part in splits.PARTS] == [9, 1, 2]


def test_versions_follow_the_request(tmp_path):
    base = request(tmp_path / "a.zarr")
    others = (request(base.store, seed=1), request(base.store, size=48), request(base.store, patches={"train": 1}))
    assert len({simulated_hls.SOURCE.version(one) for one in (base, *others)}) == 4
    assert simulated_hls.SOURCE.version(base) == simulated_hls.SOURCE.version(request(tmp_path / "b.zarr"))
    assert simulated_hls.SOURCE.version(base) != simulated.SOURCE.version(base)


@pytest.mark.parametrize("module", [simulated, simulated_hls])
def test_versions_follow_the_code_that_both_share(module, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(_simulated_scenes, "code", lambda *files: hashed.extend(map(str, files)))
    module.SOURCE.version(request(tmp_path / "a.zarr"))
    assert {_simulated_scenes.__file__, module.__file__, tables.__file__, optics.__file__} <= set(hashed)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 16}, "at least 32 rows and columns, not 16"),
        ({"patches": {"train": 4, "val": 1}}, "at least one patch in part 'test'"),
        ({"options": {"bands": "S1"}}, "have no option 'bands'"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        simulated_hls.SOURCE.make(request(tmp_path / "a.zarr", **changes), lambda *count: None)
