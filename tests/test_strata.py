import numpy as np

from benchmark import patchset, scores, strata
from benchmark.evidence import keep


def test_counts_inside_strata_add_up_to_the_whole(store):
    arrays = patchset.arrays(store)
    index = np.array([1, 4, 7])
    mask = np.asarray(arrays.mask[index])
    cloud = np.random.default_rng(0).random(mask.shape) > 0.5
    found = strata.counts(store, [arrays.ids[i] for i in index], cloud, mask)
    assert set(found) == {"land", "biome"}
    whole = scores.confusion(cloud, mask)
    for values in found.values():
        np.testing.assert_array_equal(sum(np.array(counts) for counts in values.values()), whole)
    assert set(found["biome"]) == {"Urban", "Water"}


def test_optical_depth_is_cut_at_the_usual_limits():
    depth = np.array([[[0.0, 0.1, 0.5], [2.0, 3.0, 50.0]]])
    found = strata._classes("optical_depth", depth, {})
    assert {label: int(where.sum()) for label, where in found.items()} == {
        "below 0.3": 1, "0.3 to 1": 1, "1 to 3": 1, "above 3": 2,
    }  # fmt: skip


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
