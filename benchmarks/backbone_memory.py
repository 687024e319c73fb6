"""Time and memory of building a backbone from its checkpoint, beside TerraTorch's plain way.

Run from the root of the repository: `python -m benchmarks.backbone_memory [--backbone NAME]`. A checkpoint of random
weights with the hub's keys is written to a temporary folder first. Each way runs in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROLES = ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")


def resident(peak=False):
    """Return resident memory of this process in bytes, now or the most since `forget_peak`."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) * 1024


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def bands():
    from benchmark import api

    return [api.Band(role, role, api.ROLES[role], api.REFLECTANCE) for role in ROLES]


def write(name, path):
    import torch

    from models import _encoders

    encoder = _encoders.build(name, bands(), coordinates=False, seed=0, weights=None)
    torch.save({f"encoder.{key}": value for key, value in encoder.vit.state_dict().items()}, path)


def ours(name, path):
    from models import _encoders

    return lambda: _encoders.build(name, bands(), coordinates=False, seed=0, weights=Path(path))


def plain(name, path):
    from terratorch.registry import BACKBONE_REGISTRY

    return lambda: BACKBONE_REGISTRY.build(name, pretrained=True, ckpt_path=path, bands=list(ROLES), num_frames=1)


def measure(way, name, path):
    build = {"ours": ours, "plain": plain}[way](name, path)
    forget_peak()
    before, start = resident(), time.perf_counter()
    encoder = build()
    seconds = time.perf_counter() - start
    size = sum(parameter.nbytes for parameter in encoder.parameters())
    print(json.dumps({"seconds": seconds, "bytes": size, "peak": resident(peak=True) - before}))


def child(*words):
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.backbone_memory", "--child", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="prithvi_eo_v2_600")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        way, name, path = given.child
        return write(name, path) if way == "write" else measure(way, name, path)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights.pt")
        child("write", given.backbone, path)
        for way in ("plain", "ours"):
            found = json.loads(child(way, given.backbone, path).splitlines()[-1])
            times, size = found["peak"] / found["bytes"], found["bytes"] / 1e9
            print(f"{way:5s} {found['seconds']:6.2f} s, peak {times:.2f} times the {size:.2f} GB of parameters")


if __name__ == "__main__":
    main()
