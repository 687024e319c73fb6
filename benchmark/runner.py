"""The plan to cells: one child process each, and every end becomes a record.

Two processes may be at the same cell, where a worker is only believed to be dead: the lock of its folder (`host.hold`)
lets one of them write, and the other waits for what becomes of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark import catalog, record
from benchmark.host import Host, Job, hold
from benchmark.plan import Cell, Plan
from benchmark.profiles import PROFILES
from benchmark.record import Record

Ended = dict[str, Any]
OTHERS = "another process is at it"
PAUSE = 1.0  # seconds between two looks at a cell that another process is at


@dataclass(frozen=True)
class Step:
    """Where a run stands: cells that have ended, a cell, its record once there is one, and what its child said last."""

    done: int
    cell: Cell
    record: Record | None = None
    reused: bool = False
    said: str = ""


class Hosts:
    """The host processes of one worker: one for each set of packages, started when a cell first needs it.

    Args:
        workers: that run cells on this machine at the same time, this one among them.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._of: dict[tuple[str, ...], Host] = {}

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def of(self, needs: tuple[str, ...]) -> Host:
        """Return a living host; one that was killed from outside is replaced."""
        if needs not in self._of or self._of[needs].process.poll() is not None:
            self._of[needs] = Host(needs)
        return self._of[needs]

    def close(self) -> None:
        """End all hosts and what they still run."""
        for host in self._of.values():
            host.close()
        self._of.clear()


def tasks(plans: Iterable[Plan]) -> list[Plan]:
    """Return a plan of each single cell, in the order of the plans; a cell of several plans comes once."""
    found: dict[Path, Plan] = {}
    for plan in plans:
        for cell in plan.cells:
            found.setdefault(cell.name, replace(plan, cells=(cell,)))
    return list(found.values())


def run(plans: Sequence[Plan], out: Path, fresh: bool) -> Iterator[Step]:
    """Run what has no finished record, in the order of the plans; yield a step at each change.

    Args:
        plans: what to run.
        out: root of what is kept.
        fresh: run finished cells again.
    """
    with Hosts() as hosts:
        for done, task in enumerate(tasks(plans)):
            (cell,) = task.cells
            work = attempt(task, out, fresh, hosts)
            while True:
                try:
                    yield Step(done, cell, said=next(work))
                except StopIteration as end:
                    yield Step(done + 1, cell, *end.value)
                    break


def attempt(task: Plan, out: Path, fresh: bool, hosts: Hosts) -> Generator[str, None, tuple[Record, bool]]:
    """Run the one cell of a task unless it has a finished record.

    Yields what its child says last, "" first; returns the record, and whether it was there before. A cell that another
    process is at is waited for.
    """
    (cell,) = task.cells
    folder = cell.folder(out)
    found = None if fresh else record.read(folder)
    if found is not None and found.status == record.OK:
        return found, True
    while not cleared(cell, out, fresh):
        yield OTHERS
        time.sleep(PAUSE)
    while True:
        ended = yield from _ended(task, out, hosts)
        done = None if ended.get("busy") else _closed(cell, folder, ended)
        if done is not None:
            return done, False
        yield OTHERS
        time.sleep(PAUSE)


def cleared(cell: Cell, out: Path, fresh: bool) -> bool:
    """Remove what an attempt that gave no numbers has left, with `fresh` any; return whether nobody else is at it."""
    with _alone(folder := cell.folder(out)) as alone:
        if not alone:
            return False
        known = record.read(folder)
        if fresh:  # before the record, which says that this is still to be done
            shutil.rmtree(cell.training(out), ignore_errors=True)
        if fresh or known is None or known.status != record.OK:
            shutil.rmtree(folder, ignore_errors=True)
    return True


def _ended(task: Plan, out: Path, hosts: Hosts) -> Generator[str, None, Ended]:
    """Run the cell of a task in a child, and return how that ended."""
    (cell,) = task.cells
    if cell.absent:
        return {"absent": cell.absent}
    host = hosts.of(catalog.row(cell.row).needs)
    job = Job(task.to_json(), str(out), str(cell.folder(out)), _timeout(cell), hosts.workers)
    yield ""
    host.start(job)
    while (ended := host.poll(0.5)) is None:
        yield _last_line(job.log)
    return ended


def _timeout(cell: Cell) -> float:
    return PROFILES[cell.profile].timeout + cell.allowance * (1 + cell.tuned)  # a refit of the winner too


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Hold the lock of a cell's folder; False where another process does."""
    lock = hold(folder)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _closed(cell: Cell, folder: Path, ended: Ended) -> Record | None:
    """Return the record that a cell has left, or write one of how it ended; None where another process is at it."""
    with _alone(folder) as alone:
        return (record.read(folder) or _fault(cell, folder, ended)) if alone else None


def fault(cell: Cell, out: Path, reason: str, stale: str | None = None) -> Record | None:
    """Write and return the record of a cell that no process could end; None where one is at it.

    A record that is there stands, unless it was started at `stale`: then it is the one that was to be replaced.
    """
    with _alone(folder := cell.folder(out)) as alone:
        if not alone:
            return None
        known = record.read(folder)
        if known is not None and known.started != stale:
            return known
        shutil.rmtree(folder, ignore_errors=True)
        return _close(cell, folder, record.FAILED, reason)


def _fault(cell: Cell, folder: Path, ended: Ended) -> Record:
    """Return the record of a cell whose child left none."""
    if ended.get("absent"):
        return _close(cell, folder, record.NOT_RUN, ended["absent"])
    if ended.get("timeout"):
        reason = f"it took longer than {_timeout(cell):.0f} s and was ended"
        return _close(cell, folder, record.TIMEOUT, reason)
    if ended.get("why"):
        return _close(cell, folder, record.FAILED, ended["why"])
    code = int(ended["exit"])
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit status {code}"
    said = _last_line(folder / "log.txt")
    return _close(cell, folder, record.FAILED, f"its process {how}" + (f": {said}" if said else ""))


def _close(cell: Cell, folder: Path, status: str, reason: str) -> Record:
    """Write and return the record of a cell that gave no numbers."""
    done = Record(cell.key, asdict(cell), status, reason)
    record.write(done, folder)
    return done


def _last_line(log: Path) -> str:
    """Return the last line of a log, "" where there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
