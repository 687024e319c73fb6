"""The contract that every row passes."""

import dataclasses

import numpy as np
import pytest
from patch_factory import make_part

from benchmark import artifacts, catalog, scores, tune
from benchmark.api import Budget, Context, NotRun
from benchmark.fitting import seed_everything

ROWS = catalog.rows()
# Masks that rows are, not only see; the harness hands them to these rows alone.
MAPS = tuple(sorted({name for row in ROWS.values() for name in row.reads} - {"land"}))
SMALL = ("prithvi-tiny-random", "dofa-small-random", "terramind-tiny-random")
# Rows small enough to be trained here; other families of backbones are trained narrow, in test_foundation_rows.
TRAINED = [
    name for name, row in ROWS.items() if row.weights is None and (row.family != "foundation" or name.startswith(SMALL))
]


@pytest.fixture(scope="module")
def parts():
    return tuple(make_part(n=n, seed=seed, maps=MAPS) for n, seed in ((8, 1), (4, 2), (4, 3)))


@pytest.fixture(scope="module")
def known():
    """Methods fitted already: fitting is what takes the time here."""
    return {}


def fitted(name, parts, **changes):
    row = ROWS[name]
    missing = [need for need in row.needs if catalog.package_missing(need)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    for need in row.needs:
        __import__(need)
    context = Context(seed=5, budget=Budget(epochs=1, batch=4, pixels=2000), score=scores.ranking)
    seed_everything(5)
    method = row.method(**{**changes, **row.params})
    method.fit(parts[0], parts[1], context)
    return method, context


@pytest.mark.parametrize("name", ROWS)
def test_constructor_only_keeps_its_fields(name):
    row = ROWS[name]
    method = row.method(**row.params)
    assert dataclasses.is_dataclass(method)
    fields = {field.name for field in dataclasses.fields(method)}
    assert not any(field.endswith("_") for field in fields)
    assert all(vars(method)[key] == value for key, value in row.params.items())
    assert not {key for key, value in vars(method).items() if key.endswith("_") and value is not None}


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.space is not None])
def test_defaults_lie_inside_the_space(name, tmp_path):
    row = ROWS[name]
    effort = tune.Effort(1, 1.0, 0, name, str(tmp_path / "a.journal"))
    found = tune.search(row, tune.Defaults(0.5, [], 0.0), lambda changes, report: (None, 0.0), effort)
    assert found.trials[0]["params"]
    assert not set(found.trials[0]["params"]) - {field.name for field in dataclasses.fields(row.method)}


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.weights is not None])
def test_row_with_weights_never_runs_without_them(name, parts):
    if not name.startswith("prithvi-tiny"):
        pytest.skip("the same code as the tiny ones, many times the size")
    with pytest.raises(NotRun):
        fitted(name, parts)


@pytest.mark.parametrize("name", TRAINED)
def test_fit_predict_save_load(name, parts, known, tmp_path):
    method, context = known[name] = fitted(name, parts)
    images = parts[2].images
    probability = method.predict(images, context)
    assert probability.shape == (4, 32, 32)
    valid = np.isfinite(images.read()).all(1)
    assert (probability[valid] >= 0).all()
    assert (probability[valid] <= 1).all()

    order = np.array([3, 1, 0, 2])
    turned = method.predict(images.take(order), context)
    np.testing.assert_allclose(turned[valid[order]], probability[order][valid[order]], atol=1e-5)

    artifacts.save(method, tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".json", ".npy", ".txt", ".skops", ".safetensors"}
    again = artifacts.load(ROWS[name].method, tmp_path).predict(images, context)
    np.testing.assert_allclose(again[valid], probability[valid], atol=1e-6)


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_answer(name, parts, known):
    first, context = known.get(name) or fitted(name, parts)
    again, _ = fitted(name, parts)
    images = parts[2].images
    np.testing.assert_array_equal(first.predict(images, context), again.predict(images, context))


@pytest.mark.parametrize("name", [name for name in TRAINED if ROWS[name].reach is not None])
def test_a_pixel_depends_on_no_other_beyond_the_reach(name, parts, known):
    reach = ROWS[name].reach
    methods = [(known.get(name) or fitted(name, parts))[0]]
    if "context" in {field.name for field in dataclasses.fields(methods[0])}:
        methods.append(fitted(name, parts, context=True)[0])
    toa, changed = parts[2].images.read(), parts[2].images.read()
    changed[:, :, 14:18] = changed[:, :, 14:18, ::-1] + np.float32(0.1)
    far = np.r_[: 14 - reach, 18 + reach : 32]
    for method in methods:
        before, after = (
            method.predict(dataclasses.replace(parts[2].images, toa=values), Context()) for values in (toa, changed)
        )
        np.testing.assert_array_equal(after[:, far], before[:, far])
