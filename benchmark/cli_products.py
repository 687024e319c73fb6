"""The verbs of `data` that bring products: fetch and simulate."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.api import UserError
from benchmark.cli_data import app
from benchmark.cli_verbs import Scheduler, spread, user_errors
from benchmark.cluster import _simulated_products
from benchmark.sources import Search

PRODUCTS = Path("results/products")
Out = Annotated[Path, typer.Option(help="Folder that the products are put into.", file_okay=False)]


@app.command()
@user_errors
def fetch(
    name: Annotated[str, typer.Argument(help="Data source whose products to fetch: slstr.")],
    bbox: Annotated[str, typer.Option(help="West,south,east,north in degrees.")],
    start: Annotated[str, typer.Option(help="First moment, ISO 8601, UTC.")],
    end: Annotated[str, typer.Option(help="Last moment, ISO 8601, UTC.")],
    out: Out = PRODUCTS,
    satellite: Annotated[str | None, typer.Option(help="S3A or S3B; default: both.")] = None,
    timeliness: Annotated[str | None, typer.Option(help="NR or NT; default: any.")] = None,
    entries: Annotated[str | None, typer.Option(help="needed (default) or all files of a product.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Files fetched at once.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and how much.")] = False,
) -> None:
    """Fetch products of an area and time from EUMETSAT; what is there is kept, what broke off goes on."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    from benchmark.cli_making import progress_bar, source_named

    source = source_named(name)
    if source.fetch is None:
        raise UserError(f"products of '{name}' cannot be fetched")
    options = {"satellite": satellite, "timeliness": timeliness, "entries": entries}
    given = {option: value for option, value in options.items() if value is not None}
    search = Search(_bbox(bbox), start, end, out, workers, dry_run, given)
    with progress_bar(name, DownloadColumn(), TransferSpeedColumn()) as progress:
        count = source.fetch(search, typer.echo, progress)
    typer.echo(f"{count} product(s) {'found' if dry_run else f'in {out}'}")


def _bbox(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(value) for value in text.split(","))
    except ValueError:
        raise UserError(f"--bbox is four numbers, west,south,east,north, not '{text}'") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise UserError(f"--bbox {text} is no area: west,south,east,north in degrees, south below north")
    return west, south, east, north


@app.command()
@user_errors
def simulate(
    name: Annotated[str, typer.Argument(help="Data source whose products to simulate: slstr.")],
    out: Out = PRODUCTS,
    count: Annotated[int, typer.Option(min=1, help="Number of products, with seeds that follow each other.")] = 1,
    rows: Annotated[int, typer.Option(min=64, help="Rows of the 500 m grid.")] = 2400,
    columns: Annotated[int, typer.Option(min=64, help="Columns of the 500 m grid.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first.")] = 0,
    scheduler: Scheduler = None,
) -> None:
    """Write simulated scenes as products, their exact truth beside them."""
    from benchmark.cli_making import progress_bar, source_named

    source, make = source_named(name), spread(scheduler, partial(typer.echo, err=True))
    if source.simulate is None:
        raise UserError(f"products of '{name}' cannot be simulated")
    seeds = range(seed, seed + count)
    with (
        progress_bar(name) as progress,
        closing(_simulated_products.write(source.simulate, out, rows, columns, seeds, make)) as made,
    ):
        progress(0, count)
        try:
            for done, product in enumerate(made, 1):
                typer.echo(f"product {product}")
                progress(done, count)
        except OSError as error:
            raise UserError(f"a product cannot be written into {out}: {error}") from None
