"""How long a product takes to become patches, and how much memory, beside satpy's plain reading of the same bands.

Run from the root of the repository: `python -m benchmarks.products_to_patches PRODUCT [BANDS] [SIZE] [LABEL]`.
Each of the two runs in a process of its own that has imported everything before the clock starts.
"""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmark import patchset
from benchmark.sources import Request
from datasets import slstr

BANDS = "S1,S2,S3,S4,S5,S6,S7,S8,S9"


def patches(product, bands, size, label):
    from datasets import _granule_tiles, _slstr_labels, _slstr_reader  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        options = {"bands": bands, "split": "block", "label": label}
        request = Request((product,), Path(folder) / "patches.zarr", size=size, options=options)
        start = time.perf_counter()
        slstr.SOURCE.make(request, lambda done, total: None)
        seconds = time.perf_counter() - start
        ds = patchset.open_store(request.store)
        return seconds, peak(), ds.sizes["patch"]


def satpy_only(product, bands):
    import dask
    from satpy import Scene

    start = time.perf_counter()
    patterns = [*(f"{band}_[rB]*_?n.nc" for band in bands.split(",")), "geodetic_?n.nc"]
    files = [path for pattern in patterns for path in product.glob(pattern)]
    scene = Scene(reader="slstr_l1b", filenames=list(map(str, files)))
    scene.load(bands.split(","))
    values = dask.compute(*(scene[name].data for name in bands.split(",")))
    return time.perf_counter() - start, peak(), sum(array.size for array in values)


def peak():
    """Return the largest resident memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def alone(function, *values):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *values).result()


def main():
    given, defaults = sys.argv[1:], ("PRODUCT", BANDS, "224", "summary_cloud")
    product, bands, size, label = (*given, *defaults[len(given) :])
    product = Path(product).resolve()
    seconds, memory, count = alone(patches, product, bands, int(size), label)
    print(f"patches: {count} of {size}x{size} in {seconds:.1f} s, {memory:.2f} GB")
    plain, plain_memory, pixels = alone(satpy_only, product, bands)
    print(f"satpy:   {pixels / 1e6:.0f} million values in {plain:.1f} s, {plain_memory:.2f} GB")
    print(
        f"rate {pixels / seconds / 1e6:.1f} million values a second; {seconds / plain:.2f} times as long as satpy alone"
    )


if __name__ == "__main__":
    main()
