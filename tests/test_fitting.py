import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patch_factory import make_part

from benchmark.api import Budget, Context
from benchmark.fitting import _half, predictions
from benchmark.measure import Meter


@given(st.floats(0, 1, width=32))
def test_rounding_to_float16_moves_no_pixel_across_one_half(value):
    half = _half(np.array([value], np.float32))
    assert half.dtype == np.float16
    assert (half > 0.5) == (np.float32(value) > 0.5)
    assert abs(float(half[0]) - value) < 1e-3


class Constant:
    def __init__(self, shape=None):
        self.shape = shape

    def predict(self, images, context):
        return np.full(self.shape or (len(images), *images.shape[2:]), 0.25)


def test_predictions_cover_every_patch_once_and_are_timed():
    images, meter = make_part(n=7).images, Meter()
    found = list(predictions(Constant(), images, Context(budget=Budget(batch=3)), meter))
    assert [(where.start, where.stop) for where, _ in found] == [(0, 3), (3, 6), (6, 7)]
    assert len(meter.laps["predict"]) == 3


def test_answer_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="predict gave shape"):
        list(predictions(Constant((2, 2)), make_part(n=2).images, Context()))
