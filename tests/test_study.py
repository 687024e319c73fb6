"""The study's archive, as folder and as ZIP, sound and unsound."""

import random
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from benchmark import catalog, patchset, splits
from benchmark.api import CLOUD, IGNORE, UserError
from benchmark.sources import Request
from datasets import _study_archive, patch_folder, study

SIZE, DATES = 8, [f"202306{day:02d}" for day in range(1, 9)]
ACCIDENTAL = [0, 0, 1, 2, 2, 3]  # which of the distinct bands each band of a file is


def tiff(path, values):
    profile = {"driver": "GTiff", "width": values.shape[2], "height": values.shape[1], "count": len(values)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype=values.dtype, **profile) as file:
            file.write(values)


def add(folder, patch, seed, bands=ACCIDENTAL, share=0.5, scale=1.0):
    """Write a patch whose first rows have label 1."""
    folder.mkdir(parents=True, exist_ok=True)
    distinct = np.random.default_rng(seed).uniform(0.1, 0.6, (6, SIZE, SIZE)).astype(np.float32)
    mask = (np.arange(SIZE * SIZE) < share * SIZE * SIZE).reshape(1, SIZE, SIZE).astype(np.float32)
    tiff(folder / f"{patch}_reflectance.tif", distinct[bands] * np.float32(scale))
    tiff(folder / f"{patch}_binary.tif", mask)


def patches_of(date, count=2):
    return [f"{date}T101500_{index}_{SIZE}" for index in range(count)]


@pytest.fixture
def archive(tmp_path):
    for place, date in enumerate(DATES):
        for index, patch in enumerate(patches_of(date)):
            add(tmp_path / "archive" / date, patch, 10 * place + index)
    return tmp_path / "archive"


def zipped(folder, compression=zipfile.ZIP_DEFLATED):
    path = folder.parent / "archive.zip"
    with zipfile.ZipFile(path, "w", compression) as file:
        for name in sorted(folder.rglob("*.tif")):
            file.write(name, f"study/{name.relative_to(folder).as_posix()}")
    return path


def make(path, **options):
    store = path.parent / "study.zarr"
    study.SOURCE.make(Request((path,), store, options=options), lambda done, total: None)
    patchset.validate(patchset.open_store(store))
    return patchset.arrays(store), splits.read(splits.split_path(store), store)


def test_a_folder_and_its_zip_give_the_same_patch_set(archive):
    plain, split = make(archive)
    assert [(band.name, band.role) for band in plain.bands] == [
        ("S2", "RED"), ("S3", "NIR_NARROW"), ("S5", "SWIR_1"), ("S6", "SWIR_2"),
    ]  # fmt: skip
    patch = patches_of(DATES[3])[1]
    (row,) = plain.positions([patch])
    distinct = np.random.default_rng(31).uniform(0.1, 0.6, (6, SIZE, SIZE)).astype(np.float32)
    np.testing.assert_array_equal(plain.toa[row], distinct[:4])
    assert (plain.mask[row] == CLOUD).mean() == 0.5
    assert str(plain.time[row]) == "2023-06-04T10:15:00"
    assert plain.attrs["label_bands"] is None
    assert "not a cloud mask" in plain.attrs["label_source"]
    assert plain.attrs["file_bands"] == ["S2", "S2", "S3", "S5", "S5", "S6"]
    assert plain.attrs["rebalanced"] is False
    packed, same = make(zipped(archive))
    assert packed.fingerprint == plain.fingerprint
    assert {part: set(ids) for part, ids in same.parts.items()} == {part: set(ids) for part, ids in split.parts.items()}


def test_the_split_is_the_one_described(archive):
    _, split = make(archive)
    order = list(DATES)
    random.Random(43).shuffle(order)
    wanted = {"train": order[:5], "val": order[5:6], "test": order[6:]}
    for part, dates in wanted.items():
        assert sorted(split.parts[part]) == sorted(patch for date in dates for patch in patches_of(date)), part


@pytest.mark.parametrize(
    ("mapping", "bands", "names"),
    [
        ("readme", [0, 0, 1, 2, 3, 4], ["S1", "S2", "S3", "S5", "S6"]),
        ("slides", [0, 1, 2, 3, 4, 5], ["Oa04", "S1", "S2", "S3", "S5", "S6"]),
    ],
)
def test_other_readings_of_the_bands(tmp_path, mapping, bands, names):
    for place, date in enumerate(DATES):
        add(tmp_path / "archive" / date, patches_of(date)[0], place, bands)
    arrays, _ = make(tmp_path / "archive", mapping=mapping)
    assert [band.name for band in arrays.bands] == names
    assert arrays.toa[0].shape == (len(names), SIZE, SIZE)
    others = {"readme": "accidental", "slides": "readme"}
    with pytest.raises(UserError, match=r"bands \d and \d of .* differ, and both would be S"):
        make(tmp_path / "archive", mapping=others[mapping])


def test_percent_is_refused_and_scaled_on_demand(archive, tmp_path):
    for place, date in enumerate(DATES):
        for index, patch in enumerate(patches_of(date)):
            add(tmp_path / "percent" / date, patch, 10 * place + index, scale=100)
    with pytest.raises(UserError, match=r"looks like percent.*scale=0\.01"):
        make(tmp_path / "percent")
    scaled, plain = make(tmp_path / "percent", scale=0.01)[0], make(archive)[0]
    np.testing.assert_allclose(np.stack(list(scaled.toa)), np.stack(list(plain.toa)), rtol=1e-6)


def test_rebalancing_caps_the_bins_of_every_part_and_says_so(archive):
    for place, date in enumerate(DATES):  # six more at share 0.1, one at 1.0, beside two at 0.5
        for index in range(2, 9):
            add(
                archive / date,
                f"{date}T101500_{index}_{SIZE}",
                1000 + 10 * place + index,
                share=1 if index == 8 else 0.1,
            )
    arrays, split = make(archive, rebalance="study")
    assert arrays.attrs["rebalanced"] is True
    assert "artificial" in arrays.attrs["label_source"]
    for part, dates in (("train", 5), ("val", 1), ("test", 2)):
        rows = arrays.positions(split.parts[part])
        shares = [round(float((arrays.mask[row] == CLOUD).mean()), 1) for row in rows]
        assert {share: shares.count(share) for share in shares} == {0.1: 3 * dates, 0.5: 2 * dates, 1.0: dates}
    assert make(archive, rebalance="study")[1] == split


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(0, 5))
def test_no_bin_keeps_more_than_half_of_the_fullest(shares, seed):
    kept = study.capped({str(place): share for place, share in enumerate(shares)}, random.Random(seed))
    assert len(set(kept)) == len(kept)
    bins = np.minimum((np.array(shares) * 10).astype(int), 9)
    before, after = (np.bincount(some, minlength=10) for some in (bins, bins[[int(name) for name in kept]]))
    np.testing.assert_array_equal(after, np.minimum(before, max(1, before.max() // 2)))


def edit_zip(path, name, content=b"II", **changes):
    entry = zipfile.ZipInfo(name)
    for attribute, value in changes.items():
        setattr(entry, attribute, value)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(entry, content)


@pytest.mark.parametrize("name", ["../up_reflectance.tif", "/etc/x.tif", "a/../../b.tif", "..\\up.tif"])
def test_entries_that_lead_out_are_refused(archive, name):
    path = zipped(archive)
    edit_zip(path, name)
    with pytest.raises(UserError, match="may lead out"):
        make(path)
    assert not (path.parent / "study.zarr").exists()


def test_links_encrypted_and_repeated_entries_are_refused(archive):
    path = zipped(archive)
    edit_zip(path, "study/link.tif", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(UserError, match="is a link"):
        make(path)
    path = zipped(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edit_zip(path, f"study/{DATES[0]}/{patches_of(DATES[0])[0]}_binary.tif")
    with pytest.raises(UserError, match="comes twice"):
        make(path)
    path = zipped(archive)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # flag of the last entry of the central directory
    path.write_bytes(content)
    with pytest.raises(UserError, match="is encrypted"):
        make(path)


def test_bombs_are_refused_before_anything_is_unpacked(archive, monkeypatch):
    path = zipped(archive)
    edit_zip(path, "study/zeros.bin", bytes(2**20), compress_type=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(_study_archive, "ALWAYS_ALLOWED", 2**16)
    monkeypatch.setattr(_study_archive, "LARGEST_GROWTH", 5)
    with pytest.raises(UserError, match="would grow to"):
        make(path)
    monkeypatch.setattr(_study_archive, "LARGEST_FILE", 2**19)
    with pytest.raises(UserError, match=r"takes 1 MB"):
        make(path)


def test_a_lying_size_and_damaged_bytes_are_refused(archive):
    path = zipped(archive)
    sound = path.read_bytes()
    last = sound.rindex(b"PK\x01\x02")
    lying = bytearray(sound)
    struct.pack_into("<I", lying, last + 24, 100)  # uncompressed size in the central directory
    path.write_bytes(lying)
    with pytest.raises(UserError, match="cannot be read"):
        make(path)
    damaged = bytearray(sound)
    damaged[len(sound) // 3 : len(sound) // 3 + 64] = bytes(64)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="cannot be read"):
        make(path)
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(UserError, match="cannot be read as a ZIP"):
        make(path)
    assert not study.recognises(path)


def test_a_small_file_of_a_huge_raster_is_refused(archive):
    patch = archive / DATES[0] / f"{patches_of(DATES[0])[0]}_reflectance.tif"
    profile = {"driver": "GTiff", "width": 30_000, "height": 30_000, "count": 6, "dtype": "float32", "SPARSE_OK": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.open(patch, "w", **profile, tiled=True, blockxsize=4096, blockysize=4096).close()
    with pytest.raises(UserError, match="30000x30000 pixels: no patch"):
        make(archive)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda root: (root / DATES[0] / f"{patches_of(DATES[0])[0]}_binary.tif").unlink(), "is missing from"),
        (
            lambda root: (root / DATES[0] / f"{patches_of(DATES[0])[0]}_reflectance.tif").unlink(),
            "has no .*_reflectance",
        ),
        (lambda root: add(root, "20230601T101500_7_8", 1), "lies in no folder"),
        (lambda root: add(root / DATES[1], patches_of(DATES[0])[0], 1), f"is in {DATES[0]} and in {DATES[1]}"),
        (lambda root: add(root / DATES[0], "somewhere", 1), "does not follow"),
        (lambda root: add(root / DATES[0], patches_of(DATES[0])[0], 1, bands=[0, 0, 1]), "has 3 bands"),
        (lambda root: [shutil.rmtree(root / date) for date in DATES[:2]], "has 6 folders .* needs 7"),
    ],
)
def test_faults_of_the_layout_are_named(archive, fault, reason):
    fault(archive)
    with pytest.raises(UserError, match=reason):
        make(archive)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mapping": "true"}, "option mapping is one of accidental, readme, slides"),
        ({"rebalance": "yes"}, "option rebalance is one of off, study"),
        ({"split": "scene"}, "no option 'split'"),
    ],
)
def test_options_are_checked(archive, options, reason):
    with pytest.raises(UserError, match=reason):
        make(archive, **options)


def test_other_names_need_a_pattern(archive):
    add(archive / DATES[0], "S3A-orbit7_0_8", 1)
    with pytest.raises(UserError, match="scene_pattern"):
        make(archive)
    arrays, _ = make(archive, scene_pattern=r"(?P<scene>.+)_\d+_\d+")
    assert arrays.scenes[arrays.positions(["S3A-orbit7_0_8"])[0]] == "S3A-orbit7"


def test_paths_are_told_apart(archive, tmp_path):
    assert study.recognises(archive)
    assert study.recognises(zipped(archive))
    assert not patch_folder.recognises(archive)
    shutil.copytree(archive / DATES[0], tmp_path / "folder" / "data")
    for path in (tmp_path / "folder", archive / DATES[0], tmp_path / "nothing.zip", tmp_path):
        assert not study.recognises(path), path
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "")
    assert not study.recognises(tmp_path / "other.zip")
    with pytest.raises(UserError, match="needs the path"):
        catalog.sources()["study"].version(Request((), tmp_path / "out.zarr"))


def test_the_version_follows_files_and_options_alone(archive):
    def version(path, **options):
        return study.SOURCE.version(Request((path,), path.parent / "out.zarr", seed=len(options), options=options))

    first = version(archive)
    assert first == version(archive, mapping="accidental")
    assert first != version(archive, mapping="readme") != version(archive, rebalance="study") != first
    add(archive / DATES[0], patches_of(DATES[0])[0], 99)
    assert version(archive) != first
    packed = zipped(archive)
    before = version(packed)
    edit_zip(packed, "study/readme.txt")
    assert version(packed) != before


def test_a_fault_leaves_nothing_behind(archive):
    tiff(archive / DATES[7] / f"{patches_of(DATES[7])[1]}_binary.tif", np.full((1, SIZE, SIZE), 7, np.uint8))
    with pytest.raises(UserError, match="label value 7"):
        make(archive)
    assert [path.name for path in Path(archive.parent).iterdir()] == ["archive"]
    tiff(archive / DATES[7] / f"{patches_of(DATES[7])[1]}_binary.tif", np.full((1, SIZE, SIZE), -1, np.int16))
    with pytest.raises(UserError, match="no labelled pixel"):
        make(archive)
    half = np.where(np.arange(SIZE) < 4, -1, 1).astype(np.int16) * np.ones((1, SIZE, 1), np.int16)
    tiff(archive / DATES[7] / f"{patches_of(DATES[7])[1]}_binary.tif", half)
    arrays, _ = make(archive)
    (row,) = arrays.positions([patches_of(DATES[7])[1]])
    assert (arrays.mask[row] == IGNORE).mean() == 0.5
