import numpy as np
import pytest
import xarray as xr
from granule_factory import granule

from benchmark import granule as contract
from benchmark.api import UserError
from datasets import _map_grid


def test_pixels_that_are_cells_stay_as_they_are():
    ds = granule()
    made = _map_grid.resample(ds, "EPSG:4326@0.01")
    assert contract.faults(made) == []
    xr.testing.assert_equal(made.compute().drop_vars(["lat", "lon"]), ds.compute().drop_vars(["lat", "lon"]))
    np.testing.assert_allclose(made.lat, ds.lat, atol=1e-5)
    assert made.attrs["provenance"] == {"baseline": "factory", "grid": "an", "map_grid": "EPSG:4326@0.01"}


def test_each_cell_takes_the_nearest_pixel_in_every_variable():
    ds = granule(rows=30, columns=40)
    made = _map_grid.resample(ds, "EPSG:32632@700").compute()
    inside = np.isfinite(made.sun_zenith.values)
    assert 0.5 < inside.mean() < 1
    # The grid of the factory has equal steps, so the nearest row and column follow from latitude and longitude.
    y = np.clip(np.round((40.0 - made.lat.values) / 0.01 - 0.5).astype(int), 0, 29)
    x = np.clip(np.round((made.lon.values - 10.0) / 0.01 - 0.5).astype(int), 0, 39)
    for name in ("toa", "mask", "land", "rival", "view_zenith"):
        same = made[name].values == ds[name].values[..., y, x]
        assert same[..., inside].mean() > 0.995, name  # where two pixels are equally near either is right
    assert np.isnan(made.toa.values[:, ~inside]).all()
    assert (made["mask"].values[~inside] == 255).all()
    assert (made["land"].values[~inside] == 255).all()


def test_the_index_is_made_once(monkeypatch):
    calls = []
    real = _map_grid.kd_tree.get_neighbour_info
    monkeypatch.setattr(_map_grid.kd_tree, "get_neighbour_info", lambda *a, **k: calls.append(1) or real(*a, **k))
    made = _map_grid.resample(granule(), "EPSG:4326@0.02")
    for start in (0, 16):
        made.isel(y=slice(start, start + 16)).compute()
    assert len(calls) == 1


def test_a_swath_over_the_date_line_needs_another_map():
    ds = granule(west=179.8)
    ds["lon"] = (ds["lon"] + 180) % 360 - 180
    with pytest.raises(UserError, match="may cross the edge of the map"):
        _map_grid.resample(ds, "EPSG:4326@0.001")
    made = _map_grid.resample(ds, "EPSG:32601@1000").compute()
    assert np.isfinite(made.toa.values[0]).mean() > 0.9


def test_positions_that_are_missing_are_passed_over():
    ds = granule()
    ds["lat"] = ds["lat"].where(xr.DataArray(np.arange(64), dims="y") >= 10)
    made = _map_grid.resample(ds, "EPSG:4326@0.01").compute()
    np.testing.assert_array_equal(made.toa, ds.toa[:, 10:])
