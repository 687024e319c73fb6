"""A disk that is full, or a folder that nobody may write to: one sentence, exit status 2, and nothing lost."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from record_factory import Spec, make_plan
from typer.testing import CliRunner

from benchmark import cli, cli_run, cli_views, planner, record

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ("--profile", "smoke", "--seeds", "1", "--trials", "0")


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, and a function that fills it but for some bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=False, capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("a small file system can be mounted by root alone")

    def fill(left=0):
        filler = place / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2**23))
        os.truncate(filler, filler.stat().st_size - left)
        return filler

    yield place, fill
    subprocess.run(["umount", "-l", place], check=True)


def run(rows, store, out, monkeypatch):
    """Run rows as the command line does, without the views; return how it ended."""
    monkeypatch.setattr(cli_views, "views", lambda *_: None)
    monkeypatch.setattr(cli_run, "_measure_optimism", lambda *_: None)
    return CliRunner().invoke(cli.app, ["run", *rows, "--data", str(store), "--out", str(out), *OPTIONS])


@pytest.mark.parametrize("left", [0, 24_000])  # it fills before the first cell, or while one is at work
def test_a_full_disk_ends_a_run_with_a_sentence_and_loses_no_record(store, disk, left, monkeypatch):
    out, fill = disk
    shutil.copytree(store, out / store.name)
    shutil.copy(store.with_name("plain.split.json"), out)
    store = out / store.name
    assert run(["majority"], store, out, monkeypatch).exit_code == 0
    kept = {path: path.read_bytes() for path in (out / "runs").rglob("*") if path.is_file()}
    filler = fill(left)
    ended = run(["majority", "naive-bayes"], store, out, monkeypatch)
    if left:
        assert ended.exit_code in (1, 2), ended.output  # 1: the record that says so still fits
    else:
        assert ended.exit_code == 2, ended.output
        assert "what is finished is kept, and the same command goes on from there" in ended.stderr
    assert "No space left on device" in " ".join(ended.output.split())
    assert "Traceback" not in ended.output
    assert {path: path.read_bytes() for path in kept} == kept
    filler.unlink()
    again = run(["majority", "naive-bayes"], store, out, monkeypatch)
    assert again.exit_code == 0, again.output
    assert "kept from before" in again.output
    assert {path: path.read_bytes() for path in kept} == kept
    records = [record.read(path.parent) for path in (out / "runs").rglob(record.FILE)]
    assert [one.status for one in records] == [record.OK] * 2


def test_a_full_disk_under_a_record_leaves_the_old_one(disk):
    out, fill = disk
    (cell,) = make_plan(out, [Spec("majority", "floor", 9.0)]).cells
    before = record.read(cell.folder(out))
    fill()
    with pytest.raises(OSError, match="No space left") as caught:
        record.write(before, cell.folder(out))
    assert caught.value.filename == str(cell.folder(out) / record.FILE)
    assert record.read(cell.folder(out)) == before
    assert sorted(path.name for path in cell.folder(out).glob(".*")) == []


def test_a_read_only_folder_ends_a_run_with_a_sentence(store, disk, monkeypatch):
    out, _ = disk
    assert run(["majority"], store, out, monkeypatch).exit_code == 0
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", out], check=True)
    ended = run(["majority", "naive-bayes"], store, out, monkeypatch)
    assert ended.exit_code == 2, ended.output
    assert "Read-only file system" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_ends_a_run_with_a_sentence(store, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir(mode=0o555)
    ended = run(["majority"], store, tmp_path / "out", monkeypatch)
    assert ended.exit_code == 2, ended.output
    assert "Permission denied" in ended.stderr


def test_a_limit_on_files_ends_a_report_with_a_sentence(tmp_path):
    plan = make_plan(tmp_path, [Spec("majority", "floor", 9.0), Spec("lightgbm", "boosting", 0.4)])
    planner.save(plan, tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "report", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path / "matplotlib")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM])
def test_what_a_disk_refuses_is_a_sentence(number, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number), str(tmp_path / "there"))

    monkeypatch.setattr(cli_views, "stored_plan", fail)
    ended = CliRunner().invoke(cli.app, ["report", "--out", str(tmp_path)])
    assert ended.exit_code == 2
    assert ended.stderr.splitlines() == [
        f"error: {os.strerror(number)} ({tmp_path}/there); what is finished is kept, and the same command goes on from "
        "there"
    ]


def test_another_fault_is_not_hidden(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli_views, "stored_plan", fail)
    with pytest.raises(OSError, match="Input/output"):
        CliRunner().invoke(cli.app, ["report", "--out", str(tmp_path)], catch_exceptions=False)
