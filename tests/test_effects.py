"""Tests of benchmark/views/pairs.py, benchmark/views/effects.py and benchmark/views/_effects_plot.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from benchmark import record
from benchmark.views._effects_plot import against, forest
from benchmark.views.effects import COLUMNS, MEAN, effects, resampled, tell, write_effects
from benchmark.views.lines import lines
from benchmark.views.pairs import AGAINST, EFFECT, pairs
from benchmark.views.tables import leaderboard
from tests.record_factory import Spec, factorial, make_plan


def table_of(out, specs, **options):
    plan = make_plan(out, specs, **{"size": 24, **options})
    return plan, effects(leaderboard(plan, out), lines(plan, out))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The classical rows and 62 foundation models, three seeds."""
    out = tmp_path_factory.mktemp("factorial")
    plan, table = table_of(out, factorial(), scenes=6, per_scene=1)
    return plan, out, table


def row(name, skill=0.4, tuned=False, weights="w", seeds=(0,), **levels):
    plain = {"model": "prithvi", "size": "300", "encoding": "plain", "start": "random", "mode": "frozen"}
    factors = {**plain, "input scale": "own", "skip": "off", **levels}
    return Spec(name, "foundation", skill, tuned=tuned, factors=factors, weights=weights, seeds=seeds)


def test_pairs_differ_in_one_factor_and_every_such_pair_is_there(made):
    plan, out, _ = made
    found = [pair for pair in pairs(lines(plan, out)) if pair.kind == EFFECT]
    for pair in found:
        one, other = pair.first.first.factors, pair.second.first.factors
        assert sum(one[name] != other[name] for name in one) == 1, pair
    count = pd.Series([pair.effect for pair in found]).value_counts().to_dict()
    assert count == {
        "start: pretrained - random": 28,
        **{f"mode: {mode} - frozen": 13 for mode in ("unfrozen", "lora", "head")},  # 7 places, 2 starts, less a repeat
        **{f"size: {pair}": 8 for pair in ("600 - 300", "300 - 100", "100 - tiny")},
        "coordinates: on - off": 8 + 8,
        "encoding: tl - plain checkpoint": 4,
        "skip: on - off": 4,
        "input scale: train - own": 4,
    }


def test_the_difference_is_that_of_the_leaderboard(made):
    plan, out, table = made
    frame = leaderboard(plan, out).set_index("row")
    singles = table[table["kind"] != MEAN]
    for score, column in (("jaccard", "jaccard"), ("boundary", "boundary_jaccard_2")):
        expected = frame.loc[singles["first"], column].to_numpy() - frame.loc[singles["second"], column].to_numpy()
        np.testing.assert_allclose(singles[score], expected, atol=1e-12)
    times = frame.loc[singles["first"], "fit_s"].to_numpy() / frame.loc[singles["second"], "fit_s"].to_numpy()
    np.testing.assert_allclose(singles["time_ratio"], times)
    assert singles["energy_ratio"].isna().all(), "no device, no energy"
    assert set(table["seeds"]) == {3}
    assert set(table["scenes"]) == {6}


def test_the_mean_is_over_the_settings_above_it_and_narrower(made):
    table = made[2]
    for effect, group in table[table["kind"] != AGAINST].groupby("effect"):
        single, mean = group[group["kind"] == EFFECT], group[group["kind"] == MEAN]
        assert len(mean) == 1, effect
        assert group["kind"].iloc[-1] == MEAN
        assert mean["jaccard"].item() == pytest.approx(single["jaccard"].mean())
        assert mean["settings"].item() == len(single)
        width = group["jaccard_high"] - group["jaccard_low"]
        assert width.iloc[-1] < width.iloc[:-1].mean(), effect


def test_a_large_effect_is_resolved_and_none_is_not(made):
    table = made[2].set_index("effect")
    start = table.loc["start: pretrained - random"].iloc[-1]
    assert (start["resolved"], start["jaccard_low"] > 0) == ("yes", True)
    assert table.loc["coordinates: on - off"].iloc[-1]["resolved"] == "not resolved"
    skip = table.loc["skip: on - off"].iloc[-1]
    assert skip["boundary_resolved"] == "yes"
    inside = (table["jaccard_low"] <= 0) & (table["jaccard_high"] >= 0)
    assert ((table["resolved"] == "not resolved") == inside).all()


def test_every_foundation_model_is_held_against_every_classical_row(made):
    table = made[2][made[2]["kind"] == AGAINST]
    assert table.groupby("second")["first"].nunique().to_dict() == {"unet": 62, "lightgbm": 62, "random-forest": 62}
    assert not table["first"].isin(["unet", "lightgbm", "random-forest"]).any()


def test_coordinates_are_told_from_checkpoints_by_the_weights(tmp_path):
    specs = [row("a", encoding="tl"), row("b"), row("c", encoding="tl-nocoords")]
    kinds = {
        "nothing new: tl-nocoords is the same network as plain": (specs, ["a", "c"], "coordinates: on - off"),
        "tiny and 100 have no other control": (specs[:2], ["a", "b"], "coordinates: on - off"),
        "weights of its own": (
            [specs[0], row("b", weights="x")],
            ["a", "b"],
            "encoding: tl - plain checkpoint",
        ),
    }
    for place, (why, (some, names, effect)) in enumerate(kinds.items()):
        plan = make_plan(tmp_path / str(place), some, size=16)
        (pair,) = pairs(lines(plan, tmp_path / str(place)))
        assert ([pair.first.first.row, pair.second.first.row], pair.effect) == (names, effect), why


def test_a_network_under_two_names_is_one_setting(tmp_path):
    """From random weights, tl without coordinates is the plain backbone."""
    kinds = list(product(("plain", "tl-nocoords"), ("pretrained", "random"), ("frozen", "head")))
    specs = [row("-".join(kind), encoding=kind[0], start=kind[1], mode=kind[2]) for kind in kinds]
    plan = make_plan(tmp_path, specs, size=16)
    found = [(pair.effect, pair.first.first.row) for pair in pairs(lines(plan, tmp_path))]
    heads = [f"{encoding}-{start}-head" for encoding, start, mode in kinds if mode == "head"]
    assert [first for effect, first in found if effect == "mode: head - frozen"] == heads[:-1]
    assert len([first for effect, first in found if effect == "start: pretrained - random"]) == 4
    alone = replace(plan, cells=tuple(cell for cell in plan.cells if cell.factors["encoding"] == "tl-nocoords"))
    found = [pair.first.first.row for pair in pairs(lines(alone, tmp_path)) if pair.effect == "mode: head - frozen"]
    assert found == heads[2:], "told where the plain rows are not"


def test_tuned_lines_are_compared_with_tuned_ones_and_not_averaged_with_defaults(tmp_path):
    kinds = product((False, True), ("pretrained", "random"), ("frozen", "head"))
    specs = [row(f"{start}-{mode}", tuned=tuned, start=start, mode=mode) for tuned, start, mode in kinds]
    _, table = table_of(tmp_path, specs)
    assert set(table.groupby(["effect", "tuned"])["kind"].apply(list).map(tuple)) == {(EFFECT, EFFECT, MEAN)}
    assert table.loc[table["tuned"], "setting"].str.endswith("(tuned)").all()
    _, table = table_of(tmp_path / "mixed", [row("a", start="pretrained", tuned=True), row("b")])
    assert table.empty


def test_lines_of_other_bands_or_without_an_end_are_no_pair(tmp_path):
    specs = [row("a", start="pretrained"), row("b")]
    plan = make_plan(tmp_path, specs, size=16)
    assert len(pairs(lines(plan, tmp_path))) == 1
    other = replace(plan, cells=(plan.cells[0], replace(plan.cells[1], bands=("S1", "S2"))))
    folder = other.cells[1].folder(tmp_path)
    record.write(record.read(plan.cells[1].folder(tmp_path)), folder)
    assert pairs(lines(other, tmp_path)) == []
    failed = make_plan(tmp_path / "failed", [specs[0], replace(specs[1], status="failed")], size=16)
    assert pairs(lines(failed, tmp_path / "failed")) == []


def test_only_common_seeds_and_scenes_count(tmp_path):
    plan = make_plan(tmp_path, [row("a", start="pretrained", seeds=(0, 1, 2)), row("b", seeds=(1, 2))], size=24)
    folder = next(cell for cell in plan.cells if (cell.row, cell.seed) == ("b", 1)).folder(tmp_path)
    for cell in plan.cells:
        kept = record.read(cell.folder(tmp_path))
        keep = [place for place, scene in enumerate(kept.scenes) if scene != "scene1"]
        if cell.row == "b":
            cut = {name: [getattr(kept, name)[place] for place in keep] for name in ("patches", "scenes", "counts")}
            boundary = {d: [each[place] for place in keep] for d, each in kept.boundary.items()}
            record.write(replace(kept, **cut, boundary=boundary), cell.folder(tmp_path))
        (cell.folder(tmp_path) / "probabilities.npy").unlink()
    line = effects(leaderboard(plan, tmp_path), lines(plan, tmp_path)).iloc[0]
    assert (line["seeds"], line["scenes"]) == (2, 3)
    assert not np.isnan(line["jaccard_low"])
    record.write(replace(record.read(folder), boundary={}), folder)
    line = effects(leaderboard(plan, tmp_path), lines(plan, tmp_path)).iloc[0]
    assert np.isnan(line["boundary"])
    assert not np.isnan(line["jaccard"])


def test_the_mean_is_over_settings_of_equal_epochs(tmp_path):
    sizes = ("tiny", "100", "300")
    specs = [row(f"{size}-{start}", 0.2 if start == "random" else 0.6, size=size, start=start)
             for size, start in product(sizes, ("pretrained", "random"))]  # fmt: skip
    plan = make_plan(tmp_path, specs, size=16)
    cut = next(cell for cell in plan.cells if cell.row == "tiny-random")
    cell = replace(cut, budget=replace(cut.budget, epochs=5))
    record.write(record.read(cut.folder(tmp_path)), cell.folder(tmp_path))
    plan = replace(plan, cells=tuple(cell if one is cut else one for one in plan.cells))
    table = effects(leaderboard(plan, tmp_path), lines(plan, tmp_path))
    table = table[table["effect"] == "start: pretrained - random"]
    mean = table[table["kind"] == MEAN].iloc[0]
    assert (mean["setting"], mean["settings"]) == ("mean of 2 settings of equal epochs", 2)
    even = table[(table["kind"] == EFFECT) & ~table["setting"].str.contains("against")]
    assert mean["jaccard"] == pytest.approx(even["jaccard"].mean())


def test_energy_is_that_of_fitting_and_told_only_where_all_of_it_ran(tmp_path):
    """Features may have been there, so that their energy was spent in another cell."""
    plan = make_plan(tmp_path, [row("a", start="pretrained", seeds=(0, 1)), row("b", seeds=(0, 1))], size=16)
    for cell in plan.cells:
        kept = record.read(cell.folder(tmp_path))
        spent = {"fit": 300.0 if cell.row == "a" else 100.0, "predict": 5000.0}
        record.write(replace(kept, energy=spent), cell.folder(tmp_path))
    line = effects(leaderboard(plan, tmp_path), lines(plan, tmp_path)).iloc[0]
    assert (line["energy_ratio"], line["time_ratio"]) == (pytest.approx(3), pytest.approx(1))
    kept = record.read(plan.cells[0].folder(tmp_path))
    record.write(replace(kept, laps={**kept.laps, "encode": [2.0]}), plan.cells[0].folder(tmp_path))
    line = effects(leaderboard(plan, tmp_path), lines(plan, tmp_path)).iloc[0]
    assert np.isnan(line["energy_ratio"])
    assert line["time_ratio"] > 1
    record.write(replace(kept, energy={"fit": None, "predict": None}), plan.cells[0].folder(tmp_path))
    assert effects(leaderboard(plan, tmp_path), lines(plan, tmp_path))["energy_ratio"].isna().all()


def test_unequal_epochs_are_told(tmp_path):
    plan = make_plan(tmp_path, [row("a", start="pretrained"), row("b")], size=16)
    (pair,) = pairs(lines(plan, tmp_path))
    assert pair.setting == "prithvi 300 frozen"
    cell = replace(plan.cells[1], budget=replace(plan.cells[1].budget, epochs=5))
    record.write(record.read(plan.cells[1].folder(tmp_path)), cell.folder(tmp_path))
    (pair,) = pairs(lines(replace(plan, cells=(plan.cells[0], cell)), tmp_path))
    assert pair.setting == "prithvi 300 frozen (20 epochs against 5)"


def test_what_is_written(made, tmp_path):
    table = made[2]
    csv, page = write_effects(table, tmp_path)
    again = pd.read_csv(csv)
    assert list(again.columns) == list(COLUMNS)
    assert len(again) == len(table)
    text = page.read_text()
    assert "over scenes and seeds" in text
    assert text.count("not resolved |") == (table[["resolved", "boundary_resolved"]] == "not resolved").sum().sum()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    write_effects(table[:0], tmp_path)
    assert not csv.exists()
    assert not page.exists()


def test_one_seed_is_told_and_one_scene_has_no_interval(tmp_path):
    specs = [row("a", start="pretrained"), row("b")]
    _, table = table_of(tmp_path, specs)
    write_effects(table, tmp_path)
    assert "over scenes only: there is one seed" in (tmp_path / "effects.md").read_text()
    _, table = table_of(tmp_path / "single", specs, scenes=1)
    assert resampled(table) == "no interval, which takes two scenes"
    (entry,) = tell(table, (EFFECT,))
    assert (entry["resolved"], "[" in entry["Jaccard"]) == ("", False)
    assert forest(table, tmp_path / "single.png").exists()


def test_pictures_grow_with_their_lines_and_are_not_drawn_without(made, tmp_path):
    table = made[2]
    sizes = {}
    for draw, kinds in ((forest, (EFFECT, MEAN)), (against, (AGAINST,))):
        path = draw(table, tmp_path / f"{draw.__name__}.png")
        few = draw(table[table["kind"].isin(kinds)][:4], tmp_path / "few.png")
        sizes[draw.__name__] = [Image.open(one).size for one in (path, few)]
        assert draw(table[:0], tmp_path / "none.png") is None
        assert draw(table[~table["kind"].isin(kinds)], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
    assert all(many[0] == few[0] == 1350 and many[1] > 20 * 62 > few[1] for many, few in sizes.values())


@pytest.mark.parametrize(
    ("low", "high", "resolved"), [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.3, False), (np.nan, np.nan, False)]
)
def test_only_what_is_resolved_is_drawn_in_full(made, tmp_path, monkeypatch, low, high, resolved):
    table = made[2][made[2]["kind"] == EFFECT][:1].assign(jaccard_low=low, jaccard_high=high, boundary=np.nan)
    drawn = []
    monkeypatch.setattr(Axes, "plot", lambda axes, *values, **look: drawn.append(look["alpha"]))
    forest(table, tmp_path / "one.png")
    assert len(drawn) == 2, "interval and point"
    assert all((alpha == 1) == resolved for alpha in drawn)
