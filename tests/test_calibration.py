"""Tests of benchmark/calibration.py, benchmark/views/calibration_table.py and benchmark/views/_calibration_plot.py."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import jaccard_score, log_loss, roc_auc_score

from benchmark import calibration as fits
from benchmark.api import CLOUD, IGNORE, UserError
from benchmark.calibration import BEFORE, ISOTONIC, KINDS, TEMPERATURE
from benchmark.record import VALIDATION
from benchmark.scores import VALUES, histogram


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
