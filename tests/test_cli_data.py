"""`data make|import|check|show`: what the user sees, and the exit status."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmark import catalog, patchset, splits
from benchmark.api import REFLECTANCE, Band
from benchmark.cli_data import app

BANDS = (Band("S1", "GREEN", 0.554, REFLECTANCE), Band("S3", "NIR_NARROW", 0.868, REFLECTANCE))


def call(*args: object) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "small.zarr"
    attrs = {"sensor": "SLSTR", "label_source": "drawn", "label_bands": ["S1"], "licence": "none"}
    rng = np.random.default_rng(0)
    with patchset.PatchWriter(path, BANDS, attrs, {"phase": {0: "water", 1: "ice"}}) as writer:
        for row in range(6):
            toa = rng.random((1, 2, 16, 16), np.float32)
            toa[0, :, :2] = np.nan
            mask = (toa[:, 0] > (0.5 if row else 2)).astype(np.uint8)
            mask[0, 2, 2] = 255
            strata = {"phase": mask % 2, "depth": rng.random((1, 16, 16)), "biome": np.array(["Water"])}
            writer.append([f"p{row}"], f"s{row}", toa, mask, strata)
    splits.write(splits.by_group(path), splits.split_path(path))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    root = tmp_path / "patches"
    root.mkdir()
    for row in range(3):
        rng = np.random.default_rng(row)
        shape = {"driver": "GTiff", "height": 8, "width": 8}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(root / f"Water_{row}_0_reflectance.tif", "w", **shape, count=2, dtype="float32") as file:
                file.write(100 * rng.random((2, 8, 8), np.float32))
            with rasterio.open(root / f"Water_{row}_0_binary.tif", "w", **shape, count=1, dtype="uint8") as file:
                file.write(rng.integers(0, 2, (1, 8, 8)).astype(np.uint8))
    return root


def test_check_says_what_is_sound(store: Path) -> None:
    result = call("check", store)
    assert result.exit_code == 0, result.output
    first, second, *checks = result.stdout.splitlines()
    assert first.startswith("ok     patch set: 6 patches of 16x16 pixels, 2 bands")
    assert second.startswith("ok     split: train")
    assert checks == [
        "ok     scene: none of 6 is in two parts",
        "ok     content: none of 6 is in two parts",
        "not checked orbit: the patch set names no orbits",
        "not checked date: no times",
        "not checked footprint: the patch set has no footprints",
        "not checked near-duplicate: patches of 16x16 pixels are too small to compare",
    ]


def test_check_names_the_fault_and_exits_with_2(store: Path, tmp_path: Path) -> None:
    import zarr

    zarr.open_group(store, mode="r+")["mask"][3, 5, 5] = 7
    result = call("check", store)
    assert result.exit_code == 2
    assert "fault  patch set: patch 'p3' has label value 7; labels are 0, 1 and 255" in result.stdout
    splits.split_path(store).unlink()
    assert "fault  split: there is no split at" in call("check", store).stdout
    result = call("check", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: no data source recognises {tmp_path}")
    assert len(result.stderr.splitlines()) == 1


def test_show_prints_bands_parts_and_strata(store: Path, tmp_path: Path) -> None:
    result = call("show", store, "--picture", tmp_path / "gallery.png")
    assert result.exit_code == 0, result.output
    for text in ("NIR_NARROW", "0.868", "fraction", "train", "phase", "ice", "Water 100%", "label_bands: ['S1']"):
        assert text in result.stdout
    from matplotlib.image import imread

    picture = imread(tmp_path / "gallery.png")
    assert min(picture.shape[:2]) > 200
    assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 50


def test_show_refuses_an_unknown_picture_format(store: Path, tmp_path: Path) -> None:
    result = call("show", store, "--picture", tmp_path / "gallery.xyz")
    assert result.exit_code == 2
    assert "gallery.xyz cannot be written" in result.stderr


def test_show_works_without_a_split(store: Path) -> None:
    splits.split_path(store).unlink()
    result = call("show", store)
    assert result.exit_code == 0, result.output
    assert "there is no split" in result.stdout


def test_import_asks_for_what_is_missing_then_works(folder: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "made")
    result = call("import", folder, *out)
    assert result.exit_code == 2
    assert "name their bands in order, bands=GREEN,RED" in result.stderr
    result = call("import", folder, *out, "--bands", "RED,SWIR_1")
    assert result.exit_code == 2
    assert "scale=0.01" in result.stderr
    options = ("--bands", "RED,SWIR_1", "--scale", 0.01, "--sensor", "MSI", "--label-bands", "none")
    result = call("import", folder, *out, *options)
    assert result.exit_code == 0, result.output
    assert "train 1, val 1, test 1 patches, split by scene" in result.stdout
    arrays = patchset.arrays(tmp_path / "made.zarr")
    assert float(arrays.toa[:].max()) <= 1
    assert (arrays.attrs["sensor"], arrays.attrs["label_bands"]) == ("MSI", [])


def test_check_imports_a_folder_for_the_time_being(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    result = call("check", folder)
    assert result.exit_code == 2
    assert "no band descriptions" in result.stderr
    assert sorted(folder.parent.rglob("*")) == before


def test_make_names_the_sources(tmp_path: Path) -> None:
    result = call("make", "nothing", "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no data source is called 'nothing'; there are ")
    assert "patch-folder" in catalog.sources()
    result = call("make", "patch-folder", "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert "patch-folder" in result.stderr
