"""Scores of the outlines of clouds, from counts a patch: boundary Jaccard index and boundary F1.

A pixel is on the boundary of a mask within d if it is cloud and a clear pixel lies at most d rows and d columns away
(chessboard distance). Pixels without truth are neither clear nor cloud, in the truth and in the prediction: they are
counted in nothing and make no boundary, and nor does the edge of a patch, beyond which nothing is known.

- Boundary Jaccard index: intersection over union of the two boundaries within d, the "boundary IoU" of Cheng et al.
  (CVPR 2021); unlike there, the edge of the image makes no boundary.
- Boundary F1: harmonic mean of the share of the predicted outline (the boundary within 1) that lies within d of the
  true outline, and of the reverse share: the contour accuracy F of Perazzi et al. (CVPR 2016), which goes back to
  Martin et al. (TPAMI 2004), by dilation instead of matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.api import CLEAR, CLOUD

DISTANCES = (1, 2, 4)  # pixels
FIELDS = ("intersection", "union", "predicted_hits", "predicted", "true_hits", "true")  # of a patch, in pixels
SCORES = tuple(f"boundary_{score}_{d}" for score in ("jaccard", "f1") for d in DISTANCES)


def counts(cloud: np.ndarray, mask: np.ndarray) -> dict[str, list[list[int]]]:
    """Return FIELDS of each patch by distance ("1", "2", "4").

    Args:
        cloud: (n, y, x) bool, the prediction.
        mask: (n, y, x) uint8 of CLEAR, CLOUD or IGNORE.
    """
    if cloud.shape != mask.shape or cloud.ndim != 3:
        raise ValueError(f"cloud of shape {cloud.shape} is not that of patches with masks of shape {mask.shape}")
    patches = [_patch(one, truth) for one, truth in zip(cloud, mask, strict=True)]
    return {str(d): [patch[place] for patch in patches] for place, d in enumerate(DISTANCES)}


def _patch(cloud: np.ndarray, mask: np.ndarray) -> list[list[int]]:
    """Return FIELDS of one patch at each distance."""
    known = (mask == CLEAR) | (mask == CLOUD)
    found = (cloud & known).astype(np.uint8), (~cloud & known).astype(np.uint8)
    truth = (mask == CLOUD).astype(np.uint8), (mask == CLEAR).astype(np.uint8)
    outline, true = _boundary(*found, 1), _boundary(*truth, 1)
    return [[*_overlap(found, truth, d), *_hits(outline, true, d), *_hits(true, outline, d)] for d in DISTANCES]


def _boundary(cloud: np.ndarray, clear: np.ndarray, distance: int) -> np.ndarray:
    return cloud & within(clear, distance)


def within(pixels: np.ndarray, distance: int) -> np.ndarray:
    """Return the pixels at most `distance` from one of `pixels` (0 or 1), none of which lie beyond the edge."""
    import cv2

    return np.asarray(cv2.dilate(pixels, np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)), np.uint8)


def _overlap(found: tuple[np.ndarray, np.ndarray], truth: tuple[np.ndarray, np.ndarray], d: int) -> tuple[int, int]:
    """Return intersection and union of the boundaries within d."""
    one, other = _boundary(*found, d), _boundary(*truth, d)
    return int(np.count_nonzero(one & other)), int(np.count_nonzero(one | other))


def _hits(outline: np.ndarray, other: np.ndarray, distance: int) -> tuple[int, int]:
    """Return how many pixels of an outline lie within `distance` of the other, and how many it has."""
    return int(np.count_nonzero(outline & within(other, distance))), int(np.count_nonzero(outline))


def scores(counts: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, np.ndarray]:
    """Return SCORES of summed counts {distance: (..., FIELDS)}, each (...); NaN where there is no boundary at all."""
    found = {int(d): np.asarray(each) for d, each in counts.items()}
    jaccards = {f"boundary_jaccard_{d}": jaccard(each) for d, each in found.items()}
    return jaccards | {f"boundary_f1_{d}": f1(each) for d, each in found.items()}


def jaccard(counts: np.ndarray) -> np.ndarray:
    """Return the boundary Jaccard index of counts (..., FIELDS)."""
    return _share(counts[..., 0], counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """Return the boundary F1 of counts (..., FIELDS); 0 where only one of the masks has an outline."""
    hits, predicted, true_hits, true = np.moveaxis(np.asarray(counts, float)[..., 2:], -1, 0)
    # precision and recall with 0 for 0/0: an outline that is not there hits nothing
    precision, recall = (np.nan_to_num(_share(*pair)) for pair in ((hits, predicted), (true_hits, true)))
    mean = np.nan_to_num(_share(2 * precision * recall, precision + recall))
    return np.where(predicted + true > 0, mean, np.nan)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.true_divide(part, whole))
