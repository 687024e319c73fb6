"""Lines of the leaderboard: a row with its defaults or tuned, seeds pooled, as numbers derived from its records.

What was not measured is NaN or None, never 0. 1 MB is 10^6 bytes.
"""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmark import boundary, evidence, probability_summary, record
from benchmark.plan import Cell, Plan
from benchmark.probability_summary import Summary
from benchmark.record import FAILED, NOT_RUN, OK, TIMEOUT, Record
from benchmark.scores import PROBABILITY_SCORES, SCORES, histogram, jaccard, scores
from benchmark.stats import Tally, by_scene, interval, resample
from benchmark.views._probability_draws import Parts, parts

MISSING = "missing"
STATUSES = (OK, FAILED, TIMEOUT, NOT_RUN, MISSING)  # the order of the table; of several seeds the first after OK counts
INTERVAL = ("jaccard", "jaccard_low", "jaccard_high")
TIES = ("tied", "detectable")  # with the first row, see `tables.leaderboard`
COSTS = (
    *("fit_s", "encode_s", "tune_s", "mpixel_per_s", "latency_ms", "parameters", "trainable"),
    *("rss_mb", "rss_over_start_mb", "vram_allocated_mb", "vram_reserved_mb", "vram_process_mb", "energy_j"),
)
EDGE = "2"  # pixels
OUTLINE = (f"boundary_jaccard_{EDGE}", f"boundary_f1_{EDGE}")
_PHASES = ("load", "forward", "backward", "step")  # of an optimiser step
FACTS = ("step_s", "mfu", *(f"vram_{phase}_mb" for phase in _PHASES))
COLUMNS = (
    *("row", "family", "status", "reason", "tuned", "seeds"),
    *INTERVAL,
    *(name for name in SCORES if name != "jaccard"),
    *PROBABILITY_SCORES,
    *OUTLINE,
    *TIES,
    *COSTS,
    *FACTS,
    *("trials", "study_id", "device", "shared", "labels", "circular", "note"),
)
_VRAM = ("vram_allocated", "vram_reserved", "vram_process")


@dataclass(frozen=True)
class Line:
    """A row with its defaults or tuned: its cells, one a seed, and their records (None: not finished)."""

    cells: tuple[Cell, ...]
    records: tuple[Record | None, ...]
    out: Path

    @property
    def first(self) -> Cell:
        """The cell of the first seed."""
        return self.cells[0]

    @property
    def ok(self) -> tuple[Record, ...]:
        """The records, if every seed ended well; else nothing."""
        found = tuple(r for r in self.records if r is not None and r.status == OK)
        return found if len(found) == len(self.cells) else ()

    @cached_property
    def summaries(self) -> tuple[Summary | None, ...]:
        """What the stored probabilities of each seed come to, of a line that is `ok`; None where they are not kept.

        Raises:
            ValueError: the truth is that of other patches.
        """
        stored = [evidence.stored(cell, kept, self.out) for cell, kept in zip(self.cells, self.ok, strict=True)]
        return tuple(one and probability_summary.summary(one[0], one[1] / "mask.npy") for one in stored)

    @property
    def ending(self) -> tuple[str, str]:
        """Status and reason: of the worst seed, the first of them."""
        ends = [_ending(cell, kept) for cell, kept in zip(self.cells, self.records, strict=True)]
        worst = min((end for end, _ in ends if end != OK), key=STATUSES.index, default=OK)
        seed, reason = next((cell.seed, why) for cell, (end, why) in zip(self.cells, ends, strict=True) if end == worst)
        several = len(self.cells) > 1 and worst != OK
        return worst, f"seed {seed}: {reason}" if several else reason


def _ending(cell: Cell, kept: Record | None) -> tuple[str, str]:
    if kept is not None:
        return kept.status, kept.reason
    return (NOT_RUN, cell.absent) if cell.absent else (MISSING, "no record yet")


def lines(plan: Plan, out: Path) -> list[Line]:
    """Return the lines of a plan with their records, in the order of the plan."""
    return _lines(plan, out, {})


def by_plan(plans: Iterable[Plan], out: Path) -> dict[str, list[Line]]:
    """Return `lines` by name of the plan; a record of several plans is read once."""
    kept: dict[Path, Record | None] = {}
    with _unwatched():
        return {plan.name: _lines(plan, out, kept) for plan in plans}


@contextmanager
def _unwatched() -> Iterator[None]:
    """Keep Python's collector of cycles away from records, which hold none: a quarter of a report of 10,000."""
    watched = gc.isenabled()
    gc.collect()  # or what waits for it would be kept as well
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if watched:
            gc.enable()


def _lines(plan: Plan, out: Path, kept: dict[Path, Record | None]) -> list[Line]:
    groups: dict[tuple[str, bool], list[tuple[Cell, Path]]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.row, cell.tuned), []).append((cell, folder := cell.folder(out)))
        if folder not in kept:
            kept[folder] = record.read(folder)
    return [
        Line(tuple(cell for cell, _ in group), tuple(kept[folder] for _, folder in group), out)
        for group in groups.values()
    ]


def values(line: Line) -> dict[str, Any]:
    """Return the columns of one line."""
    cell, (status, reason) = line.first, line.ending
    told = {"row": cell.row, "family": cell.family, "status": status, "reason": reason, "tuned": cell.tuned}
    ends = {"seeds": len(line.cells), "study_id": cell.study_id, "device": cell.device, "note": cell.note}
    ends |= {"labels": cell.labels, "circular": " ".join(cell.circular)}
    ends["shared"] = any(kept is not None and kept.environment.get("workers", 1) > 1 for kept in line.records)
    return dict.fromkeys(COLUMNS, math.nan) | (_measured(line, line.ok) if line.ok else {}) | told | ends


def _measured(line: Line, done: Sequence[Record]) -> dict[str, Any]:
    told = {**_outline(done), **_costs(done), **_facts(done), **_trials(line)}
    return {**_scores(line), **_probability_scores(line), **told}


def _scores(line: Line) -> dict[str, float]:
    """Return the scores of confusion counts, and the interval of the metric that ranks."""
    pooled = np.stack([np.sum(kept.counts, axis=0) for kept in line.ok])
    if not pooled.any():
        return {}
    means = {name: _mean(score) for name, score in scores(pooled).items()}
    found = tally(line, [kept.counts for kept in line.ok])
    if found is None:
        return means
    own = interval(resample(found.counts, jaccard))
    return {**means, "jaccard_low": own.low, "jaccard_high": own.high}


def tally(line: Line, counts: Sequence[Sequence[Sequence[int]]]) -> Tally | None:
    """Return counts by seed and scene with a known pixel; None if a record has none, or its seeds saw other patches.

    Args:
        line: whose seeds all ended well.
        counts: of each seed, (patches, k).
    """
    done = line.ok
    if not all(counts) or len({tuple(kept.patches) for kept in done}) != 1:
        return None
    scenes = np.array(sorted(set(done[0].scenes)))
    known = by_scene(np.asarray(done[0].counts), done[0].scenes).sum(1) > 0
    summed = np.stack([by_scene(np.asarray(each), kept.scenes) for each, kept in zip(counts, done, strict=True)])
    return Tally(tuple(cell.seed for cell in line.cells), tuple(scenes[known].tolist()), summed[:, known])


def _probability_scores(line: Line) -> dict[str, float]:
    each = [one.scores for one in line.summaries if one is not None and one.scores]
    return {name: _mean([score[name] for score in each]) for name in PROBABILITY_SCORES}


def _outline(done: Sequence[Record]) -> dict[str, float]:
    """Return the scores of outlines, of pooled counts; NaN if a record is without them."""
    if not all(kept.boundary for kept in done):
        return {}
    each = boundary.scores({EDGE: np.stack([np.sum(kept.boundary[EDGE], axis=0) for kept in done])})
    return {name: _mean(each[name]) for name in OUTLINE}


def histogram_of(cell: Cell, kept: Record, out: Path) -> np.ndarray | None:
    """Return `scores.histogram` of a cell's stored probabilities; None where they or the truth are not kept.

    Raises:
        ValueError: the truth is that of other patches.
    """
    found = _stored(cell, kept, out)
    return None if found is None else found[0]


def parts_of(cell: Cell, kept: Record, out: Path) -> Parts | None:
    """Return what each scene with a known pixel adds to the scores of a cell's probabilities, as `histogram_of`."""
    found = _stored(cell, kept, out)
    return None if found is None else found[1]


def _stored(cell: Cell, kept: Record, out: Path) -> tuple[np.ndarray, Parts] | None:
    found = evidence.stored(cell, kept, out)
    if found is None:
        return None
    probabilities, truth = found
    return _histograms(probabilities, truth / "mask.npy", tuple(kept.scenes), probabilities.stat().st_mtime_ns)


@cache
def _histograms(stored: Path, truth: Path, scenes: tuple[str, ...], changed: int) -> tuple[np.ndarray, Parts]:
    """Return the histogram of two files, and its parts by scene; `changed` makes a rewritten file another one."""
    probability, mask = np.load(stored, mmap_mode="r"), np.load(truth, mmap_mode="r")
    places = [np.flatnonzero(np.array(scenes) == scene) for scene in sorted(set(scenes))]
    each = np.stack([histogram(probability[place], mask[place]) for place in places])
    return each.sum(0), parts(each[each.any((1, 2))])


def _costs(done: Sequence[Record]) -> dict[str, float | int | None]:
    """Return the costs: medians over seeds of times, energy and sizes, the highest of the peaks of memory.

    `encode_s` counts features that were there already, `energy_j` only what ran (see `_energy`).
    """
    speed = [kept.pixels / 1e6 / spent for kept in done if (spent := sum(kept.laps.get("predict", ())))]
    return {
        **{f"{phase}_s": _median(_lap(kept, phase) for kept in done) for phase in ("fit", "encode", "tune")},
        "mpixel_per_s": _median(speed),
        "latency_ms": 1e3 * _median(lap for kept in done for lap in kept.laps.get("latency", ())),
        "parameters": _whole(_median((kept.parameters or {}).get("total") for kept in done)),
        "trainable": _whole(_median((kept.parameters or {}).get("trainable") for kept in done)),
        "rss_mb": _peak(done, lambda kept: kept.rss),
        "rss_over_start_mb": _peak(done, lambda kept: _less(kept.rss, kept.memory.get("rss_start"))),
        **{f"{name}_mb": _peak(done, lambda kept, name=name: kept.memory.get(name)) for name in _VRAM},  # type: ignore[misc]
        "energy_j": _median(_energy(kept) for kept in done),
    }


def _facts(done: Sequence[Record]) -> dict[str, float]:
    """Return what the methods said of their optimiser steps: medians over seeds, the highest of the peaks of memory."""
    return {
        **{name: _median(kept.facts.get(name) for kept in done) for name in ("step_s", "mfu")},
        **{f"vram_{phase}_mb": _peak(done, _fact(f"vram_{phase}")) for phase in _PHASES},
    }


def _fact(name: str) -> Callable[[Record], int | None]:
    return lambda kept: kept.facts.get(name)


def _trials(line: Line) -> dict[str, int]:
    """Return how many trials of a tuned line ended with a score, the defaults among them; the seeds share them."""
    finished = [trial for trial in line.ok[0].trials if trial["state"] == "complete"]
    return {"trials": len(finished)} if line.first.tuned else {}


def _lap(kept: Record, phase: str) -> float | None:
    laps = kept.laps.get(phase)
    return sum(laps) if laps else None


def _less(size: int | None, start: int | None) -> int | None:
    return None if size is None or start is None else size - start


def _energy(kept: Record) -> float | None:
    """Return the device's joules while it fitted, with encoding what features were missing, and predicted."""
    known = [joules for joules in kept.energy.values() if joules is not None]
    return sum(known) if known and len(known) == len(kept.energy) else None


def _peak(done: Iterable[Record], size: Callable[[Record], int | None]) -> float:
    return max((found / 1e6 for kept in done if (found := size(kept)) is not None), default=math.nan)


def _median(found: Iterable[float | None]) -> float:
    known = [value for value in found if value is not None]
    return float(median(known)) if known and not any(map(math.isnan, known)) else math.nan


def _mean(found: Any) -> float:
    if len(found) and not np.isnan(found).any():
        return float(np.mean(found))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return float(np.nanmean(found)) if len(found) else math.nan


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else round(value)
