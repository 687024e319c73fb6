"""LightGBM boosters for two classes as flat arrays, evaluated several times faster than LightGBM does.

Trees are not walked. Each bit of a word stands for a leaf, from left to right; a pixel's value of one feature rules out
the leaves left of every split that it exceeds, so the lowest bit that all features leave standing is the leaf (Lucchese
et al. 2015, "QuickScorer"). Values are looked up among the splits of their feature once a pixel, not once a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

AS_ZERO, ZERO_MISSING, NAN_MISSING = 0, 1, 2  # LightGBM's missing types: None, Zero, NaN
NEARLY_ZERO = np.float32(1e-35)  # LightGBM's kZeroThreshold
WORD = 64  # leaves that one word stands for
ALL = np.uint64(2**WORD - 1)
ONE, TOP_SIX = np.uint64(1), np.uint64(WORD - 6)
# Multiplied by a single set bit this puts six bits on top that differ for each bit (Leiserson et al. 1998).
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
TOGETHER = 3  # features whose leaves are combined in one pass over the pixels; of 1 to 5 the fastest for 9 features


@dataclass(frozen=True)
class CompactForest:
    """Trees as arrays: t trees, s splits, w words for the leaves of a tree, c columns.

    A column is a feature together with what its splits do where a value is missing.

    Attributes:
        feature: (c,) feature of each column.
        missing: (c,) which values are missing: AS_ZERO, ZERO_MISSING or NAN_MISSING.
        left: (c,) whether a missing value goes left.
        counts: (c,) number of thresholds.
        thresholds: (c, 2**k) float32, rising, then infinity; a value goes left where it is no larger.
        start: (t + 1,) first split of each tree, whose splits are in the order of columns, then thresholds.
        column: (s,) column of each split.
        code: (s,) position of each split's threshold in its column.
        kept: (s, w) uint64, leaves that remain where the value exceeds the threshold.
        leaves: (t, w, 64) value of each leaf at the place that DE_BRUIJN gives its bit.
        sigmoid: factor of the summed leaf values in the logistic function.
    """

    feature: np.ndarray
    missing: np.ndarray
    left: np.ndarray
    counts: np.ndarray
    thresholds: np.ndarray
    start: np.ndarray
    column: np.ndarray
    code: np.ndarray
    kept: np.ndarray
    leaves: np.ndarray
    sigmoid: float

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return the probability (k,) float32 of rows (k, features) float32, best some thousands at a time.

        Other threads run meanwhile.
        """
        codes = np.empty((len(self.feature), len(values)), np.uint16)
        score = np.zeros(len(values))
        _encode(values, self.feature, self.missing, self.left, self.counts, self.thresholds, codes)
        _add_trees(codes, self.thresholds.shape[1], self.start, self.column, self.code, self.kept, self.leaves, score)
        with np.errstate(over="ignore"):
            return (1 / (1 + np.exp(-self.sigmoid * score))).astype(np.float32)


def compact(booster: Any) -> CompactForest:
    """Return what `booster.predict` evaluates: its trees up to the best iteration.

    Raises:
        ValueError: the booster is not one of gradient-boosted trees with numerical splits for two classes.
    """
    head, *trees = booster.model_to_string().split("end of trees")[0].split("\nTree=")
    kind, *parameters = _fields(head)["objective"].split()
    if kind != "binary" or "average_output" in head.split():
        raise ValueError(f"no compact form for a LightGBM booster with objective {kind} or averaged output")
    values = [_leaves_and_splits(_fields(tree)) for tree in trees]
    sigmoid = float(dict(text.split(":") for text in parameters)["sigmoid"])
    words = max(-(-len(leaves) // WORD) for leaves, _ in values)
    leaves = np.stack([_placed(leaves, words) for leaves, _ in values])
    splits = [(tree, *split) for tree, (_, found) in enumerate(values) for split in found]
    return _flat(splits, leaves, sigmoid)


def _fields(text: str) -> dict[str, str]:
    """Return the lines `name=value` of LightGBM's text."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _leaves_and_splits(tree: Mapping[str, str]) -> tuple[np.ndarray, list[tuple[int, float, int, int]]]:
    """Return leaf values from left to right, and feature, threshold, decision type and leaves kept of each split."""
    if tree["num_cat"] != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError("no compact form for LightGBM trees with categories or linear leaves")
    values = np.array(tree["leaf_value"].split(), np.float64)
    names = ("split_feature", "decision_type", "left_child", "right_child")
    feature, decision, left, right = ([int(text) for text in tree[name].split()] for name in names)
    if not feature:
        return values, []
    order, ruled_out = _from_left_to_right(left, right)
    threshold = (float(text) for text in tree["threshold"].split())
    return values[order], list(zip(feature, threshold, decision, (~bits for bits in ruled_out), strict=True))


def _from_left_to_right(left: list[int], right: list[int]) -> tuple[list[int], list[int]]:
    """Return the leaves in their order, and for each node, as bits of a number, the leaves on its left side."""
    leaves: list[int] = []
    bits = [0] * len(left)
    todo: list[tuple[int, bool]] = [(0, False)]
    while todo:
        node, left_is_done = todo.pop()
        if node < 0:
            leaves.append(~node)
        elif left_is_done:
            bits[node] ^= (1 << len(leaves)) - 1
            todo.append((right[node], False))
        else:
            bits[node] = (1 << len(leaves)) - 1
            todo += [(node, True), (left[node], False)]
    return leaves, bits


def _placed(values: np.ndarray, words: int) -> np.ndarray:
    """Return leaf values (w, 64), each where the product of its bit and DE_BRUIJN says."""
    out = np.zeros((words, WORD))
    bits = np.arange(len(values))
    places = (np.left_shift(ONE, (bits % WORD).astype(np.uint64)) * DE_BRUIJN) >> TOP_SIX
    out[bits // WORD, places.astype(np.int64)] = values
    return out


def _flat(splits: list[tuple[int, int, float, int, int]], leaves: np.ndarray, sigmoid: float) -> CompactForest:
    """Return the forest of splits (tree, feature, threshold, decision type, leaves kept as bits of a number)."""
    trees, words = leaves.shape[:2]
    tree, feature, decision = (np.array([split[i] for split in splits], np.int64) for i in (0, 1, 3))
    threshold = rounded_down(np.array([split[2] for split in splits], np.float64))
    missing = decision >> 2
    left = (decision >> 1 & 1) * (missing != AS_ZERO)
    kinds, column = np.unique(np.stack([feature, missing, left], axis=1), axis=0, return_inverse=True)
    known = [np.unique(threshold[column == place]) for place in range(len(kinds))]
    code = np.array([np.searchsorted(known[c], value) for c, value in zip(column, threshold, strict=True)], np.int64)
    order = np.lexsort((code, column, tree))
    kept = [[splits[i][4] >> WORD * word & int(ALL) for word in range(words)] for i in order]
    return CompactForest(
        feature=np.ascontiguousarray(kinds[:, 0]),
        missing=np.ascontiguousarray(kinds[:, 1]),
        left=np.ascontiguousarray(kinds[:, 2]),
        counts=np.array([len(values) for values in known], np.int64),
        thresholds=_padded(known),
        start=np.searchsorted(tree[order], np.arange(trees + 1)),
        column=column[order],
        code=code[order],
        kept=np.array(kept, np.uint64).reshape(-1, words),
        leaves=leaves,
        sigmoid=sigmoid,
    )


def rounded_down(threshold: np.ndarray) -> np.ndarray:
    """Return float32 thresholds that part float32 values as the float64 ones do."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _padded(known: list[np.ndarray]) -> np.ndarray:
    """Return the thresholds of each column with infinity behind them, as wide as halving needs."""
    width = 1 << max((len(values).bit_length() for values in known), default=0)
    if width > 1 + np.iinfo(np.uint16).max:
        raise ValueError("no compact form for a LightGBM booster with more than 65535 thresholds of a feature")
    out = np.full((len(known), width), np.inf, np.float32)
    for row, values in zip(out, known, strict=True):
        row[: len(values)] = values
    return out


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile when first called, and keep the machine code for the next process if some folder can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba found no folder for it
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


@_compiled
def _encode(
    values: np.ndarray,
    feature: np.ndarray,
    missing: np.ndarray,
    left: np.ndarray,
    counts: np.ndarray,
    thresholds: np.ndarray,
    codes: np.ndarray,
) -> None:
    """Write how many thresholds of each column a value exceeds: none where it is missing and goes left, else all."""
    value, place = np.empty(len(values), np.float32), np.empty(len(values), np.int32)
    for column in range(len(feature)):
        known = thresholds[column]
        for row in range(len(values)):
            value[row], place[row] = values[row, feature[column]], 0
            if abs(value[row]) <= NEARLY_ZERO or (missing[column] != NAN_MISSING and np.isnan(value[row])):
                value[row] = 0  # LightGBM drops what is nearly nothing from a row, whatever the missing type
        step = np.int32(len(known) >> 1)
        while step:  # halving all rows at once, without branches, is six times as fast as one after the other
            for row in range(len(values)):
                beyond = place[row] + step
                place[row] = beyond if known[beyond - 1] < value[row] else place[row]
            step >>= 1
        default = 0 if left[column] else counts[column]
        for row in range(len(values)):
            unknown = np.isnan(value[row]) or (missing[column] == ZERO_MISSING and value[row] == 0)
            codes[column, row] = default if unknown else place[row]


@_compiled
def _standing(column: np.ndarray, code: np.ndarray, kept: np.ndarray, table: np.ndarray, used: np.ndarray) -> int:
    """Fill table (columns, codes) with the leaves of one tree that each code leaves standing; return how many columns.

    Columns that leave everything standing fill up to a multiple of TOGETHER.
    """
    count, split = 0, 0
    while split < len(column):
        used[count] = column[split]
        leaves, below = ALL, 0
        while split < len(column) and column[split] == used[count]:
            table[count, below : code[split] + 1] = leaves
            leaves, below = leaves & kept[split], code[split] + 1
            split += 1
        table[count, below:] = leaves
        count += 1
    while count % TOGETHER:
        table[count], used[count] = ALL, 0
        count += 1
    return count


@_compiled
def _add_trees(
    codes: np.ndarray,
    width: int,
    start: np.ndarray,
    column: np.ndarray,
    code: np.ndarray,
    kept: np.ndarray,
    leaves: np.ndarray,
    score: np.ndarray,
) -> None:
    """Add to each row's score its leaf values, tree after tree, as LightGBM adds them."""
    columns, rows = codes.shape
    table, used = np.empty((columns + TOGETHER, width), np.uint64), np.empty(columns + TOGETHER, np.int64)
    standing, value = np.empty(rows, np.uint64), np.empty(rows)
    for tree in range(len(leaves)):
        here = slice(start[tree], start[tree + 1])
        for word in range(leaves.shape[1] - 1, -1, -1):  # the lowest word with a bit has the last say
            count = _standing(column[here], code[here], kept[here, word], table, used)
            standing[:] = ALL
            for k in range(0, count, TOGETHER):
                t0, t1, t2 = table[k], table[k + 1], table[k + 2]
                c0, c1, c2 = codes[used[k]], codes[used[k + 1]], codes[used[k + 2]]
                for row in range(rows):
                    standing[row] &= t0[c0[row]] & t1[c1[row]] & t2[c2[row]]
            for row in range(rows):
                bits = standing[row]
                if bits:
                    lowest = bits & (~bits + ONE)
                    value[row] = leaves[tree, word, (lowest * DE_BRUIJN) >> TOP_SIX]
        for row in range(rows):
            score[row] += value[row]
