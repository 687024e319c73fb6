from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.simulator import (
    instrument,
    product_flags,
    product_frame,
    product_geometry,
    product_render,
    sen3_files,
    tables,
)
from datasets.simulator.geometry import BORDER, PIXEL

ROWS, COLUMNS, SEED = 96, 128, 4  # open cells at the western edge of the swath


@pytest.fixture(scope="module")
def frame():
    return product_frame.draw(ROWS, COLUMNS, SEED)


@pytest.fixture(scope="module")
def measured(frame):
    return product_render.render(frame)


def test_full_frames_have_the_real_sizes():
    frame = product_frame.draw(2400, 3000, 0)
    assert frame.track == 1996
    assert product_geometry.ties(frame)[1][[0, -1]].tolist() == [-1024, 1040]
    assert frame.name.split("_")[10] == "0179"


def test_what_exceeds_the_scale_is_flagged_as_saturated(frame, measured):
    bright = np.full((ROWS, COLUMNS), 0.2, np.float32)
    bright[20:40, 60:90] = 3.0
    files = sen3_files.files(frame, replace(measured, signal=dict.fromkeys(measured.signal, bright)))
    image, _, status, _ = next(files).variables
    own = ~measured.fine.cosmetic[22:38, 62:88]
    assert (image.values[22:38, 62:88] == 32767).all()
    assert (status.values[22:38, 62:88][own] == 16).all()
    assert not (status.values[50:] & 16).any()


def test_the_grid_of_1_km_lies_where_its_pixels_measure(frame, measured):
    ramp = (np.arange(frame.grid.shape[0], dtype=np.float32) - BORDER + 0.5) * np.float32(PIXEL)
    for offset in ((0, 0), (1, -1), (-1, 1)):
        fine = np.broadcast_to(ramp[:, None], frame.grid.shape)
        seen = instrument.resample(fine, instrument.COARSE, 0.4, offset, (ROWS // 2, COLUMNS // 2))
        along, across = product_geometry.centres(frame, 2, offset)
        assert np.allclose(seen[:, 0], along, atol=1e-3)
        across_seen = instrument.resample(
            np.broadcast_to(frame.grid.across, frame.grid.shape),
            instrument.COARSE,
            0.4,
            offset,
            (ROWS // 2, COLUMNS // 2),
        )
        assert np.allclose(across_seen[0], across, atol=1e-3)


def test_the_displacement_of_the_1_km_grid_is_in_its_coordinates(frame, measured):
    files = sen3_files.files(frame, replace(measured, offset=(1, -1)))
    planes = {v.name: v.values for file in files if file.name.startswith("cartesian_") for v in file.variables}
    for axis in "xy":  # x runs against the columns
        nominal = (planes[f"{axis}_an"][::2, ::2] + planes[f"{axis}_an"][1::2, 1::2]) / 2
        assert np.allclose((planes[f"{axis}_in"] - nominal) * 0.1, 250)


@settings(max_examples=30, deadline=None)
@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(-300, 300), st.floats(-900, 500))
def test_places_keep_distances_across_poles_and_date_line(latitude, longitude, along, across):
    frame = replace(product_frame.draw(64, 64, 0), latitude=latitude, longitude=longitude)
    lat, lon = (
        np.radians(value) for value in product_geometry.places(frame, np.array([along, along]), [across, across + 1])
    )
    haversine = np.sin(np.diff(lat) / 2) ** 2 + np.cos(lat[0]) * np.cos(lat[1]) * np.sin(np.diff(lon) / 2) ** 2
    assert 2 * tables.EARTH_RADIUS * np.arcsin(np.sqrt(haversine)) == pytest.approx(1, rel=1e-3)


def test_orbit_numbers_follow_from_the_time():
    """Those of the real granule whose orbit the others are counted from."""
    start = np.datetime64("2021-08-27T07:43:36.110051")
    frame = replace(product_frame.draw(2400, 3000, 0), start=start, latitude=-7.4)
    orbit = frame.orbit
    assert (orbit.absolute, orbit.relative, orbit.cycle, orbit.frame) == (28783, 320, 75, 3060)
    assert frame.name.startswith("S3A_SL_1_RBT____20210827T074336_20210827T074636_")
    assert abs(frame.start_offset - 20437) < 100


def test_strips_leave_no_seam(monkeypatch, frame, measured):
    monkeypatch.setattr(product_render, "STRIP", 32)
    again = product_render.render(frame)
    assert (again.mask == measured.mask).all()
    for name, values in measured.strata.items():
        assert np.allclose(again.strata[name], values, atol=1e-5), name
    # The noise differs; what it is added to does not.
    assert np.median(np.abs(again.signal["S1"] - measured.signal["S1"])[30:34]) < 2e-3


CLEAR_SEA = {"S1": 0.05, "S2": 0.03, "S3": 0.02, "S4": 0.002, "S5": 0.005, "S6": 0.003, "S7": 290, "S8": 288, "S9": 287}


@pytest.mark.parametrize(
    ("change", "test"),
    [
        ({"S1": 0.4, "S3": 0.4, "S5": 0.3}, "visible"),
        ({"S4": 0.05}, "1.37_threshold"),
        ({"S5": 0.2}, "1.6_small_histogram"),
        ({"S6": 0.2}, "2.25_large_histogram"),
        ({"S8": 284}, "11_spatial_coherence"),
        ({"S9": 250, "S8": 250}, "gross_cloud"),
        ({"S9": 284}, "thin_cirrus"),
        ({"S7": 303}, "fog_low_stratus"),
    ],
)
def test_a_cloud_test_sees_its_band(change, test):
    bands = {name: np.full((20, 20), value, np.float32) for name, value in CLEAR_SEA.items()}
    none, all_ = np.zeros((20, 20), bool), np.ones((20, 20), bool)
    clear = product_flags.Scene(bands, none, all_, none, np.ones(20))
    assert not product_flags.cloud(clear).any()
    for name, value in change.items():
        bands[name] = bands[name].copy()
        bands[name][8:12, 8:12] = value
    bit = 1 << product_flags.CLOUD.split().index(test)
    found = product_flags.cloud(replace(clear, bands=bands)) & bit > 0
    assert found[10, 8]
    assert not found[0, 0]
    likely = product_flags.probability(replace(clear, bands=bands))
    assert likely[0, 0] < 0.1


def test_snow_and_coast():
    bands = {name: np.full((6, 6), value, np.float32) for name, value in CLEAR_SEA.items()}
    bands |= {"S1": np.full((6, 6), 0.9), "S3": np.full((6, 6), 0.85)}
    ground = np.zeros((6, 6), bool)
    ground[3:] = True
    land = product_flags.Scene(bands, ground, ~ground, np.zeros((6, 6), bool), np.ones(6))
    assert product_flags.snow(land).all()
    trust = product_flags.confidence(land, np.zeros((6, 6), np.uint16), ground & False, ground & False)
    names = product_flags.CONFIDENCE.split()
    assert [bool(row) for row in trust[:, 0] >> names.index("coastline") & 1] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert (((trust >> names.index("land") & 1) == 1) == ground).all()
    assert (((trust >> names.index("ocean") & 1) == 1) == ~ground).all()
