import re
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from patch_factory import bands
from prithvi_factory import PLAIN, context, narrow_backbones
from torch import nn

from benchmark.api import HLS_ROLES, NotRun
from models import _encoders, _lora, _memory, _segmenter, _train

SHAPE = (6, 64, 64)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones():
        yield


def network(mode="unfrozen", coordinates=False):
    encoder = _encoders.build(PLAIN, bands(HLS_ROLES), coordinates=coordinates, seed=0, weights=None)
    model = _segmenter.build_network(encoder, {"mean": [0.2] * 6, "std": [0.2] * 6}, dropout=0.1, skip=False, seed=0)
    _segmenter.freeze(model, mode)
    if mode == "lora":
        _lora.adapt(encoder, encoder.adapted, seed=0)
    return model


class Wide(nn.Module):
    """Nearly all of it is one matrix."""

    def __init__(self, width=1024):
        super().__init__()
        self.wide = nn.Linear(width, width, bias=False)
        self.last = nn.Conv2d(1, 2, 1)

    def forward(self, toa):
        return self.last(toa) + self.wide(toa.new_ones(self.wide.in_features)).mean()


class Bare(nn.Module):
    """A backbone and no decoder, whose convolutions would have scratch memory of their own."""

    def __init__(self, mode):
        super().__init__()
        self.encoder = network(mode).encoder

    def forward(self, toa):
        maps = self.encoder(toa)
        return nn.functional.interpolate(sum(one[:, :2] for one in maps), toa.shape[-2:])


def convolutions():
    """A network of few weights, whose memory is that of its maps."""
    return nn.Sequential(nn.Conv2d(6, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 2, 1))


def allocated(model, batch):
    """Peak of what PyTorch's allocator hands out during a real step, bytes."""
    _train.train_mode(model)
    with torch.profiler.profile(profile_memory=True) as profiler:
        logits = model(torch.rand(batch, *SHAPE))
        _train.dice_loss(_train.dice_sums(logits, torch.ones(batch, *SHAPE[1:], dtype=torch.uint8))).backward()
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


# The estimate


@pytest.mark.parametrize(("mode", "batch"), [("unfrozen", 4), ("unfrozen", 8), ("lora", 4)])
def test_a_step_allocates_what_was_told(mode, batch):
    model = Bare(mode)
    told = _memory._step_bytes(model, SHAPE, False, batch, "cpu")
    assert 0.8 < told / allocated(model, batch) < 1.25


def test_a_fit_holds_weights_gradients_moments_and_the_best_epoch(monkeypatch):
    monkeypatch.setattr(_memory, "SLACK", 0)
    model, weights = Wide(), 4 * 1024**2
    assert _memory.training_bytes(model, (1, 8, 8), False, 1, "cpu") == pytest.approx(6 * weights, rel=0.1)
    model.wide.requires_grad_(False)
    assert _memory.training_bytes(model, (1, 8, 8), False, 1, "cpu") == pytest.approx(weights, rel=0.01)


def test_less_learning_and_fewer_patches_take_less():
    needs = [_memory.training_bytes(network(mode), SHAPE, False, 4, "cpu") for mode in ("head", "frozen", "unfrozen")]
    assert needs == sorted(needs)
    assert needs[1] < _memory.training_bytes(network("lora"), SHAPE, False, 4, "cpu")
    one, two, three = (_memory._step_bytes(convolutions(), SHAPE, False, batch, "cpu") for batch in (4, 8, 12))
    assert three - two == pytest.approx(two - one, rel=0.02)


def test_time_and_place_go_in_where_the_backbone_takes_them():
    assert _memory.training_bytes(network(coordinates=True), SHAPE, True, 2, "cpu") > 0


def test_telling_changes_nothing():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    _memory.training_bytes(model, SHAPE, False, 2, "cpu")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert drawn == torch.rand(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# The gate


def gigabytes(text):
    return [float(number) for number in re.findall(r"([\d.]+) GB", text)]


def test_a_fit_that_does_not_fit_is_refused_with_the_numbers(monkeypatch):
    model, ctx = convolutions(), context()
    need = {batch: _memory.training_bytes(model, SHAPE, False, batch, "cpu") for batch in (1, 4, 8, 16)}
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    ctx = replace(ctx, budget=replace(ctx.budget, batch=16))
    free = lambda number: monkeypatch.setattr(_memory, "free_bytes", lambda device: number - held)  # noqa: E731
    monkeypatch.setattr(_memory, "GB", 1e6)

    free(need[16])
    _memory.require(model, SHAPE, False, ctx)
    free(need[16] - 1)
    with pytest.raises(NotRun, match=r"^training needs about .* are free: batch 8 would need") as caught:
        _memory.require(model, SHAPE, False, ctx)
    assert gigabytes(str(caught.value)) == pytest.approx([need[16] / 1e6, need[16] / 1e6, need[8] / 1e6], abs=0.06)
    free(need[8] - 1)
    with pytest.raises(NotRun, match="batch 4 would need"):
        _memory.require(model, SHAPE, False, ctx)
    free(need[1] - 1)
    with pytest.raises(NotRun, match=r"more memory$"):
        _memory.require(model, SHAPE, False, ctx)


def test_on_cuda_one_patch_must_fit(monkeypatch):
    asked = []
    monkeypatch.setattr(_memory, "training_bytes", lambda *given: asked.append(given[3]) or 9)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: 9)
    ctx = replace(context(), device="cuda:0")
    _memory.require(network(), SHAPE, False, ctx)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: 8)
    with pytest.raises(NotRun, match=r"more memory$"):
        _memory.require(network(), SHAPE, False, ctx)
    assert asked == [1, 1]


def test_pages_of_a_mapped_checkpoint_are_not_held_yet(tmp_path):
    model = Wide()
    both = _memory._held(model, "cpu")
    assert both == sum(parameter.nbytes for parameter in model.parameters())
    torch.save(model.state_dict(), tmp_path / "wide.pt")
    mapped = torch.load(tmp_path / "wide.pt", mmap=True, weights_only=True)
    model.load_state_dict(mapped, assign=True)
    assert _memory._held(model, "cpu") == 0
    model.wide.weight = nn.Parameter(model.wide.weight.clone())
    assert _memory._held(model, "cpu") == model.wide.weight.nbytes
    assert _memory._held(model, "cuda:0") == 0


def test_a_control_group_counts_without_its_file_pages(tmp_path, monkeypatch):
    assert 0 < _memory.free_bytes("cpu") <= _memory.psutil.virtual_memory().total
    monkeypatch.setattr(_memory, "CGROUPS", dict.fromkeys(("", "memory"), (tmp_path, "limit", "use")))
    (tmp_path / "use").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\nactive_file 500\ninactive_file 700\n")
    (tmp_path / "limit").write_text("max\n")
    assert _memory.free_bytes("cpu") > 5000
    (tmp_path / "limit").write_text("5000\n")
    assert _memory.free_bytes("cpu") == 5000 - 3000 + 1200


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_step_allocates_what_was_told():
    model = _train.place(network(), "cuda")
    told = _memory._step_bytes(model, SHAPE, False, 4, "cuda")
    _train.train_mode(model)
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    toa, mask = torch.rand(4, *SHAPE, device="cuda"), torch.ones(4, 64, 64, dtype=torch.uint8, device="cuda")
    with _train.autocast("cuda"):
        logits = model(toa)
    _train.dice_loss(_train.dice_sums(logits, mask)).backward()
    assert 0.8 < told / (torch.cuda.max_memory_allocated() - start) < 1.2
