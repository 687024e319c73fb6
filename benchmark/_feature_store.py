"""One file of features with a slot for each patch, and the table that says what is in the slots.

A slot is written before its line of the table, so a process that ends midway leaves what it had finished. The lines
hold checksums; whatever the disk made of the bytes is found out before they are used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from benchmark.api import Images, UserError, digest

# File, key and checksum of the slots that this process has read or written.
_verified: set[tuple[str, str, int]] = set()
_known_keys: dict[str, list[str]] = {}


def keys(images: Images) -> list[str]:
    """Return what names each patch: the hash of its selected bands, time and place.

    Splits, and parts of different sizes, share what is named by content; `Images.source` differs between them.
    """
    about = [np.asarray(one)[images.index] for one in (images.time, images.lat, images.lon, images.sun_zenith)]
    name = digest(images.fingerprint, *(one.tobytes() for one in about))
    if name not in _known_keys:
        _known_keys[name] = [
            digest(images.read(row).tobytes(), *(one[row].tobytes() for one in about))[:32]
            for row in range(len(images))
        ]
    return _known_keys[name]


@dataclass(frozen=True)
class Slot:
    """Where the features of a patch are, the checksum of their bytes, and the seconds that computing them took."""

    place: int
    checksum: int
    seconds: float


class Slots:
    """Features of many patches in one file, as the table has them at the moment of opening.

    Only the holder of the file's lock may call `write`.

    Args:
        path: of the file; the table stands beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.table = path, path.with_suffix(".jsonl")
        self.shape: tuple[int, ...] = ()
        self.found: dict[str, Slot] = {}
        self._free = 0
        for entry in _entries(self.table) if path.exists() else ():
            if isinstance(entry, dict):
                self.shape = tuple(entry["shape"])
            else:
                self._take(entry[0], Slot(*entry[1:]))

    def _take(self, key: str, slot: Slot) -> None:
        self.found[key] = slot
        self._free = max(self._free, slot.place + 1)

    @property
    def size(self) -> int:
        """Bytes of a slot."""
        return 2 * math.prod(self.shape)

    def lacking(self, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the keys without a slot, and those whose bytes are not what was written; each key once."""
        unique = list(dict.fromkeys(wanted))
        absent = [key for key in unique if key not in self.found]
        return absent, [key for key in unique if key in self.found and not self._intact(key)]

    def _intact(self, key: str) -> bool:
        """Return whether the bytes in the slot have their checksum; looked at once in a process."""
        slot = self.found[key]
        mark = (str(self.path), key, slot.checksum)
        if mark not in _verified:
            try:
                with self.path.open("rb") as stream:
                    stream.seek(slot.place * self.size)
                    intact = crc32(stream.read(self.size)) == slot.checksum
            except OSError:
                intact = False
            if not intact:
                return False
            _verified.add(mark)
        return True

    def write(self, wanted: Sequence[str], features: np.ndarray, seconds: float) -> None:
        """Put features (n, ...) into the slots of their keys, or into new ones, and then say so in the table.

        Args:
            wanted: n keys.
            features: float16.
            seconds: that those of one patch took.

        Raises:
            ValueError: features of another shape or type than those in the file.
            UserError: the disk does not take them.
        """
        if features.dtype != np.float16 or self.shape not in ((), features.shape[1:]):
            raise ValueError(f"features {features.dtype} {features.shape[1:]} in a file of float16 {self.shape}")
        fresh = not self.shape
        self.shape = features.shape[1:]
        try:
            written = self._fill(wanted, features, seconds)
            _append(self.table, ([{"shape": self.shape}] if fresh else []) + written, fresh)
        except OSError as error:
            raise UserError(f"features cannot be written into {self.path.parent}: {error.strerror}") from error

    def _fill(self, wanted: Sequence[str], features: np.ndarray, seconds: float) -> list[Any]:
        """Write the bytes and return the lines for the table."""
        self.path.touch()
        lines = []
        # Plain writes, because a full disk ends a process that writes to a memory map.
        with self.path.open("r+b") as stream:
            for key, one in zip(wanted, features, strict=True):
                data = np.ascontiguousarray(one).tobytes()
                place = self.found[key].place if key in self.found else self._free
                stream.seek(place * self.size)
                stream.write(data)
                self._take(key, Slot(place, crc32(data), seconds))
                _verified.add((str(self.path), key, self.found[key].checksum))
                lines.append([key, place, self.found[key].checksum, seconds])
        return lines

    def features(self, wanted: Sequence[str]) -> Kept:
        """Return the features of these keys, in their order."""
        places = np.array([self.found[key].place for key in wanted])
        whole = np.memmap(self.path, np.float16, mode="r", shape=(places.max() + 1, *self.shape))
        return Kept(np.asarray(whole), places)


@dataclass
class Kept:
    """Features of some patches in a memory-mapped file (`api.Features`).

    Attributes:
        whole: all slots of the file.
        places: slot of each patch.
        shape: (n, ...).
    """

    whole: np.ndarray
    places: np.ndarray
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (len(self.places), *self.whole.shape[1:])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return the features of the patches at `rows`, (k, ...) float16, a fresh array."""
        return self.whole[np.atleast_1d(self.places[rows])]


def _entries(table: Path) -> list[Any]:
    """Return the lines of a table: all that are whole, none where the first, which tells the shape, is not."""
    if not table.exists():
        return []
    entries = [entry for line in table.read_text(errors="replace").splitlines() if (entry := _parsed(line)) is not None]
    return entries if entries and isinstance(entries[0], dict) else []


def _parsed(line: str) -> Any:
    """Return the entry in a line; None if the line was cut short or damaged."""
    checksum, _, text = line.partition(" ")
    return json.loads(text) if checksum == f"{crc32(text.encode()):08x}" else None


def _append(table: Path, entries: Sequence[Any], fresh: bool) -> None:
    texts = [json.dumps(entry) for entry in entries]
    with table.open("w" if fresh else "a") as stream:
        stream.write("\n")  # the line before may have no end
        stream.writelines(f"{crc32(text.encode()):08x} {text}\n" for text in texts)
