"""From what the user typed to a plan: rows, data, split, bands, weights and budgets, all pinned by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import bands, catalog, data, label_noise, leaks, patchset, splits, weights
from benchmark.api import NotRun, Row, UserError, digest
from benchmark.asked import Asked, profile, profile_name
from benchmark.circularity import circular, missing_maps
from benchmark.measure import cuda_devices
from benchmark.plan import Cell, Plan
from benchmark.profiles import Profile
from benchmark.record import write_json
from benchmark.sources import Progress, Spread
from benchmark.studies import arms, suites

LONGEST = 31  # characters that bands add to the name of a plan


@dataclass(frozen=True)
class _Ground:
    """What the plans of a command share: what was asked, and what was found for it."""

    asked: Asked
    suite: suites.Suite | None
    profile: str
    counts: dict[str, int]
    device: str
    data: str
    store: Path
    rows: list[Row]
    controls: tuple[str, ...]
    files: dict[str, str]
    absent: dict[str, str]
    sums: dict[str, str]


@dataclass(frozen=True)
class _Arm:
    """An arm, and the patches of it: its patch set, its split, and by what epochs are multiplied."""

    values: arms.Arm
    store: Path
    split: splits.Split
    stretch: float = 1.0


def make(asked: Asked, progress: Progress) -> Plan:
    """Return the plan of a command without arms, as `plans` makes it.

    Raises:
        UserError: as `plans`; a suite that varies something.
    """
    suite = suites.read(asked.suite) if asked.suite else None
    varied = suite.with_profile(profile_name(asked, suite)).vary if suite else {}
    if suite and varied:
        raise UserError(f"suite '{suite.name}' varies {', '.join(varied)}, so it is no single plan")
    return plans(asked, progress)[0]


def plans(
    asked: Asked,
    progress: Progress,
    tell: Callable[[str], None] = lambda said: None,
    spread: Spread | None = None,
) -> list[Plan]:
    """Return the plans of a command: one, or one of each arm of a suite.

    The data set is made, by `spread` where it is given; checkpoints are found, and the splits are written. Arms with
    the same cells come once, equal subsets too: the same run again is no further draw. `tell` is called with a sentence
    on those left out.

    Raises:
        UserError: an unknown row, profile, suite, band, device or data set, or an arm that the data do not allow.
    """
    ground = _ground(asked, progress, spread)
    found: dict[tuple[str, ...], list[Plan]] = {}
    for arm in _arms(ground):
        plan = _plan(ground, arm)
        found.setdefault(tuple(sorted(cell.key for cell in plan.cells)), []).append(plan)
    made = [replace(kept, equal=tuple(plan.arm for plan in equal)) for kept, *equal in found.values()]
    for sentence in arms.left_out(made):
        tell(sentence)
    return made


def _ground(asked: Asked, progress: Progress, spread: Spread | None) -> _Ground:
    """Return what all arms share; rows, weights and data are looked up here, once."""
    suite = suites.read(asked.suite) if asked.suite else None
    name = profile_name(asked, suite)
    suite = suite.with_profile(name) if suite else None
    if suite:
        arms.refuse_twice(suite.vary, {"bands": asked.bands, "labels": asked.labels, "epochs": asked.epochs})
    asked = replace(asked, data=asked.data or (suite.data if suite else suites.DATA))
    numbers, device = profile(asked, name, suite), torch_device(asked.device)
    if asked.labels:
        asked = replace(asked, labels=label_noise.canonical(asked.labels))
    chosen, named = _rows(asked.rows, suite, numbers)
    of_data, store = _prepared(asked.data or "", numbers, asked.out, progress, spread)
    arrays = patchset.arrays(store)
    rows, controls = catalog.with_controls([row for row in chosen if row in named or not missing_maps(row, arrays)])
    files, absent, sums = _find_weights(rows, asked)
    absent |= {row.name: f"the data set has no map '{name}'" for row in rows for name in missing_maps(row, arrays)}
    counts = dict(numbers.patches) if numbers.cuts or asked.data in catalog.sources() else {}
    return _Ground(asked, suite, name, counts, device, of_data, store, rows, controls, files, absent, sums)


def _prepared(spec: str, numbers: Profile, out: Path, progress: Progress, spread: Spread | None) -> tuple[str, Path]:
    """Return name and store of the data set, or of several with + between them."""
    if "+" not in spec or Path(spec).exists():
        return data.prepare(spec, numbers, out, progress, spread)
    from benchmark.studies import _joined

    return _joined.prepare(spec, numbers, out, progress, spread)


def _arms(ground: _Ground) -> Iterable[_Arm]:
    """Yield the arms, drawn and checked for leaks; without a suite that varies something the one that is all."""
    vary = arms.stated(ground.suite.vary) if ground.suite else {}
    given = splits.read(splits.split_path(ground.store), ground.store)
    whole = splits.cap(given, ground.counts)
    pairs = arms.copies(ground.store, given.unit) if "domain" in vary else None
    if pairs is None:  # what is drawn from it lies within it
        leaks.refuse([leaks.near_duplicates(ground.store, whole.parts, splits.split_hash(whole))])
    found, among = arms.of(vary, ground.store)
    batch = profile(ground.asked, ground.profile, ground.suite).budget.batch
    for arm in found:
        split = arms.draw(whole, ground.store, arm, among, ground.counts)
        arms.refuse_copies(split, pairs or ())
        stretch, store = arms.stretch(whole, split, arm, batch), arms.store_of(ground.store, arm, ground.asked.out)
        if store != ground.store:  # other pixels of the same patches
            split = splits.from_parts(store, split.parts, split.unit)
        yield _Arm(arm, store, split, stretch)


def _plan(ground: _Ground, arm: _Arm) -> Plan:
    """Return the plan of an arm, its split written."""
    suite, arrays = ground.suite, patchset.arrays(arm.store)
    asked = arms.asked(ground.asked, arm.values)
    numbers = profile(asked, ground.profile, suite)
    default = suite.bands if suite else "hls"
    entries = bands.choose(arrays.bands, asked.bands or default)
    common = Cell(
        row="",
        family="",
        study_id="",
        note="",
        data=ground.data,
        fingerprint=arrays.fingerprint,
        split=splits.split_hash(arm.split),
        bands=entries,
        profile=numbers.name,
        seed=0,
        trials=0,
        cap=numbers.cap,
        device=ground.device,
        budget=numbers.budget,
        latency=numbers.latency,
        allowance=numbers.allowance,
        labels=asked.labels,
    )
    own = _own_epochs(ground.rows, ground.controls, suite.epochs) if suite and asked.epochs is None else {}
    cells = [
        replace(cell, circular=circular(row, entries, arrays))
        for row in ground.rows
        for cell in _cells(row, common, numbers, ground, own, arm.stretch)
    ]
    cells.sort(key=lambda cell: cell.tuned)  # stable: every row with its defaults first, then every tuned one
    plan = Plan(_name(ground, default, arm.values), tuple(cells), arm.store, _written(arm.split, asked.out))
    of_suite = suite.name if suite else ""
    known = {"weights": ground.files, "storage": asked.storage, "controls": ground.controls}
    return replace(plan, suite=of_suite, arm=arm.values, **known)


def _name(ground: _Ground, default: str, arm: arms.Arm) -> str:
    """Return the name of a plan: data, suite or profile, what the user gave, and the arm."""
    asked = ground.asked
    said = f"{ground.data}-{ground.suite.name if ground.suite else ground.profile}{_distinction(asked, default)}"
    return "-".join(filter(None, (said, asked.labels, arms.words(arm))))


def _written(split: splits.Split, out: Path) -> Path:
    """Write a split where runs find it; return the file."""
    file = splits.pinned(out, splits.split_hash(split))
    splits.write(split, file)
    return file


def _distinction(asked: Asked, default: str) -> str:
    """Return what tells the plan of other bands, epochs or time from the one it is to be compared with, "" for none."""
    said = ""
    if asked.bands and asked.bands != default:
        said = "-" + re.sub("[^A-Za-z0-9_=]+", "-", asked.bands.replace(" ", ""))
        if len(said) > LONGEST:
            said = f"{said[: LONGEST - 9]}-{digest(asked.bands)[:8]}"
    said += f"-e{asked.epochs}" if asked.epochs is not None else ""
    return said + (f"-{asked.budget_seconds:g}s" if asked.budget_seconds is not None else "")


def _rows(names: Sequence[str], suite: suites.Suite | None, profile: Profile) -> tuple[list[Row], list[Row]]:
    """Return the rows asked for, and those of them that were not asked for as 'all'; globs are of a suite's rows."""
    among, everything = (suite.chosen(), suite.rows) if suite else (None, profile.rows)
    named = [name for name in names if name != "all"]
    return catalog.choose(names, everything, among), catalog.choose(named, (), among)


def _own_epochs(rows: Iterable[Row], controls: Sequence[str], own: Mapping[str, int]) -> dict[str, int]:
    """Return row -> epochs of its own, with those of a row for the control that it brought as well."""
    brought = {row.control: own[row.name] for row in rows if row.name in own and row.control in controls}
    return {**brought, **own}


def _cells(
    row: Row, common: Cell, profile: Profile, ground: _Ground, own: Mapping[str, int], stretch: float
) -> Iterable[Cell]:
    """Yield the cells of a row: the defaults with every seed, then the tuned ones.

    Args:
        row: the row.
        common: what all cells share.
        profile: the numbers.
        ground: holds its checksum, and why it cannot run.
        own: row -> epochs that a suite gives it, or the row it controls, instead of the profile's times its factor.
        stretch: what the epochs of the arm are multiplied by.
    """
    epochs = own.get(row.name) or common.budget.epochs * row.epochs
    cell = replace(
        common,
        row=row.name,
        family=row.family,
        study_id=row.study_id,
        note=row.note,
        factors=dict(row.factors),
        control=row.control,
        budget=replace(common.budget, epochs=max(1, round(epochs * stretch))),
        weights=ground.sums.get(row.name, ""),
        device=common.device if "torch" in row.needs else "cpu",
        code=catalog.code_hash(row),
        absent=ground.absent.get(row.name, "") or _missing_package(row),
    )
    tuned = [profile.trials] if row.space is not None and profile.trials > 1 and not cell.absent else []
    for trials in (0, *tuned):
        for seed in range(profile.seeds):
            yield replace(cell, seed=seed, trials=trials)


def torch_device(asked: str | None) -> str:
    """Return the torch device: the one asked for, else a GPU if there is one.

    Raises:
        UserError: the device is not on this machine; there is no falling back to another.
    """
    if asked == "cpu":
        return asked
    found = cuda_devices()
    if asked is None:
        return "cuda:0" if found else "cpu"
    kind, _, number = asked.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise UserError(f"no device is called '{asked}'; devices are cpu, cuda and cuda:<number>")
    if int(number or 0) >= found:
        raise UserError(f"device '{asked}' is not on this machine, which has {found} CUDA device(s)")
    return f"cuda:{number or 0}"


def _find_weights(rows: Iterable[Row], asked: Asked) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return row -> checkpoint file, row -> why there is none, row -> checksum."""
    files, absent, sums = {}, {}, {}
    hub = True
    for row in rows:
        if row.weights is None:
            continue
        try:
            path = weights.locate(row.weights, asked.weights_dir, hub, asked.out / weights.FOLDER)
        except NotRun as error:
            hub = hub and not isinstance(error, weights.HubAway)
            absent[row.name] = str(error)
            continue
        files[row.name] = str(path)
        sums[row.name] = weights.checksum(path, asked.out / "weights.json")
    return files, absent, sums


def _missing_package(row: Row) -> str:
    """Return why the row cannot run for want of a package, "" if it can."""
    missing = next((need for need in row.needs if catalog.package_missing(need)), None)
    return f"package '{missing}' is not installed; install it into this environment" if missing else ""


def save(plan: Plan, out: Path) -> Path:
    """Write the plan where `report` finds it, without what may hold a password; return the file."""
    return write_json(out / "plans" / f"{plan.name}.json", replace(plan, storage="").to_json())
