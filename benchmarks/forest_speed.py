"""Time fit and predict of the tree methods on 200,000 pixels: python -m benchmarks.forest_speed."""

from importlib import import_module
from time import perf_counter

import numpy as np

from baselines.boosted_trees import BoostedTrees
from baselines.random_forest import RandomForest
from benchmark.api import HLS_ROLES, REFLECTANCE, ROLES, Band, Context, Images, Part

SIZE, PATCHES = 224, 4  # 200,704 pixels


def make_part(seed):
    """Return patches of smooth noise whose cloud depends on two bands, with 5 % wrong labels."""
    generator = np.random.default_rng(seed)
    toa = generator.beta(2, 3, (PATCHES, len(HLS_ROLES), SIZE, SIZE)).astype(np.float32)
    cloud = (toa[:, 0] + 0.5 * toa[:, 4] > 0.6) ^ (generator.random((PATCHES, SIZE, SIZE)) < 0.05)
    bands = tuple(Band(role, role, ROLES[role], REFLECTANCE) for role in HLS_ROLES)
    unknown = np.full(PATCHES, np.nan)
    time = np.full(PATCHES, np.datetime64("NaT", "s"))
    order = np.arange(PATCHES)
    images = Images(toa, bands, tuple(range(len(bands))), order, time, unknown, unknown, unknown, {}, str(seed))
    return Part(images, cloud.astype(np.uint8), tuple(map(str, order)))


def seconds(call):
    start = perf_counter()
    call()
    return perf_counter() - start


def main():
    for need in ("sklearn.ensemble", "sklearnex.ensemble", "lightgbm"):
        import_module(need)
    train, val, context = make_part(0), make_part(1), Context()
    million = PATCHES * SIZE * SIZE / 1e6
    for name, method in (
        ("random-forest", RandomForest()),
        ("random-forest-intelex", RandomForest(intelex=True)),
        ("lightgbm", BoostedTrees()),
    ):
        fit = seconds(lambda method=method: method.fit(train, val, context))
        method.predict(val.images.take([0]), context)  # what is compiled or imported once is not timed
        predict = seconds(lambda method=method: method.predict(val.images, context))
        print(f"{name:22s} fit {fit:6.2f} s, {million / fit:.3f} Mpixel/s; predict {million / predict:.3f} Mpixel/s")


if __name__ == "__main__":
    main()
