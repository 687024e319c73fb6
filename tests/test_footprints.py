"""Patches of different parts do not look at the same clouds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark._footprints import joined, overlaps

DAY = np.datetime64("2024-06-01T10:00:00", "s")


def box(lon, lat, side=1.0):
    corners = [(lon, lat), (lon + side, lat), (lon + side, lat + side), (lon, lat + side), (lon, lat)]
    wrapped = [f"{(x + 180) % 360 - 180} {y}" for x, y in corners]
    return f"POLYGON (({', '.join(wrapped)}))"


def found(first, second, hours=1.0, parts=("train", "test")):
    times = np.array([DAY, DAY + np.timedelta64(int(3600 * hours), "s")])
    return next(overlaps([first, second], times, parts), None)


def test_same_place_within_hours_is_found():
    assert found(box(10, 40), box(10.5, 40.5)) == (0, 1)
    assert found(box(10.5, 40.5), box(10, 40)) == (0, 1)


def test_other_places_and_other_days_are_free():
    assert found(box(10, 40), box(12, 40)) is None
    assert found(box(10, 40), box(10.5, 40.5), hours=12) is None
    assert found(box(10, 40), box(10.5, 40.5), hours=11.9) == (0, 1)


def test_one_part_may_overlap_itself():
    assert found(box(10, 40), box(10.5, 40.5), parts=("train", "train")) is None


def test_neighbours_that_touch_or_share_a_sliver_are_free():
    assert found(box(10, 40), box(11, 40)) is None
    assert found(box(10, 40), box(10.995, 40)) is None
    assert found(box(10, 40), box(10.9, 40)) == (0, 1)


def test_unknown_time_is_near_to_all_and_unknown_place_to_none():
    times = np.array([DAY, np.datetime64("NaT", "s")])
    assert [*overlaps([box(10, 40), box(10.2, 40)], times, ("val", "test"))] == [(0, 1), (0, 1)]
    assert [*overlaps(["", box(10.2, 40)], times, ("val", "test"))] == []


def test_groups_that_overlap_become_one():
    places = [box(10, 40), box(10.5, 40), box(11, 40), box(30, 40), box(30.5, 40)]
    times = np.full(5, DAY)
    times[4] += np.timedelta64(2, "D")
    assert joined(places, times, ["c", "b", "a", "d", "e"]) == ["a", "a", "a", "d", "e"]


@given(lon=st.floats(-180, 179.9), lat=st.floats(-80, 78), shift=st.floats(-0.8, 0.8))
def test_date_line_makes_no_difference(lon, lat, shift):
    assert found(box(lon, lat), box(lon + shift, lat)) == (0, 1)
    assert found(box(lon, lat), box(lon + 40, lat)) is None


@pytest.mark.parametrize("lon", [179.5, -180.0, 179.9])
def test_overlap_across_the_date_line(lon):
    assert found(box(lon, 0), box(lon + 0.3, 0.3)) == (0, 1)
