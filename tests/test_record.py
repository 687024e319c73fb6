import json
import os
from dataclasses import asdict, replace

import pytest

from benchmark import record
from benchmark.api import Budget
from benchmark.plan import Cell, Plan, from_json

CELL = Cell(
    row="unet", family="cnn", study_id="", note="", data="plain", fingerprint="f", split="s", bands=("S1", "S2"),
    profile="smoke", seed=0, trials=0, cap=60.0, device="cpu", budget=Budget(), latency=2, code="c",
)  # fmt: skip


def test_record_round_trip(tmp_path):
    given = record.Record(
        "k", asdict(CELL), record.OK, counts=[[1, 2, 3, 4]], laps={"fit": [0.5]}, memory={"vram": None}
    )
    record.write(given, tmp_path)
    assert record.read(tmp_path).counts == given.counts
    assert record.read(tmp_path).memory == {"vram": None}


def test_records_and_plans_from_before_facts_and_roles_can_be_read(tmp_path):
    given = record.Record("k", asdict(CELL), record.OK, counts=[[1, 2, 3, 4]])
    content = json.loads(record.write(given, tmp_path).read_text())
    for name in ("facts", "bands", "boundary"):
        del content[name]
    (tmp_path / record.FILE).write_text(json.dumps(content))
    read = record.read(tmp_path)
    assert (read.facts, read.bands, read.boundary) == ({}, [], {})
    plan = Plan("plain-smoke", (CELL,), tmp_path / "a.zarr", tmp_path / "s.json")
    values = json.loads(json.dumps(plan.to_json()))
    del values["controls"], values["cells"][0]["factors"]
    assert from_json(values) == plan


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 999, "key": "k"}'])
def test_broken_record_is_unfinished_work(tmp_path, content):
    (tmp_path / record.FILE).write_text(content)
    assert record.read(tmp_path) is None


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    record.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        record.write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "other"}, {"split": "other"}, {"bands": ("S2", "S1")}, {"bands": ("S1=RED", "S2")}, {"seed": 1},
        {"trials": 3}, {"device": "cuda:0"}, {"budget": Budget(epochs=3)}, {"weights": "w"}, {"code": "other"},
    ],
)  # fmt: skip
def test_key_changes_with_what_decides_the_numbers(change):
    assert replace(CELL, **change).key != CELL.key


@pytest.mark.parametrize(
    "change", [{"note": "x"}, {"data": "renamed"}, {"study_id": "exp_9"}, {"cap": 1.0}, {"profile": "q"}]
)
def test_key_keeps_with_what_does_not(change):
    assert replace(CELL, **change).key == CELL.key


def test_time_cap_decides_what_tuning_finds():
    tuned = replace(CELL, trials=3)
    assert replace(tuned, cap=1.0).key != tuned.key
    assert tuned.default().key == CELL.key


def test_plan_round_trip(tmp_path):
    plan = Plan(
        "plain-smoke",
        (CELL, replace(CELL, trials=2)),
        tmp_path / "a.zarr",
        tmp_path / "s.json",
        weights={"a": "b"},
        controls=("plain",),
    )
    assert from_json(json.loads(json.dumps(plan.to_json()))) == plan
