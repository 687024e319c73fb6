"""The cells of plans on Dask: about as many at a time as the cluster has threads, those first that take long.

The pieces of work that a data set is made of go to the same cluster, see `spread`.

Dask places the runs, notices lost workers, and runs again what they had. A cell that builds on another is handed over
when that one has ended, because what it needs lies in the output folder and not in a worker's memory.

A run is a process of its own (`host`), which Dask's accounts of memory and time do not see: on a cluster of somebody
else's, a worker's limit of memory must leave room for its run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import record
from benchmark.api import UserError
from benchmark.cluster._agenda import Agenda
from benchmark.measure import cuda_devices
from benchmark.plan import Plan
from benchmark.runner import Step, cleared, tasks
from benchmark.sources import Argument, Result, Spread

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

LOCAL = "local"
DASHBOARD = 8787  # port on 127.0.0.1 of a local cluster's page; another one where it is taken
SHARE = 8 * 10**9  # bytes of memory for each worker of a local cluster: training a 300M backbone takes 7
PIECE = 4 * 10**9  # the same for pieces of work on data: simulating a whole product takes 3.3
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def run(plans: Sequence[Plan], out: Path, fresh: bool, scheduler: str) -> Iterator[Step]:
    """Run what has no finished record, on a cluster; yield a step at each change.

    Args:
        plans: what to run.
        out: root of what is kept; workers on other machines must see it, or have its URL.
        fresh: run finished cells again.
        scheduler: LOCAL for workers on this machine, which end with this process, or the address of a Dask scheduler.

    Raises:
        UserError: the cluster cannot be used, or one of its workers not for this.
    """
    todo, stale, done = {}, {}, 0
    for task in tasks(plans):
        (cell,) = task.cells
        kept = record.read(cell.folder(out))
        if kept is None or kept.status != record.OK or fresh:
            todo[cell.name] = task
            if kept is not None:
                stale[cell.name] = kept.started
            elif fresh:  # once and here: a run whose worker is lost goes on from what it has left
                cleared(cell, out, fresh)
        else:
            done += 1
            yield Step(done, cell, kept, True)
    if not todo:
        return
    from benchmark.cluster._dask_runs import Runs

    with _connected(scheduler) as client:
        _check(client)
        yield from Runs(client, out, Agenda(todo, out), stale if fresh else {}, done).steps()


def spread(scheduler: str, say: Callable[[str], None]) -> Spread:
    """Return what does pieces of work on a cluster, which is connected to when there is work.

    Args:
        scheduler: as in `run`.
        say: told a sentence when the cluster has no worker.
    """

    def pieces(function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> Generator[Result, None, None]:
        from benchmark.cluster import _dask_pieces

        with _connected(scheduler, PIECE) as client:
            _check(client)
            yield from _dask_pieces.spread(client, say, function, arguments)

    return pieces


@contextmanager
def _connected(scheduler: str, share: int = SHARE) -> Iterator[Client]:
    """Connect to a cluster, which is made and ended here where it is LOCAL, with `share` bytes for each worker."""
    from distributed import Client

    if scheduler == LOCAL:
        before = dict(os.environ)
        try:
            with _local(share) as cluster, Client(cluster) as client:
                yield client
        finally:
            os.environ.clear()  # Dask sets numbers of threads for its workers, and with them for this process
            os.environ.update(before)
        return
    try:
        client = Client(scheduler)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler} ({error})") from None
    with client:
        try:
            yield client
        finally:
            with suppress(Exception):  # the scheduler may be gone
                client.run(_release)


def _local(share: int) -> SpecCluster:
    """Return workers on this machine, each with its part of cores and `share` bytes of memory, open to loopback only.

    Their limit of memory is off: Dask would not see the runs, which are processes of their own.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    devices = cuda_devices()
    count = max(1, min(CPU_COUNT, MEMORY_LIMIT // share), devices)
    threads = dict.fromkeys(THREADS, os.environ.get("OMP_NUM_THREADS") or str(max(1, CPU_COUNT // count)))
    options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1"}
    options |= {"dashboard": False, "silence_logs": "ERROR"}
    workers = {
        place: {
            "cls": Nanny,
            "options": {
                **options,
                "env": threads | ({"CUDA_VISIBLE_DEVICES": _device(place)} if place < devices else {}),
                "resources": {"GPU": 1} if place < devices else {},
            },
        }
        for place in range(count)
    }
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": True, "dashboard_address": f"127.0.0.1:{DASHBOARD}"}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": threads}):
        return SpecCluster(workers, {"cls": Scheduler, "options": scheduler}, silence_logs="ERROR")


def _device(place: int) -> str:
    """Return what CUDA_VISIBLE_DEVICES calls a device, also where that is set already."""
    known = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return known.split(",")[place] if known else str(place)


def _check(client: Client) -> None:
    """Look at the workers that there are; those that come later look for themselves.

    Raises:
        UserError: one has other code or packages.
    """
    from benchmark.cluster._dask_worker import identity, stranger

    for address, said in client.run(stranger, identity(), on_error="return").items():
        if isinstance(said, ImportError):
            raise UserError(f"the workers cannot import Nephoscope ({said}); start them in its folder")
        if isinstance(said, Exception) and not isinstance(said, OSError):
            raise said
        if said and not isinstance(said, OSError):  # that is one that was lost meanwhile
            raise UserError(f"worker {address} {said}")


def _release() -> None:
    from benchmark.cluster._dask_worker import release

    release()
