"""Tests of benchmark/stats.py."""

import time

import numpy as np
import pytest
from scipy.stats import t as student

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


def sides(rng, seeds, scenes, effect=0.3, tries=(), spread=0.03):
    """Counts (*tries, seeds, scenes, 4) of two lines on the same scenes; the second errs more by `effect`."""
    shape = (*tries, 1, scenes)
    pixels = 20_000 * np.exp(rng.normal(0, 0.5, shape))
    share, hard = rng.beta(1, 1, shape), rng.normal(-2.2, 0.7, shape)
    made = []
    for more in (0.0, effect):
        wrong = []
        for _ in range(2):  # of clear and of cloud
            noise = rng.normal(0, 0.25, shape) + rng.normal(0, spread, (*tries, seeds, 1))
            wrong.append(1 / (1 + np.exp(-hard - more - noise - rng.normal(0, 0.1, (*tries, seeds, scenes)))))
        clear, cloud = pixels * (1 - share), pixels * share
        made.append(np.stack([clear * (1 - wrong[0]), clear * wrong[0], cloud * wrong[1], cloud * (1 - wrong[1])], -1))
    return made


def paired(first, second, resamples=stats.RESAMPLES):
    draws = [stats.resample(counts, jaccard, resamples) for counts in (first, second)]
    return stats.difference(draws[:1], draws[1:])


def test_difference_is_that_of_the_pooled_scores_and_turns_with_its_sides():
    first, second = sides(np.random.default_rng(0), 3, 8)
    found, turned = paired(first, second), paired(second, first)
    assert found.mean == pytest.approx((jaccard(first.sum(1)) - jaccard(second.sum(1))).mean())
    assert (found.seeds, found.scenes) == (3, 8)
    assert found.low < found.mean < found.high
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert found.resolved
    assert turned.resolved
    assert not paired(first, first).resolved


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    (first, second), (_, other) = sides(rng, 1, 20), sides(rng, 1, 20)
    assert paired(first, second).high - paired(first, second).low < 0.6 * (
        paired(first, other).high - paired(first, other).low
    )


def test_seeds_are_resampled_where_there_are_several():
    first, second = sides(np.random.default_rng(0), 3, 12, spread=0.5)
    several, one = paired(first, second), paired(first[:1], second[:1])
    assert several.high - several.low > one.high - one.low


@pytest.mark.parametrize("scenes", [3, 4, 5])
def test_seeds_are_resampled_independently_of_as_many_scenes(scenes):
    """Where scenes and seeds add up, so do the variances of their draws."""
    rng = np.random.default_rng(0)
    place, seed = rng.normal(0, 0.02, (1, scenes, 1)), rng.normal(0, 0.02, (scenes, 1, 1))
    right = 0.5 + place + seed
    first, second = (np.concatenate([share, 1 - share], -1) for share in (right, 0.5 + 0 * right))
    drawn = [stats.resample(counts, lambda c: c[..., 0] / c.sum(-1), 20_000) for counts in (first, second)]
    found = stats.difference(drawn[:1], drawn[1:])
    variances = [np.var(part, ddof=1) / scenes for part in (place, seed)]
    free = sum(variances) ** 2 / sum(one**2 / (scenes - 1) for one in variances)
    width = student.ppf(0.975, free) * np.sqrt(sum(variances))
    assert (found.high - found.low) / 2 == pytest.approx(width, rel=0.03)


def test_an_interval_ends_where_differences_of_shares_end():
    counts = np.array([[[90, 10, 10, 90], [50, 50, 50, 50]]])
    found = paired(counts, counts[:, ::-1] * [[[1], [3]]])
    assert (found.low, found.high) == (-1, 1)
    assert not found.resolved


def test_mean_over_settings_takes_the_same_scenes_for_all():
    draws = [stats.resample(counts, jaccard) for counts in sides(np.random.default_rng(0), 2, 9)]
    one, twice = stats.difference(draws[:1], draws[1:]), stats.difference(draws[:1] * 2, draws[1:] * 2)
    assert twice == one, "the same setting twice tells nothing new"


def test_one_scene_has_a_difference_without_interval():
    found = paired(*sides(np.random.default_rng(0), 2, 1))
    assert found.mean > 0
    assert np.isnan([found.low, found.high]).all()
    assert not found.resolved


def test_common_matches_seeds_and_scenes_by_name():
    counts = np.arange(12).reshape(2, 3, 2)
    first, second = stats.Tally((0, 1), ("a", "b", "c"), counts), stats.Tally((1, 0), ("c", "a", "d"), counts)
    seeds, scenes = stats.common([first, second])
    assert (seeds, scenes) == ((0, 1), ("a", "c"))
    np.testing.assert_array_equal(first.take(seeds, scenes), counts[:, [0, 2]])
    np.testing.assert_array_equal(second.take(seeds, scenes), counts[::-1][:, [1, 0]])


@pytest.fixture(scope="module")
def truth():
    """The difference on 20,000 scenes with 40 seeds."""
    first, second = sides(np.random.default_rng(99), 40, 20_000)
    return (jaccard(first.sum(1)) - jaccard(second.sum(1))).mean()


@pytest.mark.parametrize(("seeds", "scenes"), [(1, 4), (3, 4), (4, 4), (3, 6), (3, 12), (2, 30)])
def test_interval_of_a_difference_covers_the_truth_as_often_as_it_says(truth, seeds, scenes):
    """Seeds differ little here, as after equal training; from four scenes on."""
    rng, tries = np.random.default_rng(scenes), 1000
    firsts, seconds = sides(rng, seeds, scenes, tries=(tries,))
    found = [paired(first, second, 300) for first, second in zip(firsts, seconds, strict=True)]
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.93 <= held <= 0.97


def test_thirty_rows_take_a_moment():
    rng = np.random.default_rng(0)
    start = time.process_time()
    draws = [stats.resample(rng.integers(1, 5000, (3, 30, 4)), jaccard) for _ in range(30)]
    for one in draws[1:]:
        stats.difference([one], draws[:1])
    assert time.process_time() - start < 2
