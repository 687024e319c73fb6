"""The leaderboard of a plan: as a data frame, a CSV file, Markdown, and a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark._files import replacing, write_csv
from benchmark.plan import SOURCE, UNKNOWN, Cell, Plan
from benchmark.record import OK
from benchmark.views._resampling import to_best
from benchmark.views.gate import suspects
from benchmark.views.lines import COLUMNS, FACTS, STATUSES, TIES, Line, lines, values

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

_INTEGERS = ("seeds", "parameters", "trainable", "trials")
_SUMMARY = ("row", "default", "tuned", "AUC", "train s", "tune s", "Mpixel/s", "VRAM MB")
_SCORES = {"F1": "f1", "AUC": "auc", "Brier": "brier", "edge": "boundary_jaccard_2"}
_FACTS = {"input scale": "input scale", "micro-batch": "micro_batch"}
_STEP = {"step ms": ("step_s", 1e-3), "MFU %": ("mfu", 1e-2)}
_TOLD = """Macro Jaccard index, mean over seeds [95 % interval over scenes and seeds]; the rest is of the tuned line \
where it exists. edge: boundary Jaccard index at 2 pixels."""
TIED = "≈"
CIRCULAR, LABELLER, SHARED = "†", "‡", "∥"
SUSPECT = "suspect"  # the column of reasons, and the status they have in a list
_UNKNOWN = "The data set does not say which bands its label derives from, so circular rows are not marked."
_CIRCULAR = f"{CIRCULAR} circular: it sees bands that the label derives from, so its score is agreement, not skill"
_SHARED = f"{SHARED} measured beside other runs on one machine: times are not comparable"
_OWN = f"{LABELLER} label source: the algorithm that made the label, scored against itself"


def leaderboard(plan: Plan, out: Path, found: Sequence[Line] | None = None) -> DataFrame:
    """Return one line per row and kind (defaults, tuned), with the columns COLUMNS and SUSPECT (see `gate`).

    Rows are sorted by their tuned line, or their defaults where there is none; the defaults stand before the tuned
    line. A row of which the line that it ranks by is suspect has no rank and follows, then rows without any score by
    status. Scores are of pooled counts, then the mean over seeds; the interval of `jaccard` is `stats.interval`'s over
    scenes and seeds, empty where there is but one scene. The line that a row ranks by is `tied` if its difference to
    the first row's is not resolved, and `detectable` is the smallest true one that would be (see
    `_resampling.to_best`).

    Args:
        plan: what was run.
        out: where its records are.
        found: its lines, where the caller has them already.
    """
    import pandas as pd

    found = lines(plan, out) if found is None else found
    doubts = suspects(found)
    entries = [
        values(line) | {SUSPECT: "; ".join(doubts.get((line.first.row, line.first.tuned), ()))} for line in found
    ]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        kinds.setdefault(entry["row"], []).append(entry)
    ordered = [
        entry for kind in sorted(kinds.values(), key=_place) for entry in sorted(kind, key=lambda entry: entry["tuned"])
    ]
    frame = pd.DataFrame(ordered, columns=[*COLUMNS, SUSPECT]).astype(dict.fromkeys(_INTEGERS, "Int64"))
    best = best_lines(frame, found)
    ties = {(line.first.row, line.first.tuned): tie for line, tie in zip(best, to_best(best), strict=True)}
    told = [ties.get(name, (None, math.nan)) for name in zip(frame["row"], frame["tuned"], strict=True)]
    made = pd.DataFrame(told, columns=list(TIES)).astype({"tied": "boolean", "detectable": float})
    return frame.assign(**made)


def _place(kind: Sequence[dict[str, Any]]) -> tuple[int, bool, float]:
    """Return the sort key of a row: its best status, whether it is suspect, the score of the line it ranks by.

    The better of the two would be a choice by the test score.
    """
    status = min(STATUSES.index(entry["status"]) for entry in kind)
    known = {entry["tuned"]: entry["jaccard"] for entry in kind if not math.isnan(entry["jaccard"])}
    done = sorted((entry for entry in kind if entry["status"] == OK), key=lambda entry: entry["tuned"])
    return status, bool(done and done[-1][SUSPECT]), -known.get(True, known.get(False, -math.inf))


def ranked(frame: DataFrame) -> DataFrame:
    """Return the line that each row ranks by, the tuned one if it is ok, of rows where it is not suspect."""
    return _scored(frame).loc[lambda done: done[SUSPECT] == ""]


def _scored(frame: DataFrame) -> DataFrame:
    return frame[frame["status"] == OK].drop_duplicates("row", keep="last")


def best_lines(frame: DataFrame, found: Sequence[Line], *, doubted: bool = False) -> list[Line]:
    """Return one line per ranked row, in the order of the table: the tuned one if it is ok, else the defaults.

    A row of which this line is suspect has no rank; with `doubted` it follows those that have one.
    """
    by_name = {(line.first.row, line.first.tuned): line for line in found}
    chosen = (_scored(frame) if doubted else ranked(frame))[["row", "tuned"]]
    return [by_name[row, bool(tuned)] for row, tuned in chosen.itertuples(index=False)]


def pivot(frame: DataFrame) -> list[dict[str, str]]:
    """Return a readable entry per ranked row: defaults and tuned side by side, the rest of the tuned line if it is ok.

    `train s` is fitting and the encoding by a frozen backbone; `VRAM MB` is what PyTorch reserved.
    """
    kinds: dict[str, list[dict[str, Any]]] = {row: [] for row in ranked(frame)["row"]}
    for line in frame[frame["row"].isin(kinds)].to_dict("records"):
        kinds[line["row"]].append(line)
    return [_entry(name, both) for name, both in kinds.items()]


def _entry(name: str, kinds: Sequence[dict[str, Any]]) -> dict[str, str]:
    best = [line for line in kinds if line["status"] == OK][-1]
    train = best["fit_s"] + (0 if math.isnan(best["encode_s"]) else best["encode_s"])
    found = {"tuned" if line["tuned"] else "default": ranking_score(line) for line in kinds}
    ranking = {kind: found.get(kind, "") for kind in ("default", "tuned")}
    return {
        **{"row": marked(name, best["circular"]) + f" {SHARED}" * bool(best["shared"]), "family": best["family"]},
        **ranking,
        "tied": TIED * is_tied(best),
        **{title: _decimals(best[column]) for title, column in _SCORES.items()},
        **{"train s": _digits(train), "tune s": _digits(best["tune_s"]), "trials": _digits(best["trials"])},
        **{"Mpixel/s": _digits(best["mpixel_per_s"]), "latency ms": _digits(best["latency_ms"])},
        "RSS MB": _digits(best["rss_mb"]),
        **{"VRAM MB": _digits(best["vram_reserved_mb"]), "M parameters": _digits(best["parameters"], 1e6)},
    }


def ranking_score(line: Any) -> str:
    """Return the score that ranks a line of the leaderboard with its interval, its status where it has none."""
    if line["status"] != OK:
        return str(line["status"])
    low, high = _decimals(line["jaccard_low"]), _decimals(line["jaccard_high"])
    return _decimals(line["jaccard"]) + (f" [{low}, {high}]" if low else "")


def is_tied(line: Any) -> bool:
    """Return whether a line of the leaderboard is marked as tied."""
    import pandas as pd

    return bool(line["tied"] is not pd.NA and line["tied"])


def _decimals(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def signed(mean: float, low: float, high: float) -> str:
    """Return a difference with its interval, each with its sign; "" where it is not known."""
    if math.isnan(mean):
        return ""
    return f"{mean:+.3f}" + ("" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def _digits(value: Any, unit: float = 1.0) -> str:
    """Return a number with three significant digits and no exponent, "" where it is not known."""
    import pandas as pd

    if pd.isna(value):
        return ""
    number = float(value) / unit
    if 0 < number < 0.001:
        return "<0.001"
    return f"{number:.0f}" if abs(number) >= 100 else np.format_float_positional(number, 3, fractional=False, trim="-")


def fit_facts(frame: DataFrame, found: Sequence[Line]) -> list[dict[str, str]]:
    """Return a readable entry per line whose method told facts of its fit; columns that no line fills are left out.

    Peaks of device memory are of one optimiser step, by phase; MFU is the share of the device's own rate of matrix
    products.
    """
    costs = {(line["row"], bool(line["tuned"])): line for line in frame.to_dict("records")}
    told = [line for line in found if any(kept.facts for kept in line.ok)]
    entries = [_fit(line, costs[line.first.row, line.first.tuned]) for line in told]
    used = [title for title in (entries[0] if entries else ()) if any(entry[title] for entry in entries)]
    return [{title: entry[title] for title in used} for entry in entries]


def _fit(line: Line, costs: Mapping[str, Any]) -> dict[str, str]:
    facts = {title: [str(kept.facts[name]) for kept in line.ok if name in kept.facts] for title, name in _FACTS.items()}
    peaks = {f"VRAM {name[5:-3]} MB": _digits(costs[name]) for name in FACTS if name.startswith("vram")}
    return {
        "row": label(line.first.row, line.first.tuned),
        **{title: ", ".join(dict.fromkeys(values)) for title, values in facts.items()},
        **{title: _digits(costs[name], unit) for title, (name, unit) in _STEP.items()},
        **peaks,
    }


def unranked(frame: DataFrame) -> list[tuple[str, str, str]]:
    """Return (name, status, reason) of lines that are suspect or have no score, a reason both of a row share once."""
    ends: dict[tuple[str, str, str], bool] = {}
    for line in frame[(frame["status"] != OK) | (frame[SUSPECT] != "")].to_dict("records"):
        doubted = line["status"] == OK
        status = SUSPECT if doubted else line["status"]
        reason = f"{ranking_score(line)}; {line[SUSPECT]}" if doubted else line["reason"]
        ends.setdefault((line["row"], status, reason), line["tuned"])
    return [(label(row, tuned), status, " ".join(reason.split())) for (row, status, reason), tuned in ends.items()]


def marked(row: str, circular: str) -> str:
    """Return the name of a row, marked where the label derives from bands that it sees, or from its own algorithm."""
    mark = LABELLER if SOURCE in circular.split() else CIRCULAR
    return f"{row} {mark}" if circular not in ("", UNKNOWN) else row


def title(cell: Cell) -> str:
    """Return the name of a cell's line, marked if it is circular."""
    return marked(label(cell.row, cell.tuned), " ".join(cell.circular))


def label(row: str, tuned: bool) -> str:
    """Return the name of a line."""
    return f"{row} (tuned)" if tuned else row


def write_leaderboard(frame: DataFrame, out: Path) -> tuple[Path, Path]:
    """Write every column to leaderboard.csv and the readable part to leaderboard.md; return both."""
    csv, page = out / "leaderboard.csv", out / "leaderboard.md"
    write_csv(frame, csv)
    with replacing(page) as temporary:
        temporary.write_text(_page(frame))
    return csv, page


def markdown(entries: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the lines of a Markdown table of entries with the same titles."""
    if not entries:
        return []
    table = [list(entries[0]), ["---"] * len(entries[0]), *(list(entry.values()) for entry in entries)]
    return ["| " + " | ".join(_escape(field) for field in row) + " |" for row in table]


def _page(frame: DataFrame) -> str:
    notes = frame[frame["note"] != ""].drop_duplicates("row")
    remarks = [f"**{row}**: {note}" for row, note in zip(notes["row"], notes["note"], strict=True)]
    remarks += [*shared(frame), *circles(frame)]
    ends = [f"**{name}**: {status}: {reason}" for name, status, reason in unranked(frame)]
    text = [_TOLD, "", *markdown(pivot(frame)), *(line for remark in ties(frame) for line in ("", remark))]
    for title, items in (("Suspect, or without a score", ends), ("Notes", remarks)):
        text += ["", f"{title}:", "", *(f"- {_escape(item)}" for item in items)] if items else []
    return "\n".join(text) + "\n"


def ties(frame: DataFrame) -> list[str]:
    """Return what the mark of tied rows means and how small a difference these scenes show, if they show any."""
    found = frame["detectable"].dropna()
    if found.empty:
        return []
    smallest, median, largest = (f"{value:.3f}" for value in found.quantile([0, 0.5, 1]))
    return [
        f"{TIED} tied with the first row: the paired difference is not resolved at 5 % after Holm's adjustment over "
        "all rows. Smallest true difference to it that these scenes and seeds show with a power of 80 % at 5 %: "
        f"{median} (median of the rows, {smallest} to {largest})."
    ]


def shared(frame: DataFrame) -> list[str]:
    """Return what the mark of rows means that were measured beside other runs, if any has it."""
    return [_SHARED] if ranked(frame)["shared"].any() else []


def circles(frame: DataFrame) -> list[str]:
    """Return what was done to train labels, and what the mark of circular rows means if any has or might have it."""
    treated = [f"The labels of the training part were treated: {labels}." for labels in set(frame["labels"]) - {""}]
    bands = list(dict.fromkeys(band for names in frame["circular"] for band in names.split()))
    own, bands = [*treated, *[_OWN] * (SOURCE in bands)], [band for band in bands if band != SOURCE]
    if UNKNOWN in bands:
        return [*own, _UNKNOWN]
    return [*own, f"{_CIRCULAR} ({', '.join(bands)})"] if bands else own


def _escape(text: str) -> str:
    """Return text that stays in its field of a Markdown table and is no markup."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def summary(frame: DataFrame) -> Table:
    """Return the leaderboard for a terminal of 120 columns, reasons beneath."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    ends = Text(
        "\n".join([*(": ".join(end) for end in unranked(frame)), *ties(frame), *shared(frame), *circles(frame)])
    )
    title = "Macro Jaccard index [95 % interval over scenes and seeds]"
    table = Table(title=title, caption=ends, caption_justify="left", box=box.SIMPLE_HEAD)
    for column in _SUMMARY:
        table.add_column(column.replace(" ", "\n"), justify="left" if column == "row" else "right", no_wrap=True)
    for entry in pivot(frame):
        row = f"{entry['tied'] or ' '} {entry['row']}"
        table.add_row(*(Text(field) for field in (row, *(entry[column] for column in _SUMMARY[1:]))))
    return table
