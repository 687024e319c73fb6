"""Scores inside strata: an entry per line, stratum and class; as a data frame and as strata.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark._files import write_csv
from benchmark.recount import complete
from benchmark.scores import SCORES, scores
from benchmark.stats import interval, resample
from benchmark.views.lines import Line, tally

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST = 1000  # pixels of a stratum below which a picture shows no score
RARE = 0.01  # a class that less than this share of a stratum's pixels have does not count as present
# Strata that are a property of clouds: what is of the other class there has a trace of cloud, or one beside it.
OF_CLOUD = ("optical_depth", "phase")
RESAMPLES = 500  # of an interval: there are thousands of them, and they need a standard error, no quantile
SHOWN = ("jaccard", "recall", "specificity")  # where both classes are present, only cloud, only clear
COLUMNS = (
    *("row", "family", "tuned", "stratum", "value", "seeds", "scenes", "pixels", "cloud"),
    *("shown", "score", "low", "high"),
    *SCORES,
    *("false_alarm_rate", "miss_rate"),
)


def completed(frame: DataFrame, found: Sequence[Line]) -> list[Line]:
    """Return the lines that ended well, in the order of the leaderboard, with what older records lack.

    Args:
        frame: the leaderboard.
        found: its lines.
    """
    by_name = {(line.first.row, line.first.tuned): line for line in found if line.ok}
    names = [(row, bool(tuned)) for row, tuned in zip(frame["row"], frame["tuned"], strict=True)]
    return [_completed(by_name[name]) for name in names if name in by_name]


def _completed(line: Line) -> Line:
    done = (complete(cell, kept, line.out) for cell, kept in zip(line.cells, line.ok, strict=True))
    return replace(line, records=tuple(done))


def strata_table(found: Sequence[Line]) -> DataFrame:
    """Return COLUMNS of every line by stratum and class.

    Scores are of counts pooled over the test part, then the mean over seeds. `score` is the macro Jaccard index or,
    where a stratum has but one class of the truth (see RARE and OF_CLOUD), the share of it that is right: `shown` says
    which of SHOWN. Its interval is `stats.interval`'s over seeds and the scenes that have the stratum. `pixels` and
    `cloud` are those with truth, and those that are cloud there.

    Args:
        found: of `completed`.
    """
    import pandas as pd

    entries = [
        {**_names(line), "stratum": stratum, "value": value, **told}
        for line in found
        for stratum, values in line.ok[0].strata.items()
        for value in values
        if (told := _scored(line, stratum, value))
    ]
    return pd.DataFrame(entries, columns=list(COLUMNS))


def _names(line: Line) -> dict[str, Any]:
    return {"row": line.first.row, "family": line.first.family, "tuned": line.first.tuned}


def _scored(line: Line, stratum: str, value: str) -> dict[str, Any]:
    """Return the numbers of one class of a stratum; nothing if a seed lacks it or saw other patches."""
    each = [kept.strata.get(stratum, {}).get(value, []) for kept in line.ok]
    summed = tally(line, each)
    if summed is None:
        return {}
    counts = summed.counts[:, summed.counts.sum((0, 2)) > 0]
    if not counts.size:
        return {}
    pooled = counts.sum(1)
    pixels, cloud = int(pooled[0].sum()), int(pooled[0, 2:].sum())
    shown = _shown(stratum, cloud / pixels)
    own = interval(resample(counts, lambda drawn: _scores(drawn)[shown], RESAMPLES))
    means = {name: float(np.mean(score)) for name, score in _scores(pooled).items()}
    return {
        **{"seeds": len(counts), "scenes": counts.shape[1], "pixels": pixels, "cloud": cloud},
        **{"shown": shown, "score": means[shown], "low": own.low, "high": own.high},
        **{name: means[name] for name in SCORES},
        **{"false_alarm_rate": 1 - means["specificity"], "miss_rate": 1 - means["recall"]},
    }


def _shown(stratum: str, share: float) -> str:
    """Return which of SHOWN a stratum with this share of cloud has."""
    if stratum not in OF_CLOUD and RARE <= share <= 1 - RARE:
        return SHOWN[0]
    return SHOWN[1] if share > 1 / 2 else SHOWN[2]


def _scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return all scores of counts (..., 4), and the share of clear pixels that are right."""
    clear, false = (np.asarray(counts[..., place], np.float64) for place in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {**scores(counts), "specificity": clear / (clear + false)}


def write_strata(table: DataFrame, out: Path) -> Path:
    """Write strata.csv and return its path."""
    return write_csv(table, out / "strata.csv")
