"""What `list` shows: everything there is, rows of a factorial as one pattern; or single rows in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from benchmark import bands, catalog
from benchmark.api import Row
from benchmark.cli_views import console
from benchmark.profiles import PROFILES
from benchmark.studies import arms, suites
from benchmark.studies.suite_cost import ASSUMED, cost


def rows(names: Sequence[str]) -> None:
    """Print the rows that names and globs stand for, each in full.

    Raises:
        UserError: a name or glob that matches no row.
    """
    _print("Rows", ("row", "what it is"), [(row.name, _told(row)) for row in catalog.choose(names, (*catalog.rows(),))])


def _told(row: Row) -> str:
    """Return what a reader of a row's name wants to know."""
    checkpoint = " of ".join(filter(None, (row.weights.file, row.weights.repo))) if row.weights else ""
    facts = {"the study's": row.study_id, "weights": checkpoint, "control": row.control}
    return "; ".join((row.family, *(f"{what} {value}" for what, value in facts.items() if value), row.note)).rstrip(
        "; "
    )


def everything(out: Path = Path("results")) -> None:
    """Print rows, data sets, profiles, suites and band sets.

    Args:
        out: holds the records that the hours of suites are estimated from.
    """
    _print("Rows", ("row", "rows", "family", "note"), collapsed(catalog.rows().values()))
    for text in catalog.names():
        console.print(f"by name as well: {escape(text)}")
    console.print("rows in full: python -m benchmark list NAME_OR_GLOB...\n")
    made = [(source.name, source.summary) for source in catalog.sources().values()]
    _print("Data sets", ("name", "what it is"), made)
    sizes = [(p.name, _numbers(p.patches), p.budget.epochs, p.trials, p.seeds) for p in PROFILES.values()]
    _print("Profiles", ("name", "train/val/test patches", "epochs", "trials", "seeds"), sizes)
    _print("Suites", ("name", "runs", "hours", "what it is", "why"), map(_suite, suites.known(), repeat(out)))
    console.print(f"{escape(ASSUMED)}\n")
    axes = [(name, axis.about) for name, axis in arms.AXES.items()]
    _print("What a suite can vary", ("axis", "values"), axes)
    _print("Band sets", ("name", "bands"), list(bands.SETS.items()))


def _suite(name: str, out: Path) -> tuple[str, str, str, str, str]:
    """Return the line of a suite."""
    suite = suites.read(name)
    said = cost(suite, out)
    return name, said.runs, said.hours, suite.title, suite.why


def collapsed(found: Iterable[Row]) -> list[tuple[str, int, str, str]]:
    """Return a line a row: name or pattern, how many rows, family, and what a reader must know.

    Rows of a factorial whose names are alike up to where they start from and what learns are one line.
    """
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(_stem(row) or row.name, []).append(row)
    return [_line(stem, group) for stem, group in groups.items()]


def _stem(row: Row) -> str:
    """Return the name of a row of a factorial up to its start and mode; "" of another."""
    ending = f"-{row.factors.get('start')}-{row.factors.get('mode')}"
    return row.name.removesuffix(ending) if row.name.endswith(ending) else ""


def _line(stem: str, group: Sequence[Row]) -> tuple[str, int, str, str]:
    first = group[0]
    study = " ".join(sorted(row.study_id for row in group if row.study_id))
    name, note = first.name, first.note
    if len(group) > 1:
        starts, modes = (", ".join(dict.fromkeys(r.factors[factor] for r in group)) for factor in ("start", "mode"))
        name, note = f"{stem}-START-MODE", f"START {starts}; MODE {modes}"
    return name, len(group), first.family, "; ".join(filter(None, (note, study)))


def _numbers(patches: Mapping[str, int]) -> str:
    return "/".join(str(count) for count in patches.values())


def _print(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "row")
    for line in lines:
        table.add_row(*(escape(str(value)) for value in line))
    console.print(table)
