"""Whether the features of a fitted method still tell one image from another, as two numbers for the record."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np

from benchmark.api import Context, Images

PATCHES = 4  # encoded once more
RANK, SPREAD = "feature rank", "feature spread"


def facts(method: Any, images: Images, ctx: Context) -> dict[str, Any]:
    """Return rank and spread of the features of some patches by name; nothing for a method without `embed`.

    What goes wrong becomes a fact: a fit that has ended well stands without this.

    Args:
        method: fitted.
        images: the training patches.
        ctx: as the method had it.
    """
    if not hasattr(method, "embed") or len(images) < 2:
        return {}
    few = np.unique(np.linspace(0, len(images) - 1, PATCHES).astype(int))
    try:
        return health(method.embed(images.take(few), ctx))
    except Exception as error:
        traceback.print_exc()
        return {RANK: f"failed: {type(error).__name__}: {error}"}


def health(features: np.ndarray) -> dict[str, float]:
    """Return effective rank and spread of features (n, rows, columns, channels) of different patches.

    Both are of what differs between patches at the same place, as a position encoding makes features of one patch
    differ whatever the image. The effective rank is exp of the entropy of the singular values as shares (Roy and
    Vetterli 2007, EUSIPCO): from 1 to the number of channels, and 0 where nothing differs. The spread is the median
    over channels of the standard deviation as a share of the root mean square; that of channels, because in
    transformers a few dwarf all others.
    """
    values = np.asarray(features, np.float64).reshape(len(features), -1, features.shape[-1])
    apart = (values - values.mean(0)).reshape(-1, values.shape[-1])
    size = np.sqrt(np.mean(values**2, axis=(0, 1)))
    ratio = np.sqrt(np.mean(apart**2, axis=0)) / np.where(size > 0, size, 1)
    singular = np.linalg.svd(apart, compute_uv=False)
    share = singular[singular > 0] / max(singular.sum(), np.finfo(float).tiny)
    rank = float(np.exp(-np.sum(share * np.log(share)))) if len(share) else 0.0
    return {RANK: round(rank, 3), SPREAD: float(f"{np.median(ratio):.4g}")}
