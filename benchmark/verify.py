"""A stored run made again by the ordinary harness, and what of it came out the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark import catalog, patchset, planner, record, runner, splits
from benchmark._files import checksum
from benchmark.api import UserError
from benchmark.patchset._store import patch_hash
from benchmark.plan import Cell, Plan, cell_from_json, readable
from benchmark.record import OK, PROBABILITIES, VALIDATION, Record
from benchmark.runner import Step
from benchmark.scores import scores
from benchmark.views.report import flatten

MOMENT = ("load", "workers")  # of an environment: they decide no number


@dataclass(frozen=True)
class Stored:
    """A finished run and what it can be made again from: a plan of its cell alone."""

    folder: Path
    record: Record
    plan: Plan

    @property
    def cell(self) -> Cell:
        """The cell of the run."""
        return self.plan.cells[0]


@dataclass(frozen=True)
class Check:
    """One thing that was compared; `same` is None where the stored run did not keep it."""

    what: str
    same: bool | None
    detail: str


def find(path: Path) -> Stored:
    """Return the run of a record, checked to be of the code, data and weights that are here now.

    A tuned run is to be made with the changes that its search chose; there is no second search.

    Args:
        path: of a `record.json`, or of the folder that holds it.

    Raises:
        UserError: there is no finished run, or what it was made from has changed or is gone.
    """
    folder = (path.parent if path.name == record.FILE else path).resolve()
    kept = record.read(folder)
    if kept is None:
        raise UserError(f"{path} is not the record of a run, nor a folder that holds one")
    if kept.status != record.OK:
        raise UserError(f"the run in {folder} has no numbers to reproduce: {kept.status}, {kept.reason}")
    if not (folder / PROBABILITIES).exists():
        raise UserError(f"{folder} holds no {PROBABILITIES}, so there is nothing to compare probabilities with")
    cell = cell_from_json(kept.cell)
    _check_code(cell, kept)
    planner.torch_device(cell.device)
    plan = _plan(cell, folder)
    _check_data(cell, plan)
    _check_weights(cell, plan)
    chosen = {cell.key: kept.changes} if cell.tuned else {}
    return Stored(folder, kept, replace(plan, cells=(cell,), storage="", chosen=chosen))


def _check_code(cell: Cell, kept: Record) -> None:
    try:
        now = catalog.code_hash(catalog.row(cell.row))
    except UserError:
        raise UserError(f"the code is no longer that of the record: row '{cell.row}' is gone") from None
    if now != cell.code:
        raise UserError(f"the code is no longer that of the record: row '{cell.row}' or a module behind it has changed")
    if cell.key != kept.key:
        raise UserError("the code is no longer that of the record: the harness itself makes numbers in another way")


def _plan(cell: Cell, folder: Path) -> Plan:
    """Return the newest stored plan that names the store, split and checkpoint of a cell.

    Raises:
        UserError: there is none.
    """
    plans = folder.parents[3] / "plans"
    for plan in readable(sorted(plans.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)):
        if any(_pinned(other) == _pinned(cell) for other in plan.cells):
            return plan
    raise UserError(f"no plan in {plans} holds the run, so nothing says where its data and weights are")


def _pinned(cell: Cell) -> tuple[str, ...]:
    return cell.row, cell.fingerprint, cell.split, cell.weights


def _check_data(cell: Cell, plan: Plan) -> None:
    """Read every patch that the run used and raise UserError where one is not what it was."""
    said = "the data are no longer those of the record"
    try:
        if patchset.attributes(plan.store)["fingerprint"] != cell.fingerprint:
            raise UserError(f"{plan.store} holds another patch set")
        split, arrays = splits.read(plan.split, plan.store), patchset.arrays(plan.store)
        if splits.split_hash(split) != cell.split:
            raise UserError(f"{plan.split} is another split")
        for patch, row in zip(split.patches, arrays.positions(list(split.patches)), strict=True):
            if patch_hash(arrays.toa[row], arrays.mask[row]) != split.patches[patch]:
                raise UserError(f"patch '{patch}' has changed in the arrays beside {plan.store}")
    except UserError as error:
        raise UserError(f"{said}: {error}") from None


def _check_weights(cell: Cell, plan: Plan) -> None:
    if not cell.weights:
        return
    path = Path(plan.weights.get(cell.row, ""))
    if not path.is_file():
        raise UserError(f"the weights are no longer those of the record: there is no file {path}")
    if checksum(path) != cell.weights:
        raise UserError(f"the weights are no longer those of the record: {path} has changed")


def again(stored: Stored, out: Path) -> Iterator[Step]:
    """Make a run again into another folder, by the runner as `run` does, with every step on the way.

    Raises:
        UserError: `out` is the folder that the record lies in.
    """
    if stored.cell.folder(out).resolve() == stored.folder:
        raise UserError(f"the run would take the place of its own record in {out}; give another --out")
    other = record.read(stored.cell.folder(out))
    if other is not None and other.status == OK:
        raise UserError(f"{out} holds a run of this cell already, which would be lost; give another --out")
    yield from runner.run([stored.plan], out, fresh=True)


def compare(stored: Stored, done: Record, folder: Path) -> list[Check]:
    """Return what is the same, to the bit, in a stored run and in the same run made again.

    Args:
        stored: the run of before.
        done: the record of now, of a run that ended well.
        folder: where that lies.
    """
    kept = stored.record
    then, now = _scores(kept), _scores(done)
    return [
        Check("test counts", kept.counts == done.counts, _moved(kept, done)),
        _probabilities(stored, folder),
        _histograms(stored.folder / VALIDATION, folder / VALIDATION),
        _number("validation score", kept.validation, done.validation),
        _number("macro Jaccard index", then["jaccard"], now["jaccard"]),
        _all_scores(then, now),
    ]


def _scores(kept: Record) -> dict[str, float]:
    return {name: float(value) for name, value in scores(np.sum(kept.counts, axis=0)).items()}


def _all_scores(then: Mapping[str, float], now: Mapping[str, float]) -> Check:
    apart = {name: _apart(then[name], now[name]) for name in then}
    worst = max(apart, key=apart.__getitem__)
    told = f"furthest apart: {worst}, by {apart[worst]:.3g}" if apart[worst] else f"{len(apart)} scores are equal"
    return Check("all scores", apart[worst] == 0, told)


def reproduces(checks: list[Check]) -> bool:
    """Return whether everything that was kept came out the same to the bit."""
    return all(check.same is not False for check in checks)


def _apart(then: float, now: float) -> float:
    """Return how far two scores are apart; 0 if both are NaN, infinity if one is."""
    if math.isnan(then) or math.isnan(now):
        return 0.0 if math.isnan(then) and math.isnan(now) else math.inf
    return abs(then - now)


def _moved(kept: Record, done: Record) -> str:
    if kept.patches != done.patches:
        return "of other patches"
    changed = sum(then != now for then, now in zip(kept.counts, done.counts, strict=False))
    return f"{changed} of {len(done.counts)} patches differ"


def _number(what: str, then: float | None, now: float | None) -> Check:
    before, after = (math.nan if value is None else value for value in (then, now))
    apart = _apart(before, after)
    return Check(what, apart == 0, f"{before:.6f}, now {after:.6f}, difference {apart:.3g}")


def _probabilities(stored: Stored, folder: Path) -> Check:
    """Compare float16 probabilities bit by bit: NaN, which an invalid pixel may be, is equal to itself."""
    what = "test probabilities"
    then, now = (np.load(place / PROBABILITIES) for place in (stored.folder, folder))
    if then.shape != now.shape or then.dtype != now.dtype:
        return Check(what, False, f"{then.dtype} of shape {then.shape}, now {now.dtype} of shape {now.shape}")
    apart = np.abs(then.astype(np.float32) - now.astype(np.float32))
    threshold = stored.record.threshold
    sides = int(((then > threshold) != (now > threshold)).sum())
    differ = then.view(np.uint16) != now.view(np.uint16)
    most = float(np.nanmax(apart, initial=0.0))
    told = f"max |dp| {most:.3g}, {int(differ.sum())} of {then.size} pixels differ, {sides} changed side"
    return Check(what, not differ.any(), told)


def _histograms(then: Path, now: Path) -> Check:
    what = "validation probabilities"
    if not then.exists():
        return Check(what, None, "the stored run kept no histogram of them")
    moved = int(np.abs(np.load(then).astype(np.int64) - np.load(now).astype(np.int64)).sum()) // 2
    return Check(what, moved == 0, f"{moved} pixels moved in their histogram")


def environments(then: Record, now: Record) -> list[tuple[str, str, str]]:
    """Return name, value then and value now of what differs between the environments of two records.

    A tree that differs from its commit is told also where both do: nothing says whether they differ in the same way.
    """
    old, new = flatten(then.environment), flatten(now.environment)
    names = [name for name in dict.fromkeys([*old, *new]) if name not in MOMENT]
    told = [name for name in names if old.get(name) != new.get(name) or (name == "dirty" and old[name])]
    return [(name, str(old.get(name, "not recorded")), str(new.get(name, "not there"))) for name in told]
