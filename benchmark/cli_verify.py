"""The verb `verify`: whether a stored run comes out the same when it is made again."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.api import UserError
from benchmark.cli_verbs import user_errors

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.record import Record
    from benchmark.verify import Check, Stored

Kept = Annotated[Path, typer.Argument(metavar="RECORD", help="A record.json under runs/, or the folder it lies in.")]
Into = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder that the new run is kept in; default: none.", file_okay=False, resolve_path=True
    ),
]


@user_errors
def verify(path: Kept, out: Into = None) -> None:
    """Make a stored run again and say what of it is the same: exit status 0 where it reproduces, 1 where not."""
    from benchmark import verify as work
    from benchmark._files import alone
    from benchmark.cli_views import console

    stored = work.find(path)
    console.print(_told(stored), highlight=False)
    with TemporaryDirectory() as folder:
        into = out or Path(folder)
        with alone(into / "run.lock", f"another run is at work in {into}"):
            same = _again(stored, into, console)
    raise typer.Exit(0 if same else 1)


def _told(stored: Stored) -> str:
    cell, changes = stored.cell, stored.record.changes
    name = f"{cell.row}{' tuned' if cell.tuned else ''} seed {cell.seed} of {cell.data}"
    if not cell.tuned:
        return f"{name}: run again"
    values = ", ".join(f"{field}={value}" for field, value in changes.items()) or "its defaults"
    return f"{name}: run again with what its search chose, {values}; the search itself is not repeated"


def _again(stored: Stored, out: Path, console: Console) -> bool:
    """Run it again, print the tables and the verdict; return that."""
    from rich.markup import escape

    from benchmark import record, verify

    done = _run(stored, out, console)
    if done.status == record.NOT_RUN:
        raise UserError(f"the run cannot be made here: {done.reason}")
    if done.status != record.OK:
        console.print(
            f"[red]does not reproduce[/]: this time it ended as {done.status}: {escape(done.reason)}", highlight=False
        )
        return False
    checks = verify.compare(stored, done, stored.cell.folder(out))
    _show_checks(checks, console)
    _show_environments(verify.environments(stored.record, done), console)
    same = verify.reproduces(checks)
    console.print("[green]reproduces[/]" if same else "[red]does not reproduce[/]")
    return same


def _run(stored: Stored, out: Path, console: Console) -> Record:
    from rich.markup import escape

    from benchmark import verify

    with console.status(stored.cell.row) as status:
        for step in verify.again(stored, out):
            status.update(f"{stored.cell.row} {escape(step.said)[:60]}")
    assert step.record is not None
    return step.record


def _show_checks(checks: list[Check], console: Console) -> None:
    from rich.table import Table

    said = {True: "[green]same[/]", False: "[red]differs[/]", None: "not kept"}
    table = Table("compared", "to the bit", "detail")
    for check in checks:
        table.add_row(check.what, said[check.same], check.detail)
    console.print(table)


def _show_environments(found: list[tuple[str, str, str]], console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not found:
        console.print("environment: the same")
        return
    table = Table("environment", "then", "now")
    for row in found:
        table.add_row(*map(escape, row))
    console.print(table)
