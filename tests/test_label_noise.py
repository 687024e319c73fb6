import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_factory import make_part
from record_factory import Spec, make_plan

from benchmark import label_noise, planner, splits
from benchmark.api import CLEAR, CLOUD, IGNORE, Row, UserError, digest
from benchmark.fitting import Bench, fit
from benchmark.label_noise import canonical, treat
from benchmark.plan import Plan, from_json
from benchmark.views import permuted

TREATMENTS = ("permuted", "flip-0.2", "shift-3")


@pytest.fixture(scope="module")
def part():
    return make_part(n=5)


def seen(part, labels, seed=0):
    return treat(part, labels, seed).masks()


@pytest.mark.parametrize(
    ("typed", "name"),
    [("permuted", "permuted"), ("flip-.20", "flip-0.2"), ("flip-0.5", "flip-0.5"), ("shift-03", "shift-3")],
)
def test_a_treatment_has_one_name(typed, name):
    assert canonical(typed) == name


@pytest.mark.parametrize(
    "typed", ["flip", "flip-0", "flip-0.51", "flip-x", "shift-0", "shift-1.5", "shift--1", "Permuted", " "]
)
def test_nonsense_is_refused_in_one_sentence(typed):
    with pytest.raises(UserError, match=r"train labels cannot be treated by .*; treatments are permuted, flip-SHARE"):
        canonical(typed)


@settings(max_examples=25)
@given(st.sampled_from(TREATMENTS), st.integers(0, 2**31), st.integers(1, 6), st.integers(4, 40))
def test_shape_type_and_missing_labels_stay(labels, seed, n, size):
    part = make_part(n=n, size=size, seed=seed)
    before, after = part.masks(), seen(part, labels, seed)
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert ((after == IGNORE) == (before == IGNORE)).all()
    assert np.isin(after, (CLEAR, CLOUD, IGNORE)).all()


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 8))
def test_permuted_labels_keep_the_balance_exactly(seed, n):
    part = make_part(n=n, size=16, seed=seed)
    before, after = part.masks(), seen(part, "permuted", seed)
    assert [np.sum(before == kind) for kind in (0, 1)] == [np.sum(after == kind) for kind in (0, 1)]


@settings(max_examples=25)
@given(st.floats(0.01, 0.5), st.integers(0, 2**31))
def test_the_share_of_flipped_labels_is_binomial(share, seed):
    part = make_part(n=4)
    labels = canonical(f"flip-{share:.3f}")
    before, after = part.masks(), seen(part, labels, seed)
    known, wanted = before != IGNORE, float(labels.removeprefix("flip-"))
    flipped, spread = np.mean((before != after)[known]), np.sqrt(wanted * (1 - wanted) / known.sum())
    assert abs(flipped - wanted) < 6 * spread  # once in 5e8 draws


def test_permuted_labels_tell_nothing_of_the_pixel_nor_of_its_patch(part):
    cloudy = np.concatenate([part.masks()[1:3], np.full((3, 32, 32), CLOUD, np.uint8), np.zeros((3, 32, 32), np.uint8)])
    whole = replace(make_part(n=8), truth=cloudy)
    after = seen(whole, "permuted")
    balance, error = cloudy.mean(), np.sqrt(0.25 / 32**2)
    assert (abs(after.mean((1, 2)) - balance) < 5 * error).all()  # patches of one class are so no more
    assert abs(np.corrcoef(cloudy.ravel(), after.ravel())[0, 1]) < 5 / np.sqrt(after.size)
    assert abs(np.corrcoef(after[:, :, 1:].ravel(), after[:, :, :-1].ravel())[0, 1]) < 5 / np.sqrt(after.size)


def test_a_shift_moves_the_edge_and_nothing_far_from_it():
    part = make_part(n=24)
    mask = np.zeros((24, 32, 32), np.uint8)
    mask[:, :, 16:] = CLOUD
    mask[:, :4, 10:22] = IGNORE
    after = seen(replace(part, truth=mask), "shift-3")
    edges = (after[:, 10] == CLEAR).sum(1) - 16  # columns of clear sky more than before
    assert set(edges) == {-3, -2, -1, 1, 2, 3}
    assert (after[:, 10] == (np.arange(32) >= 16 + edges[:, None])).all()  # not from the rim of the patch
    assert (after[:, :4, 10:22] == IGNORE).all()
    assert (after[:, :, :10] == CLEAR).all()


@pytest.mark.parametrize("labels", TREATMENTS)
def test_treatment_is_the_same_each_time_and_follows_the_patch_and_the_seed(part, labels):
    masks, order = seen(part, labels), np.array([3, 0, 4, 1, 2])
    assert (seen(part, labels) == masks).all()
    moved = replace(part, images=part.images.take(order))
    assert (seen(moved, labels) == masks[order]).all()
    assert (treat(part, labels, 0).masks(3) == masks[3]).all()
    assert (seen(part, labels, seed=1) != masks).any()
    assert (part.masks() == make_part(n=5).masks()).all()


def test_two_patches_with_the_same_labels_are_not_treated_alike():
    part = make_part(n=2)
    flipped = seen(replace(part, truth=np.ones((2, 32, 32), np.uint8)), "flip-0.3")
    assert (flipped[0] != flipped[1]).any()


class Keeping:
    """Keeps the labels that it was given."""

    def fit(self, train, val, ctx):
        self.train, self.val = train.masks(), val.masks()

    def predict(self, images, ctx):
        return np.full((len(images), *images.shape[2:]), 0.75)


@pytest.mark.parametrize("labels", TREATMENTS)
def test_only_the_training_part_is_treated(store, tmp_path, labels):
    def kept(asked):
        plan = planner.make(planner.Asked(("majority",), str(store), "smoke", out=tmp_path, labels=asked), print)
        bench = Bench(
            plan, plan.cells[0], tmp_path, Row("keeping", "floor", Keeping), splits.read(plan.split, plan.store)
        )
        return plan, fit(bench, {})

    (plain, without), (plan, treated) = kept(""), kept(labels)
    assert plan.name == f"{plain.name}-{labels}"
    assert plan.cells[0].key != plain.cells[0].key
    assert plan.cells[0] == replace(plain.cells[0], labels=labels)
    assert (without.method.train != treated.method.train).any()
    assert (without.method.val == treated.method.val).all()
    assert treated.validation == without.validation


def test_the_command_refuses_a_treatment_that_there_is_not(store, tmp_path):
    with pytest.raises(UserError, match="treatments are"):
        planner.make(planner.Asked(("majority",), str(store), "smoke", out=tmp_path, labels="shuffled"), print)
    assert label_noise.GRAMMAR.startswith(label_noise.PERMUTED)


def test_labels_enter_the_key_only_where_they_are_treated(tmp_path):
    cell = make_plan(tmp_path, [Spec("majority", "floor")]).cells[0]
    data = (cell.fingerprint, cell.split, cell.bands)
    assert cell.key == digest(1, cell.code, cell.weights, data, cell.seed, "cpu", asdict(cell.budget), ())
    assert len({cell.key, permuted.twin(cell).key, replace(cell, labels="shift-1").key}) == 3
    plan = Plan("name", (cell, permuted.twin(cell)), tmp_path, tmp_path)
    told = json.loads(json.dumps(plan.to_json()))
    assert from_json(told) == plan
    del told["cells"][0]["labels"]
    assert from_json(told) == plan  # a plan from before
