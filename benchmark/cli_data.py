"""The verbs of `data`: make, import, check and show patch sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark import cli_verbs
from benchmark.api import UserError
from benchmark.cli_verbs import Scheduler, user_errors
from benchmark.sources import Request

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
    scheduler: Scheduler = None,
) -> None:
    """Make a data set from products, or one that needs no files."""
    from benchmark import cli_making

    options = {"bands": bands, "label": label, "split": split, "min_valid": min_valid, "grid": grid, "view": view}
    given = {option: value for option, value in options.items() if value is not None}
    store = out or STORES / f"{name}.zarr"
    if products and (train or val or test):
        raise UserError("--train, --val and --test are for simulated patches; products give the patches that they hold")
    patches = {"train": train or 24, "val": val or 8, "test": test or 16}
    source, spread = cli_making.source_named(name), cli_verbs.spread(scheduler, partial(typer.echo, err=True))
    if spread and not source.spreads:
        raise UserError(f"'{name}' is read by one process, which has no use for a --scheduler")
    cli_making.make(source, Request(tuple(products or ()), store, patches, size, seed, given, spread))


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
    from benchmark import cli_making

    if len(what) > 2:
        raise UserError(f"data import takes a path, or a source and a path, not {len(what)} of them")
    path = Path(what[-1])
    source = cli_making.source_named(what[0]) if len(what) == 2 else cli_making.source_of(path)
    options = {"split": split, "bands": bands, "scale": scale, "scene_pattern": scene_pattern, "sensor": sensor}
    options |= {"label_source": label_source, "label_bands": label_bands, "licence": licence}
    options |= {"mapping": mapping, "rebalance": rebalance}
    given = {name: value for name, value in options.items() if value is not None}
    store = out or STORES / f"{path.resolve().stem}.zarr"
    cli_making.make(source, Request((path,), store, options=given))


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
    from benchmark import cli_check

    if not cli_check.check(path, optimism, out):
        raise typer.Exit(2)


@app.command()
@user_errors
def show(
    path: Where, picture: Annotated[Path | None, typer.Option(help="Picture of patches to write.")] = None
) -> None:
    """Show bands, parts and strata of a patch set."""
    from rich.console import Console
    from rich.markup import escape

    from benchmark import patchset, splits
    from benchmark._data_picture import draw
    from benchmark._data_tables import all_tables
    from benchmark.cli_making import store_of

    with store_of(path) as store:
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
