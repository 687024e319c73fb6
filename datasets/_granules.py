"""From whole products to a patch set and its split: what every source of granules shares.

Options of a request (text or numbers):

- `bands`: names or roles, with commas between them; the source's own default without it.
- `label`: where the truth comes from; the source says which it knows.
- `split`: what no two parts share. `orbit` (default): whole orbits; `date`: days (UTC) of whole orbits; `block`: blocks
  of 2x2 tiles of one product, for too few orbits. Patches at the border of two blocks touch, so scores of a split by
  blocks are too good for what a method does on another orbit.
- `min_valid`: share of valid pixels (every band measured, mask not 255) from which a tile is kept, 0.5.
- `grid`: `native`, or a map grid as in `EPSG:32636@500` (nearest pixel; metres, degrees for a geographic one).
- `view`: for an instrument that has several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmark.api import UserError, code, digest
from benchmark.patchset import PatchWriter, Table, check_replaceable
from benchmark.sources import Progress, Request
from benchmark.splits import by_date, group_parts, publish
from datasets import _granule_files, _granule_names

if TYPE_CHECKING:
    from datasets._granule_pieces import Open, Opened, Piece
    from datasets._granule_tiles import Kind, Tiles

OPTIONS = ("bands", "label", "split", "min_valid", "grid", "view")
SPLITS = ("orbit", "date", "block")
METADATA = ("orbit", "frame", "granule", "row", "column", "view_zenith", "footprint")
BLOCK = 2  # rows and columns of tiles in a block: 35 blocks of 112x112 tiles in 1200x1500 pixels


@dataclass(frozen=True)
class Cut:
    """How products become patches; see the options above."""

    size: int
    split: str
    min_valid: float
    grid: str


@dataclass
class Tally:
    """What was written so far.

    Attributes:
        kind: what all granules must have in common, known from the first.
        frames: by what names a frame, the granule that gave patches.
        ids, scenes, times, footprints: of each patch.
        labels: label values that occur.
        provenance: by product that gave patches.
        skipped: by product that gave none, or not all, the reason.
    """

    kind: Kind | None = None
    frames: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    footprints: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    times: list[np.datetime64] = field(default_factory=list)
    labels: set[int] = field(default_factory=set)
    provenance: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return an option that lists names: text with commas, or a sequence."""
    return tuple(text.strip() for text in (value.split(",") if isinstance(value, str) else value or ()))


def check_options(request: Request) -> None:
    """Raise UserError at an option that no source of granules has."""
    unknown = next((name for name in request.options if name not in OPTIONS), None)
    if unknown:
        raise UserError(f"products have no option '{unknown}'; options are {', '.join(OPTIONS)}")


def _cut(request: Request) -> Cut:
    check_options(request)
    if request.size < 1:
        raise UserError(f"a patch has at least one row and column, not {request.size}")
    split, given = request.options.get("split", SPLITS[0]), request.options.get("min_valid", 0.5)
    if split not in SPLITS and not by_date(split):
        raise UserError(f"products are split by {', '.join(SPLITS)}, not by '{split}'")
    try:
        min_valid = float(given)
    except (TypeError, ValueError):
        min_valid = float("nan")
    if not 0 < min_valid <= 1:
        raise UserError(f"option min_valid is a share above 0 and up to 1, not '{given}'")
    return Cut(request.size, split, min_valid, str(request.options.get("grid", _granule_names.NATIVE)))


def products(paths: Sequence[Path], is_product: Callable[[Path], bool]) -> list[Path]:
    """Return the products among paths and in folders among them, by name, each name once.

    Raises:
        UserError: a path that is no product and holds none, or no path at all.
    """
    found: dict[str, Path] = {}
    for path in paths:
        inside = [path] if is_product(path) else sorted(filter(is_product, path.iterdir())) if path.is_dir() else []
        if not inside:
            raise UserError(f"{path} is no product and no folder of products" if path.exists() else f"no file {path}")
        for product in inside:
            found.setdefault(product.name, product)
    if not found:
        raise UserError("no product was named")
    return [found[name] for name in sorted(found)]


def version(request: Request, products: Sequence[Path], files: Sequence[Path]) -> str:
    """Return a hash of the products' file names, sizes and times of change, their mask files, the request and code.

    Args:
        request: its options, size and seed count.
        products: the products.
        files: modules whose syntax trees count.
    """
    check_options(request)
    label = str(request.options.get("label", ""))
    stats = []
    for product in products:
        try:
            inside = [(path.name, path.stat()) for path in _granule_files.of(product, label)]
            stats += [(product.name, name, stat.st_size, stat.st_mtime_ns) for name, stat in inside]
        except OSError as error:
            raise UserError(f"{product} cannot be read: {error}") from None
    options = sorted((name, repr(value)) for name, value in request.options.items())
    return digest(code(*files), stats, options, request.size, request.seed)


def make(request: Request, products: Sequence[Path], open_: Open, progress: Progress, made_of: str) -> None:
    """Cut products into patches, without overlap from row 0 and column 0, and write the patch set and its split.

    Here rows are read a stripe at a time, so native granules need flat memory; where `request.spread` cuts them whole
    products come back. Of several products one with a fault is left out from that row on, and attribute `skipped` says
    why.

    Args:
        request: size, seed, options, the store, and who cuts.
        products: paths of the products.
        open_: product -> granule with mask, see `benchmark.granule`; for a `request.spread` it can be pickled.
        progress: told hundredths of a product.
        made_of: version of the request, kept as an attribute.

    Raises:
        UserError: a fault of the only product, of all of them, a label of one class, or too few scenes for the split.
    """
    how, tally = _cut(request), Tally()
    with ExitStack() as stack:
        writer: PatchWriter | None = None
        found = stack.enter_context(closing(_found_in(products, request, open_, how)))
        for place, (product, pieces) in enumerate(zip(products, found, strict=True)):
            try:
                opened = _opened(product, pieces, tally)
                writer = writer or stack.enter_context(_writer(request, opened.kind))
                for share in _append_product(writer, tally, opened, pieces, how):
                    progress(int(100 * (place + share)), 100 * len(products))
            except UserError as error:
                if len(products) == 1:
                    raise
                tally.skipped[product.name] = _granule_files.shortened(str(error), product)
        if writer is None or not tally.ids:
            reason = next(iter(tally.skipped.values()))
            raise UserError(f"none of {len(products)} products gives a patch; the first: {reason}")
        parts = _parts(tally, how, request)
        writer.attrs |= {"made_of": made_of, "scene_unit": how.split, **_facts(tally)}
    progress(100 * len(products), 100 * len(products))
    publish(_staged(request), request.store, parts, _unit(how))


def _found_in(products: Sequence[Path], request: Request, open_: Open, how: Cut) -> Generator[Iterator[Piece]]:
    """Yield what `_granule_pieces.cut` gives of each product, cut here as it is asked for, or by `request.spread`."""
    from datasets import _granule_pieces

    order = partial(_granule_pieces.Order, open=open_, size=how.size, min_valid=how.min_valid, grid=how.grid)
    if request.spread is None:
        yield from (_granule_pieces.cut(order(product)) for product in products)
        return
    label = str(request.options.get("label", ""))
    orders = (order(product.absolute(), files=_granule_files.sizes(product.absolute(), label)) for product in products)
    with closing(request.spread(_granule_pieces.whole, orders)) as found:
        yield from map(_granule_pieces.unpacked, found)


def _opened(product: Path, pieces: Iterator[Piece], tally: Tally) -> Opened:
    """Return what is known of a granule, which is of the same kind as the others and of another frame."""
    from datasets import _granule_tiles

    opened = cast("Opened", next(pieces))
    tally.kind = tally.kind or opened.kind
    other = _granule_tiles.difference(tally.kind, opened.kind)
    if other:
        raise UserError(f"{product.name} has {other}, unlike the products before it")
    same = tally.frames.get(_granule_names.frame(opened.attrs))
    if same:
        raise UserError(f"{product.name} is the same frame as {same}, which is already converted")
    return opened


def _writer(request: Request, kind: Kind) -> PatchWriter:
    check_replaceable(request.store)
    return PatchWriter(_staged(request), kind.bands, {**kind.attrs, "metadata": list(METADATA)}, kind.legends)


def _staged(request: Request) -> Path:
    return request.store.with_name(f".{request.store.stem}.{os.getpid()}.zarr")


def _append_product(
    writer: PatchWriter, tally: Tally, opened: Opened, pieces: Iterator[Piece], how: Cut
) -> Iterator[float]:
    """Write the tiles of a granule; yields the share of its rows that is done."""
    granule = opened.attrs["granule"]
    for row in range(0, max(1, opened.rows - how.size + 1), how.size):
        yield row / opened.rows
        try:
            tiles = cast("Tiles | None", next(pieces))
            if tiles:
                _append(writer, tally, opened, row, tiles, how)
        except UserError as error:
            before = f"rows from {row} on are left out: " if granule in tally.provenance else ""
            raise UserError(f"{before}{error}") from None
    if granule not in tally.provenance:
        raise UserError(
            f"{granule} gives no patch: none of its tiles has {how.min_valid:.0%} of valid, labelled pixels"
        )


def _append(writer: PatchWriter, tally: Tally, opened: Opened, row: int, tiles: Tiles, how: Cut) -> None:
    count, attrs = len(tiles.columns), opened.attrs
    frame = _granule_names.frame(attrs)
    ids = [f"{frame}-{row:04d}-{column:04d}" for column in tiles.columns]
    scenes = [str(attrs["orbit"])] * count
    if how.split == "block":
        scenes = [_granule_names.block(attrs, row, int(column), BLOCK * how.size) for column in tiles.columns]
    time = _granule_names.time(attrs, (row + how.size / 2) / opened.rows if how.grid == _granule_names.NATIVE else 0.5)
    texts = {name: np.full(count, attrs[name]) for name in ("orbit", "frame", "granule")}
    places = {"row": np.full(count, row, np.int32), "column": tiles.columns.astype(np.int32)}
    facts = {"view_zenith": tiles.centre["view_zenith"], "footprint": tiles.footprint}
    strata = {**tiles.strata, **texts, **places, **facts}
    where = {name: tiles.centre[name] for name in ("lat", "lon", "sun_zenith")}
    writer.append(ids, scenes, tiles.toa, tiles.mask, strata, time, **where)
    tally.provenance[attrs["granule"]] = attrs["provenance"]
    tally.frames[frame] = attrs["granule"]
    tally.ids += ids
    tally.footprints += tiles.footprint.tolist()
    tally.scenes += scenes
    tally.times += [time] * count
    tally.labels |= set(np.unique(tiles.mask[np.isfinite(tiles.toa).all(axis=1)]).tolist())


def _facts(tally: Tally) -> dict[str, Any]:
    return {"products": len(tally.provenance), "skipped": tally.skipped, "provenance": tally.provenance}


def _parts(tally: Tally, how: Cut, request: Request) -> dict[str, list[str]]:
    """Return the patch ids of each part; asked before the store gets its name, so that a failure leaves none."""
    labels = sorted(tally.labels - {255})
    if len(labels) == 1:
        raise UserError(f"the label has a single class: every valid pixel of {len(tally.ids)} patches is {labels[0]}")
    rows = Table(tuple(tally.ids), tuple(tally.scenes), (), np.array(tally.times), (), tuple(tally.footprints))
    try:
        return group_parts(rows, _unit(how), seed=request.seed)
    except UserError as error:
        hint = "" if how.split == "block" else "; `data make` with --split block splits by blocks of one product"
        raise UserError(f"{error}{hint}") from None


def _unit(how: Cut) -> str:
    return "scene" if how.split == "orbit" else how.split
