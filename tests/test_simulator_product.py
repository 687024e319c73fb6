import hashlib
import os
from pathlib import Path
from xml.etree import ElementTree

import netCDF4
import numpy as np
import pytest

from benchmark.api import UserError
from benchmark.granule import faults
from datasets.simulator import (
    product,
    product_frame,
    product_render,
    sen3_files,
    tables,
)
from datasets.simulator.geometry import view_zenith

ROWS, COLUMNS, SEED = 96, 128, 4  # open cells at the western edge of the swath
REFLECTIVE, THERMAL = [f"S{n}" for n in range(1, 7)], ["S7", "S8", "S9"]
REAL = os.environ.get("NEPHOSCOPE_SLSTR")
# Only the part of these files that says how the bands were calibrated is simulated, not the telemetry.
PARTIAL = ("quality", "viscal")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return product.simulate(tmp_path_factory.mktemp("products"), ROWS, COLUMNS, SEED)


@pytest.fixture(scope="module")
def frame():
    return product_frame.draw(ROWS, COLUMNS, SEED)


@pytest.fixture(scope="module")
def measured(frame):
    return product_render.render(frame)


def stored(path, file, variable=None):
    """Return a variable as it lies in the file."""
    with netCDF4.Dataset(path / f"{file}.nc") as ds:
        ds.set_auto_maskandscale(False)
        return ds[variable or file][:]


def flag(path, grid, name, kind="confidence"):
    with netCDF4.Dataset(path / f"flags_{grid}.nc") as ds:
        ds.set_auto_maskandscale(False)
        variable = ds[f"{kind}_{grid}"]
        return variable[:] & variable.flag_masks[variable.flag_meanings.split().index(name)] != 0


def truth(path):
    with netCDF4.Dataset(str(path).removesuffix(".SEN3") + ".truth.nc") as ds:
        ds.set_auto_maskandscale(False)
        return {name: variable[:] for name, variable in ds.variables.items()}


def scene(path, *queries):
    from satpy import DataQuery, Scene

    loaded = Scene(filenames=[str(file) for file in path.glob("*.nc")], reader="slstr_l1b")
    queries = [DataQuery(**query) for query in queries]
    loaded.load(queries)
    return [loaded[query].values for query in queries]


def expected(frame, measured):
    """Return what the instrument measured, with copies, NaN outside the swath."""
    fine = {band: measured.fine.image(own, np.nan) / frame.grid.sun for band, own in measured.signal.items()}
    return fine | {band: measured.coarse.image(own, np.nan) for band, own in measured.temperature.items()}


@pytest.mark.filterwarnings("ignore")
def test_satpy_returns_the_scene_to_one_step(path, frame, measured):
    reflective = [{"name": n, "view": "nadir", "stripe": "a", "calibration": "reflectance"} for n in REFLECTIVE]
    thermal = [
        {"name": n, "view": "nadir", "stripe": "i", "calibration": "brightness_temperature"} for n in [*THERMAL, "F2"]
    ]
    fire = {"name": "F1", "view": "nadir", "stripe": "f", "calibration": "brightness_temperature"}
    wanted = expected(frame, measured)
    names = [*REFLECTIVE, *THERMAL, "F2", "F1"]
    for index, (name, values) in enumerate(zip(names, scene(path, *reflective, *thermal, fire), strict=True)):
        if name in REFLECTIVE:
            # 1.15 is the largest factor of the calibration
            step = 1.15 * np.pi * tables.RADIANCE_SCALE[index] / sen3_files.irradiance(frame)[index] / frame.grid.sun
            values = values / 100 / frame.grid.sun
        else:
            step = 0.01
        assert (np.isnan(values) == np.isnan(wanted[name])).all(), name
        assert np.isnan(values).any()
        assert np.nanmax(np.abs(values - wanted[name])) <= 0.51 * step + 1e-5, name


@pytest.mark.filterwarnings("ignore")
def test_satpy_reads_flags_and_the_angles_that_the_scene_was_rendered_with(path, frame):
    sun, high, low, cloud = scene(
        path,
        {"name": "solar_zenith_angle", "view": "nadir", "resolution": 500},
        {"name": "satellite_zenith_angle", "view": "nadir", "resolution": 500},
        {"name": "satellite_zenith_angle", "view": "nadir", "resolution": 1000},
        {"name": "cloud", "view": "nadir", "stripe": "a"},
    )
    assert np.allclose(sun, frame.grid.sun_zenith, atol=1e-6)
    assert np.allclose(high, np.degrees(view_zenith(frame.across)), atol=0.01)
    assert low.shape == (ROWS // 2, COLUMNS // 2)
    assert (cloud > 0).any()


@pytest.mark.filterwarnings("ignore")
def test_the_reader_of_this_project_opens_it(path, frame, measured):
    from datasets._slstr_manifest import verify
    from datasets._slstr_reader import granule

    verify(path)
    ds = granule(path)
    assert faults(ds) == []
    wanted = expected(frame, measured)
    for band in REFLECTIVE:
        values = ds.toa.sel(band=band).values
        assert np.allclose(values, wanted[band], atol=1e-4, equal_nan=True)
    assert np.allclose(ds.view_zenith, np.degrees(view_zenith(frame.across)), atol=0.02)


@pytest.mark.skipif(REAL is None, reason="NEPHOSCOPE_SLSTR is not set: no real granule to compare with")
def test_every_file_is_built_like_that_of_a_real_granule(path):
    real = next(Path(REAL).glob("*.SEN3"))
    compared = [file for file in sorted(real.glob("*.nc")) if (path / file.name).exists()]
    assert len(compared) > 15
    for file in compared:
        with netCDF4.Dataset(file) as theirs, netCDF4.Dataset(path / file.name) as ours:
            assert set(ours.ncattrs()) == set(theirs.ncattrs()), file.name
            assert set(ours.dimensions) <= set(theirs.dimensions)
            lacking = set(theirs.variables) - set(ours.variables)
            assert not lacking or any(part in file.name for part in PARTIAL), (file.name, lacking)
            for name in ours.variables:
                same_variable(f"{file.name} {name}", theirs[name], ours[name])


def same_variable(where, theirs, ours):
    assert (ours.dtype, ours.dimensions) == (theirs.dtype, theirs.dimensions), where
    assert set(ours.ncattrs()) == set(theirs.ncattrs()), where
    for key in set(ours.ncattrs()) - {"long_name"}:
        one, other = ours.getncattr(key), theirs.getncattr(key)
        assert type(one) is type(other), (where, key)
        assert np.array_equal(one, other, equal_nan=not isinstance(one, str)), (where, key)
    if theirs.dtype != str:
        assert ours.filters() == theirs.filters(), where


def test_the_manifest_lists_every_file_with_its_size_and_checksum(path, frame):
    root = ElementTree.parse(path / "xfdumanifest.xml").getroot()
    listed = {}
    for stream in root.iter("byteStream"):
        name = stream.find("fileLocation").attrib["href"].removeprefix("./")
        listed[name] = (int(stream.attrib["size"]), stream.findtext("checksum"))
    contents = {file.name: file.read_bytes() for file in path.glob("*.nc")}
    assert listed == {name: (len(data), hashlib.md5(data).hexdigest()) for name, data in contents.items()}
    outline = np.array(next(node for node in root.iter() if node.tag.endswith("posList")).text.split(), float)
    lat, lon = stored(path, "geodetic_an", "latitude_an") * 1e-6, stored(path, "geodetic_an", "longitude_an") * 1e-6
    assert outline.reshape(-1, 2).min(axis=0) == pytest.approx([lat.min(), lon.min()], abs=0.02)
    assert outline.reshape(-1, 2).max(axis=0) == pytest.approx([lat.max(), lon.max()], abs=0.02)


def test_truth_lies_where_the_radiances_are_bright_and_cold(path):
    facts = truth(path)
    thick, clear = ((facts["mask"] == 1) & (facts["optical_depth"] > 8), facts["mask"] == 0)
    bright, cold = stored(path, "S3_radiance_an"), stored(path, "S9_BT_in").repeat(2, 0).repeat(2, 1)
    assert thick.sum() > 100
    assert np.median(bright[thick]) > 2 * np.median(bright[clear])
    assert np.median(cold[thick]) < np.median(cold[clear]) - 100
    moved = np.roll(facts["optical_depth"], 5, axis=0)
    inside = facts["mask"] < 255
    here, there = (np.corrcoef(bright[inside], depth[inside])[0, 1] for depth in (facts["optical_depth"], moved))
    assert here > there + 0.2


def test_outside_the_swath_nothing_is_measured_and_all_says_so(path):
    outside = truth(path)["mask"] == 255
    assert 0.02 < outside.mean() < 0.2
    assert (flag(path, "an", "unfilled") == outside).all()
    assert (stored(path, "indices_an", "detector_an")[outside] == 255).all()
    assert (stored(path, "S1_radiance_an")[outside] == -32768).all()
    assert (stored(path, "S1_radiance_an", "S1_exception_an")[outside] == 128).all()
    assert not flag(path, "an", "summary_cloud")[outside].any()
    assert flag(path, "an", "day").all()


def test_cosmetic_pixels_are_copies_of_a_neighbour(path):
    values, cosmetic = stored(path, "S2_radiance_an"), flag(path, "an", "cosmetic")
    around = np.stack([np.roll(values, step, axis) for axis in (0, 1) for step in (1, -1)])
    assert 0.1 < cosmetic.mean() < 0.45
    copies = (around == values).any(axis=0)[1:-1, 1:-1]
    assert copies[cosmetic[1:-1, 1:-1]].mean() > 0.97  # but for some with copies all around them
    assert copies[~cosmetic[1:-1, 1:-1]].mean() < 0.9
    assert ((stored(path, "S2_radiance_an", "S2_exception_an") == 2) == cosmetic).all()


@pytest.mark.parametrize(("grid", "band"), [("an", "S1_radiance"), ("in", "S8_BT")])
def test_orphans_are_the_second_measurements_of_duplicates(path, grid, band):
    duplicate, orphans = flag(path, grid, "duplicate"), stored(path, f"{band}_{grid}", f"{band}_orphan_{grid}")
    there = orphans != -32768
    assert 0.02 < duplicate.mean() < 0.08
    assert (there.sum(axis=1) == duplicate.sum(axis=1)).all()
    assert (np.diff(there.astype(int), axis=1) <= 0).all()  # from the left, without gaps
    row, place = np.argwhere(there)[-1]
    column = np.flatnonzero(duplicate[row])[place]
    x, y = (stored(path, f"cartesian_{grid}", f"{axis}_{grid}")[row, column] for axis in "xy")
    own = [stored(path, f"cartesian_{grid}", f"{axis}_orphan_{grid}")[row, place] for axis in "xy"]
    assert abs(own[0] - x) + abs(own[1] - y) == (5000 if grid == "an" else 10000)  # dm: the pixel beside


def test_neighbours_are_500_m_apart_and_the_track_runs_south_west(path, frame):
    lat, lon = (np.radians(stored(path, "geodetic_an", f"{name}_an") * 1e-6) for name in ("latitude", "longitude"))
    east = np.diff(lon, axis=1) * np.cos(lat[:, 1:]) * tables.EARTH_RADIUS
    north = np.diff(lat, axis=1) * tables.EARTH_RADIUS
    assert np.allclose(np.hypot(east, north), 0.5, atol=0.01)
    assert np.degrees(np.arctan2(east, north)).mean() == pytest.approx(90 + tables.IMAGE_UP, abs=1)
    assert (np.diff(lat, axis=0) < 0).all()
    assert np.degrees(lat.mean()) == pytest.approx(frame.latitude, abs=0.02)


def test_pixels_lie_where_the_tie_points_say(path, tmp_path):
    """Half a pixel between the two would be 250 m: 0.0022 degrees of latitude."""
    from datasets._slstr_geometry import planes

    for file in ("flags_an.nc", "geometry_tn.nc", "geodetic_tx.nc"):
        (tmp_path / file).symlink_to(path / file)
    ds = planes(tmp_path, "an").compute()
    for name, variable in (("lat", "latitude_an"), ("lon", "longitude_an")):
        own = stored(path, "geodetic_an", variable) * 1e-6
        assert np.abs((ds[name].values - own + 180) % 360 - 180).max() < 2e-4


def test_times_run_from_start_to_stop(path, frame):
    for grid, rows in (("an", ROWS), ("in", ROWS // 2)):
        stamps = stored(path, f"time_{grid}", f"time_stamp_{grid[0]}")
        assert stamps.shape == (rows,)
        assert np.datetime64("2000-01-01") + np.timedelta64(int(stamps[0]), "us") == frame.start
        assert np.datetime64("2000-01-01") + np.timedelta64(int(stamps[-1]), "us") == frame.stop
        scans = np.ma.masked_equal(stored(path, f"indices_{grid}", f"scan_{grid}"), 65535).astype(int)
        first = stored(path, f"time_{grid}", f"Nadir_First_scan_{grid[0]}").astype(int)
        assert np.abs(scans.min(axis=1) - first).max() <= 1  # a copy may come from the row before


def test_the_same_seed_gives_the_same_data_and_another_seed_another_orbit(path, tmp_path):
    again = product.simulate(tmp_path, ROWS, COLUMNS, SEED)
    assert again.name == path.name
    for file in path.glob("*.nc"):
        with netCDF4.Dataset(file) as one, netCDF4.Dataset(again / file.name) as other:
            for name in one.variables:
                one[name].set_auto_maskandscale(False)
                other[name].set_auto_maskandscale(False)
                assert np.array_equal(one[name][:], other[name][:], equal_nan=one[name].dtype == float), name
    assert len({product_frame.draw(64, 64, seed).orbit.absolute for seed in range(20)}) == 20


def test_a_failure_leaves_nothing_behind(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(product, "manifest", fail)
    with pytest.raises(OSError, match="disk full"):
        product.simulate(tmp_path, 64, 64, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rows", "columns"), [(97, 128), (96, 62), (2402, 3000), (96, 3002)])
def test_impossible_sizes_are_refused(tmp_path, rows, columns):
    with pytest.raises(UserError, match="an even number of"):
        product.simulate(tmp_path, rows, columns, 0)


def test_a_product_is_not_written_twice(path):
    with pytest.raises(UserError, match="already there"):
        product.simulate(path.parent, ROWS, COLUMNS, SEED)
