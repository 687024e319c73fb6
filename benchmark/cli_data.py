"""The verbs of `data`: make, import, check and show patch sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark import catalog, patchset, splits
from benchmark.api import Request, Source, UserError
from benchmark.cli_errors import user_errors

app = typer.Typer(help="Make, import, check and show patch sets.", no_args_is_help=True)
STORES = Path("results/data")

Out = Annotated[Path | None, typer.Option(help="Zarr store to write; default: results/data/NAME.zarr.")]
Where = Annotated[Path, typer.Argument(help="Zarr patch set, or a folder that a data source recognises.")]


@app.command()
@user_errors
def make(
    name: Annotated[str, typer.Argument(help="Data source that needs no files; `list` shows them.")],
    out: Out = None,
    train: Annotated[int, typer.Option(min=1, help="Patches to train on.")] = 24,
    val: Annotated[int, typer.Option(min=1, help="Patches to choose by.")] = 8,
    test: Annotated[int, typer.Option(min=1, help="Patches to test on.")] = 16,
    size: Annotated[int, typer.Option(min=32, help="Rows and columns of a patch.")] = 224,
    seed: Annotated[int, typer.Option(min=0, help="Seed of whatever is random.")] = 0,
) -> None:
    """Make a data set that needs no files."""
    if name not in catalog.sources():
        raise UserError(f"no data source is called '{name}'; there are {', '.join(catalog.sources())}")
    store = out or STORES / f"{name}.zarr"
    _make(catalog.sources()[name], Request(None, store, {"train": train, "val": val, "test": test}, size, seed))


@app.command("import")
@user_errors
def import_(
    path: Annotated[Path, typer.Argument(help="Folder of files that a data source recognises.")],
    out: Out = None,
    split: Annotated[str | None, typer.Option(help="Split by 'scene' or 'date' in place of given split files.")] = None,
    bands: Annotated[str | None, typer.Option(help="Band names in file order: GREEN,RED,...")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor that makes reflectance a fraction.")] = None,
    scene_pattern: Annotated[
        str | None, typer.Option(help="Regular expression for patch ids: (?P<scene>...), also time, biome.")
    ] = None,
    sensor: Annotated[str | None, typer.Option(help="Sensor, for the record.")] = None,
    label_source: Annotated[str | None, typer.Option(help="Who or what made the labels.")] = None,
    label_bands: Annotated[str | None, typer.Option(help="Bands that the labels derive from, or 'none'.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the data.")] = None,
) -> None:
    """Turn a folder of files into a patch set and its split."""
    options = {"split": split, "bands": bands, "scale": scale, "scene_pattern": scene_pattern, "sensor": sensor}
    options |= {"label_source": label_source, "label_bands": label_bands, "licence": licence}
    given = {name: value for name, value in options.items() if value is not None}
    store = out or STORES / f"{path.resolve().name}.zarr"
    _make(_source_of(path), Request(path, store, options=given))


@app.command()
@user_errors
def check(path: Where) -> None:
    """Check a patch set and its split wholly; exit status 2 on a fault."""
    with _store_of(path) as store:
        sound = [
            _verdict("patch set", lambda: _check_store(store)),
            _verdict("split", lambda: _check_split(store)),
        ]
    if not all(sound):
        raise typer.Exit(2)


@app.command()
@user_errors
def show(
    path: Where, picture: Annotated[Path | None, typer.Option(help="Picture of patches to write.")] = None
) -> None:
    """Show bands, parts and strata of a patch set."""
    from benchmark._data_picture import draw
    from benchmark._data_tables import all_tables

    with _store_of(path) as store:
        arrays = patchset.arrays(store)
        given = splits.split_path(store)
        split = splits.read(given, store) if given.exists() else None
        console = Console()
        for table in all_tables(arrays, split):
            console.print(table)
        for name, value in arrays.attrs.items():
            console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
        if picture:
            draw(arrays, split, picture)
            console.print(f"picture {escape(str(picture))}")


def _source_of(path: Path) -> Source:
    if not path.exists():
        raise UserError(f"there is nothing at {path}")
    for source in catalog.sources().values():
        if source.recognises(path):
            return source
    raise UserError(f"no data source recognises {path}; there are {', '.join(catalog.sources())}")


@contextmanager
def _store_of(path: Path) -> Iterator[Path]:
    """Give the store at a path; files that are not imported yet are imported into a temporary one."""
    if path.suffix == ".zarr" or patchset.is_store(path):
        yield path
        return
    source = _source_of(path)
    with TemporaryDirectory() as folder:
        store = Path(folder) / f"{path.resolve().name}.zarr"
        _import(source, Request(path, store))
        yield store


def _make(source: Source, request: Request) -> None:
    if request.store.suffix != ".zarr":
        request = replace(request, store=request.store.with_name(f"{request.store.name}.zarr"))
    _import(source, request)
    split = splits.read(splits.split_path(request.store), request.store)
    counts = ", ".join(f"{part} {len(ids)}" for part, ids in split.parts.items())
    typer.echo(f"patch set {request.store}: {counts} patches, split by {split.unit}")


def _import(source: Source, request: Request) -> None:
    """Let a source write a store under a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.name, total=None)
        source.make(request, lambda done, total: progress.update(task, completed=done, total=total))


def _verdict(what: str, examine: Callable[[], str]) -> bool:
    """Print one line on what an examination found; return whether it found no fault."""
    console: Any = Console(soft_wrap=True, highlight=False)
    try:
        console.print(f"[green]ok[/]     {what}: {escape(examine())}")
    except UserError as error:
        console.print(f"[red]fault[/]  {what}: {escape(str(error))}")
        return False
    return True


def _check_store(store: Path) -> str:
    ds = patchset.open_store(store)
    patchset.validate(ds)
    sizes = ds.sizes
    return (
        f"{sizes['patch']} patches of {sizes['y']}x{sizes['x']} pixels, {sizes['band']} bands, "
        f"fingerprint {ds.attrs['fingerprint'][:12]}"
    )


def _check_split(store: Path) -> str:
    split = splits.read(splits.split_path(store), store)
    counts = ", ".join(f"{part} {len(ids)}" for part, ids in split.parts.items())
    return f"{counts} patches, by {split.unit}, hash {splits.split_hash(split)[:12]}"
