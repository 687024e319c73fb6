"""Tests of benchmark/views/across.py."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import friedmanchisquare

from benchmark.plan import Plan
from benchmark.planner import save
from benchmark.views import _comparison_plot
from benchmark.views.across import across, leaderboards, read_leaderboard, write_across
from benchmark.views.tables import ranked
from tests.record_factory import Spec, make_cell

ROWS = {"unet": 0.8, "lightgbm": 0.7, "majority": 0.4, "threshold": 0.5}


def board(out, data, scores=ROWS, kind="quick", age=0, **changes):
    """Keep the leaderboard of a data set as a report does, with a tuned line that is to be left out."""
    cells = [replace(make_cell(Spec(row), 0), data=data, labels=changes.get("labels", "")) for row in scores]
    plan = Plan(f"{data}-{kind}", tuple(cells), out / "data.zarr", out / "split.json", arm=changes.get("arm", {}))
    save(plan, out)
    lines = [
        {"row": row, "family": "cnn" if row == "unet" else "forest", "status": "ok", "tuned": tuned, "jaccard": score,
         "suspect": "" if row != changes.get("doubt") else "it is too good", "labels": "", "reason": ""}
        for row, score in scores.items()
        for tuned, score in ((False, score), (True, 1 - score))
    ]  # fmt: skip
    path = out / "reports" / plan.name / "leaderboard.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame(lines).to_csv(path, index=False)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_text_that_is_not_there_is_empty(tmp_path):
    frame = read_leaderboard(board(tmp_path, "one", doubt="unet"))
    assert frame["suspect"].tolist() == ["it is too good", "", "", ""]
    assert frame["labels"].tolist() == [""] * 4
    assert not frame["tuned"].any()
    assert ranked(frame)["row"].tolist() == ["lightgbm", "majority", "threshold"]


def test_ranks_are_those_of_the_scores_on_every_data_set(tmp_path):
    other = ROWS | {"unet": 0.6}
    for data, scores in {"a": ROWS, "b": ROWS, "c": other, "d": other | {"rare": 0.9}}.items():
        board(tmp_path, data, scores)
    table = across(tmp_path).set_index("row")
    assert table["mean_rank"].to_dict() == {"unet": 1.5, "lightgbm": 1.5, "threshold": 3.0, "majority": 4.0}
    assert table.loc["unet", ["a", "b", "c", "d"]].tolist() == [1, 1, 2, 2]
    assert table.loc["unet", "family"] == "cnn"
    matrix = [[ROWS[row]] * 2 + [other[row]] * 2 for row in ROWS]
    assert table["friedman_p"].to_numpy() == pytest.approx(friedmanchisquare(*matrix).pvalue)
    assert table["nemenyi_p"].iloc[0] == 1
    assert table.loc["majority", "nemenyi_p"] < 0.1


def test_what_friedman_does_not_tell_apart_is_not_told_apart(tmp_path):
    scores = [dict(zip(ROWS, np.roll([0.8, 0.7, 0.6, 0.5], turn), strict=True)) for turn in range(4)]
    for data, each in zip("abcd", scores, strict=True):
        board(tmp_path, data, each)
    table = across(tmp_path)
    assert (table["nemenyi_p"] == 1).all()
    assert (table["friedman_p"] > 0.9).all()


@pytest.mark.parametrize("few", ["data sets", "rows"])
def test_too_few_data_sets_or_rows_are_no_table(tmp_path, few):
    for data in ("a", "b") if few == "data sets" else ("a", "b", "c"):
        board(tmp_path, data, ROWS if few == "data sets" else {"unet": 0.8, "lightgbm": 0.7})
    (tmp_path / "across.csv").write_text("of before")
    assert across(tmp_path) is None
    assert write_across(tmp_path) is None
    assert not (tmp_path / "across.csv").exists()


def test_an_empty_folder_has_none(tmp_path):
    assert leaderboards(tmp_path) == {}
    assert write_across(tmp_path) is None


def test_only_like_commands_are_compared(tmp_path):
    for data in ("a", "b", "c"):
        board(tmp_path, data, kind="quick", age=9)
        board(
            tmp_path,
            data,
            {row: 1 - score for row, score in ROWS.items()},
            kind="study-e5",
            age=0 if data == "a" else 5,
        )
    board(tmp_path, "d", kind="study", age=-99)
    board(tmp_path, "e", kind="study-e5-x", arm={"train": 1}, age=-99)
    board(tmp_path, "f", kind="study-e5", labels="permuted")
    assert set(leaderboards(tmp_path)) == {"a", "b", "c"}
    assert across(tmp_path)["row"].iloc[0] == "majority", "of as many data sets the one that was run last"


def test_the_picture_names_every_row_with_its_rank(tmp_path, monkeypatch):
    from contextlib import contextmanager

    from matplotlib.text import Text

    seen, whole = [], _comparison_plot.canvas

    @contextmanager
    def watched(*args):
        with whole(*args) as figure:
            yield figure
            seen.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(_comparison_plot, "canvas", watched)
    for data in ("a", "b", "c"):
        board(tmp_path, data)
    path = write_across(tmp_path)
    assert path == tmp_path / "plots/critical_difference.png"
    assert np.asarray(Image.open(path).convert("L")).std() > 10
    assert all(any(row in text for text in seen) for row in ROWS)
    assert any("Mean rank over 3 data sets (a, b, c)" in text for text in seen)
    assert pd.read_csv(tmp_path / "across.csv")["row"].tolist() == ["unet", "lightgbm", "threshold", "majority"]
