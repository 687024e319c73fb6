import json
from time import perf_counter

import numpy as np
import pytest
from patch_factory import make_part

from benchmark.api import UserError
from benchmark.features import FeatureCache


class Doubler:
    def __init__(self, fingerprint="doubler"):
        self.fingerprint = fingerprint
        self.calls = 0

    def encode(self, images):
        self.calls += 1
        return (np.nan_to_num(images.read()) * 2).astype(np.float16)


@pytest.fixture
def images():
    return make_part(n=6).images


def test_features_are_computed_once_and_memory_mapped(tmp_path, images):
    encoder, cache = Doubler(), FeatureCache(tmp_path, perf_counter)
    first, again = cache(encoder, images), cache(encoder, images)
    np.testing.assert_array_equal(first, (np.nan_to_num(images.read()) * 2).astype(np.float16))
    np.testing.assert_array_equal(first, again)
    assert isinstance(again, np.memmap)
    assert encoder.calls == 2  # two batches of four and two


def test_a_hit_reports_what_it_cost_when_computed(tmp_path, images):
    FeatureCache(tmp_path, perf_counter)(Doubler(), images)
    cache = FeatureCache(tmp_path, perf_counter)
    cache(Doubler(), images)
    (meta,) = tmp_path.glob("*.json")
    assert cache.seconds == [json.loads(meta.read_text())["seconds"]]
    assert cache.seconds[0] > 0
    assert cache.spent < cache.seconds[0] + 1


@pytest.mark.parametrize("change", ["encoder", "patches", "channels"])
def test_other_content_is_another_file(tmp_path, images, change):
    cache = FeatureCache(tmp_path, perf_counter)
    cache(Doubler(), images)
    other = {"patches": images.take(slice(0, 5)), "channels": images}.get(change, images)
    if change == "channels":
        from dataclasses import replace

        other = replace(images, channels=images.channels[::-1], bands=images.bands[::-1])
    cache(Doubler("other" if change == "encoder" else "doubler"), other)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_damaged_file_is_computed_again(tmp_path, images):
    cache = FeatureCache(tmp_path, perf_counter, log=(said := []).append)
    want = np.array(cache(Doubler(), images))
    (file,) = tmp_path.glob("*.npy")
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(data)
    np.testing.assert_array_equal(cache(Doubler(), images), want)
    assert any("damaged" in line for line in said)


def test_full_disk_is_said_before_anything_is_written(tmp_path, images, monkeypatch):
    usage = __import__("shutil").disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match="features need"):
        FeatureCache(tmp_path, perf_counter)(Doubler(), images)
    assert not list(tmp_path.glob("*.npy"))
