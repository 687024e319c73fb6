"""Pairs of lines that a difference of one factor, or against a classical row, is taken of.

Two lines are a pair if they were made from the same data, split and bands, both with defaults or both tuned, and their
rows differ in the level of one factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.views.lines import Line
from benchmark.views.tables import label

ENCODING = "encoding"
COORDINATES, CHECKPOINT = "coordinates: on - off", "encoding: tl - plain checkpoint"
# (factor, level, other level): the effect is that of the first level over the second.
CONTRASTS = (
    ("start", "pretrained", "random"),
    ("start", "simpretrained", "random"),
    ("mode", "unfrozen", "frozen"),
    ("mode", "lora", "frozen"),
    ("mode", "head", "frozen"),
    ("size", "600", "300"),
    ("size", "300", "100"),
    ("size", "100", "tiny"),
    (ENCODING, "tl", "tl-nocoords"),
    (ENCODING, "tl", "plain"),
    ("skip", "on", "off"),
    ("input scale", "train", "own"),
    ("wavelengths", "true", "wrong"),
    ("schedule", "cosine", "constant"),
    ("stop", "early", "best"),
)
CLASSICAL = ("unet", "lightgbm", "random-forest")
FOUNDATION = "foundation"  # family of the rows that are held against them
EFFECT, AGAINST = "effect", "against"
# Factors whose levels do not speak for themselves.
_UNTOLD = ("skip", "input scale", "wavelengths", "schedule", "stop", "epochs")
_PLAIN = {
    "skip": "off",
    "input scale": "own",
    "epochs": "x1",
    ENCODING: "plain",
    "wavelengths": "true",
    "schedule": "constant",
    "stop": "best",
}


@dataclass(frozen=True)
class Pair:
    """Two lines and what they show: an effect, or the first against a classical row."""

    kind: str
    effect: str
    setting: str
    first: Line
    second: Line

    @property
    def even(self) -> bool:
        """Whether both trained for as many epochs."""
        return self.first.first.budget.epochs == self.second.first.budget.epochs


def pairs(found: Sequence[Line]) -> list[Pair]:
    """Return the effects in the order of CONTRASTS, then foundation models against each of the classical rows."""
    done = [line for line in found if line.ok]
    by_levels = {(_conditions(line), _levels(line.first.factors)): line for line in done if line.first.factors}
    return [*_effects(by_levels), *_against(done)]


def _conditions(line: Line) -> tuple[Any, ...]:
    """Return what both lines of a pair share."""
    cell = line.first
    return cell.data, cell.fingerprint, cell.split, cell.bands, cell.tuned


def _levels(factors: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(factors.items())


def _effects(by_levels: Mapping[Any, Line]) -> Iterator[Pair]:
    """Yield the pairs of each effect, none twice; coordinates are one effect over both ways to be without them."""
    made = []
    for factor, level, other in CONTRASTS:
        for (conditions, levels), first in by_levels.items():
            if (factor, level) not in levels:
                continue
            rest = {**first.first.factors, factor: other}
            second = by_levels.get((conditions, _levels(rest)))
            name = f"{factor}: {level} - {other}"
            if factor == ENCODING and second is not None:
                name = _encoding(first, second, (conditions, _levels({**rest, factor: "tl-nocoords"})) in by_levels)
            if second is not None and name and not _repeats(by_levels, first, second):
                made.append(Pair(EFFECT, name, _setting(first, second, factor), first, second))
    order = list(dict.fromkeys(pair.effect for pair in made))
    yield from sorted(made, key=lambda pair: order.index(pair.effect))


def _repeats(by_levels: Mapping[Any, Line], *sides: Line) -> bool:
    """Return whether other rows make the same pair of networks.

    Without weights of its own and without coordinates, a backbone that could take them is the plain one.
    """
    for line in sides:
        levels = line.first.factors
        plain = by_levels.get((_conditions(line), _levels({**levels, ENCODING: "plain"})))
        random = levels.get(ENCODING) == "tl-nocoords" and levels.get("start") == "random"
        if not random or plain is None or plain.first.budget != line.first.budget:
            return False
    return True


def _encoding(first: Line, second: Line, same_weights_off: bool) -> str:
    """Return the effect that a pair of encodings shows; "" where it is another pair's once more.

    Coordinates are what differs where both have the same weights; a plain backbone may have a checkpoint of its own.
    """
    if second.first.factors[ENCODING] == "tl-nocoords":
        return COORDINATES
    if first.first.weights != second.first.weights:
        return CHECKPOINT
    return "" if same_weights_off else COORDINATES


def _setting(first: Line, second: Line, factor: str) -> str:
    """Return the levels that both share, plain ones left out, and epochs where they differ."""
    shared = [(name, level) for name, level in first.first.factors.items() if name != factor and level]
    told = [f"{n} {v}" if n in _UNTOLD else v for n, v in shared if _PLAIN.get(n) != v]
    epochs = [line.first.budget.epochs for line in (first, second)]
    unequal = [] if epochs[0] == epochs[1] else [f"({epochs[0]} epochs against {epochs[1]})"]
    return " ".join([*told, *(["(tuned)"] if first.first.tuned else []), *unequal])


def _against(done: Sequence[Line]) -> Iterator[Pair]:
    for name in CLASSICAL:
        for first in (line for line in done if line.first.family == FOUNDATION):
            for second in (line for line in done if line.first.row == name and _conditions(line) == _conditions(first)):
                yield Pair(AGAINST, f"against {name}", label(first.first.row, first.first.tuned), first, second)
