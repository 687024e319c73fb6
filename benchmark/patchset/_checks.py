"""Rules that every patch of a patch set obeys; each fault becomes one sentence that names patch, band and fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.api import BRIGHTNESS_TEMPERATURE, CLEAR, CLOUD, ELEVATION, IGNORE, REFLECTANCE, ROLES, Band, UserError

ATTRIBUTES = ("sensor", "label_source", "label_bands", "licence")
PATCH_COORDS = ("scene", "time", "lat", "lon", "sun_zenith")
BAND_COORDS = ("role", "wavelength", "quantity")
RESERVED = frozenset({"toa", "mask", "patch", "band", "y", "x", "sha256", *PATCH_COORDS, *BAND_COORDS})

# A typical value above 2 cannot be a fraction. Percent of the brightest cloud stays below 200, while reflectance times
# 10000 of the darkest scene's brightest band does not.
FRACTION_MEDIAN, PERCENT_MEDIAN = 2.0, 200.0
# Quantity -> what a valid pixel may hold; fill values lie beyond.
RANGES = {
    REFLECTANCE: (-1.0, 20.0),  # noise gives small negative values, division by cos(87 degrees) values near 20
    BRIGHTNESS_TEMPERATURE: (150.0, 550.0),  # K; the fire channel F1 of SLSTR goes on where the others saturate
    ELEVATION: (-600.0, 9000.0),  # m; the shore of the Dead Sea and Everest, either with 100 m to spare
}
ZERO_CELSIUS = 273.15


def check_attributes(attrs: Mapping[str, Any]) -> None:
    """Raise UserError unless `attrs` says where data and labels come from.

    `label_bands` lists the bands that the label derives from: an empty list if it is independent of all of them,
    None if that is not known.
    """
    missing = next((name for name in ATTRIBUTES if name not in attrs), None)
    if missing:
        raise UserError(f"the patch set has no attribute '{missing}'; it needs {', '.join(ATTRIBUTES)}")
    if not isinstance(attrs["label_bands"], list | tuple | None):
        raise UserError("attribute 'label_bands' must be a list of band names, or None where it is not known")


def check_bands(bands: Sequence[Band]) -> None:
    """Raise UserError unless names and roles are unique, and each band has a quantity and, if measured, wavelength."""
    if not bands:
        raise UserError("the patch set has no bands")
    for what in ("name", "role"):
        values = [getattr(band, what) for band in bands]
        if "" in values:
            raise UserError(f"band {values.index('') + 1} of the patch set has an empty {what}")
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice:
            raise UserError(f"two bands have the {what} '{twice}'")
    for band in bands:
        _check_band(band)
    if all(band.quantity == ELEVATION for band in bands):
        raise UserError("the patch set has no band that a sensor measured")


def _check_band(band: Band) -> None:
    if band.quantity not in RANGES:
        raise UserError(f"band '{band.name}' has quantity '{band.quantity}'; quantities are {', '.join(RANGES)}")
    if (band.quantity == ELEVATION) != (band.role == "ELEVATION"):
        raise UserError(f"band '{band.name}' is {band.quantity} and has role {band.role}; only elevation is ELEVATION")
    if band.wavelength > 0 or band.quantity == ELEVATION:
        return
    if band.role in ROLES:
        raise UserError(f"band '{band.name}' has no wavelength")
    raise UserError(
        f"band '{band.name}' has unknown role '{band.role}' and no wavelength; roles are {', '.join(ROLES)}"
    )


def check_ids(patch_ids: Sequence[str], known: Collection[str] = ()) -> None:
    """Raise UserError unless the ids are neither empty nor repeated, here or in `known`."""
    seen = set(known)
    for patch in patch_ids:
        if not patch:
            raise UserError("a patch has an empty id")
        if patch in seen:
            raise UserError(f"two patches have the id '{patch}'")
        seen.add(patch)


def check_shapes(toa: np.ndarray, mask: np.ndarray, bands: int, patches: int) -> None:
    """Raise UserError unless toa is (patch, band, y, x) float32 and mask (patch, y, x) uint8 of the same sizes."""
    for name, array, dtype in (("toa", toa, np.float32), ("mask", mask, np.uint8)):
        if array.dtype != dtype:
            raise UserError(f"{name} is {array.dtype}; it must be {np.dtype(dtype)}")
    if toa.ndim != 4 or toa.shape[0] != patches or 0 in toa.shape:
        raise UserError(f"toa has shape {toa.shape}; it must be (patch, band, y, x) of {patches} patches")
    if toa.shape[1] != bands:
        raise UserError(f"toa has {toa.shape[1]} bands, and the band table has {bands}")
    if mask.shape != (patches, *toa.shape[2:]):
        raise UserError(f"mask has shape {mask.shape}; toa of shape {toa.shape} needs {(patches, *toa.shape[2:])}")


def check_patch(patch: str, toa: np.ndarray, mask: np.ndarray, bands: Sequence[Band]) -> None:
    """Raise UserError unless toa (b, y, x) and mask (y, x) of one patch hold what the contract says."""
    counts = np.bincount(mask.ravel(), minlength=256)
    counts[[CLEAR, CLOUD, IGNORE]] = 0
    if counts.any():
        raise UserError(f"patch '{patch}' has label value {counts.argmax()}; labels are 0, 1 and 255")
    missing = np.isnan(toa)
    invalid = missing.any(axis=0)
    if invalid.all():
        raise UserError(f"patch '{patch}' has no valid pixel: every pixel is NaN in some band")
    _check_invalid(patch, missing, invalid, mask, bands)
    if (mask == IGNORE).all():
        raise UserError(f"patch '{patch}' has no labelled pixel: its valid pixels are all 255")
    _check_values(patch, toa[:, ~invalid], bands)


def _check_invalid(
    patch: str, missing: np.ndarray, invalid: np.ndarray, mask: np.ndarray, bands: Sequence[Band]
) -> None:
    partly = (missing != invalid).any(axis=(1, 2))
    if partly.any():
        band = bands[int(partly.argmax())].name
        raise UserError(f"patch '{patch}' has pixels that are NaN in other bands but not in band '{band}'")
    labelled = int((mask[invalid] != IGNORE).sum())
    if labelled:
        raise UserError(f"patch '{patch}' has labels on {labelled} pixels that are NaN; their label must be 255")


def _check_values(patch: str, pixels: np.ndarray, bands: Sequence[Band]) -> None:
    """Check the valid pixels (b, n) of a patch."""
    infinite = np.isinf(pixels).any(axis=1)
    if infinite.any():
        raise UserError(f"patch '{patch}', band '{bands[int(infinite.argmax())].name}', holds infinite values")
    medians = np.median(pixels, axis=1)
    _check_scale(patch, medians, bands)
    for band, values, median in zip(bands, pixels, medians, strict=True):
        low, high = RANGES[band.quantity]
        least, most = float(values.min()), float(values.max())
        if least < low or most > high:
            worst = least if least < low else most
            raise UserError(f"patch '{patch}', band '{band.name}', {_out_of_range(band, worst, float(median))}")


def _check_scale(patch: str, medians: np.ndarray, bands: Sequence[Band]) -> None:
    reflective = np.array([band.quantity == REFLECTANCE for band in bands])
    if not reflective.any():
        return
    # Dark bands prove nothing: the brightest band decides between percent and a factor of 10000.
    brightest = int(np.where(reflective, medians, -np.inf).argmax())
    median = float(medians[brightest])
    if median > FRACTION_MEDIAN:
        unit, scale = ("percent", "0.01") if median <= PERCENT_MEDIAN else ("a fraction times 10000", "0.0001")
        raise UserError(
            f"patch '{patch}', band '{bands[brightest].name}', has median reflectance {median:.4g}, which looks like "
            f"{unit}; reflectance must be a fraction (option scale={scale})"
        )


def _out_of_range(band: Band, value: float, median: float) -> str:
    if band.quantity == REFLECTANCE:
        return f"holds reflectance {value:.4g}, which looks like a fill value; invalid pixels must be NaN"
    low, high = RANGES[band.quantity]
    if band.quantity == ELEVATION:
        return f"holds elevation {value:.4g}, outside {low:.0f} to {high:.0f} m; invalid pixels must be NaN"
    text = f"holds brightness temperature {value:.4g}, outside {low:.0f} to {high:.0f} K"
    if low <= median <= high:
        return f"{text}, which looks like a fill value; invalid pixels must be NaN"
    celsius = low - ZERO_CELSIUS <= median <= high - ZERO_CELSIUS
    return f"{text}, which looks like {'Celsius' if celsius else 'a wrong scale'}; it must be in kelvin"


def check_stratum(name: str, values: np.ndarray, patches: int, shape: tuple[int, ...]) -> None:
    """Raise UserError unless a stratum is (patch, y, x) or (patch) of a plain type; `shape` is (y, x)."""
    if name in RESERVED:
        raise UserError(f"stratum '{name}' has the name of another variable of the patch set")
    if values.shape not in ((patches,), (patches, *shape)):
        raise UserError(f"stratum '{name}' has shape {values.shape}; it must be {(patches,)} or {(patches, *shape)}")
    if values.dtype.kind not in ("biufU" if values.ndim == 1 else "biuf"):
        raise UserError(f"stratum '{name}' has type {values.dtype}, which is neither a number nor, per patch, text")
    if name == "land":
        _check_land(values)


def _check_land(values: np.ndarray) -> None:
    if values.ndim != 3 or values.dtype != np.uint8:
        raise UserError(f"stratum 'land' must be uint8 for each pixel, and is {values.dtype} {values.shape}")
    counts = np.bincount(values.ravel(), minlength=256)
    counts[[0, 1, 255]] = 0
    if counts.any():
        raise UserError(f"stratum 'land' holds {counts.argmax()}; it must be 0 water, 1 land or 255 unknown")
