import netCDF4
import numpy as np
import pytest
import rasterio
from granule_factory import granule
from hypothesis import given
from hypothesis import strategies as st

from benchmark import granule as contract
from benchmark.api import UserError
from datasets import _mask_files

LABELS = np.array([[0, 1, 255], [1, 1, 0]])


def write_tiff(path, values, nodata=None):
    height, width = values.shape
    options = {"driver": "GTiff", "count": 1, "height": height, "width": width, "nodata": nodata}
    with rasterio.open(path, "w", dtype=values.dtype, transform=rasterio.Affine(1, 0, 5, 0, -1, 7), **options) as file:
        file.write(values, 1)
    return path


def write_netcdf(path, fill=None, attrs=(), **variables):
    with netCDF4.Dataset(path, "w") as nc:
        nc.setncatts(dict(attrs))
        shape = next(iter(variables.values())).shape
        for name, length in zip("yx", shape, strict=True):
            nc.createDimension(name, length)
        for name, values in variables.items():
            variable = nc.createVariable(name, values.dtype, ("y", "x"), fill_value=fill)
            variable.set_auto_maskandscale(False)
            variable[:] = values
    return path


def test_geotiff_and_netcdf_say_the_same(tmp_path):
    minus = np.where(LABELS == 255, -1, LABELS).astype(np.int16)
    files = [
        write_tiff(tmp_path / "a.tif", LABELS.astype(np.uint8)),
        write_tiff(tmp_path / "b.tif", np.where(LABELS == 255, 7, LABELS).astype(np.uint8), nodata=7),
        write_netcdf(tmp_path / "a.nc", mask=minus),
        write_netcdf(tmp_path / "b.nc", fill=9, other=np.where(LABELS == 255, 9, LABELS).astype(np.uint8)),
        write_netcdf(tmp_path / "c.nc", mask=LABELS.astype(np.uint8), quality=minus),
    ]
    for path in files:
        found = _mask_files.read(path, (2, 3))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, LABELS, err_msg=path.name)


@given(st.lists(st.lists(st.sampled_from([0, 1, 255]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_half_of_the_labelled_pixels_make_a_coarse_one_cloud(fours):
    fine = np.hstack([np.array(four, np.uint8).reshape(2, 2) for four in fours])
    for four, found in zip(fours, _mask_files._halved(fine)[0], strict=True):
        known = [value for value in four if value != 255]
        assert found == (255 if not known else int(sum(known) / len(known) >= 0.5))


def test_a_mask_of_twice_the_size_is_halved(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.kron(LABELS, np.ones((2, 2))).astype(np.uint8))
    np.testing.assert_array_equal(_mask_files.read(path, (2, 3)), LABELS)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path / "gone.tif", "gone.tif is missing"),
        (
            lambda path: write_tiff(path / "a.tif", np.zeros((3, 3), np.uint8)),
            "3x3 pixels, and the product's grid 2x3",
        ),
        (lambda path: write_tiff(path / "a.tif", np.full((2, 3), 4, np.uint8)), "label value 4"),
        (lambda path: write_tiff(path / "a.tif", np.zeros((2, 3), np.uint8), nodata=0), "declares 0 as no-data"),
        (lambda path: write_netcdf(path / "a.nc", a=LABELS, b=LABELS), "neither a variable 'mask'"),
        (lambda path: write_netcdf(path / "a.nc", a=LABELS * 0.5), "neither a variable 'mask'"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, write, said):
    with pytest.raises(UserError, match=said):
        _mask_files.read(write(tmp_path), (2, 3))


@pytest.mark.parametrize("name", ["a.tif", "a.nc"])
def test_files_that_are_no_masks_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        _mask_files.read(tmp_path / name, (2, 3))


def test_the_template_names_the_product(tmp_path):
    product = tmp_path / "S3A_1.SEN3"
    assert _mask_files.find("file:masks/{product}.tif", product) == tmp_path / "masks/S3A_1.tif"
    assert (
        _mask_files.find(f"file:{tmp_path}/{{product}}/m.nc", tmp_path / "o" / product.name) == tmp_path / "S3A_1/m.nc"
    )
    for label in ("file:{name}.nc", "file:{product", "file:{product}{}.nc", "file:{product.parent}.nc"):
        with pytest.raises(UserError, match=f"^label '{label}' may hold the field {{product}} and no other braces$"):
            _mask_files.find(label, product)
    with pytest.raises(UserError, match=r"^label 'file:' names no file, as in file:{product}.truth.nc$"):
        _mask_files.find("file:", product)


def test_a_template_without_the_product_would_label_all_with_one_mask(tmp_path):
    with pytest.raises(UserError) as caught:
        _mask_files.find("file:one.nc", tmp_path / "S3A_1.SEN3")
    assert str(caught.value) == "label 'file:one.nc' names one file for all products; put {product} in it"


@pytest.mark.parametrize(
    ("product", "bare"),
    [
        ("S3A_1.SEN3", "S3A_1"),
        ("S3A_1.SEN3.zip", "S3A_1"),
        ("MSG4-20210827074336.123000000Z-NA.nat", "MSG4-20210827074336.123000000Z-NA"),
        ("hrit-2021.08.27", "hrit-2021.08.27"),
    ],
)
def test_dots_belong_to_the_name_of_a_product(tmp_path, product, bare):
    assert _mask_files.find("file:{product}.tif", tmp_path / product) == tmp_path / f"{bare}.tif"


@pytest.mark.parametrize("owner", ["A", "A.SEN3", " A.SEN3 ", ""])
def test_the_mask_of_a_product_may_say_so(tmp_path, owner):
    write_netcdf(tmp_path / "A.nc", attrs={"product_name": owner}, mask=np.ones((64, 96), np.uint8))
    assert _mask_files.add(granule(), tmp_path / "A.SEN3", "file:{product}.nc")["mask"].values.all()


def test_the_mask_of_another_product_is_refused(tmp_path):
    write_netcdf(tmp_path / "A.nc", attrs={"product_name": "B.SEN3"}, mask=np.ones((64, 96), np.uint8))
    with pytest.raises(UserError, match=r"^A.nc is the mask of B.SEN3, as its product_name says, and not of A.SEN3$"):
        _mask_files.add(granule(), tmp_path / "A.SEN3", "file:{product}.nc")


@pytest.mark.parametrize("name", ["a.tif", "a.nc"])
def test_a_folder_is_no_mask(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a folder, and a mask is a file$"):
        _mask_files.read(tmp_path / name, (2, 3))


@pytest.mark.parametrize(("bands", "listed"), [("S8, S9", ["S8", "S9"]), ("", []), (None, None)])
def test_a_netcdf_file_says_what_it_derives_from(tmp_path, bands, listed):
    attrs = {"label_source": "two experts"} | ({} if bands is None else {"label_bands": bands})
    write_netcdf(tmp_path / "A.nc", attrs=attrs, mask=np.ones((64, 96), np.uint8))
    made = _mask_files.add(granule(), tmp_path / "A.SEN3", "file:{product}.nc")
    assert contract.faults(made) == []
    assert (made.attrs["label_source"], made.attrs["label_bands"]) == ("two experts", listed)
    assert int(made["mask"].sum()) == 64 * 96


def test_a_geotiff_does_not(tmp_path):
    write_tiff(tmp_path / "A.tif", np.ones((64, 96), np.uint8))
    assert _mask_files.add(granule(), tmp_path / "A.SEN3", "file:{product}.tif").attrs["label_bands"] is None
