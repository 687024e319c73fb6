"""The floor: every pixel gets the cloud fraction of the training pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.api import CLEAR, CLOUD, Context, Images, Part, Row


@dataclass
class Majority:
    """The best constant forecast: above 0.5, and so cloud everywhere, where most training pixels are cloud."""

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Count the training pixels, one patch at a time."""
        counts = np.sum(
            [[np.sum(train.masks(i) == label) for label in (CLEAR, CLOUD)] for i in range(len(train))], axis=0
        )
        self.cloud_fraction_ = float(counts[1] / counts.sum())

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the constant, (n, y, x)."""
        n, _, height, width = images.shape
        return np.full((n, height, width), self.cloud_fraction_, np.float32)


ROWS = (Row("majority", "floor", Majority, reach=0, note="the cloud fraction of the training pixels, everywhere"),)
