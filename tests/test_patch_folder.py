"""Patch folders: what their files say, and every way in which they can be wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from benchmark import patchset, splits
from benchmark.api import CLOUD, IGNORE, UserError
from benchmark.sources import Request
from datasets.patch_folder import SOURCE

SIZE = 8
NAMES = ("GREEN", "NIR")
STUDY = [f"2021081{day}T10200{day}_{index}_8" for day in range(4) for index in range(2)]


def tiff(path: Path, values: np.ndarray, names: Sequence[str] = (), **profile: object) -> None:
    values = np.asarray(values)
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
            file.write(values)
            for band, name in enumerate(names, 1):
                file.set_band_description(band, name)


def add(place: Path, patch: str, seed: int = 0, names: Sequence[str] = NAMES, **profile: object) -> None:
    """Write reflectance and binary of a patch."""
    rng = np.random.default_rng(seed)
    tiff(place / f"{patch}_reflectance.tif", rng.random((2, SIZE, SIZE), np.float32), names, **profile)
    tiff(place / f"{patch}_binary.tif", rng.integers(0, 2, (1, SIZE, SIZE)).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the study's: two patches for each of four scenes, in data/, no split files."""
    (tmp_path / "set" / "data").mkdir(parents=True)
    for seed, patch in enumerate(STUDY):
        add(tmp_path / "set" / "data", patch, seed)
    return tmp_path / "set"


def split_files(folder: Path, train: Sequence[str], val: Sequence[str], test: Sequence[str]) -> None:
    (folder / "splits").mkdir(exist_ok=True)
    for part, entries in (("train", train), ("val", val), ("test", test)):
        (folder / "splits" / f"{part}.txt").write_text("\n".join(entries) + "\n\n")


def make(folder: Path, **options: object) -> patchset.Arrays:
    store = folder.parent / "out.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SOURCE.make(Request((folder,), store, options=options), lambda done, total: None)
    patchset.validate(patchset.open_store(store))
    return patchset.arrays(store)


def split_of(folder: Path) -> splits.Split:
    return splits.read(folder.parent / "out.split.json")


def test_a_folder_of_the_study_is_imported(folder: Path) -> None:
    arrays = make(folder)
    assert arrays.ids == tuple(sorted(STUDY))
    assert arrays.scenes[:3] == ("20210810T102000", "20210810T102000", "20210811T102001")
    assert arrays.time[2] == np.datetime64("2021-08-11T10:20:01")
    assert [(band.name, band.role, band.wavelength) for band in arrays.bands] == [
        ("GREEN", "GREEN", 0.554),
        ("NIR", "NIR_NARROW", 0.868),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(folder / "data" / f"{STUDY[3]}_reflectance.tif") as file:
            np.testing.assert_array_equal(arrays.toa[3], file.read())
    assert np.isnan(arrays.lat).all()
    assert arrays.strata == {}
    assert arrays.attrs["label_bands"] is None
    split = split_of(folder)
    assert sorted(patch for ids in split.parts.values() for patch in ids) == sorted(STUDY)
    calls: list[tuple[int, int]] = []
    SOURCE.make(Request((folder,), folder.parent / "out.zarr"), lambda *call: calls.append(call))
    assert calls == [(done, 8) for done in range(9)]


def test_files_may_lie_in_the_folder_itself(folder: Path) -> None:
    assert SOURCE.recognises(folder)
    assert SOURCE.recognises(folder / "data")
    assert not SOURCE.recognises(folder.parent)
    assert not SOURCE.recognises(folder / "data" / f"{STUDY[0]}_binary.tif")
    assert len(make(folder / "data").ids) == 8


def test_split_files_match_whole_names_with_or_without_endings(folder: Path) -> None:
    for seed, patch in enumerate(("Water_1_2", "Water_11_2", "Water_111_2"), 20):
        add(folder / "data", patch, seed)
    split_files(folder, ["Water_1_2"], ["Water_11_2_reflectance.tif"], ["Water_111_2_binary", *STUDY[:2]])
    make(folder)
    parts = split_of(folder).parts
    assert parts == {"train": ("Water_1_2",), "val": ("Water_11_2",), "test": (*STUDY[:2], "Water_111_2")}


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        (["20210812"], "test.txt names '20210812', which is not a patch of"),
        (
            [STUDY[4], f"{STUDY[4]}_binary.tif"],
            "test.txt names '20210812T102002_0_8_binary.tif', .* already in test.txt",
        ),
        ([STUDY[0]], "test.txt names '20210810T102000_0_8', which is already in train.txt"),
        ([STUDY[3]], "scene '20210811T102001' is in val and, as patch '20210811T102001_1_8', in test"),
        ([], "part 'test' of the split is empty"),
    ],
)
def test_a_wrong_split_file_is_named(folder: Path, test: list[str], sentence: str) -> None:
    split_files(folder, STUDY[:2], STUDY[2:3], test)
    with pytest.raises(UserError, match=sentence):
        make(folder)


def test_option_split_goes_before_split_files_which_must_be_three(folder: Path) -> None:
    split_files(folder, STUDY[:2], STUDY[2:4], STUDY[4:6])
    make(folder, split="date")
    split = split_of(folder)
    assert split.unit == "date"
    assert len(split.patches) == 8
    with pytest.raises(UserError, match="option split is 'scene', 'date' or 'date:N'"):
        make(folder, split="patch")
    (folder / "splits" / "val.txt").unlink()
    with pytest.raises(UserError, match=r"val\.txt is missing from"):
        make(folder)


def test_further_files_become_bands_and_strata(folder: Path) -> None:
    place = folder / "data"
    for path in place.iterdir():
        path.unlink()
    for seed, patch in enumerate(("Water_00_1", "Water_01_1", "SnowIce_00_1")):
        add(place, patch, seed)
        tiff(place / f"{patch}_thermal.tif", np.full((1, SIZE, SIZE), 280, np.float32), ["TIR_1"])
        tiff(place / f"{patch}_classes.tif", label((64, 128, 255)[seed]))
    arrays = make(folder)
    assert [band.role for band in arrays.bands] == ["GREEN", "NIR_NARROW", "BT_11"]
    assert arrays.scenes == ("SnowIce_00", "Water_00", "Water_01")
    assert arrays.strata["biome"].tolist() == ["SnowIce", "Water", "Water"]
    assert arrays.strata["classes"][:, 0, 0].tolist() == [255, 64, 128]
    assert arrays.legends["classes"][192] == "thin_cloud"
    tiff(place / "Water_01_1_classes.tif", label(3))
    assert make(folder).legends == {}
    (place / "Water_01_1_classes.tif").unlink()
    with pytest.raises(UserError, match=r"Water_01_1_classes\.tif is missing from"):
        make(folder)


def test_invalid_pixels_and_labels(folder: Path) -> None:
    place = folder / "data"
    toa = np.full((2, SIZE, SIZE), 0.3, np.float32)
    toa[0, 0, 0], toa[1, 0, 1] = -9999, np.nan
    tiff(place / f"{STUDY[0]}_reflectance.tif", toa, NAMES, nodata=-9999)
    mask = np.ones((1, SIZE, SIZE), np.int16)
    mask[0, 1, :3] = -1, 255, -7
    tiff(place / f"{STUDY[0]}_binary.tif", mask, nodata=-7)
    arrays = make(folder)
    assert np.isnan(arrays.toa[0, :, 0, :2]).all()
    assert np.isfinite(arrays.toa[0, :, 0, 2:]).all()
    assert (arrays.mask[0] == IGNORE).sum() == 5
    assert (arrays.mask[0, 2:] == CLOUD).all()


def test_a_georeference_gives_the_centre(folder: Path) -> None:
    place = {"crs": "EPSG:4326", "transform": Affine(0.01, 0, 10, 0, -0.01, 50)}
    add(folder / "data", STUDY[0], **place)
    add(folder / "data", STUDY[1], crs="EPSG:32632", transform=Affine(500, 0, 498_000, 0, -500, 5_540_630))
    arrays = make(folder)
    assert (arrays.lat[0], arrays.lon[0]) == pytest.approx((49.96, 10.04))
    assert (arrays.lat[1], arrays.lon[1]) == pytest.approx((50.0, 9.0), abs=1e-3)
    assert np.isnan(arrays.lat[2:]).all()


@pytest.mark.parametrize(("factor", "scale"), [(100, 0.01), (10_000, 0.0001)])
def test_a_wrong_scale_is_refused_and_the_option_mends_it(folder: Path, factor: int, scale: float) -> None:
    wanted = make(folder).toa[:]
    for seed, patch in enumerate(STUDY):
        toa = np.random.default_rng(seed).random((2, SIZE, SIZE), np.float32)
        tiff(folder / "data" / f"{patch}_reflectance.tif", toa * factor, NAMES)
    with pytest.raises(UserError, match=rf"patch '{STUDY[0]}', band .*option scale={scale}"):
        make(folder)
    np.testing.assert_allclose(make(folder, scale=scale).toa, wanted, rtol=1e-6)


def test_bands_without_names_are_asked_for(folder: Path) -> None:
    for seed, patch in enumerate(STUDY):
        add(folder / "data", patch, seed, names=())
    with pytest.raises(UserError, match="no band descriptions; name their bands in order, bands=GREEN,RED"):
        make(folder)
    with pytest.raises(UserError, match="option bands names 1 bands, and the files of a patch have 2"):
        make(folder, bands="RED")
    assert [band.role for band in make(folder, bands="S2, S5").bands] == ["RED", "SWIR_1"]


def label(value: int, width: int = SIZE) -> np.ndarray:
    return np.full((1, SIZE, width), value, np.uint8)


def cut_short(place: Path) -> None:
    path = place / f"{STUDY[2]}_reflectance.tif"
    tiff(path, np.random.default_rng(0).random((2, 64, 64), np.float32), NAMES, compress="deflate")
    os.truncate(path, path.stat().st_size // 2)


BROKEN = [
    (lambda place: (place / f"{STUDY[1]}_binary.tif").unlink(), f"{STUDY[1]}_binary.tif is missing from"),
    (lambda place: (place / f"{STUDY[1]}_reflectance.tif").unlink(), f"{STUDY[1]}_binary.tif has no {STUDY[1]}_refl"),
    (lambda place: (place / f"{STUDY[2]}_reflectance.tif").write_bytes(b"II*\0"), f"{STUDY[2]}_reflectance.tif cannot"),
    (lambda place: (place / f"{STUDY[2]}_binary.tif").write_bytes(b""), f"{STUDY[2]}_binary.tif cannot be read as"),
    (cut_short, f"{STUDY[2]}_reflectance.tif cannot be read as a GeoTIFF"),
    (
        lambda place: tiff(place / f"{STUDY[1]}_binary.tif", label(0, 5)),
        rf"{STUDY[1]}_binary.tif has \(8, 5\) pixels, and the patch has \(8, 8\)",
    ),
    (
        lambda place: tiff(place / f"{STUDY[1]}_binary.tif", label(2)),
        f"{STUDY[1]}_binary.tif has label value 2; labels are",
    ),
    (
        lambda place: tiff(place / f"{STUDY[1]}_binary.tif", label(0), nodata=0),
        f"{STUDY[1]}_binary.tif declares 0 as no-data, which is also a label",
    ),
    (
        lambda place: tiff(place / f"{STUDY[1]}_reflectance.tif", np.zeros((3, SIZE, SIZE), np.float32), "ABC"),
        rf"{STUDY[1]}_reflectance.tif in .* gives \(3, 8, 8\) .* and the first patch gives \(2, 8, 8\)",
    ),
    (lambda place: add(place, STUDY[1], names=NAMES[::-1]), f"{STUDY[1]}_reflectance.tif .* another order"),
    (lambda place: add(place, STUDY[0], names=("GREEN", "UV")), "band 'UV' has no known role"),
    (lambda place: add(place, "odd-name"), "patch id 'odd-name' does not follow <timestamp>"),
]


@pytest.mark.parametrize(("damage", "sentence"), BROKEN, ids=[sentence[:40] for _, sentence in BROKEN])
def test_a_broken_folder_is_named_and_leaves_no_store(folder: Path, damage: Callable, sentence: str) -> None:
    damage(folder / "data")
    with pytest.raises(UserError, match=sentence):
        make(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_a_scene_pattern_and_its_faults(folder: Path) -> None:
    for path in (folder / "data").iterdir():
        path.rename(path.with_name("tile-" + path.name))
    assert make(folder, scene_pattern=r"tile-(?P<scene>(?P<time>\d+T\d+))_.*").scenes[0] == "20210810T102000"
    with pytest.raises(UserError, match="is not a regular expression"):
        make(folder, scene_pattern="(?P<scene>")
    with pytest.raises(UserError, match="has no group"):
        make(folder, scene_pattern="tile-.*")
    with pytest.raises(UserError, match=r"does not follow 'tile-\(\?P<scene>a\)'"):
        make(folder, scene_pattern="tile-(?P<scene>a)")
    with pytest.raises(UserError, match="no option 'colour'"):
        make(folder, colour="red")


def test_the_version_follows_files_and_options(folder: Path) -> None:
    def version(**options: object) -> str:
        return SOURCE.version(Request((folder,), folder.parent / "out.zarr", options=options))

    before = version()
    assert version() == before == SOURCE.version(Request((folder,), folder / "elsewhere.zarr"))
    assert version(scale=0.01) != before
    split_files(folder, STUDY[:1], STUDY[2:3], STUDY[4:5])
    listed = version()
    assert listed != before
    os.utime(folder / "data" / f"{STUDY[0]}_binary.tif", ns=(0, 1))
    assert version() not in (before, listed)


def test_the_landsat_patches_are_imported(tmp_path: Path) -> None:
    root = os.environ.get("NEPHOSCOPE_L8BIOME")
    if not root or not Path(root).is_dir():
        pytest.skip("NEPHOSCOPE_L8BIOME is not the folder of the l8biome patches")
    store = tmp_path / "l8.zarr"
    SOURCE.make(Request((Path(root),), store), lambda done, total: None)
    patchset.validate(patchset.open_store(store))
    arrays, split = patchset.arrays(store), splits.read(splits.split_path(store))
    assert arrays.toa.shape == (36, 8, 256, 256)
    assert [band.role for band in arrays.bands[3:]] == ["NIR_NARROW", "SWIR_1", "SWIR_2", "CIRRUS", "BT_11"]
    fractions = [arrays.mask[arrays.positions(split.parts[part])].mean() for part in splits.PARTS]
    assert [len(split.parts[part]) for part in splits.PARTS] == [23, 8, 5]
    assert fractions == pytest.approx([0.44, 0.60, 0.25], abs=0.005)
    assert len(set(arrays.scenes)) == 36
    assert set(arrays.strata) == {"biome", "classes"}
    clouds = np.isin(arrays.strata["classes"], (192, 255))
    np.testing.assert_array_equal(clouds, arrays.mask == CLOUD)
