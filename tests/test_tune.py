from dataclasses import dataclass

import pytest

from benchmark import tune
from benchmark.api import Row


@dataclass
class Hill:
    """A method whose validation score is known: highest at x = 3."""

    x: float = 0.0
    fixed: int = 1


def space(trial):
    return {"x": trial.suggest_float("x", -5.0, 5.0)}


ROW = Row("hill", "floor", Hill, {"fixed": 7}, space)
FIRST = tune.Defaults(score=-9.0, curve=[(0, -9.0)], seconds=0.1)


def search(storage, trials=8, fit=None, row=ROW, cap=60.0):
    seen = []

    def plain(changes, report):
        seen.append(changes)
        return Hill(**changes), -((changes["x"] - 3) ** 2)

    effort = tune.Effort(trials, cap, 0, "study", str(storage))
    return tune.search(row, FIRST, fit or plain, effort), seen


def test_defaults_are_the_first_of_the_trials(tmp_path):
    found, seen = search(tmp_path / "a.journal")
    assert len(found.trials) == 8
    assert len(seen) == 7
    assert found.trials[0]["params"] == {"x": 0.0}
    assert found.trials[0]["value"] == -9.0
    assert all(changes["fixed"] == 7 for changes in seen)


def test_best_trial_comes_with_what_it_fitted(tmp_path):
    found, _ = search(tmp_path / "a.journal")
    best = max(found.trials, key=lambda trial: trial["value"])
    assert found.changes == best["params"]
    assert found.fitted.x == best["params"]["x"]


def test_defaults_win_where_nothing_is_better(tmp_path):
    found, _ = search(tmp_path / "a.journal", fit=lambda changes, report: (None, -100.0))
    assert found.changes == {}
    assert found.fitted is None


def test_same_seed_same_trials(tmp_path):
    assert search(tmp_path / "a.journal")[1] == search(tmp_path / "b.journal")[1]


def test_killed_study_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = search(tmp_path / "whole.journal")[1]

    class Killed(BaseException):
        pass

    before = []

    def dies(changes, report):
        if len(before) == 3:
            raise Killed
        before.append(changes)
        return Hill(**changes), -((changes["x"] - 3) ** 2)

    with pytest.raises(Killed):
        search(tmp_path / "cut.journal", fit=dies)
    assert before + search(tmp_path / "cut.journal")[1] == whole


def test_trial_over_the_time_cap_is_ended(tmp_path):
    def slow(changes, report):
        import time

        time.sleep(0.05)
        report(0, score=0.1)
        return None, 5.0

    found, _ = search(tmp_path / "a.journal", fit=slow, cap=0.02)
    assert [trial["state"] for trial in found.trials] == ["complete", "pruned"]
    assert found.trials[1]["why"] == "time cap"
    assert found.changes == {}


def test_hopeless_trial_is_pruned(tmp_path):
    scores = iter(range(-50, -100, -1))

    def fit(changes, report):
        score = next(scores)
        for step in range(3):
            report(step, score=float(score))
        return None, float(score)

    found, _ = search(tmp_path / "a.journal", fit=fit, trials=8)
    assert "median of the others" in {trial["why"] for trial in found.trials}


def test_default_outside_the_space_is_a_fault(tmp_path):
    row = Row("hill", "floor", Hill, {}, lambda trial: {"x": trial.suggest_float("x", 1.0, 5.0)})
    with pytest.raises(ValueError, match=r"x=0\.0 lies outside"):
        search(tmp_path / "a.journal", row=row)


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_trial_that_fails_counts_and_the_search_goes_on(tmp_path, fault):
    tried = []

    def fit(changes, report):
        tried.append(changes)
        if len(tried) == 1 and fault == "raises":
            raise MemoryError("too wide")
        return None, float("nan") if len(tried) == 1 else -1.0

    found, _ = search(tmp_path / "a.journal", trials=4, fit=fit)
    assert len(tried) == 3
    assert [trial["state"] for trial in found.trials] == ["complete", "fail", "complete", "complete"]
    assert {"raises": "MemoryError: too wide", "nan": "NaN"}[fault] in found.trials[1]["why"]
    assert len({tuple(changes.items()) for changes in tried}) == 3
