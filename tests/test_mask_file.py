import json
from datetime import UTC, datetime

import netCDF4
import numpy as np
import product_factory
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from product_factory import granule
from rasterio.transform import GCPTransformer

from benchmark import catalog
from benchmark.api import UserError
from benchmark.masks import _mask_facts, _mask_file, predict, trained
from benchmark.masks._mask_file import STEP, MaskWriter, pack, provenance, write_cog

TIME = datetime(2024, 7, 1, 10, 1, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    row = next(row for name, row in catalog.rows().items() if name.startswith("threshold"))
    return trained.load(product_factory.run(out, row), "cpu", None, out / "sums.json")


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """A mask as `predict` writes it, and its granule."""
    folder = tmp_path_factory.mktemp("masks")
    path = product_factory.product(folder, rows=600, columns=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "sources", lambda: {"fake": product_factory.SOURCE})
        ds = predict.open_product(model, path)
    return predict.predict(model, ds, folder, False, lambda done, total: None), granule(600, 500)


def write(path, probability, valid, attrs=None, rows=7):
    lat, lon = (np.full(probability.shape, value, np.float32) for value in (45.0, 5.0))
    with MaskWriter(path, probability.shape, TIME, attrs or {"title": "test"}) as writer:
        for begin in range(0, len(probability), rows):
            part = slice(begin, begin + rows)
            writer.write(begin, probability[part], valid[part], 0.5, lat=lat[part], lon=lon[part])


@given(
    hnp.arrays(np.float32, 20, elements=st.floats(0, 1, width=32)),
    st.sampled_from([0.5, 0.25, 0.3, 0.77, 0.0, 1.0]),
)
def test_packing_keeps_value_and_side_of_the_threshold(probability, threshold):
    packed = pack(probability, threshold)
    assert packed.min() >= 0
    assert packed.max() <= 10_000
    assert np.abs(packed * STEP - probability).max() <= 1.01 * STEP
    np.testing.assert_array_equal(packed > threshold / STEP + 1e-6, probability > threshold)


def test_blocks_make_one_file(tmp_path):
    rng = np.random.default_rng(0)
    probability, valid = rng.random((40, 30), np.float32), rng.random((40, 30)) < 0.8
    write(tmp_path / "m.nc", probability, valid)
    ds = xr.open_dataset(tmp_path / "m.nc")
    np.testing.assert_array_equal(ds.cloud_mask, np.where(valid, probability > 0.5, np.nan))
    np.testing.assert_allclose(ds.cloud_probability, np.where(valid, probability, np.nan), atol=0.6 * STEP)
    assert set(ds.cloud_mask.coords) == {"lat", "lon", "time"}
    assert ds.time.values == np.datetime64("2024-07-01T10:01:30")
    assert ds.cloud_mask.attrs["flag_meanings"].split() == ["clear", "cloud"]
    assert ds.cloud_mask.encoding["zlib"]
    assert ds.cloud_mask.encoding["dtype"] == np.int8
    assert ds.cloud_mask.encoding["_FillValue"] == -1


def test_nothing_half_written_has_the_name(tmp_path):
    (tmp_path / "m.nc").write_text("old")
    with pytest.raises(KeyError), MaskWriter(tmp_path / "m.nc", (4, 4), TIME, {}):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["m.nc"]
    assert (tmp_path / "m.nc").read_text() == "old"
    assert provenance(tmp_path / "m.nc") == {}, "what is no mask has no provenance"


def test_a_place_that_cannot_be_written_is_a_users_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), MaskWriter(tmp_path / "file" / "m.nc", (4, 4), TIME, {}):
        pass


def test_file_passes_the_cf_checker_without_the_network(written, tmp_path, monkeypatch):
    import socket

    from compliance_checker.runner import CheckSuite, ComplianceChecker

    def refuse(*args, **kwargs):
        raise AssertionError("the checker asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    CheckSuite.load_all_available_checkers()
    report = tmp_path / "report.json"
    passed, errors = ComplianceChecker.run_checker(
        str(written[0].path), ["cf:1.8"], 0, "strict", output_filename=str(report), output_format="json"
    )
    found = json.loads(report.read_text())["cf:1.8"]
    results = [one for level in ("high", "medium", "low") for one in found[f"{level}_priorities"]]
    faults = [(one["name"], one["msgs"]) for one in results if one["value"][0] != one["value"][1]]
    assert faults == []
    assert passed
    assert not errors
    assert found["possible_points"] > 20


def test_the_checker_does_find_faults(written, tmp_path):
    """The test above can fail: the same file with a wrong unit does not pass."""
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    copy = tmp_path / "wrong.nc"
    copy.write_bytes(written[0].path.read_bytes())
    with netCDF4.Dataset(copy, "a") as file:
        file["lat"].units = "metres"
    CheckSuite.load_all_available_checkers()
    passed, _ = ComplianceChecker.run_checker(str(copy), ["cf:1.8"], 0, "strict", output_filename=str(tmp_path / "r"))
    assert not passed


def test_a_mask_says_where_it_is_from(written, model):
    outcome, product = written
    facts = provenance(outcome.path)
    for name in (
        "title",
        "institution",
        "source",
        "history",
        "references",
        "comment",
        "license",
        "commit",
        "prediction",
    ):
        assert facts[name], name
    assert facts["Conventions"] == "CF-1.8"
    assert (facts["product"], facts["processing_baseline"]) == ("FAKE_0.SEN3", "SL_L1_.004")
    assert json.loads(facts["product_provenance"]) == product.attrs["provenance"]
    assert (facts["row"], facts["model"]) == (model.row.name, model.folder.name)
    assert facts["model_files"] == "; ".join(f"{name} sha256:{total}" for name, total in model.files.items())
    assert (facts["data_fingerprint"], facts["split"]) == ("f" * 64, "5" * 64)
    assert facts["decision_threshold"] == 0.5
    assert facts["bands"].startswith("GREEN green (trained on green), RED red")
    assert facts["commit_of_training"] == "0123456789"
    assert facts["spatial_resolution"] == "500 m along the track, 521 m across, in the middle"
    assert str(outcome.path.parent) not in json.dumps({name: str(value) for name, value in facts.items()})


def test_what_has_no_value_is_left_out(model):
    ds = granule(roles=tuple(band.role for band in model.bands))
    ds["lat"] = ds.lat * np.nan
    facts = _mask_facts.describe(model, ds.assign_attrs(provenance={}, version=""))
    assert not {"spatial_resolution", "processing_baseline", "checkpoint", "view", "view_of_training"} & set(facts)


def test_cog_holds_mask_probability_and_places(written, tmp_path):
    outcome, product = written
    path = tmp_path / "m.tif"
    write_cog(outcome.path, path)
    with rasterio.open(path) as raster, netCDF4.Dataset(outcome.path) as file:
        file.set_auto_maskandscale(False)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1) == [2]
        assert (raster.descriptions, raster.nodata, raster.scales) == (
            ("cloud_mask", "cloud_probability"),
            255,
            (1.0, 0.01),
        )
        mask, percent = raster.read()
        np.testing.assert_array_equal(mask, file["cloud_mask"][:].view(np.uint8))
        probability = file["cloud_probability"][:]
        np.testing.assert_array_equal(percent == 255, probability < 0)
        np.testing.assert_allclose(percent[mask < 255] / 100, probability[mask < 255] * STEP, atol=0.0051)
        assert raster.tags()["prediction"] == provenance(outcome.path)["prediction"]
        gcps, crs = raster.gcps
    assert crs.to_epsg() == 4326
    with GCPTransformer(gcps) as place:
        for row, column in ((0, 0), (300, 250), (599, 499)):
            lon, lat = place.xy(row, column)
            there = product.isel(y=row, x=column)
            assert abs(lat - float(there.lat)) < 1e-4
            assert abs((lon - float(there.lon) + 180) % 360 - 180) < 1e-4
    assert max(point.x for point in gcps) > 180, "longitudes go on where the date line is crossed"
    assert [one.name for one in tmp_path.iterdir()] == ["m.tif"]


def test_a_mask_without_places_is_no_geotiff(tmp_path):
    with MaskWriter(tmp_path / "m.nc", (8, 8), TIME, {}) as writer:
        zero, nan = np.zeros((8, 8), np.float32), np.full((8, 8), np.nan, np.float32)
        writer.write(0, zero, np.ones((8, 8), bool), 0.5, lat=nan, lon=nan)
    with pytest.raises(UserError, match="fewer than 4 pixels with a place"):
        write_cog(tmp_path / "m.nc", tmp_path / "m.tif")
    assert [one.name for one in tmp_path.iterdir()] == ["m.nc"]


def test_quicklook_shows_the_mask(written, model, tmp_path):
    from matplotlib.image import imread

    from benchmark.masks import _quicklook

    outcome, product = written
    ds = product.isel(band=[list(product.role.values).index(band.role) for band in model.bands])
    _quicklook.draw(model, ds, outcome.path, tmp_path / "m.png")
    picture = imread(tmp_path / "m.png")
    assert max(picture.shape) <= 1500
    assert picture.std() > 0.1
    cloud, probability = _quicklook._coarse_mask(outcome.path, 7, (600, 500))
    fine = xr.open_dataset(outcome.path).cloud_mask.coarsen(y=7, x=7, boundary="pad").mean().values
    np.testing.assert_allclose(cloud, fine, atol=1e-6)
    assert np.nanmax(probability) <= 1


def test_the_module_needs_no_more_than_a_block(written):
    assert [begin for begin, _ in _mask_file.blocks(written[0].path, "cloud_mask")] == [0, 256, 512]
