"""Tests of benchmark/track.py, on a real SQLite store."""

from __future__ import annotations

import json
import logging
import os
import socket
from dataclasses import replace

import pytest

from benchmark import _urls, record, sync, track
from benchmark.api import UserError
from benchmark.views.report import write_report
from benchmark.views.tables import leaderboard, write_leaderboard
from tests.record_factory import Spec, make_plan

SPECS = [
    Spec("lightgbm", "boosting", 0.3, seeds=(0, 1), parameters=24_000),
    Spec("lightgbm", "boosting", 0.25, tuned=True),
    Spec("unet", "cnn", 0.2, epochs=3),
    Spec("broken", "cnn", status="failed", reason="RuntimeError: boom"),
    Spec("slow", "foundation", status="timeout", reason="ended after 3600 s"),
    Spec("absent", "foundation", status="not run", reason="no weights here"),
    Spec("later", "forest", status="missing"),
]
COPIED = 4 + 2  # cells with a score, and those that failed or ran out of time


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    out = tmp_path_factory.mktemp("track")
    plan = make_plan(out, SPECS)
    write_report(plan, out)
    track.push(plan, out)
    return plan, out


def runs_of(plan, out):
    from mlflow import MlflowClient

    client = MlflowClient(track.default_uri(out))
    experiment = client.get_experiment_by_name(plan.name)
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_one_child_per_cell_that_ended_and_one_parent(pushed):
    _, runs = runs_of(*pushed)
    assert len(runs) == COPIED + 1
    assert {name for name in runs if name.startswith("lightgbm")} == {
        *("lightgbm default seed0", "lightgbm default seed1", "lightgbm tuned seed0")
    }
    parent = runs["leaderboard"].info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for name, run in runs.items() if name != "leaderboard"} == {parent}


def test_status_follows_the_record(pushed):
    _, runs = runs_of(*pushed)
    assert {name: run.info.status for name, run in runs.items() if run.info.status == "FAILED"} == {
        "broken default seed0": "FAILED",
        "slow default seed0": "FAILED",
    }
    assert runs["broken default seed0"].data.tags["reason"] == "RuntimeError: boom"
    assert {run.info.status for run in runs.values()} == {"FAILED", "FINISHED"}


def test_metrics_are_those_of_the_table_and_nothing_is_zero_for_unknown(pushed):
    plan, out = pushed
    _, runs = runs_of(plan, out)
    frame = leaderboard(plan, out)
    line = frame[(frame["row"] == "unet")].iloc[0]
    metrics = runs["unet default seed0"].data.metrics
    for name in ("jaccard", "jaccard_low", "auc", "ece", "fit_s", "mpixel_per_s", "rss_mb"):
        assert metrics[name] == pytest.approx(line[name]), name
    assert not {"vram_reserved_mb", "energy_j", "encode_s", "tune_s"} & set(metrics)
    assert runs["leaderboard"].data.metrics["best/jaccard"] == pytest.approx(frame["jaccard"].iloc[0])


def test_best_is_of_the_row_that_the_table_ranks_first_and_facts_are_kept(out):
    levels = {"start": "random", "input scale": "own"}
    specs = [
        Spec("a", skill=0.1, factors=levels, device="cuda"),
        Spec("a", skill=0.9, tuned=True),
        Spec("b", skill=0.5),
    ]
    plan = make_plan(out, specs)
    frame = leaderboard(plan, out)
    write_leaderboard(frame, out)
    track.push(plan, out, frame=frame)
    _, runs = runs_of(plan, out)
    assert frame["jaccard"].idxmax() == frame[frame["row"] == "a"].index[0], "defaults that the tuned line stands for"
    b = frame[frame["row"] == "b"]["jaccard"].item()
    assert runs["leaderboard"].data.metrics["best/jaccard"] == pytest.approx(b)
    run = runs["a default seed0"]
    kept = {name: run.data.metrics[name] for name in ("fact/step_s", "fact/vram_step", "vram_step_mb", "mfu")}
    assert kept == pytest.approx({"fact/step_s": 0.001, "fact/vram_step": 4e9, "vram_step_mb": 4000, "mfu": 0.31})
    told = {name: run.data.params[name] for name in ("fact.input scale", "fact.input mean", "factor.start")}
    assert told == {"fact.input scale": "own", "fact.input mean": "[0.1, 0.2]", "factor.start": "random"}
    assert run.data.metrics["boundary_jaccard_2"] == pytest.approx(
        frame["boundary_jaccard_2"][frame["jaccard"].idxmax()]
    )


def test_curves_and_trials_have_steps(pushed):
    client, runs = runs_of(*pushed)
    history = client.get_metric_history(runs["unet default seed0"].info.run_id, "epoch/train_loss")
    assert [(m.step, round(m.value, 4)) for m in history] == [(0, 0.7), (1, 0.61), (2, 0.5335)]
    trials = client.get_metric_history(runs["lightgbm tuned seed0"].info.run_id, "trial/value")
    assert [(m.step, m.value) for m in trials] == [(0, 0.7), (1, 0.72), (2, 0.74)]


def test_params_tags_data_and_files(pushed):
    plan, out = pushed
    client, runs = runs_of(plan, out)
    run = runs["lightgbm default seed1"]
    assert run.data.params["inner.rate"] == "0.1"
    assert run.data.params["cell.budget.epochs"] == "20"
    cell = next(c for c in plan.cells if (c.row, c.seed) == ("lightgbm", 1))
    expected = {"key": cell.key, "status": "ok", "family": "boosting", "study_id": "exp_lightgbm", "device": "cpu"}
    expected |= {"data": cell.fingerprint, "split": cell.split, "dirty": "False"}
    assert {name: run.data.tags[name] for name in expected} == expected
    assert json.loads(run.data.tags["hardware"])["cpu"].startswith("Example CPU")
    data = run.inputs.dataset_inputs[0].dataset
    assert (data.name, data.digest) == ("synthetic", cell.fingerprint[:36])
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"record.json", "model", "log_tail.txt"}


def test_the_parent_carries_the_views(pushed):
    client, runs = runs_of(*pushed)
    parent = runs["leaderboard"]
    files = {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert files == {"leaderboard.csv", "leaderboard.md", "report.html", "plots"}
    assert "no weights here" in parent.data.tags["mlflow.note.content"], "what was not run is told there"


def test_pushing_again_adds_nothing(pushed):
    plan, out = pushed
    _, before = runs_of(plan, out)
    files = sorted((out / "mlartifacts").rglob("*"))
    track.push(plan, out)
    _, after = runs_of(plan, out)
    assert {run.info.run_id for run in after.values()} == {run.info.run_id for run in before.values()}
    assert sorted((out / "mlartifacts").rglob("*")) == files


def test_a_changed_record_replaces_its_run_and_updates_the_parent(pushed):
    plan, out = pushed
    _, before = runs_of(plan, out)
    cell = next(c for c in plan.cells if c.row == "broken")
    kept = record.read(cell.folder(out))
    record.write(replace(kept, reason="RuntimeError: again"), cell.folder(out))
    track.push(plan, out)
    _, after = runs_of(plan, out)
    assert len(after) == len(before)
    changed = {name for name in after if after[name].info.run_id != before[name].info.run_id}
    assert changed == {"broken default seed0"}
    version = [runs["leaderboard"].data.tags[track.VERSION] for runs in (before, after)]
    assert version[0] != version[1]
    assert "again" in after["leaderboard"].data.tags["mlflow.note.content"]


def test_a_copy_that_was_cut_short_is_made_again(pushed):
    plan, out = pushed
    client, before = runs_of(plan, out)
    client.delete_tag(before["unet default seed0"].info.run_id, track.VERSION)
    track.push(plan, out)
    _, after = runs_of(plan, out)
    assert len(after) == len(before)
    assert after["unet default seed0"].info.run_id != before["unet default seed0"].info.run_id
    assert after["unet default seed0"].data.tags[track.VERSION]


def test_a_large_model_leaves_a_pointer(pushed, monkeypatch):
    plan, out = pushed
    monkeypatch.setattr(track, "LARGEST_MODEL", 1)
    client, runs = runs_of(plan, out)
    run_id = runs["unet default seed0"].info.run_id
    folder = next(c for c in plan.cells if c.row == "unet").folder(out)
    track._log_files(client, run_id, folder, out)
    assert {f.path for f in client.list_artifacts(run_id)} >= {"model.txt"}


def test_a_long_parameter_and_an_odd_name_are_taken(pushed):
    plan, out = pushed
    client, runs = runs_of(plan, out)
    run_id = runs["unet default seed0"].info.run_id
    track._log(client, run_id, [], {f"p{i}": "x" * 7000 for i in range(150)} | {"a(b)=c": 1})
    params = client.get_run(run_id).data.params
    assert len(params["p149"]) == track.LONGEST
    assert params["a_b__c"] == "1"


def test_an_unreachable_store_is_told_at_once_and_without_credentials(pushed):
    plan, out = pushed
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: nobody else takes the port, and nobody answers
        port = closed.getsockname()[1]
        for uri in (
            f"http://user:s3cr%40t@127.0.0.1:{port}/x?token=t0ken",
            f"postgresql://user:s3cr%40t@127.0.0.1:{port}/db",
        ):
            with pytest.raises(track.TrackingError, match=r"127\.0\.0\.1") as caught:
                track.push(plan, out, uri)
            told = str(caught.value)
            assert not [secret for secret in ("s3cr", "user", "t0ken") if secret in told]
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__
    with pytest.raises(track.TrackingError, match="unable to open"):
        track.push(plan, out, f"sqlite:///{out}/nowhere/mlflow.db")


def test_log_levels_are_given_back(pushed):
    logging.getLogger("alembic").setLevel(logging.INFO)
    track.push(*pushed)
    assert logging.getLogger("alembic").level == logging.INFO


def test_pages_need_a_store(tmp_path):
    with pytest.raises(UserError, match="no MLflow store"):
        track.ui(tmp_path, 5000)


def test_every_plan_is_copied_with_its_own_pages_and_again_nothing(out):
    first = make_plan(out, SPECS, size=16)
    second = replace(first, name="synthetic-few", cells=first.cells[:2])
    said = []
    sync.push_all([first, second], out, None, said.append)
    assert said == [f"synthetic-quick: {COPIED} new runs", "synthetic-few: 2 new runs"]
    assert not (out / "leaderboard.csv").exists(), "the views of the last run stay as they are"
    _, runs = runs_of(second, out)
    assert set(runs) == {"leaderboard", "lightgbm default seed0", "lightgbm default seed1"}
    assert {name for name in runs["leaderboard"].data.metrics if name.startswith("jaccard/")} == {"jaccard/lightgbm"}
    said.clear()
    sync.push_all([first, second], out, None, said.append)
    assert said == ["synthetic-quick: no new runs", "synthetic-few: no new runs"]


def test_a_table_older_than_a_record_is_made_again_before_it_is_copied(out):
    plan = make_plan(out, [Spec("a"), Spec("b", status="missing")], size=16)
    sync.push_all([plan], out, None, print)
    table = out / "reports" / plan.name / "leaderboard.csv"
    os.utime(table, (1, 1))
    table.with_suffix(".md").write_text("old")
    sync.push_all([plan], out, None, print)
    assert table.stat().st_mtime > 1
    assert table.with_suffix(".md").read_text() != "old"


def test_of_doubled_runs_the_whole_one_stays(out):
    plan = make_plan(out, [Spec("a"), Spec("b")], size=16)
    sync.push_all([plan], out, None, print)
    client, runs = runs_of(plan, out)
    for run in runs.values():
        tags = {name: value for name, value in run.data.tags.items() if name != track.VERSION}
        client.create_run(run.info.experiment_id, tags=tags)
    sync.push_all([plan], out, None, print)
    _, after = runs_of(plan, out)
    assert {run.info.run_id for run in after.values()} == {run.info.run_id for run in runs.values()}


def test_a_run_finds_its_parent_again(out):
    plan = make_plan(out, [Spec("a")], size=16)
    sync.push_all([plan], out, None, print)
    client, runs = runs_of(plan, out)
    client.delete_run(runs["leaderboard"].info.run_id)
    sync.push_all([plan], out, None, print)
    _, after = runs_of(plan, out)
    assert after["a default seed0"].info.run_id == runs["a default seed0"].info.run_id
    assert after["a default seed0"].data.tags["mlflow.parentRunId"] == after["leaderboard"].info.run_id


def test_a_server_that_hangs_ends_the_push_in_one_line(pushed):
    plan, out = pushed
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patched:
        patched.setattr(_urls, "PATIENCE", 0.2)
        with pytest.raises(track.TrackingError, match="timed out") as caught:
            track.push(plan, out, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "\n" not in str(caught.value)
