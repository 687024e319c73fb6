"""Scores of probabilities with scenes resampled: what a scene adds to them, so that no draw reads pixels again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.scores import ECE_BINS, VALUES
from benchmark.stats import Score


@dataclass(frozen=True)
class Parts:
    """What each scene adds to AUC, Brier score and calibration error.

    Attributes:
        wins: (scenes, scenes): pairs of a cloud pixel of the first scene and a clear one of the second in which the
            cloud pixel has the higher probability, ties by half (the U of Mann and Whitney 1947).
        pixels: (scenes, 2), clear and cloud.
        squares: (scenes,), squared errors summed.
        bins: (scenes, 2, bins): sum of the forecasts, and cloud pixels, in the equal-mass bins of all scenes; a draw
            keeps these bins.
    """

    wins: np.ndarray
    pixels: np.ndarray
    squares: np.ndarray
    bins: np.ndarray


def parts(hists: np.ndarray) -> Parts:
    """Return the parts of histograms by scene, (scenes, 2, values) as `scores.histogram` makes them."""
    used = hists.any((0, 1))  # most of the values occur nowhere
    clear, cloud = np.ascontiguousarray(np.moveaxis(hists[..., used], 1, 0), np.float64)
    values = VALUES[used]
    below = np.cumsum(clear, axis=1) - clear / 2
    squares = cloud @ (1 - values) ** 2 + clear @ values**2
    mass = (clear + cloud).sum(0)
    place = np.minimum(((np.cumsum(mass) - mass / 2) / max(mass.sum(), 1) * ECE_BINS).astype(int), ECE_BINS - 1)
    member = (place[:, None] == np.arange(ECE_BINS)).astype(float)
    bins = np.stack([((clear + cloud) * values) @ member, cloud @ member], axis=1)
    return Parts(cloud @ below.T, np.stack([clear.sum(1), cloud.sum(1)], axis=1), squares, bins)


def score(seeds: Sequence[Parts]) -> Score:
    """Return the function from how often each scene is drawn, (..., seeds, scenes), to AUC, Brier score and ECE."""
    wins, pixels, squares, bins = (
        np.stack([getattr(one, name) for one in seeds]) for name in ("wins", "pixels", "squares", "bins")
    )

    def scored(weight: np.ndarray) -> np.ndarray:
        total = np.einsum("...ks,ksc->...kc", weight, pixels)
        forecast, observed = np.moveaxis(np.einsum("...ks,kspb->...kpb", weight, bins), -2, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            auc = np.einsum("...ks,kst,...kt->...k", weight, wins, weight, optimize=True) / total.prod(-1)
            brier = np.einsum("...ks,ks->...k", weight, squares) / total.sum(-1)
            error = np.abs(forecast - observed).sum(-1) / total.sum(-1)
        return np.stack([auc, brier, error], axis=-1)

    return scored
