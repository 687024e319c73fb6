"""What `run` and `report` show while they work."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmark import _urls, cli_views, optimism, planner, record, root, runner, splits, tune
from benchmark._files import alone
from benchmark.cli_verbs import spread
from benchmark.cli_views import console
from benchmark.plan import Plan
from benchmark.studies import arms

STYLE = {record.OK: "green", record.NOT_RUN: "yellow", record.FAILED: "red", record.TIMEOUT: "red"}


def run(asked: planner.Asked, fresh: bool, tracking_uri: str | None, scheduler: str | None) -> int:
    """Run what the user asked for and write the views; return the exit status, 1 if a row failed.

    Args:
        asked: what to run.
        fresh: run finished cells again.
        tracking_uri: of MLflow; None: a store in the output folder.
        scheduler: as in `cluster.run`, also where the data set must be made; None: on this machine, and one cell after
            the other.
    """
    out = asked.out
    if asked.storage:
        tune.reach(asked.storage)
    root.fetch_all(out)
    with _progress() as progress:
        task = progress.add_task("data set", total=None)
        count = lambda done, total: progress.update(task, completed=done, total=total)  # noqa: E731
        plans = planner.plans(asked, count, progress.console.print, spread(scheduler, progress.console.print))
    plans = [replace(plan, command=_typed()) for plan in plans]
    for plan in plans:
        console.print(f"{plan.name}: {_sizes(plan)} patches, bands {', '.join(plan.cells[0].bands)}")
    if plans[0].controls:
        console.print(f"run beside the rows they are controls of: {', '.join(plans[0].controls)}")
    with alone(out / "run.lock", f"another run is at work in {out}"):
        cli_views.save(plans, out)
        root.publish(out)
        failed = _run_cells(plans, out, fresh, scheduler)
        if len(plans) == 1:
            _measure_optimism(plans[0], out)
        cli_views.views(plans, out, tracking_uri)
        root.publish(out)
    return 1 if failed else 0


def _typed() -> str:
    """Return the command as it was typed, without the user and password of a URL."""
    return shlex.join(["python", "-m", "benchmark", *map(_urls.shown, sys.argv[1:])])


def _sizes(plan: Plan) -> str:
    """Return how many patches of the data set each part has in this plan."""
    used, there = (splits.read(path, plan.store).parts for path in (plan.split, splits.split_path(plan.store)))
    return ", ".join(f"{part} {len(used[part])} of {len(there[part])}" for part in used)


def _run_cells(plans: Sequence[Plan], out: Path, fresh: bool, scheduler: str | None) -> int:
    """Run the cells under a progress bar and say how each ended; return how many failed."""
    failed = 0
    of = {cell.name: arms.words(plan.arm) for plan in reversed(plans) for cell in plan.cells}
    with _progress() as progress:
        task = progress.add_task("rows", total=len(runner.tasks(plans)))
        for step in _steps(plans, out, fresh, scheduler):
            arm = of[step.cell.name]
            name = f"{step.cell.row}{' tuned' if step.cell.tuned else ''} seed {step.cell.seed}{arm and f' ({arm})'}"
            progress.update(task, completed=step.done, description=f"{name} {escape(step.said)[:60]}")
            if step.record is not None:
                progress.console.print(_verdict(name, step))
                failed += step.record.status in (record.FAILED, record.TIMEOUT)
        progress.update(task, description="rows")
    return failed


def _steps(plans: Sequence[Plan], out: Path, fresh: bool, scheduler: str | None) -> Iterator[runner.Step]:
    """Yield the steps of a run, here or on a cluster."""
    if scheduler is not None:
        from benchmark import cluster

        yield from cluster.run(plans, out, fresh, scheduler)
        return
    for step in runner.run(plans, out, fresh):
        if step.record is not None:
            root.deliver(step.cell, out)
        yield step


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


def _progress() -> Progress:
    parts = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*parts, TextColumn("{task.description}"), console=console)
