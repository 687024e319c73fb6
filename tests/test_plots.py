"""Tests of benchmark/views/plots.py and benchmark/views/gallery.py."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark.api import CLOUD, IGNORE
from benchmark.views import plots
from benchmark.views._labels import name_points
from benchmark.views.gallery import COLOURS, choose_methods, choose_patches, gallery, tile
from benchmark.views.lines import lines
from benchmark.views.plots import DPI, FAMILIES, PLOTS, WIDTH, best_lines, canvas, look
from benchmark.views.tables import leaderboard
from tests.record_factory import REALISTIC, Spec, make_plan

PICTURES = {**PLOTS, "gallery": gallery}


LEFT_OUT = {"threshold-bt11", "random-forest-texture", "prithvi-tiny-frozen", "prithvi-300-random-frozen"}
SPECS = [spec for spec in REALISTIC if spec.row not in LEFT_OUT]


@pytest.fixture(scope="module")
def realistic(tmp_path_factory):
    out = tmp_path_factory.mktemp("realistic")
    plan = make_plan(out, SPECS)
    return leaderboard(plan, out), lines(plan, out)


@pytest.fixture(scope="module")
def drawn(realistic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return {name: draw(*realistic, folder / f"{name}.png") for name, draw in PICTURES.items()}


def colours_of(path):
    return {
        tuple(int(v) for v in rgb)
        for rgb in np.unique(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0)
    }


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_content_and_the_width_of_a_readme(drawn, name):
    picture = np.asarray(Image.open(drawn[name]).convert("L"))
    assert 0.005 < (picture < 200).mean() < 0.9
    if name != "curves":  # as wide as its panels
        assert picture.shape[1] >= WIDTH * DPI
    if name != "gallery":
        assert tuple(bytes.fromhex(FAMILIES["foundation"][0][1:])) in colours_of(drawn[name])


@pytest.mark.parametrize("name", PICTURES)
def test_without_a_score_nothing_is_drawn(tmp_path, name):
    plan = make_plan(tmp_path, [Spec("absent", status="not run", reason="no weights"), Spec("later", status="missing")])
    path = tmp_path / "picture.png"
    assert PICTURES[name](leaderboard(plan, tmp_path), lines(plan, tmp_path), path) is None
    assert not path.exists()


def test_a_suspect_row_stands_once_and_is_marked(tmp_path, monkeypatch):
    figures = []

    @contextmanager
    def seen(*given):
        with canvas(*given) as figure:
            figures.append(figure)
            yield figure

    monkeypatch.setattr(plots, "canvas", seen)
    plan = make_plan(tmp_path, [Spec("forest"), Spec("other"), Spec("absent", status="not run", reason="no weights")])
    frame = leaderboard(plan, tmp_path)
    frame["suspect"] = np.where(frame["row"] == "forest", "its outputs collapsed", "")
    plots.leaderboard(frame, lines(plan, tmp_path), tmp_path / "picture.png")
    (axes,) = figures[0].axes
    assert sorted(tick.get_text() for tick in axes.get_yticklabels()) == ["absent", "forest ?", "other"]
    assert "suspect" in axes.get_xlabel()


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "curves"])
def test_one_row_of_one_scene_without_interval(tmp_path, name):
    plan = make_plan(tmp_path, [Spec("forest")], scenes=1)
    assert PICTURES[name](leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "picture.png").exists()


def test_curves_need_an_epoch(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    assert PLOTS["curves"](leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "picture.png") is None


@pytest.mark.parametrize("name", ["leaderboard", "cost", "precision_recall"])
def test_thirty_rows(tmp_path, name):
    specs = [Spec(f"method-{i}", list(FAMILIES)[i % 7], 0.2 + i / 50, seconds=2.0**i) for i in range(30)]
    plan = make_plan(tmp_path, specs, size=16)
    path = PLOTS[name](leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "picture.png")
    assert Image.open(path).size[0] == 1350


def test_a_hundred_rows_are_named_or_counted(tmp_path, monkeypatch):
    rows = [f"prithvi-300-tl-nocoords-pretrained-unfrozen+number{i}" for i in range(100)]
    specs = [Spec(row, list(FAMILIES)[i % 7], 0.2 + i / 90, epochs=2) for i, row in enumerate(rows)]
    plan = make_plan(tmp_path, specs, scenes=2, per_scene=1, size=8)
    frame, found = leaderboard(plan, tmp_path), lines(plan, tmp_path)
    path = PLOTS["leaderboard"](frame, found, tmp_path / "picture.png")
    assert Image.open(path).size[1] >= 100 * 0.25 * DPI, "a line of text for each"
    monkeypatch.setattr(plots, "MOST", 6)
    path = PLOTS["curves"](frame, found, tmp_path / "picture.png")
    height = (0.4 + 2 * 2.2) * DPI
    assert Image.open(path).size[1] == pytest.approx(height, abs=1), "panels for six rows, five side by side"


def test_of_each_family_as_many_curves_as_kinds_of_dashes(realistic):
    many = [(line, None) for line in best_lines(*realistic) for _ in range(3)]
    kept = [line.first.family for line, _ in plots._leaders(many)]
    there = [line.first.family for line, _ in many]
    assert {family: kept.count(family) for family in kept} == {f: min(5, there.count(f)) for f in there}


def test_pictures_are_the_same_bytes_again(realistic, drawn, tmp_path):
    again = PLOTS["leaderboard"](*realistic, tmp_path / "again.png")
    assert again.read_bytes() == drawn["leaderboard"].read_bytes()


def test_global_state_of_matplotlib_is_left_alone(realistic, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    PLOTS["curves"](*realistic, tmp_path / "a.png")
    assert dict(mpl.rcParams) == before
    assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_an_unknown_family_is_drawn_in_black():
    assert look("mine") == ("#000000", "*")
    assert len({colour for colour, _ in FAMILIES.values()} | {"#000000"}) == 8
    assert len({marker for _, marker in FAMILIES.values()} | {"*"}) == 8


def test_names_do_not_overlap(tmp_path):
    from matplotlib.text import Text

    rng = np.random.default_rng(0)
    with canvas(tmp_path / "names.png", 5.0) as figure:
        axes = figure.subplots()
        points = [(f"method-{i}", float(x), float(y)) for i, (x, y) in enumerate(rng.normal(size=(14, 2)) / 5)]
        for _, x, y in points:
            axes.plot(x, y, "o")
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        figure.draw_without_rendering()
        name_points(axes, points)
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text).padded(-1) for text in axes.texts]
    assert len(boxes) == 14
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_best_lines_prefer_tuned_that_is_ok(tmp_path):
    specs = [
        Spec("a", skill=0.2),
        Spec("a", tuned=True, status="failed"),
        Spec("b", skill=0.5),
        Spec("b", skill=0.9, tuned=True),
    ]
    plan = make_plan(tmp_path, specs)
    best = best_lines(leaderboard(plan, tmp_path), lines(plan, tmp_path))
    assert [(line.first.row, line.first.tuned) for line in best] == [("a", False), ("b", True)]


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(1, 8))
def test_patches_are_distinct_in_order_of_cloud_and_of_number_wanted(fractions, wanted):
    mask = np.array([np.arange(100) < round(100 * f) for f in fractions], np.uint8).reshape(-1, 10, 10)
    chosen = choose_patches(mask, wanted)
    assert len(chosen) == len(set(chosen)) == min(wanted, len(fractions))
    cloud = mask[chosen].mean((1, 2))
    assert (np.diff(cloud) >= 0).all()
    mixed = ((mask.mean((1, 2)) >= 0.05) & (mask.mean((1, 2)) <= 0.95)).sum()
    if mixed >= wanted:
        assert ((cloud >= 0.05) & (cloud <= 0.95)).all()


def test_patches_without_truth_are_not_chosen():
    mask = np.full((3, 4, 4), IGNORE, np.uint8)
    mask[1] = CLOUD
    assert choose_patches(mask) == [1]


def test_every_family_is_in_the_gallery_before_a_second_of_one(realistic):
    best = best_lines(*realistic)
    chosen = choose_methods(best, wanted=7)
    assert {line.first.family for line in chosen} == set(FAMILIES)
    assert chosen == [line for line in best if line in chosen], "in the order of the table"


def test_tile_colours_every_kind_of_pixel():
    cloud, mask = np.array([[True, False, False, True, True]]), np.array([[1, 0, 1, 0, IGNORE]], np.uint8)
    expected = [COLOURS[kind] for kind in ("cloud", "clear", "missed cloud", "false cloud", "no truth")]
    assert tile(cloud, mask)[0].tolist() == [list(rgb) for rgb in expected]


def test_gallery_shows_both_kinds_of_error(drawn):
    assert set(COLOURS.values()) <= colours_of(drawn["gallery"])


def test_gallery_without_probabilities_is_not_drawn(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    (plan.cells[0].folder(tmp_path) / "probabilities.npy").unlink()
    assert gallery(leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "g.png") is None
