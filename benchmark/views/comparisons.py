"""Differences of every ranked row to the first, to `unet`, `lightgbm` and its control, and intervals of every score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import boundary
from benchmark._files import replacing
from benchmark.scores import PROBABILITY_SCORES, SCORES, scores
from benchmark.stats import ALPHA, Difference, Draws, Score, holm, interval, resample
from benchmark.views._probability_draws import score as of_parts
from benchmark.views._resampling import areas, edges
from benchmark.views.lines import Line, parts_of, tally
from benchmark.views.tables import best_lines, label, markdown, signed

if TYPE_CHECKING:
    from pandas import DataFrame

BEST, CONTROL = "best", "control"
TITLES = {
    BEST: "Against the first row",
    "unet": "Against unet",
    "lightgbm": "Against lightgbm",
    CONTROL: "Against the row's own control: a frozen backbone with random weights",
}
MEASURES = {"jaccard": "Jaccard", "boundary": "boundary Jaccard"}
_PARTS = ("", "_low", "_high", "_p", "_holm", "_detectable")
COLUMNS = (
    *("against", "row", "tuned", "reference", "reference_tuned", "seeds", "scenes"),
    *(f"{measure}{part}" for measure in MEASURES for part in _PARTS),
)
SCORE_COLUMNS = ("row", "tuned", "score", "mean", "low", "high", "seeds", "scenes")
_SIGNED = ("kuiper", "mcc")  # these reach down to -1
TOLD = (
    "Row minus reference, paired: both sides see the same resampled scenes and seeds, [95 % interval]. p: of no "
    "difference, adjusted by Holm over the rows of a table; a difference in the Jaccard index is resolved where it is "
    "below 0.05, which takes more than an interval, of one row alone, that leaves 0 out. Detectable: the smallest true "
    "difference in the Jaccard index that would be found with a power of 80 % at 5 %, unadjusted. Defaults are held "
    "against defaults and tuned lines against tuned ones, where the reference has both."
)


def compare(frame: DataFrame, found: Sequence[Line]) -> DataFrame:
    """Return the differences of the line that each row ranks by to its references, with the columns COLUMNS.

    `jaccard` is of the macro Jaccard index, `boundary` of the boundary Jaccard index at 2 pixels; `_p` is the p-value
    of the interval's own t, `_holm` the same adjusted over the rows with one reference. NaN where it cannot be known.

    Args:
        frame: the leaderboard, for the ranks.
        found: the lines of the plan.
    """
    import pandas as pd

    pairs = list(_pairs(best_lines(frame, found), found))
    entries = [
        {
            **{"against": against, "row": line.first.row, "tuned": line.first.tuned},
            **{"reference": reference.first.row, "reference_tuned": reference.first.tuned},
        }
        for against, line, reference in pairs
    ]
    for measure, sampler in zip(MEASURES, (areas(), edges()), strict=True):
        differences = [sampler.difference([line], [reference]) for _, line, reference in pairs]
        for entry, one in zip(entries, differences, strict=True):
            entry |= _fields(measure, one)
    table = pd.DataFrame(entries, columns=list(COLUMNS))
    for measure in MEASURES:
        table[f"{measure}_holm"] = table.groupby("against")[f"{measure}_p"].transform(holm)
    return table


def _pairs(ranked: Sequence[Line], found: Sequence[Line]) -> Iterator[tuple[str, Line, Line]]:
    """Yield (kind of reference, line, reference) in the order of TITLES."""
    done = {(line.first.row, line.first.tuned): line for line in found if line.ok}
    for against in TITLES:
        for line in ranked:
            name = {CONTROL: line.first.control}.get(against, against)
            like = [done[name, kind] for kind in (line.first.tuned, not line.first.tuned) if (name, kind) in done]
            reference = ranked[:1] if against == BEST else like
            if reference and reference[0].first.row != line.first.row:
                yield against, line, reference[0]


def _fields(measure: str, one: Difference) -> dict[str, float]:
    """Return the columns of one difference; the counts are the same for every measure that is known."""
    values = one.mean, one.low, one.high, one.p, math.nan, one.detectable
    counts = {"seeds": one.seeds, "scenes": one.scenes} if measure == next(iter(MEASURES)) else {}
    return counts | {f"{measure}{part}": value for part, value in zip(_PARTS, values, strict=True)}


def intervals(found: Sequence[Line]) -> DataFrame:
    """Return every score of every line with a 95 % interval over scenes and seeds, with the columns SCORE_COLUMNS.

    The mean is over the seeds that have the score, as in the leaderboard; without one of them there is no interval.
    Calibration errors keep the bins of all scenes in every draw.
    """
    import pandas as pd

    entries = [
        {"row": line.first.row, "tuned": line.first.tuned, "score": name, **told}
        for line in found
        if line.ok
        for name, told in _estimates(line)
    ]
    return pd.DataFrame(entries, columns=list(SCORE_COLUMNS))


def _estimates(line: Line) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield name and columns of the scores of a line that its records hold for every seed, on the same patches."""
    if (pixels := tally(line, [kept.counts for kept in line.ok])) is not None:
        yield from _told(SCORES, pixels.counts, _areas)
    for d in boundary.DISTANCES:
        if (outlines := tally(line, [kept.boundary.get(str(d), []) for kept in line.ok])) is not None:
            yield from _told([f"boundary_{name}_{d}" for name in ("jaccard", "f1")], outlines.counts, _outlines)
    found = [parts_of(cell, kept, line.out) for cell, kept in zip(line.cells, line.ok, strict=True)]
    known = [one for one in found if one is not None]
    if len(known) == len(found):
        drawn = np.tile(np.eye(len(known[0].squares)), (len(known), 1, 1))
        yield from _told(PROBABILITY_SCORES, drawn, of_parts(known))


def _told(names: Sequence[str], counts: np.ndarray, score: Score) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield name and columns of scores.

    Args:
        names: of the scores.
        counts: (seeds, scenes, k).
        score: counts (..., k) -> scores (..., names).
    """
    if not counts.shape[1]:
        return
    draws = resample(counts, score)
    for place, name in enumerate(names):
        one = Draws(*(part[..., place] for part in (draws.score, draws.resampled, draws.without)))
        known = one.score[~np.isnan(one.score)]
        if len(known):
            own = interval(one, (-1 if name in _SIGNED else 0, 1))
            ends = {"low": own.low, "high": own.high, "seeds": own.seeds, "scenes": own.scenes}
            yield name, {"mean": float(known.mean()), **ends}


def _areas(counts: np.ndarray) -> np.ndarray:
    """Return the scores of counts (..., 4), (..., SCORES)."""
    return np.stack(list(scores(counts).values()), axis=-1)


def _outlines(counts: np.ndarray) -> np.ndarray:
    return np.stack([boundary.jaccard(counts), boundary.f1(counts)], axis=-1)


def tables(table: DataFrame) -> list[tuple[str, list[dict[str, str]]]]:
    """Return title and readable entries of the differences to each kind of reference, where there are any."""
    kinds = [(title, table[table["against"] == against]) for against, title in TITLES.items()]
    return [(title, [_entry(line) for line in shown.to_dict("records")]) for title, shown in kinds if len(shown)]


def _entry(line: Mapping[str, Any]) -> dict[str, str]:
    measures: dict[str, str] = {}
    for measure, name in MEASURES.items():
        measures[name] = signed(line[measure], line[f"{measure}_low"], line[f"{measure}_high"])
        measures[f"p {name}"] = _p(line[f"{measure}_holm"])
    smallest = line["jaccard_detectable"]
    return {
        "row": label(line["row"], line["tuned"]),
        "minus": label(line["reference"], line["reference_tuned"]),
        **measures,
        "resolved": "" if math.isnan(line["jaccard_holm"]) else "yes" if line["jaccard_holm"] < ALPHA else "no",
        "detectable": "" if math.isnan(smallest) else f"{smallest:.3f}",
        **{name: str(line[name]) for name in ("seeds", "scenes")},
    }


def _p(value: float) -> str:
    return "" if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def write_comparisons(table: DataFrame, every: DataFrame, out: Path) -> None:
    """Write comparisons.csv and comparisons.md, and scores.csv; those of an earlier plan do not stay.

    Args:
        table: of `compare`.
        every: of `intervals`.
        out: folder.
    """
    parts = [line for title, entries in tables(table) for line in (f"## {title}", "", *markdown(entries), "")]
    texts = {
        "comparisons.csv": "" if table.empty else table.to_csv(index=False, float_format="%.6g"),
        "comparisons.md": "\n".join([TOLD, "", *parts]) if parts else "",
        "scores.csv": "" if every.empty else every.to_csv(index=False, float_format="%.6g"),
    }
    for name, text in texts.items():
        if not text:
            (out / name).unlink(missing_ok=True)
            continue
        with replacing(out / name) as temporary:
            temporary.write_text(text)
