"""What a report tells and draws: every table of a plan, derived from its records once, and the files they go into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import evidence, optimism
from benchmark.plan import Plan
from benchmark.views import calibration_table, permuted_table, shape_table, strata_table
from benchmark.views.cards import write_cards
from benchmark.views.comparisons import compare, intervals, write_comparisons
from benchmark.views.effects import effects, write_effects
from benchmark.views.lines import Line
from benchmark.views.published import write_published
from benchmark.views.tables import write_leaderboard

if TYPE_CHECKING:
    from pandas import DataFrame

# Strata with cloud and clear pixels, in which a probability can be right or wrong both ways.
CALIBRATED = ("surface", "biome", "glint")
FILES = (
    *("leaderboard.*", "comparisons.*", "scores.csv", "effects.*", "strata.csv", "shapes.csv", "calibration*.*"),
    *("published.md", "permuted.csv", "cards"),
)


@dataclass(frozen=True)
class Views:
    """Tables of a plan.

    Attributes:
        plan: what was run.
        lines: its lines.
        frame: leaderboard, as `tables.leaderboard`.
        effects: of `effects.effects`.
        compared: of `comparisons.compare`.
        calibrated: of `calibration_table.calibration`.
        strata: of `strata_table.strata_table`.
        permuted: of `permuted_table.table`.
        optimism: what a random split would have claimed, "" where that was not measured.
    """

    plan: Plan
    lines: list[Line]
    frame: DataFrame
    effects: DataFrame
    compared: DataFrame
    calibrated: DataFrame
    strata: DataFrame
    permuted: DataFrame
    optimism: str


def derive(plan: Plan, out: Path, frame: DataFrame, found: Sequence[Line]) -> Views:
    """Return the tables of a plan of which leaderboard and lines are there, written into `out` as FILES."""
    done = strata_table.completed(frame, found)
    whole = {line.cells[0].key: line for line in done}
    found = [whole.get(line.cells[0].key, line) for line in found]
    views = Views(
        plan,
        found,
        frame,
        effects(frame, found),
        compare(frame, found),
        calibration_table.calibration(found),
        strata_table.strata_table(done),
        permuted_table.table(found),
        optimism.tell(known) if (known := optimism.read(plan, out)) else "",
    )
    write_leaderboard(frame, out)
    write_effects(views.effects, out)
    permuted_table.write(views.permuted, out)
    write_comparisons(views.compared, intervals(found), out)
    calibration_table.write_calibration(views.calibrated, calibration_table.strata(found, _inside(plan, out)), out)
    strata_table.write_strata(views.strata, out)
    write_cards(plan, frame, found, views.strata, out)
    write_published(frame, plan.cells[0], out)
    shape_table.write_shapes(shape_table.shape_table(done), out)
    return views


def _inside(plan: Plan, out: Path) -> dict[str, np.ndarray]:
    """Return where each class of the strata CALIBRATED is in the test part, boolean (n, y, x) or (n, 1, 1)."""
    kept = evidence.read_strata(plan.cells[0].truth(out)) or {}
    found = {name: kept[name] for name in CALIBRATED if name in kept}
    return {
        f"{name}: {label}": stratum.codes.reshape(*stratum.codes.shape, *[1] * (3 - stratum.codes.ndim)) == code
        for name, stratum in found.items()
        for code, label in enumerate(stratum.labels)
    }
