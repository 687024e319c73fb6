from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.masks import _tiling
from benchmark.masks._tiling import Window, blend, by_stripe, by_tile, sweep


class Product:
    """Random rows in memory; remembers what was read."""

    def __init__(self, height, width, seed=0):
        rng = np.random.default_rng(seed)
        self.shape = (height, width)
        self.toa = rng.random((2, height, width), np.float32)
        self.land = rng.integers(0, 2, (height, width)).astype(np.uint8)
        self.read_rows = []

    def read(self, begin, end):
        self.read_rows.append((begin, end))
        return {"toa": self.toa[:, begin:end], "land": self.land[begin:end]}


def run(product, step, make):
    """Return the probability of a whole product, checked for gaps and for the values that come along."""
    with ThreadPoolExecutor(1) as reader:
        stripes = list(make(Window(product.read, product.shape[0], step, reader)))
    assert [stripe.begin for stripe in stripes] == [
        0,
        *np.cumsum([len(stripe.probability) for stripe in stripes])[:-1],
    ]
    for stripe in stripes:
        rows = slice(stripe.begin, stripe.begin + len(stripe.probability))
        np.testing.assert_array_equal(stripe.values["toa"], product.toa[:, rows])
        np.testing.assert_array_equal(stripe.values["land"], product.land[rows])
    starts = [begin for begin, _ in product.read_rows]
    assert starts == list(range(0, product.shape[0], step)), "each row is read once, in order"
    return np.concatenate([stripe.probability for stripe in stripes])


def first_band(tiles):
    return np.stack([tile.values["toa"][0] for tile in tiles])


def neighbours(tiles):
    """Mean of each pixel's 3x3 window, the outside left out: what reaches one pixel far."""
    out = []
    for tile in tiles:
        image = np.pad(tile.values["toa"][0].astype(np.float64), 1, constant_values=np.nan)
        rows, columns = tile.values["toa"].shape[1:]
        shifts = [image[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
        out.append(np.nanmean(shifts, axis=0))
    return np.stack(out)


@given(length=st.integers(1, 400), size=st.integers(1, 120))
def test_blend_covers_every_pixel_with_positive_weights_that_add_up_to_one(length, size):
    starts, weights = blend(length, size)
    total = np.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        assert start >= 0
        total[start : start + len(weight)] += weight
    assert (weights > 0).all()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert starts[-1] == max(length - size, 0)
    assert all(size // 4 <= a + size - b < size for a, b in pairwise(starts))


def test_blend_has_no_step():
    """A tile's share of a pixel goes to nothing towards its edge inside the image."""
    starts, weights = blend(1000, 224)
    assert all(weight[0] < 0.001 for weight in weights[1:])
    assert all(weight[-1] < 0.001 for weight in weights[:-1])
    assert np.abs(np.diff(weights, axis=1)).max() < 0.05
    assert starts[:3] == [0, 168, 336]


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    step=st.integers(1, 40),
    batch=st.integers(1, 5),
)
def test_tiles_give_back_what_does_not_depend_on_position(height, width, size, step, batch):
    product = Product(height, width)
    got = run(product, step, lambda window: by_tile(window, product.shape, size, batch, first_band))
    np.testing.assert_allclose(got, product.toa[0], atol=1e-6)


def test_tiles_are_of_one_size_and_come_in_batches():
    product, seen = Product(20, 90), []

    def predict(tiles):
        seen.append([(tile.top, tile.left) for tile in tiles])
        assert all(tile.values["toa"].shape == (2, 32, 32) for tile in tiles)
        assert all(np.isnan(tile.values["toa"][:, 20:]).all() for tile in tiles)
        assert all((tile.values["land"][20:] == 255).all() for tile in tiles)
        return first_band(tiles)

    got = run(product, 7, lambda window: by_tile(window, product.shape, (32, 32), 3, predict))
    np.testing.assert_allclose(got, product.toa[0], atol=1e-6)
    assert seen == [[(0, 0), (0, 24), (0, 48)], [(0, 58)]]


def test_tiles_without_a_valid_pixel_are_not_predicted():
    product, tops = Product(64, 64), set()
    product.toa[:, :, 30:] = np.nan

    def predict(tiles):
        tops.update((tile.top, tile.left) for tile in tiles)
        return np.nan_to_num(first_band(tiles))

    got = run(product, 16, lambda window: by_tile(window, product.shape, (16, 16), 4, predict))
    assert {left for _, left in tops} == {0, 12, 24}
    np.testing.assert_allclose(got[:, :30], product.toa[0, :, :30], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(2, 20),
    reach=st.integers(1, 3),
    rows=st.integers(1, 60),
    step=st.integers(1, 60),
)
def test_stripes_with_a_halo_equal_the_whole_image(height, width, reach, rows, step):
    product = Product(height, width)
    whole = neighbours([_tiling.Tile(0, 0, product.read(0, height))])[0]
    product.read_rows.clear()
    got = run(product, step, lambda window: by_stripe(window, product.shape, reach, rows, neighbours))
    np.testing.assert_array_equal(got, whole)


def test_a_halo_is_needed():
    """The test above can fail: without the halo the stripes differ from the whole image."""
    product = Product(40, 12)
    whole = neighbours([_tiling.Tile(0, 0, product.read(0, 40))])[0]
    product.read_rows.clear()
    got = run(product, 8, lambda window: by_stripe(window, product.shape, 0, 10, neighbours))
    assert not np.array_equal(got, whole)


@pytest.mark.parametrize(("reach", "shapes"), [(1, {(2, 40, 40)}), (None, {(2, 16, 16)})])
def test_reach_chooses_between_stripes_and_tiles(reach, shapes):
    product, seen = Product(40, 40), set()

    def predict(tiles):
        seen.update(tile.values["toa"].shape for tile in tiles)
        return first_band(tiles)

    run(product, 16, lambda window: sweep(window, product.shape, reach, (16, 16), 8, predict))
    assert seen == shapes


def test_the_next_rows_are_read_while_these_are_predicted():
    product, ahead = Product(64, 8), []

    def predict(tiles):
        reader.submit(lambda: None).result()  # whatever was asked for before is read by now
        ahead.append(product.read_rows[-1][1] - (tiles[0].top + tiles[0].values["toa"].shape[1]))
        return first_band(tiles)

    with ThreadPoolExecutor(1) as reader:
        list(by_stripe(Window(product.read, 64, 8, reader), product.shape, 0, 8, predict))
    assert ahead == [8] * 7 + [0]


def test_a_fault_in_reading_is_raised():
    def read(begin, end):
        raise OSError("broken")

    with ThreadPoolExecutor(1) as reader, pytest.raises(OSError, match="broken"):
        list(by_stripe(Window(read, 10, 5, reader), (10, 10), 0, 5, first_band))
