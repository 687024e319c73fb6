"""What several parts do with files: hash their content, and lock a place for one process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.api import UserError


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
