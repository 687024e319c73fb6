"""Simulated products, written one after the other here or by workers that see the same folder."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmark.api import UserError
from benchmark.sources import Spread

WANTED = "wanted"  # a file that is there as long as somebody waits for the products beside it
Simulate = Callable[[Path, int, int, int], Path]


def write(
    simulate: Simulate, out: Path, rows: int, columns: int, seeds: Iterable[int], spread: Spread | None
) -> Generator[Path, None, None]:
    """Yield the path of each product as it is there.

    Args:
        simulate: as in `sources.Source`.
        out: folder that the products are put into.
        rows: of a product.
        columns: of a product.
        seeds: of each product.
        spread: simulates them; None: this process.

    Raises:
        UserError: a product is there already, or a worker does not see the folder.
    """
    if spread is None:
        yield from (simulate(out, rows, columns, seed) for seed in seeds)
        return
    hidden = out.absolute() / f".simulated-{uuid.uuid4().hex}"
    hidden.mkdir(parents=True)
    (hidden / WANTED).touch()
    try:
        with closing(spread(partial(_apart, simulate, hidden, rows, columns), seeds)) as made:
            yield from (_moved(product, out) for product in made)
    finally:  # workers that are not done yet find it gone and clear up behind themselves
        (hidden / WANTED).unlink()
        shutil.rmtree(hidden, ignore_errors=True)


def _apart(simulate: Simulate, hidden: Path, rows: int, columns: int, seed: int) -> Path:
    """Simulate a product in a folder of its own: what a lost worker has begun is no obstacle to the next."""
    if not hidden.is_dir():
        raise UserError(f"there is no {hidden} there; give an --out that all workers share")
    folder = hidden / uuid.uuid4().hex
    folder.mkdir()
    try:
        return simulate(folder, rows, columns, seed)
    finally:
        if not (hidden / WANTED).exists():
            shutil.rmtree(hidden, ignore_errors=True)


def _moved(product: Path, out: Path) -> Path:
    """Move a product and its truth, which comes first: a product that is there is whole."""
    if (out / product.name).exists():
        raise UserError(f"{out / product.name} is already there")
    for path in sorted(product.parent.iterdir(), key=lambda path: path == product):
        path.replace(out / path.name)
    return out / product.name
