import numpy as np
import pytest
from patch_factory import make_images, make_part, toa_and_mask

from baselines import _cloud_tests, _pixels
from baselines.majority import Majority
from baselines.thresholds import LITERATURE, FittedThresholds, Thresholds, _best_cut
from benchmark import scores
from benchmark.api import CLEAR, CLOUD, Budget, Context, NotRun, Part

SLSTR = ("GREEN", "RED", "NIR_NARROW", "CIRRUS", "SWIR_1", "SWIR_2", "BT_37", "BT_11", "BT_12")
# Hand-made pixels, reflectance and K, in the order of SLSTR.
VEGETATION = (0.08, 0.05, 0.45, 0.001, 0.22, 0.10, 298.0, 296.0, 295.0)
DARK_SEA = (0.06, 0.03, 0.02, 0.001, 0.005, 0.003, 290.0, 289.0, 288.0)
DESERT = (0.25, 0.35, 0.42, 0.002, 0.60, 0.55, 309.0, 305.0, 304.0)
FRESH_SNOW = (0.95, 0.93, 0.85, 0.005, 0.10, 0.05, 262.0, 262.0, 261.8)
THICK_CLOUD = (0.70, 0.70, 0.68, 0.010, 0.45, 0.35, 285.0, 265.0, 264.5)
SEA_STRATUS = (0.20, 0.19, 0.18, 0.002, 0.16, 0.13, 292.0, 282.0, 281.6)
CIRRUS_ON_PLANTS = (0.12, 0.09, 0.47, 0.045, 0.26, 0.13, 285.0, 275.0, 273.0)
SPLIT_CIRRUS = (0.10, 0.07, 0.45, 0.020, 0.22, 0.10, 284.0, 276.0, 272.0)
SNOWY_CIRRUS = (0.90, 0.88, 0.80, 0.060, 0.12, 0.06, 250.0, 243.0, 242.0)


def images_of(pixel, roles=SLSTR, land=None):
    values = np.array([pixel[SLSTR.index(role)] for role in roles], np.float32)
    toa = np.broadcast_to(values[None, :, None, None], (1, len(roles), 2, 2)).copy()
    return make_images(toa, roles, None if land is None else np.full((1, 2, 2), land, np.uint8))


def answer(pixel, roles=SLSTR, land=None):
    return Thresholds().predict(images_of(pixel, roles, land), Context())[0, 0, 0]


@pytest.mark.parametrize(
    ("pixel", "land", "cloud"),
    [
        (VEGETATION, 1, False),
        (VEGETATION, None, False),
        (DARK_SEA, 0, False),
        (DARK_SEA, None, False),
        (DESERT, 1, False),
        (FRESH_SNOW, 1, False),
        (FRESH_SNOW, 255, False),
        (THICK_CLOUD, 1, True),
        (THICK_CLOUD, 0, True),
        (THICK_CLOUD, None, True),
        (SEA_STRATUS, 0, True),
        (CIRRUS_ON_PLANTS, 1, True),
        (SPLIT_CIRRUS, 1, True),
        (SNOWY_CIRRUS, 1, True),
    ],
)
def test_known_pixels(pixel, land, cloud):
    assert (answer(pixel, land=land) > 0.5) == cloud


def test_each_test_decides_where_the_others_are_silent():
    assert answer(FRESH_SNOW, ("RED",)) > 0.5, "without 1.6 um snow is as bright as cloud"
    assert answer(FRESH_SNOW, ("GREEN", "RED", "NIR_NARROW", "SWIR_1")) < 0.5
    assert answer(CIRRUS_ON_PLANTS, ("GREEN", "RED", "NIR_NARROW")) < 0.5
    assert answer(CIRRUS_ON_PLANTS, ("CIRRUS",)) > 0.5
    assert answer(SPLIT_CIRRUS, ("BT_11",)) < 0.5
    assert answer(SPLIT_CIRRUS, ("BT_11", "BT_12")) > 0.5
    assert answer(THICK_CLOUD, ("BT_11",), land=0) > 0.5
    assert answer(THICK_CLOUD, ("BT_11",), land=1) < 0.5
    assert answer(SEA_STRATUS, ("BT_37", "BT_11"), land=0) > 0.5


def test_the_same_reflectance_is_cloud_over_water_and_clear_over_land():
    thin = list(SEA_STRATUS)
    thin[0] = thin[1] = 0.12
    roles = ("GREEN", "RED", "NIR_NARROW")
    assert answer(thin, roles, land=0) > 0.5
    assert answer(thin, roles, land=1) < 0.5


def test_invalid_band_takes_no_part():
    pixel = list(THICK_CLOUD)
    pixel[SLSTR.index("BT_11")] = np.nan
    assert answer(pixel) > 0.5


def test_grade_rises_with_distance_from_the_cut():
    reds = np.array([0.0, 0.1, 0.17, 0.19, 0.25, 0.4], np.float32)
    graded = Thresholds().predict(make_images(reds.reshape(1, 1, 1, 6), ("RED",)), Context()).ravel()
    assert (np.diff(graded) > 0).all()
    np.testing.assert_array_equal(graded > 0.5, reds > 0.18)
    assert graded[2] == pytest.approx(1 / (1 + np.exp(0.01 / 0.04)), abs=1e-4)


@pytest.mark.parametrize("kind", [Thresholds, FittedThresholds])
def test_bands_that_no_test_uses_are_refused(kind):
    part = make_part(roles=("SWIR_1", "SWIR_2"))
    with pytest.raises(NotRun, match="no cloud test works with these bands"):
        kind().fit(part, part, Context())


def test_cut_is_the_best_of_all_candidates():
    """The quick search finds what trying every candidate finds, for each test of the rule."""
    rng = np.random.default_rng(0)
    pixels = np.repeat([VEGETATION, DESERT, FRESH_SNOW, THICK_CLOUD, CIRRUS_ON_PLANTS, DARK_SEA], 50, axis=0)
    values = (pixels * rng.normal(1, [0.3] * 6 + [0.02] * 3, pixels.shape)).astype(np.float32)
    cloud = np.repeat([False, False, False, True, True, False], 50)
    land = rng.choice(np.array([0, 1, 255], np.uint8), len(values))
    columns = _cloud_tests.features(_pixels.Pixels(values, SLSTR, land))
    assert columns.keys() == _cloud_tests.TESTS.keys() - {"hazy"}

    def quality(cuts):
        found = _cloud_tests.grade(columns, cuts) > 0
        return scores.ranking(found[None, None].astype(np.float32), cloud[None, None].astype(np.uint8))

    for name, column in columns.items():
        chosen = quality(LITERATURE | {name: _best_cut(name, columns, LITERATURE, cloud, 1000)})
        everything = np.unique(column[np.isfinite(column)])
        ends = np.nextafter(everything[[0, -1]], [-np.inf, np.inf], dtype=np.float32)
        tried = max(quality(LITERATURE | {name: float(cut)}) for cut in (*everything, *ends))
        assert chosen >= tried - 1e-9, name
        assert chosen >= quality(LITERATURE), name


def test_fitting_finds_the_cut_between_two_classes():
    toa = np.full((2, 1, 8, 8), 0.30, np.float32)
    toa[:, :, :, 4:] = 0.50
    mask = np.where(toa[:, 0] > 0.4, CLOUD, CLEAR).astype(np.uint8)
    part = Part(make_images(toa, ("RED",)), mask, ("a", "b"))
    method = FittedThresholds()
    method.fit(part, part, Context())
    assert 0.30 <= method.cuts_["bright land"] < 0.50
    np.testing.assert_array_equal(method.predict(part.images, Context()) > 0.5, mask == CLOUD)
    assert scores.ranking(Thresholds().predict(part.images, Context()), mask) < 0.5


def test_fitting_never_lowers_the_score_and_ignores_val():
    train, val = make_part(roles=SLSTR, seed=1), make_part(roles=SLSTR, seed=2)
    context = Context(budget=Budget(pixels=10**6))
    first, second = FittedThresholds(), FittedThresholds()
    first.fit(train, val, context)
    second.fit(train, train, context)
    assert first.cuts_ == second.cuts_
    fitted, plain = (scores.ranking(m.predict(train.images, context), train.truth) for m in (first, Thresholds()))
    assert fitted >= plain


def test_every_cut_names_its_source():
    assert all(test.source and test.width for test in _cloud_tests.TESTS.values())


def test_majority_is_the_cloud_fraction():
    toa, mask = toa_and_mask(2, 8)
    mask[:] = CLEAR
    mask[0, :2] = CLOUD
    mask[1, 0] = 255
    part = Part(make_images(toa), mask, ("a", "b"))
    method = Majority()
    method.fit(part, part, Context())
    np.testing.assert_allclose(method.predict(part.images, Context()), np.full((2, 8, 8), 16 / 120), rtol=1e-6)
