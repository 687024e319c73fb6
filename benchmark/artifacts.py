"""Fitted methods to safe files and back, by the type of what was learned; never pickle.

Plain values go to JSON, arrays to `.npy`, boosters to LightGBM's text, scikit-learn estimators to skops, torch modules
to safetensors (parameters that require gradients, and buffers: a frozen backbone is rebuilt, not stored).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Band, Method, UserError
from benchmark.record import write_json

FILE = "method.json"
# What a forest may be made of besides skops' own list; anything else in a file is refused.
TRUSTED = ("sklearn.tree._tree.Tree",)


def save(method: Method, folder: Path, bands: Sequence[Band] = (), size: Sequence[int] = ()) -> None:
    """Write hyperparameters and everything learned into `folder`.

    Args:
        method: the fitted method.
        folder: where its files go.
        bands: what it was trained on, in their order.
        size: rows and columns of the patches it was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learned = {name: value for name, value in vars(method).items() if name.endswith("_") and value is not None}
    kinds = {name: _kind(name, value) for name, value in learned.items()}
    plain = {name: learned[name] for name, kind in kinds.items() if kind == "json"}
    for name, kind in kinds.items():
        if kind != "json":
            _SAVE[kind](learned[name], folder / f"{name}{_SUFFIX[kind]}")
    content = {"method": type(method).__qualname__, "params": asdict(method), "kinds": kinds, "learned": plain}  # type: ignore[call-overload]
    content |= {"bands": [asdict(band) for band in bands], "size": list(size)}
    write_json(folder / FILE, json.loads(json.dumps(content, default=_plain)))


def inputs(folder: Path) -> tuple[tuple[Band, ...], tuple[int, int]]:
    """Return what the method in a folder was trained on: bands in their order, and rows and columns of a patch.

    Raises:
        UserError: the folder holds no method, or one that was kept without them.
    """
    content = _read(folder)
    if not content.get("bands") or not content.get("size"):
        raise UserError(f"{folder} was kept before models knew their bands; run its row again with --fresh")
    rows, columns = content["size"]
    return tuple(Band(**band) for band in content["bands"]), (rows, columns)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / FILE).read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no fitted method") from error


def load(kind: Callable[..., Method], folder: Path, weights: Path | None = None) -> Method:
    """Return the fitted method of class `kind` that `save` wrote.

    Args:
        kind: its class.
        folder: where its files are.
        weights: checkpoint that its frozen part comes from, where it is no longer at the place it was trained from.

    Raises:
        UserError: the folder holds no such method, or a file in it is damaged or not of a trusted kind.
    """
    content = _read(folder)
    method = kind(**content["params"])
    if content["method"] != type(method).__qualname__:
        raise UserError(f"{folder} holds a {content['method']}, not a {type(method).__qualname__}")
    vars(method).update(content["learned"])
    if weights is not None and "weights_" in content["learned"]:
        method.weights_ = str(weights)  # type: ignore[attr-defined]
    for name, stored in content["kinds"].items():
        if stored not in ("json", "torch"):
            setattr(method, name, _LOAD[stored](folder / f"{name}{_SUFFIX[stored]}"))
    if "torch" in content["kinds"].values():
        method.build_network()  # type: ignore[attr-defined]
    for name in (name for name, stored in content["kinds"].items() if stored == "torch"):
        _fill_torch(getattr(method, name), folder / f"{name}{_SUFFIX['torch']}")
    return method


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
