"""Tests of benchmark/views/published.py and of results/published.csv."""

from __future__ import annotations

import csv
import math
from dataclasses import fields, replace

import pytest

from benchmark.api import UserError
from benchmark.views.published import BESIDE, CONTEXT, Published, beside, context, read, write_published
from benchmark.views.tables import leaderboard
from tests.record_factory import Spec, make_plan

LINE = {field.name: "" for field in fields(Published)} | {
    **{"method": "UNet", "metric": "accuracy", "value": "0.9", "data": "here", "sensor": "SLSTR"},
    **{"source": "Someone (2020)", "basis": "read"},
}


def write(path, *lines):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(LINE))
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    plan = make_plan(out, [Spec("unet"), Spec("unet", tuned=True), Spec("lost", status="failed", reason="x")], size=16)
    return plan.cells[0], leaderboard(plan, out), out


def test_the_file_of_the_project_is_sound():
    found = read()
    known = {(one.data, one.metric, one.value) for one in found}
    assert ("STFC cloud_slstr_ds1, Bayesian flag as truth", "accuracy", 0.896) in known
    assert {one.value for one in found if one.data == "SLSTR against CALIOP, polar day" and one.metric == "kuiper"} == {
        *(0.77, 0.28, 0.17)
    }
    assert {one.data for one in found} >= {"Copernicus-Bench Cloud-S3", "Copernicus-Bench Cloud-S2", "CloudSEN12 L1C"}
    assert all(len(one.source) > 5 for one in found)


def test_values_of_other_data_are_never_beside_ours(board):
    cell, frame, _ = board
    found = read()
    assert beside(frame, cell, found) == []
    assert len(context(cell, found)) == len(found)


def test_a_value_stands_beside_ours_where_data_test_part_and_metric_are_the_same(board, tmp_path):
    cell, frame, _ = board
    same = LINE | {"row": "unet", "metric": "kuiper", "fingerprint": cell.fingerprint, "split": cell.split}
    lines = [same, *({**same, "data": name, name: "another"} for name in ("fingerprint", "split"))]
    found = read(write(tmp_path / "published.csv", *lines))
    entries = beside(frame, cell, found)
    assert [entry["row"] for entry in entries] == ["unet", "unet (tuned)"]
    assert entries[0]["published"] == "0.900"
    ours = frame[(frame["row"] == "unet") & ~frame["tuned"]]["kuiper"].item()
    assert entries[0]["ours"] == f"{ours:.3f}"
    assert [entry["data"] for entry in context(cell, found)] == ["fingerprint", "split"]


def test_a_row_without_a_score_stands_beside_nothing(board):
    cell, frame, _ = board
    one = replace(read()[0], row="lost", fingerprint=cell.fingerprint, split=cell.split)
    assert beside(frame, cell, [one]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": "61.7"}, "fractions"),
        ({"value": "nan"}, "value nor a range"),
        ({"value": "inf"}, "fractions"),
        ({"value": "high"}, "numbers"),
        ({"value": ""}, "value nor a range"),
        ({"low": "0.5"}, "value nor a range"),
        ({"low": "0.95", "high": "0.99"}, "rise"),
        ({"source": ""}, "no source"),
        ({"method": "", "data": ""}, "no method, data"),
        ({"basis": "hearsay"}, "basis"),
        ({"row": "unet"}, "together"),
        ({"row": "unet", "fingerprint": "f", "split": "s", "metric": "skill"}, "skill is no column"),
    ],
)
def test_a_line_that_breaks_a_rule_is_refused_by_its_number(change, said, tmp_path):
    with pytest.raises(UserError, match=f"line 3.*{said}"):
        read(write(tmp_path / "published.csv", LINE, LINE | {"data": "there"} | change))


def test_a_value_may_be_a_range_or_have_one(board, tmp_path):
    lines = [LINE | {"value": "", "low": "0.8", "high": "0.9"}, LINE | {"data": "there", "low": "0.8", "high": "0.95"}]
    found = read(write(tmp_path / "published.csv", *lines))
    assert math.isnan(found[0].value)
    assert [entry["value"] for entry in context(board[0], found)] == ["0.800 to 0.900", "0.900 (0.800 to 0.950)"]


def test_a_file_with_a_double_or_other_columns_or_without_a_field_is_refused(tmp_path):
    path = tmp_path / "published.csv"
    with pytest.raises(UserError, match="twice"):
        read(write(path, LINE, LINE))
    path.write_text(write(path, LINE).read_text().rstrip("\r\n,") + "\n")
    with pytest.raises(UserError, match=r"line 2.*fields"):
        read(path)
    path.write_text("method,value\nUNet,0.9\n")
    with pytest.raises(UserError, match="columns"):
        read(path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)
    assert read(tmp_path / "none.csv") == []


def test_what_is_from_memory_says_so(board):
    memory = [one for one in read() if one.basis == "memory"]
    assert memory
    assert all("from memory, not checked" in entry["note"] for entry in context(board[0], memory))


def test_the_page_says_that_nothing_compares(board):
    cell, frame, out = board
    text = write_published(frame, cell, out).read_text()
    assert text.startswith(CONTEXT)
    assert BESIDE not in text
    assert "0.896" in text
    assert "http" not in text
