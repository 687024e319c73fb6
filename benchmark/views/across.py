"""Ranks of rows over data sets: from the leaderboards that one output folder keeps of several of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark._files import write_csv
from benchmark.plan import Plan, readable
from benchmark.views.tables import ranked

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST = 3  # data sets, and rows, that ranks are compared over
TABLE, PICTURE = "across.csv", "critical_difference.png"


def across(out: Path) -> DataFrame | None:
    """Return row, family, mean_rank, the rank on each data set, and friedman_p; None with too few data sets or rows.

    Ranks are by the macro Jaccard index of the defaults, of rows with a score on every data set that are suspect on
    none; best first. `nemenyi_p` is that of no difference to the first row, 1 for all where Friedman's test does not
    reject (see `_comparison_plot.critical_difference`).

    Args:
        out: with `plans/` and `reports/*/leaderboard.csv`.
    """
    frames = leaderboards(out)
    matrix = _matrix(frames)
    if len(matrix) < FEWEST or matrix.shape[1] < FEWEST:
        return None
    from scikit_posthocs import posthoc_nemenyi_friedman
    from scipy.stats import friedmanchisquare

    from benchmark.stats import ALPHA

    ranks = matrix.rank(axis=1, ascending=False)
    mean = ranks.mean().sort_values(kind="stable")
    chance = float(friedmanchisquare(*matrix.to_numpy().T).pvalue)
    families = {
        row: family for frame in frames.values() for row, family in zip(frame["row"], frame["family"], strict=True)
    }
    table = mean.rename("mean_rank").to_frame().join(ranks.T)
    table.insert(0, "family", [families[row] for row in table.index])
    found = posthoc_nemenyi_friedman(matrix)[mean.index[0]] if chance < ALPHA else mean * 0 + 1
    return table.assign(friedman_p=chance, nemenyi_p=found.reindex(table.index)).rename_axis("row").reset_index()


def leaderboards(out: Path) -> dict[str, DataFrame]:
    """Return data set -> the defaults of its leaderboard, of the command that was run on most data sets.

    Commands are alike if their plans differ in the data set alone: suite or profile, bands, epochs. Of two with as
    many data sets it is the one that was run last. Arms of a suite, treated labels, and plans that cannot be read
    do not count.
    """
    groups: dict[str, dict[str, Path]] = {}
    latest: dict[str, float] = {}
    for plan in readable(sorted((out / "plans").glob("*.json"))):
        board = out / "reports" / plan.name / "leaderboard.csv"
        if board.exists() and (kind := _kind(plan)) is not None:
            groups.setdefault(kind, {})[plan.cells[0].data] = board
            latest[kind] = max(latest.get(kind, 0.0), board.stat().st_mtime)
    if not groups:
        return {}
    chosen = max(groups, key=lambda kind: (len(groups[kind]), latest[kind]))
    return {data: read_leaderboard(path) for data, path in groups[chosen].items()}


def _kind(plan: Plan) -> str | None:
    """Return the name of a plan less its data set; None for an arm of a suite, and for treated labels."""
    cell = plan.cells[0]
    return None if plan.arm or cell.labels else plan.name.removeprefix(cell.data)


def read_leaderboard(path: Path) -> DataFrame:
    """Return the defaults of a leaderboard.csv; text that is not there is ""."""
    import pandas as pd

    frame = pd.read_csv(path)
    texts = [name for name in ("status", "reason", "suspect", "labels", "circular", "note") if name in frame]
    frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), "")
    return frame[~frame["tuned"].astype(bool)].reset_index(drop=True)


def _matrix(frames: Mapping[str, DataFrame]) -> DataFrame:
    """Return the macro Jaccard index, a line a data set and a column a row."""
    import pandas as pd

    columns = {name: ranked(frame).set_index("row")["jaccard"] for name, frame in frames.items()}
    return pd.DataFrame(columns).dropna().T


def write_across(out: Path) -> Path | None:
    """Write across.csv and plots/critical_difference.png; return the picture, None where there are too few data sets.

    Those of before, which do not hold any more, are removed then.
    """
    from benchmark.views._comparison_plot import critical_difference

    table, picture = across(out), out / "plots" / PICTURE
    if table is None:
        for old in (out / TABLE, picture):
            old.unlink(missing_ok=True)
        return None
    write_csv(table, out / TABLE)
    return critical_difference(leaderboards(out), picture)
