"""Tests of benchmark/boundary.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt

from benchmark import boundary
from benchmark.api import CLEAR, CLOUD, IGNORE
from tests.record_factory import smooth


def near(pixels, distance):
    """Pixels at most so far (chessboard) from one of these, by a distance transform."""
    if not pixels.any():
        return np.zeros_like(pixels)
    return distance_transform_cdt(~pixels, metric="chessboard") <= distance


def slow(cloud, mask, d):
    """FIELDS of one patch, from the definition."""
    known = mask != IGNORE
    found, found_clear, truth, truth_clear = cloud & known, ~cloud & known, mask == CLOUD, mask == CLEAR
    one, other = found & near(found_clear, d), truth & near(truth_clear, d)
    outline, true = found & near(found_clear, 1), truth & near(truth_clear, 1)
    areas = (one & other).sum(), (one | other).sum()
    return [*areas, (outline & near(true, d)).sum(), outline.sum(), (true & near(outline, d)).sum(), true.sum()]


def square(left, size=40, side=20):
    mask = np.zeros((1, size, size), np.uint8)
    mask[0, 10 : 10 + side, left : left + side] = CLOUD
    return mask


def scored(cloud, mask):
    return boundary.scores({d: np.sum(each, axis=0) for d, each in boundary.counts(cloud, mask).items()})


@pytest.fixture(scope="module")
def fields():
    rng = np.random.default_rng(0)
    truth, found = smooth((6, 48, 40), rng), smooth((6, 48, 40), rng, 1.2)
    mask = (truth > 0).astype(np.uint8)
    mask[smooth(truth.shape, rng) > 1.2] = IGNORE
    mask[5] = IGNORE
    return truth + 0.3 * found > 0, mask


@pytest.mark.parametrize("distance", boundary.DISTANCES)
def test_counts_are_those_of_distance_transforms(fields, distance):
    cloud, mask = fields
    assert boundary.counts(cloud, mask)[str(distance)] == [
        slow(*patch, distance) for patch in zip(cloud, mask, strict=True)
    ]


def test_a_square_shifted_by_one_pixel():
    """Outlines are of 4 x 19 = 76 pixels."""
    mask, cloud = square(10), square(11) == CLOUD
    found = boundary.counts(cloud, mask)["1"][0]
    # Both outlines hold two rows of 19 common columns; a vertical side of one never lies on one of the other's.
    assert found == [38, 2 * 76 - 38, 76, 76, 76, 76]
    two = boundary.counts(cloud, mask)["2"][0]
    # Rings two wide: 400 - 16 * 16 = 144 pixels; the four rows share 19 columns, the 16 rows between one column a side.
    assert two[:2] == [4 * 19 + 2 * 16, 2 * 144 - (4 * 19 + 2 * 16)]


def test_a_square_shifted_by_three_pixels_is_hit_within_four_only():
    scores = scored(square(13) == CLOUD, square(10))
    assert scores["boundary_f1_4"] == 1
    assert scores["boundary_f1_2"] < 1
    # Within 2, what is hit is the horizontal rows up to two columns beyond the other's, and the sides near their ends.
    hits, total = boundary.counts(square(13) == CLOUD, square(10))["2"][0][2:4]
    assert (hits, total) == (slow(square(13)[0] == CLOUD, square(10)[0], 2)[2], 76)


def test_equal_masks_score_one_and_far_ones_zero():
    assert set(map(float, scored(square(10) == CLOUD, square(10)).values())) == {1.0}
    far = np.zeros((1, 40, 40), bool)
    far[0, 36:, 36:] = True
    assert set(map(float, scored(far, square(5, side=12)).values())) == {0.0}


def test_a_smooth_mask_loses_at_the_boundary_first(fields):
    truth = smooth((1, 64, 64), np.random.default_rng(1), 1.2)
    mask = (truth > 0).astype(np.uint8)
    coarse = np.kron(truth[:, ::4, ::4], np.ones((1, 4, 4))) > 0
    inside = ((mask == CLOUD) & coarse).sum() / ((mask == CLOUD) | coarse).sum()
    found = scored(coarse, mask)
    assert found["boundary_jaccard_1"] < found["boundary_jaccard_2"] < found["boundary_jaccard_4"] < inside


def test_the_edge_of_the_patch_is_no_boundary():
    mask = np.full((1, 16, 16), CLOUD, np.uint8)
    assert boundary.counts(mask == CLOUD, mask) == {str(d): [[0] * 6] for d in boundary.DISTANCES}
    mask[:, :, 8:] = CLEAR
    assert boundary.counts(mask == CLOUD, mask)["2"] == [[32, 32, 16, 16, 16, 16]]


def test_ignored_pixels_count_in_nothing_and_make_no_boundary():
    mask = np.full((1, 16, 16), CLOUD, np.uint8)
    mask[:, 4:12, 4:12] = IGNORE
    cloud = np.ones_like(mask, bool)
    cloud[:, 5:11, 5:11] = False
    assert boundary.counts(cloud, mask) == {str(d): [[0] * 6] for d in boundary.DISTANCES}


def test_without_any_boundary_scores_are_unknown_and_with_one_only_zero():
    clear = np.zeros((1, 40, 40), np.uint8)
    assert np.isnan(list(scored(clear == CLOUD, clear).values())).all()
    assert set(map(float, scored(clear == CLOUD, square(10)).values())) == {0.0}
    assert set(map(float, scored(square(10) == CLOUD, clear).values())) == {0.0}


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        boundary.counts(np.zeros((1, 4, 4), bool), np.zeros((1, 4, 5), np.uint8))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_scores_are_symmetric_turn_with_the_patch_and_lie_between_0_and_1(seed, share):
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 2, 12, 9)) < share
    there, back = scored(one, other.astype(np.uint8)), scored(other, one.astype(np.uint8))
    turned = scored(np.rot90(one, axes=(1, 2)), np.rot90(other.astype(np.uint8), axes=(1, 2)))
    for name, value in there.items():
        assert value == pytest.approx(back[name], nan_ok=True)
        assert value == pytest.approx(turned[name], nan_ok=True)
        assert np.isnan(value) or 0 <= value <= 1
    assert set(there) == set(boundary.SCORES)
