"""Rows that were also trained on permuted labels: a table of the report, and permuted.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark._files import write_csv
from benchmark.views import permuted
from benchmark.views.lines import Line
from benchmark.views.tables import label, signed

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("row", "tuned", "seeds", "kuiper", "kuiper_low", "kuiper_high", "chance", "verdict")
TOLD = (
    "Kuiper skill (hit rate minus false-alarm rate) on the test part after training on permuted labels, [95 % "
    "interval]. A row that learns from labels alone has none: it is suspect if the lower end is above what chance may "
    "give. Fitted cut-offs start from those of the literature and so know clouds without a label: they are told and "
    "not judged."
)


def table(found: Sequence[Line]) -> DataFrame:
    """Return a row for each line that was trained on permuted labels as well, with the columns COLUMNS."""
    import pandas as pd

    blind = [(line, known) for line in found if (known := permuted.of(line.cells, line.out)) is not None]
    rows = [
        (line.first.row, line.first.tuned, one.skill.seeds, one.skill.mean, one.skill.low, one.skill.high, one.chance,
         one.verdict)
        for line, one in blind
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(table: DataFrame, out: Path) -> None:
    """Write permuted.csv; that of an earlier plan does not stay."""
    path = out / "permuted.csv"
    if table.empty:
        path.unlink(missing_ok=True)
    else:
        write_csv(table, path)


def tell(table: DataFrame) -> list[dict[str, str]]:
    """Return a readable entry for each line of the table."""
    return [
        {
            "row": label(line["row"], line["tuned"]),
            "Kuiper skill": signed(line["kuiper"], line["kuiper_low"], line["kuiper_high"]),
            "chance": f"{line['chance']:g}",
            "seeds": str(line["seeds"]),
            "verdict": line["verdict"],
        }
        for line in table.to_dict("records")
    ]
