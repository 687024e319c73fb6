"""Intervals by resampling scenes, from confusion counts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000


def by_scene(counts: np.ndarray, scenes: Sequence[str]) -> np.ndarray:
    """Sum counts (..., patches, 4) over the patches of each scene: (..., scenes, 4), scenes in sorted order."""
    names, place = np.unique(np.asarray(scenes), return_inverse=True)
    member = np.arange(len(names))[:, None] == place[None, :]
    return member.astype(np.int64) @ np.asarray(counts)


def bootstrap(
    counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES, seed: int = 0
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
