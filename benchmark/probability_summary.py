"""What a table tells of a run's stored probabilities, kept beside them, so that it need not read every pixel again.

It holds for the very files that it was made from, by their size, their times of content and of status, and their
inode: a file that is rewritten, replaced or copied is another one, whatever its date says, and is read again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark._files import replacing
from benchmark.scores import histogram, probability_scores

FILE = "probability_summary.json"
VERSION = 1  # raise it when the same probabilities would get another summary

Signature = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Summary:
    """What stored probabilities come to, pixels without truth left out.

    Attributes:
        values: how many different ones there are.
        scores: PROBABILITY_SCORES by name; empty where no pixel has truth.
    """

    values: int
    scores: dict[str, float]


def summary(probabilities: Path, mask: Path) -> Summary:
    """Return the summary of probabilities (n, y, x) against truth (n, y, x), kept in FILE beside the former.

    Raises:
        ValueError: a counted pixel's probability is NaN or outside [0, 1].
    """
    return _summary(probabilities, mask, (_identity(probabilities), _identity(mask)))


def _identity(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


@cache
def _summary(probabilities: Path, mask: Path, of: Signature) -> Summary:
    path = probabilities.with_name(FILE)
    return _read(path, of) or _made(probabilities, mask, of, path)


def _read(path: Path, of: Signature) -> Summary | None:
    """Return what is kept; None where there is nothing whole, or it is of other files or another version."""
    try:
        found: Any = json.loads(path.read_bytes())
        if found["version"] == VERSION and found["of"] == [list(one) for one in of]:
            return Summary(found["values"], found["scores"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _made(probabilities: Path, mask: Path, of: Signature, path: Path) -> Summary:
    hist = histogram(np.load(probabilities, mmap_mode="r"), np.load(mask, mmap_mode="r"))
    made = Summary(int(np.count_nonzero(hist.any(0))), probability_scores(hist) if hist.any() else {})
    text = json.dumps({"version": VERSION, "of": of, **asdict(made)})
    with suppress(OSError), replacing(path) as temporary:  # who may only read these runs reads the pixels each time
        temporary.write_text(text)
    return made
