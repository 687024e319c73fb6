"""What `run` and `report` show while they work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmark import optimism, planner, record, runner, splits
from benchmark._files import alone
from benchmark.api import UserError
from benchmark.plan import Plan, from_json

console = Console()
if not console.is_terminal:
    console.width = 140  # a log is not wrapped at the 80 columns of an unknown terminal
STYLE = {record.OK: "green", record.NOT_RUN: "yellow", record.FAILED: "red", record.TIMEOUT: "red"}


def run(asked: planner.Asked, fresh: bool, tracking_uri: str | None) -> int:
    """Run what the user asked for and write the views; return the exit status, 1 if a row failed."""
    with _progress() as progress:
        task = progress.add_task("data set", total=None)
        plan = planner.make(asked, lambda done, total: progress.update(task, completed=done, total=total))
    plan = replace(plan, command=_typed())
    console.print(f"{plan.name}: {_sizes(plan)} patches, bands {', '.join(plan.cells[0].bands)}")
    if plan.controls:
        console.print(f"run beside the rows they are controls of: {', '.join(plan.controls)}")
    with alone(asked.out / "run.lock", f"another run is at work in {asked.out}"):
        planner.save(plan, asked.out)
        failed = _run_cells(plan, asked.out, fresh)
        _measure_optimism(plan, asked.out)
        views(plan, asked.out, tracking_uri)
    return 1 if failed else 0


def _typed() -> str:
    """Return the command as it was typed, without the user and password of a URL."""
    return re.sub(r"://[^/@\s]+@", "://***@", shlex.join(["python", "-m", "benchmark", *sys.argv[1:]]))


def _sizes(plan: Plan) -> str:
    """Return how many patches of the data set each part has in this plan."""
    used, there = (splits.read(path, plan.store).parts for path in (plan.split, splits.split_path(plan.store)))
    return ", ".join(f"{part} {len(used[part])} of {len(there[part])}" for part in used)


def _run_cells(plan: Plan, out: Path, fresh: bool) -> int:
    """Run the cells under a progress bar and say how each ended; return how many failed."""
    failed = 0
    with _progress() as progress:
        task = progress.add_task("rows", total=len(plan.cells))
        for step in runner.run([plan], out, fresh):
            name = f"{step.cell.row}{' tuned' if step.cell.tuned else ''} seed {step.cell.seed}"
            progress.update(task, completed=step.done, description=f"{name} {escape(step.said)[:60]}")
            if step.record is not None:
                progress.console.print(_verdict(name, step))
                failed += step.record.status in (record.FAILED, record.TIMEOUT)
        progress.update(task, completed=len(plan.cells), description="rows")
    return failed


def _measure_optimism(plan: Plan, out: Path) -> None:
    """Measure once for a data set and split what a random split would claim; what goes wrong is said and no more."""
    cell = optimism.cell_of(plan)
    done = cell and record.read(cell.folder(out))
    if not done or done.cell.get("labels") or done.status != record.OK or optimism.read(plan, out) is not None:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as for cells, and before OpenMP is loaded
    from benchmark import random_split

    with _progress() as progress:
        task = progress.add_task("optimism of a random split", total=None)
        try:
            random_split.measure(plan, out, lambda done, total: progress.update(task, completed=done, total=total))
        except Exception as error:
            message = escape(f"{type(error).__name__}: {error}")
            console.print(f"[yellow]the optimism of a random split was not measured: {message}[/]")


def _verdict(name: str, step: runner.Step) -> str:
    """Return one line about a finished cell."""
    assert step.record is not None
    done, status = step.record, step.record.status
    if status != record.OK:
        return f"[{STYLE[status]}]{status:>8}[/] {name}: {escape(done.reason)}"
    how = "kept from before" if step.reused else f"{done.seconds:.1f} s"
    return f"[{STYLE[status]}]{status:>8}[/] {name}: validation Jaccard {done.validation:.3f} ({how})"


def views(plan: Plan, out: Path, tracking_uri: str | None) -> None:
    """Write leaderboard, plots, report and MLflow of a plan; without MLflow the rest still stands.

    The output folder holds the views of the last plan, `reports/` in it those of every plan.
    """
    from benchmark import evidence, report, tables, track

    for fingerprint, truth in {(cell.fingerprint, cell.truth(out)) for cell in plan.cells}:
        evidence.complete(plan.store, fingerprint, truth)
    frame = tables.leaderboard(plan, out)
    page = report.write_report(plan, out, frame)
    _keep_apart(plan, out)
    console.print(tables.summary(frame))
    console.print(f"leaderboard {out / 'leaderboard.md'}, report {page}")
    try:
        track.push(plan, out, tracking_uri, frame)
    except track.TrackingError as error:
        console.print(f"[yellow]MLflow was not updated: {escape(str(error))}; `report` does it later[/]")


def _keep_apart(plan: Plan, out: Path) -> None:
    """Copy the views of a plan, which the next plan's will replace, into a folder of its name."""
    from benchmark.views import FILES

    folder = out / "reports" / plan.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (path for pattern in (*FILES, "plots", "report.html") for path in out.glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy2(path, folder)


def stored_plan(out: Path, name: str | None) -> Plan:
    """Return a plan that was run before: the one named, else the last.

    Raises:
        UserError: there is none.
    """
    plans = sorted((out / "plans").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise UserError(f"nothing was run into {out} yet; start with `python -m benchmark run all`")
    chosen = plans[-1] if name is None else out / "plans" / f"{name}.json"
    if chosen not in plans:
        raise UserError(f"no plan is called '{name}'; plans are {', '.join(path.stem for path in plans)}")
    try:
        return from_json(json.loads(chosen.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"plan {chosen} cannot be read: {type(error).__name__} {error}") from None


def _progress() -> Progress:
    parts = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*parts, TextColumn("{task.description}"), console=console)
