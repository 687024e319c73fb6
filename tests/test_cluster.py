"""Runs on Dask: each ends once, in an order that suits, and what goes wrong with workers is told."""

import json
import os
import queue
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from record_factory import Spec, make_cell, make_plan

from benchmark import _dask_worker, cluster, host, planner, record, runner, tables, verify
from benchmark._agenda import Agenda
from benchmark.api import Budget, UserError

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

def is_host(process):
    try:
        return "benchmark.host" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended meanwhile
        return False

def at_work():
    hosts = [one for one in psutil.Process().children(recursive=True) if is_host(one)]
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
        LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50) as made,
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


@pytest.fixture(scope="module", autouse=True)
def patience():
    """On a busy machine a process may be silent for longer than Dask waits for it."""
    import dask

    limits = {f"distributed.comm.timeouts.{name}": "100s" for name in ("connect", "tcp")}
    names = {limit: "DASK_" + limit.replace(".", "__").upper() for limit in limits}  # for processes of their own
    os.environ.update({names[limit]: value for limit, value in limits.items()})
    with dask.config.set(limits):
        yield
    for name in names.values():
        del os.environ[name]


@pytest.fixture(scope="module")
def workers(patience):
    from distributed import LocalCluster

    before = dict(os.environ)
    with LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as made:
        yield made
    os.environ.clear()
    os.environ.update(before)


def plan_of(store, out, *rows, **asked):
    asked = {"profile": "smoke", "device": "cpu", "trials": 0, **asked}
    return planner.make(planner.Asked(rows=rows, data=str(store), out=out, **asked), lambda done, total: None)


def test_runs_on_a_cluster_leave_what_runs_in_one_process_leave(workers, store, tmp_path):
    plans = {out: [plan_of(store, tmp_path / out, "majority", "threshold-fitted", trials=2)] for out in ("one", "many")}
    alone = {step.cell.name: step.record for step in runner.run(plans["one"], tmp_path / "one", False) if step.record}
    steps = list(cluster.run(plans["many"], tmp_path / "many", False, workers.scheduler_address))
    ended = [step for step in steps if step.record]
    assert [step.done for step in ended] == list(range(1, len(alone) + 1))
    assert {step.cell.name: step.record.counts for step in ended} == {n: one.counts for n, one in alone.items()}
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


def test_a_worker_that_is_lost_while_it_is_asked_does_not_end_the_command():
    def asked(answer):
        return SimpleNamespace(run=lambda *args, on_error="raise": {"tcp://a": answer})

    cluster._check(asked(OSError("stream is closed")))
    cluster._check(asked(""))
    for answer, told in (("has code", "worker tcp://a has code"), (ModuleNotFoundError("no benchmark"), "import Neph")):
        with pytest.raises(UserError, match=told):
            cluster._check(asked(answer))
    with pytest.raises(RuntimeError):
        cluster._check(asked(RuntimeError()))


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


def test_the_record_that_was_to_be_replaced_is_not_told_as_new(store, tmp_path):
    (cell,) = plan_of(store, tmp_path, "majority").cells
    old = record.Record(cell.key, {}, record.OK, started="2026-01-02T03:04:05+00:00")
    record.write(old, cell.folder(tmp_path))
    assert runner.fault(cell, tmp_path, "lost", "2026-01-01T00:00:00+00:00") == old
    assert runner.fault(cell, tmp_path, "lost", old.started).reason == "lost"
    assert record.read(cell.folder(tmp_path)).status == record.FAILED


class Fake:
    """A cluster that takes runs and does none of them."""

    def __init__(self, *workers):
        self.status, self.workers, self.orders, self.needs = "running", list(workers), [], []

    def scheduler_info(self):
        there = [{"host": "a", "nthreads": 1, "resources": resources} for resources in self.workers]
        return {"workers": dict(enumerate(there))}

    def submit(self, work, order, key, priority, resources):
        self.orders.append(order)
        self.needs.append(resources)
        return SimpleNamespace(status="pending", add_done_callback=lambda told: None)


def runs_of(fake, out, *plans, stale=None):
    from benchmark._dask_runs import Runs

    todo = {task.cells[0].name: task for task in runner.tasks(plans)}
    return Runs(fake, out, Agenda(todo, out), stale or {}, 0)


def made_of(out, *specs):
    return make_plan(out, [replace(spec, status="missing") for spec in specs])


def test_only_a_search_is_told_where_its_storage_is(tmp_path):
    plan = replace(made_of(tmp_path, Spec("lightgbm", "boosting", tuned=True)), storage="postgresql://neph:secret@h/db")
    fake, default = Fake({}), replace(plan, cells=(plan.cells[0].default(),))
    runs = runs_of(fake, tmp_path, plan, default)
    assert runs._fill()
    runs._submit(plan)
    assert [(order.task["cells"][0]["trials"], order.task["storage"]) for order in fake.orders] == [
        (0, ""),
        (5, plan.storage),
    ]


def test_a_worker_with_a_device_of_its_own_calls_it_the_first(tmp_path):
    plan = made_of(tmp_path, Spec("unet", "cnn", device="cuda:1"))
    for offered, device in (({"GPU": 1.0}, "cuda:0"), ({}, "cuda:1")):
        fake = Fake(offered)
        assert runs_of(fake, tmp_path, plan)._fill()
        assert fake.orders[0].task["cells"][0]["device"] == device
    assert replace(plan.cells[0], device="cuda:0").key == plan.cells[0].key


def test_runs_wait_for_a_worker_and_one_that_none_can_take_is_told(tmp_path, monkeypatch):
    from benchmark import _dask_runs

    monkeypatch.setattr(_dask_runs, "LOOK", 0.0)
    rows = [Spec(f"unet{number}", "cnn", device="cuda:0") for number in range(9)]
    fake = Fake()
    runs = runs_of(fake, tmp_path, made_of(tmp_path, *rows, Spec("majority", "floor")))
    monkeypatch.setattr(runs, "_news", queue.SimpleQueue())
    assert runs._fill()
    assert not fake.orders
    assert [step.said for step in runs._changes()] == ["the cluster has no worker now"]
    fake.workers = [{"GPU": 1.0}, {}]
    assert runs._fill()
    assert fake.needs == [{"GPU": 1.0}] * 6
    assert list(runs._changes()) == []
    fake.workers = [{}]  # for good, as nobody knows
    assert runs._fill()
    assert runs._fill()
    assert [step.said for step in runs._changes()] == ["no worker offers GPU=1; runs that wait for one: 9"]
    assert fake.needs == [*[{"GPU": 1.0}] * 9, {}], "a run that needs no device goes on, one that does still asks"


def test_memory_asked_for_is_the_most_of_runs_of_the_same_size(store, tmp_path):
    made = plan_of(store, tmp_path, "majority")
    (cell,) = made.cells
    fake = Fake({"MEMORY": 1e12})
    runs = runs_of(fake, tmp_path, made)
    runs._look()
    assert runs._resources(made) == {}
    usual = cell.budget.batch
    for number, (side, batch, peak) in enumerate(((32, usual, 5), (32, usual, 7), (32, 2 * usual, 9), (64, usual, 11))):
        one = replace(cell, split=f"{number}", budget=Budget(batch=batch), profile=("quick", "full")[number % 2])
        values = {"patches": ["a", "b"], "pixels": 2 * side**2, "memory": {"rss_fit": peak, "rss_predict": None}}
        kept = record.Record(one.key, asdict(one), record.OK, seconds=100.0 * (number + 1), **values)
        runs.agenda.learn(one, kept)
        record.write(kept, one.folder(tmp_path))
    assert runs._resources(made) == {"MEMORY": 7.0}
    new = replace(cell, profile="quick", seed=9)
    again = Agenda({one.name: replace(made, cells=(one,)) for one in (cell, new)}, tmp_path)
    assert again.memory(made) == 7
    assert again.remaining[new.name] == 300.0, "the longest of its own profile"
    assert again.remaining[cell.name] == 1.0, "runs of another profile say nothing"


def test_a_run_beside_others_is_marked_and_its_numbers_are_no_others(tmp_path):
    plan = make_plan(tmp_path, [Spec("alone"), Spec("beside", skill=0.8)])
    assert tables.shared(tables.leaderboard(plan, tmp_path)) == []
    kept = record.read(plan.cells[1].folder(tmp_path))
    made = replace(kept, environment=kept.environment | {"workers": 2})
    record.write(made, plan.cells[1].folder(tmp_path))
    frame = tables.leaderboard(plan, tmp_path)
    assert {entry["row"] for entry in tables.pivot(frame)} == {"alone", "beside ∥"}
    assert tables.shared(frame) == ["∥ measured beside other runs on one machine: times are not comparable"]
    assert verify.environments(replace(kept, environment=kept.environment | {"workers": 1}), made) == []


def test_a_run_whose_worker_was_lost_is_not_fresh_again(store, tmp_path, monkeypatch):
    plan = plan_of(store, tmp_path, "majority")
    (cell,) = plan.cells
    worker = SimpleNamespace(address="tcp://here", ip="127.0.0.1")
    monkeypatch.setattr(_dask_worker, "get_worker", lambda: worker)
    monkeypatch.setattr(_dask_worker, "_followed", lambda steps, name, worker: steps)
    monkeypatch.setattr(_dask_worker, "attempt", lambda task, out, fresh, hosts: fresh)
    old = record.Record(cell.key, {}, record.OK, started="2026-01-02T03:04:05+00:00")
    order = _dask_worker.Order(plan.to_json(), str(tmp_path), old.started, _dask_worker.identity())
    record.write(old, cell.folder(tmp_path))
    assert _dask_worker.work(order)
    shutil.rmtree(cell.folder(tmp_path))  # by the run that was lost
    assert not _dask_worker.work(order)
    record.write(replace(old, started="2026-01-03T00:00:00+00:00"), cell.folder(tmp_path))
    assert not _dask_worker.work(order)
    _dask_worker.release()


def test_fresh_removes_what_an_unfinished_run_has_left_once(workers, store, tmp_path):
    plan = plan_of(store, tmp_path, "majority")
    (cell,) = plan.cells
    left = cell.training(tmp_path) / "a" / "state"
    left.parent.mkdir(parents=True)
    left.write_text("")
    steps = cluster.run([plan], tmp_path, True, workers.scheduler_address)
    next(steps)
    assert not left.exists()
    assert [step.record.status for step in steps if step.record] in ([], [record.OK])


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
    todo = {cell.name: replace(made, cells=(cell,)) for cell in cells}
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
    agenda = Agenda({cell.name: replace(plan, cells=(cell,)) for cell in (plan.cells[1], again)}, tmp_path)
    assert agenda.next().cells[0].row == "majority"
    assert agenda.remaining[again.name] == 1000.0


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
