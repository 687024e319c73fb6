"""Residual networks and vision transformers of torchgeo that TerraTorch registers: SSL4EO-S12, SSL4EO-L and others."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from terratorch.models.backbones.torchgeo_resnet import ResNetEncoderWrapper, get_pretrained_bands
from terratorch.models.backbones.torchgeo_vit import ViTEncoderWrapper
from terratorch.registry import BACKBONE_REGISTRY, TERRATORCH_BACKBONE_REGISTRY
from torchgeo.models import resnet
from torchvision.transforms.v2 import Normalize

from benchmark.api import Band, NotRun
from models import _loading, _train
from models._encoder import Encoder, Statistics, places, reflectance_statistics
from models._timm import Timm, stems

MODULES = ("torchgeo_resnet", "torchgeo_vit")  # of TerraTorch


def covers(name: str) -> bool:
    """Whether TerraTorch builds this name from one of these networks."""
    known = name in TERRATORCH_BACKBONE_REGISTRY
    return known and TERRATORCH_BACKBONE_REGISTRY[name].__module__.rsplit(".", 1)[-1] in MODULES


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> Encoder:
    """Return the network; each band gets the weights of the Sentinel-2 band of its role, or random ones if none has.

    A transformer interpolates its position embeddings to the grid of the input.

    Raises:
        NotRun: the checkpoint's channels are not the bands of Sentinel-2.
        RuntimeError: the checkpoint does not give every tensor.
    """
    channels = roles(name)
    if weights and not channels:
        raise NotRun(f"{name} was pretrained on other bands than Sentinel-2's, and which of ours they are is not known")
    taken = places(bands, channels)
    options = {"dynamic_img_size": True} if "_vit_" in name else {}
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        wrapped = BACKBONE_REGISTRY.build(name, model_bands=[], in_chans=len(bands), num_classes=0, **options)
    model = unwrapped(wrapped)
    encoder = Timm(model, statistics(name, taken))
    if weights:
        stored = _loading.tensors(weights)
        for stem in stems(model):
            if stem in stored:
                stored[stem] = _loading.select(stored[stem], taken, seed)
        _loading.fill(model, stored, weights.name)
    return encoder


def unwrapped(wrapper: ResNetEncoderWrapper | ViTEncoderWrapper) -> torch.nn.Module:
    """Return timm's model; of a transformer the wrapper would hand out every layer."""
    return wrapper.resnet_model if isinstance(wrapper, ResNetEncoderWrapper) else wrapper.vit_model


def published(name: str) -> Any:
    """Return torchgeo's entry for the weights of a name in TerraTorch's registry."""
    return inspect.signature(TERRATORCH_BACKBONE_REGISTRY[name]).parameters["weights"].default


def roles(name: str) -> list[str]:
    """Return the role of each channel of the pretraining; [] unless these are the bands of Sentinel-2."""
    bands = published(name).meta.get("bands")
    return get_pretrained_bands(bands) if bands == resnet._sentinel2_toa_bands else []


def statistics(name: str, taken: Sequence[int | None]) -> Statistics | None:
    """Return mean and deviation, as fractions, that torchgeo standardises Sentinel-2's digital numbers with."""
    channels = roles(name)
    steps = [step for step in published(name).transforms if isinstance(step, Normalize)] if channels else []
    if len(steps) != 1:
        return None
    # one number for all channels, or one for each
    mean, std = (np.broadcast_to(table, len(channels)).tolist() for table in (steps[0].mean, steps[0].std))
    return reflectance_statistics(mean, std, taken)
