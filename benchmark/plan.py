"""Cells: what will be run, named by content before any work starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.api import Budget, UserError, digest

Value = str | int | float
UNKNOWN, SOURCE = "?", "label-source"  # what `Cell.circular` may hold beside bands
_TUPLES = ("bands", "circular")
TREATMENT = 1  # raise it when `label_noise` does another thing under the same name
PROTOCOL = 1  # raise it when the harness changes what a number means


@dataclass(frozen=True)
class Cell:
    """One run: a row on a data set with a seed, with defaults or tuned.

    Attributes:
        row, family, study_id, note: as in `api.Row`.
        data: name of the data set; `fingerprint` and `split` pin its content.
        bands: what every method of the comparison sees, as `bands.choose` gives it: names, or NAME=ROLE.
        profile: name of the profile that the numbers came from.
        seed: random seed.
        trials: trials of tuning; 0 is the row with its defaults.
        cap: seconds that tuning may take beyond the default run.
        device: torch device.
        budget: as in `api.Budget`, epochs multiplied by the row's own factor.
        latency: single-patch predictions to time.
        weights: SHA-256 of the checkpoint, "" where there is none.
        code: hash of the method, its fixed parameters, and the syntax trees of its module and helpers.
        absent: why the row cannot run at all, "" where it can.
        factors, control: as in `api.Row`.
        allowance: seconds for the default fit and all trials together, in place of `trials` and `cap`; 0: these hold.
        circular: bands that both the row and the label come from; UNKNOWN where nobody said what the label
            comes from; SOURCE first where the row is the algorithm that made the label.
        labels: what is done to the labels of the training part, see `label_noise`; "" for nothing.
    """

    row: str
    family: str
    study_id: str
    note: str
    data: str
    fingerprint: str
    split: str
    bands: tuple[str, ...]
    profile: str
    seed: int
    trials: int
    cap: float
    device: str
    budget: Budget
    latency: int
    weights: str = ""
    code: str = ""
    absent: str = ""
    circular: tuple[str, ...] = ()
    factors: dict[str, str] = field(default_factory=dict)
    control: str = ""
    allowance: float = 0.0
    labels: str = ""

    @property
    def tuned(self) -> bool:
        """Whether this cell searches for its hyperparameters."""
        return self.trials > 0

    @cached_property
    def key(self) -> str:
        """Hash of what decides the numbers; names, notes and the machine do not."""
        search = ((self.trials, self.cap) if self.tuned else ()) + ((self.allowance,) if self.allowance else ())
        device = self.device.split(":")[0]
        data = (self.fingerprint, self.split, self.bands)
        treated = (self.labels, TREATMENT) if self.labels else ()  # without, the key is that of records from before
        told = (self.code, self.weights, data, self.seed, device, asdict(self.budget), search)
        return digest(PROTOCOL, *told, *treated)

    @cached_property
    def name(self) -> Path:
        """What names the cell: its folder, from the root of what is kept."""
        kind = "tuned" if self.tuned else "default"
        return Path(f"runs/{self.data}/{self.row}/{kind}-seed{self.seed}-{self.key[:16]}")

    def folder(self, out: Path) -> Path:
        """Return where the record and its files lie."""
        return out / self.name

    def training(self, out: Path) -> Path:
        """Return where the checkpoints of unfinished fits lie; a run that starts again finds them."""
        return out / "training" / self.key[:32]

    def truth(self, out: Path) -> Path:
        """Return where truth and composites of the test part lie."""
        return out / f"truth/{self.fingerprint[:8]}-{self.split[:16]}"

    def default(self) -> Cell:
        """Return the same cell with the row's defaults."""
        return replace(self, trials=0)

    def first_seed(self) -> Cell:
        """Return the same cell with the seed that tuning is done with."""
        return replace(self, seed=0)


@dataclass(frozen=True)
class Plan:
    """Everything one command runs, and where it looks for it.

    Attributes:
        name: data set, profile or suite, and bands and epochs that the user gave: the name of the tables.
        cells: in running order.
        store: Zarr store of the patches.
        split: split file, cut to the profile's numbers of patches.
        command: what the user typed.
        weights: row -> checkpoint file.
        storage: URL of Optuna's storage; "" for a journal file.
        controls: rows that nobody asked for, here as controls of others.
        chosen: key of a tuned cell -> the changes that it is run with, in place of a search for them.
        suite: name of the suite, "" for none.
        arm: what differs from the suite's other plans, axis -> value; empty where there are none.
        equal: arms of the suite that were left out because they have the same cells.
    """

    name: str
    cells: tuple[Cell, ...]
    store: Path
    split: Path
    command: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    storage: str = field(default="", repr=False)  # it may hold a password
    controls: tuple[str, ...] = ()
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    suite: str = ""
    arm: dict[str, Value] = field(default_factory=dict)
    equal: tuple[dict[str, Value], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `from_json`."""
        return {**asdict(self), "store": str(self.store), "split": str(self.split)}

    def inside(self, out: Path) -> Plan:
        """Return the plan with paths of its output folder where that lies now; what is not there keeps its path."""
        before = self.split.parent.parent
        if self.split.parent.name != "splits" or before == out:
            return self

        def here(path: Path) -> Path:
            moved = out / path.relative_to(before) if path.is_relative_to(before) else path
            return moved if moved.exists() else path

        weights = {row: str(here(Path(path))) for row, path in self.weights.items()}
        return replace(self, store=here(self.store), split=here(self.split), weights=weights)


def cell_from_json(values: dict[str, Any]) -> Cell:
    """Return the cell of a plan in JSON, or of a record."""
    tuples = {name: tuple(values.get(name, ())) for name in _TUPLES}
    return Cell(**{**values, **tuples, "budget": Budget(**values["budget"])})


def from_json(values: dict[str, Any]) -> Plan:
    """Return the plan that `Plan.to_json` gave."""
    cells = tuple(map(cell_from_json, values["cells"]))
    paths = {name: Path(values[name]) for name in ("store", "split")}
    tuples = {name: tuple(values.get(name, ())) for name in ("controls", "equal")}
    return Plan(**{**values, **paths, **tuples, "cells": cells})


def read(file: Path) -> Plan:
    """Return a plan of `<out>/plans`, with the paths of that output folder where it lies now.

    Raises:
        UserError: it is damaged, or of another version.
    """
    try:
        plan = from_json(json.loads(file.read_text()))
        if not plan.cells:
            raise ValueError("it holds no cells")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"plan {file} cannot be read: {type(error).__name__} {error}") from None
    return plan.inside(file.resolve().parents[1])


def readable(files: Iterable[Path]) -> Iterator[Plan]:
    """Yield the plans of `<out>/plans` without those that are damaged or of another version."""
    for file in files:
        try:
            yield read(file)
        except UserError:
            continue


def read_arms(file: Path) -> list[str]:
    """Return the names of a suite's plans.

    Raises:
        UserError: the file is damaged.
    """
    try:
        names = json.loads(file.read_text())
    except ValueError:
        names = None
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise UserError(f"{file} does not name the plans of a suite; run the suite again, or give a plan by its name")
    return names
