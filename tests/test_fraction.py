"""Tests of benchmark/fraction.py."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import fraction
from benchmark.api import CLOUD, IGNORE


def scored(cloud, mask):
    return fraction.scores({tile: np.sum(each, axis=0) for tile, each in fraction.sums(cloud, mask).items()})


@pytest.fixture(scope="module")
def fields():
    rng = np.random.default_rng(0)
    mask = (rng.random((3, 100, 70)) < np.linspace(0, 1, 70)).astype(np.uint8)
    mask[0, :50] = IGNORE
    mask[2] = IGNORE
    return rng.random(mask.shape) < 0.5, mask


@pytest.mark.parametrize("tile", fraction.TILES)
def test_sums_are_those_of_a_loop_over_tiles(fields, tile):
    cloud, mask = fields
    height, width = (100, 70) if tile == "patch" else (int(tile), int(tile))
    for place, found in enumerate(fraction.sums(cloud, mask)[tile]):
        errors = []
        for row in range(0, 100 - height + 1, height):
            for column in range(0, 70 - width + 1, width):
                where = np.s_[place, row : row + height, column : column + width]
                known = mask[where] != IGNORE
                if known.mean() >= 0.5:
                    errors.append(cloud[where][known].mean() - (mask[where][known] == CLOUD).mean())
        assert found == pytest.approx([len(errors), np.sum(errors), np.sum(np.square(errors))], abs=1e-8)


def test_errors_that_cancel_are_no_bias():
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[:, :, :32] = CLOUD
    found = scored(np.roll(mask, 32, axis=2) == CLOUD, mask)
    assert found["fraction_bias_patch"] == found["fraction_rmse_patch"] == found["fraction_bias_32"] == 0
    assert found["fraction_rmse_32"] == 1
    assert set(found) == set(fraction.SCORES)


def test_the_bias_is_positive_where_there_is_too_much_cloud():
    mask = np.zeros((2, 64, 64), np.uint8)
    cloud = np.zeros(mask.shape, bool)
    cloud[0] = True
    found = scored(cloud, mask)
    assert {name: float(value) for name, value in found.items() if "bias" in name} == {
        f"fraction_bias_{tile}": 0.5 for tile in fraction.TILES
    }
    assert float(found["fraction_rmse_patch"]) == pytest.approx(np.sqrt(0.5))


def test_what_is_predicted_without_truth_counts_nowhere():
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[:, :10] = IGNORE
    assert fraction.sums(mask == IGNORE, mask) == {"patch": [[1, 0.0, 0.0]], "32": [[1, 0.0, 0.0]]}


def test_without_a_tile_there_is_no_score():
    assert all(np.isnan(value) for value in scored(np.ones((1, 32, 32), bool), np.full((1, 32, 32), IGNORE)).values())
