import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import product_factory
import pytest
import xarray as xr
from patch_factory import make_images
from predict_factory import ROWS, masks, model, nothing

from benchmark import catalog, cell, granule
from benchmark.api import Context, UserError
from benchmark.masks import _mask_facts, predict, trained


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    known = catalog.rows()
    monkeypatch.setattr(catalog, "rows", lambda: known | ROWS)
    monkeypatch.setattr(catalog, "sources", lambda: {"fake": product_factory.SOURCE})


def test_the_fake_granule_keeps_the_contract():
    assert granule.faults(product_factory.granule()) == []


def test_a_mask_equals_the_prediction_of_the_whole_image(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path))
    outcome = predict.predict(one, ds, tmp_path / "masks", False, nothing)
    toa = ds.toa.values
    whole = one.method.predict(make_images(toa[None]), Context())[0]
    invalid = np.isnan(toa).any(axis=0)
    mask, probability = masks(outcome.path)
    np.testing.assert_array_equal(mask, np.where(invalid, -1, whole > 0.5))
    np.testing.assert_allclose(np.where(invalid, 0, probability), np.where(invalid, 0, whole), atol=0.6e-4)
    assert outcome.path == tmp_path / "masks" / "FAKE_0_pixelwise.nc"
    assert (outcome.pixels, outcome.valid) == (invalid.size, (~invalid).sum())
    assert outcome.cloud == (mask == 1).sum()
    assert not list((tmp_path / "masks").glob(".*")), "nothing half-written stays"


def test_a_network_sees_patches_as_in_training(tmp_path):
    """Tiles of the training size with the place and time of their middle, and the maps of the row alone."""
    one = model(tmp_path, "witness")
    ds = predict.open_product(one, product_factory.product(tmp_path))
    predict.predict(one, ds, tmp_path, False, nothing)
    seen = one.method.seen_
    assert {len(images) for images in seen} == {4, 1}, "batches of the budget, the rest of a row of tiles at its end"
    assert {images.shape[2:] for images in seen} == {(32, 32)}
    first = seen[0].take(0)
    np.testing.assert_allclose([first.lat[0], first.lon[0]], [ds.lat.values[16, 16], ds.lon.values[16, 16]])
    assert first.sun_zenith[0] == 40
    assert list(first.maps) == ["land"]
    np.testing.assert_array_equal(seen[0].read_map("land", 2)[0], ds.land.values[:32, 48:80])
    times = np.concatenate([images.time for images in seen])
    assert times.min() == np.datetime64("2024-07-01T10:00:30")
    assert times.max() == np.datetime64("2024-07-01T10:02:30")


def test_the_middle_of_a_tile_without_a_place_is_that_of_the_nearest_pixel():
    planes = {name: np.full((9, 9), np.nan, np.float32) for name in predict.PLANES}
    assert np.isnan(predict._middle(planes)).all()
    for name, value in zip(predict.PLANES, (1.0, 2.0, 3.0), strict=True):
        planes[name][0, 0], planes[name][4, 6] = 9.0, value
    assert predict._middle(planes) == (1.0, 2.0, 3.0)


def test_blended_tiles_leave_no_seam(tmp_path):
    """A method that differs from tile to tile by its mean gives a field without a step where tiles end."""
    one = model(tmp_path, "patchwise")
    ds = predict.open_product(one, product_factory.product(tmp_path, rows=128, columns=128))
    ds["toa"] = (ds.toa * 0 + 0.3).chunk() + 0.001 * ds.y + 0.001 * ds.x
    _, probability = masks(predict.predict(one, ds, tmp_path, False, nothing).path)
    steps = np.abs(np.diff(probability[:, 4:], axis=0))
    assert steps.max() < 0.05
    assert probability[:, 4:].std() > 0.02, "tiles do differ, so there was something to blend"


def test_the_same_model_does_not_predict_twice(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path))

    def again(fresh=False, of=one, product=ds):
        return predict.predict(of, product, tmp_path, fresh, nothing).kept

    assert [again(), again(), again(fresh=True), again()] == [False, True, False, True]
    other = replace(one, files={"method.json": "0"})
    assert [again(of=other), again(of=other), again()] == [False, True, False]
    newer = ds.assign_attrs(provenance={"baseline": "SL_L1_.005"})
    assert not again(product=newer)


def test_the_shape_of_a_product_counts_beside_its_version(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path))
    assert _mask_facts.prediction(one, ds) != _mask_facts.prediction(one, ds.isel(y=slice(64)))


def test_a_product_is_opened_in_the_view_of_the_training_data(tmp_path):
    oblique, nadir = (model(tmp_path / view, "pixelwise", view=view) for view in ("oblique", "nadir"))
    path = product_factory.product(tmp_path, views=["nadir", "oblique"])
    for one in (oblique, nadir):
        ds = predict.open_product(one, path)
        assert ds.attrs["provenance"]["view"] == one.view
        with netCDF4.Dataset(predict.predict(one, ds, tmp_path / one.view, False, nothing).path) as file:
            assert (file.view, file.view_of_training, file.grid) == (one.view, one.view, "an")
    single = product_factory.product(tmp_path, name="single")
    with pytest.raises(
        UserError, match="row 'pixelwise' was trained on the oblique view: fake products have no option"
    ):
        predict.open_product(oblique, single)
    assert predict.open_product(nadir, single)
    assert predict.open_product(replace(oblique, view="from 41.5 degrees east"), single)


def test_a_model_of_a_map_grid_is_refused(tmp_path):
    with pytest.raises(UserError, match="trained on map grid EPSG:32636@500, and masks are made on the grid of the pr"):
        model(tmp_path, "pixelwise", grid="EPSG:32636@500")


def test_view_and_grid_of_a_patch_set_are_those_of_its_products(monkeypatch):
    def seen(**attrs):
        monkeypatch.setattr(cell.patchset, "arrays", lambda store: SimpleNamespace(attrs=attrs))
        return cell._seen(Path())

    native, mapped = {"view": "oblique", "grid": "an"}, {"view": "oblique", "map_grid": "EPSG:32636@500"}
    assert seen(provenance={"A": native, "B": native}) == ("oblique", "")
    assert seen(provenance={"A": mapped}) == ("oblique", "EPSG:32636@500")
    assert seen() == seen(provenance="of another kind") == seen(provenance={"A": "unknown"}) == ("", "")


def test_a_night_product_is_refused_and_leaves_nothing(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path, night=True))
    with pytest.raises(UserError, match=r"no pixel that is valid in all of green, red.*at night \(sun zenith 110"):
        predict.predict(one, ds, tmp_path / "masks", False, nothing)
    assert list((tmp_path / "masks").iterdir()) == []


@pytest.mark.parametrize("answer", [2.0, -0.1, float("nan")])
def test_a_method_that_gives_no_probabilities_is_stopped(tmp_path, answer):
    one = model(tmp_path, "wrong")
    one.method.answer = answer
    ds = predict.open_product(one, product_factory.product(tmp_path))
    with pytest.raises(ValueError, match="wrong gave probabilities that are not in"):
        predict.predict(one, ds, tmp_path / "masks", False, nothing)
    assert list((tmp_path / "masks").iterdir()) == []


def test_products_that_do_not_fit_the_model_are_refused(tmp_path):
    one = model(tmp_path, "pixelwise")
    path = product_factory.product(tmp_path, roles=("GREEN", "RED", "BT_11"))
    with pytest.raises(UserError, match="has no band of role NIR_NARROW, which row 'pixelwise' was trained on"):
        predict.open_product(one, path)
    with pytest.raises(UserError, match="there is nothing at"):
        predict.open_product(one, tmp_path / "absent.fake")
    with pytest.raises(UserError, match="is no product of a data source"):
        predict.open_product(one, tmp_path)
    warm = replace(one, bands=(replace(one.bands[0], quantity="brightness_temperature"), *one.bands[1:]))
    with pytest.raises(
        UserError, match=r"role GREEN is reflectance in .*, and the model was trained on brightness_temp"
    ):
        predict.open_product(warm, product_factory.product(tmp_path))
    with pytest.raises(UserError, match="has no map 'rival_map', which row 'rival' reads"):
        predict.open_product(model(tmp_path, "rival"), product_factory.product(tmp_path))


def test_a_product_that_breaks_off_while_it_is_read_is_a_users_fault(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path))

    def broken(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][1] == 2:
            raise OSError("NetCDF: HDF error")
        return block

    ds["toa"] = ds.toa.copy(data=ds.toa.data.map_blocks(broken, dtype=np.float32))
    with pytest.raises(UserError, match=r"FAKE_0.SEN3 cannot be read: NetCDF: HDF error"):
        predict.predict(one, ds, tmp_path / "masks", False, nothing)
    assert list((tmp_path / "masks").iterdir()) == []


def test_memory_does_not_grow_with_the_product(tmp_path, monkeypatch):
    """Kept are the tasks of the blocks, and not even one byte of a pixel, which the smallest map would take."""
    monkeypatch.setattr(predict, "READ_ROWS", 64)
    one = model(tmp_path, "patchwise")

    def peak(rows):
        ds = predict.open_product(one, product_factory.product(tmp_path, rows=64, columns=1024, chunk=64))
        ds = xr.concat(
            [ds] * (rows // 64), "y", data_vars="minimal", coords="minimal", compat="override", join="override"
        )
        tracemalloc.start()
        predict.predict(one, ds, tmp_path, True, nothing)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(64)
    small, large = peak(1024), peak(8192)
    assert large - small < (8192 - 1024) * 1024, (small, large)


@pytest.mark.skipif("NEPHOSCOPE_SLSTR" not in os.environ, reason="NEPHOSCOPE_SLSTR does not name a folder of products")
def test_a_thermal_model_predicts_a_real_product(tmp_path, monkeypatch):
    """Brightness temperatures of a day over East Africa; the model knows cold from warm and no more."""
    from datasets import slstr

    monkeypatch.setattr(catalog, "sources", lambda: {"slstr": slstr.SOURCE})
    path = next(Path(os.environ["NEPHOSCOPE_SLSTR"]).glob("*.SEN3"))
    folder = product_factory.run(tmp_path, catalog.rows()["lightgbm"], roles=("BT_37", "BT_11", "BT_12"))
    one = trained.load(folder, "cpu", None, tmp_path / "w")
    ds = predict.open_product(one, path)
    outcome = predict.predict(one, ds, tmp_path, False, nothing)
    mask, _ = masks(outcome.path)
    coldest = ds.toa.sel(band=ds.role == "BT_11").squeeze("band").values
    assert outcome.valid > 0.9 * mask.size
    assert np.median(coldest[mask == 1]) < np.median(coldest[mask == 0]) - 10
    with netCDF4.Dataset(outcome.path) as file:
        assert np.isfinite(file["lat"][:][mask >= 0]).mean() > 0.99
        assert file.processing_baseline
        assert file.spatial_resolution
