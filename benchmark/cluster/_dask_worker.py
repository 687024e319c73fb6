"""What a Dask worker does for a run, and what it must have in common with who asks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any

import dask
from distributed import Status, get_worker

from benchmark import ROOT, record, root
from benchmark.api import UserError, digest
from benchmark.environment import PACKAGES
from benchmark.plan import from_json
from benchmark.runner import Hosts, attempt

TOPIC = "nephoscope"  # of Dask's events
QUIET = 2.0  # seconds between two lines that a run is heard with
_idle: list[Hosts] = []


class Dropped(Exception):
    """Nobody waits for this run any more, or its worker is about to end."""


@dataclass(frozen=True)
class Order:
    """A run to do.

    Attributes:
        task: a plan of one cell, as `Plan.to_json` gives it.
        out: `root.address` of what is kept.
        stale: when the record was started that is to be replaced; None: a finished one stands.
        identity: of who asks.
        beside: host -> cells that it may be running at the same time; 1 where nothing is said.
    """

    task: dict[str, Any]
    out: str
    stale: str | None
    identity: dict[str, str]
    beside: Mapping[str, int] = field(default_factory=dict)


def work(order: Order) -> bool:
    """Do a run; return whether its record was there before.

    Raises:
        UserError: this worker is of no use for it.
        Dropped: it was not finished.
    """
    worker = get_worker()
    if said := stranger(order.identity):
        raise UserError(f"worker {worker.address} {said}")
    out = root.opened(order.out)
    plan = from_json(order.task)
    (cell,) = plan.cells
    task = root.fetch_for(plan, cell, out)
    if not task.split.is_file():
        raise UserError(f"worker {worker.address} does not see {task.split}; give an --out that all share, or a URL")
    known = record.read(cell.folder(out))
    fresh = known is not None and known.started == order.stale  # else a lost worker has begun: go on from there
    hosts = _idle.pop() if _idle else Hosts()
    hosts.workers = order.beside.get(worker.ip, 1)
    steps = attempt(task, out, fresh, hosts)
    try:
        reused = _followed(steps, str(cell.name), worker)
    except BaseException:
        hosts.close()  # and what it still runs
        raise
    _idle.append(hosts)
    root.deliver(cell, out)
    return reused


def _followed(steps: Any, name: str, worker: Any) -> bool:
    """Follow a run to its end and tell what it says; return whether its record was there before."""
    key, heard, spoke = worker.get_current_task(), "", monotonic()
    while True:
        try:
            said = next(steps)
        except StopIteration as end:
            return bool(end.value[1])
        if worker.status not in (Status.running, Status.paused) or not _wanted(worker, key):
            raise Dropped(key)
        if said != heard and monotonic() - spoke > QUIET:
            worker.log_event(TOPIC, (name, said[:200]))
            heard, spoke = said, monotonic()


def _wanted(worker: Any, key: Any) -> bool:
    task = worker.state.tasks.get(key)
    return task is not None and task.state == "executing"


@dataclass(frozen=True)
class Piece:
    """A piece of work on data: function(argument), and the identity of who asks."""

    function: Callable[[Any], Any]
    argument: Any
    identity: dict[str, str]


def piece(order: Piece) -> Any:
    """Return the result of a piece of work.

    Raises:
        UserError: this worker is of no use for it.
    """
    address = get_worker().address
    if said := stranger(order.identity):
        raise UserError(f"worker {address} {said}")
    # Dask would hand the reading of rows back to the cluster, whose worker waits for it.
    threads = int((os.environ.get("OMP_NUM_THREADS") or "1").partition(",")[0])
    try:
        with dask.config.set(scheduler="threads", num_workers=threads):
            return order.function(order.argument)
    except UserError as error:
        raise UserError(f"worker {address}: {error}") from None


def release() -> None:
    """End the host processes that no run uses."""
    while _idle:
        _idle.pop().close()


def stranger(theirs: Mapping[str, str]) -> str:
    """Return how code or packages here differ from those of who asks, "" where they do not."""
    ours = identity()
    other = next((name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)), None)
    if other is None:
        return ""
    here, there = ours.get(other, "not installed"), theirs.get(other, "not installed")
    return f"has {other} {here} where this command has {there}; start it again from the same code and packages"


@cache
def identity() -> dict[str, str]:
    """Return what decides numbers besides the plan: the code that this process started with, Python and packages.

    Kinds of one release (1.0+cpu, 1.0+cu12) are alike.
    """
    files = [path for name in ("benchmark", "baselines", "models", "datasets") for path in (ROOT / name).rglob("*.py")]
    code = [part for path in sorted(files) for part in (path.relative_to(ROOT).as_posix(), path.read_bytes())]
    packages = {name: found.split("+")[0] for name in PACKAGES if (found := _version(name))}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"code": digest(*code)[:12], "python": python, **packages}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
