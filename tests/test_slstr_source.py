import os
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from slstr_factory import NAME, Make, of_day

from benchmark import catalog, patchset, splits
from benchmark import granule as contract
from benchmark.api import UserError
from benchmark.sources import Request
from datasets import slstr

SOURCE = slstr.SOURCE
REAL = os.environ.get("NEPHOSCOPE_SLSTR")


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    return [of_day(folder, day, rows=24, columns=64, bands=("S1", "S8", "S9")) for day in (25, 26, 27)]


def request(paths, store, size=16, **options):
    return Request(tuple(paths), store, size=size, options=options)


def make(paths, store, **options):
    wanted = request(paths, store, **options)
    SOURCE.make(wanted, lambda done, total: None)
    return patchset.open_store(wanted.store)


def test_products_become_patches_with_the_default_label(tmp_path, products):
    ds = make([products[0].parent], tmp_path / "s.zarr", bands="GREEN,S8")
    patchset.validate(ds)
    assert ds.band.values.tolist() == ["S1", "S8"]
    assert ds.sizes["patch"] == 3 * 3 * 8
    assert ds.attrs["label_source"].startswith("SLSTR summary_cloud")
    assert set(ds.orbit.values) == {"S3A-028025", "S3A-028026", "S3A-028027"}
    assert ds["mask"].values[(ds.column < 64).values].all()
    assert not ds["mask"].values[(ds.column >= 64).values].any()
    green = ds.toa.sel(band="S1").values
    assert 0.2 < green.min() < green.max() < 0.4
    assert splits.read(tmp_path / "s.split.json").unit == "scene"


def test_times_of_patches_lie_between_start_and_stop(tmp_path, products):
    times = make(products, tmp_path / "s.zarr", bands="S8", size=8).time.values
    assert times.min() == np.datetime64("2021-08-25T07:43:30")  # a sixth of 180 s after 43 min 0.5 s
    assert times.max() == np.datetime64("2021-08-27T07:45:30")


def test_one_product_in_blocks_with_another_label_on_a_map(tmp_path, products):
    options = {"bands": "S8,S9", "label": "cloud:visible,gross_cloud", "grid": "EPSG:32701@1000", "min_valid": 0.9}
    ds = make(products[:1], tmp_path / "s.zarr", split="block", size=8, **options)
    patchset.validate(ds)
    assert ds.attrs["label_bands"] == ["S1", "S2", "S3", "S5", "S9"]
    assert ds.sizes["patch"] >= 10
    cloud = ds["mask"].values == 1
    assert cloud.any()
    assert ds.lat.values[cloud.all(axis=(1, 2))].min() > ds.lat.values[~cloud.any(axis=(1, 2))].max()


def test_the_truth_of_a_file_is_aligned_with_its_product(tmp_path, products):
    for product in products:
        with netCDF4.Dataset(product.parent / f"{product.stem}.truth.nc", "w") as nc:
            nc.label_bands = ""
            nc.createDimension("y", 48)
            nc.createDimension("x", 128)
            nc.createVariable("mask", "u1", ("y", "x"))[:] = np.arange(48)[:, None] >= 16
    ds = make(products, tmp_path / "s.zarr", bands="S1", label="file:{product}.truth.nc")
    assert ds.attrs["label_bands"] == []
    np.testing.assert_array_equal(ds["mask"].values.all(axis=(1, 2)), ds.row.values >= 16)


def test_open_gives_a_granule_with_a_mask_only_when_asked(products):
    bare = SOURCE.open(products[0], ["BT_11"], {})
    assert contract.faults(bare) == []
    assert "mask" not in bare
    assert contract.faults(SOURCE.open(products[0], ["BT_11"], {"label": "bayes", "view": "nadir"})) == []
    with pytest.raises(UserError, match="no option 'split'"):
        SOURCE.open(products[0], ["BT_11"], {"split": "block"})


def test_default_bands_that_a_product_lacks_are_told_with_those_it_has(tmp_path, products):
    with pytest.raises(UserError, match=r"lacks S2, S3, .* --bands from S1, S8, S9"):
        make(products[:1], tmp_path / "s.zarr", split="block")
    assert not list(tmp_path.iterdir())


def test_a_renamed_product_is_recognised_and_refused(tmp_path):
    product = Make(rows=8, columns=64, bands=("S8",)).write(tmp_path)
    renamed = product.rename(tmp_path / "mine.SEN3")
    assert SOURCE.recognises(renamed)
    with pytest.raises(UserError, match="not the name of an SLSTR level-1B product"):
        make([renamed], tmp_path / "s.zarr", bands="S8", size=8)
    with pytest.raises(UserError, match="not the name"):
        SOURCE.check(renamed)


def test_what_is_recognised(tmp_path, products):
    assert SOURCE.recognises(products[0])
    assert SOURCE.recognises(products[0].parent)
    (tmp_path / "S3A_OL_1_EFR____1.SEN3").mkdir()
    (tmp_path / NAME).touch()
    assert not SOURCE.recognises(tmp_path)
    assert not SOURCE.recognises(tmp_path / "gone")
    recognised = [name for name, source in catalog.sources().items() if source.recognises(products[0])]
    assert recognised == ["slstr"]


def test_check_compares_with_the_manifest(tmp_path):
    product = Make(rows=8, columns=64, bands=("S8",)).write(tmp_path)
    count = len(list(product.glob("*.nc")))
    assert SOURCE.check(tmp_path) == f"{product.name}: {count} of {count} files are there, all as the manifest says"
    with (product / "viscal.nc").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    with pytest.raises(UserError, match=r"viscal.nc of .* differs"):
        SOURCE.check(product)


def test_check_tells_what_a_partial_product_lacks_and_refuses_one_without_measurements(tmp_path):
    product = Make(rows=8, columns=64, bands=("S1", "S8")).write(tmp_path)
    count = len(list(product.glob("*.nc")))
    for name in ("S1_radiance_an.nc", "viscal.nc"):
        (product / name).unlink()
    said = f"{count - 2} of {count} files are there, all as the manifest says; absent and needed: "
    assert SOURCE.check(product) == f"{product.name}: {said}S1_radiance_an.nc, viscal.nc (partial product)"
    (product / "S8_BT_in.nc").unlink()
    with pytest.raises(UserError, match=r"holds no measurement: each \*_radiance_\*\.nc and \*_BT_\*\.nc is absent"):
        SOURCE.check(product)


def test_version_follows_files_and_options(tmp_path, products):
    one = SOURCE.version(request(products, tmp_path / "a.zarr"))
    assert SOURCE.version(request([products[0].parent], tmp_path / "b.zarr")) == one
    assert SOURCE.version(request(products[:2], tmp_path / "a.zarr")) != one
    assert SOURCE.version(request(products, tmp_path / "a.zarr", label="bayes")) != one


@pytest.mark.skipif(not REAL, reason="NEPHOSCOPE_SLSTR names no folder with a real product")
def test_a_real_product(tmp_path):
    ds = make(
        [Path(REAL)], tmp_path / "s.zarr", size=224, bands="S8", label="cloud:visible,1.37_threshold", split="block"
    )
    assert ds.sizes["patch"] == 30
    assert 0.05 < float((ds["mask"] == 1).mean()) < 0.2
    assert 200 < float(ds.toa.min()) < float(ds.toa.max()) < 340
    patchset.validate(ds)
