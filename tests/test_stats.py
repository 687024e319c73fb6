"""Tests of benchmark/stats.py."""

import time
from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import bootstrap
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from benchmark import scores, stats


def jaccard(counts):
    return scores.scores(counts)["jaccard"]


def test_by_scene_sums_the_patches_of_a_scene():
    counts = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(stats.by_scene(counts, ["b", "a", "b"]), [[4, 5, 6, 7], [8, 10, 12, 14]])


def own(counts, score=jaccard, resamples=stats.RESAMPLES):
    return stats.interval(stats.resample(counts, score, resamples))


def share(counts):
    return counts[..., 0] / counts.sum(-1)


def test_interval_is_about_the_pooled_score():
    counts = np.random.default_rng(0).integers(1, 500, (2, 8, 4))
    found = own(counts)
    assert found.mean == pytest.approx(jaccard(counts.sum(1)).mean())
    assert found.low < found.mean < found.high
    assert (found.seeds, found.scenes) == (2, 8)


def test_interval_of_a_mean_is_the_textbook_one():
    """With as many pixels in every scene a share is a mean: its interval is Student's t on the scale of the logit."""
    right = np.random.default_rng(1).integers(300, 700, 25)
    found = own(np.stack([right, 1000 - right], -1)[None], share, 50_000)
    mean, error = right.mean() / 1000, right.std(ddof=1) / 1000 / np.sqrt(25)
    reach = student.ppf(0.975, 24) * error / (mean * (1 - mean))
    assert (found.error, found.freedom) == (pytest.approx(error, rel=0.01), pytest.approx(24))
    ends = expit(logit(mean) + np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=3e-4)


def test_standard_error_is_that_of_scipy():
    """Of 30 scenes the usual bootstrap draws 30, so its error is less by the root of 29/30."""
    counts = np.random.default_rng(2).integers(1, 500, (1, 30, 4))
    usual = bootstrap((np.arange(30),), lambda place, axis: jaccard(counts[0, place].sum(-2)), n_resamples=4000, rng=0)
    found = own(counts, resamples=4000)
    assert found.error == pytest.approx(usual.standard_error * np.sqrt(30 / 29), rel=0.04)
    assert (found.low, found.high) == pytest.approx(
        tuple(usual.confidence_interval), abs=0.15 * (found.high - found.low)
    )


@pytest.mark.parametrize(("seeds", "scenes"), [(1, 4), (3, 6), (3, 12), (1, 40)])
def test_interval_covers_the_score_as_often_as_it_says(seeds, scenes):
    rng, tries = np.random.default_rng(scenes), 1000
    truth = np.mean([jaccard(sides(np.random.default_rng(99 + i), 40, 20_000)[0].sum(1)).mean() for i in range(3)])
    firsts, _ = sides(rng, seeds, scenes, tries=(tries,))
    found = [own(counts, resamples=300) for counts in firsts]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_identical_scenes_leave_no_spread():
    found = own(np.tile([[50, 10, 10, 30]], (1, 6, 1)))
    assert found.low == pytest.approx(found.high)


def test_a_score_at_its_bound_has_an_interval_there():
    found = own(np.tile([[50, 0, 0, 30]], (1, 6, 1)))
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_an_interval_stays_within_the_bounds_of_its_score():
    counts = np.array([[[90, 10, 10, 90], [50, 50, 50, 50]]])
    draws = stats.resample(counts, lambda c: scores.scores(c)["kuiper"])
    narrow, wide = stats.interval(draws), stats.interval(draws, (-1, 1))
    assert -1 <= wide.low < 0 <= narrow.low < narrow.mean == wide.mean < narrow.high <= 1


def test_one_scene_has_no_interval():
    counts = np.array([[[50, 10, 10, 30]]])
    found = own(counts)
    assert found.mean == pytest.approx(jaccard(counts[0, 0]))
    assert np.isnan([found.low, found.high, found.error]).all()


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


@pytest.mark.parametrize("effect", [0.0, 0.1, 0.25])
def test_p_is_below_five_percent_where_the_interval_leaves_zero_out(effect):
    for number in range(30):
        found = paired(*sides(np.random.default_rng(number), 2, 8, effect), 300)
        assert (found.p < 0.05) == found.resolved
        assert found.p == pytest.approx(2 * student.sf(abs(found.mean) / found.error, found.freedom))


def test_p_of_sides_that_err_alike():
    counts = np.tile([[50, 10, 10, 30]], (1, 6, 1))
    assert paired(counts, counts).p == 1
    assert paired(counts, counts[..., [1, 0, 2, 3]]).p < 1e-12
    assert np.isnan(stats.Difference().p)


def test_holm_is_that_of_statsmodels():
    p = np.random.default_rng(0).random(30) ** 4
    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1])
    p[[3, 7]] = np.nan
    known = ~np.isnan(p)
    np.testing.assert_allclose(stats.holm(p)[known], multipletests(p[known], method="holm")[1])
    assert np.isnan(stats.holm(p)[[3, 7]]).all()
    assert len(stats.holm([])) == 0


@pytest.mark.parametrize("n", [3, 5, 30])
def test_detectable_difference_is_that_of_statsmodels(n):
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert stats.detectable(2.5 / np.sqrt(n), n - 1) == pytest.approx(2.5 * effect, rel=1e-4)


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    rng, n, tries = np.random.default_rng(0), 12, 4000
    noise = rng.normal(0, 0.05, (tries, n))
    drawn = stats.detectable(0.05 / np.sqrt(n), n - 1) + noise
    error = drawn.std(1, ddof=1) / np.sqrt(n)
    found = np.abs(drawn.mean(1)) / error > student.ppf(0.975, n - 1)
    assert found.mean() == pytest.approx(0.8, abs=0.02)


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


def test_thirty_rows_and_all_their_pairs_take_a_moment():
    rng = np.random.default_rng(0)
    start = time.process_time()
    draws = [stats.resample(rng.integers(1, 5000, (3, 30, 4)), jaccard, 1000) for _ in range(30)]
    for one, other in combinations(draws, 2):
        stats.difference([one], [other])
    assert time.process_time() - start < 2
