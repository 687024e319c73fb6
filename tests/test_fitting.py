import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patch_factory import make_part

from benchmark import cell as cells
from benchmark import embedding, planner, splits
from benchmark.api import Budget, Context, NotRun, Row, UserError
from benchmark.fitting import Bench, _half, fit, predictions, search
from benchmark.measure import Meter
from benchmark.profiles import PROFILES
from benchmark.record import OK, Record


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


@dataclass
class Telling:
    """Keeps what it was lent, tells facts, and does as its field says."""

    fault: str = "none"

    def fit(self, train, val, ctx):
        self.context = ctx
        found = sorted(path.name for path in ctx.training.iterdir())
        (ctx.training / "checkpoint").touch()
        ctx.fact("found", found)
        ctx.fact("scale", {"mean": (0.5, 1)})
        ctx.fact("scale", "own")
        if self.fault == "fact":
            ctx.fact("array", np.zeros(2))
        if self.fault == "refuse":
            raise NotRun("the moon is not full")
        if self.fault == "stop":
            raise SystemExit

    def predict(self, images, ctx):
        ctx.fact("predicted", len(images))
        return np.full((len(images), *images.shape[2:]), 0.75)


def space(trial):
    return {"fault": trial.suggest_categorical("fault", ["none", "refuse"])}


@pytest.fixture
def bench(store, tmp_path):
    row = Row("telling", "floor", Telling, space=space)
    plan = planner.make(planner.Asked(("majority",), str(store), "smoke", out=tmp_path), lambda done, total: None)
    cell = replace(plan.cells[0], row="telling")
    return Bench(plan, cell, tmp_path, row, splits.read(plan.split, plan.store))


def test_the_last_fact_of_a_name_is_kept_and_only_plain_values(bench):
    fitted = fit(bench, {})
    assert fitted.facts == {"found": [], "scale": "own", "predicted": 4}
    with pytest.raises(TypeError, match="not JSON serializable"):
        fit(bench, {"fault": "fact"})


def test_a_fit_may_take_most_of_the_time_of_its_cell(bench):
    assert fit(bench, {}).context.seconds == pytest.approx(0.9 * PROFILES["smoke"].timeout)


def test_with_an_allowance_fits_see_what_is_left_of_it_and_the_default_fit_has_spent_its_part(bench):
    allowed = replace(bench, cell=replace(bench.cell, allowance=60.0))
    assert fit(allowed, {}).context.seconds == 60.0
    tuned = replace(allowed, cell=replace(allowed.cell, trials=3))
    laps = {"fit": [0.5], "encode": [0.25, 0.25], "validate": [0.5], "predict": [900.0]}
    found = search(tuned, Record(tuned.cell.default().key, {}, OK, validation=0.0, laps=laps))
    assert found.trials[0]["seconds"] == 1.5
    assert len(found.trials) == 3
    assert 0 < found.fitted.context.seconds < 58.5
    spent = search(tuned, Record(tuned.cell.default().key, {}, OK, validation=0.0, laps={"fit": [60.5]}, started="2"))
    assert len(spent.trials) == 1


def test_the_same_fit_finds_its_checkpoints_and_another_does_not(bench):
    fit(bench, {})
    assert fit(bench, {}).facts["found"] == ["checkpoint"]
    assert fit(bench, {"fault": "other"}).facts["found"] == []
    other = replace(bench, cell=replace(bench.cell, seed=1))
    assert fit(other, {}).facts["found"] == []


def test_trials_leave_no_checkpoints_and_one_that_refuses_is_a_failed_trial(bench):
    tuned = replace(bench, cell=replace(bench.cell, trials=8))
    default = Record(tuned.cell.default().key, {}, OK, validation=0.0, laps={"fit": [0.1]})
    found = search(tuned, default)
    states = {trial["params"]["fault"]: (trial["state"], trial["why"]) for trial in found.trials[1:]}
    assert states["none"][0] == "complete"
    assert states["refuse"] == ("fail", "NotRun: the moon is not full")
    assert not list(tuned.cell.training(tuned.out).iterdir())


def test_a_trial_that_is_told_to_end_keeps_the_checkpoint_it_has_written(bench):
    row = replace(bench.row, space=lambda trial: {"fault": trial.suggest_categorical("fault", ["none", "stop"])})
    tuned = replace(bench, row=row, cell=replace(bench.cell, trials=20))
    default = Record(tuned.cell.default().key, {}, OK, validation=0.0, laps={"fit": [0.1]})
    with pytest.raises(SystemExit):
        search(tuned, default)
    assert [path.name for path in tuned.cell.training(tuned.out).glob("*/*")] == ["checkpoint"]


def test_a_checkpoint_that_changed_after_the_plan_was_made_is_not_fitted_from(bench):
    file = bench.out / "weights.pt"
    file.write_bytes(b"planned")
    known = replace(bench.cell, weights=hashlib.sha256(b"planned").hexdigest())
    planned = replace(bench, cell=known, plan=replace(bench.plan, weights={"telling": str(file)}))
    assert fit(planned, {}).context.weights == file
    file.write_bytes(b"another")
    with pytest.raises(UserError, match=r"weights\.pt changed after the plan was made; run the command again"):
        fit(planned, {})
    file.unlink()
    with pytest.raises(UserError, match=r"weights\.pt is not on this machine; put it where all machines see it"):
        fit(planned, {})


@dataclass
class Pictured(Telling):
    def embed(self, images, ctx):
        self.shown = [*getattr(self, "shown", []), *images.index.tolist()]
        return np.nan_to_num(images.read())[:, :, ::8, ::8].transpose(0, 2, 3, 1)


def test_a_picture_of_features_is_of_few_test_patches(bench, monkeypatch):
    monkeypatch.setattr(embedding, "PATCHES", 2)
    fitted = replace(fit(bench, {}), method=Pictured())
    done = Record(bench.cell.key, {}, OK)
    bench.cell.folder(bench.out).mkdir(parents=True)
    cells._keep_features(bench, fitted, done)
    assert fitted.method.shown == [0, 2, 4, 7, 0, 3], "four of train for their health, then two of test"
    assert len(embedding.read(bench.cell.folder(bench.out)).points) <= 2 * 16
