"""Runs on Dask: each ends once, in an order that suits, and what goes wrong with workers is told."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from record_factory import Spec, make_cell, make_plan

from benchmark import _dask_worker, cluster, host, planner, record, runner
from benchmark._agenda import Agenda, name_of
from benchmark.api import UserError

ROOT = Path(__file__).resolve().parent.parent
# Rows that end their worker, or never end; and a command that runs them on two workers.
FAULTY = """
import os, signal, time
from dataclasses import dataclass
import numpy as np
import psutil
from benchmark.api import Row

@dataclass
class Faulty:
    fault: str = "none"

    def fit(self, train, val, ctx):
        if self.fault == "worker":
            os.kill(psutil.Process().parent().ppid(), signal.SIGKILL)
        time.sleep(600)

    def predict(self, images, ctx):
        return np.zeros((len(images), *images.shape[2:]))

ROWS = tuple(Row(f"faulty-{fault}", "floor", Faulty, {"fault": fault}) for fault in ("worker", "hang"))
"""
COMMAND = """
import json, subprocess, sys, time
from pathlib import Path
import dask, psutil
from distributed import LocalCluster
from benchmark import cluster, planner

def plan(*rows):
    asked = planner.Asked(rows=rows, data=sys.argv[1], profile="smoke", trials=0, out=Path(sys.argv[2]), device="cpu")
    return [planner.make(asked, lambda done, total: None)]

def at_work():
    hosts = [one for one in psutil.Process().children(recursive=True) if "benchmark.host" in one.cmdline()]
    return sum(len(one.children()) for one in hosts)

def wait_for(what):
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline:
        time.sleep(0.1)

if __name__ == "__main__":
    out, told = Path(sys.argv[2]).resolve(), {}
    if len(sys.argv) > 3:
        list(cluster.run(plan("faulty-hang"), out, False, sys.argv[3]))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(2, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=50) as made,
    ):
        steps = cluster.run(plan("majority", "threshold", "faulty-worker"), out, False, made.scheduler_address)
        told["ended"] = [(step.cell.row, step.record.status, step.record.reason) for step in steps if step.record]
        client = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], made.scheduler_address])
        wait_for(lambda: at_work() == 1)
        client.kill()
        client.wait()
        wait_for(lambda: at_work() == 0)
        told["left"] = at_work()
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def workers():
    from distributed import LocalCluster

    before = dict(os.environ)
    with LocalCluster(2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as made:
        yield made
    os.environ.clear()
    os.environ.update(before)


def plan_of(store, out, *rows, **asked):
    asked = {"profile": "smoke", "device": "cpu", "trials": 0, **asked}
    return planner.make(planner.Asked(rows=rows, data=str(store), out=out, **asked), lambda done, total: None)


def test_runs_on_a_cluster_leave_what_runs_in_one_process_leave(workers, store, tmp_path):
    plans = {out: [plan_of(store, tmp_path / out, "majority", "threshold-fitted", trials=2)] for out in ("one", "many")}
    alone = {
        name_of(step.cell): step.record for step in runner.run(plans["one"], tmp_path / "one", False) if step.record
    }
    steps = list(cluster.run(plans["many"], tmp_path / "many", False, workers.scheduler_address))
    ended = [step for step in steps if step.record]
    assert [step.done for step in ended] == list(range(1, len(alone) + 1))
    assert {name_of(step.cell): step.record.counts for step in ended} == {n: one.counts for n, one in alone.items()}
    assert not any(step.reused for step in ended)
    assert {step.record.environment["workers"] for step in ended} == {2}
    assert {one.environment["workers"] for one in alone.values()} == {1}
    tuned = next(step.record for step in ended if step.cell.tuned)
    assert tuned.status == record.OK, "a tuned run comes after the run that it builds on"

    again = list(cluster.run(plans["many"], tmp_path / "many", False, workers.scheduler_address))
    assert [step.reused for step in again] == [True] * len(alone)
    before = {step.record.started for step in ended}
    time.sleep(1.1)
    fresh = [s for s in cluster.run(plans["many"], tmp_path / "many", True, workers.scheduler_address) if s.record]
    assert len(fresh) == len(alone)
    assert not before & {step.record.started for step in fresh}


def test_no_scheduler_at_an_address_is_a_sentence(store, tmp_path, monkeypatch):
    import dask

    plan = plan_of(store, tmp_path, "majority")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 "),
    ):
        list(cluster.run([plan], tmp_path, False, "tcp://127.0.0.1:9"))


def test_a_worker_with_other_code_or_packages_says_so():
    ours = _dask_worker.identity()
    assert _dask_worker.stranger(ours) == ""
    said = _dask_worker.stranger(ours | {"numpy": "1.0"})
    assert (
        said == f"has numpy {ours['numpy']} where this command has 1.0; start it again from the same code and packages"
    )
    assert _dask_worker.stranger(ours | {"code": "x"}).startswith(f"has code {ours['code']} where")
    assert "has rocket not installed where this command has 2" in _dask_worker.stranger(ours | {"rocket": "2"})


def test_one_process_at_a_time_is_at_a_cell_and_the_other_takes_what_it_made(store, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "PAUSE", 0.05)
    plan = plan_of(store, tmp_path, "majority")
    (cell,) = plan.cells
    folder = cell.folder(tmp_path)
    lock = host.hold(folder)
    assert host.hold(folder) is None
    with runner.Hosts() as hosts:
        steps = runner.attempt(plan, tmp_path, False, hosts)
        assert [next(steps) for _ in range(3)] == [runner.OTHERS] * 3
        done = record.Record(cell.key, {}, record.OK, started="2026-01-02T03:04:05+00:00")
        record.write(done, folder)
        os.close(lock)
        assert ended(steps) == (done, False)


def test_nobody_writes_the_end_of_a_cell_that_another_process_is_at(store, tmp_path):
    (cell,) = plan_of(store, tmp_path, "majority").cells
    lock = host.hold(cell.folder(tmp_path))
    assert runner.fault(cell, tmp_path, "workers were lost over it") is None
    os.close(lock)
    assert runner.fault(cell, tmp_path, "workers were lost over it").status == record.FAILED
    assert record.read(cell.folder(tmp_path)).reason == "workers were lost over it"
    record.write(replace(record.read(cell.folder(tmp_path)), status=record.OK), cell.folder(tmp_path))
    assert runner.fault(cell, tmp_path, "too late").status == record.OK


def ended(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_long_runs_come_first_and_tuned_ones_after_what_they_build_on(tmp_path):
    plain = [Spec("majority", "floor"), Spec("unet", "cnn"), Spec("lightgbm", "boosting", seeds=(0, 1))]
    cells = [make_cell(spec, seed) for spec in plain for seed in spec.seeds]
    cells += [make_cell(Spec("lightgbm", "boosting", tuned=True), seed) for seed in (0, 1)]
    made = make_plan(tmp_path / "there", [Spec("majority", "floor", status="missing")])
    todo = {name_of(cell): replace(made, cells=(cell,)) for cell in cells}
    agenda, order = Agenda(todo, tmp_path), []
    while task := agenda.next():
        order.append((task.cells[0].row, task.cells[0].tuned, task.cells[0].seed))
        if task.cells[0].row == "lightgbm":
            agenda.end(task.cells[0])
    assert order == [
        *[("unet", False, 0), ("lightgbm", False, 0), ("lightgbm", True, 0)],
        *[("lightgbm", False, 1), ("lightgbm", True, 1), ("majority", False, 0)],
    ]
    blocked = Agenda(todo, tmp_path)
    assert len(list(iter(blocked.next, None))) == 4, "nothing tuned before its defaults have ended"


def test_recorded_seconds_decide_where_there_are_some(tmp_path):
    plan = make_plan(tmp_path, [Spec("majority", "floor"), Spec("unet", "cnn", status="missing")])
    kept = record.read(plan.cells[0].folder(tmp_path))
    record.write(replace(kept, seconds=1000.0), plan.cells[0].folder(tmp_path))
    again = replace(plan.cells[0], split="another")
    agenda = Agenda({name_of(cell): replace(plan, cells=(cell,)) for cell in (plan.cells[1], again)}, tmp_path)
    assert agenda.next().cells[0].row == "majority"
    assert agenda.remaining[name_of(again)] == 1000.0


def test_a_cell_that_ends_its_workers_is_told_and_a_run_nobody_wants_is_ended(store, tmp_path):
    root = tmp_path / "checkout"
    for folder in ("benchmark", "baselines", "models", "datasets"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "baselines/faulty.py").write_text(FAULTY)
    (root / "command.py").write_text(COMMAND)
    command = [sys.executable, "command.py", str(store), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    found = {row: (status, reason) for row, status, reason in told["ended"]}
    assert found == {
        "majority": ("ok", ""),
        "threshold": ("ok", ""),
        "faulty-worker": ("failed", "1 workers were lost over it, one after the other"),
    }
    assert told["left"] == 0


def test_a_local_cluster_answers_to_this_machine_alone_and_shares_its_cores(monkeypatch):
    import psutil

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, mine = dict(os.environ), psutil.Process()
    with cluster._connected(cluster.LOCAL) as client:
        sockets = [one for process in (mine, *mine.children(recursive=True)) for one in process.net_connections("inet")]
        asked = client.run(os.environ.get, "OMP_NUM_THREADS")
    heard = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}
    assert sum(map(int, asked.values())) <= os.cpu_count()
    assert dict(os.environ) == before
