"""What a step costs: times, operations and memory that are measured, and none that are not."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Budget, Context
from models import _gauge, _loop, _train, _unet

LEARNING = _train.Learning(1e-3, 1e-2)
TIMES = {"step_s", "step_flop", "flop_per_s", "matmul_flop_per_s", "mfu"}
PEAKS = {"vram_load", "vram_forward", "vram_backward", "vram_step"}


pytestmark = pytest.mark.usefixtures("one_thread")


def facts_of(network, epochs, device="cpu", size=8, batch=2):
    """Train on 4 patches and return the facts."""
    generator, facts = np.random.default_rng(0), {}
    toa = generator.normal(size=(4, 1, size, size)).astype(np.float32)
    masks = (toa[:, 0] > 0).astype(np.uint8)
    samples = _train.Samples(4, lambda rows, elements: (toa[rows],), lambda rows: masks[rows])
    ctx = Context(
        device=device,
        budget=Budget(epochs, batch),
        score=lambda *_: 0.5,
        fact=lambda name, value: facts.update({name: value}),
    )
    _loop.train(network, samples, samples, ctx, LEARNING)
    return facts


def test_operations_are_those_of_forward_and_backward_pass():
    """A convolution 3 to 2 channels does 2 * 3 * 2 operations a pixel forward, and for the gradient of its weights."""
    network = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(3, 2, 1, bias=False))
    facts = facts_of(network, epochs=10)
    pixels = 2 * 8 * 8
    first, second = 2 * 3 * pixels, 2 * 6 * pixels
    assert facts["step_flop"] == 2 * first + 3 * second  # the first has no gradient of its input
    assert facts.keys() == TIMES  # on a CPU there is no device memory, and no 0 in its place


def test_rate_and_share_follow_from_time_and_operations():
    facts = facts_of(nn.Conv2d(1, 2, 3, padding=1), epochs=10)
    assert facts["flop_per_s"] == facts["step_flop"] / facts["step_s"]
    assert facts["mfu"] == facts["flop_per_s"] / facts["matmul_flop_per_s"]
    assert 0 < facts["mfu"] < 1


def test_operations_are_those_of_a_full_batch():
    """A resumed fit may begin with the small batch at the end of an epoch."""
    gauge, network, facts = _gauge.Gauge("cpu", 30), nn.Conv2d(1, 2, 1, bias=False), []
    for patches in (1, 4, 4, 1):
        gauge.begin(patches)
        gauge.count(lambda: network(torch.zeros(patches, 1, 8, 8)))  # noqa: B023
        gauge.mark("forward")
        gauge.mark("step")
        facts.append(gauge.facts(torch.float32).get("step_flop"))
    assert facts == [None, *[4 * 2 * 2 * 64] * 3]


def test_a_short_fit_is_timed_alone():
    assert facts_of(nn.Conv2d(1, 2, 1), epochs=9).keys() == {"step_s"}
    assert facts_of(nn.Conv2d(1, 2, 1), epochs=1, batch=4) == {}  # the one step was the warm-up


def test_counting_changes_no_bits(monkeypatch):
    states = []
    for fewest in (1, 1000):
        monkeypatch.setattr(_gauge, "LONG", fewest)
        with _train.seeded(0):
            network = _unet.UNet(1, 2, dropout=0.3)
        facts = facts_of(network, epochs=2, size=32)
        assert ("step_flop" in facts) == (fewest == 1)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_step_is_timed_without_the_first_and_on_full_batches():
    gauge = _gauge.Gauge("cpu", 4)
    for patches, seconds in ((4, 0.2), (4, 0.02), (1, 0.0), (4, 0.02)):
        gauge.begin(patches)
        time.sleep(seconds / 2)
        gauge.mark("forward")
        time.sleep(seconds / 2)
        gauge.mark("step")
    patches, step, forward = gauge.typical()
    assert patches == 4
    assert 0.02 <= step < 0.2
    assert 0.01 <= forward < step
    gauge.forget()
    assert gauge.typical() is None


def test_the_ceiling_is_measured_once_and_leaves_generators_alone():
    _gauge.matmul_rate.cache_clear()
    state = torch.get_rng_state()
    start = time.perf_counter()
    rate = _gauge.matmul_rate("cpu", torch.float32)
    assert 1e8 < rate < 1e14
    assert time.perf_counter() - start > _gauge.CEILING_SECONDS
    assert _gauge.matmul_rate("cpu", torch.float32) == rate
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_is_measured_by_phase_on_cuda():
    facts = facts_of(_unet.UNet(1, 8, 0.0), epochs=10, device="cuda", size=64)
    assert facts.keys() == TIMES | PEAKS
    assert 0 < facts["vram_load"] < facts["vram_forward"]
    assert facts["vram_forward"] <= facts["vram_backward"]
    assert 0 < facts["mfu"] < 1
