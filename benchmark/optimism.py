"""What a random split of the patches would have claimed instead: kept once for a data set and its split, and told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from benchmark.plan import Cell, Plan

ROW = "lightgbm"  # with its defaults: quick to fit, and strong enough to learn a scene by heart


@dataclass(frozen=True)
class Optimism:
    """Scores of one row on the honest split and on random splits of the same patches into parts of the same sizes.

    Attributes:
        code: hash of the row's code, as in `Cell`.
        unit: what no two parts of the honest split share.
        bands, pixels: what the row saw, and how many training pixels.
        sizes: patches by part.
        scenes: scenes in the test part of the honest split.
        same: whether every scene (or day, or block) has one patch, so that a random split is the same thing.
        honest: score -> value on the honest test part.
        interval: 95 % interval of the honest macro Jaccard index over its scenes; NaN where it has fewer than two.
        random: the same scores for each random split.
    """

    code: str
    unit: str
    bands: tuple[str, ...]
    pixels: int
    sizes: dict[str, int]
    scenes: int = 0
    same: bool = False
    honest: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] = (float("nan"), float("nan"))
    random: tuple[dict[str, float], ...] = ()

    def gain(self, score: str = "jaccard") -> float:
        """Return by how much the mean of the random splits exceeds the honest score."""
        return sum(one[score] for one in self.random) / len(self.random) - self.honest[score]


def cell_of(plan: Plan) -> Cell | None:
    """Return the cell that the optimism of a plan is measured with, None where the plan has no such row."""
    return next((cell for cell in plan.cells if cell.row == ROW and not (cell.tuned or cell.seed)), None)


def path_of(cell: Cell, out: Path) -> Path:
    """Return where the optimism of a data set, split, bands and budget is kept."""
    return out / "optimism" / f"{cell.fingerprint[:16]}-{cell.key[:16]}.json"


def read(plan: Plan, out: Path) -> Optimism | None:
    """Return what was measured for the data and split of a plan; None: nothing, or with other code of the row."""
    cell = cell_of(plan)
    try:
        values = json.loads(path_of(cell, out).read_text()) if cell else {}
        known = {one.name: values[one.name] for one in fields(Optimism)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    tuples = {"bands": tuple(known["bands"]), "interval": tuple(known["interval"]), "random": tuple(known["random"])}
    found = Optimism(**{**known, **tuples})
    return found if cell and found.code == cell.code else None


def tell(found: Optimism) -> str:
    """Return one sentence."""
    if found.same:
        return f"optimism: every {found.unit} has one patch, so a random split is the same thing as the split by it"
    claims = sorted(one["jaccard"] for one in found.random)
    low, high = found.interval
    interval = f"95 % interval {low:.3f} to {high:.3f}, " if low == low else ""
    return (
        f"optimism in the bands {', '.join(found.bands)}: {ROW} reaches a macro Jaccard index of "
        f"{found.honest['jaccard']:.3f} on the split by {found.unit} "
        f"({interval}{found.scenes} test scenes); {len(claims)} random splits of the same patches would claim "
        f"{claims[0]:.3f} to {claims[-1]:.3f}, {found.gain():+.3f} on average"
    )
