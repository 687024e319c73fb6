"""What a row has spent on learning, from its record: its default fit and every trial, in seconds of wall clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.record import OK, Record

PHASES = ("fit", "encode", "validate")  # of a fit; features that were there already count at what they once cost


def of_fit(laps: Mapping[str, Sequence[float]]) -> float:
    """Return the seconds of one fit with choosing by validation, from the laps of its record."""
    return float(sum(sum(laps.get(phase, ())) for phase in PHASES))


def total(kept: Record) -> float:
    """Return the seconds of all fits that led to a record: of a tuned one, the default fit and every trial.

    Seeds share the search of the first. Fitting the chosen values once more, with another seed or after trials on a
    GPU, does not count.
    """
    return float(sum(trial["seconds"] for trial in kept.trials)) if kept.trials else of_fit(kept.laps)


def facts(kept: Record) -> dict[str, float]:
    """Return spent_s and overspent_s of a record whose cell has an allowance, nothing for others.

    A method that cannot be ended in the middle of a fit, a forest, may spend more than it was allowed.
    """
    allowance = kept.cell.get("allowance", 0.0)
    if not allowance or kept.status != OK:
        return {}
    spent = total(kept)
    return {"spent_s": spent, "overspent_s": max(0.0, spent - allowance)}
