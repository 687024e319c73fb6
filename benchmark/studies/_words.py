"""What a study shows, in sentences of its derived tables: only what an interval resolves is told as a difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.studies._confuser_rates import ALARM
from benchmark.studies._contrasts import BELOW, MEAN, NEVER, by_pair, resolved
from benchmark.studies.study_table import Study
from benchmark.views.tables import label, signed

FEW = 4  # names that a sentence holds; of more it tells the number
_OPEN = "no difference is resolved"
_EACH = "(95 % for each pair alone)"  # numbers of labels have intervals and no p to adjust


def listed(names: Sequence[str]) -> str:
    """Return names, or the first of them and how many more there are."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _split(lines: pd.DataFrame, up: str, down: str, level: str) -> list[str]:
    """Return what is resolved upwards, downwards, and not, as parts of a sentence; what has no interval is no part."""
    known = lines[lines["holm"].notna()].to_dict("records")
    signs = [(1 if line["difference"] > 0 else -1) if resolved(line) else 0 for line in known]
    parts = []
    for sign, what in ((1, up), (-1, down)):
        chosen = sorted((line for line, one in zip(known, signs, strict=True) if one == sign),
                        key=lambda line: -abs(line["difference"]))  # fmt: skip
        if chosen:
            told = [f"{_name(line)} {signed(line['difference'], line['low'], line['high'])}" for line in chosen]
            parts.append(f"{what} {listed(told)}")
    rest = [_name(line) for line, one in zip(known, signs, strict=True) if not one]
    if rest and not parts:
        return [f"{level} for any of {len(rest)} rows" if len(rest) > 1 else f"{level} for {rest[0]}"]
    return [*parts, *([f"{level} for {listed(rest)}"] if rest else [])]


def _name(line: Mapping[Any, Any]) -> str:
    return label(line["row"], line["tuned"]) + " (suspect)" * bool(line["suspect"])


def contests(found: Study, table: pd.DataFrame) -> list[str]:
    """Return a sentence for each arm: which lines are above and below which reference."""
    said = []
    for arm in found.arms:
        parts = []
        for reference, lines in table[table["arm"] == arm.title].groupby("reference", sort=False):
            parts += _split(lines, f"above {reference}:", f"below {reference}:", f"against {reference} {_OPEN}")
        if parts:
            said.append(f"At {arm.title} ({arm.patches:.0f} labelled patches): {'; '.join(parts)}.")
    return said


def changes(found: Study, table: pd.DataFrame) -> list[str]:
    """Return a sentence for each arm against the first."""
    said = []
    for arm in found.arms[1:]:
        here = table
        for axis, value in arm.values.items():
            here = here[here[axis] == value]
        if parts := _split(here, "better for", "worse for", _OPEN):
            said.append(f"'{arm.title}' against '{found.arms[0].title}': {'; '.join(parts)}.")
    return said


def reaches(table: pd.DataFrame, references: Sequence[tuple[str, bool]]) -> list[str]:
    """Return a sentence for each reference row: who reaches it with fewer labels, as far as is resolved."""
    if table.empty:
        return []
    shown = table[[pair in references for pair in zip(table["reference"], table["reference_tuned"], strict=True)]]
    return [_reached(str(name), part.to_dict("records")) for name, part in shown.groupby("reference", sort=False)]


def _reached(reference: str, lines: Sequence[Mapping[Any, Any]]) -> str:
    fewer = [line for line in lines if line["patches_high"] < line["full_patches"]]
    never = [line for line in lines if line["verdict"] == NEVER]
    rest = [line for line in lines if line not in fewer and line not in never]
    told = [f"{_name(line)} with {ends(line)}" for line in sorted(fewer, key=lambda line: line["patches"])]
    none = f"that fewer labels suffice is resolved {_EACH} for no row"
    parts = [f"fewer labels suffice {_EACH} for {listed(told)}" if told else none]
    parts += [f"that they do is not resolved for {listed([_name(line) for line in rest])}"] if rest and told else []
    parts += [f"not reached by {listed([_name(line) for line in never])}"] if never else []
    full, target = lines[0]["full_patches"], lines[0]["target"]
    return f"The score of {reference} on all {full:.0f} labelled patches ({target:.3f}): {'; '.join(parts)}."


def needs(table: pd.DataFrame, references: Sequence[tuple[str, bool]]) -> list[dict[str, str]]:
    """Return an entry a line: the number of labelled patches, with its interval, at which it reaches each reference."""
    shown: dict[str, dict[str, str]] = {}
    for line in table.to_dict("records"):
        if (line["reference"], line["reference_tuned"]) in references:
            one = shown.setdefault(_name(line), {"row": _name(line), **{name: "" for name, _ in references}})
            one[line["reference"]] = ends(line)
    return list(shown.values())


def ends(line: Mapping[Any, Any]) -> str:
    """Return a number of patches with its interval, an end beyond the arms in words."""
    if line["verdict"] == NEVER:
        return NEVER
    if math.isnan(line["patches_low"]):  # the pair has no interval: one scene
        return f"{line['patches']:.0f}"
    most = "≤ " * (line["verdict"] == BELOW)
    high = NEVER if math.isnan(line["patches_high"]) else f"{line['patches_high']:.0f}"
    return f"{most}{line['patches']:.0f} [{line['patches_low']:.0f}, {high}]"


def fallen(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each tested value, the mean last, on which lines lose by not having trained on it.

    Where a value has several pairs of sources, each pair has one.
    """
    said = []
    for value, sources, lines in sorted(by_pair(table), key=lambda part: part[0] == MEAN):
        where = "On the mean over all values" if value == MEAN else f"Tested on {value}"
        how = f"trained on {sources[1]} instead of {sources[0]}" if sources else "trained without it"
        if parts := _split(lines, f"{how}, worse for", f"{how}, better for", f"{how}, no drop is resolved"):
            said.append(f"{where}: {'; '.join(parts)}.")
    return said


def confused(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each stratum: the range of the rate, and whose is another than beside the stratum."""
    said = []
    for (kind, stratum, value), lines in table.groupby(["kind", "stratum", "value"], sort=False):
        rates = lines.sort_values("rate").to_dict("records")
        what = "clear pixels taken for cloud" if kind == ALARM else "cloud missed"
        low, high = rates[0], rates[-1]
        name = place(stratum, value)
        whole = f"{what} from {low['rate']:.3f} ({_name(low)}) to {high['rate']:.3f} ({_name(high)})"
        parts = _split(
            lines, "more than beside it for", "less than beside it for", "no difference to beside it is resolved"
        )
        said.append(f"{name[0].upper()}{name[1:]}: {'; '.join([whole, *parts])}.")
    return said


def place(stratum: str, value: str) -> str:
    """Return the name of a class of a stratum; a flag needs none."""
    stratum = stratum.replace("_", " ")
    return stratum if value == "yes" else f"{stratum} {value.replace('_', ' ')}"
