"""How much memory training takes, told before it starts: on a CPU the kernel ends a process that runs out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.api import Context, NotRun
from models import _train

GB = 1e9
COPIES = 3  # of what learns, beside itself and its gradients: AdamW's two moments and the best epoch
# What kernels and the allocator take beside tensors: oneDNN's reordered copies above all. With these two the estimate
# is 1.0 to 1.3 times the measured peak of fits of 13 to 324 million parameters on a CPU, batches 1 to 8.
SCRATCH, SLACK = 0.1, 300_000_000  # share of what a step allocates, and bytes
# Controller in /proc/self/cgroup ("" is version 2), its mount, and its files for limit and use.
CGROUPS = {
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    "memory": (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def require(network: nn.Module, shape: tuple[int, int, int], coordinates: bool, ctx: Context) -> None:
    """Refuse training that needs more memory than is free.

    On a CPU the batch in use must fit, as running out cannot be caught there. On CUDA one patch must, as the training
    loop halves what it takes at a time until it fits.

    Args:
        network: frozen as it will be trained; its arguments are toa, and time and place.
        shape: bands, rows and columns of a patch.
        coordinates: whether time and place go in.
        ctx: device and batch.

    Raises:
        NotRun: it does not fit; the message holds the numbers.
    """
    batch = 1 if ctx.device.startswith("cuda") else ctx.budget.batch
    free = free_bytes(ctx.device) + _held(network, ctx.device)
    needed = training_bytes(network, shape, coordinates, batch, ctx.device)
    if needed <= free:
        return
    halves = [batch >> times for times in range(1, batch.bit_length())]
    needs = {half: training_bytes(network, shape, coordinates, half, ctx.device) for half in halves}
    remedies = [f"batch {half} would need {less / GB:.1f} GB" for half, less in needs.items() if less <= free]
    remedy = next(iter(remedies), "take a machine with more memory")
    raise NotRun(f"training needs about {needed / GB:.1f} GB of memory and {free / GB:.1f} GB are free: {remedy}")


def training_bytes(network: nn.Module, shape: Sequence[int], coordinates: bool, batch: int, device: str) -> int:
    """Return the peak of a fit: what the network holds, AdamW's moments, the best epoch, and the larger of two moments.

    One is a step. It is run on tensors without memory, forward and backward, so that what autograd keeps, when it lets
    go of it, and every gradient are counted and not guessed. The other is the end of an epoch, when a better one is
    copied beside gradients and the best one so far.
    """
    _train.train_mode(network)
    learning = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    held = sum(tensor.nbytes for tensor in _tensors(network))
    step = int(_step_bytes(network, shape, coordinates, batch, device) * (1 + SCRATCH))
    return held + COPIES * learning + max(step, 2 * learning) + SLACK


def _step_bytes(network: nn.Module, shape: Sequence[int], coordinates: bool, batch: int, device: str) -> int:
    """Return the largest sum of what lives at one time of a step, parameters aside."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = {
            name: torch.empty_like(tensor, device=device).requires_grad_(tensor.requires_grad)
            for name, tensor in (*network.named_parameters(), *network.named_buffers())
        }
        with _Live(state.values()) as live:
            inputs = [torch.empty(batch, *shape, device=device)]
            if coordinates:
                inputs += [torch.empty(batch, 1, 2, device=device), torch.empty(batch, 2, device=device)]
            mask = torch.empty(batch, *shape[1:], dtype=torch.uint8, device=device)
            with _train.autocast(device):
                logits = functional_call(network, state, tuple(inputs))
            _train.dice_loss(_train.dice_sums(logits, mask)).backward()
    return live.peak


class _Live(TorchDispatchMode):
    """Adds up the storages that operations make, for as long as anything refers to them.

    Args:
        held: tensors that do not count; an operation may answer with a view of one.

    Attributes:
        peak: bytes.
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in held}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(answer):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return answer

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def free_bytes(device: str) -> int:
    """Return what the device has left for this process."""
    if device.startswith("cuda"):
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([psutil.virtual_memory().available, *_cgroups()])


def _cgroups() -> Iterator[int]:
    """Yield what each control group above this process leaves; file pages do not count, the kernel can drop them."""
    for line in Path("/proc/self/cgroup").read_text().splitlines() if Path("/proc/self/cgroup").exists() else ():
        _, controllers, path = line.split(":", 2)
        for name in set(controllers.split(",")) & set(CGROUPS):
            mount, limit, use = CGROUPS[name]
            # in a container the path may be that of the host, and its own group is the mount itself
            below = mount / path.lstrip("/")
            for folder in {mount, *(one for one in (below, *below.parents) if one.is_relative_to(mount))}:
                yield from _left(folder / limit, folder / use, folder / "memory.stat")


def _left(limit: Path, use: Path, stat: Path) -> Iterator[int]:
    if limit.exists() and use.exists() and limit.read_text().strip().isdigit():
        counts = dict(line.split() for line in stat.read_text().splitlines())
        files = sum(int(counts.get(f"total_{name}", counts.get(name, 0))) for name in ("active_file", "inactive_file"))
        yield int(limit.read_text()) - int(use.read_text()) + files


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _held(network: nn.Module, device: str) -> int:
    """Return the bytes of a network that the device holds already; pages of a mapped checkpoint are not held yet."""
    here = [tensor for tensor in _tensors(network) if str(tensor.device).split(":")[0] == device.split(":")[0]]
    files = [] if device.startswith("cuda") else _mapped()
    return sum(tensor.nbytes for tensor in here if not any(start <= tensor.data_ptr() < end for start, end in files))


def _mapped() -> list[tuple[int, int]]:
    """Return the addresses at which files are mapped into this process."""
    if not Path("/proc/self/maps").exists():
        return []
    fields = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    ranges = [one[0].split("-") for one in fields if len(one) == 6 and one[5].startswith("/")]
    return [(int(start, 16), int(end, 16)) for start, end in ranges]
