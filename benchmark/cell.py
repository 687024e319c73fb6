"""One cell in its child process: fit or tune, predict, count. The only module that reads test pixels."""

from __future__ import annotations

import shutil
import time
import traceback
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import (
    artifacts,
    bands,
    catalog,
    embedding,
    evidence,
    feature_health,
    patchset,
    probability_summary,
    record,
    recount,
    scores,
    spending,
    splits,
    strata,
    tune,
)
from benchmark.api import NotRun, UserError
from benchmark.data import open_part
from benchmark.environment import describe
from benchmark.fitting import Bench, Fitted, fit, predictions, search
from benchmark.measure import warm_up
from benchmark.plan import Plan
from benchmark.record import PROBABILITIES, VALIDATION, Record


def main(plan: Plan, out: Path) -> None:
    """Run the one cell of a plan and leave its record; whatever the method raises becomes the record's reason."""
    (cell,) = plan.cells
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    environment: dict[str, Any] = {}
    shown = None
    try:
        row = catalog.row(cell.row)
        if catalog.code_hash(row) != cell.code:
            raise UserError("its code changed after the plan was made; run the command again")
        warm_up(cell.device)
        environment = describe(cell.device)
        bench = Bench(plan, cell, out, row, splits.read(plan.split, plan.store))
        result, shown = run(bench)
    except NotRun as error:
        result = Record(cell.key, asdict(cell), record.NOT_RUN, str(error))
    except Exception as error:
        traceback.print_exc()
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        result = Record(cell.key, asdict(cell), record.FAILED, f"{kind}{error}")
    seconds = time.perf_counter() - begin
    result = replace(result, started=started, seconds=seconds, environment=environment)
    result = replace(result, facts={**result.facts, **spending.facts(result)})
    record.write(result, cell.folder(out))
    if result.status == record.OK:
        shutil.rmtree(cell.training(out), ignore_errors=True)
    if shown is not None:  # after the record: where the cell's time ends in here, its numbers stand
        _keep_features(bench, shown, result)


def run(bench: Bench) -> tuple[Record, Fitted | None]:
    """Return the record of a cell, and what was fitted where a picture of its features is kept: one run of a row."""
    if (chosen := bench.plan.chosen.get(bench.cell.key)) is not None:
        return answer(bench, fit(bench, chosen)), None
    if bench.cell.tuned:
        return _tuned(bench), None
    fitted = fit(bench, {})
    return answer(bench, fitted), fitted if bench.cell.seed == 0 else None


def _tuned(bench: Bench) -> Record:
    """Return the record of a tuned cell."""
    cell = bench.cell
    default = _finished(cell.default().folder(bench.out), "its run with default values")
    found = search(bench, default) if cell.seed == 0 else _search_of_first_seed(bench)
    tuning = [trial["seconds"] for trial in found.trials[1:]]
    if not found.changes:
        return _same_as_default(bench, default, found.trials, tuning)
    done = answer(bench, found.fitted or fit(bench, found.changes))
    return replace(done, trials=found.trials, laps={**done.laps, "tune": tuning})


def answer(bench: Bench, fitted: Fitted) -> Record:
    """Predict the test patches, count, and keep probabilities and the fitted method."""
    cell, meter, method, folder = bench.cell, fitted.meter, fitted.method, bench.cell.folder(bench.out)
    test = open_part(bench.plan.store, bench.split, cell.bands, "test", bench.row.reads)
    images, mask = test.images, test.masks()
    _time_single_patches(bench, fitted, images)
    probability = np.empty(mask.shape, np.float16)
    with meter.peaks("predict"):
        for where, values in predictions(method, images, fitted.context, meter):
            probability[where] = values
    scores.check(probability, mask)
    evidence.save_array(folder / PROBABILITIES, probability)
    evidence.save_array(folder / VALIDATION, fitted.histogram)
    artifacts.save(method, folder / "model", images.bands, images.shape[2:], *_seen(bench.plan.store))
    inside = _keep_truth(bench)
    probability_summary.summary(folder / PROBABILITIES, cell.truth(bench.out) / "mask.npy")
    cloud = probability > 0.5
    return Record(
        key=cell.key,
        cell=asdict(cell),
        status=record.OK,
        params=asdict(method),  # type: ignore[call-overload]
        changes=fitted.changes,
        parameters=getattr(method, "parameters_", None),
        patches=list(bench.split.parts["test"]),
        scenes=list(test.scenes),
        counts=scores.confusion(cloud, mask).tolist(),
        bands=_bands(bench),
        **recount.shapes(cloud, mask),
        facts=fitted.facts,
        strata=strata.count(inside, cloud, mask),
        strata_version=strata.VERSION,
        validation=fitted.validation,
        curves=fitted.curves,
        laps=meter.laps,
        pixels=int(mask.size),
        memory=meter.memory,
        energy=meter.energy,
    )


def _time_single_patches(bench: Bench, fitted: Fitted, images: Any) -> None:
    """Time predictions of one patch; the first, which warms up, is not counted."""
    fitted.method.predict(images.take(slice(0, 1)), fitted.context)
    for place in range(min(bench.cell.latency, len(images))):
        with fitted.meter.lap("latency"):
            fitted.method.predict(images.take(slice(place, place + 1)), fitted.context)


def _seen(store: Path) -> tuple[str, str]:
    """Return the view and the map grid of the products that patches are from, "" where they do not say."""
    products = patchset.arrays(store).attrs.get("provenance")
    facts = [one for one in products.values() if isinstance(one, dict)] if isinstance(products, dict) else []
    view, grid = (", ".join(sorted({str(one[key]) for one in facts if key in one})) for key in ("view", "map_grid"))
    return view, grid


def _bands(bench: Bench) -> list[dict[str, str]]:
    """Return `Record.bands`."""
    own = patchset.arrays(bench.plan.store).bands
    pairs = bands.played(own, bench.cell.bands)
    return [{"name": band.name, "role": own[place].role, "plays": band.role} for place, band in pairs]


def _keep_features(bench: Bench, fitted: Fitted, done: Record) -> None:
    """Keep the health of a method's features, of few train patches, and their picture, of few test patches.

    What goes wrong is printed and put on record; the run's numbers stand without it.
    """
    cell, folder = bench.cell, bench.cell.folder(bench.out)
    train = open_part(bench.plan.store, bench.split, cell.bands, "train", bench.row.reads)
    if health := feature_health.facts(fitted.method, train.images, fitted.context):
        done = replace(done, facts={**done.facts, **health})
        record.write(done, folder)
    try:
        test = open_part(bench.plan.store, bench.split, cell.bands, "test", bench.row.reads)
        few = embedding.few(len(test))
        surface = embedding.surface_of(bench.plan.store, [bench.split.parts["test"][place] for place in few])
        embedding.keep(fitted.method, test.images.take(few), test.masks(few), surface, fitted.context, folder)
    except Exception as error:
        traceback.print_exc()
        facts = {**done.facts, "embedding": f"failed: {type(error).__name__}: {error}"}
        record.write(replace(done, facts=facts), folder)


def _keep_truth(bench: Bench) -> dict[str, strata.Stratum]:
    """Keep truth, strata and composites of the test part, with every band, for the views; return the strata."""
    names = [band.name for band in patchset.arrays(bench.plan.store).bands]
    test = open_part(bench.plan.store, bench.split, names, "test", ())
    patches, folder = bench.split.parts["test"], bench.cell.truth(bench.out)
    evidence.keep(test, patches, folder)
    return evidence.keep_strata(bench.plan.store, patches, test.masks(), folder)


def _finished(folder: Path, what: str) -> Record:
    """Return a finished record that this cell builds on."""
    found = record.read(folder)
    if found is None or found.status != record.OK:
        raise NotRun(f"{what} has not finished")
    return found


def _search_of_first_seed(bench: Bench) -> tune.Tuned:
    """Return what tuning found with the first seed: one search serves all seeds."""
    first = _finished(bench.cell.first_seed().folder(bench.out), "tuning with the first seed")
    return tune.Tuned(first.changes, None, first.trials)


def _same_as_default(bench: Bench, default: Record, trials: list[dict[str, Any]], tuning: list[float]) -> Record:
    """Return the default run as the tuned one: the defaults were the best trial."""
    source, folder = bench.cell.default().folder(bench.out), bench.cell.folder(bench.out)
    for name in (PROBABILITIES, VALIDATION):
        if (source / name).exists():  # older records have no histogram
            shutil.copy2(source / name, folder / name)
    probability_summary.summary(folder / PROBABILITIES, bench.cell.truth(bench.out) / "mask.npy")
    shutil.copytree(source / "model", folder / "model", dirs_exist_ok=True)
    laps = {**default.laps, "tune": tuning}
    return replace(default, key=bench.cell.key, cell=asdict(bench.cell), trials=trials, laps=laps)
