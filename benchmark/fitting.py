"""Fit a row on train and score it on validation; nothing here can reach test pixels."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import scores, tune
from benchmark.api import Context, Images, Method, Row
from benchmark.data import open_part
from benchmark.features import FeatureCache
from benchmark.measure import Meter
from benchmark.plan import Cell, Plan
from benchmark.record import Record
from benchmark.splits import Split

Report = Callable[..., None]


@dataclass(frozen=True)
class Bench:
    """What every fit of a cell shares."""

    plan: Plan
    cell: Cell
    out: Path
    row: Row
    split: Split


@dataclass(frozen=True)
class Fitted:
    """A fitted method and what fitting it was like."""

    method: Method
    context: Context
    meter: Meter
    validation: float
    changes: dict[str, Any]
    curves: list[dict[str, float]] = field(default_factory=list)


def fit(bench: Bench, changes: dict[str, Any], prune: Report = lambda step, **values: None) -> Fitted:
    """Fit the row with changed fields; seeds are set before the method is built."""
    cell, meter = bench.cell, Meter(bench.cell.device)
    curves: list[dict[str, float]] = []

    def report(step: int, **values: float) -> None:
        curves.append({"epoch": step, **values})
        print(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        prune(step, **values)

    cache = FeatureCache(bench.out / "features", meter.clock)
    context = _context(bench, report, cache)
    train, val = (open_part(bench.plan.store, bench.split, cell.bands, part) for part in ("train", "val"))
    seed_everything(cell.seed)
    method = bench.row.method(**{**changes, **bench.row.params})
    with meter.peaks("fit"), meter.lap("fit"):
        method.fit(train, val, context)
    meter.laps["fit"][-1] -= cache.computed
    if cache.seconds:
        meter.laps["encode"] = list(cache.seconds)
    with meter.lap("validate"):
        probability = np.concatenate([values for _, values in predictions(method, val.images, context)])
    return Fitted(method, context, meter, scores.ranking(probability, val.masks()), changes, curves)


def _context(bench: Bench, report: Report, cache: FeatureCache) -> Context:
    """Return what the harness lends the method."""
    weights = bench.plan.weights.get(bench.cell.row)
    return Context(
        seed=bench.cell.seed,
        device=bench.cell.device,
        budget=bench.cell.budget,
        score=scores.ranking,
        report=report,
        features=cache,
        weights=Path(weights) if weights else None,
    )


def predictions(
    method: Method, images: Images, context: Context, meter: Meter | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Predict batch by batch, (where, float16 probability (n, y, x)); reading the patches is inside the lap.

    Raises:
        ValueError: the method answered with another shape.
    """
    for begin in range(0, len(images), context.budget.batch):
        where = slice(begin, min(begin + context.budget.batch, len(images)))
        batch = images.take(where)
        with meter.lap("predict") if meter else nullcontext():
            probability = np.asarray(method.predict(batch, context), np.float16)
        if probability.shape != (len(batch), *batch.shape[2:]):
            raise ValueError(f"predict gave shape {probability.shape} for images of shape {batch.shape}")
        yield where, probability


def search(bench: Bench, default: Record) -> tune.Tuned:
    """Search the row's space, its default run being the first trial; the best trial's `Fitted` comes with it."""
    assert default.validation is not None
    cell = bench.cell
    curve = [(int(point["epoch"]), point["score"]) for point in default.curves if "score" in point]
    first = tune.Defaults(default.validation, curve, sum(default.laps["fit"]))
    storage = bench.plan.storage or str(bench.out / "tuning" / f"{cell.key[:16]}.journal")

    def trial(changes: dict[str, Any], report: Report) -> tuple[Fitted, float]:
        print(f"trial with {changes}")
        fitted = fit(bench, changes, report)
        return fitted, fitted.validation

    return tune.search(bench.row, first, trial, tune.Effort(cell.trials, cell.cap, cell.seed, cell.key, storage))


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and, where it is loaded, PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries draw from the global generator)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
