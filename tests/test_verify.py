"""A stored run is made again, and what is not the same is told."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark import planner, record, runner
from benchmark._files import checksum
from benchmark.cli import app
from benchmark.plan import cell_from_json
from benchmark.record import PROBABILITIES
from benchmark.verify import environments

ROWS = ("threshold", "lightgbm", "unet")


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A finished smoke run with its own copy of the patch set: output folder, and the plan."""
    out = tmp_path_factory.mktemp("results")
    own = out / "own.zarr"
    shutil.copytree(store, own)
    shutil.copy2(store.with_name(f"{store.stem}.split.json"), out / "own.split.json")
    asked = planner.Asked(ROWS, str(own), "smoke", out=out, device="cpu", trials=2)
    plan = planner.make(asked, lambda done, total: None)
    kept = [cell for cell in plan.cells if not cell.tuned or cell.row == "lightgbm"]
    plan = replace(plan, cells=tuple(kept))
    planner.save(plan, out)
    ended = [step.record for step in runner.run([plan], out, fresh=False) if step.record is not None]
    assert [one.status for one in ended] == [record.OK] * len(kept), [one.reason for one in ended]
    return out, plan


def folder_of(run, row, tuned=False):
    out, plan = run
    (cell,) = (cell for cell in plan.cells if (cell.row, cell.tuned) == (row, tuned))
    return cell.folder(out)


def verify(*args):
    done = CliRunner().invoke(app, ["verify", *map(str, args)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(("row", "tuned"), [*((row, False) for row in ROWS), ("lightgbm", True)])
def test_a_run_on_a_cpu_comes_out_the_same_to_the_bit(run, row, tuned, tmp_path):
    folder = folder_of(run, row, tuned)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, said = verify(folder / "record.json" if tuned else folder, "--out", tmp_path)
    assert (code, said.split()[-1]) == (0, "reproduces"), said
    assert "differs" not in said
    assert "max |dp| 0, 0 of" in said
    assert ("the search itself is not repeated" in said) == tuned
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (made,) = tmp_path.glob("runs/**/record.json")
    then, now = record.read(folder), record.read(made.parent)
    assert then.counts == now.counts
    assert {name for name, _, _ in environments(then, now)} <= {"dirty", "commit"}, "the tree may change under a test"
    if row == "threshold":
        code, said = verify(folder, "--out", tmp_path)
        assert (code, "holds a run of this cell already" in said) == (2, True), "what is there is not lost"


def altered(run, tmp_path, row="threshold"):
    """Return a copy of the results and in it the folder of a run."""
    out, _ = run
    copy = tmp_path / "copy"
    shutil.copytree(out / "runs", copy / "runs")
    shutil.copytree(out / "plans", copy / "plans")
    return copy / folder_of(run, row).relative_to(out)


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_probabilities_that_are_not_the_methods_do_not_reproduce(run, tmp_path):
    folder = altered(run, tmp_path)
    values = np.load(folder / PROBABILITIES)
    values[0, 0, 0] = 1 if values[0, 0, 0] <= 0.5 else 0
    np.save(folder / PROBABILITIES, values)
    code, said = verify(folder)
    assert code == 1
    assert "does not reproduce" in said
    assert f"1 of {values.size} pixels differ, 1 changed side" in said


def test_counts_that_are_not_the_methods_do_not_reproduce(run, tmp_path):
    folder = altered(run, tmp_path)

    def better(values):
        values["counts"][0] = [sum(values["counts"][0]), 0, 0, 0]
        values["environment"]["packages"]["numpy"] = "0.1"

    edit(folder / "record.json", better)
    code, said = verify(folder)
    assert code == 1
    assert "does not reproduce" in said
    assert "1 of 4 patches differ" in said
    assert "packages.numpy" in said
    assert "0.1" in said


def test_what_has_changed_since_is_named_and_refused(run, tmp_path):
    def stale(**values):
        return lambda kept: kept["cell"].update(values)

    for number, (change, sentence) in enumerate(
        (
            (stale(code="of yesterday"), "the code is no longer that of the record: row 'threshold'"),
            (stale(row="gone"), "row 'gone' is gone"),
            (stale(seed=5), "the harness itself makes numbers in another way"),
            (lambda kept: kept.update(status="failed", reason="no luck"), "no numbers to reproduce: failed, no luck"),
        )
    ):
        folder = altered(run, tmp_path / str(number))
        edit(folder / "record.json", change)
        code, said = verify(folder)
        assert code == 2
        assert said.startswith("error: ")
        assert sentence in said


def test_changed_data_are_refused(run, tmp_path):
    folder = altered(run, tmp_path)
    (plan,) = (folder.parents[3] / "plans").iterdir()
    store = tmp_path / "other.zarr"
    shutil.copytree(json.loads(plan.read_text())["store"], store)
    edit(plan, lambda values: values.update(store=str(store)))
    edit(store / ".zattrs", lambda values: values.update(fingerprint="0" * 64))
    code, said = verify(folder)
    assert (code, "the data are no longer those of the record" in said) == (2, True), said
    shutil.rmtree(store)
    code, said = verify(folder)
    assert (code, "there is no patch set at" in said) == (2, True), said
    plan.unlink()
    code, said = verify(folder)
    assert (code, "nothing says where its data and weights are" in said) == (2, True), said


def test_one_pixel_that_changed_in_the_arrays_is_found(run, tmp_path):
    out, _ = run
    (file,) = (out / "own.arrays").glob("*/mask.npy")
    original = file.read_bytes()
    try:
        file.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        code, said = verify(folder_of(run, "threshold"))
    finally:
        file.write_bytes(original)
    assert code == 2
    assert "has changed in the arrays beside" in said


@pytest.mark.parametrize("fate", ["kept", "changed", "gone"])
def test_weights_that_are_not_those_of_the_record_are_refused(run, fate, tmp_path):
    folder = altered(run, tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"what it started from")
    cell = replace(cell_from_json(record.read(folder).cell), weights=checksum(weights))
    edit(folder / "record.json", lambda values: values.update(key=cell.key, cell=asdict(cell)))
    (plan,) = (tmp_path / "copy" / "plans").glob("*.json")
    edit(plan, lambda values: values.update(cells=[asdict(cell)], weights={cell.row: str(weights)}))
    if fate == "changed":
        weights.write_bytes(b"something else")
    elif fate == "gone":
        weights.unlink()
    code, said = verify(folder, "--out", tmp_path / "again")
    refused = "the weights are no longer those of the record" in said
    assert (code == 2, refused) == (fate != "kept", fate != "kept"), said


def test_a_run_does_not_take_the_place_of_its_own_record(run):
    out, _ = run
    code, said = verify(folder_of(run, "threshold"), "--out", out)
    assert code == 2
    assert "give another --out" in said
    assert (folder_of(run, "threshold") / "record.json").exists()


def test_what_is_no_run_is_refused(tmp_path):
    code, said = verify(tmp_path)
    assert (code, "is not the record of a run" in said) == (2, True)


@pytest.mark.parametrize(("dirty", "told"), [(False, []), (True, [("dirty", "True", "True")])])
def test_two_trees_that_both_differ_from_their_commit_may_differ_from_each_other(dirty, told):
    kept = record.Record("", {}, record.OK, environment={"dirty": dirty, "load": 0.5, "packages": {"numpy": "2"}})
    again = replace(kept, environment={**kept.environment, "load": 3.0})
    assert environments(kept, again) == told
