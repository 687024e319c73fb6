"""Tests of benchmark/views/cards.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from benchmark import record, splits
from benchmark.record import OK, PROBABILITIES, Record
from benchmark.views._card_sections import worst_patches
from benchmark.views.cards import write_cards
from benchmark.views.lines import INTERVAL, lines
from benchmark.views.strata_table import completed, strata_table
from benchmark.views.tables import leaderboard
from tests.record_factory import REALISTIC, Spec, make_plan

SPECS = [
    *(Spec("lightgbm", "boosting", 0.4, tuned=tuned, seeds=(0, 1), parameters=24_000) for tuned in (False, True)),
    Spec("fm:some/net", "foundation", 0.6, device="cuda", factors={"input scale": "own"}, weights="a" * 64, note="a|b"),
    Spec("half", skill=0.8),
    Spec("half", tuned=True, status="timeout", reason="ended after 60 s"),
    replace(REALISTIC[16], row="prithvi-300"),
    Spec("missing", status="missing"),
]


def make(out, plan):
    frame, found = leaderboard(plan, out), lines(plan, out)
    return write_cards(plan, frame, found, strata_table(completed(frame, found)), out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("cards")
    plan = make_plan(out, SPECS, scenes=6, per_scene=2)
    return plan, out, make(out, plan).parent


def section(folder, name, title):
    """Return the text of a section of a card."""
    return (folder / f"{name}.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text):
    """Return the cells of a table's lines, without its head."""
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return table[2:]


def test_every_row_has_a_card_that_the_index_leads_to(written):
    _, _, folder = written
    links = dict(re.findall(r"\[([^]]+)\]\(([^)]+)\)", (folder / "README.md").read_text()))
    assert links == {
        **{name: f"{name}.md" for name in ("lightgbm", "half", "prithvi-300", "missing")},
        "fm:some/net": "fm_some_net.md",
    }
    pictures = {"lightgbm.png", "half.png", "fm_some_net.png"}
    assert {path.name for path in folder.iterdir()} == {*links.values(), *pictures, "README.md"}


def test_scores_are_those_of_the_leaderboard(written):
    plan, out, folder = written
    frame = leaderboard(plan, out)
    for (_, entry), title in zip(frame[frame["row"] == "lightgbm"].iterrows(), ("default", "tuned"), strict=True):
        score, low, high = (f"{entry[name]:.3f}" for name in INTERVAL)
        assert f"| macro Jaccard, {title} | {score} [{low}, {high}] |" in (folder / "lightgbm.md").read_text()
    assert f"{entry['kuiper']:.3f}" == {r[0]: r[2] for r in rows(section(folder, "lightgbm", "Scores"))}["kuiper"]
    assert [r[0] for r in rows(section(folder, "lightgbm", "Calibration"))] == ["ECE", "brier"]


def test_the_worst_patches_of_the_first_seed_are_told_and_linked(written):
    plan, out, folder = written
    kept = record.read(next(c for c in plan.cells if (c.row, c.tuned, c.seed) == ("lightgbm", True, 0)).folder(out))
    text = section(folder, "lightgbm", "Worst patches")
    assert "![worst patches](lightgbm.png)" in text
    assert "The 10 of 12 test patches" in text
    table = rows(text)
    assert [r[1] for r in table] == [kept.patches[place] for place, _ in worst_patches(kept)]
    assert [r[2] for r in table] == [r[1].split("_")[0] for r in table], "the scene of each"
    tn, fp, fn, tp = kept.counts[kept.patches.index(table[0][1])]
    assert table[0][4:] == [f"{100 * n / (tn + fp + fn + tp):.1f}" for n in (fn + tp, fp + tp, fp, fn)]


def test_the_worst_are_sorted_by_score_then_by_id_and_have_truth():
    counts = [[5, 5, 5, 5], [9, 0, 0, 9], [0, 0, 0, 0], [5, 5, 5, 5], [0, 9, 9, 0]]
    kept = Record("", {}, OK, patches=["d", "a", "none", "c", "b"], counts=counts)
    assert [kept.patches[place] for place, _ in worst_patches(kept)] == ["b", "c", "d", "a"]
    assert worst_patches(kept, 1) == [(4, 0.0)]


def test_strata_are_sorted_from_the_worst_and_few_pixels_show_no_score(written):
    table = rows(section(written[2], "lightgbm", "Strata"))
    known = [r for r in table if r[2]]
    assert [float(r[2]) for r in known] == sorted(float(r[2]) for r in known)
    assert all((int(r[5].replace(",", "")) < 1000) == (r[2] == r[3] == r[4] == "") for r in table)
    assert table[: len(known)] == known
    assert len(known) < len(table), "the plan has a class of few pixels"


def test_a_card_tells_what_the_row_saw_spent_and_cost(written):
    folder = written[2]
    saw = section(folder, "fm_some_net", "What it saw")
    for told in ("| bands | S1, S2, S3 |", f"| weights, SHA-256 | {'a' * 64} |", "input scale own", "| seeds | 0 |"):
        assert told in saw, told
    assert "12 patches of 6 scenes" in saw
    assert "depth 8; scales 1, 2; inner {rate 0.1}" in saw
    assert r"| note | a\|b |" in (folder / "fm_some_net.md").read_text()
    budget = section(folder, "lightgbm", "Budget")
    for told in ("| epochs | 20 |", "| search, at most | 5 trials, 60 s |", "| trials | 3 complete |", "200,000"):
        assert told in budget, told
    cost = section(folder, "fm_some_net", "Cost")
    assert "Example GPU" in cost
    assert ["energy J", "1,050"] in rows(cost)
    assert "VRAM" not in section(folder, "lightgbm", "Cost"), "what was not measured is not told"


def test_a_split_that_is_kept_tells_of_training(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")], size=16)
    parts = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
    scenes = dict.fromkeys("ab", "one") | {"c": "two", "d": "3"}
    splits.write(splits.Split("scene", "data", parts, {patch: patch for patch in "abcd"}, scenes), plan.split)
    assert "| train | 2 patches of 1 scenes |" in section(make(tmp_path, plan).parent, "forest", "What it saw")


def test_a_row_that_was_not_run_says_so_and_why(written):
    folder = written[2]
    text = (folder / "prithvi-300.md").read_text()
    assert "| macro Jaccard, default | not run |" in text
    assert "why no score | the weights are not here" in text
    assert "## Worst patches" not in text
    assert "weights, SHA-256" not in text, "what is not here is not called none"
    assert "no record yet" in (folder / "missing.md").read_text()
    half = (folder / "half.md").read_text()
    assert "| tuned, why no score | ended after 60 s |" in half
    assert "of its defaults, seed 0" in half


def test_circular_rows_are_marked(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest"), Spec("fair")], size=16)
    cells = (replace(plan.cells[0], circular=("S8",)), plan.cells[1])
    folder = make(tmp_path, replace(plan, cells=cells)).parent
    assert (folder / "forest.md").read_text().startswith("# forest †\n\n† circular: it sees bands")
    assert "†" not in (folder / "fair.md").read_text()


def test_without_arrays_there_is_no_picture_and_the_card_says_so(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")], size=16)
    folder = make(tmp_path, plan).parent
    (plan.cells[0].folder(tmp_path) / PROBABILITIES).unlink()
    make(tmp_path, plan)
    assert not (folder / "forest.png").exists()
    assert "No picture" in (folder / "forest.md").read_text()


def test_truth_of_other_patches_is_refused(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")], size=16)
    frame, found = leaderboard(plan, tmp_path), lines(plan, tmp_path)
    strata = strata_table(completed(frame, found))
    (plan.cells[0].truth(tmp_path) / "meta.json").write_text(json.dumps({"patches": ["others"]}))
    with pytest.raises(ValueError, match="not those"):
        write_cards(plan, frame, found, strata, tmp_path)


def test_the_same_records_give_the_same_bytes_and_cards_of_other_plans_go(written):
    plan, out, folder = written
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "earlier.md").write_text("old")
    (folder / "earlier.png").write_bytes(b"old")
    make(out, plan)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_tiles_show_the_mask_and_where_it_errs():
    from benchmark.views._worst_plot import Sample
    from benchmark.views.gallery import COLOURS

    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    cloud = np.array([[False, True, False, True, True]])
    _, true, mask, errors = Sample("", np.zeros((1, 5, 3), np.uint8), truth, cloud).tiles()
    names = {rgb: name for name, rgb in COLOURS.items()}
    told = [[names[tuple(int(v) for v in pixel)] for pixel in tile[0]] for tile in (true, mask, errors)]
    assert told == [
        ["clear", "clear", "cloud", "cloud", "no truth"],
        ["clear", "cloud", "clear", "cloud", "no truth"],
        ["clear", "false cloud", "missed cloud", "cloud", "no truth"],
    ]
