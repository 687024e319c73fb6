"""Whole products piece by piece: stripes with a halo for per-pixel methods, blended tiles for networks.

Either way a few rows are in memory, however many the product has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from benchmark.api import IGNORE

Block = dict[str, np.ndarray]  # by name, the last two axes along and across the track
PIXELS = 400_000  # in a stripe: enough to keep every core busy, little enough for memory


@dataclass(frozen=True)
class Tile:
    """A piece of a product: its first row and column, and its values."""

    top: int
    left: int
    values: Block

    @property
    def blank(self) -> bool:
        """Whether no pixel is valid; one that is not is NaN in every band."""
        return bool(np.isnan(self.values["toa"][0]).all())


@dataclass(frozen=True)
class Stripe:
    """Rows that are done: the first of them, their cloud probability (y, x) float32, and what was read of them."""

    begin: int
    probability: np.ndarray
    values: Block


Predict = Callable[[Sequence[Tile]], np.ndarray]


class Window:
    """Rows of a product, each read once and one block ahead of what was asked for.

    Args:
        read: (begin, end) -> these rows.
        height: rows of the product.
        step: rows to read at once.
        reader: what runs `read`; one thread, if the files may not be touched by two.
    """

    def __init__(self, read: Callable[[int, int], Block], height: int, step: int, reader: Executor) -> None:
        self._read, self._height, self._step, self._reader = read, height, step, reader
        self._kept: list[tuple[int, Block]] = []
        self._end = 0
        self._coming = self._start()

    def take(self, top: int, bottom: int) -> Block:
        """Return rows from `top` to before `bottom`; rows above `top` cannot be asked for again."""
        self._kept = [(begin, block) for begin, block in self._kept if begin + _rows(block) > top]
        while self._end < bottom:
            assert self._coming is not None, "rows beyond the last were asked for"
            block = self._coming.result()
            self._kept.append((self._end, block))
            self._end += _rows(block)
            self._coming = self._start()
        pieces = [_cut(block, slice(max(top - begin, 0), bottom - begin)) for begin, block in self._kept]
        pieces = [piece for piece in pieces if _rows(piece)]
        if len(pieces) == 1:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces], axis=-2) for name in pieces[0]}

    def _start(self) -> Future[Block] | None:
        """Begin to read the next rows, if there are any."""
        if self._end >= self._height:
            return None
        return self._reader.submit(self._read, self._end, min(self._end + self._step, self._height))


def sweep(
    window: Window, shape: tuple[int, int], reach: int | None, size: tuple[int, int], batch: int, predict: Predict
) -> Iterator[Stripe]:
    """Predict a product from its first row to its last.

    Args:
        window: its rows.
        shape: its rows and columns.
        reach: pixels on each side that a pixel's probability depends on: stripes then give what the whole image would;
            None where it depends on the whole patch: tiles then overlap by a quarter and are blended.
        size: rows and columns of such a tile.
        batch: tiles that `predict` gets at once.
        predict: tiles of one size -> probability (n, y, x).
    """
    if reach is not None:
        return by_stripe(window, shape, reach, max(1, PIXELS // shape[1]), predict)
    return by_tile(window, shape, size, batch, predict)


def by_stripe(window: Window, shape: tuple[int, int], reach: int, rows: int, predict: Predict) -> Iterator[Stripe]:
    """Predict stripes of `rows` rows with `reach` more on either side, which are then cut off."""
    for begin in range(0, shape[0], rows):
        end = min(begin + rows, shape[0])
        top, bottom = max(begin - reach, 0), min(end + reach, shape[0])
        tile = Tile(top, 0, window.take(top, bottom))
        inner = slice(begin - top, end - top)
        probability = np.zeros((bottom - top, shape[1]), np.float32) if tile.blank else predict([tile])[0]
        yield Stripe(begin, probability[inner], _cut(tile.values, inner))


def by_tile(
    window: Window, shape: tuple[int, int], size: tuple[int, int], batch: int, predict: Predict
) -> Iterator[Stripe]:
    """Predict tiles of `size`, blended where they overlap; tiles without a valid pixel are left out."""
    (tops, down), (lefts, across) = blend(shape[0], size[0]), blend(shape[1], size[1])
    total = np.zeros((min(size[0], shape[0]), shape[1]), np.float32)
    for place, top in enumerate(tops):
        block = window.take(top, top + len(total))
        tiles = [Tile(top, left, _fit(_columns(block, left, size[1]), size)) for left in lefts]
        seen = [column for column, tile in enumerate(tiles) if not tile.blank]
        for chosen in (seen[start : start + batch] for start in range(0, len(seen), batch)):
            for column, probability in zip(chosen, predict([tiles[column] for column in chosen]), strict=True):
                weight = down[place][:, None] * across[column]
                part = total[:, lefts[column] : lefts[column] + size[1]]
                part += probability[: weight.shape[0], : weight.shape[1]] * weight
        done = (tops[place + 1] if place + 1 < len(tops) else shape[0]) - top
        yield Stripe(top, total[:done], _cut(block, slice(0, done)))
        total = np.concatenate([total[done:], np.zeros_like(total[:done])])


def blend(length: int, size: int) -> tuple[list[int], np.ndarray]:
    """Return where tiles begin along an axis, and their weights (tiles, min(size, length)) float32.

    Tiles overlap by a quarter, the last more, so that it ends with the axis. Every weight is positive, rises and falls
    over the overlap as a squared sine, and at each pixel all weights add up to one.
    """
    covered, overlap = min(size, length), size // 4
    last = length - covered
    starts = [*range(0, last, size - overlap), last]
    from_edge = np.minimum(np.arange(covered), np.arange(covered)[::-1]) + 0.5
    window = np.sin(np.pi / 2 * np.minimum(from_edge / max(overlap, 1), 1)) ** 2
    total = np.zeros(length)
    for start in starts:
        total[start : start + covered] += window
    weights = np.stack([window / total[start : start + covered] for start in starts])
    return starts, weights.astype(np.float32)


def _rows(block: Block) -> int:
    return int(next(iter(block.values())).shape[-2])


def _cut(block: Block, rows: slice) -> Block:
    return {name: values[..., rows, :] for name, values in block.items()}


def _columns(block: Block, left: int, width: int) -> Block:
    return {name: values[..., left : left + width] for name, values in block.items()}


def _fit(block: Block, size: tuple[int, int]) -> Block:
    """Fill a block up to a size with what is not known: NaN, or 255 in maps."""
    rows, columns = next(iter(block.values())).shape[-2:]
    if (rows, columns) == size:
        return block
    more = ((0, size[0] - rows), (0, size[1] - columns))
    return {
        name: np.pad(
            values,
            ((0, 0),) * (values.ndim - 2) + more,
            constant_values=np.nan if values.dtype.kind == "f" else IGNORE,
        )
        for name, values in block.items()
    }
