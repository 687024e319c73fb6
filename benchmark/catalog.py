"""Names to methods and data sets: the one place that knows the folders."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType

from benchmark import ROOT
from benchmark.api import Row, UserError, code, digest
from benchmark.sources import Source

FAMILIES = ("floor", "threshold", "probabilistic", "forest", "boosting", "cnn", "foundation")


def _modules(folder: str) -> Iterable[ModuleType]:
    """Import the public modules of a folder; one that is broken, or lacks its rows or source, is left out."""
    for info in sorted(pkgutil.iter_modules([str(ROOT / folder)]), key=lambda info: info.name):
        if info.ispkg or info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{folder}.{info.name}")
            _check(module, folder)
        except Exception as error:
            warnings.warn(f"{folder}/{info.name}.py is left out: {type(error).__name__}: {error}", stacklevel=2)
            continue
        yield module


def _check(module: ModuleType, folder: str) -> None:
    """Raise where a module holds no SOURCE or ROWS, or rows of a family that no table knows."""
    if folder == "datasets":
        assert module.SOURCE.name, "SOURCE has no name"
        return
    for row in module.ROWS:
        if row.family not in FAMILIES:
            raise ValueError(f"row {row.name} has family '{row.family}'; families are {', '.join(FAMILIES)}")


@cache
def rows() -> dict[str, Row]:
    """Return every row by name, from the floor to the foundation models."""
    found = [row for folder in ("baselines", "models") for module in _modules(folder) for row in module.ROWS]
    names = [row.name for row in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two rows are called '{twice[0]}'; names must differ")
    return {row.name: row for row in sorted(found, key=lambda row: FAMILIES.index(row.family))}


@cache
def sources() -> dict[str, Source]:
    """Return every kind of data set by name."""
    return {module.SOURCE.name: module.SOURCE for module in _modules("datasets")}


def choose(names: Iterable[str], everything: Iterable[str]) -> list[Row]:
    """Return the rows that names, globs or 'all' stand for, in the order of the catalogue.

    Raises:
        UserError: a name or glob that matches no row.
    """
    wanted: set[str] = set()
    for name in names:
        patterns = tuple(everything) if name == "all" else (name,)
        matched = {row for row in rows() for pattern in patterns if fnmatchcase(row, pattern)}
        if not matched:
            raise UserError(f"no row is called '{name}'; `python -m benchmark list` shows them all")
        wanted |= matched
    return [row for name, row in rows().items() if name in wanted]


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
