"""From what the user typed to a plan: rows, data, split, bands, weights and budgets, all pinned by content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import catalog, data, patchset, splits, weights
from benchmark.api import NotRun, Row, UserError
from benchmark.measure import cuda_devices
from benchmark.plan import UNKNOWN, Cell, Plan
from benchmark.profiles import PROFILES, Profile
from benchmark.record import write_json


@dataclass(frozen=True)
class Asked:
    """What the user typed; None stands for the profile's or the machine's own value."""

    rows: Sequence[str] = ("all",)
    data: str = "simulated"
    profile: str | None = None
    seeds: int | None = None
    trials: int | None = None
    bands: str = "hls"
    out: Path = Path("results")
    weights_dir: Path | None = None
    device: str | None = None
    storage: str = ""
    whole: bool = False


def make(asked: Asked, progress: Callable[[int, int], None]) -> Plan:
    """Return the plan of a command, with its data set made and its checkpoints found; writes the split it uses.

    Raises:
        UserError: an unknown row, profile, band, device or data set.
    """
    profile, device = _profile(asked), torch_device(asked.device)
    rows = catalog.choose(asked.rows, profile.rows)
    name, store = data.prepare(asked.data, profile, asked.out, progress)
    arrays = patchset.arrays(store)
    named = catalog.choose([name for name in asked.rows if name != "all"], ())
    rows = [row for row in rows if row in named or not _missing_maps(row, arrays)]
    bands = data.choose_bands(arrays.bands, asked.bands)
    split = splits.read(splits.split_path(store), store)
    if profile.cuts or asked.data in catalog.sources():
        split = splits.cap(split, profile.patches)
    split_file = asked.out / "splits" / f"{splits.split_hash(split)[:16]}.split.json"
    splits.write(split, split_file)
    files, absent, sums = _find_weights(rows, asked)
    common = Cell(
        row="",
        family="",
        study_id="",
        note="",
        data=name,
        fingerprint=arrays.fingerprint,
        split=splits.split_hash(split),
        bands=bands,
        profile=profile.name,
        seed=0,
        trials=0,
        cap=profile.cap,
        device=device,
        budget=profile.budget,
        latency=profile.latency,
    )
    absent |= {row.name: f"the data set has no map '{name}'" for row in rows for name in _missing_maps(row, arrays)}
    circular = {row.name: _circular(row, bands, arrays) for row in rows}
    cells = [
        replace(cell, circular=circular[row.name])
        for row in rows
        for cell in _cells(row, common, profile, sums.get(row.name, ""), absent)
    ]
    cells.sort(key=lambda cell: cell.tuned)  # stable: every row with its defaults first, then every tuned one
    return Plan(f"{name}-{profile.name}", tuple(cells), store, split_file, weights=files, storage=asked.storage)


def _cells(row: Row, common: Cell, profile: Profile, checksum: str, absent: dict[str, str]) -> Iterable[Cell]:
    """Yield the cells of a row: the defaults with every seed, then the tuned ones."""
    budget = replace(common.budget, epochs=max(1, round(common.budget.epochs * row.epochs)))
    device = common.device if "torch" in row.needs else "cpu"
    cell = replace(
        common,
        row=row.name,
        family=row.family,
        study_id=row.study_id,
        note=row.note,
        budget=budget,
        weights=checksum,
        device=device,
        code=catalog.code_hash(row),
        absent=absent.get(row.name, "") or _missing_package(row),
    )
    tuned = [profile.trials] if row.space is not None and profile.trials > 1 and not cell.absent else []
    for trials in (0, *tuned):
        for seed in range(profile.seeds):
            yield replace(cell, seed=seed, trials=trials)


def _profile(asked: Asked) -> Profile:
    """Return the profile with the user's own numbers in it; `study` is the default with a GPU, else `quick`."""
    name = asked.profile or ("study" if asked.device != "cpu" and cuda_devices() else "quick")
    if name not in PROFILES:
        raise UserError(f"no profile is called '{name}'; profiles are {', '.join(PROFILES)}")
    chosen = PROFILES[name]
    return replace(
        chosen,
        seeds=asked.seeds or chosen.seeds,
        trials=chosen.trials if asked.trials is None else asked.trials,
        cuts=chosen.cuts and not asked.whole,
    )


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
            path = weights.locate(row.weights, asked.weights_dir, hub)
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


def _circular(row: Row, bands: Sequence[str], arrays: patchset.Arrays) -> tuple[str, ...]:
    """Return the bands that the label derives from and that the row sees, itself or through a mask that it reads."""
    if row.family == "floor":  # it looks at no band
        return ()
    maps = arrays.attrs.get("maps", {})
    masks = [name for name in row.reads if name in maps]
    seen = {band for name in masks for band in maps[name]} if masks else set(bands)
    derived = arrays.attrs.get("label_bands")
    return (UNKNOWN,) if derived is None else tuple(band for band in derived if band in seen)


def _missing_package(row: Row) -> str:
    """Return why the row cannot run for want of a package, "" if it can."""
    missing = next((need for need in row.needs if catalog.package_missing(need)), None)
    return f"package '{missing}' is not installed; install it into this environment" if missing else ""


def save(plan: Plan, out: Path) -> Path:
    """Write the plan where `report` finds it, without what may hold a password; return the file."""
    return write_json(out / "plans" / f"{plan.name}.json", replace(plan, storage="").to_json())
