"""False-alarm and miss rates where clouds are hard to tell: inside a stratum, and beside it in the same scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmark.record import Record
from benchmark.recount import complete
from benchmark.studies._contrasts import NAMES, fields, named, table_of
from benchmark.studies._draws import Stack, draw, estimate, interval
from benchmark.studies.study_table import Entry, Study
from benchmark.views._strata_plot import ALARMS

ALARM, MISS = "false alarms", "misses"
# Kind -> stratum -> its classes that confuse: clear sky that looks like cloud, and cloud that looks like clear sky.
CONFUSERS: dict[str, Mapping[str, Sequence[str]]] = {
    ALARM: ALARMS,
    MISS: {
        "optical_depth": ("0.3 to 1",),
        "phase": ("ice",),
        "classes": ("thin_cloud",),
        "surface": ("snow", "sea_ice"),
        **dict.fromkeys(("snow", "smoke", "dust"), ("yes",)),
    },
}
_PLACES = {ALARM: (0, 1), MISS: (3, 2)}  # in counts: right, wrong
COLUMNS = ("kind", "stratum", "value", *NAMES, "pixels", "rate", "rate_low", "rate_high", "beside")


def _rate(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the share of clear pixels taken for cloud, or of cloud that is missed, of counts (..., 4)."""
    right, wrong = _PLACES[kind]

    def rate(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(counts[..., wrong] / (counts[..., right] + counts[..., wrong]))

    return rate


def confusers(found: Study) -> pd.DataFrame:
    """Return the rate of each line in each stratum of CONFUSERS, and its difference to the pixels beside the stratum.

    `beside` is the same rate in all other pixels of the scenes that have the stratum; the difference is paired over
    scenes and seeds, Holm's p is over a kind. `pixels` are the clear ones (misses: cloud) in the stratum.
    """
    entries = (told for entry in found.entries if entry.stack is not None for told in _told(found, _whole(entry)))
    table = table_of(entries, [*found.axes, *COLUMNS], ["kind"])
    order = pd.Categorical(table["kind"], list(CONFUSERS))
    return table.assign(order=order).sort_values(["order"], kind="stable").drop(columns="order").reset_index(drop=True)


def _whole(entry: Entry) -> Entry:
    """Return the entry with the strata that older records lack."""
    lines = tuple(
        (subset, replace(line, records=tuple(complete(cell, kept, line.out)
                                             for cell, kept in zip(line.cells, line.ok, strict=True))))
        for subset, line in entry.lines
    )  # fmt: skip
    return replace(entry, lines=lines)


def _told(found: Study, entry: Entry) -> Iterator[dict[str, Any]]:
    there = entry.lines[0][1].ok[0].strata
    for kind, strata in CONFUSERS.items():
        for stratum, values in strata.items():
            for value in (value for value in values if value in there.get(stratum, {})):
                sides = _sides(entry, kind, stratum, value)
                if sides is not None:
                    names = {**found.arms[entry.arm].values, "kind": kind, "stratum": stratum, "value": value}
                    yield {**names, **named(entry), **_numbers(*sides, kind)}


def _sides(entry: Entry, kind: str, stratum: str, value: str) -> tuple[Stack, Stack] | None:
    """Return counts inside a class of a stratum and beside it, of scenes with pixels of the kind inside."""
    inside = entry.counts(lambda kept: kept.strata.get(stratum, {}).get(value, []))
    beside = entry.counts(lambda kept: _rest(kept, stratum, value))
    if inside is None or beside is None:
        return None
    has = inside.counts[..., list(_PLACES[kind])].sum((0, 1, 3)) > 0
    scenes = [scene for scene, known in zip(inside.scenes, has, strict=True) if known]
    if not scenes:
        return None
    one, other = (side.take(side.subsets, side.seeds, scenes) for side in (inside, beside))
    return one, other


def _rest(kept: Record, stratum: str, value: str) -> list[list[int]]:
    inside = kept.strata.get(stratum, {}).get(value, [])
    return (np.asarray(kept.counts) - np.asarray(inside)).tolist() if inside else []


def _numbers(inside: Stack, beside: Stack, kind: str) -> dict[str, Any]:
    drawn, other = (draw(side, _rate(kind)) for side in (inside, beside))
    own = interval(drawn)
    pixels = inside.counts[0, 0][:, list(_PLACES[kind])].sum()
    told = {"pixels": int(pixels), "rate": own.mean, "rate_low": own.low, "rate_high": own.high}
    beyond = {"beside": float(other.by_seed.mean()), **fields(estimate(drawn.minus(other)))}
    return {**told, **beyond}
