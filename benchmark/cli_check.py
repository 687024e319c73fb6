"""What `data check` finds and prints, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from benchmark import leaks, patchset, splits
from benchmark.api import UserError
from benchmark.cli_making import progress_bar, source_of, store_of


def check(path: Path, optimism: bool, out: Path) -> bool:
    """Print what is found in a patch set or product; return whether it is sound.

    Args:
        path: patch set, or files that a data source recognises.
        optimism: print also what a random split of the patches would have claimed.
        out: folder that the measured optimism is kept in.
    """
    if not patchset.is_store(path) and (examine := source_of(path).check):
        return _verdict("product", lambda: examine(path))
    with store_of(path) as store:
        sound = [
            _verdict("patch set", lambda: _check_store(store)),
            _verdict("split", lambda: _check_split(store)),
        ]
        if all(sound):
            sound += map(_tell, _findings(store))
        if optimism and all(sound):
            _tell_optimism(store, out)
    return all(sound)


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
