"""Roots that are URLs: what travels, in which order, and what happens where the store is slow, away or hostile."""

import json
import os
import shutil
import time
import uuid
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from record_factory import Spec, make_plan

from benchmark import _mirror, _remote, record, root
from benchmark.api import UserError

SPECS = [Spec("majority", "floor", 9.0), Spec("lightgbm", "boosting", 0.4, tuned=True)]


@pytest.fixture(scope="session")
def s3():
    """A real S3 server on loopback with a bucket; what s3fs needs to know of it is in the environment."""
    pytest.importorskip("s3fs", reason="S3 is spoken through s3fs, which is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server], which plays S3, is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    told = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "nobody", "AWS_REGION": "us-east-1"}
    told |= {"AWS_SECRET_ACCESS_KEY": "of-nobody", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    running.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    return f"memory://{uuid.uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}/shared/study"


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr(_remote, "FIRST", 0.001)
    monkeypatch.setattr(_remote, "LONGEST", 0.002)
    monkeypatch.setenv(root.CACHE, str(tmp_path / "cache"))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Give a function that opens a URL as a machine of that name would."""

    def opened(name, url):
        monkeypatch.setenv(root.CACHE, str(tmp_path / name))
        return root.opened(url)

    return opened


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def there(out):
    return set(root._remote(out).entries("runs"))


def test_a_study_moves_whole_from_one_machine_to_another(url, machine, tmp_path):
    first = machine("one", url)
    plan = make_plan(first, SPECS)
    record.write_json(first / "plans" / "synthetic.json", plan.to_json())
    for name in ("features/a.f16", "mlflow.db", "weights.json", ".mask.npy.77", "run.lock", "report.html"):
        (first / name).parent.mkdir(exist_ok=True)
        (first / name).write_text(name)
    root.publish(first)
    second = machine("two", url)
    root.fetch_all(second)
    names = ("plans", "runs", "truth")
    assert {k: v for k, v in contents(second).items() if k.startswith(names)} == {
        k: v for k, v in contents(first).items() if k.startswith(names)
    }
    assert record.read(plan.cells[0].folder(second)).status == record.OK
    root.pull(second, ["features", "mlflow.db", "weights.json", ".mask.npy.77", "run.lock", "report.html"])
    assert (second / "report.html").exists()
    assert not any((second / name).exists() for name in ("features", "mlflow.db", "weights.json", "run.lock"))
    assert root.address(second) == url


def test_only_what_differs_travels(url, machine, monkeypatch):
    out = machine("one", url)
    plan = make_plan(out, SPECS)
    root.publish(out)
    sent = []
    monkeypatch.setattr(_remote.Remote, "put", lambda self, files: sent.extend(files))
    monkeypatch.setattr(_remote.Remote, "get", lambda self, files: sent.extend(files))
    root.publish(out)
    root.fetch_all(out)
    for cell in plan.cells:
        root.deliver(cell, out)
    assert sent == []
    (plan.cells[0].folder(out) / "log.txt").write_text("again\n")
    root.deliver(plan.cells[0], out)
    assert [Path(name).name for name in sent] == ["log.txt", "record.json"]


def test_the_record_comes_last_and_an_old_one_goes_first(url, machine, monkeypatch):
    out = machine("one", url)
    (cell,) = make_plan(out, SPECS[:1]).cells
    seen = []
    put = _remote.Remote.put

    def watched(self, files):
        seen.append((sorted(Path(name).name for name in files), {Path(name).name for name in there(out)}))
        put(self, files)

    monkeypatch.setattr(_remote.Remote, "put", watched)
    root.push(out, cell.folder(out))
    assert [files for files, _ in seen] == [["log.txt", "method.json", "probabilities.npy"], ["record.json"]]
    np.save(cell.folder(out) / "probabilities.npy", np.zeros(3, np.float16))
    (cell.folder(out) / "log.txt").unlink()
    record.write(replace(record.read(cell.folder(out)), seconds=99.0), cell.folder(out))
    seen.clear()
    root.push(out, cell.folder(out))
    assert seen[0] == (["probabilities.npy"], {"method.json", "probabilities.npy"})
    assert seen[1][0] == ["record.json"]
    assert {Path(name).name for name in there(out)} == {"method.json", "probabilities.npy", "record.json"}


def test_an_interrupted_push_leaves_no_record_without_its_files(url, machine, monkeypatch):
    out = machine("one", url)
    (cell,) = make_plan(out, SPECS[:1]).cells
    monkeypatch.setattr(_mirror, "BATCH", 1)
    put, count = _remote.Remote.put, iter(range(100))

    def breaking(self, files):
        if next(count) == 2:
            raise KeyboardInterrupt
        put(self, files)

    monkeypatch.setattr(_remote.Remote, "put", breaking)
    with pytest.raises(KeyboardInterrupt):
        root.deliver(cell, out)
    monkeypatch.setattr(_remote.Remote, "put", put)
    other = machine("two", url)
    root.fetch_all(other)
    assert record.read(cell.folder(other)) is None
    out = machine("one", url)
    root.deliver(cell, out)
    other = machine("two", url)
    root.fetch_all(other)
    assert contents(cell.folder(other)) == contents(cell.folder(out))


def test_a_worker_gets_what_its_cell_needs_under_its_own_paths(url, machine):
    client = machine("client", url)
    plan = make_plan(client, [replace(SPECS[1], seeds=(0, 1)), replace(SPECS[1], tuned=False, seeds=(0, 1)), SPECS[0]])
    first, cell = plan.cells[:2]
    store = client / "data" / "made.zarr"
    for name in (".zattrs", "toa/.zarray", "toa/0.0"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text("{}")
    (client / "data" / "made.split.json").write_text("{}")
    (client / "data" / "made.arrays").mkdir()
    (client / "data" / "made.arrays" / "toa.npy").write_text("large")
    (client / "splits").mkdir()
    (client / "splits" / "cut.split.json").write_text("{}")
    (client / "pretrained").mkdir()
    weights = {
        "lightgbm": client / "pretrained" / "own.safetensors",
        "other": client / "pretrained" / "other.safetensors",
    }
    for path in weights.values():
        path.write_text("weights")
    shutil.rmtree(cell.folder(client))
    files = {row: str(path) for row, path in weights.items()} | {"far": "/far/away.pt"}
    plan = replace(plan, store=store, split=client / "splits" / "cut.split.json", weights=files)
    root.publish(client)
    worker = machine("worker", url)
    moved = root.fetch_for(plan, cell, worker)
    assert moved.store == worker / "data" / "made.zarr"
    assert moved.split == worker / "splits" / "cut.split.json"
    assert moved.weights["lightgbm"] == str(worker / "pretrained" / "own.safetensors")
    assert moved.weights["far"] == "/far/away.pt"
    got = set(contents(worker))
    assert {"data/made.zarr/toa/0.0", "data/made.split.json", "splits/cut.split.json"} < got
    assert "pretrained/own.safetensors" in got
    assert not got & {"pretrained/other.safetensors", "data/made.arrays/toa.npy"}
    assert record.read(first.folder(worker)).status == record.OK
    assert record.read(cell.default().folder(worker)).status == record.OK
    assert not (worker / "runs" / "synthetic" / "majority").exists()
    with pytest.raises(UserError, match=r"/elsewhere\.zarr is neither on this machine nor at"):
        root.fetch_for(replace(plan, store=Path("/elsewhere.zarr")), cell, worker)


def test_an_unfinished_fit_goes_on_elsewhere_and_a_finished_one_leaves_nothing(url, machine):
    lost = machine("lost", url)
    plan = make_plan(lost, SPECS[:1])
    (cell,) = plan.cells
    kept = contents(cell.folder(lost))
    shutil.rmtree(cell.folder(lost))
    checkpoint = cell.training(lost) / "fit" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("half")
    root.deliver_training(cell, lost)
    time.sleep(0.02)  # file systems count time in steps
    checkpoint.write_text("more")  # of the same size
    root.deliver_training(cell, lost)
    plan = replace(plan, store=lost)  # any folder that is there
    heir = machine("heir", url)
    root.fetch_for(plan, cell, heir)
    assert (cell.training(heir) / "fit" / "checkpoint.pt").read_text() == "more"
    for name, content in kept.items():
        (cell.folder(heir) / name).parent.mkdir(parents=True, exist_ok=True)
        (cell.folder(heir) / name).write_bytes(content)
    shutil.rmtree(cell.training(heir))
    root.deliver(cell, heir)
    assert root._remote(heir).entries("training") == {}


def test_what_was_made_here_since_is_not_replaced(url, machine):
    one = machine("one", url)
    (cell,) = make_plan(one, SPECS[:1]).cells
    failed = replace(record.read(cell.folder(one)), status=record.FAILED)
    record.write(failed, cell.folder(one))
    root.deliver(cell, one)
    two = machine("two", url)
    root.fetch_all(two)
    time.sleep(0.02)
    record.write(replace(failed, status=record.OK), cell.folder(two))
    root.fetch_all(two)
    assert record.read(cell.folder(two)).status == record.OK
    root.publish(two)
    one = machine("one", url)
    root.publish(one)  # the old record of this machine must not come back
    root.fetch_all(one)
    assert record.read(cell.folder(one)).status == record.OK


def write_view(out, name, text):
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text(text)


def test_leaderboards_travel_for_ranks_over_data_sets_and_old_ones_stay_away(url, machine):
    one, board = machine("one", url), "reports/a-quick/leaderboard.csv"
    write_view(one, board, "first")
    write_view(one, "reports/a-quick/report.html", "page")
    root.publish(one)
    two = machine("two", url)
    root.fetch_all(two)
    assert {name for name in contents(two) if name.startswith("reports")} == {board}
    assert (two / board).read_text() == "first"
    time.sleep(1.1)  # stores count seconds
    one = machine("one", url)
    write_view(one, board, "again")
    root.publish(one)
    two = machine("two", url)
    root.publish(two)  # the board of before must not come back
    root.fetch_all(two)
    assert (two / board).read_text() == "again"
    assert "reports/a-quick/report.html" in root._remote(two).entries("reports")


def test_what_a_study_has_no_more_goes_at_the_url_as_well(url, machine):
    one = machine("one", url)
    for name in ("one/study.csv", "one/drops.csv", "one/plots/old.png", "other/study.csv"):
        write_view(one, f"studies/{name}", name)
    root.publish(one)
    (one / "studies" / "one" / "plots" / "old.png").unlink()
    (one / "studies" / "one" / "drops.csv").unlink()
    two = machine("two", url)
    write_view(two, "studies/two/study.csv", "of two")
    root.publish(two)
    one = machine("one", url)
    root.publish(one)
    names = {"studies/one/study.csv", "studies/other/study.csv", "studies/two/study.csv"}
    assert set(root._remote(one).entries("studies")) == names
    time.sleep(1.1)  # stores count seconds
    two = machine("two", url)
    for name in ("study.csv", "new.csv"):
        write_view(two, f"studies/one/{name}", "again")
    root.publish(two)
    one = machine("one", url)
    root.publish(one)  # an older study takes nothing away
    assert set(root._remote(one).entries("studies")) == names | {"studies/one/new.csv"}


def test_features_come_once_and_go_where_there_are_more(url, machine):
    one = machine("one", url)
    file = one / "features" / "encoder.f16"
    file.parent.mkdir()
    file.write_bytes(bytes(20))
    file.with_suffix(".jsonl").write_text("table")
    root.deliver_features(file)
    file.write_bytes(bytes(10))
    root.deliver_features(file)  # fewer: stays here
    two = machine("two", url)
    other = two / "features" / "encoder.f16"
    root.fetch_features(other)
    assert (other.stat().st_size, other.with_suffix(".jsonl").read_text()) == (20, "table")
    other.write_bytes(bytes(5))
    root.fetch_features(other)
    assert other.stat().st_size == 5


def test_a_plain_folder_needs_nothing(tmp_path, monkeypatch):
    out = root.opened(str(tmp_path / "plain"))
    plan = make_plan(out, SPECS[:1])
    monkeypatch.setattr(_remote, "connect", None)
    root.fetch_all(out)
    root.publish(out)
    root.deliver(plan.cells[0], out)
    assert root.fetch_for(plan, plan.cells[0], out) is plan
    assert root.address(out) == str(tmp_path / "plain")


def test_a_marker_from_elsewhere_sends_nothing_away(tmp_path):
    out = root.opened(f"file://{tmp_path}/shared")
    strange = tmp_path / "strange"
    shutil.copytree(out, strange)
    make_plan(strange, SPECS[:1])
    root.publish(strange)
    assert root.address(strange) == str(strange)
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    "url",
    ["s3://key:secret@bucket/x", "sftp://me:secret@host/x", "s3://key:sec/ret@bucket", "https://host/x?sig=secret"],
)
def test_a_url_with_a_secret_is_refused_without_telling_it(url, tmp_path):
    with pytest.raises(UserError, match="holds a password or key") as caught:
        root.opened(url)
    assert "secret" not in str(caught.value)
    assert "sec/ret" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_the_marker_names_the_url_and_no_credentials(s3, tmp_path):
    out = root.opened(f"{s3}/study/")
    told = (out / root.MARKER).read_text()
    assert json.loads(told)["url"] == f"{s3}/study"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in told
    assert os.environ["AWS_ACCESS_KEY_ID"] not in told


@pytest.mark.parametrize(("url", "reason"), [("nosuch://x/y", "cannot be used"), ("webhdfs2://x", "cannot be used")])
def test_a_protocol_that_nothing_speaks_is_a_sentence(url, reason):
    with pytest.raises(UserError, match=reason):
        root.opened(url)


def test_another_endpoint_is_not_mixed_with_this_one(s3, monkeypatch):
    root.opened(f"{s3}/endpoints")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="at another endpoint"):
        root.opened(f"{s3}/endpoints")


@pytest.mark.parametrize("name", ["runs/../../escape.txt", "runs/a/../../../../escape.txt"])
def test_names_that_lead_out_are_refused(name, machine, monkeypatch):
    out = machine("one", f"memory://{uuid.uuid4().hex}")
    place = root._remote(out)
    info = {"size": 1, "type": "file", "created": 1.0}
    monkeypatch.setattr(type(place.fs), "find", lambda *_, **__: {f"{place.base}/{name}": info})
    with pytest.raises(UserError, match="may lead out of its folder"):
        root.fetch_all(out)
    assert not list(out.parent.parent.rglob("escape.txt"))


def test_a_connection_that_fails_is_tried_again_and_then_told(machine, monkeypatch):
    out = machine("one", f"memory://{uuid.uuid4().hex}")
    (out / "plans").mkdir()
    (out / "plans" / "a.json").write_text("{}")
    fs = type(root._remote(out).fs)
    put, faults = fs.put, [ConnectionResetError("gone"), TimeoutError("slow")]

    def failing(self, *args, **options):
        if faults:
            raise faults.pop()
        return put(self, *args, **options)

    monkeypatch.setattr(fs, "put", failing)
    root.publish(out)
    assert list(root._remote(out).entries("plans")) == ["plans/a.json"]
    time.sleep(0.02)
    (out / "plans" / "a.json").write_text("[]")
    faults += [ConnectionResetError("gone")] * _remote.ATTEMPTS
    with pytest.raises(
        UserError, match=r"memory://\w+ cannot be used \(ConnectionResetError: gone\); what is here stays"
    ):
        root.publish(out)
    assert not faults
    assert (out / "plans" / "a.json").read_text() == "[]"


def test_what_no_attempt_mends_is_told_at_once(s3, machine, monkeypatch):
    out = machine("one", "s3://no-such-bucket/study")
    (out / "plans").mkdir()
    (out / "plans" / "a.json").write_text("{}")
    monkeypatch.setattr(_remote.tenacity, "nap", None)  # waiting would fail
    root.fetch_all(out)  # nothing there, nothing to fetch
    with pytest.raises(UserError, match=r"s3://no-such-bucket/study cannot be used \(FileNotFoundError"):
        root.publish(out)


def test_a_file_that_breaks_off_is_not_there(machine, tmp_path, monkeypatch):
    out = machine("one", f"file://{tmp_path}/shared")
    (out / "plans").mkdir()
    (out / "plans" / "a.json").write_text("x" * 1000)
    fs = type(root._remote(out).fs)

    def half(self, source, target, **_):
        Path(target).write_text("x" * 500)
        raise ConnectionResetError("gone")

    whole = fs.put_file
    monkeypatch.setattr(fs, "put_file", half)
    with pytest.raises(UserError, match="ConnectionResetError"):
        root.publish(out)
    assert contents(tmp_path / "shared") == {}
    monkeypatch.setattr(fs, "put_file", whole)
    root.publish(out)
    monkeypatch.setattr(fs, "get_file", half)
    other = machine("two", f"file://{tmp_path}/shared")
    with pytest.raises(UserError, match="ConnectionResetError"):
        root.fetch_all(other)
    assert [name for name in contents(other) if not name.startswith(".locks")] == [root.MARKER]
