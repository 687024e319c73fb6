"""Names to methods and data sets: the one place that knows the folders."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark import ROOT
from benchmark.api import Row, UserError, code, digest
from benchmark.sources import Source

FAMILIES = ("floor", "threshold", "probabilistic", "forest", "boosting", "cnn", "foundation")


@cache
def _modules(folder: str) -> tuple[ModuleType, ...]:
    """Import the public modules of a folder; one that is broken, or lacks its rows or source, is left out."""
    found = []
    for info in sorted(pkgutil.iter_modules([str(ROOT / folder)]), key=lambda info: info.name):
        if info.ispkg or info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{folder}.{info.name}")
            _check(module, folder)
        except Exception as error:
            warnings.warn(f"{folder}/{info.name}.py is left out: {type(error).__name__}: {error}", stacklevel=2)
            continue
        found.append(module)
    return tuple(found)


def _check(module: ModuleType, folder: str) -> None:
    """Raise where a module holds no SOURCE or ROWS, or rows of a family that no table knows."""
    if folder == "datasets":
        assert module.SOURCE.name, "SOURCE has no name"
        return
    for row in module.ROWS:
        _check_family(row)


def _check_family(row: Row) -> None:
    if row.family not in FAMILIES:
        raise ValueError(f"row {row.name} has family '{row.family}'; families are {', '.join(FAMILIES)}")


@cache
def rows() -> dict[str, Row]:
    """Return every enumerated row by name, from the floor to the foundation models."""
    found = [row for module in _methods() for row in module.ROWS]
    names = [row.name for row in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two rows are called '{twice[0]}'; names must differ")
    return {row.name: row for row in sorted(found, key=lambda row: FAMILIES.index(row.family))}


def row(name: str) -> Row:
    """Return the row of a name: an enumerated one, else what a module makes of the name in its `resolve`.

    Raises:
        UserError: there is no such row; the sentence names those that are spelt alike.
    """
    known = rows()
    found = known.get(name) or _resolved(name)
    if found is not None:
        return found
    alike = get_close_matches(name, known, 3, 0.75)
    hint = f"; did you mean {' or '.join(alike)}?" if alike else ";"
    raise UserError(f"no row is called '{name}'{hint} `python -m benchmark list` shows them all")


@cache
def _resolved(name: str) -> Row | None:
    """Return the row that a module makes of a name, None where none knows it."""
    for module in _methods():
        found: Row | None = module.resolve(name) if hasattr(module, "resolve") else None
        if found is not None:
            _check_family(found)
            return found
    return None


def names() -> tuple[str, ...]:
    """Return what modules say of the names that are rows without being enumerated (their `NAMES`)."""
    return tuple(module.NAMES for module in _methods() if hasattr(module, "NAMES"))


def _methods() -> tuple[ModuleType, ...]:
    return _modules("baselines") + _modules("models")


@cache
def sources() -> dict[str, Source]:
    """Return every kind of data set by name."""
    return {module.SOURCE.name: module.SOURCE for module in _modules("datasets")}


def pretraining() -> Callable[..., Any]:
    """Return what pretrains backbones: the class that a module of `models` holds as PRETRAIN."""
    return next(module.PRETRAIN for module in _modules("models") if hasattr(module, "PRETRAIN"))


def choose(names: Iterable[str], everything: Iterable[str], among: Iterable[Row] | None = None) -> list[Row]:
    """Return the rows that names, globs or 'all' stand for, in the order of the catalogue.

    Args:
        names: what the user typed.
        everything: names and globs that 'all' stands for.
        among: rows that a glob may match, whether enumerated or not; None: the enumerated ones.

    Raises:
        UserError: a name or glob that matches no row.
    """
    known = list(rows().values())
    pool = known if among is None else list(among)
    chosen: dict[str, Row] = {}
    for name in names:
        patterns, source = (tuple(everything), known) if name == "all" else ((name,), pool)
        found = [row for pattern in patterns for row in _matching(pattern, source)]
        if not found:
            raise UserError(f"no row is called '{name}'; `python -m benchmark list` shows them all")
        chosen |= {row.name: row for row in found}
    return ordered(chosen.values())


def _matching(pattern: str, pool: Iterable[Row]) -> list[Row]:
    """Return the rows of a pool that a glob matches, or the row of a name, wherever it is from."""
    if set(pattern) & set("*?["):
        return [row for row in pool if fnmatchcase(row.name, pattern)]
    return [row(pattern)]


def ordered(chosen: Iterable[Row]) -> list[Row]:
    """Return rows in the order of the catalogue, those made of a name after the enumerated ones of their family."""
    place = {name: number for number, name in enumerate(rows())}
    return sorted(chosen, key=lambda row: (FAMILIES.index(row.family), place.get(row.name, len(place))))


def with_controls(rows: Sequence[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows with the control of each beside it, and the names of those that came in so."""
    wanted = {row.name for row in rows}
    controls = {one.control: row(one.control) for one in rows if one.control and one.control not in wanted}
    return ordered([*rows, *controls.values()]), tuple(controls)


def code_hash(row: Row) -> str:
    """Return a hash of what a row's numbers come from: its method, fixed parameters and the code behind them.

    The code is the syntax tree of the method's module and of the helper modules (`_*.py`) beside it, so comments and
    layout do not make finished work stale.
    """
    path = Path(inspect.getfile(row.method))
    helpers = sorted(path.parent.glob("_*.py"))
    params = sorted((name, repr(value)) for name, value in row.params.items())
    space = row.space.__qualname__ if row.space else ""
    return digest(row.method.__qualname__, params, space, *(_code(file) for file in (path, *helpers)))


_code = cache(code)


def package_missing(name: str) -> bool:
    """Whether a package that a row needs is not installed."""
    package = name.split(".")[0]
    return package not in sys.modules and importlib.util.find_spec(package) is None
