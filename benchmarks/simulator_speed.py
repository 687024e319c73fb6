"""How long simulated patches take: one process for the scenes, then `make` on all cores, by processes and by Dask.

Run from the root of the repository: `python -m benchmarks.simulator_speed [patches] [size]`.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmark import cluster
from benchmark.sources import Request
from datasets import simulated
from datasets.simulator import scene


def one_process(scenes, size):
    scene.simulate(0, 0, 0, 32)
    start = time.perf_counter()
    for number in range(scenes):
        scene.simulate(0, 0, number, size)
    return (time.perf_counter() - start) / (scenes * scene.PATCHES)


def whole_set(patches, size, spread=None):
    """Return the seconds of all, and those until the first scene is there: processes have started and imported."""
    with tempfile.TemporaryDirectory() as folder:
        counts = {"train": patches - 2 * (patches // 5), "val": patches // 5, "test": patches // 5}
        request = Request((), Path(folder) / "simulated.zarr", counts, size, spread=spread)
        told, start = [], time.perf_counter()
        simulated.SOURCE.make(request, lambda done, total: told.append(time.perf_counter() - start))
        return time.perf_counter() - start, told[0]


def main():
    patches = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 224
    print(f"one process: {one_process(18, size):.2f} s a patch of {size}x{size} pixels (each regime once)")
    ways = {"processes": None, "--scheduler local": cluster.spread(cluster.LOCAL, print)}
    found = {name: whole_set(patches, size, spread) for name, spread in ways.items()}
    for name, (seconds, first) in found.items():
        print(
            f"make, {os.cpu_count()} cores, {name}: {patches} patches in {seconds:.1f} s, the first after {first:.1f} s"
        )
    (here, first), (there, later) = found.values()
    print(f"Dask takes {there / here:.2f} times as long, {(there - later) / (here - first):.2f} after the first scene")
    peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"peak memory: {peak[0]:.0f} MiB here, {peak[1]:.0f} MiB in the largest worker")


if __name__ == "__main__":
    main()
