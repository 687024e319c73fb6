"""Files at an fsspec URL: listed, fetched and put, each whole or not at all, and tried again where a connection fails.

Credentials come from where the libraries of fsspec look for them (environment, their own files), never from a URL.
"""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
import tenacity

from benchmark._files import DISK
from benchmark.api import UserError

Result = TypeVar("Result")

ATTEMPTS, FIRST, LONGEST = 5, 1.0, 20.0  # tries, and bounds of the random seconds between them
# Where a file is there whole or not at all as soon as it is put; elsewhere it gets its name when it is whole.
ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
# Under which keys the file systems of fsspec tell when a file changed.
CHANGED = ("LastModified", "mtime", "last_modified", "updated", "modified", "created")
# What no second attempt mends: it is not there, not allowed, or asked for in a wrong way.
HOPELESS = (FileNotFoundError, PermissionError, FileExistsError, ImportError, ValueError, TypeError, LookupError)
_PART = re.compile(r"\.[0-9a-f]{32}\.part$")


@dataclass(frozen=True)
class Entry:
    """A file at a URL: bytes, and the time of its last change (POSIX seconds), None where the store tells none."""

    size: int
    changed: float | None


@dataclass(frozen=True)
class Remote:
    """A place for files.

    Attributes:
        fs: file system of fsspec.
        base: its path of the place.
        url: of the place, for messages.
    """

    fs: Any
    base: str
    url: str

    def entries(self, name: str) -> dict[str, Entry]:
        """Return the files under a name, or the file of that name, by their names from here; {} where there is none.

        Raises:
            UserError: the place cannot be had, or holds a name that leads out of it.
        """

        def find() -> dict[str, Any]:
            self.fs.invalidate_cache()
            with suppress(FileNotFoundError):
                return dict(self.fs.find(self._at(name), detail=True))
            return {}

        found = {path[len(self.base) :].strip("/"): info for path, info in self._patiently(find).items()}
        return {
            self._inside(one): Entry(int(info["size"]), _changed(info))
            for one, info in sorted(found.items())
            if info["type"] == "file" and not _PART.search(one)
        }

    def get(self, wanted: Mapping[str, Path]) -> None:
        """Fetch files, name -> where to; each is there whole or not at all.

        Raises:
            UserError: the place cannot be had.
            OSError: the disk here does not take them.
        """
        parts = {name: path.with_name(f".{path.name}.{uuid.uuid4().hex}.part") for name, path in wanted.items()}
        for path in wanted.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._patiently(lambda: self.fs.get([self._at(name) for name in parts], [str(p) for p in parts.values()]))
            for name, part in parts.items():
                part.replace(wanted[name])
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files, name -> where from; each is there whole or not at all.

        Raises:
            UserError: the place cannot be had.
            OSError: the disk there, where the place is one, does not take them.
        """
        places, local = [self._at(name) for name in files], [str(path) for path in files.values()]
        if self._protocols & ATOMIC:
            self._patiently(lambda: self.fs.put(local, places))
            return
        for path, place in zip(local, places, strict=True):
            self._patiently(lambda path=path, place=place: self._put_beside(path, place))  # type: ignore[misc]

    def _put_beside(self, path: str, place: str) -> None:
        """Put a file under another name beside its place, and rename it."""
        part = f"{place}.{uuid.uuid4().hex}.part"
        self.fs.makedirs(place.rpartition("/")[0], exist_ok=True)
        try:
            self.fs.put_file(path, part)
            self.fs.mv(part, place)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(part)
            raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is not there counts as removed."""

        def remove(name: str) -> None:
            with suppress(FileNotFoundError):
                self.fs.rm_file(self._at(name))

        for name in names:
            self._patiently(lambda name=name: remove(name))  # type: ignore[misc]

    @property
    def _protocols(self) -> set[str]:
        found = self.fs.protocol
        return {found} if isinstance(found, str) else set(found)

    def _at(self, name: str) -> str:
        return f"{self.base}/{name}"

    def _inside(self, name: str) -> str:
        """Return a name that came from the place, once it is known to lead nowhere else on this machine."""
        if ".." in PurePosixPath(name).parts or "\\" in name or not name:
            raise UserError(
                f"{self.url} holds a file '{name}' that may lead out of its folder here; nothing is fetched"
            )
        return name

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """Do work, several times where a connection fails; what does not mend becomes a sentence."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(FIRST, LONGEST),
            retry=tenacity.retry_if_exception(_may_mend),
            reraise=True,
        )
        try:
            return retrying(work)
        except Exception as error:  # every library behind fsspec has its own kinds
            if isinstance(error, OSError) and error.errno in DISK:
                raise
            raise UserError(f"{self.url} cannot be used ({_said(error)}); what is here stays here") from None


def connect(url: str) -> Remote:
    """Return the place at a URL; nothing is asked of it yet.

    Raises:
        UserError: nothing here speaks its protocol.
    """
    try:
        fs, base = fsspec.url_to_fs(url)
    except ImportError as error:
        raise UserError(f"{url} needs a package that is not installed: {_said(error)}") from None
    except Exception as error:  # unknown protocols, and what libraries ask of their settings
        raise UserError(f"{url} cannot be used ({_said(error)})") from None
    return Remote(fs, base.rstrip("/"), url)


def _changed(info: Mapping[str, Any]) -> float | None:
    value = next((info[key] for key in CHANGED if info.get(key) is not None), None)
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    return value.timestamp() if isinstance(value, datetime) else value


def _may_mend(error: BaseException) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, HOPELESS) or "Credential" in type(error).__name__:
        return False
    known = isinstance(error, OSError) and error.errno in DISK | {errno.EINVAL, errno.ENOSYS}
    return isinstance(error, Exception) and not known


def _said(error: Exception) -> str:
    """Return a fault in a line, without what a library may have put a key or signature into."""
    text = (str(error).splitlines() or [""])[0][:300]
    return re.sub(r"\?\S+", "?***", re.sub(r"://[^/@\s]+@", "://***@", f"{type(error).__name__}: {text}"))
