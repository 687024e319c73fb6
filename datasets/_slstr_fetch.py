"""Fetch SLSTR level-1B products of an area and a time from EUMETSAT's Data Store, resumably.

Credentials: EUMETSAT_KEY and EUMETSAT_SECRET, or eumdac's own file; see `datasets._slstr_store`. The result of a search
is kept in the folder as `search-<hash>.json`: the same search later fetches the same products, and asks the Data Store
for nothing where they are all there. Delete that file to search anew.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.api import UserError
from benchmark.sources import Progress, Search
from datasets._slstr_download import Meter, Target, Transfer
from datasets._slstr_manifest import Listed, Unsound, absent, read_manifest, wanted
from datasets._slstr_patience import DEFAULT, Patience, Patient
from datasets._slstr_search import Query, newest, query_of, read_lock, write_lock
from datasets._slstr_store import Product, Store, connected

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What of a product is to come.

    Attributes:
        target: where it goes.
        lacking: wanted files that are not there.
        absent: needed files that the product does not have.
        manifest: its content, empty if it is there.
    """

    target: Target
    lacking: dict[str, Listed]
    absent: list[str]
    manifest: bytes

    @property
    def size(self) -> int:
        """Bytes of the files that lack."""
        return sum(listed.size for listed in self.lacking.values())


def fetch(search: Search, say: Say, progress: Progress, patience: Patience = DEFAULT) -> int:
    """Fetch the products that a search finds into `search.out` and return how many are there whole.

    Options: `satellite` (S3A, S3B, ...), `timeliness` (NR, NT), `entries` (needed, the default: what the reader asks
    of the nadir view; or all). A dry run reads manifests, writes nothing and returns how many products there are.

    Args:
        search: what, where to, and how many files at once.
        say: is told what is found, line by line.
        progress: is told bytes that are there and bytes in all, by one thread at a time.
        patience: how long to bear with a server that is slow, busy or away.

    Raises:
        UserError: nothing found, no or wrong credentials, no network, no space, or files that are not sound; what was
            fetched until then stays and is not fetched again.
    """
    query = query_of(search)
    try:
        with nullcontext() if search.dry_run else _alone(search.out), connected(patience):
            return _fetch(search, query, say, progress, patience)
    except OSError as error:
        raise UserError(f"{error.filename or search.out}: {error.strerror or error}; what was fetched stays") from None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".fetch.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another fetch is at work in {out}; wait for it, or give another --out") from None
    with lock:
        yield


def _fetch(search: Search, query: Query, say: Say, progress: Progress, patience: Patience) -> int:
    stop = threading.Event()
    patient = Patient(patience, say, stop)
    # Where all is there, no credentials are needed.
    connect = cache(partial(Store, patient))
    targets = [Target(product, search.out) for product in _found(search, query, say, connect)]
    lacking = [target for target in targets if not target.whole(query.entries)]
    if not lacking:
        say(f"all {len(targets)} product(s) are in {search.out} already")
        return len(targets)
    store, pool = connect(), ThreadPoolExecutor(search.workers)
    try:
        made = list(pool.map(partial(_order, store, query.entries), lacking))
        orders, faults = [o for o in made if isinstance(o, Order)], [o for o in made if isinstance(o, Unsound)]
        _tell(orders, search, say)
        if not search.dry_run:
            faults += _bring(store, pool, orders, patient, progress)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    if faults:
        raise UserError(f"{len(faults)} of {len(targets)} product(s) cannot be had, all others can; first: {faults[0]}")
    return len(targets)


def _found(search: Search, query: Query, say: Say, connect: Callable[[], Store]) -> list[Product]:
    """Return the products of an earlier search of the kind, or search."""
    path = search.out / query.lock
    found = read_lock(path)
    if found is not None:
        say(f"{len(found)} product(s) from the search kept in {path}")
        return found
    every = connect().find(query.terms)
    if not every:
        raise UserError(f"EUMETSAT has no SLSTR product there from {search.start} to {search.end}")
    found = newest(every)
    say(f"{len(found)} product(s) found, {len(every) - len(found)} older version(s) of them left out")
    if not search.dry_run:
        write_lock(path, query, found)
    return found


def _order(store: Store, entries: str, target: Target) -> Order | Unsound:
    """Read a product's manifest; returns what lacks, or why the manifest is not to be had."""
    files, manifest = target.listed(), b""
    try:
        if files is None:
            manifest = store.manifest(target.product)
            files = read_manifest(manifest, target.product.name)
    except Unsound as fault:
        return fault
    return Order(target, target.lacking(wanted(files, entries)), absent(files), manifest)


def _tell(orders: list[Order], search: Search, say: Say) -> None:
    """Say what is to be fetched, and refuse what the disk cannot hold."""
    for order in orders if search.dry_run else ():
        say(f"{order.target.product.name}  {len(order.lacking)} file(s)  {_megabytes(order.size)}")
    for order in orders:
        if order.absent:
            say(f"{order.target.product.name} has no {', '.join(order.absent)}")
    need = sum(order.size for order in orders)
    say(f"{len(orders)} product(s), {_megabytes(need)} to fetch into {search.out}")
    if search.dry_run:
        return
    need -= sum(order.target.begun(order.lacking) for order in orders)
    free = shutil.disk_usage(search.out).free
    if need > free:
        raise UserError(f"{search.out} has {_megabytes(free)} free, and the products need {_megabytes(need)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _bring(
    store: Store, pool: ThreadPoolExecutor, orders: list[Order], patient: Patient, progress: Progress
) -> list[Unsound]:
    """Fetch the files of all orders, product after product; returns the faults of products that are not sound."""
    begun = sum(order.target.begun(order.lacking) for order in orders)
    meter = Meter(begun, sum(order.size for order in orders), progress)
    queued = []
    for order in orders:
        order.target.prepare(order.manifest)
        transfers = [Transfer(store, order.target, *item, meter, patient) for item in order.lacking.items()]
        queued.append((order.target, [pool.submit(transfer.run) for transfer in transfers]))
    faults: list[Unsound] = []
    for target, futures in queued:
        try:
            _settle(target, futures)
        except Unsound as fault:
            faults.append(fault)
    return faults


def _settle(target: Target, futures: list[Future]) -> None:
    """Wait for the files of a product, all of them even if one is not sound, and give it its name."""
    faults = []
    for future in futures:
        try:
            future.result()
        except Unsound as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
    target.settle()
