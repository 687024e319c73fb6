"""The verb `predict`: masks of whole products from models that a run has left."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.api import NotRun, UserError
from benchmark.cli_verbs import Device, WeightsDir, user_errors

if TYPE_CHECKING:
    from benchmark.masks.predict import Outcome
    from benchmark.masks.trained import Model

Folder = Annotated[Path, typer.Option(help="Folder that the masks are put into.", file_okay=False)]
Results = Annotated[Path, typer.Option(help="Output folder of `run`.", file_okay=False, resolve_path=True)]


class Threshold(StrEnum):
    """Where the decision threshold comes from."""

    HALF = "half"
    VALIDATION = "validation"


@user_errors
def predict(
    products: Annotated[list[Path], typer.Argument(help="Products, e.g. S3A_SL_1_RBT____...SEN3.")],
    method: Annotated[str, typer.Option(help="Row of a plan, tuned if it was, or the folder of a run.")],
    out: Folder = Path("results/masks"),
    results: Results = Path("results"),
    plan: Annotated[str | None, typer.Option(help="Name of the plan; default: the last.")] = None,
    cog: Annotated[bool, typer.Option("--cog", help="Also write a Cloud-Optimised GeoTIFF.")] = False,
    quicklook: Annotated[bool, typer.Option("--quicklook", help="Also write a picture.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Write masks again that are there already.")] = False,
    threshold: Annotated[
        Threshold, typer.Option(help="half: 0.5, as scores are; validation: what the validation part chose.")
    ] = Threshold.HALF,
    weights_dir: WeightsDir = None,
    device: Device = None,
) -> None:
    """Write the cloud masks of whole products, as CF NetCDF, with a model that `run` has trained."""
    from benchmark import cli_views, planner
    from benchmark.masks import trained

    folder = Path(method)
    if _is_row(method) or not folder.is_dir():
        folder = trained.find(cli_views.stored_plan(results, plan), results, method)
    model = trained.load(folder.resolve(), planner.torch_device(device), weights_dir, results / "weights.json")
    if threshold == Threshold.VALIDATION:
        model = trained.at_chosen_threshold(model)
    if not model.unchanged:
        typer.echo(f"the code of row '{model.row.name}' has changed since this model was trained", err=True)
    faults = 0
    for number, product in enumerate(products, 1):
        try:
            typer.echo(_one(model, product, out, f"{number}/{len(products)}", cog, quicklook, fresh))
        except (UserError, NotRun) as error:
            faults += 1
            typer.echo(f"skipped {product.name}: {error}", err=True)
    if faults:
        raise typer.Exit(2)


def _is_row(name: str) -> bool:
    """Whether a row has this name, enumerated or not."""
    from benchmark import catalog

    try:
        catalog.row(name)
    except UserError:
        return False
    return True


def _one(model: Model, product: Path, out: Path, count: str, cog: bool, quicklook: bool, fresh: bool) -> str:
    """Write all that is asked for of one product; return a line about it."""
    from benchmark.cli_making import progress_bar
    from benchmark.masks import predict as work

    ds = work.open_product(model, product)
    with progress_bar(f"{count} {product.name}") as progress:
        outcome = work.predict(model, ds, out, fresh, progress)
    if cog:
        from benchmark.masks._mask_file import write_cog

        write_cog(outcome.path, outcome.path.with_suffix(".tif"))
    if quicklook:
        from benchmark.masks._quicklook import draw

        draw(model, ds, outcome.path, outcome.path.with_suffix(".png"))
    return _line(outcome)


def _line(outcome: Outcome) -> str:
    if outcome.kept:
        return f"mask {outcome.path} is already there"
    seconds, inside = outcome.seconds["all"], outcome.seconds["method"]
    return (
        f"mask {outcome.path}: {outcome.cloud / outcome.valid:.0%} cloud, {outcome.valid / outcome.pixels:.0%} valid; "
        f"{seconds:.1f} s, {outcome.pixels / 1e6 / seconds:.2f} Mpixel/s, {inside / seconds:.0%} of it in the method"
    )
