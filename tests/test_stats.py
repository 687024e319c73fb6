import numpy as np
import pytest

from benchmark import scores, stats


def jaccard(counts):
    return scores.scores(counts)["jaccard"]


def test_by_scene_sums_the_patches_of_a_scene():
    counts = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(stats.by_scene(counts, ["b", "a", "b"]), [[4, 5, 6, 7], [8, 10, 12, 14]])


def test_bootstrap_mean_is_the_pooled_score():
    counts = np.random.default_rng(0).integers(1, 500, (2, 8, 4))
    mean, low, high = stats.bootstrap(counts, jaccard)
    assert mean == pytest.approx(jaccard(counts.sum(1)).mean())
    assert low < mean < high


def test_bootstrap_equals_resampling_scenes_one_by_one():
    counts = np.random.default_rng(1).integers(1, 500, (1, 10, 4))
    rng = np.random.default_rng(7)
    draws = [jaccard(counts[0, rng.integers(0, 10, 10)].sum(0)) for _ in range(4000)]
    _, low, high = stats.bootstrap(counts, jaccard, resamples=4000)
    assert (low, high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), abs=0.01)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    truth, hits, tries = 0.8, 0, 400
    for _ in range(tries):
        right = rng.binomial(200, np.clip(rng.normal(truth, 0.05, 40), 0, 1))
        counts = np.stack([right, 200 - right, 0 * right, 0 * right], axis=-1)[None]
        _, low, high = stats.bootstrap(counts, lambda c: scores.scores(c)["accuracy"], resamples=300)
        hits += low <= truth <= high
    assert 0.90 <= hits / tries <= 0.98


def test_identical_scenes_leave_no_spread():
    _, low, high = stats.bootstrap(np.tile([[50, 10, 10, 30]], (1, 6, 1)), jaccard)
    assert low == high


def test_one_scene_has_no_interval():
    mean, low, high = stats.bootstrap(np.array([[[50, 10, 10, 30]]]), jaccard)
    assert mean == pytest.approx(jaccard(np.array([50, 10, 10, 30])))
    assert np.isnan([low, high]).all()


def test_scene_without_a_valid_pixel_changes_nothing():
    counts = np.random.default_rng(0).integers(1, 500, (2, 8, 4))
    padded = np.concatenate([counts, np.zeros((2, 1, 4), int)], axis=1)
    assert stats.bootstrap(padded, jaccard) == stats.bootstrap(counts, jaccard)
