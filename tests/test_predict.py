import hashlib
import os
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import product_factory
import pytest
import typer
import xarray as xr
from patch_factory import HLS5, bands, make_images
from typer.testing import CliRunner

from benchmark import _mask_facts, artifacts, catalog, cell, granule, planner, predict, record, scores, trained
from benchmark import bands as sets
from benchmark.api import Context, Row, UserError, Weights
from benchmark.cli_predict import predict as verb
from benchmark.plan import Plan


@dataclass
class Brightness:
    """Probability from the first band of a pixel alone, or less its patch's mean."""

    relative: bool = False

    def fit(self, train, val, ctx):
        self.level_ = 0.3

    def predict(self, images, ctx):
        toa = images.read()[:, 0].astype(np.float64)
        if self.relative:
            toa = toa - np.nanmean(toa, axis=(1, 2), keepdims=True) + self.level_
        return 1 / (1 + np.exp(np.clip(-20 * (toa - self.level_), -50, 50)))


@dataclass
class Witness:
    """Keeps the images it is given."""

    def fit(self, train, val, ctx):
        self.seen_ = []

    def predict(self, images, ctx):
        self.seen_.append(images)
        return np.full((len(images), *images.shape[2:]), 0.7, np.float32)


@dataclass
class Wrong:
    answer: float = 2.0

    def fit(self, train, val, ctx):
        pass

    def predict(self, images, ctx):
        return np.full((len(images), *images.shape[2:]), self.answer)


ROWS = {
    row.name: row
    for row in (
        Row("pixelwise", "threshold", Brightness, reach=0),
        Row("patchwise", "threshold", Brightness, {"relative": True}),
        Row("witness", "threshold", Witness, reads=("land",)),
        Row("wrong", "threshold", Wrong),
        Row("rival", "threshold", Brightness, reads=("rival_map",), reach=0),
    )
}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    known = catalog.rows()
    monkeypatch.setattr(catalog, "rows", lambda: known | ROWS)
    monkeypatch.setattr(catalog, "sources", lambda: {"fake": product_factory.SOURCE})


def model(tmp_path, row, **facts):
    return trained.load(
        product_factory.run(tmp_path / "results", catalog.rows()[row], **facts), "cpu", None, tmp_path / "w"
    )


def masks(path):
    with netCDF4.Dataset(path) as file:
        assert file.dimensions["y"].size
        file.set_auto_maskandscale(False)
        return file["cloud_mask"][:], file["cloud_probability"][:] * 1e-4


def nothing(done, total):
    pass


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


def test_bands_are_found_by_role_in_the_order_of_the_model(tmp_path, monkeypatch):
    order = ("SWIR_2", "RED", "GREEN")
    monkeypatch.setattr(product_factory, "HLS5", order)
    one = model(tmp_path, "witness", roles=order)
    ds = predict.open_product(one, product_factory.product(tmp_path))
    predict.predict(one, ds, tmp_path, False, nothing)
    assert tuple(ds.role.values) == order
    images = one.method.seen_[0]
    assert [band.role for band in images.bands] == list(order)
    whole = product_factory.granule().toa.sel(band=[role.lower() for role in order]).values
    whole[:, :, :4] = np.nan  # not valid in one band: in none
    np.testing.assert_array_equal(images.read(0)[0], whole[:, :32, :32])


def played(folder, entries):
    """Make a run one on bands that play the roles of others, as a cell keeps it."""
    own = bands(product_factory.ROLES)
    pairs = sets.played(own, entries)
    artifacts.save(Witness(), folder / "model", [band for _, band in pairs], (32, 32))
    kept = [{"name": band.name, "role": own[place].role, "plays": band.role} for place, band in pairs]
    done = record.read(folder)
    record.write(replace(done, bands=kept, cell={**done.cell, "bands": entries}), folder)
    return trained.load(folder, "cpu", None, folder / "w")


@pytest.mark.parametrize("spec", ["study", "study-readme", "shuffled", "RED=BLUE,SWIR_1,GREEN=NIR_NARROW"])
def test_bands_that_play_other_roles_are_found_by_their_own(tmp_path, spec):
    entries = sets.choose(bands(product_factory.ROLES), spec)
    one = played(product_factory.run(tmp_path, ROWS["witness"]), entries)
    one.method.seen_ = []
    ds = predict.open_product(one, product_factory.product(tmp_path))
    path = predict.predict(one, ds, tmp_path, False, nothing).path
    images = one.method.seen_[0]
    pairs = [(entry.partition("=")[0], band.role) for entry, band in zip(entries, images.bands, strict=True)]
    assert [(band.name, band.role) for band in images.bands] == pairs
    whole = product_factory.granule().toa.sel(band=[name for name, _ in pairs]).values.copy()
    whole[:, np.isnan(whole).any(axis=0)] = np.nan
    np.testing.assert_array_equal(images.read(0)[0], whole[:, :32, :32])
    with netCDF4.Dataset(path) as file:
        assert file.bands.startswith(f"{pairs[0][1]} {pairs[0][0]} (trained on {pairs[0][0]})")


def test_a_played_band_is_asked_for_by_the_role_that_is_its_own(tmp_path):
    one = played(product_factory.run(tmp_path, ROWS["witness"]), ("red=BLUE", "red=GREEN"))
    ds = predict.open_product(one, product_factory.product(tmp_path, roles=("RED",)))
    assert ds.band.values.tolist() == ["red", "red"]
    with pytest.raises(UserError, match="has no band of role RED, which row 'witness' was trained on"):
        predict.open_product(one, product_factory.product(tmp_path, roles=("GREEN", "BT_11")))


def test_masks_of_one_product_by_other_roles_are_not_the_same(tmp_path):
    folder = product_factory.run(tmp_path, ROWS["witness"])
    hashes = set()
    for entries in (("red", "green"), ("red=BLUE", "green"), ("red=GREEN", "green=RED")):
        one = played(folder, entries)
        hashes.add(_mask_facts.prediction(one, predict.open_product(one, product_factory.product(tmp_path))))
    assert len(hashes) == 3


def test_a_row_made_of_its_name_can_be_loaded(tmp_path, monkeypatch):
    folder = product_factory.run(tmp_path, replace(ROWS["pixelwise"], name="pixelwise+option"))
    with pytest.raises(UserError, match=r"is of row 'pixelwise\+option', which is no longer there"):
        trained.load(folder, "cpu", None, tmp_path / "w")
    made = replace(ROWS["pixelwise"], name="pixelwise+option")
    monkeypatch.setattr(catalog, "_resolved", lambda name: made if name == made.name else None)
    assert trained.load(folder, "cpu", None, tmp_path / "w").row == made


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


def test_a_mask_at_the_threshold_that_the_validation_part_chose(tmp_path, command):
    folder = product_factory.run(tmp_path / "elsewhere", ROWS["pixelwise"])
    args = (product_factory.product(tmp_path), "--method", folder, "--out", tmp_path / "masks")
    code, said = command(*args, "--threshold", "validation")
    assert (code, "cannot choose a threshold: no validation histogram was kept" in " ".join(said.split())) == (2, True)
    hist = np.zeros((2, len(scores.VALUES)), np.int64)
    high = 1 - 2**-9
    for value, clear, cloud in ((0.125, 90, 10), (high, 60, 5), (1, 5, 80)):
        hist[:, np.searchsorted(scores.VALUES, value)] = clear, cloud
    np.save(folder / record.VALIDATION, hist)
    path = tmp_path / "masks" / "FAKE_0_pixelwise.nc"
    cloudy = {}
    for options, threshold in (((), 0.5), (("--threshold", "validation"), high), (("--threshold", "half"), 0.5)):
        code, said = command(*args, *options)
        assert (code, "already there" in said) == (0, False), said
        mask, probability = masks(path)
        np.testing.assert_array_equal(mask[mask >= 0], probability[mask >= 0] > threshold)
        with netCDF4.Dataset(path) as file:
            assert file.decision_threshold == threshold
        cloudy[threshold] = (mask == 1).sum()
    assert 0 < cloudy[high] < cloudy[0.5]
    assert record.read(folder).threshold == 0.5, "the record stays as it is"


@pytest.mark.parametrize("other", [{"rows": 64}, {"night": False, "roles": (*product_factory.ROLES, "BT_12")}])
def test_a_product_of_the_same_name_with_other_content_is_another(tmp_path, command, other):
    folder = product_factory.run(tmp_path / "elsewhere", ROWS["pixelwise"])
    args = ("--method", folder, "--out", tmp_path / "masks", "--quicklook")
    path = product_factory.product(tmp_path)
    assert "already there" not in command(path, *args)[1]
    assert "already there" in command(path, *args)[1]
    path = product_factory.product(tmp_path, **other)
    code, said = command(path, *args)
    assert (code, "already there" in said) == (0, False), said
    assert masks(tmp_path / "masks" / "FAKE_0_pixelwise.nc")[0].shape == (other.get("rows", 96), 120)


def test_the_shape_of_a_product_counts_beside_its_version(tmp_path):
    one = model(tmp_path, "pixelwise")
    ds = predict.open_product(one, product_factory.product(tmp_path))
    assert _mask_facts.prediction(one, ds) != _mask_facts.prediction(one, ds.isel(y=slice(64)))


def test_a_mask_written_anew_leaves_no_picture_of_an_older_one(tmp_path, command):
    path, out = product_factory.product(tmp_path), tmp_path / "masks"
    args = ("--method", product_factory.run(tmp_path / "elsewhere", ROWS["pixelwise"]), "--out", out)
    command(path, *args, "--cog", "--quicklook")
    assert command(path, *args)[0] == 0
    assert len(list(out.iterdir())) == 3, "the mask is the same, so they stay"
    assert command(path, *args, "--fresh")[0] == 0
    assert [one.name for one in out.iterdir()] == ["FAKE_0_pixelwise.nc"]
    (out / "FAKE_0_pixelwise.tif").mkdir()
    code, said = command(path, *args, "--fresh")
    assert code == 2
    assert "belongs to an older mask and cannot be removed" in said


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


def test_a_row_that_learnt_from_treated_labels_masks_nothing(tmp_path):
    with pytest.raises(UserError, match=r"treated labels \(permuted\)"):
        model(tmp_path, "pixelwise", labels="permuted")


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


@pytest.mark.parametrize("row", ["lightgbm", "threshold", "unet"])
def test_rows_of_the_catalogue_predict_products(tmp_path, row):
    row = next(name for name in catalog.rows() if name.startswith(row))
    one = model(tmp_path, row)
    ds = predict.open_product(one, product_factory.product(tmp_path))
    outcome = predict.predict(one, ds, tmp_path, False, nothing)
    mask, _ = masks(outcome.path)
    assert outcome.valid == (mask >= 0).sum()
    assert 0.2 < outcome.cloud / outcome.valid < 0.8


def plan_of(tmp_path, *cells):
    plan = Plan("factory-smoke", cells, tmp_path / "data.zarr", tmp_path / "split.json")
    planner.save(plan, tmp_path / "results")
    return plan


def test_a_row_stands_for_its_tuned_run_then_for_its_defaults(tmp_path):
    row, out = ROWS["pixelwise"], tmp_path / "results"
    default, tuned = product_factory.cell(row), product_factory.cell(row, trials=3)
    plan = plan_of(tmp_path, product_factory.cell(row, seed=1, trials=3), default, tuned)
    with pytest.raises(UserError, match="row 'pixelwise' of plan factory-smoke has no finished run"):
        trained.find(plan, out, "pixelwise")
    product_factory.run(out, row)
    assert trained.find(plan, out, "pixelwise") == default.folder(out)
    product_factory.run(out, row, trials=3)
    assert trained.find(plan, out, "pixelwise") == tuned.folder(out)
    with pytest.raises(UserError, match=r"'forest' is neither the folder of a run nor a row of plan .* are pixelwise"):
        trained.find(plan, out, "forest")


def test_runs_without_a_usable_model_are_refused(tmp_path):
    folder = product_factory.run(tmp_path, ROWS["pixelwise"])

    def load():
        return trained.load(folder, "cpu", None, tmp_path / "sums.json")

    assert load().unchanged
    done = record.read(folder)
    record.write(replace(done, cell=done.cell | {"code": "older"}), folder)
    assert not load().unchanged
    record.write(replace(done, cell=done.cell | {"row": "gone"}), folder)
    with pytest.raises(UserError, match="is of row 'gone', which is no longer there"):
        load()
    record.write(replace(done, status=record.FAILED, reason="it broke"), folder)
    with pytest.raises(UserError, match="left no model: it broke"):
        load()
    record.write(done, folder)
    artifacts.save(Brightness(), folder / "model")
    with pytest.raises(UserError, match="does not say what its method was trained on; run its row again"):
        load()
    with pytest.raises(UserError, match="holds no record of a run"):
        trained.load(tmp_path, "cpu", None, tmp_path / "sums.json")


def test_a_model_needs_the_checkpoint_it_was_trained_from(tmp_path, monkeypatch):
    row = replace(ROWS["pixelwise"], weights=Weights("nobody/nothing", "w.pt"))
    monkeypatch.setitem(ROWS, "pixelwise", row)
    (tmp_path / "w.pt").write_bytes(b"weights")
    folder = product_factory.run(tmp_path, row, weights=hashlib.sha256(b"others").hexdigest())
    with pytest.raises(UserError, match="is not the checkpoint that this model of row 'pixelwise' was trained from"):
        trained.load(folder, "cpu", tmp_path, tmp_path / "sums.json")
    folder = product_factory.run(tmp_path, row, weights=hashlib.sha256(b"weights").hexdigest())
    assert trained.load(folder, "cpu", tmp_path, tmp_path / "sums.json").context.weights == tmp_path / "w.pt"
    with pytest.raises(UserError, match=r"weights w\.pt could not be had"):
        trained.load(folder, "cpu", None, tmp_path / "sums.json")


def test_a_saved_model_knows_its_bands(tmp_path):
    artifacts.save(Brightness(), tmp_path, bands(HLS5), (32, 48))
    assert artifacts.inputs(tmp_path) == artifacts.Inputs(bands(HLS5), (32, 48), "", "")
    artifacts.save(Brightness(), tmp_path, bands(HLS5), (32, 48), "oblique", "EPSG:32636@500")
    assert artifacts.inputs(tmp_path) == artifacts.Inputs(bands(HLS5), (32, 48), "oblique", "EPSG:32636@500")


@pytest.fixture
def command(tmp_path):
    app = typer.Typer()
    app.command()(verb)

    def call(*args):
        done = CliRunner().invoke(app, [*map(str, args), "--results", str(tmp_path / "results"), "--device", "cpu"])
        return done.exit_code, done.output

    return call


def test_one_bad_product_is_skipped_and_the_others_are_written(tmp_path, command):
    product_factory.run(tmp_path / "results", ROWS["pixelwise"])
    plan_of(tmp_path, product_factory.cell(ROWS["pixelwise"]))
    products = [product_factory.product(tmp_path, seed=seed, night=seed == 1) for seed in range(3)]
    out = tmp_path / "masks"
    code, said = command(*products, tmp_path / "absent.fake", "--method", "pixelwise", "--out", out)
    assert code == 2
    assert "skipped product1.fake: FAKE_1.SEN3 has no pixel" in said
    assert "skipped absent.fake: there is nothing at" in said
    assert sorted(path.name for path in out.iterdir()) == ["FAKE_0_pixelwise.nc", "FAKE_2_pixelwise.nc"]
    code, said = command(products[0], "--method", "pixelwise", "--out", out)
    assert (code, said.strip()) == (0, f"mask {out / 'FAKE_0_pixelwise.nc'} is already there")


def test_a_folder_of_a_run_is_a_method_and_pictures_come_on_request(tmp_path, command):
    folder = product_factory.run(tmp_path / "elsewhere", ROWS["pixelwise"])
    args = (product_factory.product(tmp_path), "--method", folder, "--out", tmp_path / "masks")
    code, said = command(*args, "--cog", "--quicklook")
    assert code == 0, said
    assert {path.suffix for path in (tmp_path / "masks").iterdir()} == {".nc", ".tif", ".png"}
    assert command(args[0], "--method", tmp_path)[0] == 2


@pytest.mark.parametrize("name", ["prithvi-made-up+skip", "fm:made-up"])
def test_a_row_that_a_module_makes_of_its_name_is_a_method(tmp_path, command, monkeypatch, name):
    row = replace(ROWS["pixelwise"], name=name)
    monkeypatch.setattr(catalog, "_resolved", {name: row}.get)
    product_factory.run(tmp_path / "results", row)
    plan_of(tmp_path, product_factory.cell(row))
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)  # the row's name, not the folder's
    code, said = command(product_factory.product(tmp_path), "--method", name, "--out", tmp_path / "masks", "--cog")
    assert code == 0, said
    stem = f"FAKE_0_{name.replace(':', '-')}"
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [f"{stem}.nc", f"{stem}.tif"]


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
