"""The runs of a command on a Dask cluster: handed over, waited for, and handed over again where one was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from distributed import Client, Future, KilledWorker

from benchmark import record, root
from benchmark._agenda import Agenda, name_of, recorded
from benchmark._dask_worker import TOPIC, Dropped, Order, identity, work
from benchmark.api import UserError, digest
from benchmark.plan import Cell, Plan
from benchmark.record import Record
from benchmark.runner import Step, fault

SPARE = 4  # runs that wait beside those under way; few, because a lost worker is held against those that wait as well
LOOK = 2.0  # seconds between two looks at the cluster
GONE = "the Dask scheduler is gone; finished rows are kept, and the same command goes on from there"


class Runs:
    """What a command has under way on a cluster.

    Args:
        client: of the cluster.
        out: root of what is kept.
        agenda: which cells may start.
        stale: by name of a cell, when the record was started that is to be replaced; None: a finished one stands.
        done: cells that have ended before.
    """

    def __init__(self, client: Client, out: Path, agenda: Agenda, stale: dict[Path, str] | None, done: int) -> None:
        self.client, self.out, self.agenda, self.stale, self.done = client, out, agenda, stale, done
        self._under_way: dict[Path, tuple[Plan, Future]] = {}
        self._suspects: dict[Path, Plan] = {}  # they were on several lost workers, perhaps only waiting there
        self._tries: Counter[Path] = Counter()
        self._news: SimpleQueue[Path] = SimpleQueue()
        self._said: tuple[str, str] | None = None  # name of a cell, and what its run said last
        self._looked = 0.0
        self._threads = 0
        self._beside: dict[str, int] = {}
        self._offered: dict[str, float] = {}

    def steps(self) -> Iterator[Step]:
        """Yield a step at each change until all cells have ended.

        Raises:
            UserError: the scheduler is gone, or a worker is of no use.
        """
        self.client.subscribe_topic(TOPIC, self._hear)
        try:
            while self._fill():
                yield from self._changes()
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.client.cancel([future for _, future in self._under_way.values()])
                self.client.unsubscribe_topic(TOPIC)

    def _hear(self, event: Any) -> None:
        self._said = event[1]

    def _fill(self) -> bool:
        """Hand over what may be under way; return whether anything is."""
        if monotonic() - self._looked > LOOK:
            self._look()
        while len(self._under_way) < self._threads + max(SPARE, self._threads // 8):
            task = self.agenda.next()
            if task is None:
                break
            self._submit(task)
        if not self._under_way and self._suspects:  # one that runs alone is the one that a worker is lost over
            self._submit(next(iter(self._suspects.values())))
        return bool(self._under_way)

    def _look(self) -> None:
        """See which workers there are and what they offer, and whether Dask has lost a run."""
        if self.client.status != "running":
            raise UserError(GONE)
        workers = list(self.client.scheduler_info()["workers"].values())
        beside: Counter[str] = Counter()
        for worker in workers:
            beside[worker["host"]] += worker["nthreads"]
        self._threads, self._beside = beside.total(), dict(beside)
        names = {name for worker in workers for name in worker["resources"]}
        self._offered = {name: max(worker["resources"].get(name, 0.0) for worker in workers) for name in names}
        for name, (_, future) in self._under_way.items():
            if future.status in ("lost", "cancelled"):
                self._news.put(name)
        self._looked = monotonic()

    def _submit(self, task: Plan) -> None:
        (cell,) = task.cells
        name, out = name_of(cell), root.address(self.out)
        self._tries[name] += 1
        fresh, stale = self.stale is not None, (self.stale or {}).get(name, "")
        weights = {row: path for row, path in task.weights.items() if row == cell.row}
        chosen = {key: changes for key, changes in task.chosen.items() if key == cell.key}
        values = {**task.to_json(), "weights": weights, "chosen": chosen}
        future = self.client.submit(
            work,
            Order(values, out, fresh, stale, identity(), {host: n for host, n in self._beside.items() if n > 1}),
            # The first part is what Dask's pages call it. Two commands that want the same have one run.
            key=(cell.row, digest(str(name), out, fresh, stale, self._tries[name])[:32]),
            priority=self.agenda.remaining[name],
            resources=self._resources(cell),
        )
        self._under_way[name] = task, future
        future.add_done_callback(lambda _: self._news.put(name))

    def _resources(self, cell: Cell) -> dict[str, float]:
        """Return what a run takes of the kinds that workers offer, no more than the best of them has."""
        kept = recorded(cell, self.out) or recorded(cell.default(), self.out)
        peaks = [size for phase in ("rss_fit", "rss_predict") if kept and (size := kept.memory.get(phase))]
        wanted = {"GPU": float(cell.device.startswith("cuda")), "MEMORY": float(max(peaks, default=0))}
        return {name: min(n, self._offered[name]) for name, n in wanted.items() if n and name in self._offered}

    def _changes(self) -> Iterator[Step]:
        """Wait for a change and yield what it is."""
        try:
            name = self._news.get(timeout=LOOK / 4)
        except Empty:
            yield from self._heard()
            return
        if name not in self._under_way or self._under_way[name][1].status == "pending":
            return  # it was told twice
        task, future = self._under_way.pop(name)
        ended = self._ended(task, future)
        if ended is not None:
            self.done += 1
            self.agenda.end(task.cells[0])
            yield Step(self.done, task.cells[0], *ended)

    def _heard(self) -> Iterator[Step]:
        """Yield what a run has said since the last time, or that there is nobody to run one."""
        name, said = self._said or ("", "")
        self._said = None
        if not self._threads:
            name, said = str(next(iter(self._under_way))), "the cluster has no worker yet"
        if Path(name) in self._under_way:
            yield Step(self.done, self._under_way[Path(name)][0].cells[0], said=said)

    def _ended(self, task: Plan, future: Future) -> tuple[Record, bool] | None:
        """Return the record of a run that has ended, and whether it was there before; None where it runs again."""
        (cell,) = task.cells
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return self._killed(task, error)
        if error is None and future.status == "finished":
            self._suspects.pop(name_of(cell), None)
            return self._record(cell), bool(future.result())
        if error is not None and not isinstance(error, Dropped):
            raise error if isinstance(error, UserError) else UserError(_said(cell, error))
        self._submit(task)
        return None

    def _killed(self, task: Plan, error: KilledWorker) -> tuple[Record, bool] | None:
        """Return the record of a cell that several workers were lost over; None where that is not known yet."""
        (cell,) = task.cells
        if name_of(cell) not in self._suspects:
            self._suspects[name_of(cell)] = task
            return None
        lost = f"{error.allowed_failures + 1} workers were lost over it, one after the other"
        done = fault(cell, self.out, lost)
        if done is None:  # a process that outlived its worker is at it
            self._submit(task)
            return None
        del self._suspects[name_of(cell)]
        return done, False

    def _record(self, cell: Cell) -> Record:
        root.pull(self.out, [cell.folder(self.out), cell.truth(self.out)])
        done = record.read(cell.folder(self.out))
        if done is None:
            raise UserError(
                f"a worker has run {cell.row}, of which nothing is in {self.out}; it must be a shared folder"
            )
        return done


def _said(cell: Cell, error: BaseException) -> str:
    return f"a worker could not run {cell.row} seed {cell.seed} ({type(error).__name__}: {error})"
