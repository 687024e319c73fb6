"""The runs of a command on a Dask cluster: handed over, waited for, and handed over again where one was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any

from distributed import Client, Future, KilledWorker

from benchmark import record, root
from benchmark.api import UserError, digest
from benchmark.cluster._agenda import Agenda
from benchmark.cluster._dask_worker import TOPIC, Dropped, Order, identity, work
from benchmark.plan import Cell, Plan
from benchmark.record import Record
from benchmark.runner import Step, fault

SPARE = 4  # runs that wait beside those under way; few, because a lost worker is held against those that wait as well
LOOK = 2.0  # seconds between two looks at the cluster
ORPHAN = 10.0  # seconds in which a run whose worker was killed has noticed that and ended
GONE = "the Dask scheduler is gone; finished rows are kept, and the same command goes on from there"


class Runs:
    """What a command has under way on a cluster.

    Args:
        client: of the cluster.
        out: root of what is kept.
        agenda: which cells may start.
        stale: by name of a cell, when the record was started that is to be replaced; where nothing is said a finished
            one stands.
        done: cells that have ended before.
    """

    def __init__(self, client: Client, out: Path, agenda: Agenda, stale: dict[Path, str], done: int) -> None:
        self.client, self.out, self.agenda, self.stale, self.done = client, out, agenda, stale, done
        self._under_way: dict[Path, tuple[Plan, Future]] = {}
        self._waiting: list[Plan] = []  # for a worker that they can be handed to
        self._needs: dict[Path, dict[str, float]] = {}
        self._stuck: list[Path] = []  # under way, but no worker that is there can take them
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
        # Before a worker has come nothing says what a run may ask for.
        most = self._threads + max(SPARE, self._threads // 8) if self._threads else 0
        while len(self._under_way) - len(self._stuck) < most and self._next():
            self._submit(self._waiting.pop(0))
        if self._threads and not self._under_way and self._suspects:  # alone, it is the one that a worker is lost over
            self._submit(next(iter(self._suspects.values())))
        return bool(self._under_way or self._next() or self._suspects)

    def _next(self) -> bool:
        """Take a run that may start from the agenda unless one waits; return whether one does now."""
        if not self._waiting and (task := self.agenda.next()) is not None:
            self._waiting.append(task)
        return bool(self._waiting)

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
        # What nobody offers now and somebody did is still asked for: without its device a run would fail.
        self._offered |= {name: max(worker["resources"].get(name, 0.0) for worker in workers) for name in names}
        there = [worker["resources"] for worker in workers]
        self._stuck = [name for name in self._under_way if not any(_suits(one, self._needs[name]) for one in there)]
        for name, (_, future) in self._under_way.items():
            if future.status in ("lost", "cancelled"):
                self._news.put(name)
        self._looked = monotonic()

    def _submit(self, task: Plan) -> None:
        (cell,) = task.cells
        name, out = cell.name, root.address(self.out)
        self._tries[name] += 1
        stale, needs = self.stale.get(name), self._resources(task)
        weights = {row: path for row, path in task.weights.items() if row == cell.row}
        chosen = {key: changes for key, changes in task.chosen.items() if key == cell.key}
        if cell.device.startswith("cuda") and "GPU" in self._offered:
            cell = replace(cell, device="cuda:0")  # of such a worker, which sees no other
        storage = task.storage if cell.tuned else ""  # it may hold a password
        values = replace(task, cells=(cell,), weights=weights, chosen=chosen, storage=storage).to_json()
        future = self.client.submit(
            work,
            Order(values, out, stale, identity(), {host: n for host, n in self._beside.items() if n > 1}),
            # The first part is what Dask's pages call it. Two commands that want the same have one run.
            key=(cell.row, digest(str(name), out, stale, self._tries[name])[:32]),
            priority=self.agenda.remaining[name],
            resources=needs,
        )
        self._under_way[name], self._needs[name] = (task, future), needs
        future.add_done_callback(lambda _: self._news.put(name))

    def _resources(self, task: Plan) -> dict[str, float]:
        """Return what a run takes of the kinds that workers offer, no more than the best of them has."""
        wanted = {"GPU": float(task.cells[0].device.startswith("cuda"))}
        if "MEMORY" in self._offered:
            wanted["MEMORY"] = float(self.agenda.memory(task))
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
        self._stuck = [one for one in self._stuck if one != name]
        ended = self._ended(task, future)
        if ended is not None:
            self.done += 1
            self.agenda.end(task.cells[0])
            self.agenda.learn(task.cells[0], ended[0])
            yield Step(self.done, task.cells[0], *ended)

    def _heard(self) -> Iterator[Step]:
        """Yield what a run has said since the last time, and that there is nobody to run one."""
        name, said = self._said or ("", "")
        self._said = None
        if Path(name) in self._under_way:
            yield Step(self.done, self._under_way[Path(name)][0].cells[0], said=said)
        if not self._threads:
            left = [*(task for task, _ in self._under_way.values()), *self._waiting, *self._suspects.values()]
            yield Step(self.done, left[0].cells[0], said="the cluster has no worker now")
        elif self._stuck:
            needs = ", ".join(f"{kind}={n:g}" for kind, n in self._needs[self._stuck[0]].items())
            said = f"no worker offers {needs}; runs that wait for one: {len(self._stuck)}"
            yield Step(self.done, self._under_way[self._stuck[0]][0].cells[0], said=said)

    def _ended(self, task: Plan, future: Future) -> tuple[Record, bool] | None:
        """Return the record of a run that has ended, and whether it was there before; None where it runs again."""
        (cell,) = task.cells
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return self._killed(task, error)
        if error is None and future.status == "finished":
            self._suspects.pop(cell.name, None)
            return self._record(cell), bool(future.result())
        if error is not None and not isinstance(error, Dropped):
            raise error if isinstance(error, UserError) else UserError(_said(cell, error))
        self._waiting.append(task)
        return None

    def _killed(self, task: Plan, error: KilledWorker) -> tuple[Record, bool] | None:
        """Return the record of a cell that several workers were lost over; None where that is not known yet."""
        (cell,) = task.cells
        if cell.name not in self._suspects:
            self._suspects[cell.name] = task
            return None
        lost = f"{error.allowed_failures + 1} workers were lost over it, one after the other"
        root.pull(self.out, [cell.folder(self.out)])  # a worker may have been lost after its run had ended
        deadline = monotonic() + ORPHAN
        while (done := fault(cell, self.out, lost, self.stale.get(cell.name))) is None and monotonic() < deadline:
            sleep(LOOK / 10)
        if done is None:  # a process that outlived its worker is at it
            self._waiting.append(task)
            return None
        del self._suspects[cell.name]
        return done, False

    def _record(self, cell: Cell) -> Record:
        root.pull(self.out, [cell.folder(self.out), cell.truth(self.out)])
        done = record.read(cell.folder(self.out))
        if done is None:
            raise UserError(
                f"a worker has run {cell.row}, of which nothing is in {self.out}; it must be a shared folder"
            )
        return done


def _suits(offered: dict[str, float], needs: dict[str, float]) -> bool:
    return all(offered.get(kind, 0.0) >= n for kind, n in needs.items())


def _said(cell: Cell, error: BaseException) -> str:
    return f"a worker could not run {cell.row} seed {cell.seed} ({type(error).__name__}: {error})"
