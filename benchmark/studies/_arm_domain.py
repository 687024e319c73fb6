"""Train on one domain, test on another: parts drawn anew from all patches of a store.

A transfer is written `SIDE -> SIDE`, a side `all`, `NAME=VALUE` or `NAME!=VALUE`. The scenes that show the tested side
are dealt into two halves alike in cloud, and one of them is tested; so what was not tested can train an arm that knows
the domain, and the halves together test every patch. Arms with the same tested side have the same test patches and the
same number of train patches, so that the difference between them is paired. They choose by the same validation patches
as far as what they may train on has patches in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark import patchset, splits
from benchmark.api import IGNORE, UserError, digest
from benchmark.splits import Split
from benchmark.strata import CUTS
from benchmark.studies._arm_train import in_turn, labelled, scene_order

FOLDS = 2
VAL = 0.25  # of the patches that may train; chosen as the parts of `splits.FRACTIONS` stand to each other
EACH = "leave-one-out:"
GRAMMAR = f"SIDE -> SIDE, a side being all, NAME=VALUE or NAME!=VALUE, or {EACH}NAME"
# Zones by absolute latitude in degrees, the first limit being a tropic and the second chosen here.
ZONES = ((23.5, "tropics"), (60.0, "mid-latitudes"), (91.0, "high-latitudes"))
SEASONS = ("winter", "spring", "summer", "autumn")  # of three whole months, of the patch's own hemisphere


@dataclass(frozen=True)
class Side:
    """A choice of patches: those whose attribute has a value, or has another one; name "" for all."""

    name: str = ""
    value: str = ""
    other: bool = False

    def __str__(self) -> str:
        return f"{self.name}{'!=' if self.other else '='}{self.value}" if self.name else "all"


def sides(text: str) -> tuple[Side, Side]:
    """Return what trains and what is tested.

    Raises:
        UserError: the text is not of the grammar.
    """
    words = text.split("->")
    if len(words) != 2:
        raise UserError(f"domain '{text}' is not of the form {GRAMMAR}")
    train, test = (_side(word.strip(), text) for word in words)
    return train, test


def _side(word: str, text: str) -> Side:
    if word == "all":
        return Side()
    name, equal, value = word.partition("=")
    other = name.endswith("!")
    name, value = name.removesuffix("!").strip(), value.strip()
    if not (equal and name and value):
        raise UserError(f"domain '{text}' is not of the form {GRAMMAR}")
    return Side(name, value, other)


def expanded(text: str, store: Path) -> list[str]:
    """Return the transfers that a value stands for: itself, or two arms of every value of an attribute."""
    if not text.startswith(EACH):
        train, test = sides(text)
        return [f"{train} -> {test}"]
    name = text.removeprefix(EACH).strip()
    values = sorted(set(attribute(store, name)) - {""})
    if len(values) < 2:
        raise UserError(f"all patches are of {name}={', '.join(values)}, so there is none to leave out")
    return [f"{train} -> {name}={value}" for value in values for train in (f"{name}!={value}", "all")]


@lru_cache(maxsize=16)
def attribute(store: Path, name: str) -> tuple[str, ...]:
    """Return an attribute of every patch of a store, "" where it is not known.

    It is a stratum of the store (of one with a class for each pixel, the class of most of them), or `scene`, `season`,
    `latitude` or `sun`.

    Raises:
        UserError: the store knows no such attribute.
    """
    arrays = patchset.arrays(store)
    if name == "scene":
        return arrays.scenes
    if name == "season":
        return tuple(map(_season, arrays.time, arrays.lat))
    if name == "latitude":
        return tuple(next((zone for limit, zone in ZONES if abs(lat) < limit), "") for lat in arrays.lat)
    if name == "sun":
        return tuple(_sun(float(zenith)) for zenith in arrays.sun_zenith)
    apart = {*arrays.attrs.get("metadata", ()), *arrays.attrs.get("maps", ())}
    known = {
        name: values for name, values in arrays.strata.items() if values.dtype.kind in "bUiu" and name not in apart
    }
    if name not in known:
        names = ", ".join((*known, "scene", "season", "latitude", "sun"))
        raise UserError(f"the patches have no attribute '{name}'; they have {names}")
    legend = arrays.legends.get(name, {})
    return tuple(_value(np.asarray(values), legend) for values in known[name])


def _season(time: np.datetime64, lat: float) -> str:
    if np.isnat(time) or np.isnan(lat):
        return ""
    month = int(time.astype("datetime64[M]").astype(int)) % 12 + (6 if lat < 0 else 0)  # 0 is January
    return SEASONS[(month + 1) // 3 % 4]


def _sun(zenith: float) -> str:
    limits = CUTS["sun"].limits
    return "" if np.isnan(zenith) else [label for label, low in limits.items() if low <= max(zenith, 0.0)][-1]


def _value(values: np.ndarray, legend: Mapping[int, str]) -> str:
    """Return the value of a patch, or that of most of its pixels that have one."""
    known, counts = np.unique(values, return_counts=True)
    if values.ndim and IGNORE not in legend and values.dtype.kind != "U":
        counts[known == IGNORE] = 0
    most = known[counts.argmax()]
    if not counts.any() or (values.dtype.kind != "U" and int(most) == IGNORE and IGNORE not in legend):
        return ""
    return str(most) if values.dtype.kind == "U" else legend.get(int(most), str(most))


@lru_cache(maxsize=4)
def groups(store: Path, unit: str) -> tuple[str, ...]:
    """Return the group of each patch: what no two parts may share."""
    return tuple(splits.together(patchset.table(store), unit))


@dataclass(frozen=True)
class Facts:
    """What a draw needs to know of all patches of a store, by id."""

    ids: tuple[str, ...]
    content: Mapping[str, str]
    group: Mapping[str, str]
    pixels: Mapping[str, np.ndarray]


@lru_cache(maxsize=4)
def facts(store: Path, unit: str) -> Facts:
    """Return the facts of a store."""
    rows = patchset.table(store)
    content, group = (dict(zip(rows.ids, each, strict=True)) for each in (rows.sha256, groups(store, unit)))
    return Facts(rows.ids, content, group, dict(zip(rows.ids, labelled(store, rows.ids), strict=True)))


def draw(
    store: Path, unit: str, text: str, fold: int, among: Sequence[str], counts: Mapping[str, int] | None = None
) -> Split:
    """Return the parts of a transfer.

    Args:
        store: the patch set; all its patches are drawn from, whatever parts it has.
        unit: of its split: what no two parts share.
        text: the transfer.
        fold: which half of the tested side is tested, 0 or 1.
        among: all transfers of the suite: those with the same tested side get the same numbers of patches.
        counts: patches of each part, at most.

    Raises:
        UserError: an attribute or value that is not there, a side with too few scenes, parts that leak.
    """
    known, tested = facts(store, unit), sides(text)[1]
    drawn = _pools(store, known, [other for other in among if sides(other)[1] == tested], fold)
    sizes = {part: min(len(parts[part]) for parts in drawn.values()) for part in splits.PARTS}
    for part, most in (counts or {}).items():
        sizes[part] = min(sizes[part], most)
    mine, shown = drawn[text], set(_matching(store, known.ids, tested))
    parts = {part: _first(known, mine[part], sizes[part]) for part in ("val", "test")}
    return splits.from_parts(store, {**parts, "train": _mixed(known, mine["train"], shown, sizes["train"])}, unit)


def _pools(store: Path, known: Facts, texts: Sequence[str], fold: int) -> dict[str, dict[str, list[str]]]:
    """Return the patches that each part of each transfer may have; all transfers have the same tested side."""
    test = sides(texts[0])[1]
    shown = _matching(store, known.ids, test)
    held = _tested(known, shown, test, fold)
    sources = {text: _matching(store, known.ids, sides(text)[0]) for text in texts}
    pools = {text: [p for p in source if known.group[p] not in held] for text, source in sources.items()}
    tested, found = [patch for patch in shown if known.group[patch] in held], {}
    for common, members in _alike(pools, set(shown)):
        val = _validation(known, {text: pools[text] for text in members}, common, set(shown))
        choosing = [patch for patch in common if known.group[patch] in val]
        for text in members:
            train = [patch for patch in pools[text] if known.group[patch] not in val]
            found[text] = {"train": train, "val": choosing, "test": tested}
    return found


def _alike(pools: Mapping[str, list[str]], shown: set[str]) -> list[tuple[list[str], list[str]]]:
    """Return the transfers put together that have patches in common, each lot with these patches.

    Those that do not know the tested side come first, so that one that trains on all is put to one of them, and not to
    one that trains on the tested side alone, with which they have nothing in common.
    """
    lots: list[tuple[list[str], list[str]]] = []
    for text in sorted(pools, key=lambda text: not shown.isdisjoint(pools[text])):
        there = set(pools[text])
        place = next((place for place, (common, _) in enumerate(lots) if not there.isdisjoint(common)), len(lots))
        common, members = lots[place] if place < len(lots) else (pools[text], [])
        lots[place : place + 1] = [([patch for patch in common if patch in there], [*members, text])]
    return lots


def _matching(store: Path, ids: Sequence[str], side: Side) -> list[str]:
    if not side.name:
        return list(ids)
    values = attribute(store, side.name)
    if side.value not in values:
        there = ", ".join(sorted(set(values) - {""}))
        raise UserError(f"no patch is of {side.name}={side.value}; values of {side.name} are {there}")
    return [patch for patch, value in zip(ids, values, strict=True) if value and (value != side.value) == side.other]


def _tested(known: Facts, shown: Sequence[str], side: Side, fold: int) -> set[str]:
    """Return the groups of a fold: those that show the side, by their cloud, dealt 0, 1, 1, 0."""
    cloud: dict[str, np.ndarray] = {}
    for patch in shown:
        cloud[known.group[patch]] = cloud.get(known.group[patch], 0) + known.pixels[patch]
    if len(cloud) < FOLDS:
        raise UserError(f"only one scene is of {side}, and one half of them is tested: it needs two")
    content = _contents(known, shown)
    order = sorted(cloud, key=lambda name: (cloud[name][1] / max(cloud[name].sum(), 1), content[name]))
    return {name for place, name in enumerate(order) if (place % 4 in (1, 2)) == bool(fold)}


def _contents(known: Facts, patches: Sequence[str]) -> dict[str, str]:
    """Return a hash of the patches of each group."""
    found: dict[str, list[str]] = {}
    for patch in patches:
        found.setdefault(known.group[patch], []).append(known.content[patch])
    return {name: digest(sorted(of)) for name, of in found.items()}


def _validation(known: Facts, pools: Mapping[str, Sequence[str]], common: Sequence[str], shown: set[str]) -> set[str]:
    """Return the groups that choose, of patches that all pools have: ones without the tested side if there are such."""
    fewest = min(pools, key=lambda text: len({known.group[patch] for patch in pools[text]}))
    scenes = len({known.group[patch] for patch in pools[fewest]})
    if scenes < 2:
        raise UserError(f"domain '{fewest}' leaves {scenes} scene(s) to train and to choose by; it needs two")
    showing = {known.group[patch] for patch in shown}
    able = [patch for patch in common if known.group[patch] not in showing] or list(common)
    pixels = {known.group[patch]: np.zeros(2, int) for patch in able}
    for patch in able:
        pixels[known.group[patch]] = pixels[known.group[patch]] + known.pixels[patch]
    order, least = scene_order({name: (n > 0).tolist() for name, n in pixels.items()}, _contents(known, able), 0)
    wanted, chosen = VAL * len(able), set(order[:least])
    for name in order[least:]:
        if sum(known.group[patch] in chosen for patch in able) >= wanted:
            break
        chosen.add(name)
    return chosen if len(chosen) < scenes else {order[0]}


def _first(known: Facts, patches: Sequence[str], number: int) -> list[str]:
    return in_turn(patches, known.content, known.group)[:number]


def _mixed(known: Facts, patches: Sequence[str], shown: set[str], number: int) -> list[str]:
    """Return so many of the patches, of the tested side its share of them, rounded up."""
    inside = [patch for patch in patches if patch in shown]
    outside = [patch for patch in patches if patch not in shown]
    share = max(-(-number * len(inside) // max(len(patches), 1)), number - len(outside))
    return _first(known, inside, share) + _first(known, outside, number - share)
