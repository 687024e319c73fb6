"""Fit a row on train and score it on validation; nothing here can reach test pixels."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import label_noise, scores, spending, tune, weights
from benchmark.api import Context, Images, Method, Row, UserError, digest
from benchmark.data import open_part
from benchmark.features import FeatureCache
from benchmark.measure import Meter
from benchmark.plan import Cell, Plan
from benchmark.profiles import PROFILES
from benchmark.record import Record
from benchmark.splits import Split

Report = Callable[..., None]
MARGIN = 0.9  # of a cell's time that the fit may take; the rest is for predicting and counting


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
    """A fitted method and what fitting it was like; `histogram` is `scores.histogram` of the validation part."""

    method: Method
    context: Context
    meter: Meter
    validation: float
    histogram: np.ndarray
    changes: dict[str, Any]
    curves: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def fit(
    bench: Bench,
    changes: dict[str, Any],
    prune: Report = lambda step, **values: None,
    seconds: float | None = None,
) -> Fitted:
    """Fit the row with changed fields; seeds are set before the method is built.

    Args:
        bench: what all fits share.
        changes: field -> value.
        prune: called with what the method reports; may raise to end the fit.
        seconds: that the fit may take; None: what the cell leaves.
    """
    cell, meter = bench.cell, Meter(bench.cell.device)
    curves: list[dict[str, float]] = []
    facts: dict[str, Any] = {}

    def report(step: int, **values: float) -> None:
        curves.append({"epoch": step, **values})
        print(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        prune(step, **values)

    cache = FeatureCache(bench.out / "features", meter.clock)
    context = _context(bench, report, cache, _allowed(cell) if seconds is None else seconds)
    context = replace(context, fact=_keeper(facts), training=_training(bench, changes))
    reads = bench.row.reads
    train, val = (open_part(bench.plan.store, bench.split, cell.bands, part, reads) for part in ("train", "val"))
    train = label_noise.treat(train, cell.labels, cell.seed)
    seed_everything(cell.seed)
    method = bench.row.method(**{**changes, **bench.row.params})
    with meter.peaks("fit"), meter.lap("fit"):
        method.fit(train, val, context)
    # The steps' own gauge starts PyTorch's peak anew for each phase; what it saw counts too.
    if seen := [size for name, size in facts.items() if name.startswith("vram_")]:
        meter.memory["vram_allocated"] = max(meter.memory["vram_allocated"] or 0, *seen)
    meter.laps["fit"][-1] += float(facts.get("resumed_s", 0.0)) - cache.spent
    if cache.seconds:
        meter.laps["encode"] = list(cache.seconds)
    with meter.lap("validate"):
        probability = np.concatenate([values for _, values in predictions(method, val.images, context)])
    mask = val.masks()
    histogram = scores.histogram(probability, mask)
    return Fitted(method, context, meter, scores.ranking(probability, mask), histogram, changes, curves, facts)


def _allowed(cell: Cell) -> float:
    """Return the seconds that a fit may take where it is the only one."""
    return cell.allowance or MARGIN * PROFILES[cell.profile].timeout


def _context(bench: Bench, report: Report, cache: FeatureCache, seconds: float) -> Context:
    """Return what the harness lends the method."""
    return Context(
        seed=bench.cell.seed,
        device=bench.cell.device,
        budget=bench.cell.budget,
        score=scores.ranking,
        report=report,
        features=cache,
        weights=_checkpoint(bench),
        seconds=seconds,
    )


def _checkpoint(bench: Bench) -> Path | None:
    """Return the checkpoint of the row, None where it has none.

    Raises:
        UserError: it is not here, or not the one that the plan was made with, and that the record would name.
    """
    known = bench.plan.weights.get(bench.cell.row)
    if known is None:
        return None
    path = Path(known)
    if not path.is_file():
        raise UserError(f"checkpoint {path} is not on this machine; put it where all machines see it")
    if weights.checksum(path, bench.out / "weights.json") != bench.cell.weights:
        raise UserError(f"checkpoint {path} changed after the plan was made; run the command again")
    return path


def _keeper(facts: dict[str, Any]) -> Callable[[str, Any], None]:
    """Return what puts a value among the facts.

    Raises:
        TypeError: from what is returned, at a value that no record can hold.
    """

    def keep(name: str, value: Any) -> None:
        facts[name] = json.loads(json.dumps(value))

    return keep


def _training(bench: Bench, changes: dict[str, Any]) -> Path:
    """Return the folder of a fit's checkpoints, made if need be; the same fit, started again, gets the same."""
    folder = bench.cell.training(bench.out) / digest(sorted(changes.items()))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
            answer = np.asarray(method.predict(batch, context))
        probability = _half(answer)
        if probability.shape != (len(batch), *batch.shape[2:]):
            raise ValueError(f"predict gave shape {probability.shape} for images of shape {batch.shape}")
        yield where, probability


def _half(probability: np.ndarray) -> np.ndarray:
    """Round to float16 without moving a pixel across one half."""
    half = probability.astype(np.float16)
    return np.where((probability > 0.5) & (half <= 0.5), np.nextafter(np.float16(0.5), np.float16(1)), half)


def search(bench: Bench, default: Record) -> tune.Tuned:
    """Search the row's space, its default run being the first trial; the best trial's `Fitted` comes with it.

    With an allowance, what the default run has cost is no longer there for the trials.
    """
    assert default.validation is not None
    cell = bench.cell
    curve = [(int(point["epoch"]), point["score"]) for point in default.curves if "score" in point]
    first = tune.Defaults(default.validation, curve, spending.of_fit(default.laps))
    cap = cell.allowance - first.seconds if cell.allowance else cell.cap
    # A default run made anew starts the search anew, and two places that share a storage do not share a study.
    name = digest(cell.key, default.started, default.environment.get("host", ""))[:32]
    storage = bench.plan.storage or str(bench.out / "tuning" / f"{name}.journal")

    def trial(changes: dict[str, Any], report: Report, left: float) -> tuple[Fitted | None, float]:
        print(f"trial with {changes}")
        try:
            fitted = fit(bench, changes, report, left if cell.allowance else None)
        except Exception:
            shutil.rmtree(_training(bench, changes), ignore_errors=True)
            raise
        # What a fit that was ended by a signal has left stays for the next; another worker may try the same values.
        shutil.rmtree(_training(bench, changes), ignore_errors=True)
        # On a GPU the winner is fitted again: a network kept there would count in the next trial's memory.
        return (fitted if cell.device == "cpu" else None), fitted.validation

    return tune.search(bench.row, first, trial, tune.Effort(cell.trials, cap, cell.seed, name, storage))


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and, where it is loaded, PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries draw from the global generator)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
