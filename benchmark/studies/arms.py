"""Arms: what a suite varies. An axis is a named change of what was asked, of the patch set, or of the split.

A suite's table `[vary]` gives axes and their values; every combination is an arm, and each arm becomes a plan with the
suite's rows. Arms that mean the same (all train scenes, of three subsets) are run once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmark import label_noise, splits
from benchmark.api import UserError, digest
from benchmark.plan import Plan, Value
from benchmark.splits import Split
from benchmark.studies import _arm_domain

Arm = dict[str, Value]
Vary = Mapping[str, Sequence[Value]]
LONGEST = 60  # characters that an arm adds to the name of a plan


@dataclass(frozen=True)
class Axis:
    """Something that a suite can vary.

    Attributes:
        about: what its values are, for the user.
        allowed: whether a value is one of the axis, as far as that can be told without data.
        beside: axes of which one must vary as well; empty where it can be alone.
        option: whether it is an option of the command as well; else it changes patch set or split.
    """

    about: str
    allowed: Callable[[Any], bool]
    beside: tuple[str, ...] = ()
    option: bool = False


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _percent(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 100


def _labels(value: Any) -> bool:
    try:
        return value == "" or (isinstance(value, str) and label_noise.canonical(value) == value)
    except UserError:
        return False


def _domain(value: Any) -> bool:
    try:
        return _text(value) and (value.startswith(_arm_domain.EACH) or bool(_arm_domain.sides(value)))
    except UserError:
        return False


AXES = {
    "bands": Axis("as --bands: a band set, or a list of names, roles and NAME=ROLE", _text, option=True),
    "labels": Axis(f'as --labels: {label_noise.GRAMMAR}, or "" for labels as they are', _labels, option=True),
    "epochs": Axis("as --epochs: 1 or more", _whole(1, 10**6), option=True),
    "coarser": Axis("pixels a side that are averaged into one, 1 to 64", _whole(1, 64)),
    "domain": Axis(f"train on one domain, test on another: {_arm_domain.GRAMMAR}", _domain),
    "fold": Axis("which half of the tested domain is tested, 0 or 1", _whole(0, 1), ("domain",)),
    "train": Axis("percent of the train scenes, above 0 and at most 100; steps of training stay equal", _percent),
    "balance": Axis("percent of the labelled train pixels that is cloud, above 0 and at most 100", _percent),
    "subset": Axis("seed of the order of train scenes, 0 or more", _whole(0, 10**6), ("train", "balance")),
}


def stated(vary: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Value, ...]]:
    """Return the axes and values of a suite, checked; a list of bands is one value.

    Raises:
        UserError: an axis or value that there is not, or a value that is given twice.
    """
    found = {}
    for name, values in vary.items():
        if name not in AXES:
            raise UserError(f"'{name}' is nothing that a suite can vary; axes are {', '.join(AXES)}")
        if not values:
            raise UserError(f"axis '{name}' has no values")
        found[name] = tuple(_plain(name, value) for value in values)
        twice = next((value for value in found[name] if found[name].count(value) > 1), None)
        if twice is not None:
            raise UserError(f"axis '{name}' has the value {twice!r} twice")
    for name in found:
        if AXES[name].beside and not set(AXES[name].beside) & set(found):
            raise UserError(f"axis '{name}' changes nothing without {' or '.join(AXES[name].beside)}")
    return found


def _plain(name: str, value: Any) -> Value:
    if name == "bands" and isinstance(value, list) and value and all(map(_text, value)):
        value = ",".join(value)
    if not AXES[name].allowed(value):
        raise UserError(f"axis '{name}' has the value {value!r}; its values are {AXES[name].about}")
    plain: Value = value
    return plain


def is_word(value: Value) -> bool:
    """Whether a value stands for several, which only the data tell."""
    return isinstance(value, str) and value.startswith(_arm_domain.EACH)


def of(vary: Vary, store: Path) -> tuple[list[Arm], dict[str, list[Value]]]:
    """Return the arms of a suite in the order of its axes, and the values of each axis.

    Raises:
        UserError: a domain that the patch set does not have.
    """
    values = {name: list(each) for name, each in vary.items()}
    if "domain" in values:
        expanded = (_arm_domain.expanded(str(value), store) for value in values["domain"])
        values["domain"] = list(dict.fromkeys(text for each in expanded for text in each))
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())], values


def refuse_twice(vary: Vary, given: Mapping[str, object]) -> None:
    """Raise UserError where the user gave what the suite varies."""
    both = next((name for name, value in given.items() if name in vary and value), None)
    if both:
        raise UserError(f"--{both} is what the suite varies; give a suite that does not vary it, or leave it out")


def asked(given: Any, arm: Arm) -> Any:
    """Return what was asked (`planner.Asked`) with an arm's bands, labels and epochs in it."""
    return replace(given, **{name: value for name, value in arm.items() if AXES[name].option})


def store_of(store: Path, arm: Arm, out: Path) -> Path:
    """Return the patch set of an arm, made now if it is not there yet."""
    factor = int(arm.get("coarser", 1))
    if factor == 1:
        return store
    from benchmark.studies import _coarser

    return _coarser.made(store, factor, out)


def draw(split: Split, store: Path, arm: Arm, among: Mapping[str, Sequence[Value]], counts: Mapping[str, int]) -> Split:
    """Return the split of an arm.

    Args:
        split: of the store, cut to `counts`: what arms without a domain are drawn from.
        store: the patch set, as given: arms of coarser pixels have the same patches.
        arm: axis -> value.
        among: axis -> all its values in the suite.
        counts: patches of each part at most, which hold for a domain as well.
    """
    from benchmark.studies import _arm_train

    if "domain" in arm:
        transfers = [str(value) for value in among["domain"]]
        fold = int(arm.get("fold", 0))
        split = _arm_domain.draw(store, split.unit, str(arm["domain"]), fold, transfers, counts)
    subset = int(arm.get("subset", 0))
    if "train" in arm:
        split = _arm_train.fewer_scenes(split, store, float(arm["train"]), subset)
    if "balance" in arm:
        shares = [float(value) for value in among["balance"]]
        split = _arm_train.balanced(split, store, float(arm["balance"]), shares, subset)
    return split


def stretch(whole: Split, split: Split, arm: Arm, batch: int) -> float:
    """Return by what the epochs of an arm are multiplied, so that fewer train patches do not mean fewer steps.

    Fits on one percent of the patches with the same epochs would take a hundredth of the steps, and a curve over the
    patches would be one over the steps.
    """
    if "train" not in arm:
        return 1.0
    steps, left = (-(-len(one.parts["train"]) // batch) for one in (whole, split))
    return steps / left


def copies(store: Path, unit: str) -> list[tuple[str, str]]:
    """Return pairs of patches of different groups that are nearly the same; found once for a store, and kept."""
    from benchmark import leaks, patchset

    by_group: dict[str, list[str]] = {}
    for patch, group in zip(patchset.table(store).ids, _arm_domain.groups(store, unit), strict=True):
        by_group.setdefault(group, []).append(patch)
    return list(leaks.near_duplicates(store, by_group, digest("groups", unit)).pairs)


def refuse_copies(split: Split, pairs: Sequence[tuple[str, str]]) -> None:
    """Raise UserError where two parts of a split hold patches that are nearly the same."""
    part_of = {patch: part for part in splits.PARTS for patch in split.parts[part]}
    for first, second in pairs:
        parts = part_of.get(first), part_of.get(second)
        if None not in parts and parts[0] != parts[1]:
            raise UserError(f"patches '{first}' of {parts[0]} and '{second}' of {parts[1]} are nearly the same")


def study(plan: Plan) -> str:
    """Return the name of the study that a plan is an arm of: its own without the arm."""
    return plan.name.removesuffix(f"-{words(plan.arm)}") if plan.arm else plan.name


def left_out(plans: Iterable[Plan]) -> list[str]:
    """Return a sentence for each plan that stands for other arms as well, because their cells are the same."""
    return [
        f"left out, for the same cells as {words(plan.arm)}: {', '.join(map(words, plan.equal))}"
        for plan in plans
        if plan.equal
    ]


def words(arm: Arm) -> str:
    """Return an arm as the end of a name that may be a file's; other arms have other ones."""
    said = "-".join(f"{name}-{value}" for name, value in arm.items())
    plain = re.sub("[^A-Za-z0-9_=.]+", "-", re.sub(r"\s*->\s*", "-to-", said.replace("!=", "-not-"))).strip("-")
    exact = plain == said and len(plain) <= LONGEST
    return plain if exact else f"{plain[: LONGEST - 7].rstrip('-')}-{digest(said)[:6]}"
