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
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmark import catalog, leaks, patchset, splits
from benchmark.api import UserError
from benchmark.cli_verbs import user_errors
from benchmark.sources import Progress, Request, Source

app = typer.Typer(help="Fetch and simulate products; make, import, check and show patch sets.", no_args_is_help=True)
STORES = Path("results/data")

Out = Annotated[Path | None, typer.Option(help="Zarr store to write; default: results/data/NAME.zarr.")]
Where = Annotated[Path, typer.Argument(help="Zarr patch set, or a folder that a data source recognises.")]


@app.command()
@user_errors
def make(
    name: Annotated[str, typer.Argument(help="Data source; `list` shows them.")],
    products: Annotated[list[Path] | None, typer.Argument(help="Products, or folders of them.")] = None,
    out: Out = None,
    bands: Annotated[str | None, typer.Option(help="Bands to keep: S7,S8,S9,F2; default: those of the source.")] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="Truth of products: summary_cloud, cloud:TEST,..., bayes, probability_cloud:0.5, file:{product}.nc."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="What no two parts share: orbit (default), date, or block of a product.")
    ] = None,
    min_valid: Annotated[float | None, typer.Option(min=0, max=1, help="Least share of valid pixels.")] = None,
    grid: Annotated[str | None, typer.Option(help="native (default), or a map: EPSG:3035@500.")] = None,
    view: Annotated[str | None, typer.Option(help="nadir (default) or oblique.")] = None,
    train: Annotated[int | None, typer.Option(min=1, help="Simulated patches to train on; default 24.")] = None,
    val: Annotated[int | None, typer.Option(min=1, help="Simulated patches to choose by; default 8.")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="Simulated patches to test on; default 16.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Rows and columns of a patch.")] = 224,
    seed: Annotated[int, typer.Option(min=0, help="Seed of whatever is random.")] = 0,
) -> None:
    """Make a data set from products, or one that needs no files."""
    options = {"bands": bands, "label": label, "split": split, "min_valid": min_valid, "grid": grid, "view": view}
    given = {option: value for option, value in options.items() if value is not None}
    store = out or STORES / f"{name}.zarr"
    if products and (train or val or test):
        raise UserError("--train, --val and --test are for simulated patches; products give the patches that they hold")
    patches = {"train": train or 24, "val": val or 8, "test": test or 16}
    _make(source_named(name), Request(tuple(products or ()), store, patches, size, seed, given))


@app.command("import")
@user_errors
def import_(
    what: Annotated[list[str], typer.Argument(help="[SOURCE] PATH: files that a data source recognises.")],
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
    mapping: Annotated[str | None, typer.Option(help="study: which bands its files hold.")] = None,
    rebalance: Annotated[str | None, typer.Option(help="study: 'study' deletes patches as it did.")] = None,
) -> None:
    """Turn ready-made patches into a patch set and its split."""
    if len(what) > 2:
        raise UserError(f"data import takes a path, or a source and a path, not {len(what)} of them")
    path = Path(what[-1])
    source = source_named(what[0]) if len(what) == 2 else _source_of(path)
    options = {"split": split, "bands": bands, "scale": scale, "scene_pattern": scene_pattern, "sensor": sensor}
    options |= {"label_source": label_source, "label_bands": label_bands, "licence": licence}
    options |= {"mapping": mapping, "rebalance": rebalance}
    given = {name: value for name, value in options.items() if value is not None}
    store = out or STORES / f"{path.resolve().stem}.zarr"
    _make(source, Request((path,), store, options=given))


@app.command()
@user_errors
def check(
    path: Where,
    optimism: Annotated[
        bool, typer.Option("--optimism", help="Measure what a random split of the patches would have claimed instead.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder that what --optimism measures is kept in.")] = Path("results"),
) -> None:
    """Check a patch set, its split and what its parts share, or a product, wholly; exit status 2 on a fault."""
    if not patchset.is_store(path) and (examine := _source_of(path).check):
        if not _verdict("product", lambda: examine(path)):
            raise typer.Exit(2)
        return
    with _store_of(path) as store:
        sound = [
            _verdict("patch set", lambda: _check_store(store)),
            _verdict("split", lambda: _check_split(store)),
        ]
        if all(sound):
            sound += map(_tell, _findings(store))
        if not all(sound):
            raise typer.Exit(2)
        if optimism:
            _tell_optimism(store, out)


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


def source_named(name: str) -> Source:
    """Return a data source.

    Raises:
        UserError: there is none of this name.
    """
    if name not in catalog.sources():
        raise UserError(f"no data source is called '{name}'; there are {', '.join(catalog.sources())}")
    return catalog.sources()[name]


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
        _import(source, Request((path,), store))
        yield store


def _make(source: Source, request: Request) -> None:
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
    split = splits.read_unguarded(splits.split_path(store), store)
    counts = ", ".join(f"{part} {len(ids)}" for part, ids in split.parts.items())
    return f"{counts} patches, by {split.unit}, hash {splits.split_hash(split)[:12]}"


def _findings(store: Path) -> Iterator[leaks.Finding]:
    """Yield what every check for leaks found, those that read pixels last."""
    split = splits.read_unguarded(splits.split_path(store), store)
    yield from leaks.known(patchset.table(store), split.parts, split.unit)
    yield leaks.near_duplicates(store, split.parts, splits.split_hash(split))


def _tell(finding: leaks.Finding) -> bool:
    """Print one line on a finding; return whether it is no fault."""
    mark = {leaks.OK: "[green]ok[/]    ", leaks.FAULT: "[red]fault[/] ", leaks.UNCHECKED: "[yellow]not checked[/]"}
    console: Any = Console(soft_wrap=True, highlight=False)
    console.print(f"{mark[finding.state]} {finding.check}: {escape(finding.told)}")
    return finding.state != leaks.FAULT


def _tell_optimism(store: Path, out: Path) -> None:
    """Print what a random split of all patches would have claimed, measured now if it was not before."""
    from benchmark import optimism, planner, random_split

    with progress_bar("patches") as progress:
        asked = planner.Asked(
            ("lightgbm",), str(store), seeds=1, trials=0, bands="all", out=out, device="cpu", whole=True
        )
        plan = planner.make(asked, progress)
    with progress_bar("fits of lightgbm") as progress:
        found = random_split.measure(plan, out, progress)
    typer.echo(optimism.tell(found))
