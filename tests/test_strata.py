"""Tests of benchmark/strata.py and of what benchmark/evidence.py keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt, label

from benchmark import evidence, patchset, scores, strata
from benchmark._composite import channels
from benchmark.api import CLEAR, CLOUD, IGNORE
from benchmark.evidence import keep
from benchmark.strata import NONE, Stratum
from datasets._slstr_strata import LEGENDS, SUN_EDGES, VIEW_EDGES
from tests.patch_factory import HLS5, bands, toa_and_mask


def make_store(path, more, legends=None, attrs=None, **where):
    """A patch set of two patches of 32 pixels with these strata."""
    toa, mask = toa_and_mask(2, 32, HLS5)
    facts = {"sensor": "test", "label_source": "constructed", "label_bands": [], "licence": "none", **(attrs or {})}
    with patchset.PatchWriter(path, bands(HLS5), facts, legends) as writer:
        writer.append(["a", "b"], "s", toa, mask, more, **where)
    return path


def test_counts_inside_strata_add_up_to_the_whole(store):
    arrays = patchset.arrays(store)
    index = np.array([1, 4, 7])
    mask = np.asarray(arrays.mask[index])
    cloud = np.random.default_rng(0).random(mask.shape) > 0.5
    found = strata.count(strata.of_store(store, [arrays.ids[i] for i in index]), cloud, mask)
    assert set(found) == {"land", "biome", "sun", "coast"}
    whole = scores.confusion(cloud, mask)
    for values in found.values():
        np.testing.assert_array_equal(sum(np.array(counts) for counts in values.values()), whole)
    assert set(found["biome"]) == {"Urban", "Water"}
    assert set(found["sun"]) == {"40-60"}
    assert set(found["coast"]) == {"no"}


def test_strata_of_the_truth_add_up_to_cloud_and_clear(store):
    mask = np.asarray(patchset.arrays(store).mask[:4])
    cloud = np.random.default_rng(0).random(mask.shape) > 0.5
    found, whole = strata.count(strata.of_truth(mask), cloud, mask), scores.confusion(cloud, mask)
    total = {name: sum(np.array(counts) for counts in values.values()) for name, values in found.items()}
    for name in ("cloud_size", "cloud_side"):
        np.testing.assert_array_equal(total[name], whole * [0, 0, 1, 1])
    np.testing.assert_array_equal(total["clear_side"], whole * [1, 1, 0, 0])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_counts_are_those_of_masked_confusion(seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice([CLEAR, CLOUD, IGNORE], (3, 9, 7)).astype(np.uint8)
    cloud = rng.random(mask.shape) < 0.5
    pixels = Stratum(("one", "two", "three"), rng.choice([0, 1, 2, NONE], mask.shape).astype(np.uint8))
    patches = Stratum(("here", "there"), np.array([1, NONE, 1], np.uint8))
    found = strata.count({"pixels": pixels, "patches": patches}, cloud, mask)
    for place, name in enumerate(pixels.labels):
        inside = np.where(pixels.codes == place, mask, IGNORE)
        np.testing.assert_array_equal(found["pixels"][name], scores.confusion(cloud, inside))
    assert list(found["patches"]) == ["there"]
    np.testing.assert_array_equal(found["patches"]["there"], scores.confusion(cloud, mask) * [[1], [0], [1]])


def test_optical_depth_is_cut_at_the_usual_limits():
    depth = np.array([[[0.0, 0.1, 0.5], [2.0, 3.0, 50.0]]])
    found = strata._classes("optical_depth", depth, {})
    where = {label: int((found.codes == place).sum()) for place, label in enumerate(found.labels)}
    assert where == {
        "below 0.3": 1, "0.3 to 1": 1, "1 to 3": 1, "above 3": 2,
    }  # fmt: skip
    assert found.codes[0, 0, 0] == NONE


def test_limits_belong_to_the_class_above_them():
    found = strata._classes("optical_depth", np.array([0.3, 1.0, 3.0]), {})
    assert [found.labels[code] for code in found.codes] == ["0.3 to 1", "1 to 3", "above 3"]


def test_angles_are_cut_as_products_are():
    for name, edges in (("sun", SUN_EDGES), ("view", VIEW_EDGES)):
        limits = strata.CUTS[name].limits
        assert tuple(limits) == tuple(LEGENDS[name].values())
        assert tuple(limits.values()) == (0.0, *edges)


def test_every_cut_says_where_its_limits_are_from():
    for cut in strata.CUTS.values():
        assert cut.source
        assert list(cut.limits.values()) == sorted(set(cut.limits.values()))


def test_angles_of_patches_are_strata_unless_the_product_has_its_own(tmp_path):
    plain = make_store(tmp_path / "a.zarr", {"view_zenith": np.array([10.0, 56.0])}, sun_zenith=[np.nan, 74.0])
    found = strata.of_store(plain, ["a", "b"])
    assert {name: [one.labels[code] if code != NONE else "" for code in one.codes] for name, one in found.items()} == {
        "view": ["0-20", "above_55"], "sun": ["", "60-75"],
    }  # fmt: skip
    own = {"sun": np.full((2, 32, 32), 3, np.uint8)}
    product = make_store(tmp_path / "b.zarr", own, {"sun": LEGENDS["sun"]}, sun_zenith=30.0)
    assert strata.of_store(product, ["b"])["sun"].labels == ("above_75",)


def test_unknown_pixels_names_and_masks_of_others_are_no_strata(tmp_path):
    snow = np.full((2, 32, 32), 255, np.uint8)
    snow[:, :4] = 1
    more = {"snow": snow, "granule": np.array(["x", "y"]), "other": snow, "heat": snow.astype(np.float32)}
    attrs = {"metadata": ["granule"], "maps": {"other": []}}
    found = strata.of_store(make_store(tmp_path / "a.zarr", more, {"snow": {0: "no", 1: "yes"}}, attrs), ["a"])
    assert set(found) == {"snow"}
    mask = np.zeros((1, 32, 32), np.uint8)
    assert strata.count(found, mask == CLOUD, mask) == {"snow": {"yes": [[4 * 32, 0, 0, 0]]}}


def test_a_value_of_255_that_the_legend_knows_is_a_class(tmp_path):
    classes = np.full((2, 32, 32), 255, np.uint8)
    found = strata.of_store(make_store(tmp_path / "a.zarr", {"classes": classes}, {"classes": {255: "cloud"}}), ["a"])
    assert found["classes"].labels == ("cloud",)
    assert not found["classes"].codes.any()


def test_the_coast_is_two_pixels_wide_on_both_sides(tmp_path):
    land = np.zeros((2, 32, 32), np.uint8)
    land[:, :, 10:] = 1
    land[:, 0] = 255
    found = strata.of_store(make_store(tmp_path / "a.zarr", {"land": land}), ["a"])["coast"]
    assert np.flatnonzero(found.codes[0, 5] == 1).tolist() == [8, 9, 10, 11]
    assert (found.codes[0, 0] == NONE).all()


def test_a_product_that_knows_the_coast_keeps_its_own(tmp_path):
    more = {name: np.ones((2, 32, 32), np.uint8) for name in ("land", "surface")}
    path = make_store(tmp_path / "a.zarr", more, {"surface": LEGENDS["surface"]})
    assert set(strata.of_store(path, ["a"])) == {"land", "surface"}


def test_sizes_are_those_of_connected_clouds():
    mask = np.zeros((2, 40, 40), np.uint8)
    mask[0, 0, :9] = CLOUD  # nine pixels
    mask[0, 10:15, 10:15] = mask[0, 15:20, 15:20] = CLOUD  # two squares that touch at a corner: 50
    mask[1] = CLOUD
    mask[1, :, 20] = IGNORE  # two clouds of 800 and 760
    found = strata.of_truth(mask)["cloud_size"]
    names = np.array([*found.labels, *[""] * (256 - len(found.labels))])[found.codes]
    assert {(name, int((names[0] == name).sum())) for name in np.unique(names[0])} == {
        ("", 1600 - 59), ("below 10", 9), ("10 to 99", 50),
    }  # fmt: skip
    assert set(names[1, :, 21]) == {"100 to 999"}
    assert (names[1, :, 20] == "").all()


@pytest.mark.parametrize("side", [CLOUD, CLEAR])
def test_distances_are_those_of_a_distance_transform(side):
    rng = np.random.default_rng(3)
    mask = (rng.random((40, 30)) < 0.004).astype(np.uint8)
    mask[:15] = label(mask[:15] == 0)[0] > 0
    mask[rng.random(mask.shape) < 0.02] = IGNORE
    other = mask == (CLEAR if side == CLOUD else CLOUD)
    distance = distance_transform_cdt(~other, metric="chessboard")
    found = strata.of_truth(mask[None])["cloud_side" if side == CLOUD else "clear_side"]
    expected = np.digitize(distance, [2, 3, 5, 9])
    np.testing.assert_array_equal(found.codes[0], np.where(mask == side, expected, NONE))
    assert len(np.unique(found.codes)) > 3


def test_a_patch_of_one_class_is_far_from_any_edge():
    found = strata.of_truth(np.full((1, 8, 8), CLOUD, np.uint8))
    assert {found["cloud_side"].labels[code] for code in found["cloud_side"].codes.flat} == {"above 8"}


def test_kept_strata_are_those_that_were_made_and_are_made_once(store, tmp_path, monkeypatch):
    arrays = patchset.arrays(store)
    patches, mask = arrays.ids[:3], np.asarray(arrays.mask[:3])
    assert evidence.read_strata(tmp_path) is None
    made = evidence.keep_strata(store, patches, mask, tmp_path)
    monkeypatch.setattr(strata, "strata", None)  # nothing is made again
    for kept in (evidence.keep_strata(store, patches, mask, tmp_path), evidence.read_strata(tmp_path)):
        assert kept.keys() == made.keys() == {"land", "biome", "sun", "coast", "cloud_size", "cloud_side", "clear_side"}
        for name, one in kept.items():
            assert one.labels == made[name].labels
            np.testing.assert_array_equal(one.codes, made[name].codes)
    monkeypatch.setattr(strata, "VERSION", strata.VERSION + 1)
    assert evidence.read_strata(tmp_path) is None


def test_an_old_truth_gets_strata_of_its_own_data_only(store, tmp_path):
    arrays = patchset.arrays(store)
    keep(patchset.part(arrays, np.array([0, 3]), range(5)), tuple(arrays.ids[place] for place in (0, 3)), tmp_path)
    evidence.complete(store, "of other data", tmp_path)
    assert evidence.read_strata(tmp_path) is None
    evidence.complete(store, arrays.fingerprint, tmp_path)
    assert evidence.read_strata(tmp_path)


def test_no_picture_is_made_of_elevation():
    assert channels(bands(("ELEVATION", "CIRRUS", "RED"))) == (1,)


def test_truth_and_composites_are_kept_once(store, tmp_path):
    arrays = patchset.arrays(store)
    part = patchset.part(arrays, np.array([0, 3]), range(5))
    keep(part, ("a", "b"), tmp_path / "t")
    np.testing.assert_array_equal(np.load(tmp_path / "t/mask.npy"), part.masks())
    picture = np.load(tmp_path / "t/composite.npy")
    assert picture.shape == (2, 32, 32, 3)
    changed = (tmp_path / "t/mask.npy").stat().st_mtime_ns
    keep(part, ("a", "b"), tmp_path / "t")
    assert (tmp_path / "t/mask.npy").stat().st_mtime_ns == changed
    cloud = part.masks()[1] == 1
    assert picture[1][cloud].mean() > picture[1][~cloud].mean()
