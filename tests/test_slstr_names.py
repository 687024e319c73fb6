"""Names and manifests of SLSTR products."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slstr_factory import BLANK_FRAME, NAME, write_manifest

from benchmark.api import UserError
from datasets import _slstr_manifest as manifest
from datasets import _slstr_names as names


def test_name_is_taken_apart():
    found = names.parse(NAME)
    assert found.platform == "S3A"
    assert found.start == datetime(2021, 8, 27, 7, 43, 36, tzinfo=UTC)
    assert found.stop - found.start == timedelta(minutes=3)
    assert found.creation == datetime(2021, 8, 27, 9, 49, 54, tzinfo=UTC)
    assert (found.frame, found.timeliness) == ("3060", "NT")


def test_frame_may_be_blank():
    assert names.parse(BLANK_FRAME).frame == ""
    assert names.parse(BLANK_FRAME).timeliness == "NR"


@pytest.mark.parametrize(
    "name",
    [
        "mine.SEN3",
        NAME.removesuffix(".SEN3"),
        NAME + ".zip",
        "x" + NAME,
        NAME + "\n",
        NAME.replace("20210827T074336", "20211327T074336"),
        NAME.replace("SL_1_RBT", "SL_2_WST"),
        NAME.replace("_0179_", "_\u0661179_"),
    ],
)
def test_renamed_folder_is_refused(name):
    with pytest.raises(UserError, match="the reader needs the product's own folder name"):
        names.parse(name)


times = st.datetimes(datetime(2016, 1, 1), datetime(2035, 1, 1)).map(lambda time: time.replace(microsecond=0))


@given(
    st.sampled_from("ABCD"),
    st.lists(times, min_size=3, max_size=3),
    st.tuples(st.integers(0, 9999), st.integers(0, 999), st.integers(0, 385)),
    st.one_of(st.just(""), st.integers(0, 9999).map("{:04d}".format)),
    st.sampled_from(["LN2", "MAR", "SVL", "PS1"]),
    st.sampled_from("OFDR"),
    st.sampled_from(["NR", "ST", "NT"]),
    st.sampled_from(["002", "004", "D01"]),
)
def test_every_name_of_the_convention_is_read(platform, when, numbers, frame, centre, mode, timeliness, collection):
    stamps = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in when)
    counts = "{:04d}_{:03d}_{:03d}".format(*numbers)
    name = (
        f"S3{platform}_SL_1_RBT____{stamps}_{counts}_{frame or '____'}_{centre}_{mode}_{timeliness}_{collection}.SEN3"
    )
    found = names.parse(name)
    assert [found.start, found.stop, found.creation] == [time.replace(tzinfo=UTC) for time in when]
    assert (found.platform[2], found.frame, found.timeliness) == (platform, frame, timeliness)


@given(st.text(max_size=130))
def test_other_text_is_a_user_error(text):
    with pytest.raises(UserError):
        names.parse(text)


@pytest.fixture
def product(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    for name in ("a.nc", "b.nc", "c.nc"):
        (folder / name).write_bytes(name.encode() * 100)
    write_manifest(folder)
    return folder


def test_whole_and_partial_products_pass(product):
    assert manifest.verify(product) == 3
    (product / "b.nc").unlink()
    assert manifest.verify(product) == 2


def test_shorter_and_changed_files_are_found(product):
    data = (product / "b.nc").read_bytes()
    (product / "b.nc").write_bytes(data[:-1])
    with pytest.raises(UserError, match=r"b.nc of .* has 399 bytes; its manifest says 400"):
        manifest.verify(product)
    (product / "b.nc").write_bytes(data[:-1] + b"x")
    with pytest.raises(UserError, match=r"b.nc of .* checksum"):
        manifest.verify(product)


def test_product_without_manifest_or_files_is_refused(product):
    for path in product.glob("*.nc"):
        path.unlink()
    with pytest.raises(UserError, match="none of the files"):
        manifest.verify(product)
    (product / manifest.MANIFEST).write_text("<a><byteStream size='1'></a>")
    with pytest.raises(UserError, match="is damaged"):
        manifest.verify(product)
    (product / manifest.MANIFEST).unlink()
    with pytest.raises(UserError, match="is missing"):
        manifest.verify(product)
