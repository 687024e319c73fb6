"""What goes into the training of every network: samples, scale, loss, precision and prediction, the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.api import CLEAR, CLOUD, IGNORE, Context, Images

ESTIMATES = "estimates"  # attribute of a frozen norm that goes on estimating mean and variance
Inputs = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Samples:
    """What a network is trained or judged on, read when asked for.

    Attributes:
        count: number of patches.
        inputs: (rows, elements) -> one array (n, ...) per argument of the network, patch i turned by D4 element i.
        masks: rows -> truth as it was taken, (n, y, x) uint8.
    """

    count: int
    inputs: Inputs
    masks: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Learning:
    """What of the loop a method may set.

    Attributes:
        lr: learning rate of AdamW, the highest where it changes.
        weight_decay: of AdamW, decoupled from the gradient.
        schedule: "constant", or "cosine" for a learning rate that falls to 0 step by step.
        warmup: share of all steps in which the learning rate rises linearly; 0: none.
        patience: epochs without a better validation score after which training stops; 0: it never does.
    """

    lr: float
    weight_decay: float
    schedule: str = "constant"
    warmup: float = 0.0
    patience: int = 0


class Scale(nn.Module):
    """Standardise toa per band; an invalid pixel becomes 0, the mean, and not a value that looks measured."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, toa: Tensor) -> Tensor:
        """Return (n, b, y, x) of the same shape, without NaN."""
        return ((toa - self.mean) / self.std).nan_to_num_(nan=0.0)


def band_statistics(images: Images) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each band, patch by patch in float64, NaN ignored.

    A band without a valid pixel has mean 0; one without spread has deviation 1.
    """
    count, total, square = np.zeros((3, images.shape[1]))
    for row in range(len(images)):
        toa = images.read(row)[0].astype(np.float64)
        count += np.isfinite(toa).sum((1, 2))
        total += np.nansum(toa, (1, 2))
        square += np.nansum(toa**2, (1, 2))
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0))
    return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()


def turn(image: np.ndarray, element: int) -> np.ndarray:
    """Return the image (..., y, x) moved by one of the 8 elements of D4; 0 leaves it as it is."""
    turned = np.rot90(image, element % 4, axes=(-2, -1))
    return turned[..., ::-1] if element >= 4 else turned


def turn_each(stack: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """Return the stack (n, ..., y, x) with patch i moved by element i."""
    return np.stack([turn(image, element) for image, element in zip(stack, elements, strict=True)])


def image_inputs(images: Images, *known: np.ndarray) -> Inputs:
    """Return inputs that read and turn the images, followed by what is `known` of each patch, (n, ...)."""
    return lambda rows, elements: (turn_each(images.read(rows), elements), *(array[rows] for array in known))


def dice_sums(logits: Tensor, mask: Tensor) -> Tensor:
    """Return (3, 2): overlap, predicted plus true size, and true size of each class, over pixels that count.

    Args:
        logits: (n, 2, y, x).
        mask: (n, y, x) uint8, IGNORE where a pixel must not count.
    """
    probability = logits.float().softmax(1)
    truth = torch.stack([mask == CLEAR, mask == CLOUD], 1).float()
    over = (0, 2, 3)
    size = truth.sum(over)
    overlap = (probability * truth).sum(over)
    return torch.stack([overlap, (probability * (mask != IGNORE).unsqueeze(1)).sum(over) + size, size])


def dice_loss(sums: Tensor) -> Tensor:
    """Return the mean over the two classes of 1 - Dice, 0 for a class without a true pixel.

    The study's loss: multiclass Dice of segmentation_models_pytorch with ignore_index.
    """
    overlap, both, size = sums
    return ((1 - 2 * overlap / both.clamp_min(1e-7)) * (size > 0)).mean()


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Draw from global generators of torch that start at `seed`, and leave the caller's as they were."""
    with torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield


def count_parameters(network: nn.Module) -> dict[str, int]:
    """Return how many parameters there are and how many of them learn."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return {"total": sum(size for size, _ in sizes), "trainable": sum(size for size, learns in sizes if learns)}


def place(network: nn.Module, device: str) -> nn.Module:
    """Move to the device, weights of 2-D convolutions stored as the fast kernels want them; a few bits depend on it."""
    network.to(device)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)
    return network


def predict(network: nn.Module, inputs: Inputs, count: int, ctx: Context) -> np.ndarray:
    """Return the cloud probability, (count, y, x) float32."""
    place(network, ctx.device).eval()
    return np.concatenate([_cloud(_infer(network, inputs, rows, ctx)) for rows in batches(np.arange(count), ctx)])


def train_mode(network: nn.Module) -> None:
    """Put the network in training mode, but what does not learn in evaluation mode: a frozen part must not drift."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
    for module in network.modules():
        if getattr(module, ESTIMATES, False):
            module.train()


def keep_estimating(part: nn.Module) -> None:
    """Let the batch norms of a part that does not learn stay in training mode: its weights fit no earlier estimate."""
    for module in part.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            setattr(module, ESTIMATES, True)


def judge(network: nn.Module, val: Samples, ctx: Context) -> tuple[float, float]:
    """Return score and loss over all patches of `val` at once, so that the batch size changes neither."""
    network.eval()
    clouds, masks, sums = [], [], torch.zeros(3, 2)
    for rows in batches(np.arange(val.count), ctx):
        logits, mask = _infer(network, val.inputs, rows, ctx), val.masks(rows)
        sums += dice_sums(logits, torch.from_numpy(mask))
        clouds.append(_cloud(logits))
        masks.append(mask)
    return ctx.score(np.concatenate(clouds), np.concatenate(masks)), dice_loss(sums).item()


@torch.inference_mode()
def _infer(network: nn.Module, inputs: Inputs, rows: np.ndarray, ctx: Context) -> Tensor:
    """Return logits of the patches as they were taken, on the CPU in float32."""
    arrays = inputs(rows, np.zeros(len(rows), int))
    with autocast(ctx.device):
        return network(*tensors(arrays, ctx.device)).float().cpu()


def _cloud(logits: Tensor) -> np.ndarray:
    return logits.softmax(1)[:, CLOUD].numpy()


def batches(rows: np.ndarray, ctx: Context) -> list[np.ndarray]:
    """Return the rows in pieces of ctx.budget.batch."""
    return [rows[start : start + ctx.budget.batch] for start in range(0, len(rows), ctx.budget.batch)]


@cache
def precision(device: str) -> torch.dtype:
    """Return what matrix products are computed in: on CUDA bfloat16, or float16 where the device has none.

    float32 on CPUs, where bfloat16 can be ten times slower.
    """
    if not device.startswith("cuda"):
        return torch.float32
    with torch.cuda.device(device):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: str) -> torch.autocast:
    """Return the context in which a network runs in the device's `precision`."""
    kind, dtype = device.split(":")[0], precision(device)
    return torch.autocast(kind, dtype, enabled=dtype != torch.float32)


def tensors(arrays: tuple[np.ndarray, ...], device: str) -> list[Tensor]:
    """Return the arrays on the device."""
    here = [torch.from_numpy(array) for array in arrays]
    return here if device == "cpu" else [one.pin_memory().to(device, non_blocking=True) for one in here]


def learned_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of what can have changed: parameters that learn, and buffers."""
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().clone() for name, value in network.state_dict().items() if name not in frozen}
