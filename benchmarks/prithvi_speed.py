"""Time a frozen training step the plain way and from kept features: python -m benchmarks.prithvi_speed [backbone]."""

import sys
from time import perf_counter

import numpy as np

from benchmark.api import Budget, Context
from models import _frozen, _prithvi, _train

ROLES = ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
SIZE, BATCH = (224, 224), 4


def best_of(repeats, call):
    """Return the shortest time of a call in seconds; the first call, which warms up, does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def build(name):
    backbone = _prithvi.build_backbone(name, ROLES, coordinates=False, seed=0, weights="")
    network = _prithvi.build_network(backbone, {"mean": [0.2] * 6, "std": [0.2] * 6}, dropout=0.1, seed=0)
    _prithvi.freeze(network, "frozen")
    return _train.place(network, "cpu")


def stepper(module, array, mask):
    """Return a call that takes one optimiser step."""
    optimiser = _train.make_optimiser(module, lr=1e-4, weight_decay=1e-2)
    _train.train_mode(module)
    return lambda: _train.step(module, optimiser, (array,), mask, "cpu")


def main(name="prithvi_eo_v2_300"):
    generator = np.random.default_rng(0)
    toa = generator.random((BATCH, len(ROLES), *SIZE), dtype=np.float32)
    mask = generator.integers(0, 2, (BATCH, *SIZE), dtype=np.uint8)
    start = perf_counter()
    network = build(name)
    print(f"build, random weights: {perf_counter() - start:.2f} s, {_train.count_parameters(network)}")
    start = perf_counter()
    checksum = _prithvi.checksum(network.model.encoder)
    print(f"checksum of the backbone: {perf_counter() - start:.2f} s")
    encoder = _frozen.FrozenEncoder(network, (checksum, ROLES, False), 0, Context(budget=Budget(batch=BATCH)))
    encode = best_of(2, lambda: encoder._encode((toa,)))
    features = encoder._encode((toa,))
    print(f"encode: {encode / BATCH:.3f} s/sample, {features[0].nbytes / 1e6:.2f} MB/sample")
    plain = best_of(2, stepper(network, toa, mask))
    print(f"training step, plain: {plain / BATCH:.3f} s/sample")
    kept = best_of(4, stepper(_frozen.Tail(network, SIZE), features, mask))
    print(f"training step, kept features: {kept / BATCH:.3f} s/sample, {plain / kept:.1f} times faster")


if __name__ == "__main__":
    main(*sys.argv[1:])
