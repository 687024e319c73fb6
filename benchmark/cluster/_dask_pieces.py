"""Pieces of work on a Dask cluster, for `sources.Request.spread`: in order, with few of them under way."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import count, islice
from typing import Any

from distributed import Client, Future, KilledWorker, wait
from distributed.comm import CommClosedError

from benchmark.api import UserError
from benchmark.cluster._dask_worker import Piece, identity, piece
from benchmark.sources import Argument, Result

AHEAD = 2  # pieces under way for each thread of the cluster: one is done while the result of another waits for its turn
LOOK = 2.0  # seconds between two looks at the cluster
GONE = "the Dask scheduler is gone; nothing of the data set is kept, and the same command makes it again"
NOBODY = "the cluster has no worker now; waiting for one"


def spread(
    client: Client, say: Callable[[str], None], function: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Generator[Result, None, None]:
    """Yield function(argument) of each argument in their order, as `sources.Spread` says.

    Args:
        client: of the cluster; results come through its scheduler, which a client behind a tunnel reaches as well.
        say: told a sentence when there is nobody to work.
        function: what to do; found by its name on the workers.
        arguments: of each piece.

    Raises:
        UserError: the scheduler is gone, a worker is of no use, or a piece ends several workers.
    """
    name, numbers, todo = f"piece-{uuid.uuid4().hex}", count(), iter(arguments)
    waiting: deque[Future] = deque()
    try:
        while True:
            room = max(1, AHEAD * _threads(client)) - len(waiting)
            for argument in islice(todo, max(0, room)):
                order = Piece(function, argument, identity())
                waiting.append(client.submit(piece, order, key=(name, next(numbers))))
            if not waiting:
                return
            _wait(client, waiting[0], say)
            yield _taken(waiting.popleft())
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.cancel(list(waiting))


def _threads(client: Client) -> int:
    try:
        return sum(client.nthreads().values())
    except (OSError, ValueError):  # a client that has lost its scheduler raises either
        raise UserError(GONE) from None


def _wait(client: Client, future: Future, say: Callable[[str], None]) -> None:
    """Wait until a piece has ended."""
    told = False
    while True:
        with suppress(TimeoutError, CancelledError):
            wait(future, timeout=LOOK)
            return
        if client.status != "running" or future.cancelled():
            raise UserError(GONE)
        if not _threads(client) and not told:
            say(NOBODY)
            told = True


def _taken(future: Future) -> Any:
    """Return the result of a piece that has ended; the workers forget it."""
    try:
        return future.result()
    except KilledWorker as error:
        lost = error.allowed_failures + 1
        raise UserError(
            f"{lost} workers were lost over the same piece of work, one after the other; they may need more memory"
        ) from None
    except (CancelledError, CommClosedError):
        raise UserError(GONE) from None
