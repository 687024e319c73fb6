import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_factory import make_part

from benchmark import _feature_store, patchset
from benchmark.api import UserError
from benchmark.features import FeatureCache

IMAGES = make_part(n=12, size=8).images
ROOT = Path(__file__).resolve().parent.parent


class Doubler:
    """Twice the values and the latitude; counts how often it sees each patch."""

    def __init__(self, fingerprint="doubler"):
        self.fingerprint = fingerprint
        self.seen = Counter()

    def encode(self, images):
        self.seen.update(images.index.tolist())
        return answer(images)


def answer(images):
    return (np.nan_to_num(images.read()) * 2 + images.lat[images.index][:, None, None, None]).astype(np.float16)


@pytest.fixture
def later(monkeypatch):
    """Call to forget what this process has checked, as another process would not know it."""
    return lambda: monkeypatch.setattr(_feature_store, "_verified", set())


def test_features_are_computed_once_and_memory_mapped(tmp_path):
    encoder, cache = Doubler(), FeatureCache(tmp_path, perf_counter)
    first, again = cache(encoder, IMAGES), cache(encoder, IMAGES)
    assert first.shape == (12, 5, 8, 8)
    assert len(first) == 12
    np.testing.assert_array_equal(first[:], answer(IMAGES))
    np.testing.assert_array_equal(first[np.array([7, 2])], answer(IMAGES)[[7, 2]])
    np.testing.assert_array_equal(first[:], again[:])
    assert first[:].dtype == np.float16
    assert isinstance(first.whole.base, np.memmap)
    assert set(encoder.seen.values()) == {1}


requests = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(requests, st.integers(1, 5))
def test_any_overlapping_requests_give_the_true_values_and_encode_no_patch_twice(asked, batch):
    encoder = Doubler()
    with tempfile.TemporaryDirectory() as folder:
        for rows in asked:  # each as another fit, which has its own cache object
            images = IMAGES.take(np.array(rows))
            found = FeatureCache(Path(folder), perf_counter, batch, log=lambda line: None)(encoder, images)
            np.testing.assert_array_equal(found[:], answer(images))
    assert encoder.seen == Counter({row for rows in asked for row in rows})


def test_parts_and_fractions_of_one_patch_set_share_what_is_there(tmp_path, monkeypatch):
    toa = np.asarray(IMAGES.toa)
    arrays = patchset.Arrays(
        toa=toa, mask=toa[:, 0], strata={}, legends={}, ids=(), scenes=(), bands=IMAGES.bands, time=IMAGES.time,
        lat=IMAGES.lat, lon=IMAGES.lon, sun_zenith=IMAGES.sun_zenith, attrs={}, fingerprint="set",
    )  # fmt: skip
    encoder, cache = Doubler(), FeatureCache(tmp_path, perf_counter)
    seen = []
    monkeypatch.setattr(encoder, "encode", lambda images: seen.extend(images.lat[images.index]) or answer(images))
    for rows in (range(8), (1, 3, 5), (11, 2, 9), (0, 9)):
        images = patchset.images(arrays, np.array(rows), range(5))
        np.testing.assert_array_equal(cache(encoder, images)[:], answer(images))
    assert sorted(seen) == sorted(IMAGES.lat[[*range(8), 9, 11]])


def test_a_hit_reports_what_it_cost_when_computed(tmp_path):
    ticks = iter(range(1000))
    clock = lambda: float(next(ticks))  # noqa: E731
    FeatureCache(tmp_path, clock, batch=4)(Doubler(), IMAGES)
    cache = FeatureCache(tmp_path, clock)
    cache(Doubler(), IMAGES)
    cache(Doubler(), IMAGES.take(slice(0, 6)))
    assert cache.seconds == pytest.approx([3.0, 1.5])  # three batches of one tick
    assert cache.spent == 2.0  # two requests of one tick
    mixed = FeatureCache(tmp_path, clock, batch=1)
    mixed(Doubler(), IMAGES.take(np.array([0, 1, 1])))
    assert mixed.seconds == pytest.approx([0.5])


@pytest.mark.parametrize("change", ["encoder", "channels", "time", "lat", "values"])
def test_other_content_is_computed(tmp_path, change):
    cache = FeatureCache(tmp_path, perf_counter)
    cache(Doubler(), IMAGES)
    changed = {
        "channels": replace(IMAGES, channels=IMAGES.channels[::-1], bands=IMAGES.bands[::-1]),
        "time": replace(IMAGES, time=IMAGES.time + np.timedelta64(1, "D")),
        "lat": replace(IMAGES, lat=IMAGES.lat + 1),
        "values": replace(IMAGES, toa=np.asarray(IMAGES.toa) + 1, source="another"),
    }
    other, images = Doubler("other" if change == "encoder" else "doubler"), changed.get(change, IMAGES)
    np.testing.assert_array_equal(cache(other, images)[:], answer(images))
    assert len(other.seen) == 12


def test_a_damaged_slot_alone_is_computed_again(tmp_path, later):
    cache = FeatureCache(tmp_path, perf_counter, batch=12, log=(said := []).append)
    cache(Doubler(), IMAGES)
    (file,) = tmp_path.glob("*.f16")
    data = bytearray(file.read_bytes())
    data[5 * len(data) // 12 + 3] ^= 0xFF
    file.write_bytes(data)
    later()
    for images, damaged in ((IMAGES.take(slice(0, 5)), 0), (IMAGES, 1), (IMAGES, 0)):
        encoder = Doubler()
        np.testing.assert_array_equal(cache(encoder, images)[:], answer(images))
        assert encoder.seen.total() == damaged
        later()
    assert [line for line in said if "damaged" in line] == [
        f"features of 1 patches in {file.name} are damaged and are computed again"
    ]


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_cut_short_is_computed_again(tmp_path, later, size):
    cache = FeatureCache(tmp_path, perf_counter)
    cache(Doubler(), IMAGES)
    (file,) = tmp_path.glob("*.f16")
    with file.open("r+b") as stream:
        stream.truncate(size)
    later()
    np.testing.assert_array_equal(cache(Doubler(), IMAGES)[:], answer(IMAGES))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.999), st.integers(0, 255))
def test_a_table_cut_or_damaged_anywhere_never_gives_wrong_features(where, flip):
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), perf_counter, log=lambda line: None)
        cache(Doubler(), IMAGES)
        (table,) = Path(folder).glob("*.jsonl")
        content = bytearray(table.read_bytes())
        at = int(where * len(content))
        if flip:
            content[at] ^= flip
        else:
            del content[at:]
        table.write_bytes(content)
        for images in (IMAGES.take(slice(6, None)), IMAGES):
            np.testing.assert_array_equal(cache(Doubler(), images)[:], answer(images))
        encoder = Doubler()
        cache(encoder, IMAGES)
        assert not encoder.seen


def test_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    cache = FeatureCache(tmp_path, perf_counter, log=(said := []).append)
    cache(Doubler(), IMAGES.take(slice(0, 10)))
    size = 2 * 5 * 8 * 8
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=2 * size))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="features need"):
        cache(Doubler(), IMAGES)
    assert "2 of 12 patches are missing and take 0.0 MB" in said[-1]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=3 * size))  # only what is missing counts
    np.testing.assert_array_equal(cache(Doubler(), IMAGES)[:], answer(IMAGES))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_meanwhile_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(_feature_store.Slots, "_fill", lambda *_: Path("/dev/full").write_bytes(b"0" * 9) and [])
    with pytest.raises(UserError, match="cannot be written"):
        FeatureCache(tmp_path, perf_counter)(Doubler(), IMAGES)


# Several processes

CHILD = """
import os, sys, time
from pathlib import Path
from time import perf_counter
from tests.test_features import IMAGES, Doubler, answer
from benchmark.features import FeatureCache
import numpy as np
folder, begin, end, dies_at = Path(sys.argv[1]), *map(int, sys.argv[2:])

class Slow(Doubler):
    def encode(self, images):
        if dies_at in images.index:
            os._exit(9)
        time.sleep(0.05)
        with (folder / "encoded").open("a") as file:
            file.write("".join(f"{row}\\n" for row in images.index))
        return answer(images)

images = IMAGES.take(slice(begin, end))
(folder / f"ready{begin}").touch()
while not all((folder / f"ready{one}").exists() for one in (0, 4)):
    time.sleep(0.005)
found = FeatureCache(folder, perf_counter, batch=1)(Slow(), images)
assert np.array_equal(found[:], answer(images))
"""


def child(folder, begin, end, dies_at=-1):
    arguments = [str(value) for value in (folder, begin, end, dies_at)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": ""}
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=ROOT, env=path)


def test_two_processes_at_once_encode_each_patch_once(tmp_path):
    both = [child(tmp_path, 0, 8), child(tmp_path, 4, 12)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert sorted(map(int, (tmp_path / "encoded").read_text().split())) == list(range(12))
    encoder = Doubler()
    np.testing.assert_array_equal(FeatureCache(tmp_path, perf_counter)(encoder, IMAGES)[:], answer(IMAGES))
    assert not encoder.seen


def test_what_a_killed_process_had_finished_is_used(tmp_path):
    (tmp_path / "ready4").touch()
    assert child(tmp_path, 0, 12, dies_at=7).wait(60) == 9
    encoder = Doubler()
    np.testing.assert_array_equal(FeatureCache(tmp_path, perf_counter)(encoder, IMAGES)[:], answer(IMAGES))
    assert set(encoder.seen) == {7, 8, 9, 10, 11}


def test_finished_slots_are_read_while_another_computes(tmp_path):
    from filelock import FileLock

    cache = FeatureCache(tmp_path, perf_counter)
    cache(Doubler(), IMAGES)
    (file,) = tmp_path.glob("*.f16")
    with FileLock(file.with_suffix(".lock"), is_singleton=False):
        np.testing.assert_array_equal(cache(Doubler(), IMAGES)[:], answer(IMAGES))
