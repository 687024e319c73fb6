"""How several processes work on one Optuna study: whose trials count, who is alive, and waiting for the storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count, islice
from typing import Any

from benchmark import _urls
from benchmark.api import UserError

# Seconds: how often a trial in a shared study gives a sign of life; after how long without one others take it over;
# how long a storage may be away, which is less, or trials would be taken from workers that are alive.
BEAT, GRACE, PATIENCE = 15, 180, 120
PAUSE = 0.5  # seconds between two looks at what others do

Errors = tuple[type[Exception], ...]


class StorageGone(UserError):
    """The storage did not come back in time; the trials that it holds stay finished."""


def shared(study: Any) -> bool:
    """Return whether other processes may work on the study: a journal file belongs to one."""
    return hasattr(study._storage, "record_heartbeat")


def running(study: Any) -> list[Any]:
    """Return the trials that somebody works on, or has died over."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]


def silent(study: Any, seen: dict[int, float]) -> list[Any]:
    """Return the running trials whose worker has died before its first sign of life.

    Args:
        study: the study.
        seen: number of a trial -> when this worker saw it first, filled in; clocks of other machines may be wrong.
    """
    young = [trial for trial in running(study) if "place" not in trial.user_attrs]
    return [trial for trial in young if time.monotonic() - seen.setdefault(trial.number, time.monotonic()) > GRACE]


def finished(study: Any) -> list[Any]:
    """Return the trials that ended by themselves, well or not; a killed one is asked for again."""
    return [trial for trial in study.get_trials(deepcopy=False) if _ended(trial)]


def counted(study: Any) -> list[Any]:
    """Return the trials that are finished or running, as they are at one moment."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "RUNNING" or _ended(trial)]


def _ended(trial: Any) -> bool:
    """Return whether a trial ended by itself: one killed at its very end knows its seconds, but no value and no why."""
    told = trial.state.is_finished() and "seconds" in trial.user_attrs
    return told and (trial.state.name != "FAIL" or "why" in trial.user_attrs)


def spent(study: Any) -> float:
    """Return the seconds of all finished trials but the first."""
    return sum(trial.user_attrs["seconds"] for trial in finished(study)[1:])


def place(others: Sequence[Any], before: Sequence[Any]) -> int:
    """Return the place of a new trial, which seeds the sampler: no two are alike, and a killed trial's is free again.

    Args:
        others: trials that are finished or running.
        before: those of them that were asked for earlier; the first trial, and who just asks, have no place yet.
    """
    known = {other.user_attrs["place"] for other in others if "place" in other.user_attrs}
    waiting = sum("place" not in other.user_attrs for other in before)
    return next(islice((number for number in count() if number not in known), waiting, None))


@contextmanager
def signs_of_life(study: Any, trial: Any) -> Iterator[None]:
    """Tell the other workers of a shared study that this trial is being worked on.

    Optuna's own thread for that is not public, and ends where the storage is away once.
    """
    over = threading.Event()

    def beat() -> None:
        with suppress(StorageGone):  # the trial itself will meet it
            while not over.wait(BEAT):
                study._storage.record_heartbeat(trial._trial_id)

    if shared(study):
        threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def patient(storage: Any, failure: type[Exception], url: str) -> Any:
    """Let every call of a storage wait for a server that is away.

    Args:
        storage: whose calls these are; changed in place.
        failure: what the storage raises, the driver's error being its cause.
        url: for the message.
    """
    from sqlalchemy import exc

    away = (exc.OperationalError, exc.InterfaceError, exc.InternalError)

    def wait(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return patiently(partial(call, *args, **options), PATIENCE, (failure,), away)
        except failure as error:
            if not isinstance(error.__cause__, away):
                raise
            kept = "what it holds is kept, and the same command goes on from there"
            raise StorageGone(f"Optuna's storage {_urls.shown(url)} was away for {PATIENCE} s; {kept}") from None

    for name in dir(type(storage)):
        if not name.startswith("__") and callable(call := getattr(storage, name)):
            setattr(storage, name, partial(wait, call))
    return storage


def patiently(call: Callable[[], Any], patience: float, failures: Errors, away: Errors) -> Any:
    """Call until it succeeds, or the patience is over.

    Args:
        call: what to call.
        patience: seconds.
        failures: what it may raise.
        away: of which kind that, or its cause, must be to be worth another call.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return call()
        except failures as error:
            if (not isinstance(error, away) and not isinstance(error.__cause__, away)) or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)
