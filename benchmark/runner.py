"""The plan to cells: one child process each, and every end becomes a record."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark import catalog, record
from benchmark.host import Host, Job
from benchmark.plan import Cell, Plan
from benchmark.profiles import PROFILES
from benchmark.record import Record

Ended = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """Where a run stands: cells that have ended, a cell, its record once there is one, and what its child said last."""

    done: int
    cell: Cell
    record: Record | None = None
    reused: bool = False
    said: str = ""


class Hosts:
    """The host processes of one worker: one for each set of packages, started when a cell first needs it."""

    def __init__(self) -> None:
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
            found.setdefault(cell.folder(Path()), replace(plan, cells=(cell,)))
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

    Yields what its child says last, "" first; returns the record, and whether it was there before.
    """
    (cell,) = task.cells
    folder = cell.folder(out)
    known = None if fresh else record.read(folder)
    if known is not None and known.status == record.OK:
        return known, True
    shutil.rmtree(folder, ignore_errors=True)
    if fresh:
        shutil.rmtree(cell.training(out), ignore_errors=True)
    folder.mkdir(parents=True)
    if cell.absent:
        return _close(cell, folder, record.NOT_RUN, cell.absent), False
    host = hosts.of(catalog.row(cell.row).needs)
    timeout = PROFILES[cell.profile].timeout + cell.allowance * (1 + cell.tuned)  # a refit of the winner too
    job = Job(task.to_json(), str(out), str(folder / "log.txt"), timeout)
    yield ""
    host.start(job)
    while (ended := host.poll(0.5)) is None:
        yield _last_line(Path(job.log))
    return record.read(folder) or _fault(cell, folder, ended, job.timeout), False


def _fault(cell: Cell, folder: Path, ended: Ended, timeout: float) -> Record:
    """Return the record of a cell whose child left none."""
    if ended.get("timeout"):
        return _close(cell, folder, record.TIMEOUT, f"it took longer than {timeout:.0f} s and was ended")
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
