from dataclasses import replace

import numpy as np
import pytest
from patch_factory import make_images, make_part, toa_and_mask

from baselines import boosted_trees, random_forest
from baselines.boosted_trees import BoostedTrees
from baselines.naive_bayes import NaiveBayes
from baselines.random_forest import RandomForest
from benchmark import catalog, scores
from benchmark.api import CLEAR, CLOUD, Budget, Context, NotRun, Part

CONTEXT = Context(seed=7, budget=Budget(pixels=3000), score=scores.ranking)
needs_intelex = pytest.mark.skipif(catalog.package_missing("sklearnex"), reason="scikit-learn-intelex is not installed")
FOREST, INTELEX = RandomForest(n_estimators=10), RandomForest(n_estimators=10, intelex=True)
KINDS = [
    pytest.param(NaiveBayes(), id="naive-bayes"),
    pytest.param(FOREST, id="random-forest"),
    pytest.param(INTELEX, id="intelex", marks=needs_intelex),
    pytest.param(BoostedTrees(), id="lightgbm"),
]
ROLE_SETS = [
    ("GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"),
    ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2", "CIRRUS", "BT_11"),
    ("BT_37", "BT_11", "BT_12"),
    ("RED",),
]


def fitted(method, train, val, context=CONTEXT):
    method = replace(method)
    method.fit(train, val, context)
    return method


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("roles", ROLE_SETS, ids="-".join)
@pytest.mark.parametrize("method", KINDS)
def test_learns_from_whichever_bands_are_there(method, roles, context):
    train, val, other = (make_part(roles=roles, seed=seed) for seed in range(3))
    method = fitted(replace(method, context=context), train, val)
    probability = method.predict(other.images, CONTEXT)
    assert scores.ranking(probability, other.truth) > 0.95
    np.testing.assert_array_equal(probability, method.predict(other.images, CONTEXT))


@pytest.mark.parametrize("method", KINDS)
def test_order_and_company_of_patches_do_not_matter(method):
    train, val, other = (make_part(seed=seed) for seed in range(3))
    method = fitted(method, train, val)
    together = method.predict(other.images, CONTEXT)
    order = np.array([5, 0, 3])
    np.testing.assert_array_equal(method.predict(other.images.take(order), CONTEXT), together[order])


@pytest.mark.parametrize("method", KINDS)
def test_pixel_that_lacks_a_band_gets_an_answer(method):
    train, val = make_part(seed=0), make_part(seed=1)
    toa, mask = toa_and_mask(2, 32, seed=2, invalid=False)
    toa[:, 4, ::3] = np.nan
    probability = fitted(method, train, val).predict(make_images(toa), CONTEXT)
    assert scores.ranking(probability, mask) > 0.9


@pytest.mark.parametrize("method", [kind for kind in KINDS if kind.id != "intelex"])
def test_labelled_pixels_may_lack_a_band(method):
    train, val = make_part(seed=0), make_part(seed=1)
    train.images.toa[:, 4, ::3] = np.nan
    assert scores.ranking(fitted(method, train, val).predict(val.images, CONTEXT), val.truth) > 0.95


@needs_intelex
def test_intelex_never_grows_the_trees_of_scikit_learn():
    train, val = make_part(seed=0), make_part(seed=1)
    train.images.toa[:, 4, ::3] = np.nan
    with pytest.raises(NotRun, match="row random-forest"):
        fitted(INTELEX, train, val)


@needs_intelex
def test_intelex_agrees_with_its_own_prediction():
    from sklearnex.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 4)).astype(np.float32)
    cloud = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(0, 0.5, 20_000) > 0
    params = {"n_estimators": 20, "min_samples_leaf": 50, "random_state": 0}
    ours = random_forest._grow_with_intelex(values, cloud, **params).predict_proba(values)[:, 1]
    theirs = RandomForestClassifier(n_jobs=-1, **params).fit(values, cloud).predict_proba(values)[:, 1]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert ((ours > 0.5) == (theirs > 0.5)).mean() > 0.97
    assert ours.mean() == pytest.approx(cloud.mean(), abs=0.005)


def test_forest_is_that_of_scikit_learn():
    from sklearn.ensemble import RandomForestClassifier

    train, other = make_part(seed=0), make_part(seed=1)
    everything = replace(CONTEXT, budget=Budget(pixels=10**6))
    found = fitted(FOREST, train, other, everything).predict(other.images, everything)
    rows = np.moveaxis(train.images.toa, 1, -1)[train.truth != 255]
    forest = RandomForestClassifier(n_estimators=10, min_samples_leaf=20, random_state=7)
    forest.fit(rows, train.truth[train.truth != 255])
    valid = other.truth != 255
    plain = forest.predict_proba(np.moveaxis(other.images.toa, 1, -1)[valid])[:, 1]
    np.testing.assert_allclose(found[valid], plain, atol=1e-6)


@pytest.mark.parametrize("label", [CLEAR, CLOUD])
@pytest.mark.parametrize("method", [kind for kind in KINDS if kind.id != "intelex"])
def test_training_pixels_of_one_class_give_that_class(method, label):
    train, val = make_part(seed=0), make_part(seed=1)
    train.truth[train.truth != 255] = label
    probability = fitted(method, train, val).predict(val.images, CONTEXT)
    assert np.isfinite(probability).all()
    if not isinstance(method, NaiveBayes):  # calibrated on val, it answers with val's cloud fraction
        valid = val.truth != 255
        assert ((probability[valid] > 0.5) == (label == CLOUD)).all()


def test_val_does_not_fit_the_forest():
    train, val = make_part(seed=0), make_part(seed=1)
    flipped = Part(val.images, np.where(val.truth == 255, 255, 1 - val.truth).astype(np.uint8), val.scenes)
    first, second = (fitted(FOREST, train, part).predict(val.images, CONTEXT) for part in (val, flipped))
    np.testing.assert_array_equal(first, second)


def test_val_only_decides_where_boosting_stops():
    train, val = make_part(seed=0), make_part(seed=1)
    flipped = Part(val.images, np.where(val.truth == 255, 255, 1 - val.truth).astype(np.uint8), val.scenes)
    right, wrong = fitted(BoostedTrees(), train, val).booster_, fitted(BoostedTrees(), train, flipped).booster_
    assert wrong.best_iteration < right.best_iteration
    rows = np.moveaxis(val.images.toa, 1, -1).reshape(-1, 5)
    few = wrong.best_iteration
    np.testing.assert_array_equal(right.predict(rows, num_iteration=few), wrong.predict(rows, num_iteration=few))


def test_val_only_calibrates_naive_bayes():
    train, val = make_part(seed=0), make_part(seed=1)
    first, second = fitted(NaiveBayes(), train, val), fitted(NaiveBayes(), train, make_part(seed=2))
    np.testing.assert_array_equal(first.log_odds_, second.log_odds_)
    np.testing.assert_array_equal(first.edges_, second.edges_)
    assert first.scale_ != second.scale_
    clear = Part(val.images, np.zeros_like(val.truth), val.scenes)
    with pytest.raises(NotRun, match="one class"):
        fitted(NaiveBayes(), train, clear)


def test_naive_bayes_adds_smoothed_log_odds():
    """Two bins of one band: the log odds can be counted by hand."""
    toa = np.zeros((1, 1, 2, 10), np.float32)
    toa[0, 0, 1] = 1.0
    mask = np.zeros((1, 2, 10), np.uint8)
    mask[0, 0, :2], mask[0, 1, :6] = CLOUD, CLOUD
    part = Part(make_images(toa, ("CIRRUS",)), mask, ("a",))
    method = fitted(NaiveBayes(bins=2, smoothing=1.0), part, part)
    expected = [np.log((3 / 10) / (9 / 14)), np.log((7 / 10) / (5 / 14))]
    np.testing.assert_allclose(method.log_odds_[2, 0], [*expected, 0.0])


def test_naive_bayes_tells_surfaces_apart():
    """Bright is cloud over water and clear over land, which only the land map can tell."""
    rng = np.random.default_rng(0)
    toa = rng.choice(np.array([0.1, 0.5], np.float32), (4, 1, 16, 16))
    land = rng.integers(0, 2, (4, 16, 16), dtype=np.uint8)
    mask = ((toa[:, 0] > 0.3) ^ (land == 1)).astype(np.uint8)
    part = Part(make_images(toa, ("RED",), land), mask, tuple("abcd"))
    probability = fitted(NaiveBayes(bins=4), part, part).predict(part.images, CONTEXT)
    np.testing.assert_array_equal(probability > 0.5, mask == CLOUD)


def test_boosting_reports_its_curve_and_may_be_ended():
    class Enough(Exception):
        pass

    seen = []

    def report(step, **values):
        seen.append((step, values))
        if len(seen) == 2:
            raise Enough

    with pytest.raises(Enough):
        fitted(BoostedTrees(), make_part(seed=0), make_part(seed=1), replace(CONTEXT, report=report))
    assert [step for step, _ in seen] == [boosted_trees.REPORT_EVERY, 2 * boosted_trees.REPORT_EVERY]
    assert seen[0][1]["score"] > 0.9
    assert 0 < seen[1][1]["val_loss"] < seen[0][1]["val_loss"]
