"""Tuning with Optuna: the same number of trials or the same time for every method, on validation data only.

The defaults are the first trial. The sampler is seeded anew before each trial, so a study that was killed and resumed
asks for the same values as one that was not.

A journal file belongs to one process. Behind a storage URL several may work on one study: they share its trials and its
time, take over what a dead one has left, and wait for each other at the end, so that all of them find the same.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark import _urls, _workers
from benchmark.api import Method, Row, Trial, UserError

# (changes to the row, report, seconds left) -> (whatever was fitted, its validation score); `report` may raise to end
# the trial.
Fit = Callable[[dict[str, Any], Callable[..., None], float], tuple[Any, float]]


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        changes: the best trial's changes to the row; empty where the defaults are best.
        fitted: what it fitted, None where the best trial is the defaults' or was run before a restart.
        trials: one dict a trial, for the record.
    """

    changes: dict[str, Any]
    fitted: Any
    trials: list[dict[str, Any]]


@dataclass(frozen=True)
class Defaults:
    """The first trial, run already: its validation score, the curve of it by epoch, and what it has cost in seconds."""

    score: float
    curve: list[tuple[int, float]]
    seconds: float


@dataclass(frozen=True)
class Effort:
    """How long to search, and where the study is kept.

    Attributes:
        trials: number of trials, the defaults included.
        cap: seconds for all trials but the defaults, Optuna's own work included; a method that reports its progress is
            ended when they are over, another after the trial in which they end.
        seed: of the sampler.
        name: of the study.
        storage: path of Optuna's journal file, or a storage URL.
    """

    trials: int
    cap: float
    seed: int
    name: str
    storage: str


def search(row: Row, defaults: Defaults, fit: Fit, effort: Effort) -> Tuned:
    """Search `row.space` for the best validation score, the row's run with its defaults being the first trial.

    Raises:
        UserError: the storage cannot be used, or was away for too long.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(effort, _first_trial(row, defaults))
    best: dict[int, Any] = {}
    seen: dict[int, float] = {}
    cap, begun = effort.cap - _workers.spent(study), time.perf_counter()
    while True:
        if _workers.shared(study) and _workers.running(study):
            _end_abandoned(study, seen)
        left = min(cap - (time.perf_counter() - begun), effort.cap - _workers.spent(study))
        if left > 0 and (trial := _ask(study, effort)) is not None:
            _one_trial(study, trial, row, fit, best, left)
        elif _workers.shared(study) and _workers.running(study):
            time.sleep(_workers.PAUSE)
        else:
            break
    number = study.best_trial.number
    changes = dict(study.best_trial.user_attrs["changes"])
    kept = [trial for trial in study.trials if "surplus" not in trial.user_attrs]
    return Tuned(changes, best.get(number), [_describe(trial) for trial in kept])


def _ask(study: Any, effort: Effort) -> Any:
    """Return a new trial, None where all are finished or in other hands.

    Two workers may ask at once: the numbers, which the storage gives one after the other, tell who was late.
    """
    import optuna

    if len(_workers.counted(study)) >= effort.trials:
        return None
    trial = study.ask()
    if _workers.shared(study):
        study._storage.record_heartbeat(trial._trial_id)
    others = [other for other in _workers.counted(study) if other.number != trial.number]
    before = [other for other in others if other.number < trial.number]
    if len(before) >= effort.trials:
        trial.set_user_attr("surplus", True)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None
    number = _workers.place(others, before)
    trial.set_user_attr("place", number)
    startup = min(10, max(3, effort.trials // 3))
    study.sampler = optuna.samplers.TPESampler(seed=effort.seed * 1000 + number, n_startup_trials=startup)
    return trial


def _one_trial(study: Any, trial: Any, row: Row, fit: Fit, best: dict[int, Any], left: float) -> None:
    """Run one trial; keep its method if it is the best so far."""
    import optuna

    start = time.perf_counter()
    assert row.space is not None
    changes = {**row.space(trial), **row.params}
    trial.set_user_attr("changes", {name: value for name, value in changes.items() if name not in row.params})

    def report(step: int, **values: float) -> None:
        if "score" in values:
            trial.report(values["score"], step)
        late = time.perf_counter() - start > left
        if late or trial.should_prune():
            trial.set_user_attr("why", "time cap" if late else "median of the others")
            raise optuna.TrialPruned

    told: dict[str, Any] = {}
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # others took this worker for dead and the trial over
        try:
            with _workers.signs_of_life(study, trial):
                fitted, score = fit(changes, report, left)
            if math.isnan(score):
                raise ValueError("the validation score is NaN")
            told["values"] = score
        except _workers.StorageGone:
            raise
        except Exception as error:
            pruned = isinstance(error, optuna.TrialPruned)
            if not pruned:
                trial.set_user_attr("why", f"{type(error).__name__}: {error}")
            told["state"] = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
        trial.set_user_attr("seconds", time.perf_counter() - start)
        study.tell(trial, **told, skip_if_finished=True)
        if study.best_trial.number == trial.number:
            best.clear()
            best[trial.number] = fitted


class _Defaults:
    """A trial that answers with a method's own values and remembers the distributions."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.values: dict[str, Any] = {}
        self.distributions: dict[str, Any] = {}

    def _answer(self, name: str, distribution: Any) -> Any:
        value = getattr(self.method, name)
        if not distribution._contains(distribution.to_internal_repr(value)):
            raise ValueError(f"the default {name}={value!r} lies outside the space")
        self.values[name], self.distributions[name] = value, distribution
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        from optuna.distributions import FloatDistribution

        return float(self._answer(name, FloatDistribution(low, high, log=log)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        from optuna.distributions import IntDistribution

        return int(self._answer(name, IntDistribution(low, high, log=log)))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        from optuna.distributions import CategoricalDistribution

        return self._answer(name, CategoricalDistribution(tuple(choices)))


def _first_trial(row: Row, defaults: Defaults) -> Any:
    """Return the defaults' run as a finished trial."""
    import optuna

    asked: Trial = _Defaults(row.method(**row.params))
    assert row.space is not None
    row.space(asked)
    return optuna.trial.create_trial(
        params=asked.values,  # type: ignore[attr-defined]
        distributions=asked.distributions,  # type: ignore[attr-defined]
        value=defaults.score,
        intermediate_values=dict(defaults.curve),
        user_attrs={"changes": {}, "seconds": defaults.seconds},
    )


def reach(url: str) -> None:
    """Make the tables of a storage, or raise a UserError that says what is wrong with it, before any work starts."""
    _server(url, patience=5.0)


def _study(effort: Effort, first: Any) -> Any:
    """Return the study with its first trial."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    told: dict[str, Any] = {"study_name": effort.name, "direction": "maximize", "pruner": pruner}
    if "://" in effort.storage:
        return _shared_study(told, _server(effort.storage, _workers.PATIENCE), first)
    Path(effort.storage).parent.mkdir(parents=True, exist_ok=True)
    journal = optuna.storages.JournalStorage(JournalFileBackend(effort.storage))
    study = optuna.create_study(**told, storage=journal, load_if_exists=True)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # a killed process left it
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    if not study.trials:
        study.add_trial(first)
    return study


def _shared_study(told: dict[str, Any], storage: Any, first: Any) -> Any:
    """Return the study of several workers: the one that makes it adds the first trial, the others wait for that."""
    import optuna

    while True:
        with suppress(optuna.exceptions.DuplicatedStudyError):
            study = optuna.create_study(**told, storage=storage)
            study.add_trial(first)
            return study
        with suppress(KeyError):  # another has removed it, as below
            study = optuna.load_study(study_name=told["study_name"], storage=storage, pruner=told["pruner"])
            deadline = time.monotonic() + _workers.GRACE
            while time.monotonic() < deadline:
                if study.get_trials(deepcopy=False):
                    return study
                time.sleep(_workers.PAUSE)
            storage.delete_study(study._study_id)  # who made it has died before its first trial


def _server(url: str, patience: float) -> Any:
    """Return the storage behind a URL; each of its calls waits for a server that is away."""
    import optuna
    from sqlalchemy.exc import DBAPIError

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # both of the signs of life
    warnings.filterwarnings("ignore", "Heartbeat of storage is supposed", UserWarning)
    _urls.check(url)
    driver = url.replace("postgresql://", "postgresql+psycopg://", 1).replace("{", "{{").replace("}", "}}")
    options: dict[str, Any] = {"engine_kwargs": {"pool_pre_ping": True}, "heartbeat_interval": _workers.BEAT}
    make = partial(optuna.storages.RDBStorage, driver, **options, grace_period=_workers.GRACE)
    failure = optuna.exceptions.StorageInternalError
    try:  # of two workers that make the tables at once, one fails, and finds them the next time
        made = _workers.patiently(make, patience, (DBAPIError, failure), (DBAPIError,))
    except Exception as error:
        why = _urls.hidden(f"{type(error).__name__}: {error}".partition("\n")[0], url)
        raise UserError(f"Optuna's storage {_urls.shown(url)} cannot be used: {why}") from None
    return _workers.patient(made, failure, url)


def _end_abandoned(study: Any, seen: dict[int, float]) -> None:
    """End the trials of workers that have died."""
    import optuna

    optuna.storages.fail_stale_trials(study)
    for trial in _workers.silent(study, seen):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def _describe(trial: Any) -> dict[str, Any]:
    """Return a trial as plain values."""
    return {
        "number": trial.number,
        "params": trial.params,
        "value": trial.value,
        "state": trial.state.name.lower(),
        "seconds": trial.user_attrs.get("seconds", 0.0),
        "why": trial.user_attrs.get("why", ""),
    }
