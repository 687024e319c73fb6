"""Any other name in TerraTorch's registries: tried with the bands, and looked at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from math import gcd, isqrt
from pathlib import Path
from typing import Any

import timm
import torch
from terratorch.registry import BACKBONE_REGISTRY, TERRATORCH_BACKBONE_REGISTRY
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmark.api import Band, NotRun, UserError
from models import _loading, _timm, _train
from models._encoder import Encoder, as_map

# Rows and columns of the patch that is tried first, and then for a backbone that takes one size alone. 2 to 3 is a
# shape that channels and rows, taken for rows and columns, cannot have.
FREE, FIXED = (64, 96), (224, 224)
EVERY = list(range(100))  # layers to hand out, for a builder that is told which; more than any has


class Registered(Encoder):
    """A backbone that was tried with one patch: what it answers there, it is taken to answer always.

    Of tokens, those before the full grid of patches are left out. A backbone that does not take a patch of 64 x 96
    sees the input resized to 224 (bilinear), and its maps are resized back. The registry knows no statistics of
    pretraining.

    Args:
        model: answers with tokens (n, tokens, channels) or maps (n, channels, y, x) or (n, y, x, channels).
        bands: of its input.

    Raises:
        NotRun: it answers with something else, or not at all.
    """

    def __init__(self, model: nn.Module, bands: int) -> None:
        super().__init__()
        self.model = model
        size, answers = tried(model, bands)
        looks = [_look(answer, size) for answer in answers]
        self.layers, self.steps = _timm.levels([step for step, _ in looks])
        self.flipped = tuple(looks[layer][1] for layer in self.layers)
        ends = [
            -1 if answers[layer].ndim == 3 or flip else 1 for layer, flip in zip(self.layers, self.flipped, strict=True)
        ]
        self.channels = tuple(answers[layer].shape[end] for layer, end in zip(self.layers, ends, strict=True))
        self.pyramid, self.multiple = self.steps[0] < self.steps[-1], self.steps[-1]
        self.resized = size == FIXED
        self.adapted = _timm.adaptable(model)
        self.recipe = (*self.layers, *self.steps, *self.flipped, self.resized)

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, rows, columns) of toa (n, b, y, x)."""
        seen = interpolate(toa, size=FIXED, mode="bilinear") if self.resized else toa
        answers = listed(self.model(seen))
        maps = []
        for layer, step, flip in zip(self.layers, self.steps, self.flipped, strict=True):
            one = _laid_out(answers[layer], [length // step for length in seen.shape[-2:]], flip)
            back = [length // step for length in toa.shape[-2:]]
            maps.append(interpolate(one, size=back, mode="bilinear") if self.resized else one)
        return maps


def _look(answer: Tensor, size: tuple[int, int]) -> tuple[int, bool]:
    """Return how many pixels one of the answer's stands for, and whether it is (n, rows, columns, channels).

    Args:
        answer: to a patch of `size`; tokens may begin with some that stand for no place.
        size: rows and columns.

    Raises:
        NotRun: it has the shape of no map, or of two.
    """
    unit = gcd(*size)
    if answer.ndim == 3:
        cells = isqrt(answer.shape[1] * unit**2 // (size[0] * size[1]))
        if cells == 0 or unit % cells:
            raise NotRun(f"its {answer.shape[1]} tokens are no grid over {size[0]} x {size[1]} pixels")
        return unit // cells, False
    grids = {False: answer.shape[2:], True: answer.shape[1:3]}
    steps = {
        flip: size[0] // rows
        for flip, (rows, columns) in grids.items()
        if size[0] % rows == 0 and size[0] * columns == size[1] * rows
    }
    if len(steps) != 1:
        raise NotRun(f"which sides of its maps {tuple(answer.shape[1:])} are rows and columns cannot be told")
    ((flip, step),) = steps.items()
    return step, flip


def _laid_out(answer: Tensor, grid: Sequence[int], flipped: bool) -> Tensor:
    """Return (n, channels, rows, columns); `flipped` says that the answer is (n, rows, columns, channels)."""
    if answer.ndim == 4:
        return answer.permute(0, 3, 1, 2) if flipped else answer
    return as_map(answer, grid)


def listed(answers: Any) -> list[Tensor]:
    """Return what a backbone answers as a list.

    Raises:
        NotRun: it is no list of tokens or maps.
    """
    found = [answers] if isinstance(answers, Tensor) else answers
    good = isinstance(found, list | tuple) and len(found) > 0
    if not good or not all(isinstance(one, Tensor) and one.ndim in (3, 4) for one in found):
        raise NotRun("it does not answer with tokens or maps")
    return list(found)


@torch.no_grad()
def tried(model: nn.Module, bands: int) -> tuple[tuple[int, int], list[Tensor]]:
    """Return rows and columns of the patch that the model takes, and its answers to one.

    Raises:
        NotRun: it takes none.
    """
    model.eval()
    reason = ""
    for size in (FREE, FIXED):
        try:
            return size, listed(model(torch.zeros(1, bands, *size)))
        except Exception as error:  # whatever the package raises for an input that it was not made for
            reason = _line(error)
        finally:
            model.train()
    raise NotRun(f"it takes no patch of {bands} bands and nothing else ({reason})")


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> Encoder:
    """Return the backbone of a registry's name, with or without the registry's prefix.

    Raises:
        NotRun: it cannot be built for these bands, or gives no maps that the decoder can take.
        RuntimeError: the checkpoint does not give every tensor.
        UserError: no registry has this name.
    """
    bare = name.removeprefix("terratorch_").removeprefix("timm_")
    if bare in TERRATORCH_BACKBONE_REGISTRY:
        encoder = _first(bare, bands, seed)
    elif timm.is_model(bare):
        return _timm.build(bare, bands, seed=seed, weights=weights)
    else:
        near = get_close_matches(bare, [*TERRATORCH_BACKBONE_REGISTRY, *timm.list_models()], cutoff=0.5)
        raise UserError(f"no backbone is called '{name}'; near it are {', '.join(near) or 'none'}")
    if weights:
        _loading.fill(encoder.model, _loading.tensors(weights), weights.name)
    return encoder


def _first(name: str, bands: Sequence[Band], seed: int) -> Registered:
    """Return the backbone from the first way of telling it the bands that it takes."""
    reason = "it has no argument for them"
    for options in ways(TERRATORCH_BACKBONE_REGISTRY[name], bands):
        try:
            with _train.seeded(seed):
                return Registered(BACKBONE_REGISTRY.build(name, **options), len(bands))
        except Exception as error:
            reason = _line(error)
    raise NotRun(f"{name} cannot be built for these bands: {reason}")


def ways(builder: Callable[..., nn.Module], bands: Sequence[Band]) -> Iterator[dict[str, Any]]:
    """Yield arguments that may tell a builder the bands: by role, or by their number.

    Raises:
        NotRun: it wants other arguments.
    """
    known = inspect.signature(builder).parameters
    open_ended = any(one.kind is one.VAR_KEYWORD for one in known.values())
    wanted = {one.name for one in known.values() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    roles, count = [band.role for band in bands], len(bands)
    told = {"model_bands": roles, "bands": roles, "in_channels": count, "in_chans": count}
    if wanted - set(told):
        raise NotRun(f"{builder.__name__} wants {', '.join(wanted)}, which a row does not have")
    fixed = {"out_indices": EVERY} if "out_indices" in known else {}
    random = [{"pretrained": False}] if open_ended or "pretrained" in known else []
    for option, value in told.items():
        if option in known or (open_ended and option != "model_bands" and "model_bands" not in known):
            yield from ({option: value, **fixed, **more} for more in (*random, {}))


def _line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
