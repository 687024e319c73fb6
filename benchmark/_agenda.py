"""Which cells may start, and which of them first: those after which most remains to be done."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from benchmark import record
from benchmark.plan import Cell, Plan
from benchmark.record import OK, Record
from benchmark.spending import total

# Seconds of a fit at quick size (24 patches of 224 pixels, 8 epochs) on two cores, measured; where no record tells, and
# only for the order.
SECONDS = {"foundation": 35.0, "cnn": 36.0, "forest": 14.0, "boosting": 4.0}


class Agenda:
    """The cells that have not started.

    Args:
        todo: plans of single cells by `name_of` them.
        out: root of what is kept; what rows took before is looked up there.
    """

    def __init__(self, todo: Mapping[Path, Plan], out: Path) -> None:
        self._todo = dict(todo)
        self._order: TopologicalSorter[Path] = TopologicalSorter()
        followers: dict[Path, list[Path]] = defaultdict(list)
        cells = {name: task.cells[0] for name, task in todo.items()}
        for name, cell in cells.items():
            before = [one for one in _built_on(cell) if one in todo]
            self._order.add(name, *before)
            for one in before:
                followers[one].append(name)

        @cache
        def remaining(name: Path) -> float:
            return _seconds(cells[name], out) + max(map(remaining, followers[name]), default=0.0)

        self.remaining = {name: remaining(name) for name in cells}
        self._order.prepare()
        self._ready: list[tuple[float, int, Path]] = []
        self._place = {name: place for place, name in enumerate(cells)}
        self._admit()

    def _admit(self) -> None:
        for name in self._order.get_ready():
            heapq.heappush(self._ready, (-self.remaining[name], self._place[name], name))

    def next(self) -> Plan | None:
        """Return a plan of a cell that may start, each once; None where none may."""
        return self._todo.pop(heapq.heappop(self._ready)[2]) if self._ready else None

    def end(self, cell: Cell) -> None:
        """Let cells start that build on this one."""
        self._order.done(name_of(cell))
        self._admit()


def name_of(cell: Cell) -> Path:
    """Return what names a cell: its folder from the root of what is kept."""
    return cell.folder(Path())


def recorded(cell: Cell, out: Path) -> Record | None:
    """Return a record of the same row and data set, tuned or not as the cell, if there is a finished one."""
    return _recorded(cell.folder(out).parent, cell.folder(out).name.partition("-")[0])


@cache
def _recorded(folder: Path, kind: str) -> Record | None:
    found = (record.read(path) for path in sorted(folder.glob(f"{kind}-*")))
    return next((kept for kept in found if kept is not None and kept.status == OK), None)


def _built_on(cell: Cell) -> set[Path]:
    """Return the names of the cells whose records a cell reads."""
    if not cell.tuned:
        return set()
    return {name_of(cell.default()), *([name_of(cell.first_seed())] if cell.seed else [])}


def _seconds(cell: Cell, out: Path) -> float:
    """Return about how long a cell takes."""
    kept = recorded(cell, out)
    if kept is not None and not (cell.tuned and cell.seed):
        return kept.seconds
    default = recorded(cell.default(), out)
    fit = total(default) if default is not None else SECONDS.get(cell.family, 1.0)
    return fit * (cell.trials - 1 if cell.tuned and cell.seed == 0 and not cell.allowance else 1) + cell.allowance
