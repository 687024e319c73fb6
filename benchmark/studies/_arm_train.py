"""The train part made smaller: some of its scenes, or patches of a given share of cloud. Val and test stay as they are.

Orders hang on content and a seed, never on names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np

from benchmark import patchset
from benchmark.api import CLEAR, CLOUD, UserError, digest
from benchmark.splits import Split

NEAR = 0.03  # share of cloud by which an arm may miss what was asked
FEWEST = 4  # patches that a train part of a given share of cloud has at least


@lru_cache(maxsize=8)
def labelled(store: Path, patches: tuple[str, ...]) -> np.ndarray:
    """Return clear and cloudy pixels of each patch, (n, 2); read once for all arms."""
    arrays = patchset.arrays(store)
    masks = (np.asarray(arrays.mask[row]) for row in arrays.positions(patches))
    return np.array([[np.count_nonzero(mask == kind) for kind in (CLEAR, CLOUD)] for mask in masks])


def with_parts(split: Split, parts: Mapping[str, Iterable[str]]) -> Split:
    """Return a split with some parts made smaller; patches keep the order of the store."""
    kept = {part: set(ids) for part, ids in parts.items()}
    smaller = {part: tuple(p for p in ids if p in kept.get(part, ids)) for part, ids in split.parts.items()}
    there = set(chain.from_iterable(smaller.values()))
    patches, scenes = ({p: v for p, v in each.items() if p in there} for each in (split.patches, split.scenes))
    return replace(split, parts=smaller, patches=patches, scenes=scenes)


def in_turn(patches: Iterable[str], content: Mapping[str, str], group: Mapping[str, str], seed: int = 0) -> list[str]:
    """Return patches in an order in which every scene gives one in turn; scenes in a seeded order of their content."""
    by_group: dict[str, list[str]] = {}
    for patch in sorted(patches, key=lambda patch: (digest(seed, content[patch]), patch)):
        by_group.setdefault(group[patch], []).append(patch)
    turns = [(turn, place, patch) for place, ids in enumerate(by_group.values()) for turn, patch in enumerate(ids)]
    return [patch for _, _, patch in sorted(turns)]


def scene_order(kinds: Mapping[str, Sequence[bool]], content: Mapping[str, str], seed: int) -> tuple[list[str], int]:
    """Return scenes in a seeded order, and how many of the first show both classes if all do.

    The first scene with both classes comes first; where none has both, the first with each class do.

    Args:
        kinds: whether each scene has clear and cloudy pixels.
        content: a hash of each scene.
        seed: another one is another order.
    """
    order = sorted(kinds, key=lambda scene: (digest(seed, content[scene]), scene))
    both = [scene for scene in order if all(kinds[scene])][:1]
    lead = both or list(dict.fromkeys(s for kind in (0, 1) for s in [s for s in order if kinds[s][kind]][:1]))
    lead.sort(key=order.index)
    return [*lead, *(scene for scene in order if scene not in lead)], max(1, len(lead))


def fewer_scenes(split: Split, store: Path, percent: float, subset: int) -> Split:
    """Return the split with a share of its train scenes, of both classes if the whole train part is.

    A smaller share lies within a larger one of the same subset; at least one scene stays, or two where none has both
    classes.

    Args:
        split: of the store.
        store: the patch set.
        percent: of the scenes, rounded to whole ones.
        subset: seed of their order.
    """
    train = split.parts["train"]
    scenes = list(dict.fromkeys(split.scenes[patch] for patch in train))
    counts = dict.fromkeys(scenes, np.zeros(2, int))
    content: dict[str, list[str]] = {scene: [] for scene in scenes}
    for patch, pixels in zip(train, labelled(store, train), strict=True):
        counts[split.scenes[patch]] = counts[split.scenes[patch]] + pixels
        content[split.scenes[patch]].append(split.patches[patch])
    kinds = {scene: (pixels > 0).tolist() for scene, pixels in counts.items()}
    order, least = scene_order(kinds, {scene: digest(sorted(of)) for scene, of in content.items()}, subset)
    chosen = set(order[: max(least, int(percent * len(order) / 100 + 0.5))])
    return with_parts(split, {"train": [patch for patch in train if split.scenes[patch] in chosen]})


def balanced(split: Split, store: Path, percent: float, among: Sequence[float], subset: int) -> Split:
    """Return the split with train patches of which a given percentage of the labelled pixels is cloud.

    As many patches are kept as allow every percentage in `among`, so that all arms have the same number. Patches of as
    many scenes as can be come first; then those that bring the share nearer are swapped in one by one, of swaps that do
    alike the one that keeps most scenes.

    Raises:
        UserError: a percentage that FEWEST patches cannot reach.
    """
    train = in_turn(split.parts["train"], split.patches, split.scenes, subset)
    counts = labelled(store, tuple(train))
    train = [patch for patch, pixels in zip(train, counts, strict=True) if pixels.sum()]
    counts = counts[counts.sum(1) > 0]
    scenes = [split.scenes[patch] for patch in train]
    shares = [value / 100 for value in among]
    for number in range(len(train), FEWEST - 1, -1):
        if not _within(counts, number, shares):
            continue
        drawn = {share: _swapped(counts, scenes, number, share) for share in shares}
        if all(abs(_share(counts[list(rows)]) - share) <= NEAR for share, rows in drawn.items()):
            return with_parts(split, {"train": [train[row] for row in drawn[percent / 100]]})
    low, high = _range(counts, min(FEWEST, len(train)))
    raise UserError(
        f"train patches with {min(among):g} to {max(among):g} % of cloud cannot be had alike: any {FEWEST} of the "
        f"{len(train)} patches hold {100 * low:.0f} to {100 * high:.0f} %; vary balance within that, or give more data"
    )


def _share(counts: np.ndarray) -> float:
    """Return the share of cloud of patches, (n, 2) pixels of each class."""
    return float(counts[:, 1].sum() / counts.sum())


def _range(counts: np.ndarray, number: int) -> tuple[float, float]:
    """Return about the lowest and the highest share of cloud that so many patches can have."""
    order = np.argsort(counts[:, 1] / counts.sum(1), kind="stable")
    return _share(counts[order[:number]]), _share(counts[order[::-1][:number]])


def _within(counts: np.ndarray, number: int, shares: Sequence[float]) -> bool:
    low, high = _range(counts, number)
    return low - NEAR <= min(shares) and max(shares) <= high + NEAR


def _swapped(counts: np.ndarray, scenes: Sequence[str], number: int, share: float) -> tuple[int, ...]:
    """Return rows of so many patches, the first of them but for swaps that bring their share of cloud to the one asked.

    Among swaps that end equally near (in steps of a sixth of NEAR) the one that leaves most scenes is taken.
    """
    inside, outside = list(range(number)), list(range(number, len(counts)))
    while outside:
        total = counts[inside].sum(0)
        left = total[None, None] - counts[inside][:, None] + counts[outside][None]
        off = np.abs(left[..., 1] / left.sum(-1) - share)
        now = abs(total[1] / total.sum() - share)
        if now <= NEAR / 6 or off.min() >= now:
            break
        held = Counter(scenes[row] for row in inside)
        lost = np.array([held[scenes[row]] == 1 for row in inside])[:, None]
        won = np.array([held[scenes[row]] == 0 for row in outside])[None]
        steps = np.round(off / (NEAR / 6))
        best = np.lexsort((off.ravel(), (lost.astype(int) - won).ravel(), steps.ravel()))
        place = next(at for at in best if off.ravel()[at] < now)
        out, new = divmod(int(place), len(outside))
        inside[out], outside[new] = outside[new], inside[out]
    return tuple(sorted(inside))
