"""Prithvi as small as it goes, and checkpoints as the hub has them."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from patch_factory import bands, make_images
from safetensors.torch import save_file
from terratorch.models.backbones import prithvi_vit
from terratorch.models.backbones.prithvi_mae import PrithviMAE

from benchmark.api import HLS_ROLES, IGNORE, Budget, Context, Part
from models import _backboned, _foundation, _frozen, _prithvi, _segmenter, _train

PLAIN, TIMED, LARGE = "prithvi_eo_v2_tiny_tl", "prithvi_eo_v2_300_tl", "prithvi_eo_v2_600"
SMALL = {"embed_dim": 32, "num_heads": 2, "decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2}


@contextmanager
def narrow_backbones():
    """The real depths, patch sizes and encodings, 32 channels wide."""
    with pytest.MonkeyPatch.context() as patch:
        for name, values in prithvi_vit.prithvi_cfgs.items():
            patch.setitem(prithvi_vit.prithvi_cfgs, name, {**values, **SMALL})
        _backboned.last_built.cache_clear()  # its names do not tell the width
        yield
        _backboned.last_built.cache_clear()


def checkpoint(folder, name, suffix=".pt", change=lambda tensors: tensors):
    """Write a file as the hub has it: the whole autoencoder of four frames, keys `encoder.` and `decoder.`."""
    config = {**prithvi_vit.prithvi_cfgs[name], "num_frames": 4}
    with _train.seeded(99):
        model = PrithviMAE(**config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    tensors = change(dict(model.state_dict()))
    path = folder / f"{name}{suffix}"
    torch.save(tensors, path) if suffix == ".pt" else save_file(tensors, path)
    return path


def make_part(roles=HLS_ROLES, count=4, size=(32, 32), seed=0, dated=True):
    """Cloud in the upper half, an invalid corner, and another time and place for each patch."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((count, *size), np.uint8)
    mask[:, : size[0] // 2] = 1
    mask[:, 0, 0] = IGNORE
    toa = (0.1 + 0.6 * mask[:, None] + generator.normal(0, 0.05, (count, len(roles), *size))).astype(np.float32)
    toa[:, :, 0, 0] = np.nan
    days = np.arange(count) * 40 if dated else np.full(count, "NaT")
    time = np.datetime64("2020-01-01", "s") + days.astype("timedelta64[D]")
    place = np.linspace(-60, 60, count)
    return Part(
        replace(make_images(toa, roles), time=time, lat=place, lon=2 * place), mask, tuple("abcdefghijklmnop"[:count])
    )


def context(weights=None, epochs=1, **changes):
    score = lambda probability, mask: float(((probability > 0.5) == mask)[mask != IGNORE].mean())  # noqa: E731
    return Context(budget=Budget(epochs=epochs, batch=2, **changes), score=score, weights=weights)


def fitted(part=None, ctx=None, **values):
    method = _foundation.Foundation(**{"backbone": PLAIN, "pretrained": False, **values})
    part = part or make_part()
    method.fit(part, part, ctx or context())
    return method


def build(name=PLAIN, roles=HLS_ROLES, coordinates=False, seed=0, weights=None):
    return _prithvi.build(name, bands(roles), coordinates=coordinates, seed=seed, weights=weights)


def network(name=PLAIN, roles=HLS_ROLES, skip=False, **values):
    scale = {"mean": [0.2] * len(roles), "std": [0.3] * len(roles)}
    encoder = build(name, roles, **values)
    return _segmenter.build_network(encoder, scale, dropout=0.1, skip=skip, seed=0).eval()


def recipe(coordinates=False):
    return _frozen.Recipe("", bands(HLS_ROLES), coordinates)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
