"""Time LightGBM's predict against the compact forest, in turns: python -m benchmarks.lightgbm_predict [pixels]."""

import os
import sys
from time import perf_counter

import lightgbm
import numpy as np

from baselines import _pixels
from baselines._compact_forest import compact

TREES, LEAVES, TURNS = 200, 63, 5


def grow(features, generator):
    """Return a booster of full-grown trees on a smooth target with noise."""
    values = generator.beta(2, 3, (100_000, features)).astype(np.float32)
    cloud = (
        values @ generator.normal(size=features) + np.sin(9 * values).sum(1) + generator.normal(size=len(values)) > 1
    )
    params = {"objective": "binary", "num_leaves": LEAVES, "min_data_in_leaf": 20, "verbosity": -1, "seed": 1}
    return lightgbm.train(params, lightgbm.Dataset(values, cloud), TREES)


def seconds(call):
    """Return how long a call takes, and its answer."""
    start = perf_counter()
    answer = call()
    return perf_counter() - start, answer


def compare(features, pixels):
    """Print rates, their ratio and how far the answers lie apart."""
    generator = np.random.default_rng(0)
    booster = grow(features, generator)
    values = generator.beta(2, 3, (pixels, features)).astype(np.float32)
    values[generator.random(values.shape) < 0.01] = np.nan
    made, forest = seconds(lambda: compact(booster))
    first, _ = seconds(lambda: forest.predict(values[:1]))
    plain, fast = [], []
    for _ in range(TURNS):
        plain.append(seconds(lambda: booster.predict(values)))
        fast.append(seconds(lambda: _pixels.threaded(forest.predict, values)))
    rates = [pixels / min(spent for spent, _ in turns) / 1e6 for turns in (plain, fast)]
    apart = np.abs(plain[0][1] - fast[0][1]).max()
    print(
        f"{features} features: LightGBM {rates[0]:.3f}, compact {rates[1]:.3f} Mpixel/s, "
        f"ratio {rates[1] / rates[0]:.1f}, at most {apart:.1e} apart; made in {made:.2f} s, first call {first:.2f} s"
    )


def main():
    pixels = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    print(f"{TREES} trees of {LEAVES} leaves, {pixels} pixels, {os.cpu_count()} cores, best of {TURNS} turns")
    for features in (9, 5):
        compare(features, pixels)


if __name__ == "__main__":
    main()
