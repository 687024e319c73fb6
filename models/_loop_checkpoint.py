"""The checkpoint of an unfinished fit: one file that holds all that the rest of the fit depends on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.api import digest

FILE = "checkpoint.pt"
SECONDS = 300.0  # so much work at most is lost; the file of 600 M parameters that learn has 10 GB


@dataclass
class Progress:
    """How far a fit has come.

    Attributes:
        epoch: epochs finished.
        taken: steps of the epoch under way.
        losses: of these steps.
        order: state, when that epoch began, of the generator that shuffles and turns the patches.
        curves: what was reported of the finished epochs.
        best: what had been learned at the epoch with the best validation score, and that epoch.
        seconds: that the fit took in the processes before this one, up to the checkpoint.
    """

    epoch: int = 0
    taken: int = 0
    losses: list[Any] = field(default_factory=list)
    order: Tensor = field(default_factory=lambda: torch.empty(0))
    curves: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_score: float = float("-inf")
    best_epoch: int = 0
    seconds: float = 0.0


def key_of(network: nn.Module, *settings: Any) -> str:
    """Return a hash of the network as it is before it learns, of what it is taught with, and of PyTorch's version.

    Weights enter by their sums, to six digits: a sum's last digits depend on the number of threads.
    """
    weights = [
        (name, tuple(value.shape), value.requires_grad, f"{value.detach().sum(dtype=torch.float64).item():.6g}")
        for name, value in network.named_parameters()
    ]
    return digest(torch.__version__, weights, *(repr(setting) for setting in settings))


def write(folder: Path, key: str, state: dict[str, Any]) -> None:
    """Put the state into the folder; whoever reads finds the former file or the whole new one.

    Where it cannot be written this is said, and the fit can go on.
    """
    part = folder / f"{FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"key": key, **state}, part)
        part.replace(folder / FILE)
    except (OSError, RuntimeError) as error:  # PyTorch's writer makes the second of a full disk
        said = (str(error).splitlines() or [""])[0]
        print(f"the checkpoint {folder / FILE} cannot be written, the fit goes on: {type(error).__name__}: {said}")
        with suppress(OSError):
            part.unlink(missing_ok=True)


def read(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the state that a fit with this key left in the folder, None where there is none that can be used."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of a broken file raises whatever it stumbles over
        print(f"the checkpoint {file} cannot be read and is ignored: {type(error).__name__}")
        return None
    if state["key"] != key:
        print(f"the checkpoint {file} is of another network, seed or setting and is ignored")
        return None
    return state


def remove(folder: Path) -> None:
    """Delete what `write` has left in the folder."""
    for name in (FILE, f"{FILE}.part"):
        with suppress(OSError):  # a folder that could not be written to
            (folder / name).unlink(missing_ok=True)
