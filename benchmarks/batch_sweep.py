"""Throughput and peak memory of training steps against the batch size, as CSV and picture.

Run from the root of the repository: `python -m benchmarks.batch_sweep [--backbone NAME] [--mode unfrozen]
[--device cpu] [--batches 1,2,4,8] [--out FOLDER]`. In mode "frozen" the tail learns from kept features. Each batch size
runs in a process of its own. Memory is what PyTorch has allocated on CUDA, and on a CPU what is resident over that
before building.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.backbone_memory import bands, forget_peak, resident

STUDY = ("prithvi_eo_v2_300", "unfrozen", 8, 8025)  # backbone, mode, batch, MB on its GPU in 16-bit mixed


def build(given):
    from models import _encoders, _lora, _segmenter

    encoder = _encoders.build(given.backbone, bands(), coordinates=False, seed=0, weights=None)
    scale = {"mean": [0.2] * 6, "std": [0.2] * 6}
    network = _segmenter.build_network(encoder, scale, dropout=0.1, skip=False, seed=0)
    _segmenter.freeze(network, given.mode)
    if given.mode == "lora":
        _lora.adapt(encoder, encoder.adapted, seed=0)
    return network


def stepper(network, batch, given):
    """Return a call that takes one optimiser step."""
    import torch

    from models import _loop, _segmenter, _train

    shape, inputs = (given.pixels, given.pixels), torch.rand(batch, 6, given.pixels, given.pixels)
    if given.mode == "frozen":
        sizes = [channels * rows * columns for channels, rows, columns in _segmenter.shapes(network.encoder, shape)]
        network, inputs = _segmenter.Tail(network, shape), torch.randn(batch, sum(sizes)).half()
    _train.place(network, given.device)
    _train.train_mode(network)
    optimiser = _loop.make_optimiser(network, _train.Learning(1e-4, 1e-2))
    inputs, mask = inputs.to(given.device), torch.randint(0, 2, (batch, *shape), dtype=torch.uint8).to(given.device)

    def step():
        optimiser.zero_grad(set_to_none=True)
        with _train.autocast(given.device):
            logits = network(inputs)
        _train.dice_loss(_train.dice_sums(logits, mask)).backward()
        optimiser.step()
        if given.device.startswith("cuda"):
            torch.cuda.synchronize(given.device)

    return step


def measure(batch, given):
    import torch

    from models import _encoders, _loop, _lora, _segmenter  # noqa: F401  imported before memory is read

    cuda = given.device.startswith("cuda")
    forget_peak()
    before = resident()
    step = stepper(build(given), batch, given)
    times = []
    for _ in range(given.steps + 1):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(given.device) if cuda else resident(peak=True) - before
    print(json.dumps({"batch": batch, "patches_per_s": batch / median(times[1:]), "peak_mb": peak / 1e6}))


def sweep(given):
    """Yield what each batch size gives, until one does not fit."""
    for batch in given.batches.split(","):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.batch_sweep", *sys.argv[1:], "--one", batch]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"batch {batch}: {(done.stderr.strip().splitlines() or ['ended by the system'])[-1]}")
            return
        yield json.loads(done.stdout.splitlines()[-1])


def draw(table, given, path):
    import matplotlib

    matplotlib.use("Agg")
    import seaborn
    from matplotlib import pyplot

    seaborn.set_theme(style="whitegrid")
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    memory = "peak GPU memory (MB)" if given.device.startswith("cuda") else "peak resident memory over start (MB)"
    labels = {"patches_per_s": "throughput (patches/s)", "peak_mb": memory}
    for axis, (column, label) in zip(axes, labels.items(), strict=True):
        seaborn.lineplot(table, x="batch", y=column, marker="o", ax=axis)
        axis.set(xlabel="batch (patches)", ylabel=label, xscale="log", ylim=(0, 1.1 * table[column].max()))
        axis.set_xticks(table["batch"], table["batch"])
        axis.minorticks_off()
    if given.device.startswith("cuda") and (given.backbone, given.mode) == STUDY[:2]:
        axes[1].set_ylim(0, 1.1 * max(STUDY[3], table["peak_mb"].max()))
        axes[1].axhline(STUDY[3], color="black", linestyle="--", label=f"the study, batch {STUDY[2]}: {STUDY[3]} MB")
        axes[1].legend()
    figure.suptitle(f"{given.backbone}, {given.mode}, {given.pixels} x {given.pixels} pixels, {given.device}")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="prithvi_eo_v2_tiny_tl")
    parser.add_argument("--mode", choices=("frozen", "unfrozen", "lora"), default="unfrozen")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", default="1,2,4,8")
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return measure(given.one, given)
    import pandas

    rows = []
    for row in sweep(given):
        rows.append(row)
        print(f"batch {row['batch']:3d}: {row['patches_per_s']:8.2f} patches/s, {row['peak_mb']:8.0f} MB")
    if not rows:
        sys.exit("no batch size could be measured")
    given.out.mkdir(parents=True, exist_ok=True)
    stem = f"batch-sweep-{given.backbone}-{given.mode}-{given.device.split(':')[0]}"
    table = pandas.DataFrame(rows)
    table.to_csv(given.out / f"{stem}.csv", index=False)
    draw(table, given, given.out / f"{stem}.png")
    print(f"written: {given.out / stem}.csv and .png")


if __name__ == "__main__":
    main()
