"""Naive probabilistic mask: how much each feature alone speaks for cloud, added up and calibrated.

The study's NaiveProbCM is not public; this is a stand-in after the naive Bayesian scheme of Heidinger et al. (2012),
with this project's features and surfaces (land, water, unknown).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines import _indices, _pixels
from baselines._pixels import LAND, UNKNOWN, WATER, Pixels
from benchmark.api import Context, Images, NotRun, Part, Row, Trial

SURFACES = (WATER, LAND, UNKNOWN)  # their codes rise
INDICES: tuple[Callable[[Pixels], np.ndarray | None], ...] = (
    _indices.snow_index,
    _indices.vegetation_index,
    _indices.haze,
    _indices.soil_line,
    _indices.whiteness,
    _indices.split_window,
    _indices.reflected_37,
)


@dataclass
class NaiveBayes:
    """Histograms per feature, class and surface; log odds added; Platt scaling on the validation pixels.

    Attributes:
        bins: bins of a feature, with equally many training pixels in each.
        smoothing: pixels added to every bin of both classes (Laplace).
        context: also use the standard deviation of each band in the 3x3 window; its mean would count the band twice.
    """

    bins: int = 50
    smoothing: float = 1.0
    context: bool = False

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Count the training pixels, then calibrate on validation pixels, which change two numbers only."""
        pixels, cloud = _pixels.sample(train, ctx.budget.pixels, ctx.seed, self.context)
        values = _features(pixels)
        self.edges_ = np.nanquantile(values, np.linspace(0, 1, self.bins + 1)[1:-1], axis=1).T
        self.log_odds_ = np.stack(
            [self._learn(values, cloud, _pixels_of(surface, pixels.land)) for surface in SURFACES]
        )
        self.prior_ = np.array([_prior(cloud[_pixels_of(surface, pixels.land)]) for surface in SURFACES])
        pixels, cloud = _pixels.sample(val, ctx.budget.pixels, ctx.seed, self.context)
        self.scale_, self.shift_ = _platt(self._evidence(pixels), cloud)

    def _learn(self, values: np.ndarray, cloud: np.ndarray, here: np.ndarray) -> np.ndarray:
        """Return log P(bin | cloud) - log P(bin | clear) of one surface, (features, bins + 1); 0 in the bin of NaN."""
        table = np.zeros((len(values), self.bins + 1))
        for feature, value in enumerate(values):
            known = here & np.isfinite(value)
            place = np.searchsorted(self.edges_[feature], value)
            clouds, clears = (
                np.bincount(place[known & (cloud == label)], minlength=self.bins) + self.smoothing
                for label in (True, False)
            )
            table[feature, : self.bins] = np.log(clouds / clouds.sum()) - np.log(clears / clears.sum())
        return table

    def _evidence(self, pixels: Pixels) -> np.ndarray:
        """Return the log odds of the surface plus those of each feature, (k,)."""
        surface = np.searchsorted(SURFACES, pixels.land)
        total = self.prior_[surface]
        for feature, value in enumerate(_features(pixels)):
            place = np.where(np.isfinite(value), np.searchsorted(self.edges_[feature], value), self.bins)
            total += self.log_odds_[surface, feature, place]
        return total

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the calibrated probability, (n, y, x)."""
        return _pixels.predict(images, self._probability, self.context)

    def _probability(self, pixels: Pixels) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(self.scale_ * self._evidence(pixels) + self.shift_, -50, 50)))


def _pixels_of(surface: int, land: np.ndarray) -> np.ndarray:
    """Return which training pixels speak for a surface: its own; all if it is not known or was not seen."""
    own = land == surface
    return own if surface != UNKNOWN and own.any() else np.ones(len(land), bool)


def _prior(cloud: np.ndarray) -> float:
    return float(np.log((cloud.sum() + 1) / ((~cloud).sum() + 1)))


def _features(pixels: Pixels) -> np.ndarray:
    """Return bands and indices, (features, k)."""
    indices = [index(pixels) for index in INDICES]
    bands = [value for name, value in zip(pixels.names, pixels.values.T, strict=True) if not name.endswith("_mean")]
    return np.stack([*bands, *(index for index in indices if index is not None)])


def _platt(evidence: np.ndarray, cloud: np.ndarray) -> tuple[float, float]:
    """Return scale and shift of the log odds (Platt 1999): features repeat each other, so their sum is too sure.

    Raises:
        NotRun: the validation pixels are all of one class.
    """
    from sklearn.linear_model import LogisticRegression

    if cloud.all() or not cloud.any():
        raise NotRun("the validation pixels are all of one class; calibration needs both")
    model = LogisticRegression().fit(evidence[:, None], cloud)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def space(trial: Trial) -> dict[str, Any]:
    """Return the resolution and features to try."""
    return {
        "bins": trial.suggest_int("bins", 8, 200, log=True),
        "smoothing": trial.suggest_float("smoothing", 0.1, 1000, log=True),
        "context": trial.suggest_categorical("context", [False, True]),
    }


ROWS = (Row("naive-bayes", "probabilistic", NaiveBayes, space=space, needs=("sklearn.linear_model", "cv2"), reach=1),)
