"""The files of an archive, a folder or a ZIP that is read in place: nothing of it is unpacked by its own names."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from benchmark.api import UserError

Fetch = Callable[[str], Path]

# A patch of the study takes 1.2 MB. Constant masks shrink several hundred times, whole archives of patches never do.
LARGEST_FILE = 2**28
LARGEST_GROWTH, ALWAYS_ALLOWED = 100, 2**30
# Damaged or lying entries, methods of compression that Python lacks, and entries under a password.
FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def names(path: Path) -> list[str]:
    """Return the names of the GeoTIFFs in an archive, with / between folders, sorted; hidden files do not count.

    Raises:
        UserError: a ZIP that cannot be read or that no honest archiver wrote.
    """
    if path.is_dir():
        found = [file.relative_to(path).as_posix() for file in path.rglob("*.tif")]
    else:
        found = [entry.filename for entry in _entries(path)]
    return sorted(name for name in found if name.endswith(".tif") and not _hidden(name))


def holds(path: Path, ending: str) -> bool:
    """Whether a ZIP lists a file whose name ends so; no fault is raised."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(ending) for name in archive.namelist())
    except FAULTS:
        return False


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return the entries of a ZIP once all of them are known to be harmless."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FAULTS as error:
        raise UserError(f"{path} cannot be read as a ZIP archive: {error}") from None
    seen: set[str] = set()
    for entry in entries:
        if reason := _reason(entry, seen):
            raise UserError(f"{path} has an entry '{entry.filename}' that {reason}; it is not read")
        seen.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > max(ALWAYS_ALLOWED, LARGEST_GROWTH * path.stat().st_size):
        raise UserError(f"{path} would grow to {total / 1e9:.0f} GB, over {LARGEST_GROWTH} times its size; not read")
    return entries


def _reason(entry: zipfile.ZipInfo, seen: set[str]) -> str:
    """Return what is wrong with an entry, "" if nothing."""
    name = PurePosixPath(entry.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.orig_filename:
        return "may lead out of the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.file_size > LARGEST_FILE:
        return f"takes {entry.file_size / 1e6:.0f} MB"
    return "comes twice" if entry.filename in seen else ""


@contextmanager
def opened(path: Path) -> Iterator[Fetch]:
    """Give a function from a name to a file to read; of a ZIP there is one file at a time, in a temporary folder."""
    if path.is_dir():
        yield lambda name: path / name
        return
    with TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:

        def fetch(name: str) -> Path:
            for old in Path(folder).iterdir():
                old.unlink()
            target = Path(folder) / PurePosixPath(name).name
            try:
                target.write_bytes(archive.read(name))
            except FAULTS as error:
                raise UserError(f"'{name}' in {path} cannot be read: {error}") from None
            return target

        yield fetch
