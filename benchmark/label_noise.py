"""What may be done to the labels of the training part: to ask what a row knows without them, and how it takes errors.

- `permuted`: the labels of all labelled pixels of the part change places at random. Class balance and the pixels that
  have a label stay exactly as they are, nothing else does: not even the cloud fraction of a patch, which whole masks
  that only change patches would go on telling wherever many patches are all cloud or all clear.
- `flip-SHARE`: each labelled pixel becomes the other class with this probability.
- `shift-PIXELS`: in every patch either cloud or clear sky grows, at random, by 1 to this many pixels.

What is done to a patch depends on the seed and on the patch, not on its place in the part (`permuted` depends on which
patches the part has). Pixels without a label stay without one. Labels are made when they are asked for, so that the
part may be larger than memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from benchmark.api import CLEAR, CLOUD, IGNORE, Part, UserError, digest

PERMUTED = "permuted"
GRAMMAR = f"{PERMUTED}, flip-SHARE (above 0, at most 0.5) and shift-PIXELS (1 or more)"
_FLIP, _SHIFT = re.compile(r"flip-(\d*\.?\d+)"), re.compile(r"shift-(\d{1,3})")
Treat = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # mask (y, x) -> mask


def canonical(labels: str) -> str:
    """Return the one name of a treatment, however it was typed.

    Raises:
        UserError: there is no such treatment.
    """
    if found := _FLIP.fullmatch(labels):
        share = float(found[1])
        if 0 < share <= 0.5:
            return f"flip-{share:g}"
    if (found := _SHIFT.fullmatch(labels)) and int(found[1]):
        return f"shift-{int(found[1])}"
    if labels == PERMUTED:
        return labels
    raise UserError(f"train labels cannot be treated by '{labels}'; treatments are {GRAMMAR}")


def treat(part: Part, labels: str, seed: int) -> Part:
    """Return the part with its labels treated.

    Args:
        part: the training part; its images stay as they are.
        labels: name of the treatment, "" for none.
        seed: of the random numbers.

    Raises:
        UserError: there is no such treatment.
    """
    if not labels:
        return part
    kind, _, amount = canonical(labels).partition("-")
    if kind == PERMUTED:
        treats = _permuted(part, seed)
    else:
        treats = dict.fromkeys(part.images.index.tolist(), _treatment(kind, amount))
    return replace(part, truth=_Treated(part, treats, seed))


def _treatment(kind: str, amount: str) -> Treat:
    """Return what is done to each mask of its own."""
    if kind == "flip":
        share = float(amount)
        return lambda mask, rng: np.where((mask != IGNORE) & (rng.random(mask.shape) < share), 1 - mask, mask)
    return lambda mask, rng: _grown(mask, int(rng.integers(1, int(amount) + 1)), bool(rng.integers(2)))


def _grown(mask: np.ndarray, pixels: int, cloud: bool) -> np.ndarray:
    """Return the mask with cloud, or clear sky, grown by a disc; pixels without label and beyond the patch grow not."""
    import cv2

    kind = CLOUD if cloud else CLEAR
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    there = (mask == kind).astype(np.uint8)
    reached = np.asarray(cv2.dilate(there, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)) > 0
    return np.where(reached & (mask != IGNORE), np.uint8(kind), mask)


def _permuted(part: Part, seed: int) -> dict[int, Treat]:
    """Return by row the treatment that, over all rows, is one permutation of all labels.

    How many clouds a patch gets is hypergeometric given what the patches before it have left, in an order that is of
    the patches' content; where they lie in it is left to the patch.
    """
    rows = sorted(part.images.index.tolist(), key=lambda row: _content(part, row))
    counts = [[np.count_nonzero(part.truth[row] == kind) for kind in (CLEAR, CLOUD)] for row in rows]
    clear, cloud = np.sum(counts, axis=0).tolist()
    if max(clear, cloud) >= 10**9:  # where NumPy's hypergeometric distribution ends
        raise UserError("the labels of 10^9 pixels of one class and more cannot be permuted; use fewer patches")
    rng, found = np.random.default_rng([seed, *PERMUTED.encode()]), {}
    for row, labelled in zip(rows, np.sum(counts, axis=1).tolist(), strict=True):
        clouds = int(rng.hypergeometric(cloud, clear, labelled))
        cloud, clear = cloud - clouds, clear - (labelled - clouds)
        found[row] = _scattered(clouds)
    return found


def _scattered(clouds: int) -> Treat:
    """Return what gives this many of the labelled pixels cloud, at random, and the others clear sky."""

    def scatter(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        known = mask != IGNORE
        fresh = np.where(np.arange(np.count_nonzero(known)) < clouds, CLOUD, CLEAR).astype(np.uint8)
        out = np.array(mask)
        out[known] = rng.permutation(fresh)
        return out

    return scatter


def _content(part: Part, row: int) -> str:
    """Return a hash of a patch: two with the same labels, such as two that are all cloud, are told apart."""
    first = part.images.toa[row][part.images.channels[0]]
    return digest(np.ascontiguousarray(part.truth[row]).tobytes(), np.ascontiguousarray(first).tobytes())


@dataclass(frozen=True)
class _Treated(Sequence[np.ndarray]):
    """Truth of a part by row, treated when it is asked for, the same each time."""

    part: Part
    treats: dict[int, Treat]
    seed: int

    def __len__(self) -> int:
        return len(self.part.truth)

    @overload
    def __getitem__(self, row: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, row: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        rng = np.random.default_rng([self.seed, int(_content(self.part, row)[:16], 16)])
        return self.treats[row](np.asarray(self.part.truth[row]), rng).astype(np.uint8)
