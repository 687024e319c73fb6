import pytest
import torch
from patch_factory import bands
from prithvi_factory import PLAIN, changed, narrow_backbones, state
from safetensors.torch import load_file

from benchmark import artifacts
from benchmark.api import HLS_ROLES
from models import _encoders, _lora, _train

WIDTH, DEPTH, RANK = 32, 12, 8


def build():
    return _encoders.build(PLAIN, bands(HLS_ROLES), coordinates=False, seed=0, weights=None).eval()


@pytest.fixture
def encoder():
    with narrow_backbones():
        return build()


def toa(seed=0):
    return torch.randn(2, 6, 32, 32, generator=torch.Generator().manual_seed(seed))


def step(encoder):
    """One step of AdamW on what learns."""
    optimiser = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    sum(one.square().mean() for one in encoder(toa())).backward()
    optimiser.step()


def test_it_starts_as_the_backbone_was(encoder):
    before = encoder(toa())
    _lora.adapt(encoder, encoder.adapted, seed=0)
    for one, other in zip(before, encoder(toa()), strict=True):
        assert torch.allclose(one, other, atol=1e-5 * one.abs().max().item())


def test_count_is_the_closed_form(encoder):
    count = _lora.adapt(encoder, encoder.adapted, seed=0)
    block = 2 * (WIDTH + WIDTH) + 2 * (WIDTH + 4 * WIDTH)  # query and value, and the two layers of the MLP
    assert count == _train.count_parameters(encoder)["trainable"] == DEPTH * RANK * block


def test_count_of_tiny_is_terratorchs():
    encoder = build()
    assert _lora.adapt(encoder, encoder.adapted, seed=0) == 258_048


def test_only_adapters_get_gradients_and_move(encoder):
    _lora.adapt(encoder, encoder.adapted, rank=2, seed=0)
    before, answers = state(encoder), encoder(toa())
    step(encoder)
    graded = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert graded == {name for name in before if ".lora_" in name}
    assert {name for name in graded if ".lora_B." in name} <= changed(before, encoder) <= graded
    assert not any(".k_linear.lora_" in name for name in graded)
    assert not torch.allclose(answers[-1], encoder(toa())[-1], atol=1e-3)
    step(encoder)
    assert changed(before, encoder) == graded


def test_adapters_come_from_the_seed_and_leave_the_callers_generator(encoder):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _lora.adapt(encoder, encoder.adapted, seed=3)
    assert torch.rand(1) == expected
    with narrow_backbones():
        same, other = build(), build()
    _lora.adapt(same, same.adapted, seed=3)
    _lora.adapt(other, other.adapted, seed=4)
    assert not changed(state(encoder), same)
    assert changed(state(encoder), other) == {name for name in state(encoder) if ".lora_A." in name}


def test_adapters_alone_are_kept_and_come_back(encoder, tmp_path):
    _lora.adapt(encoder, encoder.adapted, seed=0)
    step(encoder)
    path = tmp_path / "network.safetensors"
    artifacts._save_torch(encoder, path)
    buffers = {name for name, _ in encoder.named_buffers()}
    assert {name for name in load_file(path) if name not in buffers} == {n for n in state(encoder) if ".lora_" in n}
    with narrow_backbones():
        again = build()
    _lora.adapt(again, again.adapted, seed=9)
    artifacts._fill_torch(again, path)
    assert not changed(state(encoder), again)


def test_a_layer_that_is_not_there_is_refused(encoder):
    with pytest.raises(ValueError, match=r"no linear layers called mlp\.fc9"):
        _lora.adapt(encoder, ("mlp.fc1", "mlp.fc9"), seed=0)
    with pytest.raises(ValueError, match="no linear layers called norm1"):
        _lora.adapt(encoder, ("norm1",), seed=0)
