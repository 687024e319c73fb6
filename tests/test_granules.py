import os
import shutil

import dask
import numpy as np
import pytest
import shapely
import xarray as xr
from granule_factory import granule

from benchmark import patchset, splits
from benchmark.api import UserError
from benchmark.sources import Request
from datasets import _granules

NAMES = ("A", "B", "C")


@pytest.fixture
def orbits():
    """Three granules of three orbits on three days, far from one another."""
    return {
        name: granule(name=name, orbit=f"S3A-{place:06d}", day=place + 1, seed=place, west=10.0 + 5 * place)
        for place, name in enumerate(NAMES)
    }


def one_by_one(function, arguments):
    """Do pieces of work as a cluster does them, whole before anything is written."""
    yield from map(function, arguments)


def build(tmp_path, granules, size=32, progress=lambda done, total: None, spread=None, **options):
    """Make a patch set of granules by name; a UserError in their place is the fault of opening them."""

    def open_(path):
        if isinstance(granules[path.name], UserError):
            raise granules[path.name]
        return granules[path.name]

    request = Request((), tmp_path / "made.zarr", size=size, options=options, spread=spread)
    _granules.make(request, [tmp_path / name for name in granules], open_, progress, "version")
    return patchset.open_store(request.store)


def test_patches_are_the_tiles_of_the_granules(tmp_path, orbits):
    ds = build(tmp_path, orbits)
    patchset.validate(ds)
    assert ds.sizes["patch"] == 3 * 2 * 3
    for place, (name, source) in enumerate(orbits.items()):
        rows = ds.isel(patch=slice(6 * place, 6 * place + 6))
        assert set(rows.granule.values) == {name}
        for variable in ("toa", "mask", "land", "rival"):
            whole = source[variable].values
            for tile in rows.transpose("patch", ...).patch.values:
                one = rows.sel(patch=tile)
                y, x = int(one.row), int(one.column)
                np.testing.assert_array_equal(one[variable].values, whole[..., y : y + 32, x : x + 32])
    assert sorted(zip(ds.row.values[:6], ds.column.values[:6], strict=True)) == [
        (y, x) for y in (0, 32) for x in (0, 32, 64)
    ]


def test_what_is_told_of_a_patch(tmp_path, orbits):
    ds, source = build(tmp_path, orbits), orbits["A"]
    one = ds.isel(patch=4)  # row 32, column 32
    for name in ("lat", "lon", "sun_zenith", "view_zenith"):
        assert float(one[name]) == pytest.approx(float(source[name][48, 48]))
    assert one.time.values == np.datetime64("2024-07-01T10:02:15")  # three quarters of three minutes
    corners = shapely.from_wkt(str(one.footprint.values))
    assert corners.bounds == pytest.approx((10.325, 39.365, 10.635, 39.675), abs=1e-4)
    assert (str(one.orbit.values), str(one.frame.values)) == ("S3A-000000", "1080")
    assert ds.land.attrs["flag_meanings"] == "water land"


def test_attributes_of_the_store(tmp_path, orbits):
    attrs = build(tmp_path, orbits).attrs
    assert set(attrs["metadata"]) == {"orbit", "frame", "granule", "row", "column", "view_zenith", "footprint"}
    assert attrs["maps"] == {"rival": ["S8"]}
    assert (attrs["products"], attrs["skipped"], attrs["made_of"]) == (3, {}, "version")
    assert attrs["provenance"]["B"] == orbits["B"].attrs["provenance"]
    assert (attrs["label_source"], attrs["label_bands"], attrs["sensor"]) == ("factory clouds", [], "factory")


def test_parts_share_no_orbit(tmp_path, orbits):
    orbits["D"] = granule(name="D", orbit="S3A-000002", day=3, seed=9, north=30.0)
    build(tmp_path, orbits)
    split = splits.read(tmp_path / "made.split.json")
    assert split.unit == "scene"
    owners = {}
    for part, patches in split.parts.items():
        for patch in patches:
            assert owners.setdefault(split.scenes[patch], part) == part
    assert set(owners) == {"S3A-000000", "S3A-000001", "S3A-000002"}


def test_split_by_date_keeps_the_orbits_of_a_day_together(tmp_path, orbits):
    orbits["D"] = granule(name="D", orbit="S3A-000077", day=1, seed=9, north=30.0)
    build(tmp_path, orbits, split="date")
    split = splits.read(tmp_path / "made.split.json")
    owners = {patch[:10]: part for part, patches in split.parts.items() for patch in patches}
    assert split.unit == "date"
    assert owners[orbits["A"].attrs["orbit"]] == owners["S3A-000077"]
    assert len(set(owners.values())) == 3


def test_split_by_block_cuts_one_product(tmp_path):
    ds = build(tmp_path, {"A": granule()}, size=16, split="block")
    assert sorted(set(ds.scene.values)) == [f"S3A-000001-20240701T100000-{y}-{x}" for y in range(2) for x in range(3)]
    one = ds.isel(patch=(ds.row.values == 32) & (ds.column.values == 48))
    assert one.scene.values == ["S3A-000001-20240701T100000-1-1"]
    assert one.patch.values == ["S3A-000001-20240701T100000-0032-0048"]
    assert splits.read(tmp_path / "made.split.json").unit == "block"
    assert ds.attrs["scene_unit"] == "block"


def test_too_few_orbits_are_told_with_the_remedy_and_leave_nothing(tmp_path, orbits):
    with pytest.raises(UserError, match=r"has 2 scene\(s\).*needs 3; `data make` with --split block"):
        build(tmp_path, {name: orbits[name] for name in "AB"})
    assert not list(tmp_path.iterdir())


def test_orbits_that_see_the_same_clouds_stay_together(tmp_path, orbits):
    orbits["D"] = granule(name="D", orbit="S3B-000001", seed=5)  # where A is, on the same day
    build(tmp_path, orbits)
    split = splits.read(tmp_path / "made.split.json")
    owners = {split.scenes[patch]: part for part, patches in split.parts.items() for patch in patches}
    assert owners[orbits["A"].attrs["orbit"]] == owners["S3B-000001"]
    assert len(set(owners.values())) == 3


def test_a_frame_that_was_made_again_is_converted_once(tmp_path, orbits):
    orbits["again"] = granule(name="again", orbit=orbits["A"].attrs["orbit"], seed=5)
    ds = build(tmp_path, orbits)
    assert ds.attrs["skipped"] == {"again": "again is the same frame as A, which is already converted"}
    assert ds.attrs["products"] == 3


def test_label_of_one_class_is_refused(tmp_path, orbits):
    clear = {name: ds.assign(mask=ds["mask"] * np.uint8(0)) for name, ds in orbits.items()}
    with pytest.raises(UserError, match="single class: every valid pixel of 18 patches is 0"):
        build(tmp_path, clear)
    assert not list(tmp_path.iterdir())


def holed(ds, rows, columns, name="toa", value=np.nan):
    """Return the granule with a rectangle of invalid pixels."""
    y, x = (xr.DataArray(np.arange(ds.sizes[dim]), dims=dim) for dim in "yx")
    inside = (y >= rows[0]) & (y < rows[1]) & (x >= columns[0]) & (x < columns[1])
    return ds.assign({name: ds[name].where(~inside, ds[name].dtype.type(value))})


@pytest.mark.parametrize(("name", "value"), [("toa", np.nan), ("mask", 255)])
def test_a_tile_needs_its_share_of_valid_pixels(tmp_path, orbits, name, value):
    orbits["A"] = holed(holed(orbits["A"], (0, 16), (0, 32), name, value), (0, 17), (32, 64), name, value)
    ds = build(tmp_path, orbits)
    kept = {(int(y), int(x)) for y, x in zip(ds.row.values[:5], ds.column.values[:5], strict=True)}
    assert ds.sizes["patch"] == 17  # exactly half is enough, a row less is not
    assert (0, 0) in kept
    assert (0, 32) not in kept
    few = build(tmp_path, orbits, min_valid="0.4")
    assert few.sizes["patch"] == 18


def test_a_tile_without_a_valid_pixel_is_never_kept(tmp_path, orbits):
    orbits["A"] = holed(orbits["A"], (0, 32), (0, 32))
    assert build(tmp_path, orbits, min_valid=1e-6).sizes["patch"] == 17


def test_one_band_is_enough_to_make_a_pixel_invalid(tmp_path, orbits):
    holes = holed(orbits["A"].isel(band=[1]), (0, 17), (0, 32))
    orbits["A"] = orbits["A"].assign(toa=xr.concat([orbits["A"].toa.isel(band=[0]), holes.toa], "band"))
    assert build(tmp_path, orbits).sizes["patch"] == 17


def test_rows_are_read_once_and_a_stripe_at_a_time(tmp_path, orbits):
    read, seen = [], []

    def count(block, block_info=None):
        read.append(block_info[0]["chunk-location"][1])
        return block

    orbits["A"]["toa"] = orbits["A"]["toa"].copy(data=orbits["A"]["toa"].data.map_blocks(count, dtype=np.float32))
    read.clear()  # Dask tries the function once
    with dask.config.set(scheduler="synchronous"):
        build(tmp_path, orbits, progress=lambda done, total: seen.append((done, len(read), total)))
    assert sorted(read) == [0, 0, 1, 1, 2, 2, 3, 3]  # two bands, four blocks of rows
    assert seen[:2] == [(0, 0, 300), (50, 4, 300)]
    assert seen[-1] == (300, 8, 300)


@pytest.mark.parametrize("spread", [None, one_by_one])
def test_of_several_products_a_faulty_one_is_left_out(tmp_path, orbits, spread):
    granules = {
        "bad": UserError("flags_an.nc is missing from bad"),
        **orbits,
        "small": granule(name="small", orbit="S3A-000009", day=9).isel(y=slice(20)),
    }
    ds = build(tmp_path, granules, spread=spread)
    assert ds.attrs["products"] == 3
    assert ds.attrs["skipped"] == {
        "bad": "flags_an.nc is missing from bad",
        "small": "small has 20x96 pixels, too few for patches of 32x32",
    }


@pytest.mark.parametrize("spread", [None, one_by_one])
def test_a_fault_of_the_only_product_is_raised(tmp_path, spread):
    with pytest.raises(UserError, match=r"^it is night$"):
        build(tmp_path, {"bad": UserError("it is night")}, spread=spread)


def test_faults_of_all_products_are_raised_as_the_first(tmp_path):
    with pytest.raises(UserError, match="none of 2 products gives a patch; the first: it is night"):
        build(tmp_path, {"b": UserError("it is night"), "a": UserError("it is day")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spread", [None, one_by_one])
@pytest.mark.parametrize(
    ("grid", "kept", "said"),
    [
        ("native", 3, "rows from 32 on are left out: B cannot be read: NetCDF: HDF error"),
        ("EPSG:4326@0.01", 0, "B cannot be read: NetCDF: HDF error"),
    ],
)
def test_rows_before_a_damaged_one_are_kept_and_the_rest_is_told(tmp_path, orbits, grid, kept, said, spread):
    def damaged(block, block_info=None):
        if block_info[0]["chunk-location"][1] >= 2:
            raise RuntimeError("NetCDF: HDF error")
        return block

    orbits["D"] = granule(name="D", orbit="S3A-000004", day=9, seed=9)
    toa = orbits["B"]["toa"]
    orbits["B"]["toa"] = toa.copy(data=toa.data.map_blocks(damaged, dtype=np.float32, meta=toa.data._meta))
    ds = build(tmp_path, orbits, grid=grid, spread=spread)
    assert ds.attrs["skipped"] == {"B": said}
    assert (ds.granule.values == "B").sum() == kept


def test_where_a_product_is_cut_changes_nothing(tmp_path, orbits):
    for name, spread in (("here", None), ("there", one_by_one)):
        (tmp_path / name).mkdir()
        build(tmp_path / name, orbits, spread=spread, grid="EPSG:4326@0.01")
    here, there = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "here", tmp_path / "there")
    )
    assert here == there


def test_products_of_another_kind_are_left_out(tmp_path, orbits):
    orbits["D"] = granule(name="D", orbit="S3A-000099", day=9).isel(band=[0])
    orbits["E"] = granule(name="E", orbit="S3A-000098", day=8).assign_attrs(label_source="another")
    orbits["F"] = granule(name="F", orbit="S3A-000097", day=7).drop_vars("land")
    skipped = build(tmp_path, orbits).attrs["skipped"]
    assert skipped["D"] == "D has bands S1, unlike the products before it"
    assert skipped["E"] == "E has label_source 'another', unlike the products before it"
    assert skipped["F"] == "F has strata rival, unlike the products before it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": "red"}, "no option 'colour'; options are bands, label"),
        ({"split": "scene"}, "split by orbit, date, block, not by 'scene'"),
        ({"min_valid": "0"}, "min_valid is a share above 0"),
        ({"min_valid": "half"}, "not 'half'"),
        ({"min_valid": "nan"}, "not 'nan'"),
        ({"size": 0}, "at least one row"),
        ({"size": 100}, "64x96 pixels, too few for patches of 100x100"),
        ({"grid": "EPSG:4326"}, "EPSG:32636@500, not 'EPSG:4326'"),
        ({"grid": "EPSG:4326@0"}, "not 'EPSG:4326@0'"),
        ({"grid": "EPSG:999999@1"}, "EPSG:999999 is not a known"),
        ({"grid": "EPSG:4326@0.00001"}, "cells on grid"),
    ],
)
def test_impossible_requests_are_one_sentence(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        build(tmp_path, {"A": granule()}, **options)
    assert not list(tmp_path.iterdir())


def test_products_are_found_once_in_the_order_of_their_names(tmp_path):
    for folder, name in (("one", "b.P"), ("one", "a.P"), ("two", "b.P"), ("two", "note.txt")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    is_product = lambda path: path.suffix == ".P"  # noqa: E731
    one, two = tmp_path / "one", tmp_path / "two"
    assert _granules.products([two, one], is_product) == [one / "a.P", two / "b.P"]
    for paths, said in [([one / "gone.P"], "gone.P"), ([two / "note.txt"], "is no product"), ([], "no product")]:
        with pytest.raises(UserError, match=said):
            _granules.products(paths, lambda path: is_product(path) and path.exists())


def test_version_knows_files_masks_options_and_code_but_not_the_place(tmp_path):
    product, mask, code = tmp_path / "P.SEN3", tmp_path / "P.nc", tmp_path / "code.py"
    product.mkdir()
    (product / "S8.nc").write_bytes(b"one")
    mask.write_bytes(b"mask")
    code.write_text("a = 1")
    options = {"label": "file:{product}.nc"}

    def version(where=product, **changes):
        request = Request((), tmp_path / "x.zarr", **{"size": 32, "options": options, **changes})
        return _granules.version(request, [where], [code])

    first = version()
    moved = shutil.copytree(product, tmp_path / "elsewhere" / "P.SEN3")
    shutil.copy2(mask, tmp_path / "elsewhere")
    assert version(moved) == first
    assert len({first, version(size=16), version(seed=1), version(options={**options, "split": "date"})}) == 4
    for path, text in ((code, "a = 2"), (mask, "other mask"), (product / "S8.nc", "other")):
        path.write_text(text)
        assert version() != first
        first = version()
    code.write_text("a  =  2  # why")
    assert version() == first
    os.utime(product / "S8.nc", ns=(0, 0))
    assert version() != first


def test_patches_on_a_map_grid(tmp_path, orbits):
    ds = build(tmp_path, orbits, grid="EPSG:4326@0.02", size=16)
    patchset.validate(ds)
    assert ds.sizes["patch"] == 3 * 2 * 3
    assert ds.time.values[0] == np.datetime64("2024-07-01T10:01:30")  # rows are no longer scan lines
    assert ds.attrs["provenance"]["A"]["map_grid"] == "EPSG:4326@0.02"


def test_a_failed_remake_leaves_the_store_and_its_split(tmp_path, orbits):
    before = build(tmp_path, orbits)
    split = (tmp_path / "made.split.json").read_bytes()
    copied = orbits["A"].assign_coords()
    copied.attrs |= {"granule": "copy", "orbit": "S3A-000050", "start_time": "2024-08-01T10:00:00"}
    copied.attrs["stop_time"] = "2024-08-01T10:03:00"
    with pytest.raises(UserError, match="content of patch"):
        build(tmp_path, {**orbits, "copy": copied})
    assert patchset.open_store(tmp_path / "made.zarr").attrs["fingerprint"] == before.attrs["fingerprint"]
    assert (tmp_path / "made.split.json").read_bytes() == split
    assert {path.name for path in tmp_path.iterdir()} <= {"made.zarr", "made.split.json", "made.arrays"}


def test_what_is_no_patch_set_is_not_replaced(tmp_path, orbits):
    (tmp_path / "made.zarr").mkdir()
    (tmp_path / "made.zarr" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="is not a patch set, so it is not replaced"):
        build(tmp_path, orbits)
    assert (tmp_path / "made.zarr" / "mine.txt").read_text() == "keep"
