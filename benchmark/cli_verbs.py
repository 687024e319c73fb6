"""What verbs share: options, and how a user's fault reaches the user: one sentence, exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console

from benchmark.api import UserError

P = ParamSpec("P")
R = TypeVar("R")

Out = Annotated[Path, typer.Option(help="Folder of everything that is kept.", file_okay=False, resolve_path=True)]
Device = Annotated[str | None, typer.Option(help="cpu or cuda[:n]; default: a GPU if there is one.")]
WeightsDir = Annotated[Path | None, typer.Option(help="Folder of checkpoint files.")]


def user_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Return a command that ends with one sentence on stderr and status 2 where the function raises UserError."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None

    return command
