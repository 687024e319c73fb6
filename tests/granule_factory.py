"""Small granules as `benchmark.granule` wants them, on a grid of equal steps in latitude and longitude."""

import dask.array as da
import numpy as np
import xarray as xr

from benchmark.api import BRIGHTNESS_TEMPERATURE, REFLECTANCE

BANDS = {"S1": ("GREEN", 0.554, REFLECTANCE), "S8": ("BT_11", 10.854, BRIGHTNESS_TEMPERATURE)}
FLAG = {"flag_values": [0, 1], "flag_meanings": "no yes"}
LAND = {"flag_values": [0, 1], "flag_meanings": "water land"}


def granule(rows=64, columns=96, name="A", orbit="S3A-000001", day=1, seed=0, cell=0.01, north=40.0, west=10.0):
    """Return a granule whose clouds are bright, cold and in the label; row 0 and column 0 are farthest north-west."""
    rng = np.random.default_rng(seed)
    cloud = rng.random((rows, columns)) < 0.4
    toa = np.stack([np.where(cloud, 0.6, 0.1), np.where(cloud, 240.0, 290.0)]) + 0.01 * rng.random((2, rows, columns))
    lat = np.repeat(north - cell * (np.arange(rows) + 0.5), columns).reshape(rows, columns)
    lon = np.tile(west + cell * (np.arange(columns) + 0.5), rows).reshape(rows, columns)
    planes = {
        "lat": lat,
        "lon": lon,
        "sun_zenith": np.full_like(lat, 30.0),
        "view_zenith": np.abs(np.arange(columns) - columns / 2) * np.ones_like(lat),
    }
    chunks = (16, columns)
    ds = xr.Dataset(
        {"toa": (("band", "y", "x"), da.from_array(toa.astype(np.float32), chunks=(1, *chunks)))}
        | {
            key: (("y", "x"), da.from_array(values.astype(np.float32), chunks=chunks)) for key, values in planes.items()
        },
        {"band": list(BANDS)}
        | {
            key: ("band", [band[place] for band in BANDS.values()])
            for place, key in enumerate(("role", "wavelength", "quantity"))
        },
        attrs={
            "granule": name,
            "start_time": f"2024-07-{day:02d}T10:00:00.000000Z",
            "stop_time": f"2024-07-{day:02d}T10:03:00.000000Z",
            "orbit": orbit,
            "frame": "1080",
            "sensor": "factory",
            "licence": "CC0",
            "maps": {"rival": ["S8"]},
            "provenance": {"baseline": "factory", "grid": "an"},
            "label_source": "factory clouds",
            "label_bands": [],
        },
    )
    ds["mask"] = plane(cloud, chunks, {})
    ds["rival"] = plane(toa[1] < 260, chunks, FLAG)
    ds["land"] = plane(lon > lon.mean(), chunks, LAND)
    return ds


def plane(values, chunks, attrs):
    return (("y", "x"), da.from_array(np.asarray(values, np.uint8), chunks=chunks), attrs)
