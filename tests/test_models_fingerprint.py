"""What the features of a frozen backbone are kept under."""

from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from prithvi_factory import (
    LARGE,
    PLAIN,
    checkpoint,
    context,
    fitted,
    make_part,
    narrow_backbones,
    network,
    recipe,
)

from benchmark.api import HLS_ROLES, NotRun
from models import (
    _frozen,
    _memory,
    _train,
)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "require", lambda *args: None)  # seconds a fit; it has tests of its own
        yield


def fingerprint(element=0, device="cpu", part=None, ctx=None, **values):
    """Of the encoder that a method asks for; nothing is trained."""
    asked = []

    def features(encoder, images):
        asked.append(encoder)
        raise NotRun

    with pytest.raises(NotRun):
        fitted(part, replace(ctx or context(), features=features), **values)
    (one,) = asked
    return _frozen.FrozenEncoder(one.network, one.recipe, element, replace(one.ctx, device=device)).fingerprint


def test_fingerprint_pins_weights_bands_scale_and_coordinates(tmp_path, monkeypatch):
    precisions = {"cpu": torch.float32, "cuda": torch.bfloat16, "cuda:1": torch.float16}
    monkeypatch.setattr(_train, "precision", precisions.get)
    first = fingerprint()
    assert first == fingerprint(lr=1e-3, dropout=0.3) == fingerprint(mode="head") == fingerprint(skip=True)
    different = [
        fingerprint(element=1),
        fingerprint(device="cuda"),
        fingerprint(device="cuda:1"),
        fingerprint(ctx=replace(context(), seed=1)),
        fingerprint(part=make_part(("GREEN", *HLS_ROLES[1:]))),
        fingerprint(statistics="train"),
        fingerprint(coordinates=True),
        fingerprint(backbone=LARGE),
        fingerprint(ctx=context(checkpoint(tmp_path, PLAIN)), pretrained=True),
    ]
    assert len({first, *different}) == 10


def test_fingerprint_pins_what_is_no_weight():
    model, one = network(), recipe()
    before = _frozen.FrozenEncoder(model, one, 0, context()).fingerprint
    model.encoder.recipe = (*model.encoder.recipe, 0.5)
    assert _frozen.FrozenEncoder(model, one, 0, context()).fingerprint != before


def test_fingerprint_pins_the_code_and_the_packages_that_compute_the_maps(monkeypatch):
    model, read = network(), []
    before = _frozen.FrozenEncoder(model, recipe(), 0, context()).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(_frozen, "code", lambda *files: read.extend(file.name for file in files) or "other")
        assert _frozen.FrozenEncoder(model, recipe(), 0, context()).fingerprint != before
    assert {"_prithvi.py", "_encoder.py", "_segmenter.py", "_train.py", "_frozen.py"} == set(read)
    for package in ("torch", "terratorch", "timm"):
        with monkeypatch.context() as patch:
            patch.setattr(_frozen, "version", lambda name, changed=package: "0" if name == changed else version(name))
            assert _frozen.FrozenEncoder(model, recipe(), 0, context()).fingerprint != before
