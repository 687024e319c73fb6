"""A local folder and its copy at a URL: which files travel, in which order, and which of two is the newer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmark.record import FILE

if TYPE_CHECKING:
    from benchmark._remote import Entry, Remote

# Others read these as a sign that what they stand for is whole.
LAST = (FILE, "meta.json", ".zattrs", "leaderboard.csv", "study.csv")
_ZARR = (".zattrs", ".zarray", ".zgroup", ".zmetadata")
BATCH = 64  # files under way at a time


def fetch(remote: Remote, out: Path, name: str, only: str = "") -> None:
    """Fetch a file, or a folder with all in it, as far as it is not in `out` or older there; nothing is removed.

    Args:
        remote: where from.
        out: where to.
        name: of the file or folder.
        only: end of the names of what is fetched.
    """
    there = {one: entry for one, entry in remote.entries(name).items() if one.endswith(only) and not _passing(one)}
    wanted = {one: out / one for one, entry in there.items() if is_older(out / one, entry)}
    for some in _in_order(wanted):
        remote.get(some)
        for one, path in some.items():
            _date(path, there[one])


def send(remote: Remote, out: Path, path: Path) -> None:
    """Put a file, or a folder with all in it, where it differs from what is there, as `root.push` says."""
    name = path.relative_to(out).as_posix()
    there, here = remote.entries(name), _files(out, path)
    changed = {one: file for one, file in here.items() if not _is_same(file, there.get(one))}
    outdated = _outdated(there, here, changed)
    changed |= {one: here[one] for one in outdated if one in here}
    before = {one: file.stat() for one, file in changed.items()}
    remote.remove(outdated)
    for some in _in_order(changed):
        remote.put(some)
    for one, entry in (remote.entries(name) if changed else {}).items():
        # What was written again meanwhile keeps its own time, and is put the next time.
        if one in changed and changed[one].stat().st_mtime_ns == before[one].st_mtime_ns:
            _date(changed[one], entry)


def _outdated(there: Iterable[str], here: Iterable[str], changed: Iterable[str]) -> list[str]:
    """Return what to remove first where files beside a record change or are gone: the record, then what is gone."""
    places = {str(PurePosixPath(name).parent) for name in here if PurePosixPath(name).name == FILE}
    records = {f"{place}/{FILE}" for place in places}
    gone = sorted(set(there) - set(here))
    moved = {place for place in places for name in {*changed, *gone} - records if name.startswith(f"{place}/")}
    stale = [f"{place}/{FILE}" for place in sorted(moved)]
    return [*(set(stale) & set(there)), *(name for name in gone if any(name.startswith(f"{one}/") for one in moved))]


def _files(out: Path, path: Path) -> dict[str, Path]:
    """Return the files of a folder, or the one file, by name, without what is passing or made from other files."""
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {name: one for one in found if not _passing(name := one.relative_to(out).as_posix())}


def _passing(name: str) -> bool:
    """Whether a file is no result: temporary, a lock, arrays made from a patch store, or an unfinished pretraining."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") and part not in _ZARR for part in parts)
    return hidden or name.endswith(".lock") or any(part.endswith(".arrays") or part == "unfinished" for part in parts)


def _in_order(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield files in batches, those in LAST after all others."""
    for last in (False, True):
        chosen = [name for name in files if (PurePosixPath(name).name in LAST) == last]
        for begin in range(0, len(chosen), BATCH):
            yield {name: files[name] for name in chosen[begin : begin + BATCH]}


def _date(path: Path, entry: Entry) -> None:
    """Give a file the time of change that it has at the URL: by it, and by size, a later look tells what changed."""
    if entry.changed is not None:
        os.utime(path, (entry.changed, entry.changed))


def _is_same(file: Path, entry: Entry | None) -> bool:
    if entry is None:
        return False
    stat = file.stat()
    return stat.st_size == entry.size and (entry.changed is None or abs(stat.st_mtime - entry.changed) < 1e-5)


def is_newer(file: Path, entry: Entry) -> bool:
    """Whether a file here was changed after the one at the URL."""
    return not _is_same(file, entry) and (entry.changed is None or file.stat().st_mtime > entry.changed)


def is_older(file: Path, entry: Entry) -> bool:
    """Whether a file is not here, or the one at the URL was changed after it."""
    return not file.exists() or not (_is_same(file, entry) or is_newer(file, entry))
