"""Tests of the views of strata and shapes: strata_table, shape_table, _strata_plot, and of recount."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmark import boundary, evidence, fraction, record, recount, scores, spectrum, strata
from benchmark.strata import Stratum
from benchmark.views._strata_plot import _alarms, _cloud, _name, _scene, heatmap
from benchmark.views.lines import lines
from benchmark.views.shape_table import shape_table, write_shapes
from benchmark.views.strata_table import COLUMNS, FEWEST, completed, strata_table, write_strata
from benchmark.views.tables import leaderboard
from tests.record_factory import Spec, make_plan

SPECS = [
    Spec("unet", "cnn", 0.3, seeds=(0, 1)),
    Spec("lightgbm", "boosting", 0.2, seeds=(0, 1)),
    Spec("lightgbm", "boosting", 0.1, tuned=True, seeds=(0, 1)),
    Spec("broken", status="failed", reason="it broke"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A plan whose truth has strata beside it, as a run leaves them."""
    out = tmp_path_factory.mktemp("out")
    plan = make_plan(out, SPECS, scenes=4, per_scene=2, size=64)
    truth = plan.cells[0].truth(out)
    mask = np.load(truth / "mask.npy")
    surface = np.zeros(mask.shape, np.uint8)
    surface[:, :, 40:] = 1
    surface[:, :2, :2] = 2
    smoke = np.zeros(mask.shape, np.uint8)
    smoke[:, 20:] = 1
    biome = Stratum(("Forest", "Water"), np.array([0, 0, 1, 1, 1, 1, 1, 1], np.uint8))
    found = {"surface": Stratum(("sea", "snow", "rock"), surface), "smoke": Stratum(("no", "yes"), smoke)}
    evidence._write_strata({**found, "biome": biome, **strata.of_truth(mask)}, truth / evidence.STRATA)
    return plan, out


@pytest.fixture(scope="module")
def done(made):
    plan, out = made
    return completed(leaderboard(plan, out), lines(plan, out))


@pytest.fixture(scope="module")
def table(done):
    return strata_table(done)


def test_records_without_counts_get_them_from_what_is_stored(made, done):
    _, out = made
    line = next(line for line in done if line.first.row == "unet")
    mask = np.load(line.first.truth(out) / "mask.npy")
    cloud = np.load(line.cells[1].folder(out) / "probabilities.npy") > 0.5
    kept = line.records[1]
    assert kept.spectrum == spectrum.sums(cloud, mask)
    assert kept.fraction == fraction.sums(cloud, mask)
    assert kept.boundary == boundary.counts(cloud, mask)
    assert kept.strata == strata.count(evidence.read_strata(line.first.truth(out)), cloud, mask)
    assert recount.complete(line.cells[1], kept, out) is kept


def test_a_record_is_completed_as_far_as_its_files_go(tmp_path):
    plan = make_plan(tmp_path, [SPECS[0]])
    cell = plan.cells[0]
    kept = replace(record.read(cell.folder(tmp_path)), strata={"biome": {"Forest": [[1, 0, 0, 0]] * 8}})
    found = recount.complete(cell, kept, tmp_path)
    assert set(found.strata) == {"biome", "cloud_size", "cloud_side", "clear_side"}
    assert found.strata["biome"] == kept.strata["biome"]
    meta = cell.truth(tmp_path) / "meta.json"
    meta.write_text(json.dumps({"patches": ["another"]}))
    with pytest.raises(ValueError, match="are not those"):
        recount.complete(cell, kept, tmp_path)
    (cell.folder(tmp_path) / "probabilities.npy").unlink()
    assert recount.complete(cell, kept, tmp_path) is kept


def test_records_are_read_as_they_were_written(done, tmp_path):
    kept = done[0].records[0]
    record.write(kept, tmp_path)
    assert record.read(tmp_path) == kept


def test_lines_stand_in_the_order_of_the_leaderboard(done):
    assert [(line.first.row, line.first.tuned) for line in done] == [
        ("lightgbm", False), ("lightgbm", True), ("unet", False),
    ]  # fmt: skip


def test_scores_are_means_over_seeds_of_pooled_counts(done, table):
    line = done[-1]
    entry = table[(table["row"] == "unet") & (table["value"] == "snow")].iloc[0]
    pooled = [np.sum(kept.strata["surface"]["snow"], axis=0) for kept in line.ok]
    each = scores.scores(np.array(pooled))
    for name in scores.SCORES:
        assert entry[name] == pytest.approx(each[name].mean())
    clear, false, missed, cloud = np.transpose(pooled).astype(float)
    assert entry["false_alarm_rate"] == pytest.approx((false / (clear + false)).mean())
    assert entry["miss_rate"] == pytest.approx((missed / (cloud + missed)).mean())
    assert entry["pixels"] == np.sum(pooled[0])
    assert entry["cloud"] == missed[0] + cloud[0]
    assert entry[["seeds", "scenes"]].tolist() == [2, 4]
    assert entry["low"] < entry["score"] == entry["jaccard"] < entry["high"]


def test_what_is_shown_is_the_rate_that_is_defined(table):
    shown = table.set_index(["row", "tuned", "stratum", "value"]).loc["unet", False]["shown"]
    assert set(shown["cloud_side"]) == set(shown["cloud_size"]) == {"recall"}
    assert set(shown["clear_side"]) == {"specificity"}
    assert set(shown["surface"][["sea", "snow"]]) == {"jaccard"}
    side = table[table["stratum"] == "clear_side"]
    assert side["score"].to_numpy() == pytest.approx(1 - side["false_alarm_rate"].to_numpy())
    assert side["miss_rate"].isna().all()


def test_scenes_without_the_stratum_are_left_out_of_its_interval(table):
    forest = table[table["value"] == "Forest"]
    assert set(forest["scenes"]) == {1}
    assert forest["low"].isna().all()
    assert forest["score"].notna().all()


def test_tables_are_written(done, table, tmp_path):
    read = pd.read_csv(write_strata(table, tmp_path))
    assert list(read.columns) == list(COLUMNS)
    assert len(read) == len(table) == len(table.drop_duplicates(["row", "tuned", "stratum", "value"]))
    shapes = shape_table(done)
    assert len(pd.read_csv(write_shapes(shapes, tmp_path))) == len(shapes)


def test_shapes_hold_every_score_with_its_interval(done):
    shapes = shape_table(done)
    mine = shapes[shapes["row"] == "unet"].set_index("score")
    assert set(mine.index) == {*boundary.SCORES, *spectrum.SCORES, *fraction.SCORES}
    each = [spectrum.scores({o: np.sum(s, axis=0) for o, s in kept.spectrum.items()}) for kept in done[-1].ok]
    assert mine["mean"][spectrum.FINEST] == pytest.approx(np.mean([one[spectrum.FINEST] for one in each]))
    assert (mine["low"] <= mine["mean"]).all()
    assert (mine["mean"] <= mine["high"]).all()
    assert (shapes["low"][shapes["score"].str.contains("rmse")] >= 0).all()


def test_panels_hold_what_has_enough_pixels(table):
    best = table.drop_duplicates(["row", "stratum", "value"], keep="last")
    scene = _scene(best)
    assert [_name(*name) for name in scene.columns] == [
        "biome: Forest", "biome: Water", "surface: sea", "surface: snow", "smoke",
    ]  # fmt: skip
    tuned = best[(best["row"] == "lightgbm") & (best["value"] == "snow")].iloc[0]
    assert bool(tuned["tuned"])
    assert scene.loc["lightgbm", ("surface", "snow", "jaccard")] == tuned["score"]
    assert {name[0] for name in _cloud(best).columns} == {"cloud_size", "cloud_side", "clear_side"}
    alarms = _alarms(best)
    assert [name[:2] for name in alarms.columns] == [("surface", "snow"), ("smoke", "yes")]
    assert alarms.loc["lightgbm", ("surface", "snow", "jaccard")] == tuned["false_alarm_rate"]
    assert (best[best["value"] == "rock"]["pixels"] < FEWEST).all()


def test_the_picture_is_drawn_where_there_is_something(table, tmp_path):
    path = tmp_path / "strata.png"
    assert heatmap(table.iloc[:0], path) is None
    assert not path.exists()
    assert heatmap(table, path) == path
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("keep", [("surface",), ("cloud_size", "clear_side"), ("surface", "smoke")])
def test_the_picture_is_drawn_of_some_strata(table, tmp_path, keep):
    assert heatmap(table[table["stratum"].isin(keep)], tmp_path / "strata.png") is not None
