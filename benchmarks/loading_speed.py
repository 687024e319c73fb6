"""Samples per second of reading patches: Zarr, memory-mapped arrays, and the machine's own copy.

Run from the root of the project: `python -m benchmarks.loading_speed [patches] [size]`. Data are random, read in
shuffled batches of 8 as a training loop does, and lie in the page cache; best of 3 passes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmark import patchset
from benchmark.api import HLS_ROLES, REFLECTANCE, ROLES, Band

BATCH, PASSES = 8, 3
ATTRS = {"sensor": "random", "label_source": "random", "label_bands": [], "licence": "none"}


def write(store: Path, patches: int, size: int) -> float:
    rng = np.random.default_rng(0)
    bands = [Band(role, role, ROLES[role], REFLECTANCE) for role in HLS_ROLES]
    toa = rng.random((patches, len(bands), size, size), np.float32)
    mask = (toa[:, 0] > 0.5).astype(np.uint8)
    start = time.perf_counter()
    with patchset.PatchWriter(store, bands, ATTRS) as writer:
        for row in range(patches):
            writer.append([f"p{row}"], f"s{row}", toa[row : row + 1], mask[row : row + 1])
    return patches / (time.perf_counter() - start)


def rate(read: Callable[[np.ndarray], object], patches: int) -> float:
    """Return samples per second of the fastest pass."""
    order = np.random.default_rng(1).permutation(patches)
    batches = [order[start : start + BATCH] for start in range(0, patches, BATCH)]
    seconds = []
    for _ in range(PASSES):
        start = time.perf_counter()
        for batch in batches:
            read(batch)
        seconds.append(time.perf_counter() - start)
    return patches / min(seconds)


def main(patches: int = 128, size: int = 224) -> None:
    with TemporaryDirectory() as folder:
        store = Path(folder) / "random.zarr"
        writing = write(store, patches, size)
        ds = patchset.open_store(store)
        start = time.perf_counter()
        arrays = patchset.arrays(store)
        building = patches / (time.perf_counter() - start)
        part = patchset.part(arrays, np.arange(patches), range(len(arrays.bands)))
        memory = np.array(arrays.toa)
        target = np.empty((BATCH, *memory.shape[1:]), np.float32)
        rates = {
            "writing (checks, hashes, Zarr)": writing,
            "Zarr to arrays, once": building,
            "Zarr through xarray": rate(lambda rows: (ds.toa[rows].values, ds.mask[rows].values), patches),
            "Images.read and masks": rate(lambda rows: (part.images.read(rows), part.masks(rows)), patches),
            "copy in memory (limit)": rate(lambda rows: memory.take(rows, 0, target[: len(rows)], "clip"), patches),
        }
        ratio = rates["Images.read and masks"] / rates["Zarr through xarray"]
        share = rates["Images.read and masks"] / rates["copy in memory (limit)"]
        for name, value in rates.items():
            print(f"{name:32s} {value:8.0f} samples/s")
        print(f"memory-mapped / Zarr {ratio:.1f}, memory-mapped / limit {share:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
