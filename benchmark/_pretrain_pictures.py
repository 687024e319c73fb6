"""Pictures of pretraining: losses by epoch, and patches as they are, as they are shown, and as they come out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark._composite import composite
from benchmark.api import Band
from benchmark.views.plots import canvas

TILE = 2.2  # inches
HIDDEN = (150, 150, 150)
NO_KELVIN = (0.0, 1.0)


def losses(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the mean squared error of hidden pixels, in standard deviations of the backbone's own statistics."""
    from matplotlib.ticker import MaxNLocator

    epochs = [entry["epoch"] + 1 for entry in history]
    with canvas(path, 3.6, 6.0) as figure:
        axes = figure.subplots()
        axes.plot(epochs, [entry["train_loss"] for entry in history], marker=".", color="#0072B2", label="training")
        axes.plot(epochs, [entry["val_loss"] for entry in history], marker=".", color="#D55E00", label="held out")
        axes.set(xlabel="epoch", ylabel="squared error of hidden pixels", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)


def reconstructions(toa: np.ndarray, made: np.ndarray, hidden: np.ndarray, bands: Sequence[Band], path: Path) -> None:
    """Draw, a row per patch, the patch, what the encoder saw of it, and it with the hidden parts reconstructed.

    Args:
        toa: reflectance, (n, b, y, x).
        made: of the decoder, (n, b, y, x).
        hidden: what the encoder did not see, (n, y, x) bool.
        bands: of toa.
        path: picture to write.
    """
    titles = ("patch", "shown to the encoder", "hidden parts reconstructed")
    with canvas(path, TILE * len(toa) + 0.4, TILE * len(titles)) as figure:
        panels = figure.subplots(len(toa), len(titles), squeeze=False)
        for row, patch in enumerate(toa):
            whole = composite(patch, bands, NO_KELVIN)
            out = composite(np.where(hidden[row], made[row], patch), bands, NO_KELVIN)
            shown = np.where(hidden[row][..., None], np.array(HIDDEN, np.uint8), whole)
            for axes, picture in zip(panels[row], (whole, shown, out), strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title, fontsize=9)
