"""An output folder that was moved, and plans in it that cannot be read: a report, or one sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from record_factory import Spec, make_plan
from test_study_table import make_arm

from benchmark import cli_views, planner, verify
from benchmark.api import UserError
from benchmark.plan import from_json, read, readable
from benchmark.studies.study_table import gather, study
from benchmark.views.across import leaderboards


@pytest.fixture
def suite(tmp_path):
    """An output folder with the records and plans of two arms, as `run` leaves it."""
    out = tmp_path / "first"
    (out / "splits").mkdir(parents=True)
    (out / "data.zarr").mkdir()
    plans = []
    for percent in (50, 100):
        made = make_arm(out, {"train": percent}, {"unet": 0.7, "lightgbm": 0.8}, train=percent)
        plans.append(replace(made, split=made.split.rename(out / "splits" / made.split.name)))
    cli_views.save([replace(plan, weights={"unet": str(out / "unet.pt"), "far": "/far.pt"}) for plan in plans], out)
    (out / "unet.pt").touch()
    return out, study(gather(plans, out))


def test_a_suite_is_reported_from_where_it_was_moved_to(suite, tmp_path):
    out, table = suite
    moved = out.rename(tmp_path / "second")
    plans = cli_views.stored_plans(moved, None)
    assert [plan.split.parent for plan in plans] == [moved / "splits"] * 2
    assert plans[0].store == moved / "data.zarr"
    assert plans[0].weights == {"unet": str(moved / "unet.pt"), "far": "/far.pt"}
    pd.testing.assert_frame_equal(study(gather(plans, moved)), table)
    as_written = [from_json(json.loads(file.read_text())) for file in sorted((moved / "plans").glob("*.json"))]
    assert len(gather(as_written, moved).arms) == 2


def test_a_split_that_is_gone_is_a_sentence(suite):
    out, _ = suite
    shutil.rmtree(out / "splits")
    with pytest.raises(UserError, match=r"json, the split of \S+, is gone; the command that ran it writes it again"):
        gather(cli_views.stored_plans(out, None), out)


@pytest.fixture
def kept(tmp_path):
    """The file of a plan with records, another one, and a suite of both."""
    plan = make_plan(tmp_path, [Spec("majority", "floor", 9.0)])
    planner.save(replace(plan, name="other"), tmp_path)
    (tmp_path / "plans" / f"both{cli_views.ARMS}").write_text(json.dumps(["other", plan.name]))
    return planner.save(plan, tmp_path)


def newer(text):
    return json.dumps({**json.loads(text), "horizon": 1})


DAMAGES = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "newer": newer,
    "list": lambda text: "[]",
    "numbers": lambda text: json.dumps({**json.loads(text), "cells": [1]}),
    "no cells": lambda text: json.dumps({**json.loads(text), "cells": []}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_plan_that_cannot_be_read_is_a_sentence_and_left_out_of_ranks(kept, tmp_path, damage):
    kept.write_text(DAMAGES[damage](kept.read_text()))
    for name in (kept.stem, "both"):
        with pytest.raises(UserError, match=rf"plan \S+{kept.name} cannot be read"):
            cli_views.stored_plans(tmp_path, name)
    for name in (kept.stem, "other"):
        board = tmp_path / "reports" / name / "leaderboard.csv"
        board.parent.mkdir(parents=True)
        board.write_text("row,family,status,tuned,jaccard\nmajority,floor,ok,False,0.5\n")
    # Of the two kinds of plans the one that can be read is there alone.
    assert [frame["row"].tolist() for frame in leaderboards(tmp_path).values()] == [["majority"]]
    assert [plan.name for plan in readable(sorted(kept.parent.glob("*.json")))] == ["other"]
    assert (
        verify._plan(read(kept.with_name("other.json")).cells[0], tmp_path / "runs" / "a" / "b" / "c").name == "other"
    )


@pytest.mark.parametrize("text", ["", '["other"', "{}", "[]", "[1]"])
def test_a_damaged_list_of_arms_is_a_sentence_and_plans_are_had_by_their_names(kept, tmp_path, text):
    (tmp_path / "plans" / f"both{cli_views.ARMS}").write_text(text)
    for name in ("both", None):
        with pytest.raises(UserError, match=r"both\.arms does not name the plans of a suite"):
            cli_views.stored_plans(tmp_path, name)
    assert [plan.name for plan in cli_views.stored_plans(tmp_path, "other")] == ["other"]
