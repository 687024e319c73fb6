"""The root of everything that is kept: a folder, or an fsspec URL that is worked on through a folder of this machine.

Patch stores and feature caches are memory-mapped and SQLite needs a file system, so all work is done in a local folder;
what others need of it travels to the URL and back. There a file is whole or absent, and comes after what it stands for:
a record after its probabilities, a patch set's attributes after its chunks.

No lock exists on an object store, so `_files.alone` holds on one machine only. Two machines that run the same cell at
one URL leave equal records for equal work, apart from times; the last to put a file wins.

Only here remain: `tuning/` (give --storage where a search must outlive its machine), MLflow's own store (give
--tracking-uri), `weights.json`, which names files of this machine, arrays made from patch stores, and locks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import _mirror, record
from benchmark.api import UserError, digest
from benchmark.plan import Cell, Plan
from benchmark.record import write_json

if TYPE_CHECKING:
    from benchmark._remote import Remote

MARKER = ".url.json"  # in the local folder of a URL
CACHE = "NEPHOSCOPE_CACHE"  # environment variable: where these folders lie
FETCHED = ("plans", "splits", "truth", "pretrained", "runs")  # what views are made from, and what is finished
KEPT_HERE = ("features", "training", "tuning", "mlartifacts", "mlflow.db", "weights.json")  # not by `publish`
BOARD = "leaderboard.csv"
SIGNS = {"runs": record.FILE, "reports": BOARD, "studies": "study.csv"}  # whose date is that of the folder they lie in
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL")
_SECRET = re.compile(r"://(?:[^@]*:[^@]*@|.*\?)")


def opened(text: str) -> Path:
    """Return the local folder of a root: of a path itself, of a URL one under $NEPHOSCOPE_CACHE or the user's cache.

    Raises:
        UserError: the URL holds a password or key, nothing here speaks its protocol, or its folder is another server's.
    """
    if "://" not in text:
        return Path(text).resolve()
    if _SECRET.search(text):
        raise UserError(
            f"the URL '{text.split(':')[0]}://...' holds a password or key, which would be kept; put it into the "
            "environment, where the library of its protocol looks for it"
        )
    url = text.rstrip("/")
    folder = _cache() / digest(url)[:32]
    marker = {"url": url, "endpoint": next((os.environ[name] for name in ENDPOINTS if name in os.environ), "")}
    known = _marker(folder)
    if known not in (None, marker):
        raise UserError(
            f"{folder} is the copy of {url} at another endpoint; remove it, or set {CACHE} to another folder"
        )
    from benchmark._remote import connect

    connect(url)
    if known is None:
        write_json(folder / MARKER, marker)
    return folder


def address(out: Path) -> str:
    """Return what `opened` takes on another machine: the URL of a local folder, or its path where it has none."""
    known = _marker(out)
    return known["url"] if known else str(out)


def fetch_all(out: Path) -> None:
    """Fetch what a client needs to see what is finished and to write views; nothing where `out` has no URL.

    Of reports that is the leaderboard, which ranks over data sets are made from. Patch sets are not among it: who makes
    a plan pulls its own.
    """
    pull(out, FETCHED)
    pull(out, ["reports"], BOARD)


def publish(out: Path) -> None:
    """Put what a client has made: plans, splits, data, checkpoints and views of the last plan.

    Runs, reports and studies are put that are not there or older; what a study here has no more goes there as well.
    Features and unfinished fits are not among it: who made them delivers them.
    """
    remote = _remote(out)
    if remote is None:
        return
    for path in sorted(out.iterdir()):
        if path.name not in (*KEPT_HERE, *SIGNS) and not path.name.startswith("."):
            push(out, path)
    for name, sign in SIGNS.items():
        there = remote.entries(name)
        for file in sorted((out / name).rglob(sign)):
            entry = there.get(_name(out, file))
            if entry is not None and _mirror.is_older(file, entry):
                continue  # another machine has made it since
            if name == "studies":
                folder = f"{_name(out, file.parent)}/"
                remote.remove(one for one in there if one.startswith(folder) and not (out / one).exists())
            if entry is None or _mirror.is_newer(file, entry):
                push(out, file.parent)


def fetch_for(plan: Plan, cell: Cell, out: Path) -> Plan:
    """Fetch what running a cell needs, and return the plan with the paths of this machine.

    That is its patch set and split, its checkpoint where `pretrain` made it, truth, checkpoints of an unfinished fit,
    what was kept of the cell itself, and of those that a tuned one builds on. Features come when a fit asks for them.

    Args:
        plan: made on any machine.
        cell: of the plan.
        out: `opened` here; where it has no URL the plan is returned as it is.

    Raises:
        UserError: the patch set is neither at the URL nor at its path on this machine, or the URL cannot be used.
    """
    if _remote(out) is None:
        return plan
    from benchmark.splits import split_path

    files = {row: str(_here(Path(path), out)) for row, path in plan.weights.items()}
    plan = replace(plan, store=_here(plan.store, out), split=_here(plan.split, out), weights=files)
    built_on = (cell, cell.default(), cell.first_seed()) if cell.tuned else (cell,)
    needed = [plan.split, split_path(plan.store), plan.store, cell.truth(out), cell.training(out)]
    needed += [Path(files[cell.row])] if cell.row in files else []
    needed += [one.folder(out) for one in built_on]
    pull(out, [path for path in dict.fromkeys(needed) if path.is_relative_to(out)])
    if not plan.store.exists():
        raise UserError(
            f"patch set {plan.store} is neither on this machine nor at {address(out)}; put it where all see it"
        )
    return plan


def deliver(cell: Cell, out: Path) -> None:
    """Put what a worker has made of a cell: truth, then its folder, the record last; nothing where there is no URL."""
    push(out, cell.truth(out))
    push(out, cell.folder(out))
    deliver_training(cell, out)


def deliver_training(cell: Cell, out: Path) -> None:
    """Put the checkpoints of an unfinished fit, so that another machine can go on; remove those of a finished one."""
    done, remote = record.read(cell.folder(out)), _remote(out)
    if remote is not None and done is not None and done.status == record.OK:
        remote.remove(remote.entries(_name(out, cell.training(out))))
    else:
        push(out, cell.training(out))


def fetch_features(file: Path) -> None:
    """Fetch a file of features with its table where none is here; what is here is never replaced: others may map it.

    Two machines may deliver at once. Every slot has a checksum, so one that is not what the table says is made again.
    """
    if not file.exists():
        out = file.parent.parent
        pull(out, [file, file.with_suffix(".jsonl")])


def deliver_features(file: Path) -> None:
    """Put a file of features, then its table, if it holds more than what is there."""
    out = file.parent.parent
    remote = _remote(out)
    if remote is None or not file.exists():
        return
    name = _name(out, file)
    entry = remote.entries(name).get(name)
    if entry is None or entry.size < file.stat().st_size:
        push(out, file)
        push(out, file.with_suffix(".jsonl"))


def pull(out: Path, paths: Iterable[Path | str], only: str = "") -> None:
    """Fetch files, and folders with all in them, that are not here or older here than there.

    Nothing is removed here, and a file that was changed here since stays. Of the processes of this machine one at a
    time fetches the same path.

    Args:
        out: `opened` before; nothing happens where it has no URL.
        paths: under `out`, or relative to it.
        only: end of the names of what is fetched.

    Raises:
        UserError: the URL cannot be used, or holds a name that leads out of its folder.
    """
    remote = _remote(out)
    if remote is None:
        return
    for name in (_name(out, path) for path in paths):
        with _locked(out, name):
            _mirror.fetch(remote, out, name, only)


def push(out: Path, path: Path) -> None:
    """Put a file, or a folder with all in it, where it differs from what is there.

    A record comes last. Where files beside one change, the old record goes first, and with it what lies beside it there
    and not here.

    Args:
        out: `opened` before; nothing happens where it has no URL.
        path: under `out`; nothing happens where nothing is there.

    Raises:
        UserError: the URL cannot be used.
    """
    remote = _remote(out)
    if remote is not None and path.exists():
        _mirror.send(remote, out, path)


def _here(path: Path, out: Path) -> Path:
    """Return where a path inside any machine's folder of this URL lies on this one; another path stays as it is."""
    if out.name not in path.parts:
        return path
    return out.joinpath(*path.parts[path.parts.index(out.name) + 1 :])


def _name(out: Path, path: Path | str) -> str:
    return (out / path).relative_to(out).as_posix()


def _cache() -> Path:
    from platformdirs import user_cache_dir

    return Path(os.environ.get(CACHE) or user_cache_dir("nephoscope")).resolve()


def _marker(out: Path) -> dict[str, str] | None:
    """Return URL and endpoint of a local folder that `opened` made; one from elsewhere says nowhere to send things."""
    try:
        known = dict(json.loads((out / MARKER).read_text()))
    except FileNotFoundError:
        return None
    return known if out.resolve() == _cache() / digest(known["url"])[:32] else None


def _remote(out: Path) -> Remote | None:
    """Return the place of a local folder's URL, None where it has none."""
    known = _marker(out)
    if known is None:
        return None
    from benchmark._remote import connect

    return connect(known["url"])


@contextmanager
def _locked(out: Path, name: str) -> Iterator[None]:
    from filelock import FileLock

    folder = out / ".locks"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{digest(name)[:16]}.lock"):
        yield
