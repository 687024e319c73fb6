"""Draws of the lines of a study: scenes, seeds and subsets of the train part, resampled crosswise and in pairs.

With one subset an interval is that of `stats.interval`, a difference that of `stats.difference`. With several, these
are drawn like seeds and independently of them, on a third level of their own: runs on one subset have its luck in
common, so that subsets times seeds are not so many independent runs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, stdtrit

from benchmark.record import Record
from benchmark.stats import ALPHA, SEEDS, Difference, Score, drawn_times, resample
from benchmark.views.lines import Line, tally

_SUBSETS = 2  # stream of random numbers, beside those of scenes and seeds


@dataclass(frozen=True)
class Stack:
    """Counts of a line by subset, seed and scene: (subsets, seeds, scenes, k), with their names.

    `patches` are those of the test part; two lines that tested on the same have the same.
    """

    subsets: tuple[int, ...]
    seeds: tuple[int, ...]
    scenes: tuple[str, ...]
    counts: np.ndarray
    patches: tuple[str, ...] = ()

    def take(self, subsets: Sequence[int], seeds: Sequence[int], scenes: Sequence[str]) -> Stack:
        """Return these subsets and seeds, and these scenes, of which an unknown one has no pixels."""
        own = {scene: place for place, scene in enumerate(self.scenes)}
        place = np.ix_([self.subsets.index(one) for one in subsets], [self.seeds.index(one) for one in seeds])
        whole = self.counts[place]
        counts = np.zeros((*whole.shape[:2], len(scenes), whole.shape[-1]), whole.dtype)
        known = [(new, own[scene]) for new, scene in enumerate(scenes) if scene in own]
        counts[:, :, [new for new, _ in known]] = whole[:, :, [old for _, old in known]]
        return replace(self, subsets=tuple(subsets), seeds=tuple(seeds), scenes=tuple(scenes), counts=counts)


def stacked(lines: Sequence[tuple[int, Line]], of: Callable[[Record], Sequence[Sequence[int]]]) -> Stack | None:
    """Return the counts of an arm's lines; None where they lack them, or tested on other patches.

    Args:
        lines: of each subset, all ended well.
        of: counts (patches, k) of a record; the scenes are those with a pixel in them.
    """
    made = [tally(line, [of(kept) for kept in line.ok]) for _, line in lines]
    known = [one for one in made if one is not None]
    if len(known) < len(made) or not known[0].scenes:
        return None
    patches = {tuple(line.ok[0].patches) for _, line in lines}
    if len(patches) > 1 or any(one.seeds != known[0].seeds for one in known):
        return None
    subsets, counts = tuple(subset for subset, _ in lines), np.stack([one.counts for one in known])
    return Stack(subsets, known[0].seeds, known[0].scenes, counts, *patches)


def shared(first: Stack, second: Stack) -> tuple[Stack, Stack] | None:
    """Return both on the seeds and scenes, and of several subsets on those, that they have in common; None if none."""
    scenes = tuple(sorted(set(first.scenes) & set(second.scenes)))
    seeds = tuple(sorted(set(first.seeds) & set(second.seeds)))
    both = len(first.subsets) > 1 and len(second.subsets) > 1
    subsets = tuple(sorted(set(first.subsets) & set(second.subsets)))
    if not (scenes and seeds and (subsets or not both)):
        return None
    one, other = (each.take(subsets if both else each.subsets, seeds, scenes) for each in (first, second))
    return one, other


@dataclass(frozen=True)
class Drawn:
    """A score, or what is made of scores, the mean over subsets and seeds.

    Attributes:
        drawn: with scenes, seeds and subsets resampled, (resamples,).
        without: without each scene, (scenes,).
        by_seed, by_subset: of each seed, and of each subset.
    """

    drawn: np.ndarray
    without: np.ndarray
    by_seed: np.ndarray
    by_subset: np.ndarray

    def minus(self, other: Drawn) -> Drawn:
        """Return the difference, draw by draw; a single subset is held against each of several."""
        return Drawn(
            self.drawn - other.drawn,
            self.without - other.without,
            self.by_seed - other.by_seed,
            self.by_subset - other.by_subset,
        )


def draw(stack: Stack, score: Score) -> Drawn:
    """Return the draws of a score of a line."""
    subsets, seeds, scenes, kinds = stack.counts.shape
    found = resample(stack.counts.reshape(subsets * seeds, scenes, kinds), score)
    times = [
        drawn_times(subsets, len(found.resampled), 0, _SUBSETS),
        drawn_times(seeds, len(found.resampled), 0, SEEDS),
    ]
    share = (times[0][:, :, None] * times[1][:, None, :]).reshape(len(found.resampled), -1)
    drawn = (found.resampled * share).sum(1) / share.sum(1)
    each = found.score.reshape(subsets, seeds)
    return Drawn(drawn, found.without.mean(1), each.mean(0), each.mean(1))


def mean_of(parts: Sequence[Drawn]) -> Drawn:
    """Return the mean over settings, draw by draw over those that the draw has a pixel of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        drawn, without = (np.nanmean([getattr(one, name) for one in parts], axis=0) for name in ("drawn", "without"))
    by_seed, by_subset = (np.mean([getattr(one, name) for one in parts], axis=0) for name in ("by_seed", "by_subset"))
    return Drawn(drawn, without, by_seed, by_subset)


def estimate(one: Drawn, bounds: tuple[float, float] = (-1, 1)) -> Difference:
    """Return mean, 95 % interval, standard error and degrees of freedom, as `stats.difference` does."""
    mean, scenes, seeds = float(one.by_seed.mean()), len(one.without), len(one.by_seed)
    if scenes < 2 or math.isnan(mean):
        return Difference(mean, seeds=seeds, scenes=scenes)
    error = float(np.nanstd(one.drawn, ddof=1))
    freedom = _freedom(one)
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    low, high = np.clip([mean - reach, mean + reach], *bounds)
    return Difference(mean, float(low), float(high), seeds, scenes, error, freedom)


def _freedom(one: Drawn) -> float:
    """Return Satterthwaite's degrees of freedom of the variances over scenes, seeds and subsets."""
    scenes = len(one.without)
    parts = [((scenes - 1) * float(np.nanvar(one.without)), scenes - 1)]
    for each in (one.by_seed, one.by_subset):
        if len(each) > 1:
            parts.append((float(np.var(each, ddof=1)) / len(each), len(each) - 1))
    total, spread = sum(variance for variance, _ in parts), sum(variance**2 / free for variance, free in parts)
    return total**2 / spread if spread else float(scenes - 1)


def interval(one: Drawn) -> Difference:
    """Return `estimate` of a score from 0 to 1, its interval made on the scale of the logit as in `stats.interval`."""
    found = estimate(one, (0, 1))
    if math.isnan(found.low) or not 0 < found.mean < 1:
        return found
    reach = stdtrit(found.freedom, 1 - ALPHA / 2) * found.error / (found.mean * (1 - found.mean))
    low, high = expit(logit(found.mean) + np.array([-reach, reach]))
    return replace(found, low=float(low), high=float(high))
