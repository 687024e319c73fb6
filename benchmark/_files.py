"""What several parts do with files: hash, replace and write them, and lock a place for one process."""

from __future__ import annotations

import errno
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

# A disk that is full, read-only or somebody else's is for the user to mend.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Keep a second process from the same work; the lock ends with the process.

    Raises:
        UserError: another process is `busy` there.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(lock, timeout=0).acquire()
    except Timeout:
        raise UserError(f"{busy}; wait for it, or give another --out") from None
    with held:
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` and rename it to `path` when all is well, so nobody reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # also two hosts may write into one folder
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk does not say where
            error.filename = str(path)
        raise


def write_csv(frame: DataFrame, path: Path) -> Path:
    """Write a table with six significant digits in place of what was there; return the path."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")
    return path
