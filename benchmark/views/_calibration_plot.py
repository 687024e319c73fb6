"""Picture of calibration: reliability before and after, and the Jaccard index against the decision threshold."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.calibration import (
    BEFORE,
    ISOTONIC,
    TEMPERATURE,
    Calibration,
    calibrate,
    jaccard_by_threshold,
    moved,
    unfit,
    validation_of,
)
from benchmark.scores import VALUES, probability_scores, reliability
from benchmark.views.gallery import choose_methods
from benchmark.views.lines import Line, histogram_of
from benchmark.views.plots import WIDTH, best_lines, canvas
from benchmark.views.tables import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MOST, COLUMNS = 10, 5
LOOKS = {BEFORE: ("#6b6b6b", "o", "-"), TEMPERATURE: ("#0072B2", "s", "--"), ISOTONIC: ("#D55E00", "^", ":")}
_VALIDATION, _TEST, _CHOSEN = "#009E73", "#000000", "#AA4499"
CAPTION = (
    "Reliability on the test part before and after calibration, in bins of equal mass, with the expected calibration "
    "error; beneath, macro Jaccard index against the decision threshold. The threshold (vertical line) and the maps "
    "are fitted on the validation part alone; the curve of the test part is shown, and nothing is chosen by it. First "
    "seed, tuned where it exists: the first row of each family, then the next by rank, at most ten. Rows whose "
    "probabilities are 0 or 1, or all the same, are left out."
)


def before_and_after(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw two panels a row: reliability before and after, and the Jaccard index by threshold; None without any."""
    drawn = [(line, *kept) for line in best_lines(frame, lines) if (kept := _kept(line)) is not None]
    chosen = choose_methods([line for line, *_ in drawn], MOST)
    drawn = [entry for entry in drawn if entry[0] in chosen]
    if not drawn:
        return None
    columns = min(len(drawn), COLUMNS)
    rows = math.ceil(len(drawn) / columns)
    with canvas(path, 0.75 + 3.3 * rows, width=max(WIDTH * columns / COLUMNS, 0.75 * WIDTH)) as figure:
        axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2, 1.1] * rows)
        for place, (line, validation, test) in enumerate(drawn):
            row, column = divmod(place, columns)
            fitted = calibrate(validation)
            _reliability(axes[2 * row, column], line, fitted, test)
            _thresholds(axes[2 * row + 1, column], fitted, validation, test)
        for spare in range(len(drawn), rows * columns):
            axes[2 * (spare // columns), spare % columns].remove()
            axes[2 * (spare // columns) + 1, spare % columns].remove()
        for row in range(rows):
            axes[2 * row, 0].set_ylabel("observed\ncloud frequency", fontsize=8)
            axes[2 * row + 1, 0].set_ylabel("macro Jaccard", fontsize=8)
        figure.supxlabel("forecast cloud probability (above) and decision threshold (beneath)", fontsize=9)
        handles = [*axes[0, 0].get_legend_handles_labels()[0], *axes[1, 0].get_legend_handles_labels()[0]]
        names = [*LOOKS, "validation", "test", "threshold chosen on validation"]
        figure.legend(handles, names, loc="outside upper center", ncols=6, fontsize=8, frameon=False, columnspacing=1.2)
    return path


def _kept(line: Line) -> tuple[np.ndarray, np.ndarray] | None:
    """Return validation and test histogram of a line's first seed; None where something is missing or not graded."""
    validation = validation_of(line.first.folder(line.out))
    test = histogram_of(line.first, line.ok[0], line.out)
    if validation is None or test is None or not test.any() or unfit(validation):
        return None
    return validation, test


def _reliability(axes: Axes, line: Line, fitted: Calibration, test: np.ndarray) -> None:
    axes.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=0.8)
    for kind, (colour, marker, dash) in LOOKS.items():
        hist, levels = moved(test, fitted.maps[kind])
        forecast, observed, _ = reliability(hist, values=levels)
        error = f"{probability_scores(hist, levels)['ece']:.3f}"
        axes.plot(
            forecast, observed, color=colour, marker=marker, linestyle=dash, markersize=3, linewidth=1.2, label=error
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_title(textwrap.fill(title(line.first), 22), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(title="ECE", fontsize=7, title_fontsize=7, loc="lower right", borderaxespad=0.2, handlelength=1.6,
                borderpad=0.2, labelspacing=0.3)  # fmt: skip


def _thresholds(axes: Axes, fitted: Calibration, validation: np.ndarray, test: np.ndarray) -> None:
    shown = (VALUES >= 0.01) & (VALUES < 1)
    for name, hist, colour, dash in (("validation", validation, _VALIDATION, "-"), ("test", test, _TEST, "--")):
        axes.plot(VALUES[shown], jaccard_by_threshold(hist)[shown], dash, color=colour, linewidth=1.2, label=name)
    axes.axvline(fitted.threshold, color=_CHOSEN, linewidth=1.0, label="threshold chosen on validation")
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    left = fitted.threshold > 0.7  # no room to the right of the line
    axes.annotate(f"{fitted.threshold:.2f}", (fitted.threshold, 0.04), (-2 if left else 2, 0),
                  axes.get_xaxis_transform(), "offset points", fontsize=7, color=_CHOSEN,
                  ha="right" if left else "left")  # fmt: skip
    axes.tick_params(labelsize=7)
