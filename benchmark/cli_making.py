"""What the verbs of `data` share: a source by name or by path, and its patch set made under a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmark import catalog, patchset, splits
from benchmark.api import UserError
from benchmark.sources import Progress, Request, Source


def source_named(name: str) -> Source:
    """Return a data source.

    Raises:
        UserError: there is none of this name.
    """
    if name not in catalog.sources():
        raise UserError(f"no data source is called '{name}'; there are {', '.join(catalog.sources())}")
    return catalog.sources()[name]


def source_of(path: Path) -> Source:
    """Return the data source that recognises a folder or file.

    Raises:
        UserError: there is nothing, or nothing that a source knows.
    """
    if not path.exists():
        raise UserError(f"there is nothing at {path}")
    for source in catalog.sources().values():
        if source.recognises(path):
            return source
    raise UserError(f"no data source recognises {path}; there are {', '.join(catalog.sources())}")


@contextmanager
def store_of(path: Path) -> Iterator[Path]:
    """Give the store at a path; files that are not imported yet are imported into a temporary one."""
    if path.suffix == ".zarr" or patchset.is_store(path):
        yield path
        return
    source = source_of(path)
    with TemporaryDirectory() as folder:
        store = Path(folder) / f"{path.resolve().name}.zarr"
        _import(source, Request((path,), store))
        yield store


def make(source: Source, request: Request) -> None:
    """Let a source write its patch set, and print what it holds."""
    if request.store.suffix != ".zarr":
        request = replace(request, store=request.store.with_name(f"{request.store.name}.zarr"))
    _import(source, request)
    split = splits.read(splits.split_path(request.store), request.store)
    counts = ", ".join(f"{part} {len(ids)}" for part, ids in split.parts.items())
    typer.echo(f"patch set {request.store}: {counts} patches, split by {split.unit}")
    for product, reason in patchset.attributes(request.store).get("skipped", {}).items():
        typer.echo(f"skipped {product}: {reason}", err=True)


def _import(source: Source, request: Request) -> None:
    """Let a source write a store under a progress bar."""
    with progress_bar(source.name) as progress:
        source.make(request, progress)


@contextmanager
def progress_bar(title: str, *columns: ProgressColumn) -> Iterator[Progress]:
    """Give a function of (done, total) that moves a progress bar on stderr, if that is a terminal."""
    shown = (TextColumn("{task.description}"), BarColumn(), *(columns or (MofNCompleteColumn(),)), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bar(*shown, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
