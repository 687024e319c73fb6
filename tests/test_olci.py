"""OLCI products as granules; no real one was at hand, see `olci_factory`."""

from __future__ import annotations

import netCDF4
import numpy as np
import olci_factory as olci_files
import pytest

from benchmark.api import UserError
from benchmark.granule import faults
from datasets import olci


def open_olci(product, *bands, **options):
    return olci.SOURCE.open(product, bands, options)


def test_olci_granule_keeps_the_contract(tmp_path):
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant()))
    assert faults(ds) == []
    assert ds.role.values.tolist() == ["BLUE", "GREEN", "RED", "NIR_NARROW"]
    assert ds.attrs["orbit"] == "S3A-028104"
    assert (ds.attrs["start_time"], ds.attrs["frame"]) == ("2021-07-10T09:57:31.964122", "")
    assert np.allclose(ds.lat[:, 0], 45 - np.arange(olci_files.ROWS) * 0.011, atol=1e-5)


def test_olci_radiance_becomes_normalised_reflectance_of_the_pixels_own_detector(tmp_path):
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant(), sun=60.0), "Oa08", "BLUE")
    for band, number in (("Oa08", 8), ("Oa04", 4)):
        expected = np.pi * 90.0 / olci_files.solar_flux(number)[olci_files.detector_index()] / 0.5
        assert np.allclose(ds.toa.sel(band=band), expected, rtol=2e-4)


def test_olci_full_resolution_and_frames_are_read(tmp_path):
    name = "S3B_OL_1_EFR____20210710T095732_20210710T100032_20210711T151211_0179_054_179_2160_LN1_O_NT_002.SEN3"
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant(), name=name))
    assert (ds.attrs["frame"], ds.attrs["orbit"], ds.attrs["provenance"]["grid"]) == ("2160", "S3B-028104", "FR")


@pytest.mark.parametrize("cause", ["radiance", "invalid", "detector"])
def test_olci_pixels_without_a_measurement_are_nan_in_every_band(tmp_path, cause):
    shape, hole = (olci_files.ROWS, olci_files.COLUMNS), (3, 7)
    flags, detector, radiance = np.zeros(shape, np.uint32), olci_files.detector_index(), olci_files.constant()
    if cause == "invalid":
        flags[hole] = olci_files.MASKS["invalid"]
    elif cause == "detector":
        detector[hole] = -1
    else:
        for values in radiance.values():
            values[hole] = np.nan
    ds = open_olci(olci_files.write(tmp_path, radiance, flags=flags, detector=detector)).compute()
    missing = np.isnan(ds.toa.values)
    assert missing[(slice(None), *hole)].all()
    assert missing.sum() == len(missing)


def test_olci_reflectance_ends_where_the_sun_is_low(tmp_path):
    sun = np.linspace(80, 92, 5)
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant(), sun=sun)).compute()
    assert (np.isfinite(ds.toa.values) == (ds.sun_zenith.values <= 85)).all()
    assert np.allclose(ds.sun_zenith[0, ::16], sun, atol=1e-3)


def test_olci_view_zenith_falls_to_zero_between_tie_points_on_both_sides(tmp_path):
    """Angles that are interpolated as numbers would stay at 4 degrees where the azimuth jumps."""
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant())).compute()
    expected = np.abs(np.linspace(-20, 44, olci_files.COLUMNS))
    assert np.allclose(ds.view_zenith[0], expected, atol=0.15)
    assert np.allclose(ds.view_zenith, ds.view_zenith[0], atol=1e-4)
    assert ds.view.values[0, [0, 30, 64]].tolist() == [1, 0, 2]


def test_olci_strata_come_from_the_flags_by_name(tmp_path):
    shape = (olci_files.ROWS, olci_files.COLUMNS)
    flags = np.zeros(shape, np.uint32)
    sets = ["land"], ["land", "fresh_inland_water"], ["coastline"], ["sun-glint_risk"], ["bright"], ["cosmetic"]
    for column, names in enumerate(sets):
        flags[:, column] = np.bitwise_or.reduce([olci_files.MASKS[name] for name in names])
    ds = open_olci(olci_files.write(tmp_path, olci_files.constant(), flags=flags)).compute()
    assert ds.surface.values[0, :7].tolist() == [1, 3, 2, 0, 0, 0, 0]
    assert ds.land.values[0, :4].tolist() == [1, 0, 0, 0]
    places = {
        name: np.flatnonzero(ds[name].values[0]).tolist() for name in ("glint", "bright", "cosmetic", "duplicate")
    }
    assert places == {"glint": [3], "bright": [4], "cosmetic": [5], "duplicate": []}


@pytest.mark.parametrize(
    "file", ["Oa08_radiance.nc", "instrument_data.nc", "geo_coordinates.nc", "qualityFlags.nc", "tie_geometries.nc"]
)
def test_olci_names_the_file_that_is_missing_or_damaged(tmp_path, file):
    product = olci_files.write(tmp_path, olci_files.constant())
    whole = (product / file).read_bytes()
    (product / file).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match="cannot be read"):
        open_olci(product)
    (product / file).unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        open_olci(product)


def test_olci_refuses_a_renamed_folder_and_tie_points_that_do_not_fit(tmp_path):
    product = olci_files.write(tmp_path, olci_files.constant())
    with netCDF4.Dataset(product / "tie_geometries.nc", "a") as file:
        file.ac_subsampling_factor = np.int32(64)
    with pytest.raises(UserError, match=r"tie_geometries.nc .* has \(20, 5\) points"):
        open_olci(product)
    with pytest.raises(UserError, match="is not the name of an OLCI"):
        open_olci(product.rename(tmp_path / "copy of S3A_OL_1_ERR_.SEN3"))


def test_olci_with_a_mask_file_becomes_a_granule_with_truth(tmp_path):
    product = olci_files.write(tmp_path, olci_files.constant())
    truth = np.arange(olci_files.ROWS * olci_files.COLUMNS).reshape(olci_files.ROWS, -1) % 2
    with netCDF4.Dataset(tmp_path / f"{product.stem}.nc", "w") as file:
        file.createDimension("y", olci_files.ROWS)
        file.createDimension("x", olci_files.COLUMNS)
        file.createVariable("mask", "u1", ("y", "x"))[:] = truth
    ds = open_olci(product, label="file:{product}.nc")
    assert faults(ds) == []
    assert (ds.mask.values == truth).all()
