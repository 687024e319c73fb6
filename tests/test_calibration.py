"""Tests of benchmark/calibration.py, benchmark/calibration_table.py and benchmark/_calibration_plot.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import jaccard_score, log_loss, roc_auc_score

from benchmark import calibration as fits
from benchmark._calibration_plot import before_and_after
from benchmark.api import CLOUD, IGNORE, UserError
from benchmark.calibration import BEFORE, ISOTONIC, KINDS, TEMPERATURE
from benchmark.calibration_table import ALL, COLUMNS, calibration, counts_at, strata, tell, write_calibration
from benchmark.lines import lines
from benchmark.record import PROBABILITIES, VALIDATION
from benchmark.scores import VALUES, confusion, histogram, reliability
from benchmark.tables import leaderboard
from tests.record_factory import Spec, make_plan, make_scene, smooth


def pixels(n=20_000, heat=1.0, seed=0):
    """Return float16 probabilities of a forecast that is overconfident by a temperature, and its truth, (1, 1, n)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.6, (1, 1, n))
    truth = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    return (1 / (1 + np.exp(-logit * heat))).astype(np.float16), truth


def plain_ece(probability, truth, bins=15):
    """Return the expected calibration error of equal-mass bins, pixel by pixel; equal values are in one bin."""
    error, done, total = 0.0, 0, len(probability)
    members = {}
    for value in sorted(set(probability.tolist())):
        inside = probability == value
        members.setdefault(min(int((done + inside.sum() / 2) / total * bins), bins - 1), []).append(inside)
        done += inside.sum()
    for parts in members.values():
        inside = np.any(parts, axis=0)
        error += inside.sum() / total * abs(probability[inside].mean() - truth[inside].mean())
    return error


@pytest.mark.parametrize("heat", [0.4, 1.0, 2.0])
def test_the_temperature_of_synthetic_logits_is_recovered(heat):
    hist = histogram(*pixels(200_000, heat))
    assert fits.temperature(hist) == pytest.approx(heat, rel=0.02)
    before, after = (fits.measures(hist, values) for values in (VALUES, fits.tempered(fits.temperature(hist))))
    assert after["nll"] <= before["nll"]
    assert after["ece"] < 0.01
    assert after["auc"] == pytest.approx(before["auc"], abs=1e-4), "but for the ties of clipping"
    if heat != 1:
        assert before["ece"] > 5 * after["ece"]


@pytest.mark.parametrize("swap", [False, True])
def test_a_temperature_that_has_no_end_is_told(swap):
    hist = np.zeros((2, len(VALUES)), np.int64)
    hist[int(swap), 10_000], hist[1 - int(swap), 15_000] = 50, 50
    fitted = fits.calibrate(hist)
    assert fitted.said == "temperature at its limit"
    assert fitted.temperature == pytest.approx(fits.LIMITS[int(swap)], rel=0.01)


def test_isotonic_regression_is_that_of_the_raw_pixels():
    probability, truth = pixels(5_000, 2.5)
    probability[0, 0, :700] = 0.25  # ties
    raw = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    raw.fit(probability.ravel().astype(np.float64), truth.ravel())
    values = fits.isotonic(histogram(probability, truth))
    np.testing.assert_allclose(values, raw.predict(VALUES), atol=1e-12)
    assert (np.diff(values) >= 0).all()


def test_isotonic_regression_calibrates_where_a_temperature_cannot():
    probability, truth = pixels(100_000)
    biased = (probability.astype(np.float64) ** 3).astype(np.float16)
    fitted, (other, seen) = fits.calibrate(histogram(biased, truth)), pixels(100_000, seed=1)
    test = histogram((other.astype(np.float64) ** 3).astype(np.float16), seen)
    ece = {kind: fits.measures(test, fitted.maps[kind])["ece"] for kind in KINDS}
    assert ece[ISOTONIC] < 0.01 < ece[TEMPERATURE] < ece[BEFORE]


@pytest.mark.parametrize("kind", KINDS)
def test_measures_equal_a_plain_computation_on_pixels(kind):
    probability, truth = pixels(3_000, 2.0)
    probability[0, 0, :400], probability[0, 0, -9:], truth[0, 0, 1::50] = 0.75, 1.0, IGNORE
    probability[0, 0, -5:] = 0
    hist = histogram(probability, truth)
    values = fits.calibrate(hist).maps[kind]
    counted = truth != IGNORE
    mapped, seen = values[probability[counted].view(np.uint16)], truth[counted]
    found = fits.measures(hist, values)
    assert found["ece"] == pytest.approx(plain_ece(mapped, seen), abs=1e-9)
    assert found["brier"] == pytest.approx(((mapped - seen) ** 2).mean())
    assert found["nll"] == pytest.approx(log_loss(seen, np.clip(mapped, 2**-12, 1 - 2**-12)))
    assert found["auc"] == pytest.approx(roc_auc_score(seen, mapped))


def test_the_threshold_maximises_the_macro_jaccard_index_of_the_pixels():
    probability, truth = pixels(400, seed=3)
    probability = (probability.astype(np.float64) ** 2).astype(np.float16)
    hist = histogram(probability, truth)
    chosen = fits.best_threshold(hist)
    best = {t: jaccard_score(truth.ravel(), probability.ravel() > t, average="macro") for t in np.unique(probability)}
    reached = jaccard_score(truth.ravel(), probability.ravel() > chosen, average="macro")
    assert reached == pytest.approx(max(best.values()))
    assert reached == pytest.approx(fits.jaccard_by_threshold(hist).max())
    assert 0.1 < chosen < 0.4, "squared probabilities have their best threshold at about a quarter"


@pytest.mark.parametrize(("clear", "cloud", "chosen"), [(0.25, 0.75, 0.5), (0.5625, 0.75, 0.5625), (0.125, 0.25, None)])
def test_of_equal_thresholds_the_nearest_to_one_half_is_taken(clear, cloud, chosen):
    probability, truth = np.full((1, 2, 2), clear, np.float16), np.array([[[0, 0], [CLOUD, CLOUD]]], np.uint8)
    probability[0, 1] = cloud
    below = float(np.nextafter(np.float16(cloud), np.float16(0)))
    assert fits.best_threshold(histogram(probability, truth)) == (below if chosen is None else chosen)


def hist_of(values):
    hist = np.zeros((2, len(VALUES)), np.int64)
    for value, clear, cloud in values:
        hist[:, np.searchsorted(VALUES, value)] = clear, cloud
    return hist


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (None, "no validation histogram was kept"),
        (hist_of([]), "the validation part has not both classes"),
        (hist_of([(0.25, 0, 5), (0.5, 0, 2)]), "the validation part has not both classes"),
        (hist_of([(0.25, 3, 5)]), "constant: every pixel has the same probability"),
        (hist_of([(0, 3, 5), (1, 2, 2)]), "binary: every probability is 0 or 1"),
    ],
)
def test_what_cannot_be_calibrated_says_so(tmp_path, validation, said):
    fitted = fits.calibrate(validation)
    assert fitted.said == said
    assert np.isnan([fitted.threshold, fitted.temperature]).all()
    assert list(fitted.maps) == [BEFORE]
    if validation is not None:
        np.save(tmp_path / VALIDATION, validation)
    with pytest.raises(UserError, match=f"cannot choose a threshold: {said}"):
        fits.threshold_of(tmp_path)


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
