"""One SLSTR product on its way from the Data Store to its folder, file by file.

Files gather in `.<product>.partial`, each as `<file>.part` until it is whole; the folder gets the product's name, which
the reader parses, when every wanted file is in it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets._slstr_manifest import MANIFEST, Listed, Unsound, read_manifest, wanted
from datasets._slstr_patience import CHUNK, Patient, Short
from datasets._slstr_store import Product, Store

# Times that a file may arrive with another content than its manifest says.
ARRIVALS = 3


class Meter:
    """Bytes of all files that are there, told to a callback (done, total) by one thread at a time."""

    def __init__(self, done: int, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = done, total, progress
        self._lock = threading.Lock()
        self.add(0)

    def add(self, count: int) -> None:
        """Count bytes that came, or with a negative count went."""
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class Target:
    """Where a product goes: `final` when it is whole, until then `partial`."""

    product: Product
    out: Path

    @property
    def final(self) -> Path:
        """Folder of the whole product."""
        return self.out / f"{self.product.name}.SEN3"

    @property
    def partial(self) -> Path:
        """Folder that its files gather in."""
        return self.out / f".{self.product.name}.partial"

    def listed(self) -> dict[str, Listed] | None:
        """Return what the manifest lists, None where there is no sound one yet."""
        return _listed_in(self.final, self.product.name) or _listed_in(self.partial, self.product.name)

    def prepare(self, manifest: bytes) -> None:
        """Make the folder that files gather in, and put the manifest there unless it is empty."""
        self.partial.mkdir(exist_ok=True)
        if manifest:
            part = self.partial / f"{MANIFEST}.part"
            part.write_bytes(manifest)
            part.replace(self.partial / MANIFEST)

    def lacking(self, files: dict[str, Listed]) -> dict[str, Listed]:
        """Return which of these files are not there in their size."""
        folders = (self.final, self.partial)
        return {name: file for name, file in files.items() if not any(_is(f / name, file.size) for f in folders)}

    def begun(self, files: dict[str, Listed]) -> int:
        """Return how many bytes of these files came in an earlier attempt that broke off."""
        return sum(_size(self.partial / f"{name}.part") for name in files)

    def whole(self, entries: str) -> bool:
        """Whether the final folder has all wanted files in the sizes of its manifest."""
        files = _listed_in(self.final, self.product.name)
        return files is not None and all(_is(self.final / n, f.size) for n, f in wanted(files, entries).items())

    def settle(self) -> None:
        """Give a product whose files are all there its final name."""
        for path in self.partial.glob("*.part"):
            path.unlink()
        if not self.final.exists():
            _sync(self.partial)
            self.partial.rename(self.final)
        else:
            for path in self.partial.iterdir():
                path.replace(self.final / path.name)
            self.partial.rmdir()
        _sync(self.out)


def _listed_in(folder: Path, product: str) -> dict[str, Listed] | None:
    try:
        return read_manifest((folder / MANIFEST).read_bytes(), product)
    except (FileNotFoundError, Unsound):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Transfer:
    """One file of a product, to be fetched.

    Attributes:
        store: where from.
        target: where to.
        name: of the file.
        listed: its size and MD5.
        meter: counts its bytes.
        patient: says when to leave off, and how long a file may take.
    """

    store: Store
    target: Target
    name: str
    listed: Listed
    meter: Meter
    patient: Patient

    @property
    def part(self) -> Path:
        """The file while it is not whole."""
        return self.target.partial / f"{self.name}.part"

    def run(self) -> None:
        """Fetch the file, going on where an earlier attempt broke off, and compare it with the manifest.

        Raises:
            Unsound: what the server sends is not what the manifest says, however often it is fetched.
        """
        what = f"{self.name} of {self.target.product.name}"
        ends = self.patient.limits.ends(self.listed.size)
        if _size(self.part) > self.listed.size:
            self._discard()  # no server could go on where it ends
        for _ in range(ARRIVALS):
            if not _is(self.part, self.listed.size):
                self.store.fill(what, partial(self._append, ends), ends, lambda: _size(self.part))
            if self._sound():
                self.part.replace(self.target.partial / self.name)
                return
            self._discard()
        raise Unsound(f"{what} arrived {ARRIVALS} times with another content than its manifest says")

    def _discard(self) -> None:
        self.meter.add(-_size(self.part))
        self.part.unlink()

    def _append(self, ends: float) -> None:
        """Append what lacks; raises Short where the transfer ends early or takes too long."""
        have, entry = _size(self.part), self.target.product.entry(self.name)
        with self.store.stream(self.target.product, entry, have, self.listed.size) as (stream, start):
            self.meter.add(start - have)
            with self.part.open("ab" if start else "wb") as file:
                # read1 gives what has come so far, so that a break loses none of it.
                while file.tell() <= self.listed.size and (chunk := stream.read1(CHUNK)):
                    file.write(chunk)
                    self.meter.add(len(chunk))
                    self.patient.go_on(ends)
        if _size(self.part) < self.listed.size:
            raise Short(f"{self.name} ended early")

    def _sound(self) -> bool:
        with self.part.open("r+b") as file:
            os.fsync(file.fileno())
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return md5 == self.listed.md5 and _is(self.part, self.listed.size)
