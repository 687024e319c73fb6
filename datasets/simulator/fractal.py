"""Random fields: Gaussian fields with a power-law spectrum, cellular patterns, and the step from both to clouds."""

from __future__ import annotations

import numpy as np

WIDEN = 1.2  # fields are periodic: they are made wider than asked and cut


def _fast_length(least: int) -> int:
    """Return the next length without prime factors above 5, which the FFT likes."""
    length = least
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def gaussian(
    rng: np.random.Generator,
    shape: tuple[int, int],
    exponent: float,
    outer: float = np.inf,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> np.ndarray:
    """Return a Gaussian field (y, x) float32 of mean 0 and standard deviation 1.

    Args:
        rng: source of the phases.
        shape: rows and columns.
        exponent: of the two-dimensional power spectrum k^-exponent; 8/3 gives one-dimensional slopes of -5/3.
        outer: scale in pixels beyond which the spectrum is flat.
        stretch: how many times longer structures are along `angle` than across.
        angle: of the long axis against the rows, radians.
    """
    rows, columns = (_fast_length(int(WIDEN * side) + 1) for side in shape)
    y = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(columns).astype(np.float32)[None]
    along = (np.cos(angle) * x + np.sin(angle) * y) * stretch
    across = np.cos(angle) * y - np.sin(angle) * x
    power = along**2 + across**2 + np.float32(outer**-2.0)
    power[0, 0] = np.inf
    waves = rng.standard_normal((rows, columns // 2 + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    field = np.fft.irfft2(waves * power ** np.float32(-exponent / 4), s=(rows, columns))[: shape[0], : shape[1]]
    return ((field - field.mean()) / field.std()).astype(np.float32)


def smooth(rng: np.random.Generator, shape: tuple[int, int], exponent: float, outer: float = np.inf) -> np.ndarray:
    """Return a field like `gaussian`, made at an eighth of the resolution: for spectra steep enough not to show it."""
    coarse = gaussian(rng, (shape[0] // 8 + 3, shape[1] // 8 + 3), exponent, outer / 8)
    return enlarge(coarse, 8, shape)


def enlarge(coarse: np.ndarray, factor: int, shape: tuple[int, int]) -> np.ndarray:
    """Return `coarse` enlarged linearly and cut to `shape`."""
    for axis, length in enumerate(shape):
        position = np.arange(length, dtype=np.float32) / factor
        low = position.astype(np.int32)
        share = (position - low).reshape((-1, 1) if axis == 0 else (1, -1))
        coarse = coarse.take(low, axis) * (1 - share) + coarse.take(low + 1, axis) * share
    return coarse


def cells(rng: np.random.Generator, shape: tuple[int, int], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return distances to the nearest and second nearest of scattered points, in units of their spacing.

    The borders between the points' territories bend: the pattern of convection cells, not of a drawing.
    """
    factor = 4 if spacing >= 24 else 1
    small = (shape[0] // factor + 2, shape[1] // factor + 2)
    bend = 0.2 * gaussian(rng, small, 4.5, outer=spacing / factor)
    y = (np.arange(small[0], dtype=np.float32)[:, None] * factor / np.float32(spacing)) + bend
    x = (np.arange(small[1], dtype=np.float32)[None] * factor / np.float32(spacing)) - bend
    points = rng.random((int(y.max()) + 8, int(x.max()) + 8, 2), dtype=np.float32)
    row, column = np.floor(y).astype(np.int32), np.floor(x).astype(np.int32)
    first, second = np.full(small, 9.0, np.float32), np.full(small, 9.0, np.float32)
    for near_row in (-1, 0, 1):
        for near_column in (-1, 0, 1):
            r, c = row + near_row, column + near_column
            point = points[r + 4, c + 4]
            distance = np.hypot(r + point[..., 0] - y, c + point[..., 1] - x)
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    return tuple(enlarge(value, factor, shape) for value in (first, second))  # type: ignore[return-value]


def broken(field: np.ndarray, cover: float, spread: float) -> np.ndarray:
    """Return a field that is zero outside the highest `cover` share and has mean 1 inside, with a lognormal tail.

    exp(spread (g - quantile)) - 1: close to max(g - quantile, 0) for small spread.
    """
    sample = field[::4, ::4]
    excess = np.maximum(field - np.float32(np.quantile(sample, 1 - cover)), 0)
    values = np.expm1(np.float32(spread) * excess)
    return values / max(float(values[values > 0].mean()), 1e-6)
