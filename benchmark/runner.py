"""The plan to cells: one child process each, and every end becomes a record."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack
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
    """Where a run stands: the cell, its record once there is one, and what its child said last."""

    index: int
    cell: Cell
    record: Record | None = None
    reused: bool = False
    said: str = ""


def run(plan: Plan, out: Path, fresh: bool) -> Iterator[Step]:
    """Run what has no finished record, in the order of the plan; yield a step at each change.

    Args:
        plan: what to run.
        out: root of what is kept.
        fresh: run finished cells again.
    """
    hosts: dict[tuple[str, ...], Host] = {}
    with ExitStack() as stack:
        for index, cell in enumerate(plan.cells):
            folder = cell.folder(out)
            known = None if fresh else record.read(folder)
            if known is not None and known.status == record.OK:
                yield Step(index, cell, known, reused=True)
                continue
            shutil.rmtree(folder, ignore_errors=True)
            if fresh:
                shutil.rmtree(cell.training(out), ignore_errors=True)
            folder.mkdir(parents=True)
            if cell.absent:
                yield Step(index, cell, _close(cell, folder, record.NOT_RUN, cell.absent))
                continue
            needs = catalog.row(cell.row).needs
            if needs not in hosts:
                hosts[needs] = Host(needs)
                stack.callback(hosts[needs].close)
            alone = replace(plan, cells=(cell,)).to_json()
            timeout = PROFILES[cell.profile].timeout + cell.allowance * (1 + cell.tuned)  # a refit of the winner too
            job = Job(alone, str(out), str(folder / "log.txt"), timeout)
            ended = yield from _watch(hosts[needs], job, index, cell)
            if hosts[needs].process.poll() is not None:  # killed from outside: the next cell gets another
                del hosts[needs]
            yield Step(index, cell, record.read(folder) or _fault(cell, folder, ended, job.timeout))


def _watch(host: Host, job: Job, index: int, cell: Cell) -> Generator[Step, None, Ended]:
    """Wait for a job, yielding what its child says; return how it ended."""
    yield Step(index, cell)
    host.start(job)
    while (ended := host.poll(0.5)) is None:
        yield Step(index, cell, said=_last_line(Path(job.log)))
    return ended


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
