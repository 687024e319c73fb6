import numpy as np
import pytest
from patch_factory import make_part

from baselines.single_band import SingleBand
from benchmark.api import Budget, Context, NotRun, Part
from benchmark.scores import confusion, ranking, scores

CONTEXT = Context(budget=Budget(pixels=10**6))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_band_cut_and_side_are_found(sign):
    sound = make_part(n=3, seed=1)
    toa = sign * np.asarray(sound.images.toa) + np.random.default_rng(0).normal(0, 0.2, (3, 5, 32, 32))
    part = Part(type(sound.images)(**{**vars(sound.images), "toa": toa.astype(np.float32)}), sound.truth, sound.scenes)
    method = SingleBand(levels=50)
    method.fit(part, part, CONTEXT)
    mask, values = part.masks(), part.images.read()
    tried = [
        ranking(np.where(side * value > side * cut, 1.0, 0.0), mask)
        for value in values.swapaxes(0, 1)
        for cut in np.nanquantile(value[mask < 2], np.linspace(0, 1, 50)).astype(np.float32)
        for side in (1, -1)
    ]
    assert ranking(method.predict(part.images, CONTEXT), mask) == pytest.approx(max(tried), abs=2e-3)
    assert method.side_ == sign
    assert scores(confusion(method.predict(part.images, CONTEXT) > 0.5, mask).sum(0))["kuiper"] > 0.5


def test_the_rule_is_on_record():
    told = {}
    SingleBand().fit(make_part(), make_part(), Context(fact=told.__setitem__))
    assert told["band"].split()[1] == "above"


def test_elevation_is_no_band_to_cut():
    """Even where it tells the truth, which a height never measured."""
    part = make_part(roles=("GREEN", "ELEVATION"))
    part.images.toa[:, 1] = np.where(part.truth == 1, 3000, 0)
    told = {}
    SingleBand().fit(part, part, Context(fact=told.__setitem__))
    assert told["band"].startswith("GREEN ")
    alone = make_part(roles=("ELEVATION",))
    with pytest.raises(NotRun, match="give a band that a sensor measured"):
        SingleBand().fit(alone, alone, CONTEXT)
