"""Is a mask smoothed? Its power by scale over that of the truth, from sums a patch.

Both masks (cloud 1, clear 0) lose their mean, are multiplied with a window and transformed; |F|^2 is summed over rings
of wavenumber, an octave each, up to the Nyquist wavenumber of the axes: the corners beyond have no full ring. The ratio
of the sums is 1 for equal masks, below 1 at scales that the prediction lacks ("overly smoothed" as a number), above 1
where it is rougher than the truth.

The window is a Hann window, as patches are not periodic, and 0 where there is no truth. Prediction and truth have the
same window, so gaps leak the same share of large scales into small ones on both sides: they draw the ratio towards that
of the large scales, by 0.02 to 0.03 with a tenth of the pixels missing in blobs and the ratio at 0.35.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmark.api import CLOUD, IGNORE

OCTAVES = ("2-4", "4-8", "8-16", "16-32", "32-64")  # wavelengths in pixels; a shorter one belongs to its octave
FIELDS = ("predicted", "true")  # power of a patch, in pixels squared
SCORES = tuple(f"power_ratio_{octave}" for octave in OCTAVES)
FINEST = SCORES[0]
_DIGITS = 6  # significant ones that records keep


def sums(cloud: np.ndarray, mask: np.ndarray) -> dict[str, list[list[float]]]:
    """Return FIELDS of each patch by octave; octaves longer than a patch are left out.

    Args:
        cloud: (n, y, x) bool, the prediction.
        mask: (n, y, x) uint8 of CLEAR, CLOUD or IGNORE.
    """
    powers = [
        np.stack([_power(field, truth != IGNORE) for field in (one, truth == CLOUD)])
        for one, truth in zip(cloud, mask, strict=True)
    ]
    fits = [octave for octave in OCTAVES if _longest(octave) <= min(mask.shape[1:])]
    return {octave: [[_short(value) for value in power[:, place]] for power in powers] for place, octave in
            enumerate(fits)}  # fmt: skip


def _longest(octave: str) -> int:
    return int(octave.split("-")[1])


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _power(field: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the power of one patch in each octave, (len(OCTAVES),)."""
    hann, ring, weight = _rings(*field.shape)
    window = hann * known
    total = window.sum()
    if not total:
        return np.zeros(len(OCTAVES))
    waves = np.fft.rfft2(window * (field - np.float32((window * field).sum() / total)))
    power = weight * (waves.real**2 + waves.imag**2)
    return np.bincount(ring.ravel(), power.ravel(), len(OCTAVES) + 1)[:-1]


@cache
def _rings(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Hann window (y, x), and of each term of `rfft2` its octave and how often the full transform has it."""
    window = np.outer(*(np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in (rows, columns)))
    x = np.fft.rfftfreq(columns)[None, :]
    wavenumber = np.hypot(np.fft.fftfreq(rows)[:, None], x)
    limits = [1 / _longest(octave) for octave in OCTAVES][::-1]
    place = np.digitize(wavenumber, [*limits, 0.5], right=True)  # 0: longer than all octaves
    octave = np.where((place > 0) & (place <= len(OCTAVES)), len(OCTAVES) - place, len(OCTAVES))
    weight = np.where((x == 0) | (x == 0.5), 1, 2).astype(np.float32)
    return window.astype(np.float32), octave, weight


def scores(sums: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, np.ndarray]:
    """Return SCORES of summed powers {octave: (..., FIELDS)}, each (...); NaN where the truth has no power."""
    found = {octave: np.asarray(each, np.float64) for octave, each in sums.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = {f"power_ratio_{octave}": each[..., 0] / each[..., 1] for octave, each in found.items()}
    return {name: np.where(np.isinf(ratio), np.nan, ratio) for name, ratio in ratios.items()}
