"""The contract of a patch set: what is written is read, or nothing is written."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from benchmark import patchset
from benchmark.api import BRIGHTNESS_TEMPERATURE, IGNORE, REFLECTANCE, Band, UserError

BANDS = (
    Band("S1", "GREEN", 0.554, REFLECTANCE),
    Band("S3", "NIR_NARROW", 0.868, REFLECTANCE),
    Band("S8", "BT_11", 10.854, BRIGHTNESS_TEMPERATURE),
)
ATTRS = {"sensor": "test", "label_source": "drawn", "label_bands": [], "licence": "none"}
SIZE = 6


def patch(seed: int = 0, patches: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    toa = rng.uniform(0, 1, (patches, 3, SIZE, SIZE)).astype(np.float32)
    toa[:, 2] = 220 + 80 * toa[:, 2]
    return toa, rng.integers(0, 2, (patches, SIZE, SIZE)).astype(np.uint8)


def write(store: Path, patches: int = 4, attrs: dict = ATTRS) -> Path:
    """Write patches p0, p1, ... of scenes s0, s0, s1, s1, ... with a pixel stratum and a patch stratum."""
    with patchset.PatchWriter(store, BANDS, attrs, {"kind": {0: "water cloud", 1: "ice"}}) as writer:
        for row in range(patches):
            toa, mask = patch(row)
            strata = {"kind": mask, "biome": np.array(["sea" if row % 2 else "forêt"])}
            time = "2021-08-27T08:00:00" if row else "NaT"
            writer.append([f"p{row}"], f"s{row // 2}", toa, mask, strata, time, lat=row, sun_zenith=30)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "set.zarr")


def test_what_is_written_is_read(store: Path) -> None:
    ds = patchset.open_store(store)
    patchset.validate(ds)
    toa, mask = patch(2)
    np.testing.assert_array_equal(ds.toa[2].values, toa[0])
    np.testing.assert_array_equal(ds.mask[2].values, mask[0])
    assert patchset.bands_of(ds) == BANDS
    assert ds.scene.values.tolist() == ["s0", "s0", "s1", "s1"]
    assert ds.biome.values.tolist() == ["forêt", "sea", "forêt", "sea"]
    assert np.isnat(ds.time.values[0])
    assert ds.time.values[1] == np.datetime64("2021-08-27T08:00:00")
    assert np.isnan(ds.lon.values).all()
    assert {"scene", "time", "sha256", "role"} <= set(ds.coords)
    assert ds.toa.encoding["chunks"] == (1, 3, SIZE, SIZE)


def test_arrays_hold_the_same(store: Path) -> None:
    arrays, ds = patchset.arrays(store), patchset.open_store(store)
    assert isinstance(arrays.toa, np.memmap)
    np.testing.assert_array_equal(arrays.toa, ds.toa.values)
    np.testing.assert_array_equal(arrays.strata["kind"], ds.kind.values)
    assert arrays.strata["biome"].tolist() == ds.biome.values.tolist()
    assert arrays.legends == {"kind": {0: "water_cloud", 1: "ice"}}
    assert (arrays.ids, arrays.bands) == (("p0", "p1", "p2", "p3"), BANDS)
    assert np.isnat(arrays.time[0])
    assert arrays.time.dtype == "datetime64[s]"
    assert arrays.fingerprint == ds.attrs["fingerprint"] == patchset.fingerprint(ds)
    assert arrays.attrs["label_bands"] == []


def test_part_reads_patches_and_bands_in_the_order_asked(store: Path) -> None:
    arrays = patchset.arrays(store)
    part = patchset.part(arrays, arrays.positions(["p3", "p1"]), [2, 0])
    np.testing.assert_array_equal(part.images.read(), arrays.toa[[3, 1]][:, [2, 0]])
    np.testing.assert_array_equal(part.masks(), arrays.mask[[3, 1]])
    assert part.scenes == ("s1", "s0")
    assert [band.name for band in part.images.bands] == ["S8", "S1"]
    with pytest.raises(UserError, match="no patch 'p9'"):
        arrays.positions(["p9"])


def test_a_pixel_that_misses_one_band_misses_all(tmp_path: Path) -> None:
    toa, mask = patch()
    toa[0, 1, 2, 3] = np.nan
    with patchset.PatchWriter(tmp_path / "set.zarr", BANDS, ATTRS) as writer:
        writer.append(["p"], "s", toa, mask)
    ds = patchset.open_store(tmp_path / "set.zarr")
    assert np.isnan(ds.toa[0, :, 2, 3].values).all()
    assert ds.mask[0, 2, 3] == IGNORE
    assert int(np.isnan(ds.toa.values).sum()) == len(BANDS)
    patchset.validate(ds)


def test_ids_sizes_and_strata_agree_over_appends(tmp_path: Path) -> None:
    toa, mask = patch()
    with patchset.PatchWriter(tmp_path / "a.zarr", BANDS, ATTRS) as writer:
        writer.append(["p"], "s", toa, mask)
        with pytest.raises(UserError, match="two patches have the id 'p'"):
            writer.append(["p"], "s", toa, mask)
        with pytest.raises(UserError, match="all patches need the same"):
            writer.append(["q"], "s", toa, mask, {"dem": mask})
        with pytest.raises(UserError, match=r"patches of .* pixels follow patches of"):
            writer.append(["q"], "s", toa[..., :4], mask[..., :4])
        writer.append(["q"], "s", *patch(1))
    ds = patchset.open_store(tmp_path / "a.zarr")
    patchset.validate(ds)
    assert ds.patch.values.tolist() == ["p", "q"]


def _interrupted(store: Path) -> None:
    with patchset.PatchWriter(store, BANDS, ATTRS) as writer:
        writer.append(["new"], "s", *patch())
        raise KeyboardInterrupt


def test_an_interrupt_keeps_the_old_store(store: Path) -> None:
    before = patchset.attributes(store)["fingerprint"]
    with pytest.raises(KeyboardInterrupt):
        _interrupted(store)
    assert patchset.attributes(store)["fingerprint"] == before
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def _killed(store: Path) -> None:
    with patchset.PatchWriter(store, BANDS, ATTRS) as writer:
        writer.append(["new"], "s", *patch())
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_leaves_no_store(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path / "set.zarr",))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "set.zarr").exists()
    assert len(patchset.table(write(tmp_path / "set.zarr")).ids) == 4


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is not a patch set, so it is not replaced"):
        write(tmp_path / "work")
    assert (tmp_path / "work" / "thesis.txt").read_text() == "precious"


def test_no_patch_is_no_patch_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no patch was written"), patchset.PatchWriter(tmp_path / "a", BANDS, ATTRS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_hangs_on_content_alone(tmp_path: Path, store: Path) -> None:
    def of(path: Path) -> str:
        return patchset.attributes(path)["fingerprint"]

    other = write(tmp_path / "elsewhere.zarr", attrs=ATTRS | {"sensor": "other"})
    assert of(other) == of(store)
    with patchset.PatchWriter(tmp_path / "batch.zarr", BANDS, ATTRS, {"kind": {0: "water cloud", 1: "ice"}}) as writer:
        pieces = [patch(row) for row in range(4)]
        toa, mask = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        strata = {"kind": mask, "biome": np.array(["forêt", "sea"] * 2)}
        times = ["NaT"] + 3 * ["2021-08-27T08:00:00"]
        writer.append(
            ["p0", "p1", "p2", "p3"], ["s0", "s0", "s1", "s1"], toa, mask, strata, times, [0, 1, 2, 3], sun_zenith=30
        )
    assert of(tmp_path / "batch.zarr") == of(store)
    assert of(write(tmp_path / "fewer.zarr", 3)) != of(store)


@pytest.mark.parametrize("name", ["toa", "mask", "kind", "lat", "scene"])
def test_a_change_after_writing_is_found(store: Path, name: str) -> None:
    import zarr

    array = zarr.open_group(store, mode="r+")[name]
    array[0] = np.asarray(array[3])
    with pytest.raises(UserError, match="patch 'p0' differs" if name in ("toa", "mask") else "differs from its finger"):
        patchset.validate(patchset.open_store(store))


def test_a_damaged_store_is_a_sentence(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no patch set at"):
        patchset.open_store(tmp_path / "absent.zarr")
    (store / "toa" / "1.0.0.0").write_bytes(b"not blosc at all")
    with pytest.raises(UserError, match="patch 'p1' cannot be read"):
        patchset.validate(patchset.open_store(store))
    with pytest.raises(UserError, match="patch 2 of 'toa' cannot be read"):
        patchset.arrays(store)
    assert not patchset.is_store(tmp_path)
    (store / ".zattrs").write_text(json.dumps({"title": "another Zarr"}))
    with pytest.raises(UserError, match="its attributes hold no fingerprint"):
        patchset.open_store(store)


def test_arrays_that_cannot_be_written(store: Path) -> None:
    store.with_name("set.arrays").write_text("a file in the way")
    with pytest.raises(UserError, match=r"arrays of .*set\.zarr cannot be written beside it"):
        patchset.arrays(store)


def test_a_dataset_of_another_layout_is_refused(store: Path) -> None:
    ds = patchset.open_store(store).load()
    with pytest.raises(UserError, match="no variable 'mask'"):
        patchset.validate(ds.drop_vars("mask"))
    with pytest.raises(UserError, match="toa has dimensions"):
        patchset.validate(ds.transpose("band", "patch", "y", "x"))
    with pytest.raises(UserError, match="no coordinate 'role'"):
        patchset.validate(ds.drop_vars("role"))
    with pytest.raises(UserError, match="no patches"):
        patchset.validate(ds.isel(patch=slice(0)))
    partly = ds.copy(deep=True)
    partly.toa[0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="patch 'p0' has pixels that are NaN in other bands but not in band 'S3'"):
        patchset.validate(partly)
    partly.toa[0, :, 0, 0] = np.nan
    with pytest.raises(UserError, match="patch 'p0' has labels on 1 pixels that are NaN"):
        patchset.validate(partly)


def _build(store: Path, barrier: object, queue: object) -> None:
    barrier.wait()
    queue.put(float(patchset.arrays(store).toa.sum()))


def _rewrite(store: Path, barrier: object, queue: object) -> None:
    barrier.wait()
    queue.put(len(patchset.table(write(store)).ids))


@pytest.mark.parametrize("work", [_build, _rewrite])
def test_two_processes_at_once(store: Path, work: object) -> None:
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    children = [context.Process(target=work, args=(store, barrier, queue)) for _ in range(2)]
    for child in children:
        child.start()
    answers = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert answers[0] == answers[1]
    patchset.validate(patchset.open_store(store))
    leftovers = [path.name for path in store.parent.rglob(".*") if path.name.endswith((".tmp", ".old"))]
    assert leftovers == []
