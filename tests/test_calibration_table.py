"""The table and picture of calibration, on stored runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image
from sklearn.metrics import jaccard_score

from benchmark import calibration as fits
from benchmark.api import IGNORE
from benchmark.calibration import BEFORE, ISOTONIC, KINDS
from benchmark.record import PROBABILITIES, VALIDATION
from benchmark.scores import confusion, histogram, reliability
from benchmark.views._calibration_plot import before_and_after
from benchmark.views.calibration_table import ALL, COLUMNS, calibration, counts_at, strata, tell, write_calibration
from benchmark.views.lines import lines
from benchmark.views.tables import leaderboard
from tests.record_factory import Spec, make_plan, make_scene, smooth
from tests.test_calibration import plain_ece

ROWS = {
    "unet": Spec("unet", "cnn", 0.3, seeds=(0, 1)),
    "rf": Spec("rf", "forest", 0.5, tuned=True),
    "old": Spec("old", "boosting", 0.4),
    "mask": Spec("mask", "threshold", 0.6),
    "cut": Spec("cut", "threshold", 0.8),
    "broken": Spec("broken", "cnn", status="failed", reason="no"),
}


def make(out, without=("old",)):
    """Make a plan whose runs, but for some, keep a validation histogram; probabilities are of another meaning."""
    plan = make_plan(out, list(ROWS.values()), scenes=5, per_scene=1, size=24)
    val = make_scene(4, 1, 24, seed=11)
    for cell in plan.cells:
        folder = cell.folder(out)
        if not (folder / PROBABILITIES).exists():
            continue
        noise = ROWS[cell.row].skill * smooth(val.field.shape, np.random.default_rng(cell.seed), 1.2)
        probability = (1 / (1 + np.exp(-6 * (val.field + noise - 0.4)))).astype(np.float16)
        if cell.row == "mask":
            probability = np.round(probability)
            np.save(folder / PROBABILITIES, np.round(np.load(folder / PROBABILITIES)))
        if cell.row not in without:
            np.save(folder / VALIDATION, histogram(probability, val.mask))
    return plan


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("plan")
    plan = make(out)
    found = lines(plan, out)
    return plan, out, found, calibration(found)


def test_rows_are_told_with_what_they_lack(made):
    *_, table = made
    assert list(table.columns) == list(COLUMNS)
    said = dict(zip(table["row"], table["said"], strict=True))
    assert said == {
        "unet": "",
        "rf": "",
        "cut": "",
        "old": "no validation histogram was kept",
        "mask": "binary: every probability is 0 or 1",
    }, "a row that failed has no entry"
    lame = table[table["row"].isin(["old", "mask"])]
    assert lame[["jaccard", "ece_before", "brier_before", "nll_before", "auc_before"]].notna().all(axis=None)
    assert lame[["threshold", "chosen", "gain", "temperature", "ece_temperature", "auc_isotonic"]].isna().all(axis=None)
    graded = table.drop(lame.index).drop(columns="said")
    assert graded.notna().all(axis=None)


def test_scores_are_those_of_the_leaderboard_and_of_the_stored_probabilities(made):
    plan, out, found, table = made
    line = next(line for line in found if line.first.row == "unet")
    entry = table.set_index("row").loc["unet"]
    board = leaderboard(plan, out).set_index("row").loc["unet"]
    assert entry["jaccard"] == pytest.approx(board["jaccard"])
    assert [entry[f"{name}_before"] for name in ("ece", "brier", "auc")] == pytest.approx(
        [board[name] for name in ("ece", "brier", "auc")]
    )
    mask, chosen = np.load(line.first.truth(out) / "mask.npy"), []
    for cell, kept in zip(line.cells, line.ok, strict=True):
        threshold = fits.threshold_of(cell.folder(out))
        counts = counts_at(cell, kept, out, threshold)
        cloud = np.load(cell.folder(out) / PROBABILITIES) > threshold
        np.testing.assert_array_equal(counts, confusion(cloud, mask))
        assert threshold != 0.5
        np.testing.assert_array_equal(counts_at(cell, kept, out, 0.5), kept.counts)
        seen = mask != IGNORE
        chosen.append(jaccard_score(mask[seen], cloud[seen], average="macro"))
    assert entry["chosen"] == pytest.approx(np.mean(chosen))
    assert entry["gain"] == pytest.approx(entry["chosen"] - entry["jaccard"])
    assert entry["gain_low"] < entry["gain"] < entry["gain_high"]
    assert entry["threshold_lowest"] < entry["threshold"] < entry["threshold_highest"]
    assert entry["validation_chosen"] > entry["validation_jaccard"]


def test_nothing_that_is_fitted_reads_the_test_part(made, tmp_path):
    *_, table = made
    plan = make(tmp_path)
    for cell in plan.cells:
        stored = cell.folder(tmp_path) / PROBABILITIES
        if stored.exists():
            np.save(stored, 1 - np.load(stored))
    other = calibration(lines(plan, tmp_path))
    fitted = [name for name in COLUMNS if name.startswith(("validation_", "threshold", "temperature"))]
    pd.testing.assert_frame_equal(table[fitted], other[fitted])
    graded = table["chosen"].notna()
    assert (table["chosen"] > other["chosen"] + 0.3)[graded].all(), "the scores are of the test part"
    assert (table["ece_before"] < other["ece_before"]).all()


def test_lost_test_probabilities_are_told(tmp_path):
    plan = make(tmp_path)
    cell = next(cell for cell in plan.cells if cell.row == "unet")
    (cell.folder(tmp_path) / PROBABILITIES).unlink()
    found = lines(plan, tmp_path)
    entry = calibration(found).set_index("row").loc["unet"]
    assert entry["said"] == "no test probabilities were kept"
    assert entry[["jaccard", "threshold", "validation_chosen"]].notna().all()
    assert entry[["chosen", "ece_before", "ece_isotonic"]].isna().all()
    assert len(strata(found, {})[0]) == 5, "the other seed of it is there"


def test_strata_are_those_of_masked_pixels(made):
    _, out, found, _ = made
    mask = np.load(found[0].first.truth(out) / "mask.npy")
    west = np.broadcast_to(np.arange(24) < 9, mask.shape)
    table, points = strata(found, {"west": west, "nowhere": np.zeros(mask.shape, bool)})
    assert set(table["stratum"]) == {ALL, "west"}
    line = next(line for line in found if line.first.row == "rf")
    probability = np.load(line.first.folder(out) / PROBABILITIES)
    hist = histogram(probability, np.where(west, mask, IGNORE))
    entry = table[(table["row"] == "rf") & (table["stratum"] == "west")].iloc[0]
    assert entry["pixels"] == hist.sum()
    assert entry["cloud"] == pytest.approx(hist[1].sum() / hist.sum())
    inside = west & (mask != IGNORE)
    maps = fits.calibrate(np.load(line.first.folder(out) / VALIDATION)).maps
    for kind in KINDS:
        mapped = maps[kind][probability[inside].view(np.uint16)]
        assert entry[f"ece_{kind}"] == pytest.approx(plain_ece(mapped, mask[inside]), abs=1e-9)
    curve = points[(points["row"] == "rf") & (points["stratum"] == "west")]
    assert set(curve["kind"]) == {BEFORE}
    np.testing.assert_allclose(curve[["forecast", "observed", "share"]].T, reliability(hist))
    whole = points[(points["row"] == "rf") & (points["stratum"] == ALL)]
    assert list(whole["kind"].unique()) == list(KINDS)
    error = (whole["share"] * (whole["forecast"] - whole["observed"]).abs()).groupby(whole["kind"]).sum()
    assert error[ISOTONIC] == pytest.approx(table.set_index(["row", "stratum"])["ece_isotonic"]["rf", ALL])


def test_seeds_are_averaged_by_stratum(made):
    *_, found, table = made
    by_row = strata(found, {})[0].set_index("row")
    np.testing.assert_allclose(
        by_row[[f"ece_{kind}" for kind in KINDS]], table.set_index("row")[[f"ece_{kind}" for kind in KINDS]]
    )


def test_files_hold_the_tables(made, tmp_path):
    _, _, found, table = made
    parts = strata(found, {})
    paths = write_calibration(table, parts, tmp_path)
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    for path, frame in zip(paths, (table, *parts), strict=False):
        read = pd.read_csv(path, keep_default_na=False, na_values=[""])
        assert (list(read.columns), len(read)) == (list(frame.columns), len(frame))
    page = paths[-1].read_text()
    assert "fitted on the validation part alone" in page
    assert "binary: every probability is 0 or 1" in page
    entries = {entry["row"]: entry for entry in tell(table)}
    assert entries["rf (tuned)"]["ECE"].count(" / ") == 2
    assert entries["mask"]["ECE"].count(" / ") == 0
    assert " to " in entries["unet"]["threshold"]
    assert entries["unet"]["gain"][0] in "+-"
    assert entries["old"]["threshold"] == entries["old"]["gain"] == ""
    empty = write_calibration(calibration([]), strata([], {}), tmp_path)
    assert len(pd.read_csv(empty[0])) == 0


def test_the_picture_shows_graded_rows_with_their_error(made, tmp_path, monkeypatch):
    plan, out, found, _ = made
    titles, named = [], []
    keep_title, keep_line = Axes.set_title, Axes.axvline
    monkeypatch.setattr(
        Axes, "set_title", lambda axes, text, **o: (titles.append(text), keep_title(axes, text, **o))[1]
    )
    monkeypatch.setattr(Axes, "axvline", lambda axes, x, **o: (named.append(x), keep_line(axes, x, **o))[1])
    path = before_and_after(leaderboard(plan, out), found, tmp_path / "picture.png")
    assert sorted(titles) == ["cut", "rf (tuned)", "unet"]
    folders = {line.first.row: line.first.folder(out) for line in found}
    assert sorted(named) == sorted(fits.threshold_of(folders[row]) for row in ("cut", "rf", "unet"))
    shades = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shades, axis=0)) > 50


def test_there_is_no_picture_without_validation_histograms(tmp_path):
    plan = make(tmp_path, without=tuple(ROWS))
    path = tmp_path / "picture.png"
    assert before_and_after(leaderboard(plan, tmp_path), lines(plan, tmp_path), path) is None
    assert not path.exists()
