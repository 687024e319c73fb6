"""One product cut into patches: a piece of work that can be done on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api import UserError
from datasets import _granule_names, _granule_tiles
from datasets._granule_tiles import Kind, Tiles

if TYPE_CHECKING:
    import xarray as xr

Open = Callable[[Path], "xr.Dataset"]


@dataclass(frozen=True)
class Order:
    """A product to cut.

    Attributes:
        product: its path.
        open: product -> granule with mask, see `benchmark.granule`.
        size, min_valid, grid: as in `datasets._granules`.
        files: path and bytes of what it is read from, where who cuts may see other ones than who asks.
    """

    product: Path
    open: Open
    size: int
    min_valid: float
    grid: str
    files: tuple[tuple[Path, int], ...] = ()


@dataclass(frozen=True)
class Opened:
    """What is known of a granule before its pixels are read."""

    kind: Kind
    attrs: Mapping[str, Any]
    rows: int
    columns: int


Piece = Opened | Tiles | None


def cut(order: Order) -> Iterator[Piece]:
    """Open a product on the grid that is wanted and cut it, without overlap from row 0 and column 0.

    Yields:
        What is known of it, then the tiles of each stripe of rows, None where none of a stripe is kept.

    Raises:
        UserError: a fault of the product.
    """
    ds = _open(order)
    rows, columns = ds.sizes["y"], ds.sizes["x"]
    yield Opened(_granule_tiles.kind(ds), ds.attrs, rows, columns)
    if min(rows, columns) < order.size:
        raise UserError(
            f"{ds.attrs['granule']} has {rows}x{columns} pixels, too few for patches of {order.size}x{order.size}"
        )
    for row in range(0, rows - order.size + 1, order.size):
        yield _granule_tiles.cut(ds, row, order.size, order.min_valid)


def _open(order: Order) -> xr.Dataset:
    try:
        ds = order.open(order.product)
        if order.grid == _granule_names.NATIVE:
            return ds
        from datasets import _map_grid

        return _map_grid.resample(ds, order.grid)
    except (OSError, RuntimeError) as error:  # netCDF4 raises either for a damaged chunk
        raise UserError(f"{order.product.name} cannot be read: {error}") from None


def whole(order: Order) -> list[Piece | UserError]:
    """Return all that `cut` yields, and last the fault that ended it.

    Raises:
        UserError: the files of the product are not here as they are where it was asked for.
    """
    _same_files(order)
    pieces: list[Piece | UserError] = []
    try:
        for piece in cut(order):
            pieces.append(piece)
    except UserError as fault:
        pieces.append(fault)
    return pieces


def _same_files(order: Order) -> None:
    for path, size in order.files:
        there = None
        with suppress(OSError):
            there = path.stat().st_size if os.access(path, os.R_OK) else None
        if there != size:
            what = "cannot be read there" if there is None else f"has {there} bytes there and {size} here"
            raise UserError(f"{path} {what}; products must lie where all workers see the same files")


def unpacked(pieces: Iterable[Piece | UserError]) -> Iterator[Piece]:
    """Yield and raise what `cut` did before `whole` packed it."""
    for piece in pieces:
        if isinstance(piece, UserError):
            raise piece
        yield piece
