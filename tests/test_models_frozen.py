import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from prithvi_factory import (
    LARGE,
    PLAIN,
    TIMED,
    changed,
    checkpoint,
    context,
    fitted,
    make_part,
    narrow_backbones,
    network,
    recipe,
    state,
)

from benchmark import artifacts
from benchmark.api import UserError
from models import (
    _backboned,
    _encoder,
    _foundation,
    _frozen,
    _loop,
    _loop_step,
    _lora,
    _memory,
    _prithvi,
    _segmenter,
    _train,
)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "require", lambda *args: None)  # seconds a fit; it has tests of its own
        yield


BATCHES = "num_batches_tracked"

# Kept features


@pytest.mark.parametrize("element", range(8))
@pytest.mark.parametrize(("name", "coordinates"), [(PLAIN, False), (TIMED, True), (LARGE, False)])
def test_kept_features_give_the_logits_of_the_plain_way(name, coordinates, element):
    images = make_part(size=(48, 48)).images
    model = network(name, coordinates=coordinates)
    encoder = _frozen.FrozenEncoder(model, recipe(coordinates=coordinates), element, context())
    features = encoder.encode(images)
    assert features.dtype == np.float16
    assert features.shape == (4, 4 * 32 * np.prod(_segmenter.shapes(model.encoder, (48, 48))[0][1:]))
    known = _encoder.known_coordinates(images, coordinates)
    turned = _train.turn_each(images.read(), np.full(4, element))
    with torch.inference_mode():
        kept = _frozen.Tail(model, (48, 48)).eval()(torch.from_numpy(features))
        plain = model(torch.from_numpy(turned), *(torch.from_numpy(array) for array in known))
        straight = model(torch.from_numpy(images.read()), *(torch.from_numpy(array) for array in known))
    assert torch.allclose(kept, plain, atol=5e-3 * plain.abs().max().item())
    if element:
        assert not torch.allclose(kept, straight, atol=5e-3 * plain.abs().max().item())


def test_every_orientation_is_encoded_once_and_seen_in_its_own_frame(monkeypatch):
    asked, steps = [], []

    def features(encoder, images):
        asked.append((encoder.fingerprint, images.fingerprint))
        return np.full((len(images), 4 * 32 * 2 * 2), encoder.element, np.float16)

    def step(stepper, arrays, mask):
        steps.append((arrays[0][:, 0].astype(int), mask))
        return torch.zeros(())

    monkeypatch.setattr(_loop_step.Stepper, "step", step)
    part, val = make_part(count=16), make_part(seed=1)
    method = _foundation.Foundation(PLAIN, pretrained=False)
    method.fit(part, val, replace(context(epochs=3, orientations=8), features=features))
    assert len(set(asked)) == len(asked) == 9
    assert len({encoder for encoder, _ in asked}) == 8
    assert {element for elements, _ in steps for element in elements} == set(range(8))
    for elements, masks in steps:
        for element, mask in zip(elements, masks, strict=True):
            assert any(np.array_equal(mask, _train.turn(truth, element)) for truth in part.truth)


@pytest.mark.parametrize("stored", [False, True])
def test_trials_share_the_backbone_that_does_not_learn_and_score_as_if_they_did_not(stored, tmp_path):
    ctx = context(checkpoint(tmp_path, PLAIN) if stored else None)
    first = fitted(ctx=ctx, pretrained=stored)
    again = fitted(ctx=ctx, pretrained=stored, lr=1e-2)
    learned = [fitted(ctx=ctx, pretrained=stored, mode=mode) for mode in ("unfrozen", "lora")]
    assert again.network_.encoder is first.network_.encoder
    assert all(method.network_.encoder is not first.network_.encoder for method in learned)
    same = fitted(ctx=ctx, pretrained=stored)
    _backboned.last_built.cache_clear()
    alone = fitted(ctx=ctx, pretrained=stored)
    assert alone.network_.encoder is not same.network_.encoder
    for name, value in alone.network_.state_dict().items():
        assert torch.equal(value, same.network_.state_dict()[name]), name


def test_a_checkpoint_that_was_written_again_is_read_again(tmp_path):
    (tmp_path / "other").mkdir()
    other = checkpoint(tmp_path / "other", PLAIN, change=lambda all: {name: 2 * value for name, value in all.items()})
    ctx = context(checkpoint(tmp_path, PLAIN))
    first = fitted(ctx=ctx, pretrained=True).frozen_
    other.replace(ctx.weights)
    assert fitted(ctx=ctx, pretrained=True).frozen_ != first


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_what_a_fit_has_spent_is_not_there_to_train(monkeypatch, mode):
    """Encoding, or a backbone that loads slowly, takes time that the forecast of the training must know of."""
    left = []
    monkeypatch.setattr(_loop, "train", lambda network, seen, val, ctx, learning: left.append(ctx.seconds))

    def wait(encoder, images):
        time.sleep(0.1)
        return encoder.encode(images)

    monkeypatch.setattr(_memory, "require", lambda *args: time.sleep(0.1))
    fitted(ctx=replace(context(), features=wait, seconds=50.0), mode=mode)
    assert 0 < left[0] <= 50 - (0.3 if mode == "frozen" else 0.1)
    fitted(ctx=replace(context(), features=wait, seconds=0.01), mode=mode)
    assert left[1] == 0


def test_features_beyond_float16_are_refused():
    model = network()
    model.encoder.vit.norm.weight.data.fill_(1e6)
    encoder = _frozen.FrozenEncoder(model, recipe(), 0, context())
    with pytest.raises(RuntimeError, match="float16"):
        encoder.encode(make_part().images)


# What learns


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("mode", ["frozen", "head", "unfrozen"])
def test_trap_5_what_is_frozen_stays_and_what_learns_is_counted(monkeypatch, mode, skip):
    before = []
    real = _segmenter.freeze
    monkeypatch.setattr(_segmenter, "freeze", lambda net, mode: before.append(state(net)) or real(net, mode))
    method = fitted(ctx=context(epochs=2), mode=mode, skip=skip)
    moved, parts = changed(before[0], method.network_), _segmenter.FROZEN[mode]
    frozen = tuple(f"{part}." for part in parts)
    learning = {name for name, _ in method.network_.named_parameters() if not (frozen and name.startswith(frozen))}
    stayed = {name for name in before[0] if frozen and name.startswith(frozen)}
    estimates = {name for name in stayed if name.rsplit(".", 1)[1] in ("running_mean", "running_var", BATCHES)}
    assert moved & stayed == estimates
    assert bool(estimates) == (mode == "head")  # of the norms of its frozen decoder
    assert learning <= moved
    if mode == "head":
        assert (
            _encoder.checksum(method.network_.segmenter.decoder, buffers=False) == method.frozen_["segmenter.decoder"]
        )
    sizes = {name: parameter.numel() for name, parameter in method.network_.named_parameters()}
    assert method.parameters_ == {"total": sum(sizes.values()), "trainable": sum(sizes[name] for name in learning)}
    assert {name for name, p in method.network_.named_parameters() if p.requires_grad} == learning


def test_trap_4_adapters_learn_and_the_rest_of_the_backbone_does_not(monkeypatch):
    before = []
    real = _lora.adapt
    monkeypatch.setattr(_lora, "adapt", lambda net, *a, **k: (real(net, *a, **k), before.append(state(net)))[0])
    method = fitted(ctx=context(epochs=2), mode="lora")
    encoder = method.network_.encoder
    adapters = {name for name, _ in encoder.named_parameters() if "lora_" in name}
    assert len(adapters) == 12 * 4 * 2  # blocks, layers of each, matrices of each
    assert changed(before[0], encoder) == adapters
    learning = [p for name, p in method.network_.named_parameters() if name.startswith("segmenter.") or "lora_" in name]
    assert method.parameters_["trainable"] == sum(parameter.numel() for parameter in learning)


def test_frozen_parts_are_in_evaluation_mode_while_others_train():
    model = network()
    _segmenter.freeze(model, "head")
    _train.train_mode(model)
    norms = [module for module in model.segmenter.decoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(module.training for module in norms)  # as in TerraTorch, which leaves random weights no other scale
    others = (module for part in (model.encoder, model.segmenter.decoder) for module in part.modules())
    assert not any(module.training for module in others if module not in norms)
    assert model.segmenter.neck.fpn1[1].training
    assert all(module.training for module in model.segmenter.head.modules() if isinstance(module, torch.nn.Dropout))


def test_training_an_unfrozen_backbone_does_not_write_into_the_file(tmp_path):
    path = checkpoint(tmp_path, PLAIN)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    method = fitted(ctx=context(path), pretrained=True, mode="unfrozen")
    stored = _prithvi.read_checkpoint(path)["encoder.norm.weight"]
    assert not torch.equal(method.network_.encoder.vit.norm.weight, stored)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("mode", ["frozen", "unfrozen", "lora"])
def test_fit_is_bit_identical(mode):
    first = fitted(ctx=context(orientations=8), mode=mode)
    torch.manual_seed(31)
    assert not changed(state(first.network_), fitted(ctx=context(orientations=8), mode=mode).network_)


def test_prithvi_learns_an_easy_task():
    part = make_part(count=8, size=(64, 64))
    ctx = context(epochs=5)
    method = fitted(part, ctx)
    assert ctx.score(method.predict(part.images, ctx), part.truth) > 0.9


# Saving


@pytest.mark.parametrize(
    ("mode", "skip"), [("frozen", False), ("frozen", True), ("head", False), ("unfrozen", True), ("lora", False)]
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_saved_method_answers_as_before(tmp_path, mode, skip, pretrained):
    part = make_part()
    ctx = context(checkpoint(tmp_path, PLAIN) if pretrained else None)
    method = fitted(part, ctx, mode=mode, skip=skip, pretrained=pretrained)
    artifacts.save(method, tmp_path / "saved")
    again = artifacts.load(_foundation.Foundation, tmp_path / "saved")
    assert np.array_equal(again.predict(part.images, ctx), method.predict(part.images, ctx))


def test_a_backbone_that_changed_since_is_refused(tmp_path):
    path = checkpoint(tmp_path, PLAIN)
    artifacts.save(fitted(ctx=context(path), pretrained=True), tmp_path / "saved")
    path.unlink()
    with pytest.raises(UserError, match="no longer"):
        artifacts.load(_foundation.Foundation, tmp_path / "saved")
    checkpoint(tmp_path, PLAIN, change=lambda all_: {**all_, "encoder.cls_token": all_["encoder.cls_token"] + 1})
    with pytest.raises(UserError, match="other weights"):
        artifacts.load(_foundation.Foundation, tmp_path / "saved")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_prithvi_on_cuda_answers_as_on_cpu(mode):
    part = make_part()
    ctx = replace(context(), device="cuda")
    method = fitted(part, ctx, mode=mode)
    assert np.allclose(method.predict(part.images, ctx), method.predict(part.images, context()), atol=0.05)
