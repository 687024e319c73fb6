"""Checkpoints of any backbone: every tensor from the file, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import _train
from models._prithvi import read_checkpoint

WRAPPERS = ("state_dict", "model")  # under which training scripts keep the tensors


def tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a checkpoint whose names begin with `prefix`, without it.

    Raises:
        RuntimeError: the file cannot be read.
    """
    try:
        stored: dict[str, Any] = dict(read_checkpoint(path))
    except Exception as error:
        raise RuntimeError(f"{path.name} is not a checkpoint that can be read: {error}") from error
    wrapper = next((name for name in WRAPPERS if isinstance(stored.get(name), dict)), None)
    if wrapper:
        stored = stored[wrapper]
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def fill(module: nn.Module, stored: Mapping[str, Tensor], source: str) -> None:
    """Give each parameter and buffer the file's tensor of its name; compare what is then in the module.

    A counter of batches that older files of torch lack becomes 0: it does not enter any answer.

    Raises:
        RuntimeError: a tensor is missing or has another shape.
    """
    wanted = {}
    for name, value in module.state_dict().items():
        if name not in stored and not name.endswith("num_batches_tracked"):
            raise RuntimeError(f"{source} has no tensor {name}")
        found = stored.get(name, torch.zeros((), dtype=value.dtype))
        if found.shape != value.shape:
            raise RuntimeError(f"{name} is {tuple(found.shape)} in {source} and {tuple(value.shape)} in the backbone")
        wanted[name] = found.to(value.dtype)
    module.load_state_dict(wanted, strict=True, assign=True)
    for name, value in module.state_dict().items():
        if not torch.equal(value, wanted[name]):
            raise RuntimeError(f"{name} of the backbone is not the tensor in {source}")


def select(stem: Tensor, places: Sequence[int | None], seed: int) -> Tensor:
    """Return the stem (out, len(places), ...) made of slices of a file's stem (out, channels, ...).

    Args:
        stem: weights of the first convolution.
        places: channel of the file for each input band; None: Xavier-uniform weights drawn from `seed`.
        seed: of the random weights.
    """
    chosen = torch.empty(stem.shape[0], len(places), *stem.shape[2:])
    with _train.seeded(seed):
        nn.init.xavier_uniform_(chosen.flatten(1))
    for channel, place in enumerate(places):
        if place is not None:
            chosen[:, channel] = stem[:, place]
    return chosen
