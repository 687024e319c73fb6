"""Kill workers, runs and the client of a Dask cluster at random: nothing may be lost, doubled or half-written.

python -m benchmarks.survival --kills 50

Two workers have a nanny, two have none and are started again by this script, as a batch system would. A round is a plan
from its first run to its last; rounds go on until all kills are spent. Each must leave the records of an undisturbed
run of the same plan in one process, costs apart. A run that was killed itself leaves a record that says so, and is run
again by the next command.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmark import cluster, planner, record, runner
from benchmark.api import digest
from benchmark.plan import from_json
from benchmark.views.lines import COSTS, FACTS
from benchmark.views.tables import leaderboard

ROWS = ("majority", "threshold", "threshold-band", "naive-bayes", "lightgbm")
EQUAL = (
    *("key", "cell", "status", "reason", "params", "changes", "parameters", "patches", "scenes", "counts", "bands"),
    *("strata", "boundary", "spectrum", "fraction", "validation", "curves", "pixels"),
)
PATIENCE = 5.0  # seconds to wait for somebody to kill
KINDS = ("nanny's worker", "bare worker", "run", "host", "client")


def main() -> None:
    asked = _arguments()
    if asked.client:
        return _client(Path(asked.client), Path(asked.out), asked.scheduler)
    out = Path(asked.out).resolve()
    shutil.rmtree(out, ignore_errors=True)
    values = {"rows": asked.rows, "data": asked.data, "seeds": asked.seeds, "trials": asked.trials}
    plan = planner.make(
        planner.Asked(profile="smoke", out=out / "plain", device="cpu", **values), lambda done, total: None
    )
    file = record.write_json(out / "plan.json", plan.to_json())
    start = time.perf_counter()
    _run_client(file, out / "plain", "", 600).check_returncode()
    print(f"{len(plan.cells)} runs, undisturbed in one process: {time.perf_counter() - start:.0f} s", flush=True)
    rng, killed, rounds, start = random.Random(asked.seed), dict.fromkeys(KINDS, 0), 0, time.perf_counter()
    with _workers() as cast:
        while sum(killed.values()) < asked.kills:
            rounds += 1
            there = out / f"round{rounds}"
            shutil.copytree(out / "plain" / "splits", there / "splits")
            _disturb(file, there, cast, rng, killed, asked.kills, asked.pause)
            _compare(plan, out / "plain", there)
            print(f"round {rounds}: {killed}, {time.perf_counter() - start:.0f} s", flush=True)
    print(json.dumps({"kills": sum(killed.values()), "of": killed, "rounds": rounds, "runs": len(plan.cells) * rounds}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", nargs="+", default=ROWS)
    parser.add_argument("--data", default="simulated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--out", default="results/survival")
    parser.add_argument("--client", default="", help=argparse.SUPPRESS)
    parser.add_argument("--scheduler", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _client(file: Path, out: Path, scheduler: str) -> None:
    """Run a plan as the command does."""
    plans = [from_json(json.loads(file.read_text()))]
    steps = cluster.run(plans, out, False, scheduler) if scheduler else runner.run(plans, out, False)
    ended = [step for step in steps if step.record is not None]
    assert len(ended) == len(plans[0].cells) == ended[-1].done, "every run ends once"


def _start(*command: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, "OMP_NUM_THREADS": "1"})


def _start_client(file: Path, out: Path, scheduler: str) -> subprocess.Popen:
    return _start("benchmarks.survival", "--client", str(file), "--out", str(out), "--scheduler", scheduler)


def _run_client(file: Path, out: Path, scheduler: str, timeout: float) -> subprocess.CompletedProcess:
    client = _start_client(file, out, scheduler)
    return subprocess.CompletedProcess(client.args, client.wait(timeout))


@contextmanager
def _workers():
    """Yield a cluster of four workers: (address, pids of workers with a nanny, processes of those without)."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    # Kills at random would hit some run four times, which is not its fault.
    config = {"distributed.scheduler.allowed-failures": 10**6}
    options = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1", "dashboard": False, "silence_logs": "CRITICAL"}
    spec = {place: {"cls": Nanny, "options": options} for place in range(2)}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    with dask.config.set(config), SpecCluster(spec, scheduler, silence_logs="CRITICAL") as made:
        bare = [_start_bare(made.scheduler_address) for _ in range(2)]
        try:
            yield made, bare
        finally:
            for process in bare:
                process.kill()
                process.wait()


def _start_bare(address: str) -> subprocess.Popen:
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0")
    with Path(os.devnull).open("w") as nothing:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *options]
        return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=nothing, stderr=nothing)


def _disturb(file, out, cast, rng, killed, kills, pause) -> None:
    """Run a plan to its end under fire, and then once more for what was shot itself."""
    made, bare = cast
    client = _start_client(file, out, made.scheduler_address)
    deadline = time.monotonic() + 1800
    while client.poll() is None and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            client.wait(rng.expovariate(1 / pause))
        if client.poll() is None and sum(killed.values()) < kills:
            kind = rng.choice(KINDS)
            killed[kind] += _kill(lambda kind=kind, client=client: _victims(kind, made, bare, client), rng)
        for place, process in enumerate(bare):
            if process.poll() is not None:
                bare[place] = _start_bare(made.scheduler_address)
        if client.poll() == -signal.SIGKILL:
            client = _start_client(file, out, made.scheduler_address)
    assert client.wait(1) == 0, "the client failed"
    _run_client(file, out, made.scheduler_address, 600).check_returncode()


def _victims(kind, made, bare, client) -> list[int]:
    nannies = [nanny.pid for nanny in made.workers.values() if nanny.pid]
    if kind in KINDS[:2]:
        return nannies if kind == KINDS[0] else [process.pid for process in bare]
    if kind == "client":
        return [client.pid]
    hosts = [child for pid in (*nannies, *(process.pid for process in bare)) for child in _children(pid)]
    return [host.pid for host in hosts] if kind == "host" else [c.pid for host in hosts for c in _children(host.pid)]


def _children(pid: int) -> list[psutil.Process]:
    try:
        return [one for one in psutil.Process(pid).children() if "benchmark.host" in one.cmdline()]
    except psutil.Error:
        return []


def _kill(victims: Callable[[], list[int]], rng: random.Random) -> int:
    """Kill one of some processes, as soon as there are any; return how many it were."""
    deadline = time.monotonic() + PATIENCE
    while not (found := victims()) and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        for pid in rng.sample(found, min(1, len(found))):
            os.kill(pid, signal.SIGKILL)
            return 1
    return 0


def _compare(plan, plain: Path, there: Path) -> None:
    """Fail where the records, or what lies beside them, are not those of the undisturbed run."""
    left, right = _kept(plain), _kept(there)
    assert sorted(left) == sorted(right), sorted(set(left) ^ set(right))
    for name in left:
        different = [part for part in left[name] if left[name][part] != right[name][part]]
        assert not different, f"{name} differs in {different}"
    tables = [leaderboard(plan, out).drop(columns=[*COSTS, *FACTS, "shared"]) for out in (plain, there)]
    assert tables[0].equals(tables[1]), "the leaderboards differ"
    passing = [path.name for path in there.glob("runs/**/.*") if path.suffix != ".lock"]
    assert not passing, f"left behind: {passing}"


def _kept(out: Path) -> dict[str, dict]:
    """Return what every run has left, by folder: every folder has a record, and every record can be read."""
    found = {}
    for folder in (path for path in out.glob("runs/*/*/*") if path.is_dir()):
        kept = record.read(folder)
        assert kept is not None, f"{folder} has no record"
        assert kept.status == record.OK, f"{folder}: {kept.reason}"
        arrays = {name: digest((folder / name).read_bytes()) for name in (record.PROBABILITIES, record.VALIDATION)}
        model = sorted((path.name, path.stat().st_size > 0) for path in (folder / "model").iterdir())
        found[str(folder.relative_to(out))] = {name: getattr(kept, name) for name in EQUAL} | arrays | {"model": model}
    return found


if __name__ == "__main__":
    main()
