"""The least that a classifier of pixels must beat: one cut-off on one band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from baselines import _pixels
from benchmark.api import Context, Images, NotRun, Part, Row, UserError


@dataclass
class SingleBand:
    """The band, cut-off and side of it with the best macro Jaccard on the training pixels.

    Attributes:
        levels: candidates for the cut-off: quantiles of the band over the training pixels.
    """

    levels: int = 200

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Try every band that a sensor measured, cut-off and side; `val` is not used."""
        pixels, cloud = _pixels.sample(train, ctx.budget.pixels, ctx.seed)
        found = [self._best(name, pixels, cloud) for name in pixels.names if name != "ELEVATION"]
        if not found:
            raise NotRun("a height is no cloud test; give a band that a sensor measured")
        score, self.band_, self.cut_, self.side_ = max(found, key=lambda one: one[0])
        if score < 0:
            raise UserError("no band has a valid training pixel")
        ctx.fact("band", f"{self.band_} {'above' if self.side_ > 0 else 'below'} {self.cut_:.4g}")

    def _best(self, name: str, pixels: _pixels.Pixels, cloud: np.ndarray) -> tuple[float, str, float, float]:
        """Return score, band, cut-off and side of the best rule on one band; a score of -1 where none is known."""
        value = pixels.column(name)
        assert value is not None
        known = np.isfinite(value)
        if not known.any():
            return -1.0, name, 0.0, 1.0
        cuts = np.unique(np.quantile(value[known], np.linspace(0, 1, self.levels)).astype(np.float32))
        above = [len(kind) - np.searchsorted(kind, cuts, side="right") for kind in _sorted(value, known, cloud)]
        total = np.array([np.sum(known & ~cloud), np.sum(known & cloud)])
        rules = [(_macro(*hit, *total), side) for side, hit in ((1.0, above), (-1.0, total[:, None] - above))]
        scores, side = max(rules, key=lambda rule: rule[0].max())
        return float(scores.max()), name, float(cuts[scores.argmax()]), side

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return 1 beyond the cut-off and 0 elsewhere, (n, y, x)."""

        def probability(pixels: _pixels.Pixels) -> np.ndarray:
            value = pixels.column(self.band_)
            assert value is not None
            beyond = value > np.float32(self.cut_) if self.side_ > 0 else value <= np.float32(self.cut_)
            return beyond.astype(np.float32)

        return _pixels.predict(images, probability)


def _sorted(value: np.ndarray, known: np.ndarray, cloud: np.ndarray) -> list[np.ndarray]:
    """Return the known values of clear and of cloudy pixels, rising."""
    return [np.sort(value[known & (cloud == kind)]) for kind in (False, True)]


def _macro(false: np.ndarray, true: np.ndarray, clears: int, clouds: int) -> np.ndarray:
    """Return the macro Jaccard index of rules with so many false and true clouds."""
    return (true / np.maximum(clouds + false, 1) + (clears - false) / np.maximum(clears + clouds - true, 1)) / 2


ROWS = (
    Row(
        "threshold-band",
        "threshold",
        SingleBand,
        reach=0,
        note="one cut-off on the one band that does best on the training pixels: what is no better is suspect",
    ),
)
