"""The command line: verbs only. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark import (
    cli_data,
    cli_predict,
    cli_pretrain,
    cli_products,  # noqa: F401  (its verbs join those of `data`)
    cli_verify,
)
from benchmark.api import UserError
from benchmark.cli_verbs import Device, Out, Scheduler, WeightsDir, user_errors

app = typer.Typer(
    help="Nephoscope: thresholds, forests, small networks and foundation models on the same cloud-mask pixels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_data.app, name="data")
app.command()(cli_predict.predict)
app.command()(cli_pretrain.pretrain)
app.command()(cli_verify.verify)

Tracking = Annotated[str | None, typer.Option(help="MLflow tracking URI; default: SQLite in the output folder.")]


@app.command()
@user_errors
def run(
    rows: Annotated[
        list[str] | None,
        typer.Argument(help="Row names, globs, or 'all' for those of the suite or profile.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="'simulated' (default), a patch folder, a Zarr patch set, or several with +."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Rows, bands and numbers of a suite (see `list`) or a TOML file.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="smoke, quick (default without a GPU) or study (default with one).")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds per row.")] = None,
    trials: Annotated[int | None, typer.Option(min=0, help="Trials of tuning per row, the defaults included.")] = None,
    budget_seconds: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds for each row's default fit and all its trials, in place of --trials."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, times the factor that a row may have.")] = None,
    patches: Annotated[
        str | None, typer.Option(metavar="TRAIN,VAL,TEST", help="Patches used at most, of given data too.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Use every patch of given data, whatever the profile or suite.")
    ] = False,
    bands: Annotated[
        str | None,
        typer.Option(help="A band set (see `list`), or names, roles or NAME=ROLE separated by commas; default: hls."),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Treat the labels of the training part: permuted, flip-SHARE or shift-PIXELS.")
    ] = "",
    out: Out = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run finished cells again.")] = False,
    weights_dir: WeightsDir = None,
    device: Device = None,
    storage: Annotated[str, typer.Option(help="Optuna storage URL; default: a journal file.")] = "",
    tracking_uri: Tracking = None,
    scheduler: Scheduler = None,
) -> None:
    """Train, tune, score, time and compare rows on the same pixels; finished work is not repeated."""
    if not rows and suite is None:
        raise UserError("name the rows to run, 'all' for those of the profile, or a --suite")
    from benchmark import cli_run, planner

    asked = planner.Asked(
        rows=rows or ("all",),
        data=data,
        profile=profile,
        seeds=seeds,
        trials=trials,
        bands=bands,
        out=out,
        weights_dir=weights_dir.resolve() if weights_dir else None,
        device=device,
        storage=storage,
        whole=whole,
        suite=suite,
        patches=patches,
        epochs=epochs,
        budget_seconds=budget_seconds,
        labels=labels,
    )
    raise typer.Exit(cli_run.run(asked, fresh, tracking_uri, scheduler))


@app.command("list")
@user_errors
def list_rows(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Names or globs of rows to show in full.", show_default=False)
    ] = None,
) -> None:
    """Show the rows, data sets, profiles, suites and band sets there are, or single rows in full."""
    from benchmark import cli_list

    cli_list.rows(rows) if rows else cli_list.everything()


@app.command()
@user_errors
def report(
    plan: Annotated[
        str | None,
        typer.Argument(help="A plan or suite, e.g. simulated-quick or simulated-bands; default: the last."),
    ] = None,
    out: Out = Path("results"),
    tracking_uri: Tracking = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Only copy into MLflow what it lacks, of all plans; nothing is drawn anew.")
    ] = False,
) -> None:
    """Rebuild leaderboard, plots, report and MLflow from stored records alone."""
    from benchmark import cli_views, root

    if plan and sync:
        raise UserError("--sync copies all plans; leave the name out")
    root.fetch_all(out)
    if sync:
        raise typer.Exit(cli_views.sync(out, tracking_uri))
    cli_views.views(cli_views.stored_plans(out, plan), out, tracking_uri)
    root.publish(out)


@app.command()
@user_errors
def ui(out: Out = Path("results"), port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow UI on 127.0.0.1."""
    from benchmark import track

    track.ui(out, port)


def main() -> None:
    """Run the command line; an interrupt ends it without a traceback."""
    try:
        app(prog_name="python -m benchmark")
    except KeyboardInterrupt:
        sys.exit("interrupted; finished rows are kept, and the same command goes on from there")
