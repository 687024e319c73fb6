"""The result of a cell: what happened, kept as a small JSON; what it means is derived elsewhere.

A record is written last and by renaming, so a folder without `record.json` is unfinished work. Beside it lie
`probabilities.npy` (test patches, y, x; float16), `validation_histogram.npy` (`scores.histogram` of the validation
part), `model/` (the fitted method in safe files) and `log.txt`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmark._files import replacing

SCHEMA = 1
OK, FAILED, TIMEOUT, NOT_RUN = "ok", "failed", "timeout", "not run"
FILE, PROBABILITIES, VALIDATION = "record.json", "probabilities.npy", "validation_histogram.npy"


@dataclass(frozen=True)
class Record:
    """Everything kept of one cell.

    Attributes:
        key: hash of the cell's content.
        cell: the cell as planned (row, data, split, bands, seed, tuned, budget...).
        status: OK, FAILED, TIMEOUT or NOT_RUN.
        reason: one sentence where the status is not OK.
        params: all hyperparameters of the fitted method.
        changes: what tuning changed in the row; empty for defaults.
        parameters: {"total", "trainable"} where the method has a number of them.
        patches, scenes: of the test part, in the order of `counts` and of the probabilities.
        counts: per test patch [true clear, false cloud, missed cloud, true cloud] at `threshold`.
        bands: of each channel: name, role, and `plays`, the role it plays in this comparison.
        strata: stratum -> value -> the same counts per patch inside it; strata_version: `strata.VERSION` of then.
        boundary: distance in pixels -> the counts of `boundary.FIELDS` of each patch.
        spectrum: octave of wavelengths -> the sums of `spectrum.FIELDS` of each patch.
        fraction: tile -> the sums of `fraction.FIELDS` of each patch.
        facts: what the method said of its run, plain values by name.
        threshold: probability above which a pixel is cloud.
        validation: ranking metric on the validation part.
        curves: one dict an epoch: epoch, and whatever the method reported.
        trials: one dict a trial of tuning: number, params, value, state, seconds, and why it ended early.
        laps: phase -> seconds of each lap (fit, encode, tune, validate, predict, latency).
        pixels: test pixels predicted in the `predict` laps.
        memory: bytes: rss_start, rss_fit, rss_predict, vram_allocated, vram_reserved, vram_process; None: no device.
        energy: joules of the device during fit and predict; None where the device cannot say.
        environment: versions, hardware, threads, commit.
        started: UTC time, ISO 8601.
        seconds: wall time of the cell as a whole.
    """

    key: str
    cell: dict[str, Any]
    status: str
    reason: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] | None = None
    patches: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)
    bands: list[dict[str, str]] = field(default_factory=list)
    strata: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    strata_version: int = 0
    boundary: dict[str, list[list[int]]] = field(default_factory=dict)
    spectrum: dict[str, list[list[float]]] = field(default_factory=dict)
    fraction: dict[str, list[list[float]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.5
    validation: float | None = None
    curves: list[dict[str, float]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    laps: dict[str, list[float]] = field(default_factory=dict)
    pixels: int = 0
    memory: dict[str, int | None] = field(default_factory=dict)
    energy: dict[str, float | None] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    @property
    def rss(self) -> int | None:
        """Highest resident memory, bytes, of fit and predict; None where it was not measured."""
        known = [size for phase in ("rss_fit", "rss_predict") if (size := self.memory.get(phase)) is not None]
        return max(known, default=None)

    schema: int = SCHEMA


def write(record: Record, folder: Path) -> Path:
    """Write the record into its folder, whole or not at all; return the file."""
    return write_json(folder / FILE, asdict(record))


def read(folder: Path) -> Record | None:
    """Return the record in a folder; None where there is none, it is broken, or its schema is another."""
    try:
        values = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        return None
    return Record(**{f.name: values[f.name] for f in fields(Record) if f.name in values})


def write_json(path: Path, value: Any) -> Path:
    """Write JSON to a temporary name beside `path` and rename it; readers see the old file or the new one."""
    with replacing(path) as temporary, temporary.open("w") as stream:
        json.dump(value, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    return path
