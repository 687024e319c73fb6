"""The report of a plan: leaderboard, pictures, and one HTML page that needs no other file.

The same records give the same bytes: nothing of the moment of writing goes in.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark._files import replacing
from benchmark.plan import Plan
from benchmark.record import Record
from benchmark.views import (
    _calibration_plot,
    _comparison_plot,
    _effects_plot,
    calibration_table,
    permuted_table,
    plots,
    published,
)
from benchmark.views._budget_plot import CAPTION as BUDGET
from benchmark.views._budget_plot import budget
from benchmark.views._embedding_plot import embedding
from benchmark.views._strata_plot import heatmap
from benchmark.views.comparisons import TOLD
from benchmark.views.comparisons import tables as compared_tables
from benchmark.views.derived import Views, derive
from benchmark.views.effects import RATIOS, TITLES, resampled, tell
from benchmark.views.gallery import CAPTION, gallery
from benchmark.views.lines import Line, lines
from benchmark.views.published import BESIDE, CONTEXT
from benchmark.views.tables import TIED, circles, fit_facts, leaderboard, pivot, shared, ties, unranked

if TYPE_CHECKING:
    from pandas import DataFrame

_RANKED = ("frame", "lines")
# Picture -> what draws it, and the tables of `derived.Views` that it is given.
PICTURES: dict[str, tuple[Callable[..., Path | None], tuple[str, ...]]] = {
    **{name: (draw, _RANKED) for name, draw in plots.PLOTS.items()},
    "ties": (_comparison_plot.ties, ("frame", "compared")),
    "budget": (budget, _RANKED),
    "strata": (heatmap, ("strata",)),
    "calibration": (_calibration_plot.before_and_after, _RANKED),
    "effects": (_effects_plot.forest, ("effects",)),
    "against": (_effects_plot.against, ("effects",)),
    "embedding": (embedding, _RANKED),
    "gallery": (gallery, _RANKED),
}
CAPTIONS = {
    "leaderboard": "Macro Jaccard index on the test part. Bar: 95 % interval over scenes and seeds. A row with "
    "a ? is suspect: it has no rank, and the reason stands above.",
    "ties": "Each row minus the first, paired over scenes and seeds, in the macro Jaccard index (filled) and in the "
    "boundary Jaccard index at 2 pixels (open). Shaded: tied with the first row, as Holm's adjusted p is 0.05 or more.",
    "cost": "Accuracy against the time to fit, encode and tune, and against speed. A line joins a row's defaults and "
    "its tuned run. Times are of the hardware named below.",
    "budget": BUDGET,
    "precision_recall": "Precision against recall of the cloud class, first seed; the dot is the threshold in use. Of "
    "each family the first five rows of the table; ?: suspect.",
    "strata": "Scores by what the pixels are: the macro Jaccard index where a stratum holds both classes, else the "
    "share that is right: of cloud (filled dot), of clear sky (open dot). Blank: fewer than 1,000 pixels. Right: how "
    "much of the clear sky there is called cloud.",
    "calibration": _calibration_plot.CAPTION,
    "curves": "Validation score and losses of every seed, for the methods that report them; ?: suspect.",
    "effects": "What one factor alone changes: difference in the macro Jaccard index (filled) and in the boundary "
    "Jaccard index at 2 pixels (open), paired over scenes and seeds. Pale: the sign is not resolved, as the interval "
    "holds 0 or there is none.",
    "against": "Foundation models minus each classical row on the same scenes and seeds: right of the line, the "
    "foundation model is better. Pale: the interval holds 0, or there is none.",
    "embedding": "Features of the backbones: tokens of at most 64 test patches in two dimensions (by UMAP or PCA, as "
    "told above each), by class and beneath by surface. Distances between groups mean little.",
    "gallery": CAPTION,
}


def write_report(plan: Plan, out: Path, frame: DataFrame | None = None, found: Sequence[Line] | None = None) -> Path:
    """Write the tables of a plan (`derived.FILES`), plots/*.png and report.html; return the page.

    Args:
        plan: what was run.
        out: where its records are.
        frame: its leaderboard, where the caller has it already.
        found: its lines, where the caller has them already.
    """
    for old in (out / "plots").glob("*.png"):
        if old.stem not in PICTURES:  # of an earlier version
            old.unlink()
    found = lines(plan, out) if found is None else found
    views = derive(plan, out, leaderboard(plan, out, found) if frame is None else frame, found)
    pictures = {name: _draw(name, views, out / "plots" / f"{name}.png") for name in PICTURES}
    page = out / "report.html"
    with replacing(page) as temporary:
        temporary.write_text(_render(views, pictures), encoding="utf-8")
    return page


def _draw(name: str, views: Views, path: Path) -> Path | None:
    """Draw a picture, or remove that of an earlier plan, which would stand for this one."""
    draw, tables = PICTURES[name]
    drawn = draw(*(getattr(views, table) for table in tables), path)
    if drawn is None:
        path.unlink(missing_ok=True)
    return drawn


def _render(views: Views, pictures: Mapping[str, Path | None]) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    template = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                  lstrip_blocks=True).get_template("report.html.j2")  # fmt: skip
    plan, frame, known = views.plan, views.frame, published.read()
    records = [kept for line in views.lines for kept in line.records if kept is not None]
    notes = frame[frame["note"] != ""].drop_duplicates("row")
    return template.render(
        plan=plan,
        entries=pivot(frame),
        unranked=unranked(frame),
        circles=[*ties(frame), *shared(frame), *circles(frame), *([views.optimism] if views.optimism else [])],
        comparisons=compared_tables(views.compared),
        compared=TOLD,
        tied=TIED,
        permuted=permuted_table.tell(views.permuted),
        blind=permuted_table.TOLD,
        calibrated=calibration_table.tell(views.calibrated),
        calibration=[calibration_table.TOLD, calibration_table.CAVEAT],
        published=[
            (BESIDE, published.beside(frame, plan.cells[0], known)),
            (CONTEXT, published.context(plan.cells[0], known)),
        ],
        notes=list(zip(notes["row"], notes["note"], strict=True)),
        effects=[(title, entries) for kinds, title in TITLES.items() if (entries := tell(views.effects, kinds))],
        resampled=resampled(views.effects),
        ratios=RATIOS,
        facts=fit_facts(frame, views.lines),
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
        "treatment of train labels": (cell.labels for cell in plan.cells if cell.labels),
        "seeds": (cell.seed for cell in plan.cells),
        "trials of tuning": (cell.trials for cell in plan.cells if cell.tuned and not cell.allowance),
        "seconds tuning may take": (f"{cell.cap:g}" for cell in plan.cells if cell.tuned and not cell.allowance),
        "seconds for a row's default fit and all its trials": (f"{c.allowance:g}" for c in plan.cells if c.allowance),
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
