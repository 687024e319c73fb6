"""Which cells may start, and which of them first: those after which most remains to be done."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmark import record
from benchmark.plan import Cell, Plan
from benchmark.record import OK, Record
from benchmark.spending import total

# Seconds of a fit at quick size (24 patches of 224 pixels, 8 epochs) on two cores, measured; where no record tells, and
# only for the order.
SECONDS = {"foundation": 35.0, "cnn": 36.0, "forest": 14.0, "boosting": 4.0}


class Cost(NamedTuple):
    """What a finished run took, and of what size it was; all that is kept of its record here.

    Attributes:
        profile: name of the profile.
        size: pixels of a patch, and patches of an optimiser step.
        seconds: of the cell as a whole, and of what it spent on learning.
        memory: bytes, the higher of the peaks; 0: not known.
    """

    profile: str
    size: tuple[float, int]
    seconds: tuple[float, float]
    memory: int


class Agenda:
    """The cells that have not started.

    Args:
        todo: plans of single cells by the names of these.
        out: root of what is kept; what rows took before is looked up there.
    """

    def __init__(self, todo: Mapping[Path, Plan], out: Path) -> None:
        self._todo, self._out = dict(todo), out
        self._costs: dict[tuple[Path, bool], list[Cost]] = {}
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
            return self._seconds(cells[name]) + max(map(remaining, followers[name]), default=0.0)

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
        self._order.done(cell.name)
        self._admit()

    def learn(self, cell: Cell, kept: Record) -> None:
        """Take note of what a run took, for those that follow."""
        if kept.status == OK:
            self._of(cell).append(_cost(kept))

    def memory(self, task: Plan) -> int:
        """Return the most bytes that runs like this one took: same row, pixels of a patch and batch; 0: none is known.

        That is of tuned runs for a tuned one, where there are some.
        """
        (cell,) = task.cells
        size = _pixels(task.store), cell.budget.batch
        each = [[cost.memory for cost in self._of(one) if cost.size == size] for one in (cell, cell.default())]
        return max(each[0] or each[1], default=0)

    def _of(self, cell: Cell) -> list[Cost]:
        """Return what finished runs of the same row and data set took, tuned or not as the cell."""
        folder = cell.folder(self._out).parent
        if (place := (folder, cell.tuned)) not in self._costs:
            found = map(record.read, sorted(folder.glob("tuned-*" if cell.tuned else "default-*")))
            self._costs[place] = [_cost(kept) for kept in found if kept is not None and kept.status == OK]
        return self._costs[place]

    def _seconds(self, cell: Cell) -> float:
        """Return about how long a cell takes."""
        own, defaults = (
            [cost.seconds for cost in self._of(one) if cost.profile == cell.profile] for one in (cell, cell.default())
        )
        if own and not (cell.tuned and cell.seed):
            return max(whole for whole, _ in own)  # the one that searched
        fit = median(learning for _, learning in defaults) if defaults else SECONDS.get(cell.family, 1.0)
        return fit * (cell.trials - 1 if cell.tuned and cell.seed == 0 and not cell.allowance else 1) + cell.allowance


def _cost(kept: Record) -> Cost:
    size = kept.pixels / max(1, len(kept.patches)), kept.cell["budget"]["batch"]
    return Cost(kept.cell["profile"], size, (kept.seconds, total(kept)), kept.rss or 0)


@cache
def _pixels(store: Path) -> float:
    """Return the pixels of a patch of a patch set."""
    _, height, width = json.loads((store / "mask" / ".zarray").read_text())["shape"]
    return float(height * width)


def _built_on(cell: Cell) -> set[Path]:
    """Return the names of the cells whose records a cell reads."""
    if not cell.tuned:
        return set()
    return {cell.default().name, *([cell.first_seed().name] if cell.seed else [])}
