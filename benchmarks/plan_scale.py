"""What a plan of 10,000 runs costs besides its runs: python -m benchmarks.plan_scale [--runs 10000] [--workers 4].

The run itself is a stub on the workers, which sleeps a drawn time and writes a record with probabilities, as a run
would leave them; everything else is the benchmark's own: plans, agenda, Dask, records, leaderboards. Printed are the
overhead of a run (time of the whole, less what each worker was busy with stubs, over the runs), the memory of client
and scheduler, which are one process here, as runs finish, and the time of what `report` makes of all records.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import random
import shutil
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import psutil

from benchmark import ROOT, cluster, record, splits
from benchmark.api import digest
from benchmark.plan import Plan
from benchmark.studies import study_report
from benchmark.views import arm_tables, lines

sys.path.append(str(ROOT / "tests"))
from record_factory import REALISTIC, Scene, make_cell, make_scene, write_ok, write_truth

ROWS, SEEDS = 20, 5  # of a plan: an arm of a study has about as many
SCENES, SIZE = 4, 32  # of the test part


def main() -> None:
    asked = _arguments()
    out = Path(asked.out).resolve()
    if not asked.report:
        shutil.rmtree(out, ignore_errors=True)
        _run(_plans(out, asked.runs), out, asked)
    plans = _plans(out, asked.runs)
    _profile(plans[:10], out) if asked.profile else _report(plans, out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.05, help="mean of a stub's duration")
    parser.add_argument("--out", default="results/scale")
    parser.add_argument("--report", action="store_true", help="only the report, of records that are there")
    parser.add_argument("--profile", action="store_true", help="with --report: where its time goes, for ten plans")
    return parser.parse_args()


def _plans(out: Path, runs: int) -> list[Plan]:
    """Return plans as a study has them, one an arm, each with a split of its own; write the truth of its test part."""
    spec = next(spec for spec in REALISTIC if spec.row == "unet" and not spec.tuned)
    rows = [replace(spec, row=f"unet-{place}", skill=0.2 + 0.03 * place) for place in range(ROWS)]
    cells = [make_cell(row, seed) for row in rows for seed in range(SEEDS)]
    split = out / "splits" / "one.split.json"
    parts = {"train": tuple(f"patch{place}" for place in range(8)), "val": ("v",), "test": ("w",)}
    patches = {patch: patch for patch in (*parts["train"], "v", "w")}
    splits.write(splits.Split("scene", "data", parts, patches, patches), split)
    found = []
    for arm in range(runs // len(cells)):
        own = tuple(replace(cell, split=digest(arm)) for cell in cells)
        found.append(Plan(f"scale-{arm}", own, out / "data.zarr", split, suite="scale", arm={"number": arm}))
        if not own[0].truth(out).exists():
            write_truth(found[-1], make_scene(SCENES, 2, SIZE), out)
    return found


def _run(plans: list[Plan], out: Path, asked: argparse.Namespace) -> None:
    from distributed import Client, LocalCluster

    runs, stub = asked.runs, partial(_install, asked.seconds)
    with (
        LocalCluster(asked.workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as made,
        Client(made) as client,
    ):
        client.run(stub)
        start, marks = time.perf_counter(), []
        for step in cluster.run(plans, out, False, made.scheduler_address):
            if step.record is not None and step.done % (runs // 10) == 0:
                marks.append(round(psutil.Process().memory_info().rss / 1e6))
                print(f"{step.done} runs, {time.perf_counter() - start:.0f} s, {marks[-1]} MB", flush=True)
        wall = time.perf_counter() - start
    busy = sum(record.read(cell.folder(out)).facts["busy_s"] for plan in plans for cell in plan.cells)
    told = {"runs": runs, "workers": asked.workers, "wall_s": wall, "busy_s": busy, "rss_mb": marks}
    told |= {"overhead_ms": 1e3 * (wall - busy / asked.workers) / runs}
    print(json.dumps(told), flush=True)


def _install(seconds: float) -> None:
    """Put the stub in the place of the run, in a worker."""
    from benchmark.cluster import _dask_worker

    _dask_worker.attempt = partial(_stub, seconds)


def _stub(seconds: float, task: Plan, out: Path, fresh: bool, hosts: object) -> Generator[str, None, tuple]:
    """Do what `runner.attempt` does, without learning anything."""
    (cell,), begin = task.cells, time.perf_counter()
    yield ""
    time.sleep(random.Random(cell.key).expovariate(1 / seconds))
    spec = next(spec for spec in REALISTIC if spec.row == "unet" and not spec.tuned)
    write_ok(cell, replace(spec, row=cell.row, skill=0.2 + 0.03 * int(cell.row[5:])), _scene(), out)
    done = replace(record.read(cell.folder(out)), facts={"busy_s": time.perf_counter() - begin})
    record.write(done, cell.folder(out))
    return done, False


@cache
def _scene() -> Scene:
    return make_scene(SCENES, 2, SIZE)


def _report(plans: list[Plan], out: Path) -> None:
    """Print wall and processor time of what `report` makes of all records, imports apart."""
    import pandas  # noqa: F401
    import scipy.special  # noqa: F401
    import seaborn  # noqa: F401

    sizes = [(cell.folder(out) / record.FILE).stat().st_size for plan in plans for cell in plan.cells]
    print(f"{len(sizes)} records of {np.mean(sizes) / 1e3:.0f} kB", flush=True)
    marks = [_clocks(), *(_clocks() for _ in _views(plans, out))]
    for what, spent in zip(("records", "leaderboards", "page of the study"), np.diff(marks, axis=0), strict=True):
        print(f"{what}: {spent[0]:.1f} s, of processors {spent[1]:.1f} s")
    wall, spent = np.subtract(marks[-1], marks[0])
    print(f"together: {wall:.1f} s, of processors {spent:.1f} s", flush=True)


def _clocks() -> tuple[float, float]:
    """Return wall time and processor time, that of ended child processes included."""
    used = os.times()
    return used.elapsed, used.user + used.system + used.children_user + used.children_system


def _views(plans: list[Plan], out: Path) -> Iterator[object]:
    """Make what `report` makes of a suite, bar MLflow's copies: records, leaderboards, the page of the study."""
    yield (found := lines.by_plan(plans, out))
    yield (frames := arm_tables.write(plans, out, found))
    yield study_report.write(plans, out, frames, found)


def _profile(plans: list[Plan], out: Path) -> None:
    """Say where the time of the report of some plans goes."""
    list(_views(plans[:2], out))  # imports
    with cProfile.Profile(time.process_time) as profile:
        list(_views(plans, out))
    pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
