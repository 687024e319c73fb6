"""The health of features that a fit leaves beside its record."""

import numpy as np
import pytest
from patch_factory import make_part

from benchmark import feature_health
from benchmark.api import Context
from benchmark.views import gate


def test_health_of_features():
    rng = np.random.default_rng(0)
    sound = rng.normal(size=(4, 8, 8, 16)) + 5 * (np.arange(16) == 3)  # one channel dwarfs the others
    whole = feature_health.health(sound)
    assert whole["feature rank"] > 10
    assert whole["feature spread"] > 0.8
    assert feature_health.health(np.broadcast_to(sound[:1], sound.shape))["feature rank"] == 0  # of place alone
    line = rng.normal(size=(4, 8, 8, 1)) * rng.normal(size=16)
    assert feature_health.health(line)["feature rank"] == pytest.approx(1, abs=0.01)
    assert feature_health.health(10 + 0.01 * sound)["feature spread"] < gate.LEAST_SPREAD


def test_what_goes_wrong_with_features_is_a_fact_and_no_failure():
    class Broken:
        def embed(self, images, ctx):
            raise ValueError("no")

    images = make_part(n=3).images
    assert feature_health.facts(Broken(), images, Context()) == {"feature rank": "failed: ValueError: no"}
    assert feature_health.facts(object(), images, Context()) == {}
