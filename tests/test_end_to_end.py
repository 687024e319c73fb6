"""The main command at smoke size, on simulated scenes: undisturbed, and killed three times."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import warm

from benchmark import catalog
from benchmark.profiles import CLASSICAL

ROOT = Path(__file__).resolve().parent.parent
COSTS = {
    "fit_s", "encode_s", "tune_s", "mpixel_per_s", "latency_ms", "step_s", "rss_mb", "rss_over_start_mb",
}  # fmt: skip


ROWS = '"prithvi-tiny-pretrained-frozen", '  # its control comes along


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project whose smoke profile has one foundation row: the others differ in numbers only."""
    root = tmp_path_factory.mktemp("end-to-end")
    for folder in ("benchmark", "baselines", "models", "datasets"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    profiles = root / "benchmark/profiles.py"
    text = profiles.read_text()
    begin, end = (text.index(word) for word in ('"prithvi-tiny-random-frozen"', '"prithvi-tiny-tl-random-frozen"'))
    profiles.write_text(text[:begin] + ROWS + text[end:].replace('"prithvi-tiny-tl-random-frozen",', "", 1))
    return root


def arguments(out):
    return ["run", "all", "--profile", "smoke", "--device", "cpu", "--out", str(out)]


@pytest.fixture(scope="module")
def undisturbed(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "-m", "benchmark", *arguments(out)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def scores_of(out):
    table = pd.read_csv(out / "leaderboard.csv")
    return table.drop(columns=sorted(COSTS)).sort_values(["row", "tuned"], ignore_index=True)


def test_all_families_are_in_the_table(undisturbed):
    table = pd.read_csv(undisturbed / "leaderboard.csv")
    wanted = {row.name for row in catalog.choose(["all"], CLASSICAL)}
    wanted |= {"prithvi-tiny-pretrained-frozen", "prithvi-tiny-random-frozen"}
    assert set(table["row"]) == {name for name in wanted if not name.startswith("slstr-")}  # no such masks here
    assert set(table["family"]) == set(catalog.FAMILIES)
    pretrained = table["row"].str.contains("pretrained")
    assert (table[pretrained]["status"] == "not run").all()
    assert table[pretrained]["reason"].str.contains("--weights-dir").all()
    ran = table[~pretrained]
    assert (ran["status"] == "ok").all()
    assert ran["jaccard"].between(0, 1).all()
    assert (ran["jaccard_low"] <= ran["jaccard"]).all()


def test_costs_are_measured_and_a_cpu_has_no_vram(undisturbed):
    table = pd.read_csv(undisturbed / "leaderboard.csv")
    ran = table[table["status"] == "ok"]
    assert (ran[["fit_s", "mpixel_per_s", "latency_ms", "rss_mb"]] > 0).all().all()
    assert (ran[ran["tuned"]]["tune_s"] > 0).all()
    assert table[["vram_allocated_mb", "vram_reserved_mb", "vram_process_mb", "energy_j"]].isna().all().all()
    frozen = ran[ran["row"] == "prithvi-tiny-random-frozen"]
    assert (frozen["encode_s"] > 0).all()
    assert (frozen["trainable"] < frozen["parameters"]).all()


def test_learners_beat_the_floor(undisturbed):
    table = pd.read_csv(undisturbed / "leaderboard.csv").set_index(["row", "tuned"])
    floor = table.loc[("majority", False), "jaccard"]
    assert table.loc[("lightgbm", True), "jaccard"] > floor
    assert table.loc[("random-forest", True), "jaccard"] > floor


def test_views_and_mlflow_are_there(undisturbed):
    import mlflow

    for name in ("leaderboard.md", "report.html", "plots/leaderboard.png", "plots/cost.png", "plots/gallery.png"):
        assert (undisturbed / name).stat().st_size > 1000, name
    client = mlflow.MlflowClient(f"sqlite:///{undisturbed / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "simulated-smoke"]
    runs = client.search_runs([experiment.experiment_id])
    done = len(list(undisturbed.glob("runs/**/probabilities.npy")))
    assert len(runs) == done + 1  # and the parent with the leaderboard


def test_report_is_rebuilt_from_records_alone(checkout, undisturbed, tmp_path):
    before = (undisturbed / "leaderboard.csv").read_text()
    moved = tmp_path / "moved"
    shutil.copytree(undisturbed, moved, ignore=shutil.ignore_patterns("data", "features", "model", "mlflow*", "mlart*"))
    (moved / "leaderboard.csv").unlink()
    report = [sys.executable, "-m", "benchmark", "report", "--out", str(moved)]
    subprocess.run(report, cwd=checkout, check=True, capture_output=True)
    assert (moved / "leaderboard.csv").read_text() == before


def test_three_kills_leave_the_same_leaderboard(checkout, undisturbed, out):
    shutil.copytree(undisturbed / "data", out / "data")  # the scenes are the same bytes; their test is elsewhere
    for records in (1, 6, 12):
        process = warm.start(*arguments(out), cwd=checkout)
        deadline = time.monotonic() + 240
        while len(list(out.glob("runs/**/record.json"))) < records and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.2)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    done = warm.benchmark(*arguments(out), cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept from before" in done.stdout
    pd.testing.assert_frame_equal(scores_of(out), scores_of(undisturbed))
