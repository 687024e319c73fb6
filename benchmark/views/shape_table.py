"""Shapes of clouds: outlines, power by scale and cloud fraction of every line; as a data frame and as shapes.csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import boundary, fraction, spectrum
from benchmark._files import write_csv
from benchmark.stats import interval, resample
from benchmark.views.lines import Line, tally

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("row", "family", "tuned", "score", "mean", "low", "high", "seeds", "scenes")
Scores = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
# Field of a record -> its scores.
KINDS: dict[str, Scores] = {"boundary": boundary.scores, "spectrum": spectrum.scores, "fraction": fraction.scores}
# How the names of scores begin -> what bounds them.
BOUNDS = {
    "boundary": (0.0, 1.0),
    "power_ratio": (0.0, math.inf),
    "fraction_bias": (-1.0, 1.0),
    "fraction_rmse": (0.0, 1.0),
}


def shape_table(found: Sequence[Line]) -> DataFrame:
    """Return COLUMNS of every line, an entry per score of KINDS: sums pooled over the test part, mean over seeds.

    Args:
        found: of `strata_table.completed`.
    """
    import pandas as pd

    entries = [
        {"row": line.first.row, "family": line.first.family, "tuned": line.first.tuned, **entry}
        for line in found
        for kind in KINDS
        for part in getattr(line.ok[0], kind)
        for entry in _entries(line, kind, part)
    ]
    return pd.DataFrame(entries, columns=list(COLUMNS))


def _entries(line: Line, kind: str, part: str) -> list[dict[str, Any]]:
    """Return the entries of one distance, octave or tile; none if a seed lacks it or saw other patches."""
    summed = tally(line, [getattr(kept, kind).get(part, []) for kept in line.ok])
    if summed is None or not summed.counts.size:
        return []
    score = KINDS[kind]
    entries = []
    for name in score({part: summed.counts[0, 0]}):
        bounds = next(ends for start, ends in BOUNDS.items() if name.startswith(start))
        own = interval(resample(summed.counts, lambda drawn, name=name: score({part: drawn})[name]), bounds)  # type: ignore[misc]
        numbers = {"mean": own.mean, "low": own.low, "high": own.high, "seeds": own.seeds, "scenes": own.scenes}
        entries.append({"score": name, **numbers})
    return entries


def write_shapes(table: DataFrame, out: Path) -> Path:
    """Write shapes.csv and return its path."""
    return write_csv(table, out / "shapes.csv")
