from collections import Counter
from dataclasses import replace
from time import perf_counter

import numpy as np
import optuna
import pytest
import torch
from patch_factory import make_images
from prithvi_factory import PLAIN, TIMED, checkpoint, context, make_part, narrow_backbones

from benchmark import artifacts
from benchmark.api import HLS_ROLES, IGNORE, NotRun, Part, UserError
from benchmark.features import FeatureCache
from models import _foundation, _probes, _segmenter, _tokens, _train
from models._encoder import Encoder

KINDS = tuple(_probes.SPACES)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones():
        yield


def fitted(kind="linear", part=None, ctx=None, **values):
    probe = _probes.Probe(**{"backbone": PLAIN, "pretrained": False, "kind": kind, "trees": 5, "leaf": 3, **values})
    part = part or make_part()
    probe.fit(part, part, ctx or context(epochs=4))
    return probe


class Places(Encoder):
    """Two maps; of the last, each token is the mean over its pixels of what it sees."""

    channels, multiple = (1, 2), 16

    def forward(self, toa, *coordinates):
        pooled = torch.nn.functional.avg_pool2d(toa, 16)
        return [pooled[:, :1] * 0 - 7, pooled]


@pytest.mark.parametrize("size", [(64, 64), (44, 76)])
def test_tokens_are_taken_where_the_pixels_are(size):
    """A map of coordinates gives the coordinates back, but near the edge, where padding mirrors them."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
    toa = np.stack([np.stack([y, x])] * 3)
    mask = np.full((3, *size), IGNORE, np.uint8)
    inner = (slice(None), slice(20, -20), slice(20, -20))
    mask[inner] = (y > size[0] / 2)[inner[1:]]
    part = Part(make_images(toa, ("RED", "GREEN")), mask, ("a", "b", "c"))
    backbone = _segmenter.Backbone(_train.Scale([0.0, 0.0], [1.0, 1.0]), Places())
    features = backbone.features(torch.from_numpy(toa)).numpy().astype(np.float32)
    values, cloud = _tokens.sample(part, features, Places(), 10**6, 0)
    assert len(values) == np.count_nonzero(mask != IGNORE)
    np.testing.assert_allclose(
        values, np.stack([y[inner[1:]], x[inner[1:]]], -1).reshape(-1, 2).tolist() * 3, atol=1e-3
    )
    np.testing.assert_array_equal(cloud, values[:, 0] > size[0] / 2)
    padded = _segmenter.padded(Places(), size)
    last = backbone.maps(torch.from_numpy(toa))[-1].permute(0, 2, 3, 1).numpy()
    lattice = _tokens.at(last, *_tokens.centres(_tokens.lattice(size), size), size, padded)
    for channel, wanted in enumerate((y, x)):
        found = _tokens.upsample(lattice[..., channel], size)
        assert found.shape == (3, *size)
        np.testing.assert_allclose(found[inner], np.stack([wanted[inner[1:]]] * 3), atol=0.01)
    covering = _tokens.on_patch(last, Places(), size)
    assert covering.shape == (3, *(-(-length // 16) for length in size), 2)
    middle = covering[:, 1:-1, 1:-1].mean((1, 2))
    np.testing.assert_allclose(middle, np.tile(np.array(size) / 2, (3, 1)), atol=0.01)


def test_pixels_are_drawn_evenly_and_only_where_they_are_labelled():
    part = make_part(count=3, size=(32, 32))
    toa = np.zeros_like(part.images.toa) + np.arange(3, dtype=np.float32)[:, None, None, None]
    mask = part.truth.copy()
    mask[0, :, 4:], mask[1] = IGNORE, IGNORE
    part = Part(make_images(toa[:, :2], ("RED", "GREEN")), mask, part.scenes)
    features = _segmenter.Backbone(_train.Scale([0, 0], [1, 1]), Places()).features(torch.from_numpy(toa[:, :2]))
    values, cloud = _tokens.sample(part, features.numpy(), Places(), 600, 0)
    assert Counter(values[:, 0].round().tolist()) == {0.0: 127, 2.0: 473}  # all there are, and the rest from the other
    assert 0.4 < cloud[values[:, 0] > 1].mean() < 0.6
    same, other = (_tokens.sample(part, features.numpy(), Places(), 600, seed)[1] for seed in (0, 1))
    assert np.array_equal(cloud, same)
    assert not np.array_equal(cloud, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_learns_an_easy_task_and_answers_as_before_when_loaded(tmp_path, kind):
    ctx = context(epochs=20, pixels=5000)
    part, other = make_part(size=(64, 64)), make_part(count=2, size=(64, 64), seed=5)
    probe = fitted(kind, part, ctx)
    cloud = probe.predict(other.images, ctx)
    assert cloud.shape == (2, 64, 64)
    assert cloud.dtype == np.float32
    assert cloud.min() >= 0
    assert cloud.max() <= 1
    assert ctx.score(cloud, other.truth) > 0.85
    artifacts.save(probe, tmp_path)
    again = artifacts.load(_probes.Probe, tmp_path)
    np.testing.assert_array_equal(again.predict(other.images, ctx), cloud)
    np.testing.assert_array_equal(again.embed(other.images, ctx), probe.embed(other.images, ctx))
    assert not list(tmp_path.glob("*.skops")) or kind == "forest"


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_kept_arrays_answer_as_scikit_learn(monkeypatch, kind):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    kept = {}
    for model in (LogisticRegression, MLPClassifier):
        monkeypatch.setattr(model, "fit", _noting(model.fit, kept))
    probe = fitted(kind)
    np.testing.assert_allclose(
        _probes._ANSWERS[kind](probe, kept["values"]), kept["model"].predict_proba(kept["values"])[:, 1], atol=1e-5
    )


def _noting(real, kept):
    def fit(self, values, cloud):
        kept.update(model=self, values=values)
        return real(self, values, cloud)

    return fit


def test_a_frozen_row_and_every_probe_encode_a_patch_once(tmp_path, monkeypatch):
    from models import _frozen

    seen, real = Counter(), _frozen.FrozenEncoder.encode
    count = lambda self, images: seen.update(images.lat[images.index].tolist()) or real(self, images)  # noqa: E731
    monkeypatch.setattr(_frozen.FrozenEncoder, "encode", count)
    part = make_part(count=6)
    train, val = (replace(part, images=part.images.take(rows)) for rows in (slice(0, 4), slice(4, 6)))
    weights = checkpoint(tmp_path, TIMED)
    ctx = replace(context(weights), features=FeatureCache(tmp_path / "kept", perf_counter))
    fields = {"backbone": TIMED, "coordinates": True, "pretrained": True}
    _foundation.Foundation(**fields).fit(train, val, ctx)
    for kind in KINDS:
        _probes.Probe(**fields, kind=kind, trees=2).fit(train, val, ctx)
    _probes.Probe(**fields).fit(replace(train, images=train.images.take(np.array([2, 0]))), val, ctx)
    assert seen == Counter(part.images.lat.tolist())
    _probes.Probe(**fields, statistics="train").fit(train, val, ctx)
    assert seen.total() == 10  # another scale gives other features


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_bit_identical_and_follows_the_seed(kind):
    part, ctx = make_part(), context()
    first, same = fitted(kind, part, ctx), fitted(kind, part, ctx)
    np.testing.assert_array_equal(first.predict(part.images, ctx), same.predict(part.images, ctx))
    other = fitted(kind, part, replace(ctx, seed=1))
    assert not np.allclose(first.embed(part.images, ctx), other.embed(part.images, ctx), atol=0.1)


def test_prediction_uses_no_kept_features():
    part, ctx = make_part(size=(64, 64)), context()
    probe = fitted(part=part, ctx=ctx)

    def forbidden(encoder, images):
        raise AssertionError("prediction asked for kept features")

    probe.predict(part.images, replace(ctx, features=forbidden))


def test_backbone_and_probe_are_counted():
    linear, mlp = fitted("linear"), fitted("mlp", hidden=5)
    backbone = sum(parameter.numel() for parameter in linear.network_.parameters())
    assert linear.parameters_ == {"total": backbone + 33, "trainable": 33}
    assert mlp.parameters_ == {"total": backbone + 32 * 5 + 5 + 5 + 1, "trainable": 171}


def test_neighbours_are_looked_for_among_so_many(monkeypatch):
    monkeypatch.setattr(_probes, "REFERENCES", 50)
    probe = fitted("knn", neighbours=80)
    assert probe.reference_.shape == (50, 32)
    cloud = probe.predict(make_part().images, context())  # of all 50, as there are fewer than it was told to ask for
    np.testing.assert_allclose(cloud, probe.reference_cloud_.mean(), rtol=1e-6)


def test_the_hidden_layer_learns_for_as_long_as_the_budget_says(monkeypatch):
    from sklearn.neural_network import MLPClassifier

    kept = {}
    monkeypatch.setattr(MLPClassifier, "fit", _noting(MLPClassifier.fit, kept))
    nothing, either = np.zeros((300, 4), np.float32), np.arange(300) % 2 == 0
    _probes.Probe(kind="mlp")._fit_mlp(nothing, either, context(epochs=200))
    losses = kept["model"].loss_curve_
    assert len(losses) == 200
    assert int(np.argmin(losses)) < 189  # scikit-learn's own rule would have ended it


@pytest.mark.parametrize(
    ("statistics", "roles", "said"),
    [
        ("own", HLS_ROLES, "own"),
        ("train", HLS_ROLES, "train"),
        ("own", ("CIRRUS", "GREEN"), "own, of unknown bands train"),
    ],
)
def test_input_scale_is_on_record(statistics, roles, said):
    facts = {}
    probe = fitted(part=make_part(roles), ctx=replace(context(), fact=facts.__setitem__), statistics=statistics)
    assert facts["input scale"] == said
    assert (facts["input mean"], facts["input std"]) == (probe.scale_["mean"], probe.scale_["std"])


def test_what_cannot_be_fitted_is_said(tmp_path):
    part = make_part()
    with pytest.raises(NotRun, match="published weights"):
        fitted(pretrained=True)
    with pytest.raises(NotRun, match="times/locations"):
        fitted(part=make_part(dated=False), backbone=TIMED, coordinates=True)
    with pytest.raises(NotRun, match="one class"):
        fitted(part=replace(part, truth=np.where(part.truth == IGNORE, IGNORE, 0).astype(np.uint8)))
    with pytest.raises(UserError, match="fraction"):
        fitted(part=replace(part, images=replace(part.images, toa=part.images.toa * 1e4)))
    path = checkpoint(tmp_path, PLAIN)
    artifacts.save(fitted(ctx=context(path), pretrained=True), tmp_path / "saved")
    checkpoint(tmp_path, PLAIN, change=lambda all_: {**all_, "encoder.cls_token": all_["encoder.cls_token"] + 1})
    with pytest.raises(UserError, match="other weights"):
        artifacts.load(_probes.Probe, tmp_path / "saved")


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_holds_the_defaults_and_names_fields_of_its_kind(kind):
    study = optuna.create_study()
    fields = vars(_probes.Probe())
    trial = study.ask()
    found = _probes.SPACES[kind](trial)
    assert set(found) <= set(fields)
    for name, distribution in trial.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(fields[name]))
