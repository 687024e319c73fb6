"""Names and times of patches that are cut from granules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

NATIVE = "native"  # what the grid of a product itself is called, among the grids that it can be mapped to


def frame(attrs: Mapping[str, Any]) -> str:
    """Return what names a frame in few letters, the same for a product that was made again: orbit and start."""
    start = np.datetime64(attrs["start_time"].removesuffix("Z"), "s").item()
    return f"{attrs['orbit']}-{start:%Y%m%dT%H%M%S}"


def block(attrs: Mapping[str, Any], row: int, column: int, side: int) -> str:
    """Return the name of the block of `side` rows and columns that a pixel lies in."""
    return f"{frame(attrs)}-{row // side}-{column // side}"


def time(attrs: Mapping[str, Any], share: float) -> np.datetime64:
    """Return the time (UTC) at a share of the way from the first row to the last."""
    start, stop = (np.datetime64(attrs[name].removesuffix("Z"), "us") for name in ("start_time", "stop_time"))
    passed = np.timedelta64(round(share * int((stop - start) / np.timedelta64(1, "us"))), "us")
    return (start + passed).astype("datetime64[s]")
