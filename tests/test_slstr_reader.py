"""SLSTR products as granules: radiometry, flags, geometry, faults."""

import warnings

import numpy as np
import pytest
from netCDF4 import Dataset
from satpy.readers.slstr_l1b import CHANCALIB_FACTORS
from slstr_factory import (
    BLANK_FRAME,
    FILL,
    IRRADIANCE,
    NAME,
    REFLECTIVE,
    SCALES,
    THERMAL,
    Make,
    change,
    elevation,
    real_product,
)

from benchmark.api import UserError
from benchmark.granule import faults
from datasets import _slstr_flags as flags
from datasets import _slstr_radiometry as radiometry
from datasets._slstr_files import ROWS
from datasets._slstr_reader import BANDS, granule


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Make(views="no").write(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def nadir(whole):
    return granule(whole, list(BANDS)).compute()


def small(tmp_path, *bands, **given):
    return Make(rows=8, bands=bands, **given).write(tmp_path)


def test_granule_is_as_the_contract_says(whole):
    ds = granule(whole)
    assert faults(ds) == []
    assert ds["toa"].sizes == {"band": 9, "y": 48, "x": 128}
    assert ds["band"].values.tolist() == ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"]
    assert (ds.attrs["orbit"], ds.attrs["frame"], ds.attrs["granule"]) == ("S3A-028783", "3060", NAME[:-5])
    assert np.datetime64(ds.attrs["start_time"]) == np.datetime64("2021-08-27T07:43:36.110051")
    assert ds.attrs["provenance"]["baseline"] == "IPF-SL-1 06.18"
    assert ds.attrs["provenance"]["calibration"]["S6"] == CHANCALIB_FACTORS["S6_nadir"]


@pytest.mark.parametrize("view", ["nadir", "oblique"])
def test_reflectance_is_calibrated_and_normalised_once(whole, view):
    """A wrong factor, view of the irradiance, detector or power of the cosine is off by more than a step."""
    toa = granule(whole, REFLECTIVE, view)["toa"].compute()
    for band in REFLECTIVE:
        factor = CHANCALIB_FACTORS[f"{band}_{view}"]
        step = SCALES[band] * np.pi / IRRADIANCE[band] / np.cos(np.deg2rad(40)) * factor
        np.testing.assert_allclose(toa.sel(band=band), 0.3 * factor, atol=step, rtol=0)


def test_thermal_bands_on_both_grids(whole, nadir):
    coarse = granule(whole, ["BT_11", "F1"])
    assert coarse["band"].values.tolist() == ["S8", "F1"]
    assert coarse["role"].values.tolist() == ["BT_11", "BT_37_FIRE"]
    assert coarse["toa"].shape == (2, 24, 64)
    np.testing.assert_allclose(coarse["toa"], 280, atol=0.006)
    np.testing.assert_allclose(nadir["toa"].sel(band=list(THERMAL)), 280, atol=0.006)


def test_fill_of_temperature_is_no_temperature(tmp_path):
    """Decoded without its fill it would be -43.95."""
    product = small(tmp_path, "S8")
    change(product, "S8_BT_in.nc", "S8_BT_in", (2, slice(3, 5)), FILL)
    toa = granule(product, ["S8"])["toa"][0].values
    assert np.isnan(toa[2, 3:5]).all()
    assert np.isnan(toa).sum() == 2


def test_radiance_without_detector_is_no_reflectance(tmp_path):
    """It would be radiance as percent: many times too large, and no fill."""
    product = small(tmp_path, "S1")
    change(product, "indices_an.nc", "detector_an", (5, 7), 255)
    toa = granule(product, ["S1"])["toa"][0].values
    assert np.isnan(toa[5, 7])
    assert np.nanmax(toa) < 0.31


def test_exceptions_that_hold_no_measurement(tmp_path):
    """Cosmetic copies (pixel_absent) and saturated pixels stay; S7 above its calibrated range stays too."""
    product = small(tmp_path, "S1", "S7")
    for bit in range(8):
        change(product, "S1_radiance_an.nc", "S1_exception_an", (0, bit), 2**bit)
        change(product, "S7_BT_in.nc", "S7_exception_in", (0, bit), 2**bit)
    kept = {
        band: np.isfinite(granule(product, [band])["toa"][0, 0, :8].values).nonzero()[0].tolist()
        for band in ("S1", "S7")
    }
    assert kept == {"S1": [1, 4], "S7": [1, 4, 5]}


@pytest.mark.parametrize("filled", [False, True])
def test_flags_are_integers(tmp_path, filled):
    """Decoded, flags that have a fill value are floating-point numbers."""
    product = small(tmp_path, "S8", filled=filled)
    found = flags.read(product, "in")
    types = {name: str(found[name].dtype) for name in (*flags.FLAGS, "pointing")}
    assert types == {"cloud": "uint16", "confidence": "uint16", "bayes": "uint8", "pointing": "uint8"}
    assert all(found[name].chunks is not None for name in found)
    assert not set(flags.PROBABILITIES) & set(flags.read(product, "an"))


def test_what_nothing_asks_for_may_be_absent(tmp_path):
    product = small(tmp_path, "S8")
    with Dataset(product / "flags_in.nc", "r+") as nc:
        for name in ("pointing_in", "probability_cloud_dual_in"):
            nc.renameVariable(name, f"old_{name}")
    assert set(flags.read(product, "in")) == {"cloud", "confidence", "bayes", "probability_cloud_single"}
    assert faults(granule(product, ["S8"])) == []


@pytest.mark.parametrize(("masks", "count"), [(None, 0), ([1, 2], 2)])
def test_flags_need_a_mask_for_each_meaning(tmp_path, masks, count):
    product = small(tmp_path, "S8")
    with Dataset(product / "flags_in.nc", "r+") as nc:
        nc["confidence_in"].delncattr("flag_masks")
        if masks:
            nc["confidence_in"].flag_masks = np.array(masks, np.uint16)
    refuse(f"^flags confidence have 16 flag_meanings and {count} flag_masks$", product, ["S8"])


def test_probability_is_decoded(whole):
    found = flags.read(whole, "in").compute()
    assert found["probability_cloud_single"].dtype == np.float32
    np.testing.assert_allclose(found["probability_cloud_single"], 0.3, atol=1e-6)
    assert found["probability_cloud_dual"].isnull().all()


def test_named_tests_are_found_by_the_meanings_of_the_file(whole):
    cloud = flags.read(whole, "an")["cloud"].load()
    cloud.values[0, :3] = 2**13, 2**2, 2**2 + 1
    assert flags.has(cloud, "thermal_histogram")[0, :3].values.tolist() == [True, False, False]
    assert flags.has(cloud, "visible", "thermal_histogram", "visible")[0, :3].values.tolist() == [True, False, True]
    moved = cloud.assign_attrs(flag_meanings=" ".join(reversed(cloud.attrs["flag_meanings"].split())))
    assert flags.has(moved, "thermal_histogram")[0, :3].values.tolist() == [False, True, True]
    with pytest.raises(UserError, match=r"no flag 'vis'; its flags are visible, 1.37_threshold"):
        flags.has(cloud, "vis")


def test_every_cloud_test_has_its_bands(whole):
    meanings = flags.read(whole, "in")["cloud"].attrs["flag_meanings"].split()
    assert set(meanings) - {"spare"} <= set(flags.TEST_BANDS)
    for bands in flags.TEST_BANDS.values():
        assert set(bands) <= set(BANDS)
        assert ("S7" in bands) == ("F1" in bands)
        assert ("S8" in bands) == ("F2" in bands)


def test_strata_and_masks_of_the_product(tmp_path):
    product = small(tmp_path, "S8")
    for column, value in enumerate((8, 8 | 16, 2, 2 | 1, 8 | 32, 8 | 256 | 512, 8 | 8192 | 4096, 8 | 16384)):
        light = (1024, 2048, 0)[column % 3]
        change(product, "flags_in.nc", "confidence_in", (0, column), value | light)
    for column, value in enumerate((0, 1, 2, 4, 255)):
        change(product, "flags_in.nc", "bayes_in", (1, column), value)
    ds = granule(product, ["S8"]).compute()
    first = {name: ds[name][0, :8].values.tolist() for name in ds if ds[name].dtype == np.uint8}
    assert first["surface"] == [1, 3, 0, 2, 255, 1, 1, 1]
    assert first["land"] == [1, 0, 0, 0, 255, 1, 1, 1]
    assert first["light"] == [0, 1, 2, 0, 255, 2, 0, 1]
    assert first["cosmetic"] == first["duplicate"] == [0, 0, 0, 0, 255, 1, 0, 0]
    assert first["snow"] == first["glint"] == [0, 0, 0, 0, 255, 0, 1, 0]
    assert first["slstr_basic"] == [0, 0, 0, 0, 255, 0, 0, 1]
    assert ds["slstr_bayes"][1, :5].values.tolist() == [0, 0, 1, 0, 255]


def test_stripes_are_read_alone(tmp_path):
    """Blocks of satpy as large as the image would make every stripe cost as much as the image."""
    product = Make(rows=ROWS, columns=16, bands=("S1",)).write(tmp_path)
    raw = radiometry._calibrated(product, ["S1"], "nadir")["S1"]
    assert max(raw.chunks[0]) <= ROWS
    ds = granule(product, ["S1"])
    assert {values.chunksizes["y"] for values in ds.data_vars.values()} == {(ROWS, ROWS)}
    stripe = ds.isel(y=slice(ROWS, 2 * ROWS)).compute()
    np.testing.assert_array_equal(stripe["toa"], ds["toa"].compute()[:, ROWS:])


def test_low_sun_gives_no_reflectance(tmp_path):
    with pytest.raises(UserError, match="nowhere higher than 5 degrees"):
        granule(small(tmp_path, "S1", "S8", sun=86.0), ["S1", "S8"])
    night = granule(tmp_path / NAME, ["S8"]).compute()
    assert np.isfinite(night["toa"]).all()
    assert (night["sun"] == 3).all()


def test_rows_with_low_sun_are_invalid(tmp_path):
    product = small(tmp_path, "S1", sun=84.0)
    change(product, "geometry_tn.nc", "solar_zenith_tn", (slice(5, None),), 87)
    toa = granule(product, ["S1"])["toa"][0].values
    assert np.isfinite(toa[:9]).all()
    assert np.isnan(toa[11:]).all()


def test_blank_frame(tmp_path):
    ds = granule(small(tmp_path, "S8", name=BLANK_FRAME), ["S8"])
    assert ds.attrs["frame"] == ""
    assert np.isfinite(ds["toa"]).all()


def refuse(pattern, product, bands=(), view="nadir"):
    with pytest.raises(UserError, match=pattern) as caught:
        granule(product, bands, view)
    assert "\n" not in str(caught.value)


def test_faults_of_the_request(tmp_path):
    product = small(tmp_path, "S1", "S8")
    refuse(r"lacks S2, S3, S4, S5, S6, S7, S9 in nadir view; choose with --bands from S1, S8$", product)
    refuse("SLSTR has no band 'B4'", product, ["B4"])
    for bands in ([""], ["S8", ""]):
        refuse("one of the bands has an empty name; bands are named with commas between them", product, bands)
    refuse("holds no band in oblique view", product, ["S8"], "oblique")
    refuse("there is no view 'up'", product, ["S8"], "up")
    product = product.rename(tmp_path / "mine.SEN3")
    refuse("mine.SEN3 is not the name of an SLSTR level-1B product", product, ["S8"])


@pytest.mark.parametrize("file", ["viscal.nc", "indices_an.nc", "flags_an.nc", "flags_in.nc", "geometry_tn.nc"])
def test_missing_file_is_named(tmp_path, file):
    product = small(tmp_path, "S1")
    (product / file).unlink()
    refuse(f"^{file} is missing from {NAME}$", product, ["S1"])


@pytest.mark.parametrize("file", ["S1_radiance_an.nc", "viscal.nc", "indices_an.nc", "flags_in.nc", "geodetic_an.nc"])
def test_truncated_file_is_named(tmp_path, file):
    product = small(tmp_path, "S1")
    data = (product / file).read_bytes()
    (product / file).write_bytes(data[: len(data) // 2])
    refuse(f"^{file} of {NAME} cannot be read", product, ["S1"])


@pytest.mark.parametrize(
    ("file", "name"), [("S1_radiance_an.nc", "S1_radiance_an"), ("viscal.nc", "S1_solar_irradiances")]
)
def test_missing_variable_is_named(tmp_path, file, name):
    product = small(tmp_path, "S1")
    with Dataset(product / file, "r+") as nc:
        nc.renameVariable(name, "old")
    refuse(f"^variable {name} is missing from {file} of {NAME}$", product, ["S1"])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("start_time", "2021-08-27T07:43:36Z", f"^{NAME} cannot be read with satpy's slstr_l1b: time data '2021"),
        ("start_time", "NaT", f"^{NAME} cannot be read with satpy's slstr_l1b: time data 'NaT'"),
        ("absolute_orbit_number", "x", f"^'x' in {NAME} is not the number of an orbit$"),
        ("absolute_orbit_number", np.array([1, 2]), f"in {NAME} is not the number of an orbit$"),
    ],
)
def test_attributes_that_cannot_be_are_one_sentence(tmp_path, caplog, name, value, said):
    product = small(tmp_path, "S8")
    with Dataset(product / "S8_BT_in.nc", "r+") as nc:
        nc.setncattr(name, value)
    refuse(said, product, ["S8"])
    assert not caplog.records


def test_detector_that_the_calibration_does_not_know(tmp_path):
    """Satpy fails at it when pixels are computed, with no word about the product."""
    product = small(tmp_path, "S1", "S5", "S8")
    change(product, "indices_an.nc", "detector_an", (5, 7), 4)
    refuse(f"^detector_an of {NAME} holds 4, and viscal.nc has 4 detectors of S1$", product, ["S5", "S1"])
    assert np.isfinite(granule(product, ["S5"])["toa"]).all()  # which has eight
    assert np.isfinite(granule(product, ["S8"])["toa"]).all()


def test_angles_of_the_sun_that_are_all_missing_are_told(tmp_path):
    product = small(tmp_path, "S1", "S8")
    change(product, "geometry_tn.nc", "solar_zenith_tn", (slice(None),), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        refuse(f"^geometry_tn.nc of {NAME} holds no angle of the sun where the image is$", product, ["S1"])
    assert np.isfinite(granule(product, ["S8"])["toa"]).all()


def test_band_of_fill_is_refused(tmp_path):
    product = small(tmp_path, "S8", "S9")
    change(product, "S9_BT_in.nc", "S9_BT_in", (slice(None),), FILL)
    refuse("band S9 of .* has no valid pixel in nadir view", product, ["S8", "S9"])


def test_real_product():
    real = real_product()
    lazy = granule(real, ["S7", "S8", "S9", "F2"])
    assert faults(lazy) == []
    ds = lazy.compute()
    toa, valid = ds["toa"], ds["slstr_basic"] != 255
    assert toa.shape == (4, 1200, 1500)
    assert 200 < toa.min() < toa.max() < 340
    assert np.isfinite(toa.values[:, valid.values]).all()
    assert not np.isfinite(toa.values[:, ~valid.values]).any()
    assert float((ds["slstr_basic"] == 1).sum() / valid.sum()) == pytest.approx(0.170, abs=0.001)
    assert 6 < ds["view_zenith"].min() < ds["view_zenith"].max() < 61
    assert 28 < ds["sun_zenith"].min() < ds["sun_zenith"].max() < 46


def test_real_oblique_view():
    ds = granule(real_product(), ["S8"], "oblique")
    assert ds["toa"].shape == (1, 1200, 900)
    assert float(np.abs(ds["view_zenith"] - 55).max()) < 0.1


@pytest.mark.parametrize(
    ("heights", "grid", "off", "source"),
    [
        (("an", "in", "tx"), "an", 0, "geodetic_an.nc"),
        (("in", "tx"), "an", 15, "geodetic_in.nc"),
        (("tx",), "an", 1, "interpolated between the tie points of geodetic_tx.nc"),
        (("an", "in", "tx"), "in", 0, "geodetic_in.nc"),
        (("an", "tx"), "in", 1, "interpolated between the tie points of geodetic_tx.nc"),
    ],
)
def test_elevation_comes_from_the_nearest_file_that_holds_it(tmp_path, heights, grid, off, source):
    """In whole metres; the 1 km pixel of a 500 m pixel is up to half a step away on both axes: 5 + 10 m."""
    made = Make(rows=8, bands=("S1", "S8"), heights=heights)
    ds = granule(made.write(tmp_path), ["S1", "ELEVATION", "S8"] if grid == "an" else ["elevation", "S8"])
    assert faults(ds) == []
    band = ds.sel(band="elevation")
    assert (str(band.role.values), str(band.quantity.values), float(band.wavelength)) == ("ELEVATION", "elevation", 0.0)
    found, expected = band.toa.values, elevation(*made.places(grid))
    assert np.abs(found - expected).max() <= off
    assert np.ptp(expected) > 500
    assert ds.attrs["provenance"]["geolocation"]["elevation"] == source
    assert ds.band.values.tolist() == (["S1", "elevation", "S8"] if grid == "an" else ["elevation", "S8"])


def test_elevation_that_is_not_known_is_nan(tmp_path):
    product = small(tmp_path, "S8", heights=("in",))
    change(product, "geodetic_in.nc", "elevation_in", (slice(2), slice(None)), FILL)
    toa = granule(product, ["S8", "elevation"])["toa"].values
    assert np.isnan(toa[1, :2]).all()
    assert np.isfinite(toa[1, 2:]).all()


def test_elevation_that_a_product_lacks_is_one_sentence(tmp_path):
    product = small(tmp_path, "S1", "S8")
    refuse(
        "holds no elevation in any of geodetic_an.nc, geodetic_in.nc, geodetic_tx.nc; leave it out of --bands$",
        product,
        ["S1", "elevation"],
    )
    refuse("elevation alone shows no cloud", product, ["elevation"])
    assert granule(product, ["S1", "S8"]).band.values.tolist() == ["S1", "S8"]
