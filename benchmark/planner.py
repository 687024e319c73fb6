"""From what the user typed to a plan: rows, data, split, bands, weights and budgets, all pinned by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import bands, catalog, data, label_noise, leaks, patchset, splits, suites, weights
from benchmark.api import NotRun, Row, UserError, digest
from benchmark.measure import cuda_devices
from benchmark.plan import SOURCE, UNKNOWN, Cell, Plan
from benchmark.profiles import MANY, PROFILES, Profile
from benchmark.record import write_json

LONGEST = 31  # characters that bands add to the name of a plan


@dataclass(frozen=True)
class Asked:
    """What the user typed; None stands for the suite's, the profile's or the machine's own value."""

    rows: Sequence[str] = ("all",)
    data: str = "simulated"
    profile: str | None = None
    seeds: int | None = None
    trials: int | None = None
    bands: str | None = None
    out: Path = Path("results")
    weights_dir: Path | None = None
    device: str | None = None
    storage: str = ""
    whole: bool = False
    suite: str | None = None
    patches: str | None = None
    epochs: int | None = None
    budget_seconds: float | None = None
    labels: str = ""


def make(asked: Asked, progress: Callable[[int, int], None]) -> Plan:
    """Return the plan of a command, with its data set made and its checkpoints found; writes the split it uses.

    Raises:
        UserError: an unknown row, profile, suite, band, device or data set.
    """
    suite = suites.read(asked.suite) if asked.suite else None
    profile, device = _profile(asked, suite), torch_device(asked.device)
    labels = label_noise.canonical(asked.labels) if asked.labels else ""
    chosen, named = _rows(asked.rows, suite, profile)
    name, store = data.prepare(asked.data, profile, asked.out, progress)
    arrays = patchset.arrays(store)
    rows, controls = _with_controls([row for row in chosen if row in named or not _missing_maps(row, arrays)])
    split, split_file = _split(asked, profile, store)
    files, absent, sums = _find_weights(rows, asked)
    absent |= {row.name: f"the data set has no map '{name}'" for row in rows for name in _missing_maps(row, arrays)}
    default = suite.bands if suite else "hls"
    entries = bands.choose(arrays.bands, asked.bands or default)
    common = Cell(
        row="",
        family="",
        study_id="",
        note="",
        data=name,
        fingerprint=arrays.fingerprint,
        split=splits.split_hash(split),
        bands=entries,
        profile=profile.name,
        seed=0,
        trials=0,
        cap=profile.cap,
        device=device,
        budget=profile.budget,
        latency=profile.latency,
        allowance=profile.allowance,
        labels=labels,
    )
    own = _own_epochs(rows, controls, suite.epochs) if suite and asked.epochs is None else {}
    cells = [
        replace(cell, circular=_circular(row, entries, arrays))
        for row in rows
        for cell in _cells(row, common, profile, sums.get(row.name, ""), absent, own)
    ]
    cells.sort(key=lambda cell: cell.tuned)  # stable: every row with its defaults first, then every tuned one
    of_suite = suite.name if suite else ""
    title = f"{name}-{of_suite or profile.name}{_distinction(asked, default)}{labels and f'-{labels}'}"
    plan = Plan(title, tuple(cells), store, split_file, weights=files, storage=asked.storage)
    return replace(plan, controls=controls, suite=of_suite)


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


def _split(asked: Asked, profile: Profile, store: Path) -> tuple[splits.Split, Path]:
    """Return the split that a run uses, and the file of it."""
    split = splits.read(splits.split_path(store), store)
    if profile.cuts or asked.data in catalog.sources():
        split = splits.cap(split, profile.patches)
    leaks.refuse([leaks.near_duplicates(store, split.parts, splits.split_hash(split))])
    file = asked.out / "splits" / f"{splits.split_hash(split)[:16]}.split.json"
    splits.write(split, file)
    return split, file


def _with_controls(rows: Sequence[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows with the control of each beside it, and the names of those that came in so."""
    wanted = {row.name for row in rows}
    controls = {row.control: catalog.row(row.control) for row in rows if row.control and row.control not in wanted}
    return catalog.ordered([*rows, *controls.values()]), tuple(controls)


def _own_epochs(rows: Iterable[Row], controls: Sequence[str], own: Mapping[str, int]) -> dict[str, int]:
    """Return row -> epochs of its own, with those of a row for the control that it brought as well."""
    brought = {row.control: own[row.name] for row in rows if row.name in own and row.control in controls}
    return {**brought, **own}


def _cells(
    row: Row, common: Cell, profile: Profile, checksum: str, absent: Mapping[str, str], own: Mapping[str, int]
) -> Iterable[Cell]:
    """Yield the cells of a row: the defaults with every seed, then the tuned ones.

    Args:
        row: the row.
        common: what all cells share.
        profile: the numbers.
        checksum: of its checkpoint.
        absent: row -> why it cannot run.
        own: row -> epochs that a suite gives it, or the row it controls, instead of the profile's times its factor.
    """
    epochs = own.get(row.name) or max(1, round(common.budget.epochs * row.epochs))
    cell = replace(
        common,
        row=row.name,
        family=row.family,
        study_id=row.study_id,
        note=row.note,
        factors=dict(row.factors),
        control=row.control,
        budget=replace(common.budget, epochs=epochs),
        weights=checksum,
        device=common.device if "torch" in row.needs else "cpu",
        code=catalog.code_hash(row),
        absent=absent.get(row.name, "") or _missing_package(row),
    )
    tuned = [profile.trials] if row.space is not None and profile.trials > 1 and not cell.absent else []
    for trials in (0, *tuned):
        for seed in range(profile.seeds):
            yield replace(cell, seed=seed, trials=trials)


def _profile(asked: Asked, suite: suites.Suite | None) -> Profile:
    """Return the profile with the suite's and, above these, the user's own numbers in it.

    `study` is the default with a GPU, else `quick`.
    """
    default = "study" if asked.device != "cpu" and cuda_devices() else "quick"
    name = asked.profile or (suite.profile if suite else None) or default
    if name not in PROFILES:
        raise UserError(f"no profile is called '{name}'; profiles are {', '.join(PROFILES)}")
    chosen = suite.numbers(PROFILES[name]) if suite else PROFILES[name]
    chosen = replace(
        chosen,
        seeds=asked.seeds or chosen.seeds,
        trials=chosen.trials if asked.trials is None else asked.trials,
        budget=replace(chosen.budget, epochs=asked.epochs or chosen.budget.epochs),
        cuts=chosen.cuts and not asked.whole,
    )
    if asked.budget_seconds is not None:
        chosen = _by_time(chosen, asked)
    if asked.patches is None:
        return chosen
    if asked.whole:
        raise UserError("--whole and --patches contradict each other; give one of them")
    return suites.cut(chosen, _numbers(asked.patches))


def _by_time(profile: Profile, asked: Asked) -> Profile:
    """Return the profile with so many seconds for each row, and as many trials as fit in."""
    if asked.trials is not None:
        raise UserError("--budget-seconds and --trials contradict each other; give one of them")
    seconds = asked.budget_seconds or 0.0
    return replace(profile, trials=MANY, cap=seconds, allowance=seconds)


def _numbers(text: str) -> dict[str, int]:
    """Return the numbers of patches by part that the user typed."""
    words = text.split(",")
    if len(words) != len(splits.PARTS) or not all(word.strip().isdecimal() and int(word) for word in words):
        raise UserError(f"--patches takes how many train, choose and test, as in 16,8,8, and not '{text}'")
    return dict(zip(splits.PARTS, map(int, words), strict=True))


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


def _missing_maps(row: Row, arrays: patchset.Arrays) -> list[str]:
    """Return the masks of others that a row is, and that these data do not hold."""
    return [name for name in row.reads if name != "land" and name not in arrays.attrs.get("maps", ())]


def _circular(row: Row, entries: Sequence[str], arrays: patchset.Arrays) -> tuple[str, ...]:
    """Return the bands that the label derives from and that the row sees, itself or through a mask that it reads.

    SOURCE comes first where the mask is of the algorithm that made the label.
    """
    if row.family == "floor":  # it looks at no band
        return ()
    maps = arrays.attrs.get("maps", {})
    masks = [name for name in row.reads if name in maps]
    seen = {band for name in masks for band in maps[name]} if masks else {bands.true_name(entry) for entry in entries}
    derived = arrays.attrs.get("label_bands")
    found = (UNKNOWN,) if derived is None else tuple(band for band in derived if band in seen)
    return (SOURCE, *found) if set(row.reads) & set(arrays.attrs.get("label_maps", ())) else found


def _missing_package(row: Row) -> str:
    """Return why the row cannot run for want of a package, "" if it can."""
    missing = next((need for need in row.needs if catalog.package_missing(need)), None)
    return f"package '{missing}' is not installed; install it into this environment" if missing else ""


def save(plan: Plan, out: Path) -> Path:
    """Write the plan where `report` finds it, without what may hold a password; return the file."""
    return write_json(out / "plans" / f"{plan.name}.json", replace(plan, storage="").to_json())
