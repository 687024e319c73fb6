"""Patch sets that are made of other patch sets: once, few patches in memory at a time, with a split beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import splits
from benchmark.patchset import Arrays

AT_ONCE = 16  # patches: appending one by one takes several times as long
WHERE = ("time", "lat", "lon", "sun_zenith")


def make(
    store: Path, write: Callable[[Path], None], given: Callable[[], tuple[Mapping[str, Sequence[str]], str]]
) -> Path:
    """Return a patch set and write it, and the split of the parts and unit that `given` returns, where it is not there.

    Raises:
        UserError: as `splits.from_parts`.
    """
    if not store.exists():
        write(store)
    split = splits.split_path(store)
    if not split.exists():
        splits.write(splits.from_parts(store, *given()), split)
    return store


def batches(arrays: Arrays) -> Iterator[tuple[slice, dict[str, Any]]]:
    """Yield the patches of a patch set, few at a time: where they are in it, and their times and places."""
    for begin in range(0, len(arrays.ids), AT_ONCE):
        rows = slice(begin, begin + AT_ONCE)
        yield rows, {name: getattr(arrays, name)[rows] for name in WHERE}
