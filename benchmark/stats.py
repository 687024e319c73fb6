"""Intervals by resampling scenes and seeds, from counts a patch alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

RESAMPLES = 2000
ALPHA, POWER = 0.05, 0.8
SCENES, SEEDS = 0, 1  # streams of random numbers: as many scenes as seeds must not be drawn alike
Score = Callable[[np.ndarray], np.ndarray]  # counts (..., k) -> score (...)


def by_scene(counts: np.ndarray, scenes: Sequence[str]) -> np.ndarray:
    """Sum counts (..., patches, k) over the patches of each scene: (..., scenes, k), scenes in sorted order."""
    return _membership(tuple(scenes)) @ np.asarray(counts)


@lru_cache(8)  # all lines of a comparison have the same scenes
def _membership(scenes: tuple[str, ...]) -> np.ndarray:
    """Return 1 where a patch is of a scene, (scenes, patches)."""
    names, place = np.unique(np.asarray(scenes), return_inverse=True)
    member = (np.arange(len(names))[:, None] == place[None, :]).astype(np.int64)
    member.setflags(write=False)
    return member


@dataclass(frozen=True)
class Tally:
    """Counts of one line: (seeds, scenes, k), with the names of seeds and scenes."""

    seeds: tuple[int, ...]
    scenes: tuple[str, ...]
    counts: np.ndarray

    def take(self, seeds: Sequence[int], scenes: Sequence[str]) -> np.ndarray:
        """Return the counts of these seeds and scenes, in this order."""
        place = np.ix_([self.seeds.index(seed) for seed in seeds], [self.scenes.index(scene) for scene in scenes])
        return self.counts[place]


def common(tallies: Sequence[Tally]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the seeds and the scenes that all have, by name and sorted."""
    seeds = set.intersection(*(set(tally.seeds) for tally in tallies))
    scenes = set.intersection(*(set(tally.scenes) for tally in tallies))
    return tuple(sorted(seeds)), tuple(sorted(scenes))


@dataclass(frozen=True)
class Draws:
    """Scores by seed: of all scenes (seeds), of resampled ones (resamples, seeds), without each one (scenes, seeds)."""

    score: np.ndarray
    resampled: np.ndarray
    without: np.ndarray


def resample(counts: np.ndarray, score: Score, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """Return the scores of a line with its scenes resampled, for `interval` and `difference`.

    Of n scenes n - 1 are drawn with replacement, so that the variance of the draws is that of the mean (Rao and Wu
    1988, JASA).

    Args:
        counts: (seeds, scenes, k).
        score: counts (..., k) -> score (...).
        resamples: bootstrap draws.
        seed: of the draws: lines of as many scenes see the same draws.
    """
    flat = np.ascontiguousarray(np.moveaxis(np.asarray(counts, np.float64), 1, 0))
    return _resampled(flat.tobytes(), flat.shape, score, resamples, seed)


@lru_cache(256)  # the same line is in its interval, in the gate and in differences
def _resampled(counts: bytes, shape: tuple[int, ...], score: Score, resamples: int, seed: int) -> Draws:
    flat = np.frombuffer(counts).reshape(shape)
    scenes = len(flat)
    weights = (np.ones((1, scenes)), drawn_times(scenes, resamples, seed, SCENES), 1 - np.eye(scenes))
    whole, *parts = (score(np.tensordot(weight, flat, 1)) for weight in weights)
    return Draws(whole[0], *parts)


@cache
def drawn_times(units: int, resamples: int, seed: int, stream: int) -> np.ndarray:
    """Return how often each unit is drawn, (resamples, units); a single unit always is."""
    rng = np.random.default_rng([units, seed, stream])
    return rng.multinomial(max(1, units - 1), np.full(units, 1 / units), size=resamples)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, its 95 % interval (NaN: none), and how many seeds and scenes it rests on.

    Attributes:
        mean, low, high: of a score or a difference of scores.
        seeds, scenes: how many.
        error: standard error, over scenes and seeds; NaN without an interval.
        freedom: degrees of freedom of Student's t.
    """

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    scenes: int = 0
    error: float = math.nan
    freedom: float = math.nan


@dataclass(frozen=True)
class Difference(Estimate):
    """An estimate of a difference: whether it is 0 is a question."""

    @property
    def resolved(self) -> bool:
        """Whether there is an interval and it leaves 0 out."""
        return self.low > 0 or self.high < 0

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference, by the t of the interval: below 0.05 where that leaves 0 out."""
        from scipy.special import stdtr

        if not self.error:  # both sides erred alike in every scene
            return float(self.mean == 0)
        return float(2 * stdtr(self.freedom, -abs(self.mean) / self.error))

    @property
    def detectable(self) -> float:
        """The smallest true difference that a comparison of this standard error finds, see `detectable`."""
        return detectable(self.error, self.freedom)


def interval(draws: Draws, bounds: tuple[float, float] = (0, 1), seed: int = 0) -> Estimate:
    """Return the mean of a score over seeds with a 95 % interval over scenes and seeds.

    Draws, standard error and Student's t are those of `difference`; the interval is made on the scale of the score's
    logit (its error by the delta method) and turned back, as scores near their bounds are skewed. On simulated records
    it held the true score in 93 to 97 % of the cases with 4 to 60 scenes and in 98 % with 3, without the logit in 92 to
    96 %.

    Args:
        draws: of `resample`.
        bounds: beyond which the score cannot lie.
        seed: of the draws of seeds.

    Returns:
        The estimate; its interval is NaN for fewer than two scenes.
    """
    from scipy.special import expit, logit, stdtrit

    found = Estimate(*_estimate(draws.score, draws.resampled, draws.without, bounds, seed))
    least, width = bounds[0], bounds[1] - bounds[0]
    share = (found.mean - least) / width
    if not 0 < share < 1:  # no logit: the score is at its bound in every scene
        return found
    reach = stdtrit(found.freedom, 1 - ALPHA / 2) * found.error / width / (share * (1 - share))
    low, high = least + width * expit(logit(share) + np.array([-reach, reach]))
    return replace(found, low=float(low), high=float(high))


def difference(first: Sequence[Draws], second: Sequence[Draws], seed: int = 0) -> Difference:
    """Return first minus second, the mean over settings and seeds, with a 95 % interval over scenes and seeds.

    Paired: a draw takes the same scenes and the same seeds for both sides and for all settings. Scenes are resampled,
    and seeds independently of them where there are two or more (two crossed levels, the pigeonhole bootstrap of Owen
    2007, Annals of Applied Statistics); settings are not. With one seed the interval says nothing of another seed. It
    is the difference plus or minus a quantile of Student's t times the standard deviation of the draws, with
    Satterthwaite's (1946) degrees of freedom for the two levels. On simulated records the percentile interval of such
    draws held the true difference in 78 to 89 % of the cases with 4 to 6 scenes and in 90 to 92 % with 20, the basic
    and the BCa interval less often, this one in 93 to 97 % from 3 scenes on. With two scenes, or two seeds that differ
    much, it is wide, as it must be. It is clipped to [-1, 1], beyond which scores that are shares cannot differ.

    Args:
        first: draws of `resample` of a score from 0 to 1, an entry a setting, all of the same seeds and scenes.
        second: the same of the lines that they are compared with.
        seed: of the draws of seeds.

    Returns:
        The difference; its interval is NaN for fewer than two scenes.
    """
    each, drawn, without = (
        np.mean([getattr(a, part) - getattr(b, part) for a, b in zip(first, second, strict=True)], axis=0)
        for part in ("score", "resampled", "without")
    )
    return Difference(*_estimate(each, drawn, without, (-1, 1), seed))


def _estimate(
    each: np.ndarray, drawn: np.ndarray, without: np.ndarray, bounds: tuple[float, float], seed: int
) -> tuple[float, float, float, int, int, float, float]:
    """Return the fields of an Estimate from the arrays of Draws."""
    from scipy.special import stdtrit

    scenes, seeds = without.shape
    mean = float(np.mean(each)) if seeds else math.nan
    if scenes < 2 or math.isnan(mean):
        return mean, math.nan, math.nan, seeds, scenes, math.nan, math.nan
    share = drawn_times(seeds, len(drawn), seed, SEEDS)
    error = float(np.nanstd((drawn * share).sum(1) / share.sum(1), ddof=1))
    freedom = _freedom(each, without.mean(1))
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    low, high = np.clip([mean - reach, mean + reach], *bounds)
    return mean, float(low), float(high), seeds, scenes, error, freedom


def _freedom(each: np.ndarray, without: np.ndarray) -> float:
    """Return the degrees of freedom of Student's t, from the variances over scenes and seeds.

    Args:
        each: score or difference of each seed.
        without: the same without each scene, for the jackknife's variance.
    """
    parts = [((len(without) - 1) * float(np.nanvar(without)), len(without) - 1)]
    if len(each) > 1:
        parts.append((float(np.var(each, ddof=1)) / len(each), len(each) - 1))
    total, spread = sum(variance for variance, _ in parts), sum(variance**2 / free for variance, free in parts)
    return total**2 / spread if spread else float(len(without) - 1)


def detectable(error: float, freedom: float) -> float:
    """Return the smallest true difference that a two-sided test at 5 % finds with a power of 80 %.

    It is the standard error times the noncentrality at which Student's t exceeds its critical value so often (Cohen
    1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2; the power to find a difference of the wrong
    sign, below 0.1 %, is left out).
    """
    from scipy.special import nctdtrinc, stdtrit

    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - ALPHA / 2))) * error


def holm(p: Sequence[float]) -> np.ndarray:
    """Return the p-values of a family adjusted by Holm's step-down (1979, Scandinavian Journal of Statistics).

    What is NaN was not tested: it stays NaN and is no member of the family.
    """
    found = np.array(p, float)
    order = np.argsort(found, kind="stable")[: np.count_nonzero(~np.isnan(found))]
    steps = np.maximum.accumulate(found[order] * np.arange(len(order), 0, -1))
    found[order] = np.minimum(steps, 1)
    return found
