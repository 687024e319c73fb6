"""Which patches train, which choose, which test: a JSON file beside the store that *is* the comparison."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from benchmark import leaks
from benchmark.api import UserError, digest
from benchmark.patchset import Table, attributes, replace_folder, table
from benchmark.record import write_json

SCHEMA = 1
PARTS = ("train", "val", "test")
FRACTIONS = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Split:
    """A split of a patch set.

    Attributes:
        unit: what no two parts share: "scene", "date" (a set of whole scenes; "date:3": days of two parts are at least
            3 days apart), or "block" (of a single product: parts share its orbit, and their patches may touch).
        data: fingerprint of the patch set.
        parts: patch ids of train, val and test, in the order of the store.
        patches: content hash of every patch of a part.
        scenes: scene of every patch of a part.
    """

    unit: str
    data: str
    parts: dict[str, tuple[str, ...]]
    patches: dict[str, str]
    scenes: dict[str, str]


def split_path(store: Path) -> Path:
    """Return where the split of a store lies."""
    return store.with_name(f"{store.stem}.split.json")


def pinned(out: Path, whole: str) -> Path:
    """Return where runs find the split of a hash."""
    return out / "splits" / f"{whole[:16]}.split.json"


def by_date(unit: object) -> bool:
    """Whether a unit is "date", or "date:N" with a gap of N days.

    Raises:
        UserError: what follows "date:" is no number of days.
    """
    return isinstance(unit, str) and leaks.gap_days(unit) > 0


def split_hash(split: Split) -> str:
    """Return the hash of what is compared: the content of the patches in each part, whatever they are called."""
    return digest([(part, [split.patches[patch] for patch in split.parts[part]]) for part in PARTS])


def from_parts(store: Path, parts: Mapping[str, Sequence[str]], unit: str = "scene") -> Split:
    """Return the split with these patch ids in train, val and test.

    Raises:
        UserError: an id that is not in the store or in two parts, an empty part; a scene, a content, an orbit, a day
            closer than the gap or a place at nearly the same time in two parts.
    """
    rows = table(store)
    split = _split(store, rows, parts, unit)
    leaks.refuse(leaks.known(rows, split.parts, unit))
    return split


def _split(store: Path, rows: Table, parts: Mapping[str, Sequence[str]], unit: str) -> Split:
    position = {patch: row for row, patch in enumerate(rows.ids)}
    _check_parts(store, parts, position)
    ordered = {part: tuple(sorted(parts[part], key=position.__getitem__)) for part in PARTS}
    chosen = [position[patch] for patch in chain.from_iterable(ordered.values())]
    patches = {rows.ids[row]: rows.sha256[row] for row in chosen}
    scenes = {rows.ids[row]: rows.scenes[row] for row in chosen}
    return Split(unit, attributes(store)["fingerprint"], ordered, patches, scenes)


def _check_parts(store: Path, parts: Mapping[str, Sequence[str]], known: Mapping[str, int]) -> None:
    unknown = next((part for part in parts if part not in PARTS), None)
    if unknown:
        raise UserError(f"the split has a part '{unknown}'; parts are {', '.join(PARTS)}")
    owner: dict[str, str] = {}
    for part in PARTS:
        if not parts.get(part):
            raise UserError(f"part '{part}' of the split is empty")
        for patch in parts[part]:
            if patch not in known:
                raise UserError(f"split names patch '{patch}', which is not in {store.name}")
            if patch in owner:
                raise UserError(f"split names patch '{patch}' twice, in {owner[patch]} and in {part}")
            owner[patch] = part


def by_group(
    store: Path, unit: str = "scene", fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> Split:
    """Return a split by whole scenes, or by whole days (UTC), with about these fractions of the patches.

    Groups come in a seeded order, largest first; each goes to the part that lacks most patches. With unit "block" the
    scenes are blocks of a product. Groups that see one place within hours are one group.

    Raises:
        UserError: fewer groups than parts; a split by date where a patch has no time.
    """
    return from_parts(store, group_parts(table(store), unit, fractions, seed), unit)


def group_parts(rows: Table, unit: str, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> dict[str, list[str]]:
    """Return the patch ids of each part; the work of `by_group`."""
    groups = together(rows, unit)
    size = Counter(groups)
    if len(size) < len(PARTS):
        raise UserError(f"the patch set has {len(size)} {unit}(s); a split by {unit} needs {len(PARTS)}")
    names = sorted(size)
    order = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    order.sort(key=lambda name: -size[name])
    part_of = _assign(order, size, dict(zip(PARTS, fractions, strict=True)))
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for patch, group in zip(rows.ids, groups, strict=True):
        parts[part_of[group]].append(patch)
    return parts


def together(rows: Table, unit: str) -> list[str]:
    """Return the group of each patch, as `groups_of`; groups that see one place within hours are one."""
    groups = groups_of(rows, unit)
    if not any(rows.footprints):
        return groups
    from benchmark._footprints import joined

    return joined(rows.footprints, rows.time, groups)


def groups_of(rows: Table, unit: str) -> list[str]:
    """Return the group of each patch: its scene, or the day its scene began and the days that no gap sets apart.

    Raises:
        UserError: no such unit, or a split by date where a patch has no time.
    """
    if unit in ("scene", "block"):
        return list(rows.scenes)
    gap = leaks.gap_days(unit)
    if not gap:
        raise UserError(f"a split is by scene, date or block, not by '{unit}'")
    unknown = np.isnat(rows.time)
    if unknown.any():
        raise UserError(f"patch '{rows.ids[int(unknown.argmax())]}' has no time, which a split by date needs")
    days = leaks.days(rows)
    known = np.unique(days)
    first = known[np.diff(known, prepend=known[0] - gap) >= np.timedelta64(gap, "D")]
    return [str(first[np.searchsorted(first, day, "right") - 1]) for day in days]


def _assign(order: Sequence[str], size: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, str]:
    lacking = {part: fraction * sum(size.values()) for part, fraction in fractions.items()}
    empty = set(PARTS)
    part_of = {}
    for place, group in enumerate(order):
        candidates = empty if len(order) - place <= len(empty) else PARTS
        part = max((part for part in PARTS if part in candidates), key=lacking.__getitem__)
        part_of[group] = part
        lacking[part] -= size[group]
        empty.discard(part)
    return part_of


def publish(staged: Path, store: Path, parts: Mapping[str, Sequence[str]], unit: str) -> None:
    """Give a patch set its name, and its split one beside it, after the split has stood all checks.

    A fault removes the staged patch set and leaves what had the name before.

    Raises:
        UserError: as `from_parts`.
    """
    try:
        split = from_parts(staged, parts, unit)
        replace_folder(staged, store)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    write(split, split_path(store))


def cap(split: Split, counts: Mapping[str, int]) -> Split:
    """Return the split with at most `counts` patches in the parts it names.

    The choice depends on nothing but content: scenes come in the order of their hashes, and each gives one patch in
    turn. So few patches come from many scenes, and a smaller choice lies within a larger one.
    """
    parts = {part: _spread(split, part, counts[part]) if part in counts else split.parts[part] for part in PARTS}
    kept = set(chain.from_iterable(parts.values()))
    patches = {patch: value for patch, value in split.patches.items() if patch in kept}
    scenes = {patch: value for patch, value in split.scenes.items() if patch in kept}
    return Split(split.unit, split.data, parts, patches, scenes)


def _spread(split: Split, part: str, count: int) -> tuple[str, ...]:
    if count < 1:
        raise UserError(f"part '{part}' of the split cannot be cut to {count} patches")
    by_scene: dict[str, list[str]] = {}
    for patch in sorted(split.parts[part], key=lambda patch: (split.patches[patch], patch)):
        by_scene.setdefault(split.scenes[patch], []).append(patch)
    # The order of a scene is that of its first patch, so it hangs on content alone, as that of its patches does.
    turns = [(turn, place, patch) for place, ids in enumerate(by_scene.values()) for turn, patch in enumerate(ids)]
    kept = {patch for _, _, patch in sorted(turns)[:count]}
    return tuple(patch for patch in split.parts[part] if patch in kept)


def write(split: Split, path: Path) -> None:
    """Write a split as JSON; a reader sees the old file or the new one."""
    write_json(path, {"schema": SCHEMA, **asdict(split), "hash": split_hash(split)})


def read(path: Path, store: Path | None = None) -> Split:
    """Read a split and check it against its patch set.

    Args:
        path: the JSON file.
        store: its patch set; `<name>.zarr` beside `<name>.split.json` where not given.

    Raises:
        UserError: no such file, not a split, edited by hand, the patch set holds something else, or parts that leak.
    """
    store = store or path.with_name(path.name.removesuffix(".split.json") + ".zarr")
    split = read_unguarded(path, store)
    leaks.refuse(leaks.known(table(store), split.parts, split.unit))
    return split


def read_unguarded(path: Path, store: Path) -> Split:
    """Read a split as `read` does, but for whether its parts leak: for a report of that, never to train on."""
    given = load(path)
    now = table(store)
    content = dict(zip(now.ids, now.sha256, strict=True))
    for patch, value in given.patches.items():
        if patch in content and content[patch] != value:
            raise UserError(f"patch '{patch}' of {store.name} has not the content that {path.name} was made with")
    return _split(store, now, given.parts, given.unit)


def load(path: Path) -> Split:
    """Return what a split file holds, apart from any patch set.

    Raises:
        UserError: no such file, not a split, edited by hand.
    """
    if not path.exists():
        raise UserError(f"there is no split at {path}")
    try:
        values = json.loads(path.read_text())
        parts = {part: tuple(values["parts"][part]) for part in PARTS}
        split = Split(values["unit"], values["data"], parts, dict(values["patches"]), dict(values["scenes"]))
        same = values["schema"] == SCHEMA and values["hash"] == split_hash(split)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a split: {type(error).__name__} {error}") from None
    if not same:
        raise UserError(f"{path} was changed after it was written: its hash or schema does not fit")
    return split
