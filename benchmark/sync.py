"""Copying into MLflow, after the fact, what it does not hold yet of every plan of an output folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark import track
from benchmark.plan import Plan
from benchmark.record import FILE
from benchmark.views import tables


def push_all(plans: Sequence[Plan], out: Path, uri: str | None, said: Callable[[str], None]) -> None:
    """Copy the records of all plans, and of each its own tables, pictures and report.

    Nothing is computed or drawn anew, except the tables of a plan that has none of its present records.

    Args:
        plans: what was run into `out`.
        out: root of what is kept.
        uri: of the tracking store; None: the default one.
        said: told one line a plan.

    Raises:
        TrackingError: the tracking store is not there, or went away; what has been copied stays.
    """
    import pandas

    for done, plan in enumerate(plans):
        pages = _pages(plan, out)
        frame = pandas.read_csv(pages / "leaderboard.csv")
        try:
            copied = track.push(plan, out, uri, frame, pages)
        except track.TrackingError as error:
            raise track.TrackingError(f"{error}; {done} of {len(plans)} plans are there as a whole") from None
        said(f"{plan.name}: {copied or 'no'} new runs")


def _pages(plan: Plan, out: Path) -> Path:
    """Return the folder of a plan's own views; its leaderboard is written there if a run ended before it could be."""
    folder = out / "reports" / plan.name
    table = folder / "leaderboard.csv"
    records = (cell.folder(out) / FILE for cell in plan.cells)
    latest = max((path.stat().st_mtime for path in records if path.exists()), default=0.0)
    if not table.exists() or table.stat().st_mtime < latest:
        folder.mkdir(parents=True, exist_ok=True)
        tables.write_leaderboard(tables.leaderboard(plan, out), folder)
    return folder
