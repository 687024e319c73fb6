"""The leaderboards of many arms, each in a folder of its own, by as many processes as there are cores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.plan import Plan
from benchmark.views import tables
from benchmark.views.lines import Line

if TYPE_CHECKING:
    from pandas import DataFrame

SHARE = 8  # arms that are worth a process
Found = Mapping[str, Sequence[Line]]
_found: Found = {}  # of the processes: what they were forked with


def write(plans: Sequence[Plan], out: Path, found: Found) -> dict[str, DataFrame]:
    """Write the leaderboard of each plan into its folder and return them by name.

    Args:
        plans: arms of a suite.
        out: where their records are.
        found: `lines.by_plan` of them.
    """
    workers = min(os.cpu_count() or 1, len(plans) // SHARE)
    if workers < 2:
        return {plan.name: write_one(plan, out, found[plan.name]) for plan in plans}
    # Forked, they have the records without reading or receiving them again.
    with ProcessPoolExecutor(workers, get_context("fork"), _keep, (found,)) as pool:
        made = pool.map(_of_kept, plans, [out] * len(plans), chunksize=4)
        return {plan.name: frame for plan, frame in zip(plans, made, strict=True)}


def _keep(found: Found) -> None:
    global _found
    _found = found


def _of_kept(plan: Plan, out: Path) -> DataFrame:
    return write_one(plan, out, _found[plan.name])


def write_one(plan: Plan, out: Path, found: Sequence[Line]) -> DataFrame:
    """Write the leaderboard of one plan into its folder and return it."""
    frame = tables.leaderboard(plan, out, found)
    tables.write_leaderboard(frame, emptied(plan, out))
    return frame


def emptied(plan: Plan, out: Path) -> Path:
    """Return the folder of a plan's views, empty."""
    folder = out / "reports" / plan.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
