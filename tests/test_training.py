"""The training loop: the same bits as a plain loop, and what happens when memory, time or the process ends."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_factory import LEARNING, Small, context, equal, make_network, make_samples, run, slow

from benchmark.api import NotRun, UserError
from models import _loop, _loop_step, _train

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_loop(network, seen, val, ctx, learning):
    """Train as a loop without a framework does."""
    _train.place(network, "cpu")
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning.lr, weight_decay=learning.weight_decay, fused=True)
    generator, curve, best, best_score = torch.Generator().manual_seed(ctx.seed), [], None, -1.0
    with _train.seeded(ctx.seed):
        for _ in range(ctx.budget.epochs):
            network.train()
            losses = []
            for rows in torch.randperm(seen.count, generator=generator).split(ctx.budget.batch):
                elements = torch.randint(ctx.budget.orientations, (len(rows),), generator=generator).numpy()
                (toa,), mask = seen.inputs(rows.numpy(), elements), _train.turn_each(seen.masks(rows.numpy()), elements)
                optimiser.zero_grad()
                loss = _train.dice_loss(_train.dice_sums(network(torch.from_numpy(toa)), torch.from_numpy(mask)))
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            network.eval()
            score, val_loss = _train.judge(network, val, ctx)
            curve.append((len(curve), {"train_loss": float(np.mean(losses)), "val_loss": val_loss, "score": score}))
            if score > best_score:
                best, best_score = {name: value.clone() for name, value in network.state_dict().items()}, score
    return best, curve


def test_the_loop_gives_the_bits_of_a_plain_loop():
    state, curve, _ = run()
    expected, expected_curve = plain_loop(make_network(), make_samples(), make_samples(4, 1), context(), LEARNING)
    assert equal(state, expected)
    assert curve == expected_curve


def test_two_fits_give_the_same_bits_and_other_seeds_do_not():
    first, again, other = run(), run(), run(seed=6)
    assert equal(first[0], again[0])
    assert first[1] == again[1]
    assert not equal(first[0], other[0])


def test_training_is_silent_and_leaves_no_files(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    network[:2].requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(network)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def rates(learning, steps=20):
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=learning.lr)
    schedule, seen = _loop_step.make_schedule(optimiser, learning, steps), []
    for _ in range(steps):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return np.array(seen)


def test_schedules_rise_and_fall_as_asked():
    rise, cosine = _train.Learning(1.0, 0.0, warmup=0.25), _train.Learning(1.0, 0.0, "cosine")
    assert np.allclose(rates(rise), [*(np.arange(1, 6) / 6), *[1.0] * 15])
    assert np.allclose(rates(cosine), (1 + np.cos(np.pi * np.arange(20) / 20)) / 2)
    both = rates(replace(cosine, warmup=0.25))
    assert np.allclose(both, [*(np.arange(1, 6) / 6), *(1 + np.cos(np.pi * np.arange(15) / 15)) / 2])


def test_the_loop_follows_the_schedule_step_by_step(monkeypatch):
    seen, real = [], _loop_step.Stepper.step
    record = lambda self, *batch: seen.append(self.optimiser.param_groups[0]["lr"]) or real(self, *batch)  # noqa: E731
    monkeypatch.setattr(_loop_step.Stepper, "step", record)
    learning = _train.Learning(1e-3, 0.0, "cosine", 0.3)
    run(learning=learning)
    assert np.allclose(seen, rates(learning, 9))


@pytest.mark.parametrize("learning", [_train.Learning(1, 1, "linear"), _train.Learning(1, 1, warmup=1.5)])
def test_unknown_schedules_are_refused(learning):
    with pytest.raises(UserError, match="schedule is constant or cosine"):
        run(learning=learning)


@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (1, 4), (2, 5)])
def test_training_stops_when_validation_no_longer_gets_better(patience, epochs):
    scores = iter([0.1, 0.2, 0.3, 0.3, 0.2, 0.4])
    learning = replace(LEARNING, patience=patience)
    _, curve, _ = run(learning=learning, epochs=6, score=lambda probability, mask: next(scores))
    assert len(curve) == epochs


def test_without_memory_the_batch_goes_through_in_pieces(capsys):
    network = Small(2)
    _, curve, facts = run(network, epochs=2, batch=7)
    assert network.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert facts["micro_batch"] == 1
    assert "not the Dice loss of the batch" in facts["micro_batch_loss"]
    assert "1 patches at a time" in capsys.readouterr().out
    assert len(curve) == 2


def test_a_failed_attempt_leaves_no_trace():
    """Pieces after a failure give the bits of pieces from the start."""
    after, _, facts = run(Small(2), batch=4)
    learner = _loop_step.Stepper.__post_init__

    def small(self):
        learner(self)
        self.micro = 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_loop_step.Stepper, "__post_init__", small)
        start, _, _ = run(Small(2), batch=4)
    assert facts["micro_batch"] == 2
    assert equal(after, start)


def test_pieces_add_up_to_the_gradient_of_their_weighted_losses():
    network, seen = nn.Conv2d(1, 2, 1), make_samples(5)
    stepper = _loop_step.Stepper(
        network, torch.optim.SGD(network.parameters(), lr=1.0), context(), _loop.Gauge("cpu", 1), 2
    )
    before = network.weight.detach().clone()
    toa, mask = seen.inputs(np.arange(5), np.zeros(5, int))[0], seen.masks(np.arange(5))
    copy = nn.Conv2d(1, 2, 1)
    copy.load_state_dict(network.state_dict())
    loss = sum(
        _train.dice_loss(_train.dice_sums(copy(torch.from_numpy(toa[a:b])), torch.from_numpy(mask[a:b]))) * (b - a) / 5
        for a, b in ((0, 2), (2, 4), (4, 5))
    )
    loss.backward()
    assert torch.allclose(stepper.step((toa,), mask), loss.detach())
    assert torch.allclose(before - network.weight.detach(), copy.weight.grad, atol=1e-6)


def test_a_patch_that_does_not_fit_is_not_run():
    with pytest.raises(NotRun, match="too small to train on a single patch"):
        run(Small(0))


def test_a_fit_that_is_sure_to_take_too_long_is_not_run():
    seen, network = slow(0.02)
    with pytest.raises(
        NotRun, match=r"a step takes [\d.]+ s and 400 steps .* than the 5 s that this profile leaves: take fewer"
    ):
        run(network, seen=seen, epochs=100, seconds=5.0)


def test_a_fit_that_may_stop_early_is_not_refused():
    seen, network = slow(0.02)
    learning = replace(LEARNING, patience=1)
    _, curve, _ = run(network, learning, seen, epochs=100, seconds=5.0, score=lambda probability, mask: 0.5)
    assert len(curve) == 2


def test_half_precision_scales_the_loss(monkeypatch):
    """float16 is what a GPU without bfloat16 gets; the CPU can do it, slowly."""
    monkeypatch.setattr(_train, "precision", lambda device: torch.float16)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    before = network[0].weight.detach().clone()
    scales = []
    real = _loop_step.Stepper.step
    record = lambda self, *batch: (real(self, *batch), scales.append(self.scaler.get_scale()))[0]  # noqa: E731
    monkeypatch.setattr(_loop_step.Stepper, "step", record)
    run(network)
    assert scales[0] > 1
    assert torch.isfinite(network[0].weight).all()
    assert not torch.equal(network[0].weight, before)
