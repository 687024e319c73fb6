"""Intervals by resampling scenes and seeds, from counts a patch alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

RESAMPLES = 2000
_SCENES, _SEEDS = 0, 1  # streams of random numbers: as many scenes as seeds must not be drawn alike
Score = Callable[[np.ndarray], np.ndarray]  # counts (..., k) -> score (...)


def by_scene(counts: np.ndarray, scenes: Sequence[str]) -> np.ndarray:
    """Sum counts (..., patches, k) over the patches of each scene: (..., scenes, k), scenes in sorted order."""
    names, place = np.unique(np.asarray(scenes), return_inverse=True)
    member = np.arange(len(names))[:, None] == place[None, :]
    return member.astype(np.int64) @ np.asarray(counts)


def bootstrap(
    counts: np.ndarray, score: Score, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over seeds and its 95 % percentile interval over resampled scenes.

    Scenes without a valid pixel say nothing and are left out; a single scene has no interval, so it is NaN.

    Args:
        counts: (seeds, scenes, 4); every seed saw the same scenes.
        score: counts (..., 4) -> score (...).
        resamples: bootstrap draws; scenes are drawn with replacement, the same for every seed (Efron 1979).
        seed: of the draws, so that two rows of a table see the same resampled scenes.
    """
    counts = counts[:, counts.sum((0, 2)) > 0]
    scenes = counts.shape[1]
    mean = float(np.mean(score(counts.sum(1)))) if scenes else float("nan")
    if scenes < 2:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples)
    draws = np.mean(score(np.einsum("rs,ksc->rkc", weight, counts)), axis=1)
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return mean, float(low), float(high)


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
    """Return the scores of a line with its scenes resampled, for `difference`.

    Of n scenes n - 1 are drawn with replacement, so that the variance of the draws is that of the mean (Rao and Wu
    1988, JASA).

    Args:
        counts: (seeds, scenes, k).
        score: counts (..., k) -> score (...).
        resamples: bootstrap draws.
        seed: of the draws: lines of as many scenes see the same draws.
    """
    flat = np.moveaxis(np.asarray(counts, np.float64), 1, 0)
    scenes = len(flat)
    weights = (np.ones((1, scenes)), _weights(scenes, resamples, seed, _SCENES), 1 - np.eye(scenes))
    whole, *parts = (score(np.tensordot(weight, flat, 1)) for weight in weights)
    return Draws(whole[0], *parts)


@cache
def _weights(units: int, resamples: int, seed: int, stream: int) -> np.ndarray:
    """Return how often each unit is drawn, (resamples, units); a single unit always is."""
    rng = np.random.default_rng([units, seed, stream])
    return rng.multinomial(max(1, units - 1), np.full(units, 1 / units), size=resamples)


@dataclass(frozen=True)
class Difference:
    """A mean difference, its 95 % interval (NaN: none), and how many seeds and scenes it rests on."""

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    scenes: int = 0

    @property
    def resolved(self) -> bool:
        """Whether there is an interval and it leaves 0 out."""
        return self.low > 0 or self.high < 0


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
    scenes, seeds = without.shape
    mean = float(np.mean(each)) if seeds else math.nan
    if scenes < 2 or math.isnan(mean):
        return Difference(mean, seeds=seeds, scenes=scenes)
    share = _weights(seeds, len(drawn), seed, _SEEDS)
    spread = float(np.nanstd((drawn * share).sum(1) / share.sum(1), ddof=1))
    reach = _quantile(each, without.mean(1)) * spread
    low, high = np.clip([mean - reach, mean + reach], -1, 1)
    return Difference(mean, float(low), float(high), seeds, scenes)


def _quantile(each: np.ndarray, without: np.ndarray) -> float:
    """Return the 97.5 % quantile of Student's t, its degrees of freedom from the variances over scenes and seeds.

    Args:
        each: difference of each seed.
        without: difference without each scene, for the jackknife's variance.
    """
    from scipy.stats import t

    parts = [((len(without) - 1) * float(np.nanvar(without)), len(without) - 1)]
    if len(each) > 1:
        parts.append((float(np.var(each, ddof=1)) / len(each), len(each) - 1))
    total, spread = sum(variance for variance, _ in parts), sum(variance**2 / free for variance, free in parts)
    return float(t.ppf(0.975, total**2 / spread if spread else len(without) - 1))
