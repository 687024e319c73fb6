"""Threshold tests: with cut-offs from the literature, and with cut-offs fitted to the training pixels.

Without a view geometry sun glint is not told from cloud, and 3.7 um tests are meant for daylight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines import _cloud_tests, _pixels
from benchmark.api import Context, Images, NotRun, Part, Row, Trial

LITERATURE = {name: test.cut for name, test in _cloud_tests.TESTS.items()}


@dataclass
class Thresholds:
    """Cut-offs from the literature; nothing is learned."""

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Only make sure that there is a band to look at."""
        _decisive(train.images)

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return a graded answer, above 0.5 where the rule says cloud, (n, y, x); it is no calibrated probability."""
        return _answer(images, LITERATURE)


@dataclass
class FittedThresholds:
    """The same rule, its cut-offs fitted one after the other until none improves the training pixels' macro Jaccard.

    Attributes:
        levels: candidates for a cut-off: quantiles of its feature over the training pixels. Few of them over-fit less.
        sweeps: most passes over all cut-offs.
    """

    levels: int = 100
    sweeps: int = 5

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Start from the literature's cut-offs; `val` is not used."""
        _decisive(train.images)
        pixels, cloud = _pixels.sample(train, ctx.budget.pixels, ctx.seed)
        columns = _cloud_tests.features(pixels)
        self.cuts_ = dict(LITERATURE)
        for _ in range(self.sweeps):
            before = dict(self.cuts_)
            for name in columns:
                self.cuts_[name] = _best_cut(name, columns, self.cuts_, cloud, self.levels)
            if self.cuts_ == before:
                break

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return a graded answer, above 0.5 where the rule says cloud, (n, y, x); it is no calibrated probability."""
        return _answer(images, self.cuts_)


def _decisive(images: Images) -> None:
    """Raise NotRun unless one of the tests that alone can say cloud has its bands."""
    nothing = np.empty((0, len(images.bands)), np.float32)
    pixels = _pixels.Pixels(nothing, tuple(band.role for band in images.bands), np.empty(0, np.uint8))
    if not _cloud_tests.features(pixels).keys() & set(_cloud_tests.DECISIVE):
        raise NotRun("no cloud test works with these bands; give a visible, cirrus or thermal band")


def _answer(images: Images, cuts: dict[str, float]) -> np.ndarray:
    """Return the grade of every pixel through the logistic function; 0 where no test took part."""

    def probability(pixels: _pixels.Pixels) -> np.ndarray:
        distance = _cloud_tests.grade(_cloud_tests.features(pixels), cuts)
        return 1 / (1 + np.exp(-np.clip(np.nan_to_num(distance, nan=-np.inf), -30, 30)))

    return _pixels.predict(images, probability)


def _best_cut(
    name: str, columns: dict[str, np.ndarray], cuts: dict[str, float], cloud: np.ndarray, levels: int
) -> float:
    """Return the cut-off of one test with the best macro Jaccard, the present one if none is better.

    The rule is monotone in each test, so two evaluations (test passed, test failed) and one sorting give the score
    of every candidate.
    """
    value = columns[name]
    side = np.sign(_cloud_tests.TESTS[name].width)
    candidates = np.append(_quantiles(value, levels), cuts[name]).astype(np.float32)  # as `grade` compares
    passed = _cloud_tests.grade(columns, cuts | {name: -side * np.inf}) > 0
    failed = _cloud_tests.grade(columns, cuts | {name: side * np.inf}) > 0
    decided = np.isfinite(value) & passed & ~failed
    scores = _scores(side * value, decided, np.where(decided, False, passed), cloud, side * candidates)
    return cuts[name] if scores.max() <= scores[-1] else float(candidates[scores.argmax()])


def _quantiles(value: np.ndarray, levels: int) -> np.ndarray:
    """Return evenly spaced quantiles, and a value below and one above all, which switch the test off."""
    known = value[np.isfinite(value)]
    if not len(known):
        return known
    ends = np.nextafter(known.min(), -np.inf), np.nextafter(known.max(), np.inf)
    return np.unique(np.append(np.quantile(known, np.linspace(0, 1, levels)), ends))


def _scores(
    value: np.ndarray, decided: np.ndarray, rest: np.ndarray, cloud: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Return the macro Jaccard of `rest | (decided & (value > candidate))` for each candidate."""
    beyond = [np.sort(value[decided & (cloud == label)]) for label in (False, True)]
    false, true = (len(side) - np.searchsorted(side, candidates, side="right") for side in beyond)
    false, true = false + np.sum(rest & ~cloud), true + np.sum(rest & cloud)
    clouds, clears = cloud.sum(), (~cloud).sum()
    return (true / np.maximum(clouds + false, 1) + (clears - false) / np.maximum(clears + clouds - true, 1)) / 2


def space(trial: Trial) -> dict[str, Any]:
    """Return how finely to fit."""
    return {
        "levels": trial.suggest_int("levels", 8, 400, log=True),
        "sweeps": trial.suggest_int("sweeps", 1, 10),
    }


ROWS = (
    Row("threshold", "threshold", Thresholds, reach=0, note="cut-offs from the literature, no training"),
    Row(
        "threshold-fitted", "threshold", FittedThresholds, space=space, reach=0, note="the same tests, cut-offs fitted"
    ),
)
