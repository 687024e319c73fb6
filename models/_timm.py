"""Any backbone of timm that gives its intermediate maps; with ImageNet's weights, the control that never saw Earth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models._manipulate import adapt_input_conv
from torch import Tensor, nn

from benchmark.api import Band, NotRun
from models import _loading, _train
from models._encoder import ADAPTED, Encoder, Statistics, quarters

MAPS = 4  # that neck and decoder take


class Timm(Encoder):
    """Four maps: of a transformer the layers at each quarter of its depth, of a pyramid its four coarsest levels.

    ImageNet's statistics are those of 8-bit pictures, which no reflectance can be compared with: None.

    Args:
        model: of timm, with `forward_intermediates`; the parts behind the last map are cut off.
        statistics: of its pretraining, for the bands of the input.
    """

    def __init__(self, model: Any, statistics: Statistics | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.layers, steps = levels([info["reduction"] for info in model.feature_info])
        self.channels = tuple(model.feature_info[layer]["num_chs"] for layer in self.layers)
        self.pyramid = steps[0] < steps[-1]
        self.multiple = steps[-1]
        self.statistics = statistics
        self.recipe = self.layers
        self.adapted = adaptable(model)
        model.prune_intermediate_layers(list(self.layers), prune_norm=True, prune_head=True)

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, rows, columns) of toa (n, b, y, x)."""
        return list(self.model.forward_intermediates(toa, indices=list(self.layers), intermediates_only=True))


def levels(steps: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which four maps to take, and how many pixels of the input one of their pixels stands for.

    Args:
        steps: pixels of the input that a pixel of each map stands for.

    Raises:
        NotRun: the maps have several grids, and no four of them of which each has half the rows of the one before.
    """
    if len(set(steps)) == 1:
        return quarters(len(steps)), (steps[0],) * MAPS
    last = {step: layer for layer, step in enumerate(steps)}
    coarse = sorted(last)[-MAPS:]
    if len(coarse) < MAPS or any(2 * fine != rough for fine, rough in pairwise(coarse)):
        raise NotRun(f"its maps, one pixel for {list(steps)} pixels of the input, are no pyramid for the decoder")
    return tuple(last[step] for step in coarse), tuple(coarse)


def adaptable(model: nn.Module) -> tuple[str, ...]:
    """Return what LoRA adapts where the model names its linear layers as timm's transformers do; () where not."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    named = all(any(name.endswith(f".{end}") for name in linear) for end in ("attn.qkv", "mlp.fc1", "mlp.fc2"))
    return ADAPTED if named else ()


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> Timm:
    """Return a backbone of timm; position embeddings are interpolated where it has any.

    The first convolution of a file for three channels is adapted by timm's own rule: its channels repeat in turn
    (R, G, B, R, ...), times 3 / number of bands, whatever the bands are.

    Raises:
        NotRun: it gives no maps that the decoder can take.
        RuntimeError: the checkpoint does not give every tensor.
    """
    with _train.seeded(seed):  # with values: some models compute buffers that no file holds
        model = create(name, len(bands))
    if not hasattr(model, "forward_intermediates"):
        raise NotRun(f"{name} gives one answer for the whole patch, and no maps")
    encoder = Timm(model)
    _try(encoder, len(bands))
    if weights:
        stored = _loading.tensors(weights)
        for stem in stems(model):
            if stem in stored:
                stored[stem] = adapt_input_conv(len(bands), stored[stem])
        _loading.fill(model, stored, weights.name)
    return encoder


@torch.no_grad()
def _try(encoder: Timm, bands: int) -> None:
    """Raise NotRun where the model takes its own size of patch alone."""
    try:
        encoder.eval()(torch.zeros(1, bands, 2 * encoder.multiple, 2 * encoder.multiple))
    except Exception as error:  # whatever timm raises
        raise NotRun(f"it does not take patches of any size: {error}") from error
    encoder.train()


def create(name: str, bands: int) -> nn.Module:
    """Return the untrained model, for inputs of any size where it can be."""
    options: dict[str, Any] = {"pretrained": False, "in_chans": bands, "num_classes": 0}
    try:
        return timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:  # not a transformer with position embeddings
        return timm.create_model(name, **options)


def stems(model: Any) -> list[str]:
    """Return the names of the weights that the input meets first."""
    first = model.default_cfg["first_conv"]
    return [f"{stem}.weight" for stem in ((first,) if isinstance(first, str) else first)]
