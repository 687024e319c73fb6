"""What `run` and `report` write from records, and the stored plans that it is written for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from benchmark import planner
from benchmark.api import UserError
from benchmark.plan import Plan, read, read_arms
from benchmark.record import write_json
from benchmark.studies import arms

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmark.views.lines import Line

ARMS = ".arms"  # ending of a file that names the plans of a suite
console = Console()
if not console.is_terminal:
    console.width = 140  # a log is not wrapped at the 80 columns of an unknown terminal


def views(plans: Sequence[Plan], out: Path, tracking_uri: str | None) -> None:
    """Write leaderboards, plots, reports and MLflow of plans, and the page of a suite; without MLflow the rest stands.

    The output folder holds the views of the last plan, `reports/` in it those of every plan, and `studies/` those of
    suites. Of an arm there is the leaderboard alone: `report` with its name draws the rest.
    """
    from benchmark import evidence
    from benchmark.views import arm_tables, lines

    for store, fingerprint, truth in {(p.store, cell.fingerprint, cell.truth(out)) for p in plans for cell in p.cells}:
        evidence.complete(store, fingerprint, truth)
    found = lines.by_plan(plans, out)
    if len(plans) > 1:
        frames = arm_tables.write(plans, out, found)
    else:
        frames = {plan.name: _of_plan(plan, out, found[plan.name]) for plan in plans}
    if plans[0].suite and (len(plans) > 1 or not plans[0].arm):  # a single arm has no page of its own
        from benchmark.studies import study_report

        console.print(f"suite {plans[0].suite}: {study_report.write(plans, out, frames, found)}")
    if len(plans) == 1:
        from benchmark.views import across

        across.write_across(out)
    _push(plans, out, tracking_uri, frames)


def _of_plan(plan: Plan, out: Path, found: Sequence[Line]) -> DataFrame:
    """Write all views of a plan and return its leaderboard."""
    from benchmark.views import report, tables

    frame = tables.leaderboard(plan, out, found)
    page = report.write_report(plan, out, frame, found)
    _keep_apart(plan, out)
    console.print(tables.summary(frame))
    console.print(f"leaderboard {out / 'leaderboard.md'}, report {page}")
    return frame


def _keep_apart(plan: Plan, out: Path) -> None:
    """Copy the views of a plan, which the next plan's will replace, into a folder of its name."""
    from benchmark.views import arm_tables
    from benchmark.views.derived import FILES

    folder = arm_tables.emptied(plan, out)
    for path in (path for pattern in (*FILES, "plots", "report.html") for path in out.glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy2(path, folder)


def _push(plans: Sequence[Plan], out: Path, uri: str | None, frames: dict[str, DataFrame]) -> None:
    """Copy what was written into MLflow."""
    from benchmark import track

    try:
        for plan in plans:
            track.push(plan, out, uri, frames[plan.name], out / "reports" / plan.name)
    except track.TrackingError as error:
        console.print(f"[yellow]MLflow was not updated: {escape(str(error))}; `report --sync` does it later[/]")


def sync(out: Path, uri: str | None) -> int:
    """Copy into MLflow what it does not hold yet of all plans; return the exit status, 1 where it is not reached."""
    from benchmark import sync as copies
    from benchmark import track

    plans = [stored_plan(out, file.stem) for file in _files(out)]
    try:
        copies.push_all(plans, out, uri, lambda line: console.print(line, markup=False, highlight=False))
    except track.TrackingError as error:
        console.print(f"[yellow]MLflow was not updated: {escape(str(error))}[/]")
        return 1
    return 0


def stored_plan(out: Path, name: str | None) -> Plan:
    """Return a plan that was run before: the one named, else the last.

    Raises:
        UserError: there is none.
    """
    plans = _files(out)
    chosen = plans[-1] if name is None else out / "plans" / f"{name}.json"
    if chosen not in plans:
        raise UserError(f"no plan is called '{name}'; plans are {', '.join(path.stem for path in plans)}")
    return read(chosen)


def stored_plans(out: Path, name: str | None) -> list[Plan]:
    """Return the plans that a name stands for: a plan, or all arms of a suite; without a name what was run last.

    Raises:
        UserError: there is none, or a file of them is damaged.
    """
    files = {file.stem: file for file in (out / "plans").glob(f"*{ARMS}")}
    if name is None:
        last = stored_plan(out, None).name
        name = next((study for study, file in files.items() if last in read_arms(file)), last)
    return [stored_plan(out, one) for one in (read_arms(files[name]) if name in files else [name])]


def save(plans: Sequence[Plan], out: Path) -> None:
    """Write plans where `report` finds them, and which are arms of one suite."""
    for plan in plans:
        planner.save(plan, out)
    if len(plans) > 1:
        write_json(out / "plans" / f"{arms.study(plans[0])}{ARMS}", [plan.name for plan in plans])


def _files(out: Path) -> list[Path]:
    plans = sorted((out / "plans").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise UserError(f"nothing was run into {out} yet; start with `python -m benchmark run all`")
    return plans
