"""Pieces of work on a Dask cluster: the same patch sets as without one, whoever is lost."""

import math
import os
import signal
import time
from dataclasses import replace
from functools import partial

import pytest
from slstr_factory import of_day
from typer.testing import CliRunner

from benchmark import cli, cli_data, cluster, patchset
from benchmark.api import UserError
from benchmark.cluster import _dask_pieces, _dask_worker, _simulated_products
from benchmark.sources import Request
from datasets import _granule_pieces, simulated, simulated_hls, slstr
from datasets.simulator.product_frame import draw

pytestmark = pytest.mark.usefixtures("patience")


def one_by_one(function, arguments):
    yield from map(function, arguments)


def silent(*said):
    pass


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made(source, request, folder, progress=silent, **changes):
    """Make a patch set in a folder of its own; return every byte of it."""
    source.make(replace(request, store=folder / "set.zarr", **changes), progress)
    return contents(folder)


@pytest.fixture
def spread(workers):
    return cluster.spread(workers.scheduler_address, silent)


@pytest.mark.parametrize("module", [simulated, simulated_hls])
def test_scenes_are_the_same_from_one_process_from_several_and_from_a_cluster(module, spread, tmp_path):
    request = Request((), tmp_path, {"train": 5, "val": 2, "test": 3}, 32)
    first = made(module.SOURCE, request, tmp_path / "one", spread=one_by_one)
    assert len(first) > 10
    assert made(module.SOURCE, request, tmp_path / "processes") == first
    assert made(module.SOURCE, request, tmp_path / "cluster", spread=spread) == first


def test_workers_that_are_killed_in_the_middle_change_nothing(workers, spread, tmp_path):
    request = Request((), tmp_path, {"train": 16, "val": 2, "test": 3}, 64)
    killed = []

    def kill(done, total):
        if not killed:
            assert done < total / 2
            for nanny in workers.workers.values():
                killed.append(nanny.pid)
                os.kill(nanny.pid, signal.SIGKILL)

    assert made(simulated.SOURCE, request, tmp_path / "killed", kill, spread=spread) == made(
        simulated.SOURCE, request, tmp_path / "one", spread=one_by_one
    )
    assert len(killed) == 2
    assert not {nanny.pid for nanny in workers.workers.values()} & set(killed), "others have done the rest"


def test_products_are_cut_the_same_here_and_on_a_cluster(spread, tmp_path):
    days = (25, 26, 27)
    found = tuple(of_day(tmp_path / "in", day, rows=24, columns=64, bands=("S1", "S8", "S9")) for day in days)
    next(found[1].glob("S8_BT_in.nc")).unlink()  # a fault is told as it is here
    request = Request(found, tmp_path, size=16, options={"bands": "S1,S8", "split": "block"})
    counts = []
    here = made(slstr.SOURCE, request, tmp_path / "here")
    there = made(slstr.SOURCE, request, tmp_path / "there", lambda *count: counts.append(count), spread=spread)
    assert here == there
    assert counts[-1] == (300, 300)
    assert list(patchset.attributes(tmp_path / "there/set.zarr")["skipped"]) == [found[1].name]


def test_a_worker_that_sees_other_files_ends_the_work(spread, tmp_path):
    path = tmp_path / "P.SEN3"
    path.write_text("two")
    for size, gone, said in ((4, False, "has 3 bytes there and 4 here"), (3, True, "cannot be read there")):
        order = _granule_pieces.Order(path, len, 32, 0.5, "native", ((path, size),))
        if gone:
            path.unlink()
        with pytest.raises(UserError, match=rf"^worker tcp://.*: {path} {said}; products must lie where"):
            list(spread(_granule_pieces.whole, [order]))


def test_few_pieces_are_under_way_and_a_caller_may_leave(spread):
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    results = spread(math.sqrt, numbers())
    for done, root in enumerate(results):
        assert root == math.sqrt(done)
        assert len(taken) - done <= 2 * _dask_pieces.AHEAD
        if done == 20:
            break
    results.close()
    assert len(taken) < 30
    assert list(spread(math.sqrt, [])) == []


def test_a_worker_with_other_code_is_of_no_use(workers):
    from distributed import Client

    other = _dask_worker.identity() | {"numpy": "1.0"}
    with Client(workers) as client, pytest.raises(UserError, match=r"^worker tcp://.* has numpy"):
        client.submit(_dask_worker.piece, _dask_worker.Piece(math.sqrt, 4, other)).result()


@pytest.fixture
def single(monkeypatch):
    """A cluster of one worker in this process."""
    import dask
    from distributed import LocalCluster

    monkeypatch.setattr(_dask_pieces, "LOOK", 0.1)
    with (
        dask.config.set({f"distributed.comm.timeouts.{name}": "2s" for name in ("connect", "tcp")}),
        LocalCluster(1, processes=False, threads_per_worker=1, dashboard_address=None) as made,
    ):
        yield made


def test_who_waits_for_a_worker_is_told(single):
    said = []

    def say(sentence):
        said.append(sentence)
        single.scale(1)

    single.scale(0)
    while single.scheduler.workers:
        time.sleep(0.05)
    assert list(cluster.spread(single.scheduler_address, say)(math.sqrt, [4, 9])) == [2, 3]
    assert said == [_dask_pieces.NOBODY]


def test_a_scheduler_that_goes_away_in_the_middle_is_a_sentence(single):
    results = cluster.spread(single.scheduler_address, silent)(time.sleep, [0, 3, 3])
    next(results)
    single.sync(single.scheduler.close)
    with pytest.raises(UserError, match="the Dask scheduler is gone"):
        next(results)


def test_simulated_products_are_the_same_from_a_cluster(workers, spread, tmp_path):
    names = [draw(64, 96, seed).name for seed in (0, 1)]
    command = ["simulate", "slstr", "--count", "2", "--rows", "64", "--columns", "96", "--out"]
    for folder, more in ((tmp_path / "here", []), (tmp_path / "there", ["--scheduler", workers.scheduler_address])):
        done = CliRunner().invoke(cli_data.app, [*command, str(folder), *more])
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == [f"product {folder / name}" for name in names]
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    again = CliRunner().invoke(cli_data.app, [*command, str(folder), *more])
    assert again.exit_code == 2
    assert again.stderr.endswith(" is already there\n")
    deadline = time.monotonic() + 60  # a worker may be at the second one yet
    while list(folder.glob(".*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(folder.glob(".*")), "nothing hidden is left"
    with pytest.raises(UserError, match="give an --out that all workers share"):
        list(spread(partial(_simulated_products._apart, slstr.simulate, tmp_path / "gone", 64, 96), [0]))


@pytest.mark.parametrize(
    ("app", "command"),
    [
        (cli_data.app, ["make", "simulated"]),
        (cli_data.app, ["make", "slstr", "PRODUCT", "--bands", "S8", "--size", "32", "--split", "block"]),
        (cli.app, ["run", "majority", "--profile", "smoke"]),
    ],
)
def test_no_scheduler_is_one_sentence_and_leaves_nothing(app, command, tmp_path, monkeypatch):
    import dask

    monkeypatch.chdir(tmp_path)
    if "PRODUCT" in command:
        product = of_day(tmp_path / "in", 25, rows=32, columns=64, bands=("S8",))
        command = [str(product) if word == "PRODUCT" else word for word in command]
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        done = CliRunner().invoke(app, [*command, "--scheduler", "tcp://127.0.0.1:9"])
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:9 (")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.zarr"))


def test_what_one_process_reads_has_no_use_for_a_scheduler(tmp_path):
    done = CliRunner().invoke(cli_data.app, ["make", "patch-folder", str(tmp_path), "--scheduler", "local"])
    assert done.exit_code == 2
    assert done.stderr == "error: 'patch-folder' is read by one process, which has no use for a --scheduler\n"
