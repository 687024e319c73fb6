import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patch_factory import make_images, make_part, toa_and_mask
from scipy.ndimage import generic_filter

from baselines import _pixels
from benchmark.api import CLOUD, IGNORE, Part, UserError


def part_with_labels(labelled, size=16):
    """A part whose patch i has `labelled[i]` labelled pixels; every pixel's value tells patch and place."""
    n = len(labelled)
    toa = np.arange(n * 5 * size * size, dtype=np.float32).reshape(n, 5, size, size)
    mask = np.full((n, size * size), IGNORE, np.uint8)
    for i, count in enumerate(labelled):
        mask[i, np.random.default_rng(i).permutation(size * size)[:count]] = i % 2
    return Part(make_images(toa), mask.reshape(n, size, size), tuple("abcdefgh"[:n]))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(0, 400))
def test_shares_are_as_even_as_possible(available, total):
    available = np.array(available)
    taken = _pixels.shares(available, total)
    assert taken.sum() == min(total, available.sum())
    assert (taken <= available).all()
    unfilled = taken[taken < available]
    if len(unfilled):
        assert unfilled.max() - unfilled.min() <= 1
        assert taken.max() <= unfilled.max() + 1


def test_sample_is_even_over_patches_and_takes_labelled_pixels_only():
    part = part_with_labels([256, 10, 200, 0])
    pixels, cloud = _pixels.sample(part, 90, seed=1)
    patch, place = np.divmod(pixels.values[:, 0].astype(int), 5 * 256)
    assert np.bincount(patch, minlength=4).tolist() == [40, 10, 40, 0]
    assert len(np.unique(pixels.values[:, 0])) == 90
    truth = part.truth.reshape(4, -1)[patch, place]
    assert not (truth == IGNORE).any()
    np.testing.assert_array_equal(truth == CLOUD, cloud)


def test_sample_depends_on_the_seed_only():
    part = make_part()
    first, again, other = (_pixels.sample(part, 500, seed)[0].values for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_part_without_labels_is_refused():
    with pytest.raises(UserError, match="no labelled pixel"):
        _pixels.sample(part_with_labels([0, 0]), 10, 0)


@pytest.mark.parametrize("offset", [0.0, 290.0])
def test_window_agrees_with_a_plain_filter_around_invalid_pixels(offset):
    rng = np.random.default_rng(0)
    patch = (offset + rng.normal(0, 0.1, (12, 9, 2))).astype(np.float32)
    patch[rng.random((12, 9)) < 0.3] = np.nan
    patch[5, 5], patch[4:7, 4:7][patch[4:7, 4:7] != patch[5, 5]] = 1.0 + offset, np.nan  # a pixel all alone
    found = _pixels.window(patch)
    for band in range(2):
        for place, statistic in ((band, np.nanmean), (band + 2, np.nanstd)):
            plain = generic_filter(
                patch[..., band].astype(np.float64),
                lambda window, statistic=statistic: np.nan if np.isnan(window[4]) else statistic(window),
                size=3,
                mode="constant",
                cval=np.nan,
            )
            np.testing.assert_allclose(found[..., place], plain, rtol=1e-6, atol=2e-5)


def test_context_names_follow_the_columns():
    toa, _ = toa_and_mask(1, 8, ("RED", "BT_11"), invalid=False)
    pixels = _pixels.read(make_images(toa, ("RED", "BT_11")), slice(None), context=True)
    assert pixels.names == ("RED", "BT_11", "RED_mean", "BT_11_mean", "RED_std", "BT_11_std")
    np.testing.assert_array_equal(pixels.column("BT_11"), toa[0, 1].ravel())
    centre = toa[0, :, 2:5, 2:5].reshape(2, -1)
    row = pixels.values.reshape(8, 8, 6)[3, 3]
    np.testing.assert_allclose(row[2:], [*centre.mean(1), *centre.std(1)], rtol=1e-5)
    assert pixels.column("BLUE") is None


@pytest.mark.parametrize("n", [1, _pixels.BATCH, 2 * _pixels.BATCH + 1])
def test_predict_puts_rows_back_where_they_came_from(n):
    toa, _ = toa_and_mask(n, 8)
    land = np.random.default_rng(0).integers(0, 2, (n, 8, 8), dtype=np.uint8)
    images = make_images(toa, land=land)
    sums = _pixels.predict(images, lambda pixels: pixels.column("RED") + 10 * pixels.land)
    assert sums.dtype == np.float32
    np.testing.assert_allclose(sums, np.nan_to_num(toa[:, 1] + 10 * land, nan=0.0) * np.isfinite(toa[:, 1]), rtol=1e-6)


def test_predict_of_invalid_patches_asks_nobody():
    images = make_images(np.full((2, 5, 4, 4), np.nan, np.float32))
    assert not _pixels.predict(images, lambda pixels: pytest.fail("asked about nothing")).any()


def test_threads_keep_the_order():
    values = np.arange(3 * _pixels.CHUNK + 7)[:, None]
    np.testing.assert_array_equal(_pixels.threaded(lambda rows: rows[:, 0] * 2, values), values[:, 0] * 2)
