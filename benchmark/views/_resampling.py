"""Draws of lines on the seeds and scenes that they share, and the lines that tie with the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmark import boundary
from benchmark.record import Record
from benchmark.scores import jaccard
from benchmark.stats import ALPHA, Difference, Draws, Score, Tally, common, difference, holm, resample
from benchmark.views.lines import EDGE, Line, tally


class Sampler:
    """Draws of lines on common seeds and scenes, each made once however many differences it is in.

    Args:
        counts: the counts of each patch in a record; empty where they are not kept.
        score: counts (..., k) -> score (...).
    """

    def __init__(self, counts: Callable[[Record], Sequence[Sequence[int]]], score: Score) -> None:
        self._counts, self._score = counts, score
        self._tallies: dict[int, tuple[Line, Tally | None]] = {}
        self._draws: dict[Any, Draws] = {}

    def difference(self, first: Sequence[Line], second: Sequence[Line]) -> Difference:
        """Return first minus second, the mean over their pairs, on what all have in common; NaN without counts."""
        tallies = [self._tally(line) for pair in zip(first, second, strict=True) for line in pair]
        known = [one for one in tallies if one is not None]
        if len(known) < len(tallies):
            return Difference()
        shared = common(known)
        if not all(shared):
            return Difference()
        drawn = [self._drawn(one, *shared) for one in known]
        return difference(drawn[::2], drawn[1::2])

    def _tally(self, line: Line) -> Tally | None:
        if id(line) not in self._tallies:  # the line is kept, so that no other gets its id
            self._tallies[id(line)] = line, tally(line, [self._counts(kept) for kept in line.ok])
        return self._tallies[id(line)][1]

    def _drawn(self, one: Tally, seeds: tuple[int, ...], scenes: tuple[str, ...]) -> Draws:
        key = id(one), seeds, scenes
        if key not in self._draws:
            self._draws[key] = resample(one.take(seeds, scenes), self._score)
        return self._draws[key]


def areas() -> Sampler:
    """Return a sampler of the macro Jaccard index."""
    return Sampler(lambda kept: kept.counts, jaccard)


def edges() -> Sampler:
    """Return a sampler of the boundary Jaccard index at EDGE pixels."""
    return Sampler(lambda kept: kept.boundary.get(EDGE, []), boundary.jaccard)


def to_best(ranked: Sequence[Line]) -> list[tuple[bool | None, float]]:
    """Return whether each line ties with the first, and the smallest difference to it that would be found.

    A line ties if the paired difference of its macro Jaccard index to the first line's is not resolved at 5 % after
    Holm's adjustment over all lines; None where there is no interval. The second is `stats.detectable`, NaN for the
    first line.

    Args:
        ranked: the lines that rank, best first.
    """
    sampler = areas()
    found = [sampler.difference([line], ranked[:1]) for line in ranked[1:]]
    marks = [None if np.isnan(p) else bool(p >= ALPHA) for p in holm([one.p for one in found])]
    first = (None if set(marks) <= {None} else True, np.nan)
    return [first, *zip(marks, (one.detectable for one in found), strict=True)][: len(ranked)]
