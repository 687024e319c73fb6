"""The training loop: the same bits as a plain loop, and what happens when memory, time or the process ends."""

import signal
import time
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import IGNORE, Budget, Context, NotRun, UserError
from models import _loop, _loop_checkpoint, _loop_step, _train, _unet

SIZE, COUNT, BATCH = 32, 7, 3
LEARNING = _train.Learning(1e-3, 1e-2)


@pytest.fixture(autouse=True)
def one_thread():
    """Small arrays gain nothing by threads, and threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_samples(count=COUNT, seed=0, trap=lambda: None):
    """Noisy images of one band whose mean tells the truth; `trap` is called whenever a batch is read."""
    generator = np.random.default_rng(seed)
    masks = (generator.random((count, SIZE, SIZE)) < 0.5).astype(np.uint8)
    toa = (masks + generator.normal(0, 0.3, masks.shape))[:, None].astype(np.float32)
    masks[:, :3] = IGNORE

    def inputs(rows, elements):
        trap()
        return (_train.turn_each(toa[rows], elements),)

    return _train.Samples(count, inputs, lambda rows: masks[rows])


def make_network(seed=0):
    with _train.seeded(seed):
        return _unet.UNet(1, 4, dropout=0.3)


def accuracy(probability, mask):
    return float(((probability > 0.5) == mask)[mask != IGNORE].mean())


def context(epochs=3, batch=BATCH, **changes):
    budget = Budget(epochs=epochs, batch=batch, orientations=8)
    return Context(**{"seed": 5, "budget": budget, "score": accuracy, **changes})


def run(network=None, learning=LEARNING, seen=None, **changes):
    """Train and return the network's state, the reported curve and the facts."""
    network, curve, facts = network or make_network(), [], {}
    ctx = context(
        **{"report": lambda epoch, **values: curve.append((epoch, values)), "fact": facts.__setitem__, **changes}
    )
    _loop.train(network, seen or make_samples(), make_samples(4, 1), ctx, learning)
    return {name: value.clone() for name, value in network.state_dict().items()}, curve, facts


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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


class Small(nn.Module):
    """Refuses batches above what fits."""

    def __init__(self, fits):
        super().__init__()
        self.body, self.fits, self.sizes = make_network(), fits, []

    def forward(self, toa):
        logits = self.body(toa)  # draws random numbers and moves batch statistics before it fails
        if self.training:
            self.sizes.append(len(toa))
        if len(toa) > self.fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return logits


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


class Killed(BaseException):
    """Ends a fit as a signal does."""


def killed_after(reads):
    """Return a trap that ends the fit when so many batches were read."""
    left = iter(range(reads))

    def trap():
        if next(left, None) is None:
            raise Killed

    return trap


SCHEDULED = _train.Learning(1e-3, 1e-2, "cosine", 0.2, patience=2)


@pytest.mark.parametrize("reads", [2, 3, 5, 8])  # an epoch reads 3 batches; these are in epochs 0, 1 (begin and mid), 2
def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path, monkeypatch, reads):
    whole, curve, _ = run(learning=SCHEDULED)
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0)
    with pytest.raises(Killed):
        run(seen=make_samples(trap=killed_after(reads)), training=tmp_path, learning=SCHEDULED)
    assert [file.name for file in tmp_path.iterdir()] == [_loop_checkpoint.FILE]
    read = []
    again, again_curve, _ = run(seen=make_samples(trap=lambda: read.append(1)), training=tmp_path, learning=SCHEDULED)
    assert len(read) == 9 - reads
    assert equal(again, whole)
    assert again_curve == curve
    assert not list(tmp_path.iterdir())


def saving_at(monkeypatch, step, reads):
    """Return a trap that lets a checkpoint be written after one step alone, and ends the fit after so many reads."""
    killed, done = killed_after(reads), []

    def trap():
        killed()
        done.append(1)
        monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0 if len(done) == step else 300.0)

    return trap


@pytest.mark.parametrize("step", [2, 3])  # the last of an epoch is 3
def test_a_fit_killed_between_checkpoints_repeats_a_part(tmp_path, monkeypatch, step):
    whole, curve, _ = run()
    with pytest.raises(Killed):
        run(seen=make_samples(trap=saving_at(monkeypatch, step, 5)), training=tmp_path)
    read = []
    again, again_curve, _ = run(seen=make_samples(trap=lambda: read.append(1)), training=tmp_path)
    assert len(read) == 9 - step
    assert equal(again, whole)
    assert again_curve == curve


def test_the_time_before_a_kill_is_on_record(tmp_path, monkeypatch):
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0)
    seen, network = slow(0.02)
    assert "resumed_s" not in run(network, seen=seen, training=tmp_path)[2]
    spent = []
    for reads in (2, 2, 100):
        seen, network = slow(0.02)
        network.load_state_dict({name: torch.ones_like(value) for name, value in network.state_dict().items()})
        seen = replace(seen, inputs=trapped(seen.inputs, killed_after(reads)))
        facts, begin = {}, time.monotonic()
        with suppress(Killed):
            run(network, seen=seen, training=tmp_path, fact=facts.__setitem__)
        spent.append((facts.get("resumed_s", 0.0), time.monotonic() - begin))
    (none, first), (once, second), (twice, _) = spent
    assert none == 0
    assert 0.04 <= once <= first
    assert once + 0.04 <= twice <= first + second


def trapped(inputs, trap):
    return lambda rows, elements: (trap(), inputs(rows, elements))[1]


def test_checkpoints_are_no_more_frequent_than_asked_however_long_they_take(tmp_path, monkeypatch):
    """Neither the end of an epoch nor the time of writing brings one forward."""
    written = []
    monkeypatch.setattr(_loop_checkpoint, "write", lambda *args: written.append(1))
    run(training=tmp_path)
    assert not written
    clock = [0.0]
    monkeypatch.setattr(_loop.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", 2.5)

    def write(*args):
        written.append(clock[0])
        clock[0] += 10

    monkeypatch.setattr(_loop_checkpoint, "write", write)
    run(seen=make_samples(trap=lambda: clock.__setitem__(0, clock[0] + 1)), training=tmp_path)
    assert written == [3.0, 16.0, 29.0]  # after each third step of a second; 10 s are those of the writing before


def test_pieces_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0)
    whole, _, _ = run(Small(2), batch=4)
    with pytest.raises(Killed):
        run(Small(2), batch=4, seen=make_samples(trap=killed_after(3)), training=tmp_path)
    network = Small(2)
    again, _, facts = run(network, batch=4, training=tmp_path)
    assert max(network.sizes) == 2
    assert facts["micro_batch"] == 2
    assert equal(again, whole)


@pytest.mark.parametrize("change", ["network", "learning", "seed", "budget", "broken"])
def test_a_checkpoint_of_another_fit_is_ignored_and_said(tmp_path, monkeypatch, capsys, change):
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0)
    with pytest.raises(Killed):
        run(seen=make_samples(trap=killed_after(4)), training=tmp_path)
    changes = {
        "network": lambda: {"network": make_network(1)},
        "learning": lambda: {"learning": replace(LEARNING, weight_decay=0.0)},
        "seed": lambda: {"seed": 6},
        "budget": lambda: {"epochs": 2},
        "broken": dict,
    }[change]
    if change == "broken":
        (tmp_path / _loop_checkpoint.FILE).write_bytes(b"broken")
    state, curve, _ = run(**changes(), training=tmp_path)
    assert "ignored" in capsys.readouterr().out
    expected, expected_curve, _ = run(**changes())
    assert equal(state, expected)
    assert curve == expected_curve


def test_a_terminated_fit_leaves_a_checkpoint(tmp_path):
    whole, _, _ = run()
    left = iter(range(4))
    trap = lambda: next(left, None) is None and signal.raise_signal(signal.SIGTERM)  # noqa: E731
    with pytest.raises(SystemExit):
        run(seen=make_samples(trap=trap), training=tmp_path)
    read = []
    again, _, _ = run(seen=make_samples(trap=lambda: read.append(1)), training=tmp_path)
    assert len(read) == 4
    assert equal(again, whole)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    _loop_checkpoint.write(tmp_path, "key", {"value": 1})

    def fail(state, file):
        file.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    _loop_checkpoint.write(tmp_path, "key", {"value": 2})
    assert "no space" in capsys.readouterr().out
    assert _loop_checkpoint.read(tmp_path, "key")["value"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [_loop_checkpoint.FILE]


@pytest.mark.parametrize("fault", ["full", "no folder"])
def test_a_checkpoint_that_cannot_be_written_does_not_end_the_fit(tmp_path, monkeypatch, capsys, fault):
    whole, curve, _ = run()
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", 0.0 if fault == "full" else -1.0)
    folder = tmp_path / "training"
    if fault == "full":
        folder.mkdir()
        (folder / f"{_loop_checkpoint.FILE}.part").symlink_to("/dev/full")
    else:
        folder.write_text("a file")
    state, same, _ = run(training=folder)
    said = capsys.readouterr().out.splitlines()
    assert "cannot be written, the fit goes on" in said[0]
    assert all("checkpoint" in line for line in said)
    assert equal(state, whole)
    assert same == curve
    assert not folder.is_dir() or not list(folder.iterdir())


def slow(seconds):
    return make_samples(12), nn.Sequential(nn.Conv2d(1, 2, 1), Wait(seconds))


class Wait(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, logits):
        time.sleep(self.seconds)
        return logits


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_killed_fit_goes_on_on_cuda(tmp_path, monkeypatch):
    whole, curve, _ = run(device="cuda")
    monkeypatch.setattr(_loop_checkpoint, "SECONDS", -1.0)
    with pytest.raises(Killed):
        run(seen=make_samples(trap=killed_after(5)), training=tmp_path, device="cuda")
    again, again_curve, _ = run(training=tmp_path, device="cuda")
    assert len(again_curve) == len(curve)
    assert all(torch.allclose(again[name].float(), whole[name].float(), atol=0.05) for name in whole)
