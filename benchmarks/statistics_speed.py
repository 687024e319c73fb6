"""Time the statistics of a leaderboard of 30 rows: python -m benchmarks.statistics_speed [resamples].

Counts are random: 166 patches of 30 scenes, 30 rows, 3 seeds. Timed are the interval of every score of every row and
the paired differences of all 435 pairs in two scores, from counts of patches on; the limit is 2 s. The plain loop
resamples scene by scene in Python, as a reader would write it first; it is run on a few resamples and scaled up.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from itertools import combinations

import numpy as np

from benchmark.scores import scores
from benchmark.stats import Draws, by_scene, difference, holm, interval, resample

PATCHES, SCENES, ROWS, SEEDS, LIMIT = 166, 30, 30, 3, 2.0
LOOPS = 4  # resamples that the plain loop is timed on


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def every(counts: np.ndarray) -> np.ndarray:
    return np.stack(list(scores(counts).values()), axis=-1)


def ours(counts: np.ndarray, scenes: list[str], resamples: int) -> None:
    """Make the intervals of all scores and all pairwise tables of two of them, adjusted by Holm."""
    drawn = [resample(by_scene(row, scenes), every, resamples) for row in counts]
    parts = [[Draws(d.score[..., i], d.resampled[..., i], d.without[..., i]) for d in drawn] for i in range(11)]
    for part in parts:
        for one in part:
            interval(one)
    for part in parts[:2]:
        holm([difference([one], [other]).p for one, other in combinations(part, 2)])


def plain(counts: np.ndarray, scenes: list[str], resamples: int) -> None:
    """Resample scenes in Python: the two scores of every row and seed, and the differences of all pairs."""
    members = {name: [place for place, scene in enumerate(scenes) if scene == name] for name in set(scenes)}
    names, lists = sorted(members), counts.tolist()
    for _ in range(resamples):
        chosen = [place for name in random.choices(names, k=len(names)) for place in members[name]]
        found = []
        for row in lists:
            each = []
            for seed in row:
                tn, fp, fn, tp = (sum(seed[place][i] for place in chosen) for i in range(4))
                each.append(((tn / (tn + fp + fn) + tp / (tp + fp + fn)) / 2, tp / (tp + fp + fn)))
            found.append([sum(values) / len(values) for values in zip(*each, strict=True)])
        [(one[0] - other[0], one[1] - other[1]) for one, other in combinations(found, 2)]


def main(resamples: int = 1000) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20_000, (ROWS, SEEDS, PATCHES, 4))
    scenes = [f"scene{place % SCENES}" for place in range(PATCHES)]
    first = seconds(lambda: ours(counts, scenes, resamples))
    again = min(seconds(lambda: ours(counts, scenes, resamples)) for _ in range(3))
    loop = seconds(lambda: plain(counts, scenes, LOOPS)) / LOOPS * resamples
    print(f"{resamples} resamples, {PATCHES} patches of {SCENES} scenes, {ROWS} rows, {SEEDS} seeds")
    print(f"first {first:.2f} s with imports, {first / LIMIT:.2f} of the limit of {LIMIT:g} s; again {again:.2f} s")
    print(f"plain loop, two scores {loop:.1f} s: {loop / again:.0f} times ours with eleven")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
