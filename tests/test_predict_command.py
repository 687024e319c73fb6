"""The verb `predict`."""

from dataclasses import replace

import netCDF4
import numpy as np
import product_factory
import pytest
import typer
from predict_factory import ROWS, masks, plan_of
from typer.testing import CliRunner

from benchmark import catalog, record, scores
from benchmark.cli_predict import predict as verb


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    known = catalog.rows()
    monkeypatch.setattr(catalog, "rows", lambda: known | ROWS)
    monkeypatch.setattr(catalog, "sources", lambda: {"fake": product_factory.SOURCE})


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
