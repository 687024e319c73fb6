import os
from dataclasses import replace

import numpy as np
import pytest

from benchmark import patchset, splits
from benchmark.api import UserError
from benchmark.sources import Request
from datasets import simulated
from datasets.simulator import clouds, geometry, optics, regimes, render, scene, surface, tables, twostream
from datasets.simulator.geometry import BORDER, PIXEL, Grid

SIZE = 48


@pytest.fixture(scope="module")
def deck():
    """Every regime once."""
    return [scene.simulate(0, 0, number, SIZE) for number in range(18)]


def join(deck, name):
    return np.concatenate([getattr(part, name) if hasattr(part, name) else part.strata[name] for part in deck])


def bare_surface(shape, kind, air=290.0):
    flat = np.zeros(shape, np.float32)
    return surface.Surface(np.full(shape, kind, np.uint8), flat, flat, flat + 5, flat + np.float32(air), air, 1.0, flat)


def slab(grid, depth, height, phase=optics.LIQUID, radius=10.0):
    margin = grid.margin(height)
    field = np.pad(depth, ((margin[0],) * 2, (margin[1],) * 2), mode="edge").astype(np.float32)
    return clouds.Layer("slab", phase, height, field, margin, optics.cloud(phase, radius, 10.0))


@pytest.fixture
def vacuum(monkeypatch):
    """Take the air away, so that only surface and layers are left."""
    for name in ("OZONE_DEPTH", "MIXED_GAS_DEPTH", "VAPOUR_DEPTH", "INFRARED_VAPOUR"):
        monkeypatch.setattr(tables, name, np.zeros_like(getattr(tables, name)))
    monkeypatch.setattr(tables, "RAYLEIGH_COEFFICIENT", 0.0)


@pytest.fixture
def grid():
    side = 96
    return Grid((side, side), 300.0 + (np.arange(side) - side / 2) * PIXEL, 40.0, 120.0)


@pytest.mark.parametrize("band", [0, 2, 4, 5])
@pytest.mark.parametrize("depth", [0.3, 3.0, 30.0])
def test_an_endless_layer_is_the_two_stream_solution(vacuum, grid, band, depth):
    ground = bare_surface(grid.shape, tables.DESERT)
    layer = slab(grid, np.full(grid.shape, depth), 2.0)
    seen = render.Sky(grid, ground, [layer]).reflectance(band)
    at = np.searchsorted(optics.DEPTHS, depth)
    share = (depth - optics.DEPTHS[at - 1]) / (optics.DEPTHS[at] - optics.DEPTHS[at - 1])
    albedo, asymmetry, extinction = (
        (1 - share) * values[band, at - 1] + share * values[band, at]
        for values in (layer.particles.albedo, layer.particles.asymmetry, layer.particles.extinction)
    )
    exact = twostream.layer(np.array(extinction * depth), albedo, asymmetry, grid.sun)
    expected = twostream.over_surface(exact, tables.ALBEDO[tables.DESERT, band])
    assert np.allclose(seen, expected, atol=2e-3)


def test_two_layers_reflect_as_one_of_their_sum(vacuum, grid):
    ground = bare_surface(grid.shape, tables.SEA)
    depth = np.full(grid.shape, 4.0)
    ground = replace(ground, wind=ground.wind * 0 + 0.1)
    two = render.Sky(grid, ground, [slab(grid, depth, 1.0), slab(grid, depth, 3.0)]).reflectance(0)
    one = render.Sky(grid, ground, [slab(grid, 2 * depth, 1.0)]).reflectance(0)
    assert np.allclose(two, one, atol=0.05)


def test_truth_follows_the_cloud_in_the_view_and_the_shadow_lies_beside_it(grid):
    depth = np.zeros(grid.shape)
    depth[40:56, 40:56] = 20.0
    sky = render.Sky(grid, bare_surface(grid.shape, tables.VEGETATION), [slab(grid, depth, 2.0)])
    mask, strata = scene.truth(sky)
    shift = 2.0 * np.tan(geometry.view_zenith(np.array(300.0))) / 0.5  # away from the track, which is to the left
    rows, columns = np.nonzero(mask)
    assert rows.mean() == pytest.approx((47.5 - BORDER - 0.5) / 2, abs=0.6)
    assert columns.mean() == pytest.approx((47.5 - BORDER - 0.5) / 2 + shift, abs=0.8)
    dark_rows, dark_columns = np.nonzero(strata["shadow"])
    assert dark_rows.mean() < rows.mean()  # the sun stands below right
    assert dark_columns.mean() < columns.mean()
    shaded = scene.coarsen(sky.reflectance(2))
    clear = (mask == 0) & (strata["shadow"] == 0) & (strata["cloud_fraction"] == 0)
    assert shaded[strata["shadow"] == 1].mean() < 0.6 * shaded[clear].mean()
    assert (strata["top_height"][strata["cloud_fraction"] == 1] == 2.0).all()


def test_cirrus_is_seen_in_s4_and_low_cloud_is_not(grid):
    ground = bare_surface(grid.shape, tables.SEA)
    low = render.Sky(grid, ground, [slab(grid, np.full(grid.shape, 10.0), 1.0)]).reflectance(3)
    high = render.Sky(grid, ground, [slab(grid, np.full(grid.shape, 0.5), 10.0, optics.ICE, 30.0)]).reflectance(3)
    clear = render.Sky(grid, ground, []).reflectance(3)
    assert clear.max() < 0.004
    assert low.max() < 0.015
    assert high.min() > 0.008


def test_smoke_does_not_cool_and_dust_reverses_the_split_window(grid):
    ground = bare_surface(grid.shape, tables.DESERT, 300.0)
    margin = grid.margin(3.0)
    field = np.full((grid.shape[0] + 2 * margin[0], grid.shape[1] + 2 * margin[1]), 2.0, np.float32)
    heat = {}
    for kind, particles in (("smoke", optics.smoke(1.9, 0.9)), ("dust", optics.dust(0.2, 0.92)), ("", None)):
        layers = [clouds.Layer(kind, optics.CLEAR, 3.0, field, margin, particles)] if particles else []
        sky = render.Sky(grid, ground, layers)
        heat[kind] = [render.thermal.brightness(tables.WAVELENGTH[band], sky.radiance(band)).mean() for band in (7, 8)]
        assert not scene.truth(sky)[0].any()
    assert heat["smoke"][0] == pytest.approx(heat[""][0], abs=0.2)
    assert heat["dust"][0] - heat["dust"][1] < min(0.0, heat[""][0] - heat[""][1])


def test_scenes_are_the_same_again_and_differ_from_each_other():
    one, same, other = (scene.simulate(3, 1, number, 32) for number in (4, 4, 5))
    assert one.toa.tobytes() == same.toa.tobytes()
    assert one.mask.tobytes() == same.mask.tobytes()
    assert one.toa.tobytes() != other.toa.tobytes()


def test_six_scenes_of_a_part_cover_the_surfaces():
    for part in range(3):
        six = [scene.regime_of(0, part, number) for number in range(6)]
        covers = {kind for regime in six for kind, _ in regime.covers}
        assert covers == {tables.VEGETATION, tables.DESERT, tables.CROP, tables.SNOW}
        assert any(regime.land == regimes.OPEN_SEA for regime in six)
        names = {scene.regime_of(0, part, number).name for number in range(18)}
        assert names == {regime.name for hand in regimes.HANDS for regime in hand}


def test_values_are_physical(deck):
    toa, mask = join(deck, "toa"), join(deck, "mask")
    invalid = np.isnan(toa)
    assert (invalid.any(axis=1) == (mask == 255)).all()
    assert (invalid.all(axis=1) == invalid.any(axis=1)).all()
    reflectance, temperature = toa[:, :6][~invalid[:, :6]], toa[:, 6:][~invalid[:, 6:]]
    assert reflectance.min() > -0.01
    assert reflectance.max() < 1.5
    assert temperature.min() >= 180
    assert temperature.max() < 335


def test_cloud_fraction_is_realistic_and_spread(deck):
    fractions = [(mask == 1).sum() / max((mask < 255).sum(), 1) for mask in join(deck, "mask")]
    assert 0.4 < np.mean(fractions) < 0.7
    assert min(fractions) < 0.15
    assert max(fractions) > 0.85


def test_truth_is_the_majority_of_the_fine_pixels(deck):
    mask, fraction = join(deck, "mask"), join(deck, "cloud_fraction")
    valid = mask < 255
    assert ((fraction >= 0.5) == (mask == 1))[valid].all()
    assert set(np.unique(fraction)) <= {0, 0.25, 0.5, 0.75, 1}
    assert (join(deck, "phase")[valid & (mask == 1)] > 0).all()


def test_s1_and_s2_say_nearly_the_same_over_oceanic_cloud(deck):
    toa, mask, kind = join(deck, "toa"), join(deck, "mask"), join(deck, "surface")
    ocean = (mask == 1) & (kind == tables.SEA)
    assert np.corrcoef(toa[:, 0][ocean], toa[:, 1][ocean])[0, 1] > 0.98


def test_visible_brightness_separates_cloud_from_vegetation_and_not_from_snow(deck):
    toa, mask, kind = join(deck, "toa"), join(deck, "mask"), join(deck, "surface")
    thick = (mask == 1) & (join(deck, "optical_depth") > 5)

    def separation(band, here):
        clear, cloudy = (toa[:, band][(kind == here) & where] for where in (mask == 0, thick))
        return (cloudy.mean() - clear.mean()) / np.hypot(clear.std(), cloudy.std())

    assert separation(0, tables.VEGETATION) > 1.5
    assert separation(0, tables.SNOW) < 1.0
    assert separation(4, tables.SNOW) > 1.5


def test_a_swath_edge_leaves_the_rest_of_its_scene():
    scenes = [scene.simulate(0, 0, number, 32) for number in range(40)]
    missing = [np.isnan(part.toa[:, 0]).mean() for part in scenes]
    assert 0 < sum(share > 0 for share in missing) < 15
    assert max(missing) < 0.35


@pytest.fixture
def request_(tmp_path):
    return Request((), tmp_path / "simulated.zarr", {"train": 3, "val": 2, "test": 5}, 32)


def test_make_writes_a_valid_patch_set_and_its_split(request_):
    calls = []
    simulated.SOURCE.make(request_, lambda done, total: calls.append((done, total)))
    with patchset.open_store(request_.store) as dataset:
        patchset.validate(dataset)
    split = splits.read(splits.split_path(request_.store))
    assert {part: len(ids) for part, ids in split.parts.items()} == request_.patches
    assert calls[-1] == (10, 10)
    arrays = patchset.arrays(request_.store)
    assert set(arrays.strata) >= {"surface", "optical_depth", "phase", "top_height", "cloud_fraction", *scene.FLAGS}


def test_the_number_of_processes_changes_nothing(request_, monkeypatch):
    prints = []
    for processes in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda processes=processes: processes)
        simulated.SOURCE.make(request_, lambda done, total: None)
        prints.append(patchset.attributes(request_.store)["fingerprint"])
    assert prints[0] == prints[1]


def test_version_changes_with_the_request_and_is_stable(request_):
    same = simulated.SOURCE.version(request_)
    assert same == simulated.SOURCE.version(replace(request_, store=request_.store.with_name("other.zarr")))
    assert same != simulated.SOURCE.version(replace(request_, seed=1))
    assert same != simulated.SOURCE.version(replace(request_, size=64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 16}, "at least 32"),
        ({"patches": {"train": 2, "val": 0, "test": 2}}, "'val'"),
        ({"options": {"clouds": 3}}, "'clouds'"),
    ],
)
def test_faults_are_named(request_, change, message):
    with pytest.raises(UserError, match=message):
        simulated.SOURCE.make(replace(request_, **change), lambda done, total: None)
