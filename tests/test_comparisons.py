"""Tests of benchmark/views/comparisons.py, benchmark/views/_resampling.py and benchmark/views/_comparison_plot.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.stats.multitest import multipletests

from benchmark.boundary import SCORES as BOUNDARY_SCORES
from benchmark.plan import from_json
from benchmark.scores import PROBABILITY_SCORES, SCORES, histogram, probability_scores
from benchmark.views import _probability_draws
from benchmark.views._comparison_plot import critical_difference, ties
from benchmark.views.comparisons import (
    BEST,
    COLUMNS,
    CONTROL,
    SCORE_COLUMNS,
    compare,
    intervals,
    tables,
    write_comparisons,
)
from benchmark.views.lines import lines
from benchmark.views.tables import leaderboard, pivot, write_leaderboard
from benchmark.views.tables import ties as told_ties
from tests.record_factory import Spec, make_plan

SEEDS = (0, 1, 2)
SPECS = [
    Spec("unet", "cnn", 0.30, seeds=SEEDS),
    Spec("unet", "cnn", 0.28, tuned=True, seeds=SEEDS),
    Spec("lightgbm", "boosting", 0.29, seeds=SEEDS),
    Spec("prithvi-frozen", "foundation", 0.5, seeds=SEEDS),
    Spec("prithvi-random-frozen", "foundation", 1.1, seeds=SEEDS),
    Spec("majority", "floor", 9.0, seeds=SEEDS),
    Spec("later", status="missing"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparisons")
    plan = make_plan(out, SPECS, scenes=8, per_scene=1)
    controls = {"prithvi-frozen": "prithvi-random-frozen"}
    plan = replace(plan, cells=tuple(replace(cell, control=controls.get(cell.row, "")) for cell in plan.cells))
    frame, found = leaderboard(plan, out), lines(plan, out)
    return plan, out, frame, found, compare(frame, found)


def test_every_ranked_row_is_held_against_its_references(made):
    table = made[4]
    assert list(table.columns) == list(COLUMNS)
    pairs = {kind: set(zip(part["row"], part["reference"], strict=True)) for kind, part in table.groupby("against")}
    rows = {"unet", "lightgbm", "prithvi-frozen", "prithvi-random-frozen", "majority"}
    best = made[2]["row"].iloc[0]
    assert pairs[BEST] == {(row, best) for row in rows - {best}}
    assert pairs["unet"] == {(row, "unet") for row in rows - {"unet"}}
    assert pairs["lightgbm"] == {(row, "lightgbm") for row in rows - {"lightgbm"}}
    assert pairs[CONTROL] == {("prithvi-frozen", "prithvi-random-frozen")}


def test_defaults_are_held_against_defaults_where_there_are_any(made):
    table = made[4].set_index(["against", "row"])
    assert not table.loc[("unet", "majority"), "reference_tuned"]
    assert table.loc[("lightgbm", "unet"), "tuned"]
    assert not table.loc[("lightgbm", "unet"), "reference_tuned"], "lightgbm was not tuned"


def test_differences_are_those_of_the_leaderboard(made):
    _, _, frame, _, table = made
    board = frame.set_index(["row", "tuned"])
    for measure, column in (("jaccard", "jaccard"), ("boundary", "boundary_jaccard_2")):
        first = [board.loc[name, column] for name in zip(table["row"], table["tuned"], strict=True)]
        second = [board.loc[name, column] for name in zip(table["reference"], table["reference_tuned"], strict=True)]
        np.testing.assert_allclose(table[measure], np.subtract(first, second), atol=1e-12)
    assert set(table["seeds"]) == {3}
    assert set(table["scenes"]) == {8}


def test_p_values_are_those_of_the_interval_and_adjusted_by_family(made):
    table = made[4]
    for measure in ("jaccard", "boundary"):
        outside = (table[f"{measure}_low"] > 0) | (table[f"{measure}_high"] < 0)
        assert ((table[f"{measure}_p"] < 0.05) == outside).all()
        for _, part in table.groupby("against"):
            expected = multipletests(part[f"{measure}_p"], method="holm")[1]
            np.testing.assert_allclose(part[f"{measure}_holm"], expected)


def test_rows_tie_with_the_best_as_the_table_says(made):
    _, _, frame, _, table = made
    part = table[table["against"] == BEST].set_index(["row", "tuned"])
    board = frame.set_index(["row", "tuned"])
    for name, line in part.iterrows():
        assert board.loc[name, "tied"] == (line["jaccard_holm"] >= 0.05), name
        assert board.loc[name, "detectable"] == pytest.approx(line["jaccard_detectable"])
    tied = frame.loc[frame["tied"].fillna(False), "row"].tolist()
    assert {"unet", "lightgbm"} <= set(tied)
    assert not {"majority", "prithvi-random-frozen"} & set(tied)
    assert frame.loc[(frame["row"] == "unet") & ~frame["tuned"], "tied"].isna().all(), "it does not rank"
    assert frame.loc[frame["row"] == "later", "tied"].isna().all()


def test_ties_stand_in_the_readable_tables(made, tmp_path):
    frame = made[2]
    marks = {entry["row"]: entry["tied"] for entry in pivot(frame)}
    assert (marks["unet"], marks["majority"]) == ("≈", "")
    (told,) = told_ties(frame)
    assert f"{frame['detectable'].median():.3f} (median" in told
    assert told in write_leaderboard(frame, tmp_path)[1].read_text()
    assert pd.read_csv(tmp_path / "leaderboard.csv")["tied"].dropna().isin([True, False]).all()


def test_one_scene_tells_of_no_tie(tmp_path):
    plan = make_plan(tmp_path, SPECS[:4], scenes=1)
    frame = leaderboard(plan, tmp_path)
    assert frame["tied"].isna().all()
    assert told_ties(frame) == []
    table = compare(frame, lines(plan, tmp_path))
    assert table["jaccard"].notna().all()
    assert table[["jaccard_low", "jaccard_p", "jaccard_holm", "boundary_detectable"]].isna().all(axis=None)
    assert ties(frame, table, tmp_path / "ties.png") is not None


def test_every_score_has_an_interval(made):
    _, _, frame, found, _ = made
    every = intervals(found)
    assert list(every.columns) == list(SCORE_COLUMNS)
    mine = every[(every["row"] == "lightgbm")].set_index("score")
    assert set(mine.index) == {*SCORES, *BOUNDARY_SCORES, *PROBABILITY_SCORES}
    assert (mine["low"] < mine["mean"]).all()
    assert (mine["mean"] < mine["high"]).all()
    assert (mine[["seeds", "scenes"]] == [3, 8]).all(axis=None)
    board = frame[frame["row"] == "lightgbm"].iloc[0]
    for name in set(mine.index) & set(frame.columns):
        assert mine.loc[name, "mean"] == pytest.approx(board[name]), name
    assert mine.loc["jaccard", ["low", "high"]].tolist() == board[["jaccard_low", "jaccard_high"]].tolist()


def test_probabilities_of_resampled_scenes_score_as_their_pixels():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (6, 40, 40), np.uint8)
    probability = np.clip(rng.normal(0.3 + 0.4 * mask, 0.3), 0, 1).astype(np.float16)
    hists = np.stack([histogram(probability[[place]], mask[[place]]) for place in range(6)])
    scored = _probability_draws.score([_probability_draws.parts(hists)])
    whole = scored(np.ones((1, 6)))[0]
    assert whole.tolist() == pytest.approx(list(probability_scores(hists.sum(0)).values()))
    drawn = np.array([2, 0, 1, 1, 0, 1])
    again = np.repeat(np.arange(6), drawn)
    expected = probability_scores(histogram(probability[again], mask[again]))
    auc, brier, ece = scored(drawn[None].astype(float))[0]
    assert (auc, brier) == pytest.approx((expected["auc"], expected["brier"]))
    assert ece == pytest.approx(expected["ece"], rel=0.2), "the bins stay those of all scenes"


def test_probabilities_that_are_not_kept_have_no_score(tmp_path):
    plan = make_plan(tmp_path, SPECS[2:3], size=16)
    (plan.cells[1].folder(tmp_path) / "probabilities.npy").unlink()
    assert set(intervals(lines(plan, tmp_path))["score"]) == {*SCORES, *BOUNDARY_SCORES}


def test_an_empty_plan_and_one_of_one_row_leave_no_table(tmp_path):
    for specs in ([], [Spec("forest")]):
        plan = make_plan(tmp_path / "a", specs or [Spec("later", status="missing")], size=16)
        found = lines(plan, tmp_path / "a")
        table = compare(leaderboard(plan, tmp_path / "a"), found)
        assert (len(table), list(table.columns), tables(table)) == (0, list(COLUMNS), [])
        (tmp_path / "comparisons.csv").write_text("of an earlier plan")
        write_comparisons(table, intervals(found), tmp_path)
        assert not (tmp_path / "comparisons.csv").exists()
        assert (tmp_path / "scores.csv").exists() == bool(specs)


def test_files_hold_what_was_compared(made, tmp_path):
    _, _, _, found, table = made
    write_comparisons(table, intervals(found), tmp_path)
    again = pd.read_csv(tmp_path / "comparisons.csv")
    np.testing.assert_allclose(again["jaccard_p"], table["jaccard_p"], rtol=1e-5)
    page = (tmp_path / "comparisons.md").read_text()
    assert page.count("## ") == 4
    assert "| unet (tuned) | lightgbm |" in page


def test_a_plan_keeps_the_control_of_a_row(made):
    plan = made[0]
    assert from_json(plan.to_json()) == plan
    assert plan.cells[0].key == replace(plan.cells[0], control="other").key, "names do not decide numbers"


def test_ties_are_drawn_shaded(made, tmp_path):
    _, _, frame, _, table = made
    path = ties(frame, table, tmp_path / "ties.png")
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(2**20)}
    assert (0xE9, 0xF1, 0xF7) in colours
    assert ties(frame, table[:0], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()


def boards(frame, names, spread):
    rng = np.random.default_rng(0)
    return {name: frame.assign(jaccard=frame["jaccard"] + rng.normal(0, spread, len(frame))) for name in names}


def test_ranks_take_three_data_sets_and_three_rows(made, tmp_path):
    frame, path = made[2], tmp_path / "cd.png"
    three = boards(frame, "abc", 0.01)
    assert critical_difference(dict(list(three.items())[:2]), path) is None
    few = {name: one[one["row"].isin(["unet", "lightgbm"])] for name, one in three.items()}
    assert critical_difference(few, path) is None
    assert not path.exists()
    assert critical_difference(three, path) == path
    with Image.open(path) as image:
        assert image.width > 1000


def test_ranks_are_of_rows_that_all_data_sets_share(made, tmp_path, monkeypatch):
    import scikit_posthocs

    told = []
    monkeypatch.setattr(scikit_posthocs, "critical_difference_diagram", lambda *args, **_: told.append(args))
    four = boards(made[2], "abcdefgh", 0.001)
    four["a"] = four["a"][four["a"]["row"] != "majority"]
    critical_difference(four, tmp_path / "cd.png")
    ranks, p = told[0]
    assert set(ranks.index) == {"unet", "lightgbm", "prithvi-frozen", "prithvi-random-frozen"}
    assert ranks["prithvi-random-frozen"] == 4
    assert p.loc["prithvi-random-frozen", "unet"] < 0.05 < p.loc["unet", "lightgbm"]
    critical_difference(boards(made[2], "abc", 9.0), tmp_path / "cd.png")
    assert (told[1][1] == 1).all(axis=None), "Friedman's test rejects nothing, so nothing is told apart"
