"""Whatever happens to a cell becomes a record, and nothing finished is lost or run again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).resolve().parent.parent
FAULTY = """
import os, signal, time
from dataclasses import dataclass
import numpy as np
from benchmark.api import NotRun, Row

@dataclass
class Faulty:
    fault: str = "none"

    def fit(self, train, val, ctx):
        print("about to", self.fault)
        if self.fault == "raise":
            raise RuntimeError("no [bold]luck[/] today")
        if self.fault == "refuse":
            raise NotRun("the moon is not full; wait")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "leave":
            os._exit(0)
        if self.fault == "resume" and not (ctx.training / "epoch").exists():
            (ctx.training / "epoch").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.fact("resumed", self.fault == "resume")
        if self.fault == "hang":
            time.sleep(600)

    def predict(self, images, ctx):
        if self.fault == "shape":
            return np.zeros(3)
        return np.full((len(images), *images.shape[2:]), np.nan if self.fault == "nan" else 0.25)

@dataclass
class Shown(Faulty):
    picture: str = ""

    def embed(self, images, ctx):
        if self.picture == "hang":
            time.sleep(600)
        raise RuntimeError("no canvas")

FAULTS = ("none", "raise", "refuse", "kill", "leave", "hang", "shape", "nan", "resume")
ROWS = tuple(Row(f"faulty-{fault}", "floor", Faulty, {"fault": fault}) for fault in FAULTS)
ROWS += tuple(Row(f"shown-{picture}", "floor", Shown, {"picture": picture}) for picture in ("hang", "raise"))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project with one more file in baselines/: adding a method needs no other edit."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("benchmark", "baselines", "models", "datasets"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "baselines/faulty.py").write_text(FAULTY)
    profiles = root / "benchmark/profiles.py"
    profiles.write_text(profiles.read_text().replace("timeout=300.0", "timeout=5.0"))
    return root


@pytest.fixture(scope="module")
def benchmark(checkout):
    return partial(warm.benchmark, cwd=checkout)


def leaderboard(out):
    import pandas as pd

    return pd.read_csv(out / "leaderboard.csv").set_index(["row", "tuned"])


def test_every_end_of_a_cell_becomes_a_line_of_the_table(benchmark, store, out):
    args = ("run", "faulty-*", "majority", "--data", store, "--profile", "smoke", "--out", out)
    done = benchmark(*args)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    table = leaderboard(out).xs(False, level="tuned")
    found = {name.removeprefix("faulty-"): (line.status, line.reason) for name, line in table.iterrows()}
    assert found["none"][0] == "ok"
    assert found["majority"][0] == "ok"
    assert found["raise"] == ("failed", "RuntimeError: no [bold]luck[/] today")
    assert found["refuse"] == ("not run", "the moon is not full; wait")
    assert found["kill"] == ("failed", "its process was ended by SIGKILL: about to kill")
    assert found["leave"] == ("failed", "its process left with exit status 0: about to leave")
    assert found["hang"] == ("timeout", "it took longer than 5 s and was ended")
    assert found["shape"][0] == "failed"
    assert "shape (3,)" in found["shape"][1]
    assert found["nan"] == ("failed", "ValueError: a probability is NaN or outside [0, 1]")


def test_finished_cells_are_kept_and_changed_code_is_run_again(benchmark, checkout, store, out):
    args = ("run", "faulty-none", "majority", "--data", store, "--profile", "smoke", "--out", out)
    assert benchmark(*args).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/**/record.json")}
    assert len(before) == 2
    assert "kept from before" in benchmark(*args).stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before

    method = checkout / "baselines/faulty.py"
    method.write_text("# a comment changes nothing\n" + FAULTY.replace("0.25", "0.75"))
    try:
        assert benchmark(*args).returncode == 0
    finally:
        method.write_text(FAULTY)
    after = set(out.glob("runs/**/record.json"))
    assert len(after) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert leaderboard(out).loc[("faulty-none", False), "recall"] == 1.0


def test_a_killed_fit_finds_its_checkpoints_again_and_leaves_none_when_it_ends_well(benchmark, store, out):
    args = ("run", "faulty-resume", "--data", store, "--profile", "smoke", "--out", out)
    assert benchmark(*args).returncode == 1
    assert list(out.glob("training/*/*/epoch"))
    assert benchmark(*args).returncode == 0
    assert not list(out.glob("training/*"))
    (done,) = out.glob("runs/**/record.json")
    assert json.loads(done.read_text())["facts"] == {"resumed": True}
    again = benchmark(*args, "--fresh")
    assert again.returncode == 1, "a fit that is run afresh takes nothing up"


def test_scores_stand_where_the_picture_of_features_takes_too_long_or_fails(benchmark, store, out):
    args = ("run", "shown-*", "--data", store, "--profile", "smoke", "--out", out)
    done = benchmark(*args)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {path.parent.parent.name: json.loads(path.read_text()) for path in out.glob("runs/**/record.json")}
    assert [kept[f"shown-{name}"]["status"] for name in ("hang", "raise")] == ["ok", "ok"]
    assert kept["shown-raise"]["facts"]["embedding"] == "failed: RuntimeError: no canvas"
    assert kept["shown-raise"]["environment"]["packages"]
    assert kept["shown-raise"]["counts"] == kept["shown-hang"]["counts"]
    assert not list(out.glob("training/*"))
    again = benchmark(*args).stdout
    assert again.count("kept from before") == 2


def test_views_of_each_plan_are_kept_apart_and_those_of_the_last_lie_above(benchmark, store, out):
    args = ("run", "threshold", "--data", store, "--profile", "smoke", "--out", out)
    for more in ((), ("--bands", "shuffled", "--epochs", "2")):
        done = benchmark(*args, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    names = ("plain-smoke", "plain-smoke-shuffled-e2")
    assert {path.stem for path in (out / "plans").iterdir()} == set(names)
    tables = [(out / "reports" / name / "leaderboard.csv").read_text() for name in names]
    assert tables[0] != tables[1] == (out / "leaderboard.csv").read_text()
    assert (out / "reports/plain-smoke/report.html").stat().st_size > 1000
    pictures = {path.name for path in (out / "plots").iterdir()}
    assert {path.name for path in (out / "reports" / names[1] / "plots").iterdir()} == pictures != set()


def test_a_record_holds_bands_with_their_roles_and_boundaries(benchmark, store, out):
    args = ("run", "threshold", "--data", store, "--profile", "smoke", "--bands", "study", "--out", out)
    done = benchmark(*args)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "red=BLUE, red=GREEN, nir_narrow=RED" in done.stdout
    kept = json.loads(next(out.glob("runs/**/record.json")).read_text())
    assert kept["bands"][0] == {"name": "red", "role": "RED", "plays": "BLUE"}
    assert [band["plays"] for band in kept["bands"]] == ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
    assert {distance: len(each) for distance, each in kept["boundary"].items()} == dict.fromkeys("124", 4)
    assert "red=BLUE" in (out / "report.html").read_text()


def test_broken_module_is_left_out_and_asking_for_it_is_an_error(benchmark, checkout, store, out):
    broken = checkout / "baselines/broken.py"
    broken.write_text("import a_package_nobody_has\n")
    try:
        listed = benchmark("list")
        assert listed.returncode == 0
        assert "broken.py is left out" in listed.stderr
        asked = benchmark("run", "broken", "--data", store, "--out", out)
    finally:
        broken.unlink()
    assert asked.returncode == 2
    assert "no row is called 'broken'" in asked.stderr


def test_killing_the_command_leaves_no_child_and_no_half_record(checkout, store, out):
    args = ("run", "faulty-hang", "--data", store, "--profile", "smoke", "--out", out)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *map(str, args)], cwd=checkout, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("runs/**/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)
    assert not list(out.glob("runs/**/record.json"))
    alive = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(checkout) in _cwd(p) and "benchmark" in _read(p)]
    assert not alive


def _read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def _cwd(path):
    try:
        return os.readlink(path.parent / "cwd")
    except OSError:
        return ""


def test_tuned_row_says_so_when_its_default_run_failed(benchmark, checkout, store, out):
    method = checkout / "baselines/faulty.py"
    text = FAULTY.replace(
        '{"fault": fault})', '{"fault": fault}, lambda t: {"fault": t.suggest_categorical("fault", FAULTS)})'
    )
    method.write_text(text)
    try:
        benchmark("run", "faulty-raise", "--data", store, "--profile", "smoke", "--out", out)
    finally:
        method.write_text(FAULTY)
    line = leaderboard(out).loc[("faulty-raise", True)]
    assert line.status == "not run"
    assert "default values has not finished" in line.reason


def test_plan_on_disk_is_the_plan_that_was_run(benchmark, store, out):
    benchmark("run", "majority", "--data", store, "--profile", "smoke", "--out", out)
    (file,) = (out / "plans").glob("*.json")
    plan = json.loads(file.read_text())
    assert [cell["row"] for cell in plan["cells"]] == ["majority"]
    assert plan["command"].startswith("python -m benchmark run majority")


def test_second_run_into_the_same_folder_is_refused(benchmark, store, out):
    from filelock import FileLock

    with FileLock(out / "run.lock"):
        done = benchmark("run", "majority", "--data", store, "--profile", "smoke", "--out", out)
    assert done.returncode == 2
    assert "another run is at work" in done.stderr
    assert not list(out.glob("runs/**/record.json"))


def test_fresh_starts_the_search_anew_and_no_password_is_kept(benchmark, store, out):
    uri = "postgresql://user:hunter2@127.0.0.1:1/x"
    args = ("run", "threshold-fitted", "--data", store, "--profile", "smoke", "--out", out, "--tracking-uri", uri)
    done = benchmark(*args)
    assert done.returncode == 0, done.stderr
    assert "MLflow was not updated" in done.stdout
    (first,) = (out / "tuning").glob("*.journal")
    time.sleep(1.1)  # a record's time of start has whole seconds
    assert benchmark(*args, "--fresh").returncode == 0
    journals = set((out / "tuning").glob("*.journal"))
    assert len(journals) == 2
    assert first in journals
    for file in out.rglob("*"):
        if file.is_file():
            assert b"hunter2" not in file.read_bytes(), file


def test_host_that_cannot_import_says_why(benchmark, checkout, store, out):
    method = checkout / "baselines/faulty.py"
    package = checkout / "fragile_package.py"
    package.write_text("raise OSError('a library is missing')")
    method.write_text(FAULTY.replace('{"fault": fault})', '{"fault": fault}, needs=("fragile_package",))'))
    try:
        benchmark("run", "faulty-none", "--data", store, "--profile", "smoke", "--out", out)
    finally:
        method.write_text(FAULTY)
        package.unlink()
    line = leaderboard(out).loc[("faulty-none", False)]
    assert line.status == "failed"
    assert line.reason == "import of fragile_package failed with OSError: a library is missing"


def test_code_that_changed_after_the_plan_is_not_run_under_its_key(store, tmp_path):
    from dataclasses import replace

    from benchmark import planner, runner

    asked = planner.Asked(("majority",), str(store), "smoke", out=tmp_path)
    plan = planner.make(asked, lambda done, total: None)
    stale = replace(plan, cells=tuple(replace(cell, code="of yesterday") for cell in plan.cells))
    (ended,) = [step.record for step in runner.run([stale], tmp_path, fresh=False) if step.record is not None]
    assert ended.status == "failed"
    assert "code changed after the plan was made" in ended.reason
