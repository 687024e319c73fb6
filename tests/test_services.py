"""Several workers on one study in PostgreSQL, and a real MLflow server: what they share, and what a restart does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import _workers, sync, track, tune
from benchmark.api import UserError
from tests import service_factory, test_tune
from tests.record_factory import Spec, make_plan
from tests.service_factory import PASSWORD, Postgres, Tracking

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(bool(service_factory.missing()), reason=service_factory.missing()),
]


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def optuna_url(postgres):
    return postgres.database("optuna")


@pytest.fixture(scope="module")
def tracking(postgres, tmp_path_factory):
    server = Tracking(postgres.database("mlflow"), tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def search(url, name, trials=8, fit=None):
    seen = []

    def plain(changes, report, left):
        seen.append(changes["x"])
        return None, -((changes["x"] - 3) ** 2)

    effort = tune.Effort(trials, 60.0, 0, name, str(url))
    return tune.search(test_tune.ROW, test_tune.FIRST, fit or plain, effort), seen


def values(found):
    return [(trial["params"], trial["value"], trial["state"]) for trial in found.trials]


def test_one_worker_on_postgresql_asks_for_what_one_with_a_journal_does(optuna_url, tmp_path):
    assert values(search(optuna_url, "alone")[0]) == values(search(tmp_path / "a.journal", "alone")[0])


def test_two_workers_share_the_trials_and_the_first_is_there_once(postgres):
    url = postgres.database("empty")  # both make the tables, too
    workers = [service_factory.study_worker(url, "both", 12, 0.3) for _ in range(2)]
    said = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    lines = [out.splitlines() for out, _ in said]
    trials, same = (json.loads(told[-1]) for told in lines)
    assert trials == same, "who is ready first waits for the other's last trial"
    assert len(trials) == 12
    assert {trial["state"] for trial in trials} == {"complete"}
    assert [trial["number"] for trial in trials if trial["params"] == {"x": 0.0}] == [0]
    assert len({trial["params"]["x"] for trial in trials}) == 12
    own = [len(told) - 1 for told in lines]
    assert sum(own) == 11
    assert min(own) >= 2, "both have worked"


def test_trial_of_a_killed_worker_is_taken_over_and_not_before_it_is_dead(optuna_url, monkeypatch):
    import optuna

    worker = service_factory.study_worker(optuna_url, "killed", 6, 60.0)
    try:
        asked = float(worker.stdout.readline().split()[1])
        study = optuna.load_study(study_name="killed", storage=tune._server(optuna_url, 5.0))
        tune._end_abandoned(study, {})
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"], "it is being worked on"
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    monkeypatch.setattr(_workers, "GRACE", 1)
    time.sleep(1.5)
    found, seen = search(optuna_url, "killed", trials=6)
    states = [trial["state"] for trial in found.trials]
    assert (states.count("complete"), states.count("fail")) == (6, 1)
    assert found.trials[1]["state"] == "fail"
    assert asked in seen, "its values are tried again"
    assert len(set(seen)) == 5


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_in_the_middle_of_a_study_changes_nothing(postgres, optuna_url, tmp_path, mode):
    restarts = []

    def fit(changes, report, left):
        if len(restarts) < 2:
            postgres.stop(mode)
            restarts.append(threading.Timer(1.0, postgres.start))
            restarts[-1].start()
        report(0, score=-((changes["x"] - 3) ** 2))
        return None, -((changes["x"] - 3) ** 2)

    def undisturbed(changes, report, left):
        report(0, score=-((changes["x"] - 3) ** 2))
        return None, -((changes["x"] - 3) ** 2)

    found, _ = search(optuna_url, f"restarted-{mode}", fit=fit)
    for restart in restarts:
        restart.join()
    assert len(restarts) == 2
    assert values(found) == values(search(tmp_path / "a.journal", "x", fit=undisturbed)[0])


def test_storage_that_stays_away_ends_in_a_sentence_and_the_study_goes_on_later(postgres, optuna_url, monkeypatch):
    monkeypatch.setattr(_workers, "PATIENCE", 1)
    monkeypatch.setattr(_workers, "GRACE", 1)
    tried = []

    def fit(changes, report, left):
        tried.append(changes["x"])
        if len(tried) == 3:
            postgres.stop()
        return None, -((changes["x"] - 3) ** 2)

    with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+/optuna was away for 1 s") as caught:
        search(optuna_url, "away", fit=fit)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__
    postgres.start()
    time.sleep(1.5)
    found, seen = search(optuna_url, "away")
    kept = [trial["params"]["x"] for trial in found.trials[:3]]
    assert kept == [0.0, *tried[:2]], "what was finished is there"
    assert tried[2] in seen
    states = [trial["state"] for trial in found.trials]
    assert (states.count("complete"), states.count("fail")) == (8, 1)


def test_storage_that_cannot_be_used_is_told_without_the_password(postgres, optuna_url):
    with pytest.raises(UserError, match="cannot be used: OperationalError") as caught:
        tune.reach(optuna_url.replace("hunter2", "wrong2"))
    assert "Zq8" not in str(caught.value)
    with pytest.raises(UserError, match="%40") as caught:
        tune.reach(optuna_url.replace(PASSWORD, "half@Zq8"))
    assert "Zq8" not in str(caught.value)
    tune.reach(optuna_url)


def runs_of(server, name):
    from mlflow import MlflowClient

    client = MlflowClient(server.url)
    experiment = client.get_experiment_by_name(name)
    return client, [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def test_server_gone_in_the_middle_of_a_push_is_caught_up_without_doubles(tracking, tmp_path, monkeypatch):
    specs = [Spec("lightgbm", "boosting", 0.3, seeds=(0, 1)), Spec("unet", "cnn", 0.2, epochs=3)]
    plan = make_plan(tmp_path, specs, size=16)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    log_data = track._log_data

    def dies(client, run_id, plan, cell):
        if cell.seed == 1:
            tracking.stop()
        log_data(client, run_id, plan, cell)

    with monkeypatch.context() as patched:
        patched.setattr(track, "_log_data", dies)
        begin = time.monotonic()
        with pytest.raises(track.TrackingError, match="0 of 2 plans are there") as caught:
            sync.push_all([plan, replace(plan, name="other")], tmp_path, tracking.url, print)
        assert time.monotonic() - begin < 60
    assert "\n" not in str(caught.value)
    with pytest.raises(track.TrackingError):
        track.push(plan, tmp_path, tracking.url)  # as `run` does while the server is away
    tracking.start()
    client, cut = runs_of(tracking, plan.name)
    assert len(cut) == 3, "leaderboard, one whole and one cut short"
    whole = {run.info.run_id for run in cut if track.VERSION in run.data.tags}
    client.create_run(cut[0].info.experiment_id, tags=dict(cut[0].data.tags))  # a request that was sent twice
    said = []
    sync.push_all([plan, replace(plan, name="other")], tmp_path, tracking.url, said.append)
    assert said == ["synthetic-quick: 2 new runs", "other: 3 new runs"]
    _, runs = runs_of(tracking, plan.name)
    names = sorted(run.info.run_name for run in runs)
    assert names == ["leaderboard", "lightgbm default seed0", "lightgbm default seed1", "unet default seed0"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    ids = {run.info.run_id for run in runs}
    assert len(whole - ids) <= 1, "what was whole stays, except where the double of it stays instead"
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs if run.info.run_name != "leaderboard"}
    assert parents == {run.info.run_id for run in runs if run.info.run_name == "leaderboard"}
    files = {path.name for path in (tracking.folder / "artifacts").rglob("*") if path.is_file()}
    assert {"record.json", "leaderboard.csv", "log_tail.txt", "method.json"} <= files
    said.clear()
    sync.push_all([plan], tmp_path, tracking.url, said.append)
    assert said == ["synthetic-quick: no new runs"]
    assert {run.info.run_id for run in runs_of(tracking, plan.name)[1]} == ids


def test_password_is_nowhere(postgres, optuna_url, tracking, store, tmp_path):
    address = tracking.url.replace("//", f"//neph:{PASSWORD}@")
    args = ("run", "threshold-fitted", "--data", str(store), "--profile", "smoke", "--out", str(tmp_path))
    command = [sys.executable, "-m", "benchmark", *args, "--storage", optuna_url, "--tracking-uri", address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "MLflow was not updated" not in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    tuned = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/threshold-fitted/tuned-*/record.json")]
    assert len(tuned[0]["trials"]) > 1
    assert not (tmp_path / "tuning").exists(), "the study is in PostgreSQL"
    (plan,) = (tmp_path / "plans").glob("*.json")
    assert "***@127.0.0.1" in plan.read_text()
    files = [path for folder in (tmp_path, tracking.folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert len(runs_of(tracking, plan.stem)[1]) >= 3
    programs = service_factory.postgres_programs()
    for name in ("mlflow", "optuna"):
        dump = subprocess.run([programs / "pg_dump", postgres.url(name)], capture_output=True, text=True, check=True)
        assert "threshold-fitted" in dump.stdout or name == "optuna"
        assert PASSWORD not in dump.stdout
