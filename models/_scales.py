"""What the input of a backbone is standardised with, and a gate against data in another unit."""

from __future__ import annotations

import numpy as np

from benchmark.api import Band, Context, Images, UserError
from models import _train
from models._encoder import Statistics

KINDS = ("own", "train")
PATCHES = 32  # enough for a percentile, and read in a second
TOO_BRIGHT, TOO_DARK, DARK_WITHOUT_VISIBLE = 8.0, 0.04, 0.001  # times what the backbone declares
VISIBLE = 0.7  # um; below, the air alone scatters some per cent back
KELVIN = (150.0, 350.0)  # brightness temperatures of the Earth
FACTORS = {
    100: "percent",
    10_000: "a fraction times 10,000",
    0.01: "a fraction over 100",
    1e-4: "a fraction over 10,000",
}


def choose(own: Statistics | None, images: Images, kind: str) -> dict[str, list[float]]:
    """Return mean and std of each band as keywords of `_train.Scale`.

    Args:
        own: what the backbone declares.
        images: the training patches.
        kind: "own" for what the backbone declares, and for a band it declares nothing of that of these images;
            "train" for that of these images.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of statistics: {kind}")
    if own is None or kind == "train":
        mean, std = _train.band_statistics(images)
        return {"mean": mean, "std": std}
    found = [own.mean, own.std]
    if np.isnan(found).any():
        found = np.where(np.isnan(found).any(axis=0), _train.band_statistics(images), found).tolist()
    return {"mean": list(found[0]), "std": list(found[1])}


def on_record(own: Statistics | None, images: Images, kind: str, ctx: Context) -> dict[str, list[float]]:
    """Return what `choose` does, with what it is put on record.

    Raises:
        UserError: the images have another scale than the backbone declares.
    """
    gate(images, own)
    chosen = choose(own, images, kind)
    known = np.isfinite(own.mean) if own and kind == "own" else np.zeros(1)
    ctx.fact("input scale", "own" if known.all() else "own, of unknown bands train" if known.any() else "train")
    ctx.fact("input mean", chosen["mean"])
    ctx.fact("input std", chosen["std"])
    return chosen


def gate(images: Images, own: Statistics | None) -> None:
    """Refuse images in another unit than the backbone's statistics are in.

    Compared are percentiles of a band with the backbone's mean and deviation, over patches evenly spread. Factors of
    100 and more must be told from the weather: where the backbone knows reflectance, the 99th percentile of blue or
    green over clear ocean is 0.1 to 0.3 times mean + deviation, and that of snow or thick cloud 1 to 5 times. So in
    the brightest band 0.04 to 8 times is taken for a fraction. The brightest decides because a band in the shortwave
    infrared is near 0 over clear ocean in any unit; where none is visible, 0.001 times is enough. Too much is thus
    seen in any band, too little in all of them together. Where the backbone knows kelvin, the median must be 0.5 to 2
    times its mean.

    Args:
        images: the training patches.
        own: what the backbone declares; nothing is compared where it declares nothing.

    Raises:
        UserError: the unit is another one.
    """
    if own is None:
        return
    toa = images.read(np.unique(np.linspace(0, len(images) - 1, PATCHES).astype(int)))
    bright = []
    for band, values, mean, std in zip(images.bands, toa.swapaxes(0, 1), own.mean, own.std, strict=True):
        values = values[np.isfinite(values)]
        if not values.size or np.isnan(mean):
            continue
        low, middle, high = np.percentile(values, [1, 50, 99]).tolist()
        if mean > KELVIN[0]:
            _check_kelvin(band, middle, mean)
        else:
            bright.append((high / (abs(mean) + std), high, low > KELVIN[0] and high < KELVIN[1], band))
    if bright:
        _check_reflectance(bright)


def _check_reflectance(bright: list[tuple[float, float, bool, Band]]) -> None:
    """Judge the bands by the one that is brightest beside what the backbone knows."""
    ratio, high, kelvin, band = max(bright, key=lambda one: one[0])
    visible = any(one[-1].wavelength < VISIBLE for one in bright)
    if (TOO_DARK if visible else DARK_WITHOUT_VISIBLE) <= ratio <= TOO_BRIGHT:
        return
    nearest = min(FACTORS, key=lambda factor: abs(np.log(max(ratio, 1e-9) / factor)))
    raise UserError(
        f"band {band.name} reaches {high:.3g} where the backbone knows about {high / ratio:.2g}: it looks like "
        f"{'kelvin' if kelvin else FACTORS[nearest]} and must be a fraction"
    )


def _check_kelvin(band: Band, middle: float, declared: float) -> None:
    if 0.5 <= middle / declared <= 2:
        return
    likely = "degrees Celsius" if 2 < abs(middle) < 100 else "a fraction" if abs(middle) <= 2 else "scaled kelvin"
    raise UserError(
        f"band {band.name} has a median of {middle:.3g} where the backbone knows about {declared:.3g}: it looks like "
        f"{likely} and must be kelvin"
    )
