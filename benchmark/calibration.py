"""Calibration: whether probabilities mean what they say, and a decision threshold, both fitted on the validation part.

All of it is a function of histograms over the 15,361 float16 values in [0, 1], which lose nothing of what is stored: a
monotone map of a probability is a map of these values. What is fitted sees the validation histogram alone, and the test
part shows what came of it. The same validation part chose the epoch and the hyperparameters of the row, and it is
small, so that what a threshold or a map promises there is more than it keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.api import UserError
from benchmark.record import VALIDATION
from benchmark.scores import VALUES, jaccard, probability_scores

CLIP = 2.0**-12  # float16 takes what is nearer to 1 for 1; 0 is treated alike
LIMITS = (0.01, 100.0)  # of the temperature
BEFORE, TEMPERATURE, ISOTONIC = "before", "temperature", "isotonic"
KINDS = (BEFORE, TEMPERATURE, ISOTONIC)
MEASURES = ("ece", "brier", "nll", "auc")


@dataclass(frozen=True)
class Calibration:
    """What the validation part says of one fitted method.

    Attributes:
        said: why nothing is fitted, or what is to know of it; "" where there is nothing to say.
        threshold: probability above which a pixel is cloud; NaN where none is chosen.
        temperature: NaN where none is fitted.
        maps: kind -> calibrated probability of each of `scores.VALUES`; BEFORE alone where nothing is fitted.
    """

    said: str = ""
    threshold: float = math.nan
    temperature: float = math.nan
    maps: dict[str, np.ndarray] = field(default_factory=lambda: {BEFORE: VALUES})


def calibrate(validation: np.ndarray | None) -> Calibration:
    """Fit threshold, temperature and isotonic map to a validation histogram (2, 15361); None: it was not kept."""
    said = unfit(validation)
    if said or validation is None:
        return Calibration(said)
    heat = temperature(validation)
    limit = "temperature at its limit" * (not 1.01 * LIMITS[0] < heat < LIMITS[1] / 1.01)
    maps = {BEFORE: VALUES, TEMPERATURE: tempered(heat), ISOTONIC: isotonic(validation)}
    return Calibration(limit, best_threshold(validation), heat, maps)


def unfit(validation: np.ndarray | None) -> str:
    """Return why nothing can be fitted to a validation histogram, "" where it can."""
    if validation is None:
        return "no validation histogram was kept"
    used = validation.sum(0) > 0
    if not validation.sum(1).all():
        return "the validation part has not both classes"
    if used.sum() == 1:
        return "constant: every pixel has the same probability"
    return "" if used[1:-1].any() else "binary: every probability is 0 or 1"


def jaccard_by_threshold(hist: np.ndarray) -> np.ndarray:
    """Return the pooled macro Jaccard index where what is above each of `scores.VALUES` is cloud, (15361,)."""
    below = np.cumsum(hist, axis=1)
    above = below[:, -1:] - below
    return jaccard(np.stack([below[0], above[0], below[1], above[1]], axis=-1))


def best_threshold(validation: np.ndarray) -> float:
    """Return the float16 value that maximises the macro Jaccard index; of several the nearest to one half."""
    found = jaccard_by_threshold(validation)
    best = VALUES[found == found.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def temperature(validation: np.ndarray) -> float:
    """Return the temperature, within LIMITS, that minimises the negative log-likelihood (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    used = validation.sum(0) > 0
    clear, cloud = validation[:, used] / validation.sum()
    logit = _logits()[used]

    def loss(log: float) -> float:
        scaled = logit / math.exp(log)
        return float(clear @ np.logaddexp(0, scaled) + cloud @ np.logaddexp(0, -scaled))

    found = minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def tempered(heat: float) -> np.ndarray:
    """Return each of `scores.VALUES`, clipped, with its logit divided by a temperature."""
    from scipy.special import expit

    return np.asarray(expit(_logits() / heat))


def _logits() -> np.ndarray:
    clipped = np.clip(VALUES, CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def isotonic(validation: np.ndarray) -> np.ndarray:
    """Return each of `scores.VALUES` by an isotonic regression (Zadrozny and Elkan 2002), linear between its points."""
    from sklearn.isotonic import IsotonicRegression

    pixels = validation.sum(0)
    used = pixels > 0
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fitted.fit(VALUES[used], validation[1, used] / pixels[used], sample_weight=pixels[used])
    return np.asarray(fitted.predict(VALUES))


def moved(hist: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a histogram with its values mapped, and the values that are left: those that became equal are one."""
    levels, place = np.unique(values, return_inverse=True)
    return np.stack([np.bincount(place, kind, len(levels)) for kind in hist]), levels


def measures(hist: np.ndarray, values: np.ndarray = VALUES) -> dict[str, float]:
    """Return MEASURES of a histogram (2, 15361) whose values are mapped; NLL is in nats a pixel, of clipped values."""
    merged, levels = moved(hist, values)
    clipped = np.clip(levels, CLIP, 1 - CLIP)
    nll = -float(merged[0] @ np.log1p(-clipped) + merged[1] @ np.log(clipped)) / merged.sum()
    return probability_scores(merged, levels) | {"nll": nll}


def validation_of(folder: Path) -> np.ndarray | None:
    """Return the validation histogram in the folder of a run, None where it was not kept."""
    path = folder / VALIDATION
    return np.load(path) if path.exists() else None


def threshold_of(folder: Path) -> float:
    """Return the threshold that the validation part of a run chooses.

    Raises:
        UserError: it cannot.
    """
    validation = validation_of(folder)
    said = unfit(validation)
    if said or validation is None:
        raise UserError(f"the run in {folder} cannot choose a threshold: {said}")
    return best_threshold(validation)
