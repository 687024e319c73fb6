"""Values from the literature, held beside ours only where data, test part and metric are the same.

They are in `results/published.csv`, one a line, all as fractions of 1. `fingerprint`, `split` and `row` are filled
where a value was measured on the very patches of a comparison; then `metric` is a column of the leaderboard. `basis`
says how it was come by: read in the source, read in its abstract only, or from memory.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import ROOT
from benchmark._files import replacing
from benchmark.api import UserError
from benchmark.plan import Cell
from benchmark.record import OK
from benchmark.views.lines import COLUMNS
from benchmark.views.tables import label, markdown

if TYPE_CHECKING:
    from pandas import DataFrame

PUBLISHED = ROOT / "results" / "published.csv"
BASES = {"read": "", "abstract": "from the abstract", "memory": "from memory, not checked"}
BESIDE = "Published values of the same data, test part and metric as this leaderboard."
CONTEXT = (
    "Context: other data, other labels or another metric, so none of these values is comparable with this leaderboard "
    "or, from one data set to the next, with each other. Fractions of 1; a range is the source's own."
)
_NEEDED = ("method", "metric", "data", "sensor", "source")
_SAME = ("row", "fingerprint", "split")
_NUMBERS = ("value", "low", "high")


@dataclass(frozen=True)
class Published:
    """One value of the literature, as a line of the file.

    Attributes:
        method: what was scored, in the source's words.
        row: our row that is this method; "" where the data are others.
        metric: column of the leaderboard, or the metric's name where it is none.
        value, low, high: NaN where the source gives none; low and high are a range or an interval.
        data, sensor, protocol: what it was measured on, and how.
        fingerprint, split: hashes of the data set and the split where they are known here; else "".
        source, locator: author, year, title; where it is found.
        basis: one of BASES.
        note: what a reader must know.
    """

    method: str
    row: str
    metric: str
    value: float
    low: float
    high: float
    data: str
    sensor: str
    protocol: str
    fingerprint: str
    split: str
    source: str
    locator: str
    basis: str
    note: str


def read(path: Path = PUBLISHED) -> list[Published]:
    """Return the values of a file in its order; none where there is no file, as after `results` was emptied.

    Raises:
        UserError: the file cannot be read, or a line of it breaks a rule of this module.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != [field.name for field in fields(Published)]:
                raise UserError(f"{path.name} has not the columns {', '.join(f.name for f in fields(Published))}")
            found = [_parse(values, f"{path.name}, line {reader.line_num}") for values in reader]
    except OSError as error:
        raise UserError(f"the published values cannot be read: {error}") from None
    names = [(one.method, one.metric, one.data, one.protocol, one.source) for one in found]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice:
        raise UserError(f"{path.name} holds '{', '.join(twice)}' twice")
    return found


def _parse(values: dict[str, Any], place: str) -> Published:
    """Return a line as a value; `place` names it in an error."""
    if None in values or None in values.values():
        raise UserError(f"{place}: it has not as many fields as there are columns")
    try:
        numbers = {name: float(values[name]) if values[name] else math.nan for name in _NUMBERS}
    except ValueError:
        raise UserError(f"{place}: value, low and high must be numbers or empty") from None
    one = Published(**{**values, **numbers})
    fault = _fault(one)
    if fault:
        raise UserError(f"{place}: {fault}")
    return one


def _fault(one: Published) -> str:
    """Return what is wrong with a value; "" where nothing is."""
    known = [number for number in (one.low, one.value, one.high) if not math.isnan(number)]
    same = [name for name in _SAME if getattr(one, name)]
    lacking = [name for name in _NEEDED if not getattr(one, name)]
    faults = {
        f"it has no {', '.join(lacking)}": bool(lacking),
        "it has neither a value nor a range": not known or math.isnan(one.low) != math.isnan(one.high),
        "its numbers must be fractions from -1 to 1": not all(-1 <= number <= 1 for number in known),
        "low, value and high must rise": known != sorted(known),
        f"its basis must be one of {', '.join(BASES)}": one.basis not in BASES,
        "row, fingerprint and split stand together or not at all": len(same) not in (0, len(_SAME)),
        f"{one.metric} is no column of the leaderboard": bool(same) and one.metric not in COLUMNS,
    }
    return next((text for text, wrong in faults.items() if wrong), "")


def beside(frame: DataFrame, cell: Cell, found: Sequence[Published]) -> list[dict[str, str]]:
    """Return an entry per published value and line of its row on the same data, test part and metric.

    Args:
        frame: the leaderboard.
        cell: any cell of its plan.
        found: what `read` gave.
    """
    return [
        {
            **{"row": label(line["row"], line["tuned"]), "metric": one.metric, "ours": _told(line[one.metric])},
            **{"published": _number(one), **_origin(one)},
        }
        for one in found
        if _same(one, cell)
        for line in frame[(frame["row"] == one.row) & (frame["status"] == OK)].to_dict("records")
    ]


def context(cell: Cell, found: Sequence[Published]) -> list[dict[str, str]]:
    """Return an entry per published value of other data or another test part, in the order of the file."""
    return [
        {
            **{"data": one.data, "sensor": one.sensor, "method": one.method, "metric": one.metric},
            **{"value": _number(one), **_origin(one)},
        }
        for one in found
        if not _same(one, cell)
    ]


def _same(one: Published, cell: Cell) -> bool:
    return (one.fingerprint, one.split) == (cell.fingerprint, cell.split)


def _origin(one: Published) -> dict[str, str]:
    notes = (BASES[one.basis], one.note)
    source = ", ".join(part for part in (one.source, one.locator) if part)
    return {"protocol": one.protocol, "source": source, "note": "; ".join(part for part in notes if part)}


def _number(one: Published) -> str:
    interval = "" if math.isnan(one.low) else f"{_told(one.low)} to {_told(one.high)}"
    value = _told(one.value)
    return f"{value} ({interval})" if value and interval else value or interval


def _told(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def write_published(frame: DataFrame, cell: Cell, out: Path) -> Path:
    """Write published.md: the values beside ours, if there are any, then the context; return its path."""
    found = read()
    path, same = out / "published.md", beside(frame, cell, found)
    text = [BESIDE, "", *markdown(same), ""] if same else []
    text += [CONTEXT, "", *markdown(context(cell, found))]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path
