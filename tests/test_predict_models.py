"""Which model predicts a product, and which bands it is given."""

import hashlib
from dataclasses import replace

import netCDF4
import numpy as np
import product_factory
import pytest
from patch_factory import HLS5, bands
from predict_factory import ROWS, Brightness, Witness, masks, model, nothing, plan_of

from benchmark import artifacts, catalog, record
from benchmark import bands as sets
from benchmark.api import UserError, Weights
from benchmark.masks import _mask_facts, predict, trained


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    known = catalog.rows()
    monkeypatch.setattr(catalog, "rows", lambda: known | ROWS)
    monkeypatch.setattr(catalog, "sources", lambda: {"fake": product_factory.SOURCE})


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


def test_a_row_that_learnt_from_treated_labels_masks_nothing(tmp_path):
    with pytest.raises(UserError, match=r"treated labels \(permuted\)"):
        model(tmp_path, "pixelwise", labels="permuted")


@pytest.mark.parametrize("row", ["lightgbm", "threshold", "unet"])
def test_rows_of_the_catalogue_predict_products(tmp_path, row):
    row = next(name for name in catalog.rows() if name.startswith(row))
    one = model(tmp_path, row)
    ds = predict.open_product(one, product_factory.product(tmp_path))
    outcome = predict.predict(one, ds, tmp_path, False, nothing)
    mask, _ = masks(outcome.path)
    assert outcome.valid == (mask >= 0).sum()
    assert 0.2 < outcome.cloud / outcome.valid < 0.8


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
