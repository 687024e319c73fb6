"""Fit one row on random splits of the patches, to say how much better than the truth they would make it look.

A random split is made here, used and forgotten: it never becomes a file, so nothing else can be trained on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from io import StringIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmark import catalog, cell, patchset, record, scores, splits, stats
from benchmark.api import UserError
from benchmark.fitting import Bench
from benchmark.optimism import ROW, Optimism, cell_of, path_of, read
from benchmark.plan import Plan
from benchmark.record import Record

SPLITS = 3  # random splits


def measure(plan: Plan, out: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Optimism:
    """Return the optimism of a random split of a plan's patches; measured if it was not before, and kept.

    The numbers are told and never used to choose anything.

    Args:
        plan: holds the row `optimism.ROW` with its defaults; its record is used where it has one.
        out: root of what is kept.
        progress: called with fits done and fits in all.

    Raises:
        UserError: the plan does not hold the row, or the row cannot run.
    """
    kept = read(plan, out)
    if kept is not None:
        return kept
    one = cell_of(plan)
    if one is None or one.absent:
        raise UserError(f"optimism is measured with the row {ROW}: {one.absent if one else 'the plan lacks it'}")
    split = splits.read(plan.split, plan.store)
    sizes = {part: len(ids) for part, ids in split.parts.items()}
    found = Optimism(one.code, split.unit, one.bands, one.budget.pixels, sizes, same=_same(split, plan.store))
    if not found.same:
        found = _measured(found, Bench(plan, replace(one, latency=0), out, catalog.row(ROW), split), progress)
    record.write_json(path_of(one, out), asdict(found))
    return found


def random_split(split: splits.Split, seed: int) -> splits.Split:
    """Return a split of the same patches, drawn at random, into parts of the same sizes; it leaks on purpose."""
    pool = list(chain.from_iterable(split.parts.values()))
    drawn = iter(np.random.default_rng(seed).permutation(len(pool)))
    parts = {part: tuple(pool[next(drawn)] for _ in ids) for part, ids in split.parts.items()}
    return replace(split, unit="patch", parts=parts)


def _same(split: splits.Split, store: Path) -> bool:
    """Whether every group of the split has one patch."""
    rows = patchset.table(store)
    used = set(chain.from_iterable(split.parts.values()))
    groups = zip(rows.ids, splits.groups_of(rows, split.unit), strict=True)
    return max(Counter(group for patch, group in groups if patch in used).values()) == 1


def _measured(found: Optimism, bench: Bench, progress: Callable[[int, int], None]) -> Optimism:
    honest = record.read(bench.cell.folder(bench.out))
    if honest is None or honest.status != record.OK:
        honest = _run(bench)
    claims = []
    for seed in range(SPLITS):
        progress(1 + seed, 1 + SPLITS)
        claims.append(_pooled(_run(replace(bench, split=random_split(bench.split, seed)))))
    by_scene = stats.by_scene(np.asarray([honest.counts]), honest.scenes)
    known = stats.interval(stats.resample(by_scene, scores.jaccard))
    interval = (known.low, known.high)
    return replace(found, scenes=known.scenes, honest=_pooled(honest), interval=interval, random=tuple(claims))


def _run(bench: Bench) -> Record:
    """Return the record of a row, fitted and tested as every cell is; its files are not kept."""
    with TemporaryDirectory(dir=bench.out, prefix=".optimism-") as folder:
        one = replace(bench.cell, split=splits.split_hash(bench.split))
        one.folder(Path(folder)).mkdir(parents=True)
        with redirect_stdout(StringIO()):  # a cell's log, which only its own folder is for
            return cell.run(replace(bench, cell=one, out=Path(folder)))[0]


def _pooled(done: Record) -> dict[str, float]:
    """Return every score of the pooled counts of a record."""
    return {name: float(value) for name, value in scores.scores(np.sum(done.counts, axis=0)).items()}
