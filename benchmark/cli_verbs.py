"""What verbs share: options, and how a user's fault reaches the user: one sentence, exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from benchmark._files import DISK
from benchmark.api import UserError

if TYPE_CHECKING:
    from benchmark.sources import Spread

P = ParamSpec("P")
R = TypeVar("R")


def _opened(text: str) -> Path:
    """Return the folder of a path, or that through which a URL is worked on."""
    if "://" in str(text):
        from benchmark import root

        try:
            return root.opened(text)
        except UserError as error:
            raise typer.BadParameter(str(error)) from None
    path = Path(text).resolve()
    if path.is_file():
        raise typer.BadParameter(f"{path} is a file, not a folder")
    return path


Out = Annotated[
    Path, typer.Option(help="Folder, or fsspec URL, of everything that is kept.", parser=_opened, metavar="FOLDER")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda[:n]; default: a GPU if there is one.")]
WeightsDir = Annotated[Path | None, typer.Option(help="Folder of checkpoint files.")]


Scheduler = Annotated[
    str | None,
    typer.Option(help="'local': workers on this machine, or the address of a Dask scheduler; default: no Dask."),
]


def spread(scheduler: str | None, say: Callable[[str], None]) -> Spread | None:
    """Return what does pieces of work on a cluster, None without one; `say` is told when nobody works there."""
    if scheduler is None:
        return None
    from benchmark import cluster

    return cluster.spread(scheduler, say)


def user_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Return a command that ends with one sentence on stderr and status 2 at a UserError or where a disk refuses."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            said = str(error)
        except OSError as error:
            if error.errno not in DISK:
                raise
            where = f" ({error.filename})" if error.filename else ""
            said = f"{error.strerror}{where}; what is finished is kept, and the same command goes on from there"
        from rich.console import Console

        Console(stderr=True).print(f"error: {said}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2)

    return command
