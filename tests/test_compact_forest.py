"""The compact forest answers as LightGBM does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_factory import make_part

from baselines import _pixels
from baselines._compact_forest import compact, rounded_down
from baselines.boosted_trees import BoostedTrees
from benchmark import artifacts, scores
from benchmark.api import Budget, Context

ROOT = Path(__file__).resolve().parent.parent
SPECIAL = np.array([np.nan, 0, -0.0, np.inf, -np.inf, 1e-35, -1e-35, 1e-34, -1e-34, 3.4e38], np.float32)


def grow(values, cloud, rounds=5, **params):
    plain = {"objective": "binary", "min_data_in_leaf": 1, "min_data_in_bin": 1, "verbosity": -1, "num_threads": 1}
    return lightgbm.train(plain | params, lightgbm.Dataset(values, cloud), rounds)


def made(seed, rows=400, features=3, missing=0.1, zeros=0.1):
    """Return values with gaps and zeros, and a noisy target."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, features)).astype(np.float32)
    cloud = values.sum(1) + np.sin(5 * values[:, 0]) + rng.normal(size=rows) > 0
    values[rng.random(values.shape) < zeros] = 0
    values[rng.random(values.shape) < missing] = np.nan
    return values, cloud


def hard(forest, values, rng):
    """Return rows of what is special: thresholds, their neighbours, gaps, infinities and nearly nothing."""
    cuts = forest.thresholds[np.isfinite(forest.thresholds)]
    near = [cuts, np.nextafter(cuts, np.float32(np.inf)), np.nextafter(cuts, np.float32(-np.inf))]
    return rng.choice(np.concatenate([*near, SPECIAL, values.ravel()]), (500, values.shape[1]))


def same(booster, values):
    np.testing.assert_allclose(compact(booster).predict(values), booster.predict(values), rtol=0, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rounds=st.integers(1, 6),
    leaves=st.sampled_from([2, 7, 31, 64, 65, 150]),
    missing=st.sampled_from([0, 0.2]),
    zero_as_missing=st.booleans(),
    use_missing=st.booleans(),
    sigmoid=st.sampled_from([1.0, 0.5]),
)
def test_same_answer_at_thresholds_gaps_and_ends(seed, rounds, leaves, missing, sigmoid, **params):
    values, cloud = made(seed, missing=missing)
    booster = grow(values, cloud, rounds, num_leaves=leaves, sigmoid=sigmoid, **params)
    rng = np.random.default_rng(seed)
    same(booster, hard(compact(booster), values, rng))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False, width=32), st.sampled_from([-1, 0, 1]))
def test_rounded_thresholds_part_float32_values_alike(threshold, value, step):
    with np.errstate(over="ignore"):
        close = np.float32(threshold)
    for single in (np.float32(value), np.nextafter(close, np.float32(step * np.inf)) if step else close):
        assert (single <= rounded_down(np.array([threshold]))[0]) == (float(single) <= threshold)


def test_trees_of_one_leaf():
    values, cloud = made(0)
    booster = grow(values, np.ones(len(values)), 3)
    assert (compact(booster).predict(values) == 1).all()
    stumps = grow(values, cloud, 4, min_data_in_leaf=200, min_gain_to_split=60)
    text = stumps.model_to_string()
    assert "num_leaves=1\n" in text or stumps.num_trees() == 1
    same(stumps, values)


def test_trees_after_the_best_iteration_do_not_count():
    values, cloud = made(1, rows=800)
    data = lightgbm.Dataset(values[:300], cloud[:300])
    booster = lightgbm.train(
        {"objective": "binary", "min_data_in_leaf": 1, "learning_rate": 0.5, "verbosity": -1},
        data,
        100,
        [lightgbm.Dataset(values[300:], cloud[300:], data)],
        keep_training_booster=True,
        callbacks=[lightgbm.early_stopping(10, verbose=False)],
    )
    assert 0 < booster.best_iteration < booster.num_trees()
    assert len(compact(booster).leaves) == booster.best_iteration
    same(booster, values)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"objective": "regression"}, "regression"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averaged"),
        ({"linear_tree": True}, "linear"),
    ],
)
def test_other_boosters_are_refused(params, reason):
    with pytest.raises(ValueError, match=reason):
        compact(grow(*made(2, missing=0), **params))


def test_categories_are_refused():
    values, cloud = made(2, missing=0)
    values[:, 0] = np.arange(len(values)) % 5
    data = lightgbm.Dataset(values, cloud ^ (values[:, 0] == 3), categorical_feature=[0])
    with pytest.raises(ValueError, match="categories"):
        compact(lightgbm.train({"objective": "binary", "min_data_per_group": 1, "verbosity": -1}, data, 2))


def test_same_bits_however_many_threads(monkeypatch):
    values, cloud = made(3)
    forest = compact(grow(values, cloud))
    many = np.random.default_rng(0).normal(size=(2 * _pixels.CHUNK + 11, 3)).astype(np.float32)
    answers = []
    for threads in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        answers.append(_pixels.threaded(forest.predict, many))
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(answers[0], forest.predict(many))
    assert forest.predict(many[:0]).shape == (0,)


def test_method_answers_as_its_booster_and_keeps_the_arrays_to_itself(tmp_path):
    train, val = make_part(n=4, seed=1), make_part(n=2, seed=2)
    context = Context(budget=Budget(pixels=400), score=scores.ranking)
    method, other = BoostedTrees(context=True), BoostedTrees(context=True)
    method.fit(train, val, context)
    first = method.predict(val.images, context)
    expected = _pixels.predict(val.images, lambda pixels: method.booster_.predict(pixels.values), context=True)
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-7)
    assert method == other
    assert method._forest() is method._forest()
    artifacts.save(method, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"method.json", "booster_.txt"}
    again = artifacts.load(BoostedTrees, tmp_path)
    np.testing.assert_array_equal(again.predict(val.images, context), first)
    method.fit(val, train, context)
    assert not np.array_equal(method.predict(val.images, context), first)


def test_no_folder_for_machine_code_is_no_fault(tmp_path):
    (tmp_path / "baselines").mkdir()
    shutil.copy(ROOT / "baselines/_compact_forest.py", tmp_path / "baselines")
    for folder in (tmp_path / "baselines/__pycache__", tmp_path / "home"):
        folder.write_text("a file where a folder is wanted")
    values, cloud = made(4, rows=50)
    booster = grow(values, cloud, 1)
    (tmp_path / "model.txt").write_text(booster.model_to_string())
    code = (
        "import types, numpy; from baselines._compact_forest import compact; text = open('model.txt').read();"
        "forest = compact(types.SimpleNamespace(model_to_string=lambda: text));"
        "print(forest.predict(numpy.zeros((1, 3), numpy.float32))[0])"
    )
    home = str(tmp_path / "home")
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    env |= {"HOME": home, "XDG_CACHE_HOME": home, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(booster.predict(np.zeros((1, 3)))[0], abs=1e-6)
