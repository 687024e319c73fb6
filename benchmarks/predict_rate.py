"""Rate of masks of whole products, and where its time goes: python -m benchmarks.predict_rate FOLDER PRODUCT [device].

FOLDER is that of a run. For boosted trees also LightGBM's own Booster.predict on the same pixels, whose features are
in memory already.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from baselines import _pixels
from benchmark.api import Images
from benchmark.masks import predict, trained

STRIPE, ROUNDS = 256, 2


def booster_seconds(model, ds):
    """Return valid pixels and seconds inside Booster.predict, a stripe of rows at a time."""
    pixels, seconds = 0, 0.0
    unknown = np.full(1, np.nan)
    for begin in range(0, ds.sizes["y"], STRIPE):
        toa = ds["toa"].isel(y=slice(begin, begin + STRIPE)).values
        toa = np.where(np.isnan(toa).any(axis=0), np.float32(np.nan), toa)
        channels = tuple(range(len(toa)))
        time = np.full(1, np.datetime64("NaT", "s"))
        images = Images([toa], model.bands, channels, np.arange(1), time, unknown, unknown, unknown, {}, "")
        values = _pixels.read(images, slice(0, 1), model.method.context).values
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            start = perf_counter()
            model.method.booster_.predict(values)
            seconds += perf_counter() - start
            pixels += len(values)
    return pixels, seconds


def main(folder, product, device="cpu"):
    with TemporaryDirectory() as out:
        model = trained.load(Path(folder), device, None, Path(out) / "weights.json")
        ds = predict.open_product(model, Path(product))
        runs = [predict.predict(model, ds, Path(out), True, lambda done, total: None) for _ in range(ROUNDS)]
        best = min(runs, key=lambda run: run.seconds["all"])
    whole, inside = best.seconds["all"], best.seconds["method"]
    rate = best.valid / whole / 1e6
    print(f"{model.row.name}: {best.pixels / 1e6:.2f} Mpixel, {best.valid / best.pixels:.0%} valid, {whole:.2f} s")
    print(f"end to end {rate:.3f} valid Mpixel/s; {1 - inside / whole:.1%} of the time outside the method")
    if hasattr(model.method, "booster_"):
        pixels, seconds = booster_seconds(model, ds)
        alone = pixels / seconds / 1e6
        print(f"Booster.predict alone {alone:.3f} Mpixel/s; end to end is {rate / alone:.2f} times that")


if __name__ == "__main__":
    main(*sys.argv[1:])
