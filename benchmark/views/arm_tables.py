"""The leaderboards of many arms, each in a folder of its own, by as many processes as there are cores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api import UserError
from benchmark.plan import Plan
from benchmark.views import tables
from benchmark.views.lines import Line, by_plan

if TYPE_CHECKING:
    from pandas import DataFrame

SHARE = 8  # arms that are worth a process
Found = Mapping[str, Sequence[Line]]


def write(plans: Sequence[Plan], out: Path, found: Found) -> dict[str, DataFrame]:
    """Write the leaderboard of each plan into its folder and return them by name.

    Args:
        plans: arms of a suite.
        out: where their records are.
        found: `lines.by_plan` of them.

    Raises:
        UserError: one of the processes was killed.
    """
    workers = min(os.cpu_count() or 1, len(plans) // SHARE)
    if workers < 2:
        return {plan.name: write_one(plan, out, found[plan.name]) for plan in plans}
    # Spawned, they read the records again, which is cheap: forking a process that may run threads can hang.
    try:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            made = pool.map(_write_read, plans, [out] * len(plans), chunksize=4)
            return {plan.name: frame for plan, frame in zip(plans, made, strict=True)}
    except BrokenProcessPool:
        raise UserError(
            "a process that wrote leaderboards was killed, perhaps for want of memory; `report` writes them again"
        ) from None


def _write_read(plan: Plan, out: Path) -> DataFrame:
    return write_one(plan, out, by_plan([plan], out)[plan.name])


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
