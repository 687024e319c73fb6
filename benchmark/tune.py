"""Tuning with Optuna: the same number of trials or the same time for every method, on validation data only.

The defaults are the first trial. The sampler is seeded anew before each trial, so a study that was killed and resumed
asks for the same values as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.api import Method, Row, Trial

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
    """Search `row.space` for the best validation score, the row's run with its defaults being the first trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=effort.name,
        storage=_storage(effort.storage),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        load_if_exists=True,
    )
    _drop_unfinished(study)
    if not study.trials:
        study.add_trial(_first_trial(row, defaults))
    best: dict[int, Any] = {}
    startup = min(10, max(3, effort.trials // 3))
    done, cap, begun = len(_finished(study)), effort.cap - _spent(study), time.perf_counter()
    while done < effort.trials and (left := cap - (time.perf_counter() - begun)) > 0:
        study.sampler = optuna.samplers.TPESampler(seed=effort.seed * 1000 + done, n_startup_trials=startup)
        _one_trial(study, row, fit, best, left)
        done += 1
    number = study.best_trial.number
    changes = dict(study.best_trial.user_attrs["changes"])
    return Tuned(changes, best.get(number), [_describe(trial) for trial in study.trials])


def _one_trial(study: Any, row: Row, fit: Fit, best: dict[int, Any], left: float) -> None:
    """Run one trial; keep its method if it is the best so far."""
    import optuna

    start = time.perf_counter()
    trial = study.ask()
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

    try:
        fitted, score = fit(changes, report, left)
        if math.isnan(score):
            raise ValueError("the validation score is NaN")
    except Exception as error:
        pruned = isinstance(error, optuna.TrialPruned)
        if not pruned:
            trial.set_user_attr("why", f"{type(error).__name__}: {error}")
        trial.set_user_attr("seconds", time.perf_counter() - start)
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
        study.tell(trial, state=state)
        return
    trial.set_user_attr("seconds", time.perf_counter() - start)
    study.tell(trial, score)
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


def _storage(storage: str) -> Any:
    """Return Optuna's storage of a URL, or of a journal file."""
    if "://" in storage:
        return storage
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    Path(storage).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(storage))


def _drop_unfinished(study: Any) -> None:
    """End trials that a killed process left running; the sampler and the counts pass over them."""
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _finished(study: Any) -> list[Any]:
    """Return the trials that ended by themselves, well or not; a killed one has no seconds and is asked for again."""
    return [trial for trial in study.trials if "seconds" in trial.user_attrs]


def _spent(study: Any) -> float:
    """Return the seconds of all trials but the first."""
    return sum(trial.user_attrs.get("seconds", 0.0) for trial in _finished(study)[1:])


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
