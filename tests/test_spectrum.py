"""Tests of benchmark/spectrum.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmark import spectrum
from benchmark.api import CLEAR, CLOUD, IGNORE
from tests.record_factory import smooth

SIZE = 128


@pytest.fixture(scope="module")
def mask():
    rng = np.random.default_rng(0)
    return (smooth((4, 2 * SIZE, 2 * SIZE), rng, 1.5)[:, :SIZE, :SIZE] > 0).astype(np.uint8)  # not periodic


def ratios(cloud, mask):
    found = spectrum.scores({octave: np.sum(each, axis=0) for octave, each in spectrum.sums(cloud, mask).items()})
    return {name: float(value) for name, value in found.items()}


def slow(field, known):
    """Power of one patch in each octave, of the full transform in double precision."""
    rows, columns = field.shape
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in (rows, columns))) * known
    waves = np.fft.fft2(window * (field - np.average(field, weights=window)))
    length = 1 / np.maximum(np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None]), 1e-9)
    octaves = [tuple(map(int, octave.split("-"))) for octave in spectrum.OCTAVES]
    return [np.sum(np.abs(waves[(length >= low) & (length < high)]) ** 2) for low, high in octaves]


@pytest.mark.parametrize("shape", [(128, 128), (96, 75)])
def test_powers_are_those_of_a_plain_transform(mask, shape):
    truth = mask[:2, : shape[0], : shape[1]].copy()
    truth[1, 10:30, 5:25] = IGNORE
    cloud = np.roll(truth, 3, axis=2) == CLOUD
    found = spectrum.sums(cloud, truth)
    assert list(found) == list(spectrum.OCTAVES)
    for place in range(2):
        known = truth[place] != IGNORE
        for column, field in enumerate((cloud[place], truth[place] == CLOUD)):
            got = [each[place][column] for each in found.values()]
            assert got == pytest.approx(slow(field, known), rel=1e-4, abs=1e-4)  # single precision


def test_a_wave_is_in_its_octave_alone():
    x = np.arange(SIZE)
    for period, octave in ((4, "4-8"), (16, "16-32"), (32, "32-64")):
        wave = np.broadcast_to((x // (period // 2)) % 2, (1, SIZE, SIZE)).astype(np.uint8)
        power = {name: each[0][1] for name, each in spectrum.sums(wave == CLOUD, wave).items()}
        assert max(power, key=power.get) == octave


def test_equal_masks_have_a_ratio_of_exactly_one(mask):
    assert set(ratios(mask == CLOUD, mask).values()) == {1.0}
    holes = mask.copy()
    holes[:, 20:60, 30:90] = IGNORE
    cloud = (mask == CLOUD) | (holes == IGNORE)  # what is predicted where there is no truth counts nowhere
    assert set(ratios(cloud, holes).values()) == {1.0}


def test_a_smoothed_mask_lacks_power_at_small_scales_and_the_more_the_smoother(mask):
    one, two = (ratios(gaussian_filter((mask == CLOUD).astype(float), (0, s, s)) > 0.5, mask) for s in (1, 3))
    assert two[spectrum.FINEST] < one[spectrum.FINEST] < 0.9
    assert list(two.values())[:3] == sorted(list(two.values())[:3])  # less is lost at larger scales
    assert two["power_ratio_32-64"] > 0.8


def test_a_noisy_mask_has_too_much_power_at_small_scales(mask):
    noise = np.random.default_rng(1).random(mask.shape) < 0.02
    assert ratios((mask == CLOUD) ^ noise, mask)[spectrum.FINEST] > 1.2


def test_gaps_change_the_ratio_little(mask):
    cloud = gaussian_filter((mask == CLOUD).astype(float), (0, 2, 2)) > 0.5
    holes = mask.copy()
    holes[smooth(mask.shape, np.random.default_rng(2), 2.5) > 1.3] = IGNORE
    assert 0.05 < (holes == IGNORE).mean() < 0.2
    whole, torn = ratios(cloud, mask)[spectrum.FINEST], ratios(cloud, holes)[spectrum.FINEST]
    assert torn == pytest.approx(whole, abs=0.05)


def test_where_the_truth_has_no_cloud_or_no_pixel_there_is_no_ratio():
    clear = np.full((1, 64, 64), CLEAR, np.uint8)
    cloud = np.zeros((1, 64, 64), bool)
    assert all(np.isnan(value) for value in ratios(cloud, clear).values())
    cloud[0, 20:30, 20:30] = True
    assert all(np.isnan(value) for value in ratios(cloud, clear).values())
    assert spectrum.sums(cloud, np.full_like(clear, IGNORE))["2-4"] == [[0.0, 0.0]]


def test_octaves_longer_than_a_patch_are_left_out(mask):
    assert list(spectrum.sums(mask[:, :32] == CLOUD, mask[:, :32])) == ["2-4", "4-8", "8-16", "16-32"]


def test_scores_take_sums_of_any_shape():
    found = spectrum.scores({"2-4": np.array([[[1.0, 2.0], [3.0, 2.0]]])})
    np.testing.assert_array_equal(found["power_ratio_2-4"], [[0.5, 1.5]])
