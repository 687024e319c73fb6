"""Contract of data sources: what turns files, or nothing, into patch sets. Imports the contracts of methods only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import xarray as xr

Progress = Callable[[int, int], None]
Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Spread(Protocol):
    """Does independent pieces of work in other processes, perhaps on other machines."""

    def __call__(
        self, function: Callable[[Argument], Result], arguments: Iterable[Argument]
    ) -> Generator[Result, None, None]:
        """Yield function(argument) of each argument, in their order.

        Arguments are taken as they are needed, and few results wait. Function, arguments and results are pickled. A
        piece whose process is lost is done again, whatever it has left behind. A UserError in a piece ends all of
        the work. Who wants no more closes the generator.
        """


@dataclass(frozen=True)
class Request:
    """What a source is asked to make.

    Attributes:
        paths: what the user pointed at; empty for a source that needs no files.
        store: Zarr store to write; the split goes beside it as `<store stem>.split.json`.
        patches: wanted number of patches per part; a source of given files ignores it.
        size: wanted rows and columns of a patch; a source of ready-made patches ignores it.
        seed: of whatever is random.
        options: extra values from `data make` and `data import`; a source refuses those it does not know.
        spread: does the source's pieces of work; None: the source does them by itself on this machine.
    """

    paths: tuple[Path, ...]
    store: Path
    patches: Mapping[str, int] = field(default_factory=dict)
    size: int = 224
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    spread: Spread | None = None


@dataclass(frozen=True)
class Search:
    """Which products to fetch, and how.

    Attributes:
        bbox: west, south, east, north in degrees.
        start, end: ISO dates or times, UTC.
        out: folder that the products are put into.
        workers: files fetched at once.
        dry_run: list what would be fetched and fetch nothing.
        options: extra values, as in `Request`.
    """

    bbox: tuple[float, float, float, float]
    start: str
    end: str
    out: Path
    workers: int = 4
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A kind of data set: a public module of `datasets` holds one as SOURCE.

    Attributes:
        name: what the user types for `--data` where no path is needed.
        summary: one line for `list`.
        recognises: whether a path is of this kind.
        version: hash of everything that decides what `make` would write, cheap to compute.
        make: writes the store and its split; calls progress(done, total).
        open: (product, bands by name or role, options) -> the product as a granule, see `benchmark.granule`; None for
            a source that has no whole products.
        fetch: (search, say a line, progress in bytes) -> number of products that are there now.
        check: product -> what was found sound, in one line; raises UserError for what was not.
        simulate: (folder, rows, columns, seed) -> a simulated product written into the folder.
        spreads: whether `make` has pieces of work for `Request.spread`.
    """

    name: str
    summary: str
    recognises: Callable[[Path], bool]
    version: Callable[[Request], str]
    make: Callable[[Request, Progress], None]
    open: Callable[[Path, Sequence[str], Mapping[str, Any]], xr.Dataset] | None = None
    fetch: Callable[[Search, Callable[[str], None], Progress], int] | None = None
    check: Callable[[Path], str] | None = None
    simulate: Callable[[Path, int, int, int], Path] | None = None
    spreads: bool = False
