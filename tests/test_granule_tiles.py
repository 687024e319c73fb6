import re

import numpy as np
import pytest
from granule_factory import granule
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import _granule_tiles


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(8, 40), columns=st.integers(8, 40), size=st.integers(1, 8), seed=st.integers(0, 9))
def test_tiles_cover_what_whole_tiles_can_cover(rows, columns, size, seed):
    ds = granule(rows, columns, seed=seed)
    whole, found = ds.toa.values, []
    for row in range(0, rows - size + 1, size):
        tiles = _granule_tiles.cut(ds, row, size, 1.0)
        found.append(np.concatenate(list(tiles.toa), axis=-1))
        assert tiles.mask.shape == (columns // size, size, size)
    joined = np.concatenate(found, axis=-2)
    np.testing.assert_array_equal(joined, whole[:, : rows // size * size, : columns // size * size])


@given(
    rows=st.integers(1, 6), columns=st.integers(1, 6), lat=st.floats(-60, 60), lon=st.floats(-180, 180), data=st.data()
)
def test_footprint_holds_what_has_a_place(rows, columns, lat, lon, data):
    known = np.array(data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns)))
    known = known.reshape(rows, columns)
    north, east = np.meshgrid(lat - 0.1 * np.arange(rows), lon + 0.1 * np.arange(columns), indexing="ij")
    wrapped = (east + 180) % 360 - 180
    text = _granule_tiles.footprint(np.where(known, north, np.nan), np.where(known, wrapped, np.nan))
    if not known.any():
        assert text == ""
        return
    points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", text), float)
    assert len(points) == 5
    assert (points[0] == points[-1]).all()
    assert np.ptp(points[:, 0]) <= 0.1 * columns
    for x, y in points:
        near = known & (np.abs(north - y) < 2e-5) & (np.abs((wrapped - x + 180) % 360 - 180) < 2e-5)
        assert near.any()
    if known.all():
        assert np.ptp(points[:, 0]) == pytest.approx(0.1 * (columns - 1), abs=2e-5)
        assert np.ptp(points[:, 1]) == pytest.approx(0.1 * (rows - 1), abs=2e-5)
