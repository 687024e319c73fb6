"""Fitted methods to safe files and back, by the type of what was learned; never pickle.

Plain values go to JSON, arrays to `.npy`, boosters to LightGBM's text, scikit-learn estimators to skops, torch modules
to safetensors (parameters that require gradients, and buffers: a frozen backbone is rebuilt, not stored). Checksums of
these files are compared before any is read: a damaged booster would end the process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmark._files import checksum
from benchmark.api import Band, Method, NotRun, UserError
from benchmark.record import write_json

FILE = "method.json"
# What a forest may be made of besides skops' own list; anything else in a file is refused.
TRUSTED = ("sklearn.tree._tree.Tree",)
_AGAIN = "run its row again with --fresh"


@dataclass(frozen=True)
class Inputs:
    """What a method was trained on.

    Attributes:
        bands: in their order.
        size: rows and columns of a patch.
        view: of the instrument, "" where the data do not say.
        grid: map grid of the patches, "" for the instrument's own.
    """

    bands: tuple[Band, ...]
    size: tuple[int, int]
    view: str
    grid: str


def save(
    method: Method,
    folder: Path,
    bands: Sequence[Band] = (),
    size: Sequence[int] = (),
    view: str = "",
    grid: str = "",
) -> None:
    """Write hyperparameters and everything learned into `folder`.

    Args:
        method: the fitted method.
        folder: where its files go.
        bands: what it was trained on; this and the rest as in `Inputs`.
        size: of patches.
        view: of the instrument.
        grid: of patches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learned = {name: value for name, value in vars(method).items() if name.endswith("_") and value is not None}
    kinds = {name: _kind(name, value) for name, value in learned.items()}
    plain = {name: learned[name] for name, kind in kinds.items() if kind == "json"}
    files = {name: folder / f"{name}{_SUFFIX[kind]}" for name, kind in kinds.items() if kind != "json"}
    for name, path in files.items():
        _SAVE[kinds[name]](learned[name], path)
    content = {"method": type(method).__qualname__, "params": asdict(method), "kinds": kinds, "learned": plain}  # type: ignore[call-overload]
    content |= {"bands": [asdict(band) for band in bands], "size": list(size), "view": view, "grid": grid}
    content["files"] = {path.name: checksum(path) for path in files.values()}
    write_json(folder / FILE, json.loads(json.dumps(content, default=_plain)))


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a fitted method, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def inputs(folder: Path) -> Inputs:
    """Return what the method in a folder was trained on.

    Raises:
        UserError: the folder holds no method, or one that was kept without that.
    """
    content = _read(folder)
    try:
        (rows, columns), bands = content["size"], tuple(Band(**band) for band in content["bands"])
        if not bands:
            raise ValueError("no bands")
        return Inputs(bands, (rows, columns), content["view"], content["grid"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder} does not say what its method was trained on; {_AGAIN}") from None


def _read(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder} holds no fitted method") from error


def load(kind: Callable[..., Method], folder: Path, weights: Path | None = None) -> Method:
    """Return the fitted method of class `kind` that `save` wrote.

    Args:
        kind: its class.
        folder: where its files are.
        weights: checkpoint that its frozen part comes from, where it is no longer at the place it was trained from.

    Raises:
        UserError: the folder holds no such method, a file in it is damaged or not of a trusted kind, or the code of
            the method has changed so that they no longer fit.
    """
    content = _read(folder)
    if not {"method", "params", "kinds", "learned", "files"} <= set(content):
        raise UserError(f"{folder} does not say all that its method is made of; {_AGAIN}")
    try:
        method = kind(**content["params"])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the code of {content['method']} has changed since {folder} was kept: {error}; {_AGAIN}"
        ) from None
    if content["method"] != type(method).__qualname__:
        raise UserError(f"{folder} holds a {content['method']}, not a {type(method).__qualname__}")
    _compare(folder, content["files"])
    try:
        return _restore(method, content, folder, weights)
    except (UserError, NotRun):
        raise
    except Exception as error:  # what fits neither the code nor the packages of today, by library
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{folder} does not fit the code or the packages that are here now ({said}); {_AGAIN}"
        ) from error


def _compare(folder: Path, files: dict[str, str]) -> None:
    """Raise UserError at a file that is missing or is not what was saved."""
    found = sums(folder)
    for name, total in files.items():
        if found.get(name) != total:
            fault = "is damaged" if name in found else "is missing"
            raise UserError(f"{folder / name} {fault}; {_AGAIN}")


def _restore(method: Any, content: dict[str, Any], folder: Path, weights: Path | None) -> Method:
    """Give a method what it had learned."""
    vars(method).update(content["learned"])
    if weights is not None and "weights_" in content["learned"]:
        method.weights_ = str(weights)
    for name, stored in content["kinds"].items():
        if stored not in ("json", "torch"):
            setattr(method, name, _LOAD[stored](folder / f"{name}{_SUFFIX[stored]}"))
    if "torch" in content["kinds"].values():
        method.build_network()
    for name in (name for name, stored in content["kinds"].items() if stored == "torch"):
        _fill_torch(getattr(method, name), folder / f"{name}{_SUFFIX['torch']}")
    return cast(Method, method)


def _kind(name: str, value: Any) -> str:
    """Return how a learned value is stored."""
    if isinstance(value, np.ndarray):
        return "array"
    for kind, package, attribute in (
        ("torch", "torch.nn", "Module"),
        ("booster", "lightgbm", "Booster"),
        ("estimator", "sklearn.base", "BaseEstimator"),
    ):
        if package in sys.modules and isinstance(value, getattr(sys.modules[package], attribute)):
            return kind
    try:
        json.dumps(value, default=_plain)
    except TypeError as error:
        raise TypeError(f"learned attribute '{name}' is of no kind that can be stored safely: {error}") from error
    return "json"


def _plain(value: Any) -> Any:
    """Turn NumPy numbers and paths into what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(type(value).__name__)


def _save_estimator(value: Any, path: Path) -> None:
    import skops.io

    skops.io.dump(value, path)


def _load_estimator(path: Path) -> Any:
    import skops.io

    unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
    if unknown:
        raise UserError(f"{path} holds types that are not trusted: {', '.join(sorted(unknown))}")
    return skops.io.load(path, trusted=list(TRUSTED))


def _save_torch(value: Any, path: Path) -> None:
    from safetensors.torch import save_file

    state = value.state_dict()
    frozen = {name for name, parameter in value.named_parameters() if not parameter.requires_grad}
    save_file({name: tensor.contiguous() for name, tensor in state.items() if name not in frozen}, path)


def _fill_torch(network: Any, path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(path)
    needed = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if needed - set(state):
        raise UserError(f"{path} lacks tensors of this network: {', '.join(sorted(needed - set(state))[:3])}")
    found = network.load_state_dict(state, strict=False)
    if found.unexpected_keys:
        raise UserError(f"{path} holds tensors of another network: {', '.join(found.unexpected_keys[:3])}")
    network.eval()


def _load_booster(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=str(path))


_SUFFIX = {"array": ".npy", "booster": ".txt", "estimator": ".skops", "torch": ".safetensors"}
_SAVE: dict[str, Callable[[Any, Path], None]] = {
    "array": lambda value, path: np.save(path, value, allow_pickle=False),
    "booster": lambda value, path: value.save_model(str(path)),
    "estimator": _save_estimator,
    "torch": _save_torch,
}
_LOAD: dict[str, Callable[[Path], Any]] = {
    "array": lambda path: np.load(path, allow_pickle=False),
    "booster": _load_booster,
    "estimator": _load_estimator,
}
