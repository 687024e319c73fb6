"""Features of frozen backbones, computed once and memory-mapped from then on.

A file is named by the encoder's fingerprint (weight bytes and preprocessing) and by the content of the images, so every
head, trial and seed that shares both shares the file. What computing it cost is kept and reported on hits too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.api import Encoder, Images, UserError, digest
from benchmark.record import write_json


@dataclass
class FeatureCache:
    """Feature files in one folder.

    Attributes:
        root: folder of the files.
        clock: () -> seconds, with the device's work finished.
        batch: patches encoded at a time.
        log: takes a line for the user.
        seconds: what the features asked for cost to compute, now or when they were; one entry a request.
        spent: what was spent here now, on computing, checking or waiting for another process.
    """

    root: Path
    clock: Callable[[], float]
    batch: int = 4
    log: Callable[[str], None] = print
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0

    def __call__(self, encoder: Encoder, images: Images) -> np.ndarray:
        """Return features (n, ...) float16 of the images, read-only and memory-mapped."""
        from filelock import FileLock

        start = self.clock()
        name = digest(encoder.fingerprint, images.fingerprint)[:32]
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{name}.lock"):
            found = self._open(name)
            if found is None:
                self._compute(name, encoder, images)
                found = self._open(name)
        assert found is not None, "features just written cannot be read back"
        features, seconds = found
        self.seconds.append(seconds)
        self.spent += self.clock() - start
        return features

    def _open(self, name: str) -> tuple[np.ndarray, float] | None:
        """Return the features and their cost; None where they are absent or their bytes changed."""
        data, meta = self.root / f"{name}.npy", self.root / f"{name}.json"
        if not (data.is_file() and meta.is_file()):
            return None
        known = json.loads(meta.read_text())
        with data.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != known["sha256"]:
                self.log(f"features {data.name} are damaged and are computed again")
                return None
        return np.load(data, mmap_mode="r"), float(known["seconds"])

    def _compute(self, name: str, encoder: Encoder, images: Images) -> None:
        """Encode batch by batch into a temporary file, then rename it and describe it."""
        start, data = self.clock(), self.root / f"{name}.npy"
        first = encoder.encode(images.take(slice(0, self.batch)))
        shape = (len(images), *first.shape[1:])
        self._require_space(int(np.prod(shape)) * 2)
        partial = data.with_suffix(".partial")
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        out[: self.batch] = first
        for begin in range(self.batch, len(images), self.batch):
            self.log(f"encode {begin}/{len(images)} patches")
            out[begin : begin + self.batch] = encoder.encode(images.take(slice(begin, begin + self.batch)))
        out.flush()
        del out
        spent = self.clock() - start
        with partial.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        partial.replace(data)
        write_json(data.with_suffix(".json"), {"sha256": checksum, "seconds": spent, "shape": shape})

    def _require_space(self, size: int) -> None:
        """Say how large the file will be, and refuse it where the disk is too small."""
        free = shutil.disk_usage(self.root).free
        self.log(f"features take {size / 1e6:.1f} MB on disk ({free / 1e9:.1f} GB free)")
        if size > 0.95 * free:
            raise UserError(f"features need {size / 1e9:.1f} GB and {self.root} has {free / 1e9:.1f} GB free")
