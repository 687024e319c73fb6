"""A frozen backbone's whole fit, and a study of several on one cache, beside TerraTorch's plain task.

Run from the root of the repository: `python -m benchmarks.prithvi_speed [--backbone prithvi_eo_v2_300] [--epochs 15]
[--patches 16] [--trials 10] [--run 3]`. Both ways see the same simulated patches, bands, scale, batches, loss and
optimiser, with no augmentation. Where `--plain-epochs` is less than `--epochs`, the plain way's epochs are
extrapolated, and its score is not that of the whole fit. The plain study is always the plain fit times the trials.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.api import HLS_ROLES, Band, Budget, Context, Images, Part
from benchmark.features import FeatureCache
from datasets.simulator import scene, tables

LR, DECAY, DROPOUT = 1e-4, 1e-2, 0.1


def make_part(number, patches, pixels):
    """Return simulated patches in the bands that Prithvi knows."""
    places = [place for place, band in enumerate(tables.BANDS) if band[1] in HLS_ROLES]
    scenes = [scene.simulate(0, number, one, pixels) for one in range(-(-patches // scene.PATCHES))]
    toa, mask = (np.concatenate([getattr(one, name) for one in scenes])[:patches] for name in ("toa", "mask"))
    unknown = np.full(patches, np.nan)
    images = Images(
        toa=np.ascontiguousarray(toa[:, places]),
        bands=tuple(Band(*tables.BANDS[place]) for place in places),
        channels=tuple(range(len(places))),
        index=np.arange(patches),
        time=np.full(patches, np.datetime64("NaT", "s")),
        lat=unknown,
        lon=unknown,
        sun_zenith=unknown,
        maps={},
        source=f"part {number}",
    )
    return Part(images, mask, tuple(str(one // scene.PATCHES) for one in range(patches)))


def accuracy(probability, mask):
    return float(((probability > 0.5) == (mask == 1))[mask != 255].mean())


def ours(given, train, val, features, seed=0, lr=LR, keep=True):
    """Return seconds, score after the last epoch, and the method; `keep` or the backbone runs at every step."""
    from models._foundation import Foundation

    scores = []
    budget = Budget(epochs=given.epochs, batch=given.batch)
    report = lambda step, **values: scores.append(values["score"])  # noqa: E731
    ctx = replace(Context(seed=seed, budget=budget, score=accuracy, report=report), features=features)
    method = Foundation(given.backbone, pretrained=False, mode="frozen", lr=lr, weight_decay=DECAY, dropout=DROPOUT)
    if not keep:
        method._lesson = lambda train, val, known, ctx: (method.network_, *map(every_step, (train, val)))
    start = time.perf_counter()
    method.fit(train, val, ctx)
    return time.perf_counter() - start, scores[-1], method


def every_step(part):
    """Return the samples of a network that runs whole."""
    from models import _train

    return _train.Samples(len(part), _train.image_inputs(part.images), part.masks)


def plain(given, train, val, scale):
    """Return seconds of a whole fit by TerraTorch's own task and trainer, and the score after its last epoch."""
    import torch
    from lightning.pytorch import Trainer, seed_everything
    from torch.utils.data import DataLoader

    def loader(part, shuffle):
        toa = np.nan_to_num((part.images.read() - scale["mean"]) / scale["std"]).astype(np.float32)
        rows = [{"image": image, "mask": mask.astype(np.int64)} for image, mask in zip(toa, part.masks(), strict=True)]
        return DataLoader(rows, given.batch, shuffle=shuffle)

    seed_everything(0, verbose=False)
    loaders = loader(train, shuffle=True), loader(val, shuffle=False)
    start = time.perf_counter()
    task = plain_task(given, [band.role for band in train.images.bands])
    building = time.perf_counter() - start
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    trainer = Trainer(max_epochs=given.plain_epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    start = time.perf_counter()
    trainer.fit(task, *loaders)
    seconds = building + (time.perf_counter() - start) * given.epochs / given.plain_epochs
    with torch.inference_mode():
        logits = [task.eval()(batch["image"]).output for batch in loaders[1]]
    return seconds, accuracy(torch.cat(logits).softmax(1)[:, 1].numpy(), val.masks())


def plain_task(given, roles):
    from terratorch.models.backbones.prithvi_vit import prithvi_cfgs
    from terratorch.tasks import SemanticSegmentationTask

    depth = prithvi_cfgs[given.backbone]["depth"]
    indices = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    arguments = {
        "backbone": given.backbone,
        "backbone_pretrained": False,
        "backbone_bands": roles,
        "backbone_num_frames": 1,
        "backbone_coords_encoding": [],
        "necks": [
            {"name": "SelectIndices", "indices": indices},
            {"name": "ReshapeTokensToImage"},
            {"name": "LearnedInterpolateToPyramidal"},
        ],
        "decoder": "UNetDecoder",
        "decoder_channels": [512, 256, 128, 64],
        "head_dropout": DROPOUT,
        "num_classes": 2,
    }
    return SemanticSegmentationTask(
        arguments,
        "EncoderDecoderFactory",
        loss="dice",
        ignore_index=255,
        optimizer="AdamW",
        optimizer_hparams={"weight_decay": DECAY},
        lr=LR,
        freeze_backbone=True,
        plot_on_val=False,
    )


def shares(given, method, val):
    """Print where the time of a step from kept features goes."""
    import torch

    from models import _loop, _segmenter, _train

    tail = _train.place(_segmenter.Tail(method.network_, val.images.shape[-2:]), "cpu")
    _train.train_mode(tail)
    optimiser = _loop.make_optimiser(tail, _train.Learning(LR, DECAY))
    with torch.inference_mode():
        features = method.network_.features(torch.from_numpy(val.images.read(slice(0, given.batch))))
    features, mask = features.half().clone(), torch.from_numpy(val.masks(slice(0, given.batch)))

    def step():
        optimiser.zero_grad(set_to_none=True)
        _train.dice_loss(_train.dice_sums(tail(features), mask)).backward()
        optimiser.step()

    step()
    with torch.profiler.profile() as profiler:
        for _ in range(3):
            step()
    found = {}
    for event in profiler.key_averages():
        kind = kind_of(event.key.lower())
        found[kind] = found.get(kind, 0) + event.self_cpu_time_total
    total, ranked = sum(found.values()), sorted(found.items(), key=lambda one: -one[1])
    print("a step from kept features: " + ", ".join(f"{kind} {spent / total:.0%}" for kind, spent in ranked))


def kind_of(operation):
    if "conv" in operation:
        return "convolution backward" if "backward" in operation else "convolution forward"
    kinds = {
        "batch_norm": "batch normalisation",
        "batchnorm": "batch normalisation",
        "copy": "copies",
        "adamw": "AdamW",
    }
    return next((kind for word, kind in kinds.items() if word in operation), "all else")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="prithvi_eo_v2_300")
    for name, value in {"epochs": 15, "patches": 16, "val": 4, "batch": 4, "trials": 10, "pixels": 224}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--plain-epochs", type=int)
    parser.add_argument("--run", type=int, help="trials after the first that are run; all cost their mean")
    given = parser.parse_args()
    given.run = given.run or given.trials - 1
    given.plain_epochs = given.plain_epochs or given.epochs
    from models import _frozen, _loop  # noqa: F401  imports are not timed

    train, val = make_part(0, given.patches, given.pixels), make_part(1, given.val, given.pixels)
    with tempfile.TemporaryDirectory() as folder:
        features = FeatureCache(Path(folder), time.perf_counter, given.batch, log=lambda line: None)
        first, score, method = ours(given, train, val, features)
        rates = LR * 2 ** np.linspace(-1, 1, given.run)
        study = first + (given.trials - 1) * np.mean([ours(given, train, val, features, lr=lr)[0] for lr in rates])
        _, other, _ = ours(given, train, val, features, seed=1)
        whole, same, _ = ours(given, train, val, features, keep=False)
    scale = {name: np.reshape(values, (-1, 1, 1)) for name, values in method.scale_.items()}
    seconds, plain_score = plain(given, train, val, scale)
    short = "" if given.plain_epochs == given.epochs else f", extrapolated from {given.plain_epochs} epochs"
    print(f"one fit: plain {seconds:.1f} s{short}, kept features {first:.1f} s, {seconds / first:.1f} times faster")
    many = seconds * given.trials
    print(f"{given.trials} trials: plain {many:.1f} s (one fit, multiplied), one cache {study:.1f} s, ", end="")
    print(f"{many / study:.1f} times faster")
    print(f"pixels right after the last epoch: plain {plain_score:.4f}, kept {score:.4f}, kept with seed 1 {other:.4f}")
    print(f"the same loop with the backbone at every step: {whole:.1f} s, {whole / first:.1f} times; score {same:.4f}")
    shares(given, method, val)


if __name__ == "__main__":
    main()
