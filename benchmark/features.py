"""Features of frozen backbones, computed once a patch and memory-mapped from then on.

A file is named by the encoder's fingerprint (weight bytes and preprocessing) and the size of patches, a slot in it by
the content of the patch, so every split, label fraction, head, probe, trial and seed that shares an encoder shares what
is there, and only patches that are new to it are computed. What computing cost is kept and reported on hits too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark import root
from benchmark._feature_store import Slots, keys
from benchmark.api import Encoder, Features, Images, UserError, digest


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

    def __call__(self, encoder: Encoder, images: Images) -> Features:
        """Return features (n, ...) float16 of the images, memory-mapped; those that are there wait for no lock.

        Raises:
            UserError: the disk is too small for those that are missing; nothing was written then.
        """
        from filelock import FileLock

        start = self.clock()
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{digest(encoder.fingerprint, images.shape[1:])[:32]}.f16"
        wanted, slots = keys(images), Slots(path)
        if any(slots.lacking(wanted)):
            with FileLock(path.with_suffix(".lock")):
                root.fetch_features(path)
                slots = Slots(path)  # another process may have been here meanwhile
                self._compute(slots, wanted, encoder, images)
                root.deliver_features(path)
        self.seconds.append(sum(slots.found[key].seconds for key in set(wanted)))
        self.spent += self.clock() - start
        return slots.features(wanted)

    def _compute(self, slots: Slots, wanted: list[str], encoder: Encoder, images: Images) -> None:
        """Encode, batch by batch, the patches that are missing or damaged."""
        absent, damaged = slots.lacking(wanted)
        if damaged:
            self.log(f"features of {len(damaged)} patches in {slots.path.name} are damaged and are computed again")
        first = {key: row for row, key in reversed(list(enumerate(wanted)))}
        rows = np.array(sorted(first[key] for key in (*absent, *damaged)), int)
        for begin in range(0, len(rows), self.batch):
            piece, start = rows[begin : begin + self.batch], self.clock()
            features = encoder.encode(images.take(piece))
            spent = self.clock() - start
            if begin == 0:
                self._require_space(len(absent) * features[0].nbytes, len(rows), len(first))
            slots.write([wanted[row] for row in piece], features, spent / len(piece))
            if begin // self.batch % max(1, len(rows) // self.batch // 10) == 0:
                self.log(f"encoded {begin + len(piece)} of {len(rows)} patches")

    def _require_space(self, size: int, missing: int, asked: int) -> None:
        """Say how much will be written, and refuse it where the disk is too small."""
        free = shutil.disk_usage(self.root).free
        self.log(
            f"features of {missing} of {asked} patches are missing and take {size / 1e6:.1f} MB on disk "
            f"({free / 1e9:.1f} GB free)"
        )
        if size > 0.95 * free:
            raise UserError(f"features need {size / 1e9:.1f} GB and {self.root} has {free / 1e9:.1f} GB free")
