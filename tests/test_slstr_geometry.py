"""Where pixels of SLSTR products lie: angles, coordinates, and 1 km pixels on the 500 m grid."""

import warnings

import numpy as np
import pytest
from netCDF4 import Dataset
from satpy import DataQuery, Scene
from scipy.spatial import KDTree
from shapely import Point, Polygon, contains_xy
from slstr_factory import Make, change, lat_lon, real_product

from benchmark.api import UserError
from datasets import _slstr_flags as flags
from datasets import _slstr_geometry as geometry
from datasets._slstr_files import ROWS
from datasets._slstr_manifest import MANIFEST
from datasets._slstr_reader import granule


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Make().write(tmp_path_factory.mktemp("whole"))


def small(tmp_path, *bands, **given):
    return Make(rows=8, bands=bands, **given).write(tmp_path)


@pytest.mark.parametrize("below", [0.0, 8000.0])
def test_view_zenith_does_not_wrap_at_nadir(tmp_path, below):
    """Interpolated as a number it would not come down to 0 between two tie points, and might come out near 360."""
    ds = granule(small(tmp_path, "S1", "S8", below=below), ["S1"])
    distance = np.abs((80 - np.arange(128)) * 500 - below)
    np.testing.assert_allclose(ds["view_zenith"], np.broadcast_to(distance / 20e3, (16, 128)), atol=0.01)


def test_strata_of_angles(tmp_path):
    product = small(tmp_path, "S8")
    for row, (view, sun) in enumerate(((19, 39), (30, 50), (54, 74), (56, 76))):
        rows = slice(2 * row, 2 * row + 2)
        change(product, "geometry_tn.nc", "sat_zenith_tn", (rows,), view)
        change(product, "geometry_tn.nc", "solar_zenith_tn", (rows,), sun)
    ds = granule(product, ["S8"])
    assert ds["view"].values[:, 0].tolist() == ds["sun"].values[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ds["view"].attrs["flag_meanings"] == "0-20 20-40 40-55 above_55"


def test_no_angle_without_tie_points(tmp_path):
    """Taken as zeros they would put sun and satellite overhead."""
    product = small(tmp_path, "S1", "S8")
    change(product, "geometry_tn.nc", "solar_zenith_tn", (slice(0, 4),), np.nan)
    ds = granule(product, ["S1"]).compute()
    assert ds["sun_zenith"][:7].isnull().all()
    assert ds["toa"][0, :7].isnull().all()
    assert (ds["sun"][:7] == 255).all()
    assert ds["toa"][0, 9:].notnull().all()


@pytest.mark.parametrize(("resolution", "band"), [(500, "S1"), (1000, "S8")])
def test_angles_agree_with_satpy(whole, resolution, band):
    files = [str(path) for path in whole.glob("geometry_tn.nc")]
    scene = Scene(filenames=files, reader="slstr_l1b")
    ours = granule(whole, [band])
    for name, theirs in (("sun_zenith", "solar_zenith_angle"), ("view_zenith", "satellite_zenith_angle")):
        query = DataQuery(name=theirs, view="nadir", resolution=resolution)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene.load([query])
        expected = scene[query].values
        # Where the view turns over at nadir, satpy's spline rounds the corner by a seventh of a degree.
        assert np.abs(ours[name].values - np.minimum(expected, 360 - expected)).max() < 0.15


def test_coordinates_of_tie_points_cross_the_date_line(tmp_path, whole):
    """Interpolated as numbers, longitudes between 179 and -179 would pass through 0."""
    lacking = small(tmp_path, "S8", geodetic=False)
    ds = granule(lacking, ["S8"]).compute()
    lat, lon = lat_lon(*Make(rows=8).places("in"))
    np.testing.assert_allclose(ds["lat"], lat, atol=1e-4)
    assert np.abs((ds["lon"].values - lon + 180) % 360 - 180).max() < 1e-3
    assert {-1.0, 1.0} == set(np.unique(np.sign(ds["lon"])))
    assert "geodetic_tx" in ds.attrs["provenance"]["geolocation"]["coordinates"]
    own = granule(whole, ["S8"])
    assert own.attrs["provenance"]["geolocation"]["coordinates"] == "geodetic_in.nc"
    np.testing.assert_allclose(own["lat"][:8], lat, atol=1e-5)


@pytest.mark.parametrize("displaced", [(0.0, 0.0), (400.0, -300.0), (-700.0, 650.0)])
def test_1km_pixels_are_the_nearest_by_measured_place(tmp_path, displaced):
    made = Make(rows=12, columns=32, bands=("S1", "S8"), displaced=displaced)
    index = geometry.coarse_index(made.write(tmp_path))
    fine, coarse = (np.stack([axis.ravel() for axis in made.places(grid)], -1) for grid in ("an", "in"))
    nearest = KDTree(coarse).query(fine)[0]
    chosen = np.linalg.norm(coarse[index.flat.compute().ravel()] - fine, axis=-1)
    np.testing.assert_allclose(chosen, nearest)


def test_1km_pixels_without_cartesian_files_are_those_nested_in(tmp_path):
    """Row 0 of the 500 m grid may be the second half of a 1 km row, as the start offsets tell."""
    product = small(tmp_path, "S1", "S8", cartesian=False)
    even = np.arange(16)[:, None] // 2 * 64 + np.arange(128) // 2
    assert geometry.coarse_index(product).flat.compute().tolist() == even.tolist()
    with Dataset(product / "flags_an.nc", "r+") as nc:
        nc.start_offset -= 1
    odd = geometry.coarse_index(product).flat.compute()
    assert odd[:5, 0].tolist() == [0, 0, 0, 64, 64]
    ds = granule(product, ["S1", "S8"])
    assert "for want of cartesian_an.nc" in ds.attrs["provenance"]["geolocation"]["coarse_pixels"]


def test_1km_values_come_to_500m_whole_and_with_their_flags(tmp_path):
    """Over several blocks, and at places that would be wrong if rows of a block were counted from the image's top."""
    made = Make(rows=ROWS, columns=16, bands=("S1", "S8"), texture=0.05)
    product = made.write(tmp_path)
    fine, coarse = granule(product, ["S1", "S8"]), granule(product, ["S8"])
    np.testing.assert_array_equal(fine["toa"][1].values[::2, ::2], coarse["toa"][0].values)
    np.testing.assert_array_equal(fine["toa"][1].values[1::2, 1::2], coarse["toa"][0].values)
    bayes = geometry.coarse_index(product).bring(flags.read(product, "in")["bayes"])
    assert bayes.dtype == np.uint8
    assert flags.has(bayes, "single_moderate").shape == (2 * ROWS, 32)


@pytest.mark.parametrize(
    ("file", "offset", "value", "said"),
    [
        ("flags_an.nc", "start_offset", 0, "the tie points in geometry_tn.nc of {} lie elsewhere than the pixels"),
        ("geometry_tn.nc", "track_offset", 64, "the tie points in geometry_tn.nc of {} lie elsewhere than the pixels"),
        ("flags_in.nc", "start_offset", 0, "the pixels of flags_in.nc in {} do not lie on those of flags_an.nc"),
    ],
)
def test_grids_that_lie_apart_are_refused(tmp_path, file, offset, value, said):
    """Angles would be those of the tie grid's edge, carried on over any distance."""
    product = small(tmp_path, "S1")
    with Dataset(product / file, "r+") as nc:
        nc.setncattr(offset, np.int32(value))
    with pytest.raises(UserError, match=said.format(product.name)):
        granule(product, ["S1"])


def test_pixels_of_real_product_lie_at_their_number():
    """Inland water is from a map: where the grids are laid on each other rightly it differs least, on no side less."""
    real = real_product()
    fine, coarse = (flags.has(flags.read(real, grid)["confidence"], "inland_water").values for grid in ("an", "in"))
    on, of = geometry.lattice(real, "flags_an.nc"), geometry.lattice(real, "flags_in.nc")
    rows, columns = (np.rint(places).astype(int)[4:-4] for places in (of.rows_in(on), of.columns_in(on)))

    def differing(down, right):
        return float((fine[np.ix_(rows + down, columns + right)] != coarse[4:-4, 4:-4]).mean())

    here, above, below = differing(0, 0), differing(-1, 0), differing(1, 0)
    left, right = differing(0, -1), differing(0, 1)
    assert here < 0.85 * min(above, below, left, right)
    assert above == pytest.approx(below, rel=0.05)
    assert left == pytest.approx(right, rel=0.05)


def test_places_of_real_product_lie_in_its_footprint():
    real = real_product()
    stream = (real / MANIFEST).read_text().split("posList>")[1].split("<")[0].split()
    footprint = Polygon(np.array(stream, float).reshape(-1, 2)[:, ::-1])
    ds = granule(real, ["S8"])[["lat", "lon", "toa"]].compute()
    measured = np.isfinite(ds["toa"][0].values)
    lon, lat = ds["lon"].values[measured], ds["lat"].values[measured]
    assert contains_xy(footprint.buffer(0.02), lon[::97], lat[::97]).all()
    lowest = Point(lon[lat.argmin()], lat[lat.argmin()])
    assert lowest.distance(footprint.boundary) < 0.02


def test_500m_rows_of_real_product_nest_as_its_flags_say():
    """Its gross cloud test is made on the 1 km grid; copied rightly, not one pixel of the 500 m grid differs."""
    real = real_product()
    fine, coarse = (flags.has(flags.read(real, grid)["cloud"], "gross_cloud") for grid in ("an", "in"))
    copied = geometry.coarse_index(real).bring(coarse)
    assert copied[3:-3].equals(fine[3:-3])
