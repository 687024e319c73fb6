"""Reading with satpy without its log: what it says before it raises, the error says in one sentence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def quiet(ignored: Sequence[str], loggers: Sequence[str] = ("satpy",)) -> Iterator[None]:
    """Keep back the records of these loggers, warnings of block sizes, and warnings that begin as in `ignored`."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            for message in ("The specified chunks separate", *ignored):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)
