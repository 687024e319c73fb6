"""Tests of benchmark/studies/study_table.py, benchmark/_draws.py, _contrasts.py and _confuser_rates.py."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from benchmark import record, splits, stats
from benchmark.api import digest
from benchmark.plan import Plan
from benchmark.record import FAILED, OK, Record
from benchmark.scores import jaccard
from benchmark.studies._confuser_rates import ALARM, MISS, confusers
from benchmark.studies._contrasts import (
    BELOW,
    ITSELF,
    MEAN,
    NEVER,
    OTHERS,
    REACHED,
    against,
    crossings,
    drops,
    monotone,
    reach,
    references,
    to_first,
)
from benchmark.studies._draws import Stack, draw, estimate, interval, mean_of, shared
from benchmark.studies.arms import words
from benchmark.studies.study_table import COLUMNS, doubted, gather, readable, study, without_score, write_study
from tests.record_factory import Spec, make_cell

PIXELS = 10**6
ROWS = {"lightgbm": "boosting", "unet": "cnn", "prithvi": "foundation", "prithvi-random": "foundation"}


def counts_of(score):
    """Return the counts of a patch of which the macro Jaccard index is this."""
    right = round(PIXELS * 2 * score / (1 + score))
    return [right, PIXELS - right, PIXELS - right, right]


def make_split(out, train, per_scene=2):
    """Write a split file with so many train patches and return it."""
    ids = [f"t{i}" for i in range(train)]
    path = out / f"train{train}.split.json"
    parts = {"train": tuple(ids), "val": ("v",), "test": ("w",)}
    scenes = {one: f"s{i // per_scene}" for i, one in enumerate(ids)} | {"v": "sv", "w": "sw"}
    splits.write(splits.Split("scene", "data", parts, {one: one for one in scenes}, scenes), path)
    return path


def make_arm(out, arm, scores, train=10, seeds=(0,), scenes=6, spread=0.0, same="", prefix="scene", **changes):
    """Write the records of an arm and return its plan.

    Args:
        scores: row -> score, a function (seed, scene) -> score, or None for a failed run.
        same: name of the cells' content where it is not that of the arm.
        spread: of scenes, the same for every row.
        changes: of records.
    """
    cells = []
    for row, score in scores.items():
        for seed in seeds:
            cell = make_cell(Spec(row, ROWS.get(row, "forest")), seed)
            cell = replace(cell, split=digest(same or str(arm)), control="prithvi-random" if row == "prithvi" else "")
            cells.append(cell)
            names = [f"{prefix}{i}" for i in range(scenes)]
            value = score if callable(score) else lambda seed, i, score=score: score + spread * (i - (scenes - 1) / 2)
            told = {"status": FAILED, "reason": "it broke"}
            if score is not None:
                counts = [counts_of(value(seed, i)) for i in range(scenes)]
                told = {"status": OK, "patches": [f"p{one}" for one in names], "scenes": names, "counts": counts}
            record.write(Record(cell.key, asdict(cell), **(told | changes.get(row, {}))), cell.folder(out))
    name = "-".join(filter(None, ("synthetic-study", words(arm))))
    return Plan(name, tuple(cells), out / "data.zarr", make_split(out, train), suite="study", arm=arm)


def noisy(level, seed_sd=0.004, scene_sd=0.02, own=0.004, phase=0):
    """Return a score with seeds and scenes of its own, and the difficulty of scenes that all rows share."""

    def score(seed, scene):
        common = scene_sd * np.sin(7 * scene)
        return float(level + common + seed_sd * np.cos(3 * seed) + own * np.sin(seed + 5 * scene + phase))

    return score


@pytest.mark.parametrize("seeds", [1, 3])
def test_with_one_subset_the_intervals_are_those_of_stats(seeds):
    rng = np.random.default_rng(3)
    two = [rng.integers(50, 500, (1, seeds, 9, 4)) for _ in range(2)]
    stacks = [Stack((1,), tuple(range(seeds)), tuple("abcdefghi"), each) for each in two]
    drawn = [draw(stack, jaccard) for stack in stacks]
    expected = [stats.resample(each[0], jaccard) for each in two]
    own = stats.interval(expected[0])
    assert asdict(interval(drawn[0])) == pytest.approx(asdict(own))
    apart = stats.difference(expected[:1], expected[1:])
    assert asdict(estimate(drawn[0].minus(drawn[1]))) == pytest.approx(asdict(apart))


def test_intervals_hold_the_truth_with_scenes_seeds_and_subsets():
    rng = np.random.default_rng(11)
    held = []
    for _ in range(200):
        subset, seed, scene, rest = (
            sd * rng.normal(size=shape)
            for sd, shape in ((0.05, (4, 1, 1)), (0.01, (1, 3, 1)), (0.05, (1, 1, 8)), (0.02, (4, 3, 8)))
        )
        value = 0.5 + subset + seed + scene + rest
        counts = np.stack([np.round(value * 10**6), np.full(value.shape, 10**6)], -1)
        stack = Stack((0, 1, 2, 3), (0, 1, 2), tuple("abcdefgh"), counts)
        found = estimate(draw(stack, lambda drawn: drawn[..., 0] / drawn[..., 1]))
        held.append(found.low <= 0.5 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.995


def test_sides_are_held_against_each_other_on_what_they_share():
    rng = np.random.default_rng(0)
    one = Stack((1, 2, 3), (0, 1), ("a", "b", "c"), rng.integers(9, 99, (3, 2, 3, 4)))
    other = Stack((9,), (1, 2), ("b", "c", "d"), rng.integers(9, 99, (1, 2, 3, 4)))
    first, second = shared(one, other)
    assert (first.subsets, first.seeds, first.scenes) == ((1, 2, 3), (1,), ("b", "c"))
    assert (second.subsets, second.seeds, second.scenes) == ((9,), (1,), ("b", "c"))
    np.testing.assert_array_equal(first.counts, one.counts[:, 1:, 1:])
    np.testing.assert_array_equal(second.counts, other.counts[:, :1, :2])
    several = replace(one, subsets=(3, 4, 5))
    assert shared(one, several)[0].subsets == (3,)
    assert shared(one, replace(one, subsets=(7, 8, 9))) is None
    assert shared(one, replace(one, scenes=("x", "y", "z"))) is None


def test_a_mean_over_settings_is_over_those_that_a_draw_has_pixels_of():
    counts = np.zeros((1, 1, 4, 4), int)
    counts[0, 0, :2] = counts_of(0.6)
    other = np.zeros((1, 1, 4, 4), int)
    other[0, 0, 2:] = counts_of(0.8)
    scenes = tuple("abcd")
    parts = [draw(Stack((0,), (0,), scenes, each), jaccard) for each in (counts, other)]
    assert np.isnan(parts[0].drawn).any(), "some draws have no scene of the first"
    whole = mean_of(parts)
    assert set(np.round(whole.drawn, 3)) == {0.6, 0.7, 0.8}
    assert estimate(whole).mean == pytest.approx(0.7, abs=1e-6)


# Curves on 10, 20, 40, 80, 160 patches. lightgbm ends at 0.80; prithvi passes it halfway (in the logarithm) between 40
# and 80, unet never does, prithvi-random is above from the first arm on.
PATCHES = (10, 20, 40, 80, 160)
CURVES = {
    "lightgbm": (0.60, 0.65, 0.70, 0.75, 0.80),
    "unet": (0.40, 0.45, 0.50, 0.55, 0.60),
    "prithvi": (0.70, 0.74, 0.78, 0.82, 0.84),
    "prithvi-random": (0.81, 0.82, 0.83, 0.84, 0.85),
}


@pytest.fixture(scope="module")
def efficiency(tmp_path_factory):
    out = tmp_path_factory.mktemp("efficiency")
    plans = []
    for place, patches in enumerate(PATCHES):
        for subset in (1, 2, 3):
            whole = patches == PATCHES[-1]
            shift = 0.0 if whole else 0.01 * (subset - 2)
            scores = {row: noisy(curve[place] + shift, own=0.0) for row, curve in CURVES.items()}
            percent = 100 * patches / PATCHES[-1]
            same = "whole" if whole else ""
            plans.append(make_arm(out, {"train": percent, "subset": subset}, scores, patches, (0, 1), same=same))
    return plans, out, gather(plans, out)


def test_the_table_has_a_line_for_each_row_and_arm(efficiency):
    table = study(efficiency[2])
    assert list(table.columns) == ["train", *COLUMNS]
    assert len(table) == len(PATCHES) * len(CURVES)
    last = table[table["train"] == 100].set_index("row")
    assert set(last["subsets"]) == {1}, "the whole train part is one subset, whoever drew it"
    assert set(last["n"]) == {2}
    first = table[table["train"] == 6.25].set_index("row")
    assert set(first["n"]) == {6}
    assert set(first["subsets"]) == {3}
    assert set(first["train_patches"]) == {10}
    assert set(first["train_scenes"]) == {5}
    unet = [counts for seed in (0, 1) for subset in (-0.01, 0, 0.01) for counts in [seeds_mean(0.4 + subset, seed)]]
    assert first.loc["unet", "jaccard"] == pytest.approx(np.mean(unet), abs=1e-5)
    assert (table["jaccard_low"] < table["jaccard"]).all()
    assert (table["jaccard"] < table["jaccard_high"]).all()


def seeds_mean(level, seed):
    pooled = np.sum([counts_of(noisy(level, own=0.0)(seed, scene)) for scene in range(6)], axis=0)
    return float(jaccard(pooled))


def test_planted_curves_give_the_planted_crossings(efficiency):
    table = crossings(efficiency[2]).set_index(["row", "reference"])
    prithvi = table.loc[("prithvi", "lightgbm")]
    assert prithvi["verdict"] == REACHED
    assert prithvi["patches"] == pytest.approx(math.sqrt(40 * 80), rel=0.02)
    assert 20 < prithvi["patches_low"] < prithvi["patches"] < prithvi["patches_high"] < 160
    assert prithvi["target"] == pytest.approx(0.80, abs=0.02)
    assert prithvi["full_patches"] == 160
    unet = table.loc[("unet", "lightgbm")]
    assert unet["verdict"] == NEVER
    assert unet[["patches", "patches_low", "patches_high"]].isna().all()
    random = table.loc[("prithvi-random", "lightgbm")]
    assert (random["verdict"], random["patches"], random["patches_low"]) == (
        BELOW,
        pytest.approx(10),
        pytest.approx(10),
    )
    assert len(table) == len(CURVES) * (len(CURVES) - 1)


def test_an_end_of_the_interval_beyond_the_arms_is_open(tmp_path):
    """The reference varies from scene to scene, so that it is not resolved whether the other one reaches it."""
    wild = noisy(0.80, own=0.05)
    plans = [
        make_arm(tmp_path, {"train": patches}, {"lightgbm": wild, "unet": 0.70 + 0.003 * patches}, patches)
        for patches in (10, 20, 40)
    ]
    one = crossings(gather(plans, tmp_path)).set_index(["row", "reference"]).loc[("unet", "lightgbm")]
    assert one["verdict"] == REACHED
    assert math.isnan(one["patches_high"])


def test_a_reached_number_is_read_off_a_rising_line():
    np.testing.assert_allclose(monotone([1, 3, 2, 5]), [1, 2.5, 2.5, 5])
    assert np.isnan(monotone([1, math.nan, 2])).all()
    x = np.log([10.0, 20, 40])
    assert math.exp(reach(x, np.array([-1.0, 1, 2]))) == pytest.approx(math.sqrt(200))
    assert reach(x, np.array([0.5, 1, 2])) == x[0]
    assert math.isnan(reach(x, np.array([-3.0, -2, -1])))


def test_rows_are_held_against_references_in_every_arm(efficiency):
    found = efficiency[2]
    assert references(found) == [("unet", False), ("lightgbm", False), ("prithvi-random", False)]
    table = against(found)
    pairs = set(zip(table["row"], table["reference"], strict=True))
    assert pairs == {
        *((row, "unet") for row in ("lightgbm", "prithvi", "prithvi-random")),
        *((row, "lightgbm") for row in ("prithvi", "prithvi-random")),
        ("prithvi", "prithvi-random"),
    }
    first = table[table["train"] == 6.25].set_index(["row", "reference"])
    assert first.loc[("prithvi", "lightgbm"), "difference"] == pytest.approx(0.10, abs=0.005)
    assert first.loc[("prithvi", "lightgbm"), "holm"] < 0.05
    np.testing.assert_allclose(first["holm"], stats.holm(first["p"]))


def test_a_failed_run_takes_the_row_out_of_its_arm_alone(tmp_path):
    plans = [
        make_arm(tmp_path, {"train": 10, "subset": 1}, {"unet": 0.6, "lightgbm": 0.5}, 4, spread=0.01),
        make_arm(tmp_path, {"train": 10, "subset": 2}, {"unet": None, "lightgbm": 0.5}, 4, spread=0.01),
        make_arm(tmp_path, {"train": 100, "subset": 1}, {"unet": 0.7, "lightgbm": 0.6}, 40, spread=0.01),
    ]
    found = gather(plans, tmp_path)
    table = study(found).set_index(["train", "row"])
    assert (table.loc[(10, "unet"), "status"], table.loc[(10, "unet"), "reason"]) == (FAILED, "subset 2: it broke")
    assert math.isnan(table.loc[(10, "unet"), "jaccard"])
    assert table.loc[(100, "unet"), "jaccard"] == pytest.approx(0.7, abs=1e-3)
    (said,) = without_score(found)
    assert said == "**unet**: failed: subset 2: it broke (1 of 2 arms, first 10 % of the train scenes)"
    assert crossings(found).set_index(["row", "reference"]).index.tolist() == [("lightgbm", "unet")]


def test_differences_to_the_first_arm_are_those_of_the_table(tmp_path):
    level = {"hls": 0.7, "study": 0.65, "five": 0.7001}
    plans = [
        make_arm(
            tmp_path, {"bands": bands}, {"unet": noisy(one, phase=place), "lightgbm": noisy(one - 0.1)}, seeds=(0, 1)
        )
        for place, (bands, one) in enumerate(level.items())
    ]
    found = gather(plans, tmp_path)
    table, scores = to_first(found).set_index(["bands", "row"]), study(found).set_index(["bands", "row"])["jaccard"]
    assert set(table.index) == {(bands, row) for bands in ("study", "five") for row in ("unet", "lightgbm")}
    for (bands, row), line in table.iterrows():
        assert line["difference"] == pytest.approx(scores[bands, row] - scores["hls", row])
    np.testing.assert_allclose(table["holm"], stats.holm(table["p"]))
    assert table.loc[("study", "unet"), "holm"] < 0.05 < table.loc[("five", "unet"), "holm"]


def transfer(out, other="x"):
    """Return plans of two tested values with three scenes each: the scores inside and outside, by row."""
    values = {
        "Water": {"unet": (0.8, 0.7), "lightgbm": (0.75, 0.74)},
        "Forest": {"unet": (0.9, 0.6), "lightgbm": (0.6, 0.6)},
    }
    plans = []
    for value, rows in values.items():
        for place, source in enumerate(("all", f"biome!={value}")):
            scores = {row: noisy(ends[place], own=0.0) for row, ends in rows.items()}
            plans.append(make_arm(out, {"domain": f"{source} -> biome={value}"}, scores, scenes=3, prefix=value))
    return plans


def test_a_drop_is_the_score_inside_less_that_outside(tmp_path):
    table = drops(gather(transfer(tmp_path), tmp_path)).set_index(["row", "value"])
    for (row, value), (inside, outside) in {
        ("unet", "biome=Water"): (0.8, 0.7),
        ("unet", "biome=Forest"): (0.9, 0.6),
        ("lightgbm", "biome=Forest"): (0.6, 0.6),
        ("unet", MEAN): (0.85, 0.65),
        ("lightgbm", MEAN): (0.675, 0.67),
    }.items():
        line = table.loc[(row, value)]
        sides = [np.mean([0.02 * np.sin(7 * scene) for scene in range(3)]) + side for side in (inside, outside)]
        assert line["inside"] == pytest.approx(sides[0] + 0.004, abs=0.002)
        assert line["outside"] == pytest.approx(sides[1] + 0.004, abs=0.002)
        assert line["difference"] == pytest.approx(inside - outside, abs=0.002)
        assert line["difference"] == pytest.approx(line["inside"] - line["outside"])
    assert (table.xs(MEAN, level="value")["scenes"] == 6).all()
    assert (table.drop(MEAN, level="value")["scenes"] == 3).all()


def sensors(out, third=()):
    """Return plans of two tested values: what trained on the value alone and on all, and on one other or more."""
    levels = {"a": {"a": 0.9, "all": 0.8, "b": 0.6, **dict(third)}, "b": {"a": 0.5, "all": 0.6, "b": 0.6}}
    plans = []
    for value, sources in levels.items():
        for source, level in sources.items():
            said = source if source == "all" else f"sensor={source}"
            arm = {"domain": f"{said} -> sensor={value}"}
            plans.append(make_arm(out, arm, {"unet": noisy(level, own=0.0)}, scenes=3, prefix=value))
    return plans


def test_every_pair_of_sources_has_its_drop(tmp_path):
    keys = ["value", "source_inside", "source"]
    told = drops(gather(sensors(tmp_path), tmp_path)).set_index(keys)["difference"]
    expected = {
        ("sensor=a", "sensor=a", "sensor=b"): 0.3,
        ("sensor=a", "all", "sensor=b"): 0.2,
        ("sensor=b", "all", "sensor=a"): 0.1,
        ("sensor=b", "sensor=b", "sensor=a"): 0.1,
        (MEAN, ITSELF, OTHERS): 0.2,
        (MEAN, "all", OTHERS): 0.15,
    }
    assert told.to_dict() == pytest.approx(expected, abs=0.002)
    backwards = drops(gather(sensors(tmp_path)[::-1], tmp_path)).set_index(keys)["difference"]
    assert backwards.to_dict() == pytest.approx(told.to_dict())


def test_several_sources_of_a_value_count_as_one_in_the_mean(tmp_path):
    table = drops(gather(sensors(tmp_path, {"c": 0.4}), tmp_path)).set_index(["value", "source_inside", "source"])
    assert table.loc[("sensor=a", "all", "sensor=b"), "difference"] == pytest.approx(0.2, abs=0.002)
    assert table.loc[("sensor=a", "all", "sensor=c"), "difference"] == pytest.approx(0.4, abs=0.002)
    mean = table.loc[(MEAN, "all", OTHERS)]
    assert mean["difference"] == pytest.approx((0.3 + 0.1) / 2, abs=0.002)
    assert mean["difference"] == pytest.approx(mean["inside"] - mean["outside"])
    assert mean["scenes"] == 6


def test_sides_tested_on_other_patches_have_no_drop(tmp_path):
    plans = transfer(tmp_path)
    plans[1] = make_arm(tmp_path, {"domain": "biome!=Water -> biome=Water"}, {"unet": 0.7}, scenes=2, prefix="Water")
    table = drops(gather(plans, tmp_path)).set_index(["row", "value"])
    assert math.isnan(table.loc[("unet", "biome=Water"), "difference"])
    assert ("unet", MEAN) not in table.index, "a mean is over all values"


def test_rates_are_those_of_the_strata(tmp_path):
    inside = [[60, 40, 30, 70], [50, 50, 30, 70], [40, 60, 0, 0], [0, 0, 30, 70]]
    whole = [[160, 50, 40, 160], [150, 55, 40, 160], [140, 75, 10, 90], [90, 10, 40, 160]]
    strata = {"smoke": {"yes": inside, "no": (np.array(whole) - inside).tolist()}, "phase": {"ice": inside}}
    plan = make_arm(tmp_path, {}, {"unet": 0.5}, scenes=4, unet={"counts": whole, "strata": strata})
    found = gather([plan], tmp_path)
    table = confusers(found).set_index(["kind", "stratum"])
    alarm = table.loc[(ALARM, "smoke")]
    assert alarm["rate"] == pytest.approx(150 / 300)
    assert alarm["beside"] == pytest.approx((10 + 5 + 15) / (110 + 105 + 115))
    assert alarm["difference"] == pytest.approx(alarm["rate"] - alarm["beside"])
    assert (alarm["pixels"], alarm["scenes"]) == (300, 3)
    miss = table.loc[(MISS, "phase")]
    assert (miss["rate"], miss["pixels"], miss["scenes"]) == (pytest.approx(0.3), 300, 3)
    assert (ALARM, "phase") not in table.index
    assert alarm["rate_low"] < alarm["rate"] < alarm["rate_high"]


def test_suspect_lines_are_marked_and_stay(tmp_path):
    plans = [
        make_arm(tmp_path, {"epochs": epochs}, {"majority": 0.5, "unet": score}, spread=0.01)
        for epochs, score in ((15, 0.4), (25, 0.7))
    ]
    for plan in plans:  # a floor is known by its family
        for cell in plan.cells:
            kept = record.read(cell.folder(tmp_path))
            if cell.row == "majority":
                record.write(kept, replace(cell, family="floor").folder(tmp_path))
    plans = [
        replace(plan, cells=tuple(replace(c, family="floor" if c.row == "majority" else c.family) for c in plan.cells))
        for plan in plans
    ]
    found = gather(plans, tmp_path)
    table = study(found)
    marked = table[table["suspect"] != ""]
    assert list(zip(marked["epochs"], marked["row"], strict=True)) == [(15, "unet")]
    assert marked["jaccard"].notna().all()
    assert "it does not beat majority" in doubted(found)[0]
    assert readable(found, table)[1]["15 epochs"].endswith(" ?")
    csv, page = write_study(found, table, tmp_path / "written")
    assert "Suspect (marked ?):" in page.read_text()
    assert len(pd.read_csv(csv)) == 4


def test_each_record_is_read_once(tmp_path, monkeypatch):
    plans = [make_arm(tmp_path, {"train": 100, "subset": one}, {"unet": 0.6}, same="whole") for one in (1, 2, 3)]
    read, seen = record.read, []
    monkeypatch.setattr(record, "read", lambda folder: seen.append(folder) or read(folder))
    found = gather(plans, tmp_path)
    assert [folder.parent.name for folder in seen if (folder / record.FILE).exists()] == ["unet"]
    assert study(found)["n"].tolist() == [1]
