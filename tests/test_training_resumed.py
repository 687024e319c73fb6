"""A fit that was killed goes on from its checkpoint to the same bits, and its checkpoints can be trusted."""

import signal
import time
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from training_factory import (
    LEARNING,
    Small,
    equal,
    make_network,
    make_samples,
    run,
    slow,
)

from models import _loop, _loop_checkpoint, _train

pytestmark = pytest.mark.usefixtures("one_thread")


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
