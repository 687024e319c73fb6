"""The report of a plan: leaderboard, pictures, and one HTML page that needs no other file.

The same records give the same bytes: nothing of the moment of writing goes in.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark._effects_plot import against, forest
from benchmark._embedding_plot import embedding
from benchmark.effects import RATIOS, TITLES, effects, resampled, tell, write_effects
from benchmark.gallery import CAPTION, gallery
from benchmark.lines import Line, lines
from benchmark.plan import Plan
from benchmark.plots import PLOTS
from benchmark.record import Record
from benchmark.tables import circles, fit_facts, leaderboard, pivot, replacing, unranked, write_leaderboard

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURES = {**PLOTS, "embedding": embedding, "gallery": gallery}
EFFECT_PICTURES = {"effects": forest, "against": against}  # drawn from the table of effects
CAPTIONS = {
    "leaderboard": "Macro Jaccard index on the test part. Bar: 95 % bootstrap interval over scenes.",
    "cost": "Accuracy against the time to fit, encode and tune, and against speed. A line joins a row's defaults and "
    "its tuned run. Times are of the hardware named below.",
    "precision_recall": "Precision against recall of the cloud class, first seed; the dot is the threshold in use. Of "
    "each family the first five rows of the table.",
    "reliability": "Observed cloud frequency against forecast probability, in bins of equal mass, first seed. Bars: "
    "share of the pixels. On the diagonal a probability means what it says.",
    "curves": "Validation score and losses of every seed, for the methods that report them.",
    "effects": "What one factor alone changes: difference in the macro Jaccard index (filled) and in the boundary "
    "Jaccard index at 2 pixels (open), paired over scenes and seeds. Pale: the sign is not resolved, as the interval "
    "holds 0 or there is none.",
    "against": "Foundation models minus each classical row on the same scenes and seeds: right of the line, the "
    "foundation model is better. Pale: the interval holds 0, or there is none.",
    "embedding": "Features of the backbones: tokens of at most 64 test patches in two dimensions (by UMAP or PCA, as "
    "told above each), by class and beneath by surface. Distances between groups mean little.",
    "gallery": CAPTION,
}


def write_report(plan: Plan, out: Path, frame: DataFrame | None = None) -> Path:
    """Write leaderboard and effects (.csv, .md), plots/*.png and report.html of a plan; return the page.

    Args:
        plan: what was run.
        out: where its records are.
        frame: its leaderboard, where the caller has it already.
    """
    frame = leaderboard(plan, out) if frame is None else frame
    found = lines(plan, out)
    table = effects(frame, found)
    write_leaderboard(frame, out)
    write_effects(table, out)
    paths = {name: out / "plots" / f"{name}.png" for name in (*EFFECT_PICTURES, *PICTURES)}
    pictures = {name: draw(frame, found, paths[name]) for name, draw in PICTURES.items()}
    pictures |= {name: draw(table, paths[name]) for name, draw in EFFECT_PICTURES.items()}
    for name, path in pictures.items():
        if path is None:  # a picture of an earlier plan would stand for this one
            paths[name].unlink(missing_ok=True)
    page = out / "report.html"
    with replacing(page) as temporary:
        temporary.write_text(_render(plan, found, frame, table, pictures), encoding="utf-8")
    return page


def _render(
    plan: Plan, found: Sequence[Line], frame: DataFrame, table: DataFrame, pictures: Mapping[str, Path | None]
) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    template = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                  lstrip_blocks=True).get_template("report.html.j2")  # fmt: skip
    records = [kept for line in found for kept in line.records if kept is not None]
    notes = frame[frame["note"] != ""].drop_duplicates("row")
    return template.render(
        plan=plan,
        entries=pivot(frame),
        unranked=unranked(frame),
        circles=circles(frame),
        notes=list(zip(notes["row"], notes["note"], strict=True)),
        effects=[(title, entries) for kinds, title in TITLES.items() if (entries := tell(table, kinds))],
        resampled=resampled(table),
        ratios=RATIOS,
        facts=fit_facts(frame, found),
        pictures=[(name, caption, _embed(path)) for name, caption in CAPTIONS.items() if (path := pictures[name])],
        skipped=[name for name, path in pictures.items() if path is None],
        columns=list(frame.columns),
        table=[[_field(value) for value in row] for row in frame.itertuples(index=False)],
        conditions=_conditions(plan, records),
        machines=_machines(records),
    )


def _embed(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _field(value: Any) -> str:
    """Return a cell of the full table; what is not known is empty."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.5g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _conditions(plan: Plan, records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return what all rows share: data, split, bands and budget."""
    tests = {(len(kept.patches), len(set(kept.scenes))) for kept in records if kept.patches}
    values: dict[str, Iterable[Any]] = {
        "data set": (cell.data for cell in plan.cells),
        "content hash": (cell.fingerprint for cell in plan.cells),
        "split": [plan.split.name],
        "split hash": (cell.split for cell in plan.cells),
        "test part": (f"{patches} patches of {scenes} scenes" for patches, scenes in sorted(tests)),
        "bands": (", ".join(cell.bands) for cell in plan.cells),
        "profile": (cell.profile for cell in plan.cells),
        "seeds": (cell.seed for cell in plan.cells),
        "trials of tuning": (cell.trials for cell in plan.cells if cell.tuned),
        "seconds tuning may take": (f"{cell.cap:g}" for cell in plan.cells if cell.tuned),
        "epochs": (cell.budget.epochs for cell in plan.cells),
        "patches a step": (cell.budget.batch for cell in plan.cells),
        "pixels of a per-pixel method": (cell.budget.pixels for cell in plan.cells),
        "orientations": (cell.budget.orientations for cell in plan.cells),
        "device": (cell.device for cell in plan.cells),
        "command": [plan.command],
    }
    return [(name, _distinct(found)) for name, found in values.items()]


def _machines(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return the environments of the records; where they differ, every value. The load of the moment is left out."""
    flat = [flatten(kept.environment) for kept in records]
    names = dict.fromkeys(name for environment in flat for name in environment if name != "load")
    return [(name, _distinct(environment[name] for environment in flat if name in environment)) for name in names]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, names joined with dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _distinct(values: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(str(value) for value in values))
