import time
from dataclasses import dataclass
from itertools import pairwise

import pytest

from benchmark import _workers, tune
from benchmark.api import Row, UserError
from benchmark.profiles import MANY


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

    def plain(changes, report, left):
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
    found, _ = search(tmp_path / "a.journal", fit=lambda changes, report, left: (None, -100.0))
    assert found.changes == {}
    assert found.fitted is None


def test_same_seed_same_trials(tmp_path):
    assert search(tmp_path / "a.journal")[1] == search(tmp_path / "b.journal")[1]


def test_killed_study_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = search(tmp_path / "whole.journal")[1]

    class Killed(BaseException):
        pass

    before = []

    def dies(changes, report, left):
        if len(before) == 3:
            raise Killed
        before.append(changes)
        return Hill(**changes), -((changes["x"] - 3) ** 2)

    with pytest.raises(Killed):
        search(tmp_path / "cut.journal", fit=dies)
    assert before + search(tmp_path / "cut.journal")[1] == whole


def test_trial_over_the_time_cap_is_ended(tmp_path):
    def slow(changes, report, left):
        time.sleep(0.05)
        report(0, score=0.1)
        return None, 5.0

    found, _ = search(tmp_path / "a.journal", fit=slow, cap=0.02)
    assert [trial["state"] for trial in found.trials] == ["complete", "pruned"]
    assert found.trials[1]["why"] == "time cap"
    assert found.changes == {}


def test_hopeless_trial_is_pruned(tmp_path):
    scores = iter(range(-50, -100, -1))

    def fit(changes, report, left):
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

    def fit(changes, report, left):
        tried.append(changes)
        if len(tried) == 1 and fault == "raises":
            raise MemoryError("too wide")
        return None, float("nan") if len(tried) == 1 else -1.0

    found, _ = search(tmp_path / "a.journal", trials=4, fit=fit)
    assert len(tried) == 3
    assert [trial["state"] for trial in found.trials] == ["complete", "fail", "complete", "complete"]
    assert {"raises": "MemoryError: too wide", "nan": "NaN"}[fault] in found.trials[1]["why"]
    assert len({tuple(changes.items()) for changes in tried}) == 3


def test_pruned_and_failed_trials_carry_reason_and_duration(tmp_path):
    scores = iter(range(-50, -100, -1))

    def fit(changes, report, left):
        time.sleep(0.02)
        score = float(next(scores))
        if score == -52:
            raise MemoryError("too wide")
        for step in range(3):
            report(step, score=score)
        return None, score

    found, _ = search(tmp_path / "a.journal", fit=fit)
    ended = {trial["state"]: trial for trial in found.trials[1:]}
    assert {"pruned", "fail"} <= set(ended)
    assert ended["fail"]["why"] == "MemoryError: too wide"
    assert ended["pruned"]["why"] == "median of the others"
    assert all(trial["seconds"] >= 0.02 for trial in found.trials[1:])


def test_time_alone_ends_a_search_whose_trials_are_many_and_each_sees_what_is_left(tmp_path):
    lefts = []

    def fit(changes, report, left):
        lefts.append(left)
        time.sleep(0.05)
        return None, changes["x"]

    begin = time.perf_counter()
    found, _ = search(tmp_path / "a.journal", fit=fit, trials=MANY, cap=1.0)
    assert time.perf_counter() - begin < 5.0
    assert 3 <= len(lefts) <= 20
    assert lefts[0] <= 1.0
    assert all(after < before - 0.05 for before, after in pairwise(lefts))
    assert lefts[-1] > 0
    assert len(found.trials) == 1 + len(lefts)


def test_time_spent_before_a_kill_counts(tmp_path):
    def fit(changes, report, left):
        lefts.append(left)
        if len(lefts) == 4:
            raise KeyboardInterrupt
        time.sleep(0.1)
        return None, 1.0

    lefts = []
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "a.journal", fit=fit, trials=MANY, cap=5.0)
    search(tmp_path / "a.journal", fit=fit, trials=5, cap=5.0)
    assert lefts[4] < lefts[0] - 0.3


def test_a_trial_that_does_not_end_by_itself_is_the_last_and_counts_whole(tmp_path):
    def fit(changes, report, left):
        time.sleep(0.3)
        return None, 1.0

    found, _ = search(tmp_path / "a.journal", fit=fit, trials=MANY, cap=0.1)
    assert [trial["state"] for trial in found.trials] == ["complete", "complete"]
    assert found.trials[1]["seconds"] >= 0.3


def test_nothing_is_tried_where_the_defaults_have_spent_all(tmp_path):
    found, seen = search(tmp_path / "a.journal", trials=MANY, cap=-1.0)
    assert seen == []
    assert len(found.trials) == 1


def test_shared_storage_gives_the_trials_of_a_journal(tmp_path):
    journal, shared = (search(place)[1] for place in (tmp_path / "a.journal", f"sqlite:///{tmp_path}/a.db"))
    assert shared == journal


def test_killed_trial_of_a_shared_study_is_tried_again_once_its_worker_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(_workers, "GRACE", 1)
    tried = []

    class Killed(BaseException):
        pass

    def dies(changes, report, left):
        tried.append(changes)
        if len(tried) == 3:
            raise Killed
        return None, -((changes["x"] - 3) ** 2)

    storage = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(Killed):
        search(storage, fit=dies)
    # The database counts in whole seconds; with fewer trials than are finished or running there is nothing to ask for.
    found, seen = search(storage, trials=4)
    assert found.trials[3]["state"] == "fail"
    assert seen == [tried[2]], "it has the place of the killed one, and so its values"
    assert [trial["state"] for trial in found.trials].count("complete") == 4


def test_worker_taken_for_dead_goes_on_and_its_trial_counts_once(tmp_path):
    import optuna

    storage = f"sqlite:///{tmp_path}/a.db"
    late = []

    def fit(changes, report, left):
        if not late:
            study = optuna.load_study(study_name="study", storage=storage)
            late.append(changes)
            study.tell(1, state=optuna.trial.TrialState.FAIL)
        return None, -((changes["x"] - 3) ** 2)

    found, _ = search(storage, trials=4, fit=fit)
    assert [trial["state"] for trial in found.trials] == ["complete", "fail", "complete", "complete", "complete"]
    assert found.trials[2]["params"] == {"x": late[0]["x"]}


def test_worker_that_was_late_for_the_last_trial_gives_it_back(tmp_path):
    import optuna

    storage = f"sqlite:///{tmp_path}/a.db"
    search(storage, trials=3)
    study = optuna.load_study(study_name="study", storage=storage)
    whole, looks = _workers.counted, []

    def counted(study):
        looks.append(1)
        return whole(study)[:2] if len(looks) == 1 else whole(study)  # just before another asked

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_workers, "counted", counted)
        assert tune._ask(study, tune.Effort(3, 60.0, 0, "study", storage)) is None
    assert len(study.trials) == 4
    found, seen = search(storage, trials=3)
    assert seen == []
    assert len(found.trials) == 3


def test_study_whose_maker_died_before_its_first_trial_is_made_again(tmp_path, monkeypatch):
    import optuna

    monkeypatch.setattr(_workers, "GRACE", 1)
    storage = f"sqlite:///{tmp_path}/a.db"
    optuna.create_study(study_name="study", storage=storage, direction="maximize")
    found, _ = search(storage, trials=3)
    assert [trial["number"] for trial in found.trials] == [0, 1, 2]
    assert found.trials[0]["params"] == {"x": 0.0}


def test_trial_killed_at_its_very_end_does_not_count(tmp_path, monkeypatch):
    """It has its seconds and no value: taken as finished it would be lost."""
    import optuna

    class Killed(BaseException):
        pass

    def killed(*args, **options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "tell", killed)
        with pytest.raises(Killed):
            search(tmp_path / "a.journal", trials=3)
    found, _ = search(tmp_path / "a.journal", trials=3)
    assert [trial["state"] for trial in found.trials] == ["complete", "fail", "complete", "complete"]


def test_storage_that_nobody_serves_is_a_fault_of_the_user(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/a\.db cannot be used") as caught:
        tune.reach(f"sqlite:///{tmp_path}/nowhere/a.db")
    assert "\n" not in str(caught.value)
