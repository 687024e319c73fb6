"""SEVIRI images as granules; no real one was at hand, see `seviri_factory`.

What is expected of counts is computed here from EUMETSAT's published formulas and constants.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
import seviri_factory as seviri_files
from hypothesis import given, settings
from hypothesis import strategies as st
from satpy.readers.core.seviri import dec10216

from benchmark.api import UserError
from benchmark.granule import faults
from datasets import seviri

# Of Meteosat-11: solar irradiance in mW m-2 (cm-1)-1; central wavenumber in cm-1, slope and offset of the effective
# temperature: EUMETSAT, 'Conversion from radiances to reflectances for SEVIRI warm channels', and its effective
# radiance tables.
IRRADIANCE = {"VIS006": 65.2656, "VIS008": 73.1692, "IR_016": 61.9416}
EFFECTIVE = {
    "IR_039": (2555.28, 0.9916, 2.9438),
    "IR_108": (931.122, 0.9983, 0.6256),
    "IR_120": (839.113, 0.9988, 0.4002),
}
FIRST, SECOND = 1.19104273e-5, 1.43877523  # Planck, mW m-2 sr-1 cm4 and K cm
NAMES = (*IRRADIANCE, *EFFECTIVE)


def temperature(channel, count):
    """Return the brightness temperature of a count, K."""
    wavenumber, slope, offset = EFFECTIVE[channel]
    radiance = seviri_files.SLOPE[channel] * count + seviri_files.OFFSET[channel]
    effective = SECOND * wavenumber / np.log(FIRST * wavenumber**3 / radiance + 1)
    return (effective - offset) / slope


def reflectance(channel, count, sun_zenith, day=61):
    """Return the normalised reflectance of a count; the default day of the year is that of the factory."""
    distance = 1 - 0.0167 * np.cos(2 * np.pi * (day - 3) / 365.256)
    radiance = seviri_files.SLOPE[channel] * count + seviri_files.OFFSET[channel]
    return np.pi * radiance * distance**2 / IRRADIANCE[channel] / np.cos(np.deg2rad(sun_zenith))


def sun_zenith(time: datetime, lat, lon):
    """Return the sun's zenith angle, degrees, by the low-precision formulas of the Astronomical Almanac."""
    days = (time - datetime(2000, 1, 1, 12)).total_seconds() / 86400
    anomaly, mean = np.deg2rad(357.528 + 0.9856003 * days), 280.46 + 0.9856474 * days
    longitude = np.deg2rad(mean + 1.915 * np.sin(anomaly) + 0.02 * np.sin(2 * anomaly))
    tilt = np.deg2rad(23.439 - 4e-7 * days)
    right = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude))
    turn = np.deg2rad((18.697374558 + 24.06570982441908 * days) * 15 + lon.astype(float)) - right
    lat = np.deg2rad(lat)
    return np.rad2deg(np.arccos(np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(turn)))


@pytest.fixture
def native(tmp_path):
    return seviri_files.write_native(tmp_path, seviri_files.constant(), south=2900, east=1700)


def open_seviri(product, *bands, **options):
    return seviri.SOURCE.open(product, bands, options)


def test_native_granule_keeps_the_contract(native):
    ds = open_seviri(native)
    assert faults(ds) == []
    assert ds.band.values.tolist() == list(NAMES)
    assert ds.role.values.tolist() == ["RED", "NIR_NARROW", "SWIR_1", "BT_37", "BT_11", "BT_12"]
    assert (ds.attrs["granule"], ds.attrs["orbit"]) == (native.stem, "Meteosat-11-2021-03-02")
    assert ds.attrs["start_time"] == "2021-03-02T12:00:10"


@pytest.mark.parametrize("form", ["native", "hrit"])
def test_seviri_counts_become_reflectance_and_temperature(tmp_path, form):
    counts = {name: np.full((32, 32), 150 + 60 * place) for place, name in enumerate(NAMES)}
    if form == "native":
        product = seviri_files.write_native(tmp_path, counts, south=1840, east=1840)
    else:
        product = seviri_files.write_hrit(tmp_path / "slot", counts)
    ds = open_seviri(product).compute()
    middle = ds.isel(y=16, x=16)
    for channel in IRRADIANCE:
        expected = reflectance(channel, counts[channel][0, 0], float(middle.sun_zenith))
        assert float(middle.toa.sel(band=channel)) == pytest.approx(expected, rel=1e-3)
    for channel in EFFECTIVE:
        seen = ds.toa.sel(band=channel).values
        assert np.allclose(seen[np.isfinite(seen)], temperature(channel, counts[channel][0, 0]), atol=0.02)
        assert np.isfinite(seen[16, 16])


@pytest.mark.parametrize("form", ["native", "hrit"])
def test_seviri_images_lie_north_up_and_west_left(tmp_path, form):
    image = 300 + np.arange(32 * 32).reshape(32, 32) % 640
    counts = {"IR_108": image, "IR_120": image[::-1]}
    if form == "native":
        product = seviri_files.write_native(tmp_path, counts, south=1840, east=1840)
    else:
        product = seviri_files.write_hrit(tmp_path / "slot", counts)
    ds = open_seviri(product, "BT_11").compute()
    expected = temperature("IR_108", counts["IR_108"])
    seen = np.isfinite(ds.toa.values[0])
    assert seen[16, 16]
    assert np.allclose(ds.toa.values[0][seen], expected[seen], atol=0.02)
    assert (np.diff(ds.lat.values[:, 16][seen[:, 16]]) < 0).all()
    assert (np.diff(ds.lon.values[16][seen[16]]) > 0).all()


def test_native_angles_are_those_of_the_pixel_and_of_the_time_of_its_line(tmp_path):
    ds = open_seviri(seviri_files.write_native(tmp_path, seviri_files.constant(), south=2900, east=800)).compute()
    for row in (0, 15):
        time = seviri_files.line_time(2900 - 1 + 15 - row)
        expected = sun_zenith(time, ds.lat.values[row], ds.lon.values[row])
        assert np.allclose(ds.sun_zenith.values[row], expected, atol=0.05)
    # The time of the scan's start would be wrong by far more than that.
    assert abs(sun_zenith(seviri_files.START, ds.lat.values[0], ds.lon.values[0]) - ds.sun_zenith.values[0]).min() > 0.5
    # The zenith angle of a satellite at 42164 km from the centre of a sphere.
    arc = np.arccos(np.cos(np.deg2rad(ds.lat.values)) * np.cos(np.deg2rad(ds.lon.values)))
    expected = np.rad2deg(np.arctan2(np.sin(arc), np.cos(arc) - 6371 / 42164))
    assert np.allclose(ds.view_zenith, expected, atol=0.3)


def test_hrit_sun_follows_the_lines_from_south_to_north(tmp_path):
    ds = open_seviri(seviri_files.write_hrit(tmp_path / "slot", {"IR_108": np.full((32, 32), 500)}), "BT_11").compute()
    for row in (4, 28):
        seen = np.isfinite(ds.lat.values[row])
        time = seviri_files.line_time(31 - row, 32)
        expected = sun_zenith(time, ds.lat.values[row][seen], ds.lon.values[row][seen])
        assert seen.sum() > 8
        assert np.allclose(ds.sun_zenith.values[row][seen], expected, atol=0.05)


def test_hrit_pixels_in_space_and_missing_segments_hold_nothing(tmp_path):
    product = seviri_files.write_hrit(
        tmp_path / "slot", {"IR_108": np.full((64, 64), 500)}, segments=(2, 3, 4, 5, 6, 7)
    )
    ds = open_seviri(product, "BT_11").compute()
    assert ds.attrs["granule"] == "MSG4-202103021200"
    seen = np.isfinite(ds.toa.values[0])
    assert not seen[:8].any()
    assert not seen[-8:].any()
    assert seen[20:44, 20:44].all()
    assert not np.isfinite(ds.lat.values[0, 0])
    assert not seen[32, 0]
    assert (ds.view.values[0, 0], ds.sun.values[0, 0]) == (255, 255)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_native_counts_without_data_or_radiance_are_nan(tmp_path):
    image = np.full((8, 16), 400)
    image[0, 0], image[7, 15], image[3, 3] = 0, 40, 51
    product = seviri_files.write_native(tmp_path, {"IR_039": image, "IR_108": np.full((8, 16), 400)}, 1840, 1840)
    ds = open_seviri(product, "BT_37", "BT_11").compute()
    assert np.argwhere(np.isnan(ds.toa.values[0])).tolist() == [[0, 0], [3, 3], [7, 15]]
    assert np.isfinite(ds.toa.values[1]).all()


def test_seviri_of_another_longitude(tmp_path):
    product = seviri_files.write_native(tmp_path, seviri_files.constant(), 1840, 1840, longitude=41.5)
    ds = open_seviri(product).compute()
    assert 40 < float(ds.lon.mean()) < 43
    assert float(ds.view_zenith.max()) < 2
    assert ds.attrs["provenance"]["view"] == "from 41.5 degrees east"


@pytest.mark.parametrize("known", [True, False])
def test_view_zenith_is_that_of_the_satellites_place_where_the_file_says_it(tmp_path, monkeypatch, known):
    if not known:
        monkeypatch.setattr(seviri_files, "ORBIT", datetime(2020, 1, 1))
    monkeypatch.setattr(seviri_files, "DRIFT", 2.0)
    ds = open_seviri(seviri_files.write_native(tmp_path, seviri_files.constant(), 1850, 1845)).compute()
    # A degree of the earth's surface below a geostationary satellite is 1.178 degrees of zenith angle.
    expected = 1.178 * np.hypot(ds.lat, ds.lon - 2.0 * known)
    assert np.allclose(ds.view_zenith, expected, atol=0.02)
    assert ("actual" if known else "nominal") in ds.attrs["provenance"]["geolocation"]


def test_native_says_what_is_wrong_with_a_file(native, tmp_path):
    content = native.read_bytes()
    native.write_bytes(content[:-1000])
    with pytest.raises(UserError, match=f"{native.name} cannot be read"):
        open_seviri(native)
    native.write_bytes(content[:5000])
    with pytest.raises(UserError, match=f"{native.name} cannot be read"):
        open_seviri(native)
    native.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.nat cannot be read"):
        open_seviri(native.rename(tmp_path / "other.nat"))
    with pytest.raises(UserError, match="no file"):
        open_seviri(tmp_path / "gone.nat")


def test_native_without_the_band(tmp_path):
    product = seviri_files.write_native(tmp_path, {name: np.full((8, 16), 400) for name in EFFECTIVE}, 1840, 1840)
    with pytest.raises(UserError, match="has no readable VIS006"):
        open_seviri(product, "RED")


def test_hrit_says_what_is_wrong_with_a_slot(tmp_path):
    slot = seviri_files.write_hrit(tmp_path / "slot", {"IR_108": np.full((32, 32), 400)})
    with pytest.raises(UserError, match="no HRIT file of VIS006"):
        open_seviri(slot, "RED")
    segment = next(slot.glob("*IR_108*000004*"))
    content = segment.read_bytes()
    for size in (0, len(content) - 1):
        segment.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"000004.* of slot is incomplete"):
            open_seviri(slot, "BT_11")
    segment.write_bytes(content)
    squeezed = segment.rename(segment.with_name(segment.name[:-2] + "C_"))
    with pytest.raises(UserError, match="compressed HRIT segments"):
        open_seviri(slot, "BT_11")
    squeezed.rename(segment)
    later = segment.with_name(segment.name.replace("202103021200", "202103021215"))
    later.write_bytes(content)
    with pytest.raises(UserError, match="HRIT files of 2 times"):
        open_seviri(slot, "BT_11")
    later.unlink()
    next(slot.glob("*PRO*")).unlink()
    with pytest.raises(UserError, match="no HRIT file of prologue"):
        open_seviri(slot, "BT_11")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 1023), min_size=4, max_size=40).map(lambda counts: counts[: len(counts) // 4 * 4]))
def test_the_factory_packs_counts_as_satpy_unpacks_them(counts):
    assert dec10216(seviri_files.pack(np.array(counts))).tolist() == counts
