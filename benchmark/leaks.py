"""The leak guard: what no two parts of a split may share, told check by check, and the refusal where they do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import patchset
from benchmark.api import UserError, code
from benchmark.patchset import Table
from benchmark.record import write_json

OK, FAULT, UNCHECKED = "ok", "fault", "not checked"
SHOWN = 3  # offending pairs that a sentence names
FEWEST = 24  # pixels a side below which two patches cannot be told to be alike
Parts = Mapping[str, Sequence[str]]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: scene, content, orbit, date, footprint or near-duplicate.
        state: OK, FAULT or UNCHECKED.
        told: what was found, or why nothing was looked at.
        pairs: ids of offending patches of two parts.
    """

    check: str
    state: str
    told: str
    pairs: tuple[Pair, ...] = ()


def known(rows: Table, parts: Parts, unit: str) -> list[Finding]:
    """Return the findings that need no pixel: scenes, contents, orbits, dates and footprints.

    Args:
        rows: table of the patch set.
        parts: patch ids of each part, every id in the table and in one part.
        unit: of the split; "date:3" keeps the days of two parts at least three days apart, "date" one.
    """
    return [
        _shared("scene", "scene", parts, dict(zip(rows.ids, rows.scenes, strict=True))),
        _shared("content", "content of patch", parts, dict(zip(rows.ids, rows.sha256, strict=True))),
        _orbits(rows, parts, unit),
        _dates(rows, parts, unit),
        _footprints(rows, parts),
    ]


def near_duplicates(store: Path, parts: Parts, split_hash: str) -> Finding:
    """Return whether patches of two parts are nearly the same, whichever way they lie; the verdict is kept.

    It lies in `<store stem>.leaks/` beside the store, by the content of data and split, and is made anew where the rule
    changed.

    Args:
        store: the patch set.
        parts: patch ids of each part.
        split_hash: `splits.split_hash` of the split.
    """
    arrays = patchset.arrays(store)
    size = arrays.toa.shape[2:]
    if min(size) < FEWEST:
        return Finding("near-duplicate", UNCHECKED, f"patches of {size[0]}x{size[1]} pixels are too small to compare")
    file = store.with_name(f"{store.stem}.leaks") / f"{arrays.fingerprint[:16]}-{split_hash[:16]}.json"
    found = _kept(file, [arrays.fingerprint, split_hash, _rule()])
    if found is None:
        from benchmark import _near_duplicates

        places = [arrays.positions(ids).tolist() for ids in parts.values()]
        units = [band.quantity for band in arrays.bands]
        alike_rows = _near_duplicates.pairs(arrays.toa, places, units)
        found = [(arrays.ids[one], arrays.ids[other], alike) for one, other, alike in alike_rows]
        with suppress(OSError):  # a store that others keep may be read-only
            write_json(file, {"of": [arrays.fingerprint, split_hash, _rule()], "pairs": found})
    if not found:
        return Finding("near-duplicate", OK, f"no two of {_count(parts)} patches are alike across parts")
    part_of = {patch: part for part, ids in parts.items() for patch in ids}
    first, second, alike = found[0]
    names = " and ".join(f"'{patch}' of {part_of[patch]}" for patch in (first, second))
    told = f"patches {names} are nearly the same, turned or not (correlation {alike:.2f})"
    return _fault("near-duplicate", told, [(a, b) for a, b, _ in found])


def refuse(findings: Iterable[Finding]) -> None:
    """Raise UserError, with the offending pairs, where a check found a fault."""
    faults = [finding for finding in findings if finding.state == FAULT]
    if faults:
        others = ", ".join(finding.check for finding in faults[1:])
        raise UserError(faults[0].told + (f"; also at fault: {others}" if others else ""))


def gap_days(unit: str) -> int:
    """Return how many days apart a unit keeps the days of two parts: 3 for "date:3", 1 for "date", 0 for others.

    Raises:
        UserError: what follows "date:" is no number of days.
    """
    name, _, days = unit.partition(":")
    if name != "date":
        return 0
    if days and not (days.isdecimal() and int(days)):
        raise UserError(f"a split by '{unit}' names no number of days; write date:3 for parts at least 3 days apart")
    return int(days or 1)


def days(rows: Table) -> np.ndarray:
    """Return the day (UTC) of each patch, datetime64[D]: that on which its scene began; NaT where unknown."""
    began: dict[str, np.datetime64] = {}
    for scene, time in zip(rows.scenes, rows.time, strict=True):
        began[scene] = np.fmin(time, began.get(scene, time))
    return np.array([began[scene] for scene in rows.scenes], "datetime64[D]")


def _fault(check: str, told: str, pairs: Sequence[Pair]) -> Finding:
    shown = ", ".join(f"'{first}' and '{second}'" for first, second in pairs[:SHOWN])
    number = "1 such pair" if len(pairs) == 1 else f"{len(pairs)} such pairs"
    more = ", ..." if len(pairs) > SHOWN else ""
    return Finding(check, FAULT, f"{told} ({number}: {shown}{more})", tuple(pairs))


def _count(parts: Parts) -> int:
    return sum(map(len, parts.values()))


def _shared(check: str, what: str, parts: Parts, values: Mapping[str, str]) -> Finding:
    """Tell of what is in two parts; each patch that has it again is paired with the first."""
    owner: dict[str, tuple[str, str]] = {}
    pairs, told = [], ""
    for part, ids in parts.items():
        for patch in ids:
            other, first = owner.setdefault(values[patch], (part, patch))
            if other != part:
                name = first if check == "content" else values[patch]
                told = told or f"{what} '{name}' is in {other} and, as patch '{patch}', in {part}"
                pairs.append((first, patch))
    if pairs:
        return _fault(check, told, pairs)
    return Finding(check, OK, f"none of {len(owner)} is in two parts")


def _orbits(rows: Table, parts: Parts, unit: str) -> Finding:
    if not rows.orbits:
        return Finding("orbit", UNCHECKED, "the patch set names no orbits")
    if unit == "block":
        return Finding("orbit", UNCHECKED, "the parts are blocks of one product, so they share its orbit")
    return _shared("orbit", "orbit", parts, dict(zip(rows.ids, rows.orbits, strict=True)))


def _dates(rows: Table, parts: Parts, unit: str) -> Finding:
    """Tell of days of two parts that are closer than the gap of the split; without one, how close the parts are."""
    gap, times = gap_days(unit), dict(zip(rows.ids, days(rows), strict=True))
    dated = sorted((times[patch], part, patch) for part, ids in parts.items() for patch in ids
                   if not np.isnat(times[patch]))  # fmt: skip
    if not dated:
        return Finding("date", UNCHECKED, "no times")
    unknown = _count(parts) - len(dated)
    nearest = min((int((b[0] - a[0]).astype(int)) for a, b in _neighbours(dated)), default=None)
    apart = "only one part has times" if nearest is None else f"days of two parts are {nearest} or more apart"
    apart += f", {unknown} patches without a time left out" if unknown else ""
    if not gap:
        return Finding("date", UNCHECKED, f"a split by {unit} states no gap of days; {apart}")
    close = list(_closer(dated, gap))
    if not close:
        return Finding("date", OK if nearest is not None else UNCHECKED, f"{apart}, the gap being {gap}")
    (day, part, patch), (later, other, second) = close[0]
    told = (
        f"patch '{patch}' of {part} is of {day} and '{second}' of {other} of {later}, which is closer than {gap} day(s)"
    )
    return _fault("date", told, [(a[2], b[2]) for a, b in close])


def _neighbours(dated: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (day, part, patch) that follow each other in time and are of two parts: the nearest pair is among them."""
    return ((a, b) for a, b in pairwise(dated) if a[1] != b[1])


def _closer(dated: Sequence[Any], gap: int) -> Iterator[tuple[Any, Any]]:
    """Yield pairs of (day, part, patch) less than `gap` days apart, one pair for two days of two parts."""
    firsts = list({(day, part): (day, part, patch) for day, part, patch in reversed(dated)}.values())[::-1]
    for place, one in enumerate(firsts):
        for other in firsts[place + 1 :]:
            if (other[0] - one[0]).astype(int) >= gap:
                break
            if other[1] != one[1]:
                yield one, other


def _footprints(rows: Table, parts: Parts) -> Finding:
    if not any(rows.footprints):
        return Finding("footprint", UNCHECKED, "the patch set has no footprints")
    from benchmark._footprints import overlaps

    part_of = {patch: part for part, ids in parts.items() for patch in ids}
    used = [row for row, patch in enumerate(rows.ids) if patch in part_of]
    owners = [part_of[rows.ids[row]] for row in used]
    found = list(dict.fromkeys(overlaps([rows.footprints[row] for row in used], rows.time[used], owners)))
    if not found:
        placed = sum(bool(rows.footprints[row]) for row in used)
        return Finding("footprint", OK, f"no two of {placed} overlap across parts within 12 hours")
    names = [f"'{rows.ids[used[place]]}' of {owners[place]}" for place in found[0]]
    told = f"patches {' and '.join(names)} overlap on the ground less than 12 hours apart"
    return _fault("footprint", told, [(rows.ids[used[a]], rows.ids[used[b]]) for a, b in found])


@cache
def _rule() -> str:
    """Return the hash of the code that tells which patches are alike."""
    return code(Path(__file__).with_name("_near_duplicates.py"))


def _kept(file: Path, of: list[str]) -> list[Any] | None:
    """Return the pairs of a verdict that was kept, None where there is none of these data, this split and this rule."""
    try:
        values = json.loads(file.read_text())
        return list(values["pairs"]) if values["of"] == of else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
