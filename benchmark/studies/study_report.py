"""The page of a suite: tables over its arms, pictures, and what they show in sentences, in `studies/<data>-<suite>`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark._files import write_csv
from benchmark.plan import Plan, Value
from benchmark.studies import arms
from benchmark.studies.study_table import Study, gather, study, titled, write_study
from benchmark.views.lines import Line
from benchmark.views.tables import markdown

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDER = "studies"
TESTED = ("domain", "fold")  # axes that choose the test patches
CURVES = ("train", "epochs", "balance", "labels")  # first axes whose arms are drawn as curves
UNADJUSTED = (
    "A row (left) needs as many labelled patches as make its paired difference to the reference's score on all patches "
    "0; the interval is of 95 % for each pair alone. Nothing is extrapolated: 'not reached' is beyond the arms, ≤ is "
    "already reached in the smallest."
)
TAIL = "A difference is told where it is resolved at 5 % after Holm's adjustment, with its own 95 % interval."


@dataclass
class _Page:
    """What is told, lines of Markdown beneath, the tables behind it by name, and the pictures drawn, with captions."""

    said: list[str] = field(default_factory=list)
    beneath: list[str] = field(default_factory=list)
    tables: dict[str, DataFrame] = field(default_factory=dict)
    pictures: list[tuple[Path, str]] = field(default_factory=list)

    def draw(self, caption: str, path: Path | None) -> None:
        """Keep a picture that was drawn."""
        if path is not None:
            self.pictures.append((path, caption))


def write(
    plans: Sequence[Plan],
    out: Path,
    frames: Mapping[str, DataFrame] | None = None,
    lines: Mapping[str, Sequence[Line]] | None = None,
) -> Path:
    """Write study.csv, study.md, the derived tables and pictures of a suite; return the page, study.md.

    What an earlier run left in the folder and this one does not write is removed.

    Args:
        plans: all arms of one suite on one data set, in the suite's order.
        out: where records and splits are.
        frames: as in `study_table.gather`.
        lines: as there.
    """
    found = gather(plans, out, frames, lines)
    folder = out / FOLDER / found.name
    table, page = study(found), _Page()
    for view in _views(found):
        view(found, table, folder / "plots", page)
    if same := arms.left_out(plans):
        page.beneath += ["## Arms that are not run twice", "", *(f"- {said}" for said in same), ""]
    for old in (*folder.glob("*.csv"), *folder.glob("plots/*.png")):
        if old.stem not in (*page.tables, "study") and old not in [path for path, _ in page.pictures]:
            old.unlink()
    for name, derived in page.tables.items():
        write_csv(derived, folder / f"{name}.csv")
    return write_study(found, table, folder, _sections(page, folder))[1]


def _views(found: Study) -> list[Callable[[Study, DataFrame, Path, _Page], None]]:
    """Return what is shown of a study, by what its arms differ in."""
    if len(found.arms) < 2:
        return [_confusers]
    if "domain" in found.axes:
        return [_transfer]
    if found.axes == ("train",):
        return [_efficiency]
    return [_changes]


def _efficiency(found: Study, table: DataFrame, plots: Path, page: _Page) -> None:
    from benchmark.studies import _arm_plot, _contrasts, _words

    page.tables["crossings"] = _contrasts.crossings(found)
    page.tables["against"] = _contrasts.against(found)
    page.said += _words.contests(found, page.tables["against"])
    page.said += _words.reaches(page.tables["crossings"], _contrasts.references(found))
    caption = "Macro Jaccard index by the number of labelled patches; band: 95 % interval."
    page.draw(caption, _arm_plot.curves(found, table, plots / "curves.png"))
    if needs := _words.needs(page.tables["crossings"], _contrasts.references(found)):
        page.beneath += ["## Labelled patches to reach a row's full score", "", UNADJUSTED, "", *markdown(needs), ""]


def _changes(found: Study, table: DataFrame, plots: Path, page: _Page) -> None:
    from benchmark.studies import _arm_plot, _contrasts, _words

    page.tables["differences"] = differences = _contrasts.to_first(found)
    page.said += _words.changes(found, differences)
    if len(found.axes) == 1 and found.axes[0] in CURVES:
        caption = "Macro Jaccard index by arm; band: 95 % interval."
        page.draw(caption, _arm_plot.curves(found, table, plots / "curves.png"))
    caption = "Each row minus itself in the first arm, paired over scenes, seeds and subsets."
    page.draw(caption, _arm_plot.heatmap(found, differences, plots / "differences.png"))


def _transfer(found: Study, table: DataFrame, plots: Path, page: _Page) -> None:
    from benchmark.studies import _contrasts, _pair_plot, _words

    page.tables["drops"] = drops = _contrasts.drops(found)
    for setting, part in _settings(found, drops):
        page.said += [f"{setting}{said}" for said in _words.fallen(part)]
        name = re.sub("[^A-Za-z0-9=]+", "-", f"transfer {setting}").strip("-")
        caption = (
            f"{setting}Filled: trained on what it is tested on as well; open: trained without it. Same test patches."
        )
        page.draw(caption, _pair_plot.dumbbells(part, plots / f"{name}.png"))
    if set(found.axes) - set(TESTED):
        _beside(found, plots, page)


def _beside(found: Study, plots: Path, page: _Page) -> None:
    """Show what the axes beside the domain change, on the test patches of each domain."""
    import pandas as pd

    from benchmark.studies import _arm_plot, _contrasts, _words

    tables = []
    for place, (tested, inner) in enumerate(_within(found)):
        name = ", ".join(str(value) if axis == "domain" else f"{axis} {value}" for axis, value in tested.items())
        differences = _contrasts.to_first(inner)
        tables.append(differences.assign(**tested)[[*tested, *differences.columns]])
        page.said += [f"{name}: {said}" for said in _words.changes(inner, differences)]
        caption = f"{name}: each row minus itself in the first arm, paired over scenes, seeds and subsets."
        page.draw(caption, _arm_plot.heatmap(inner, differences, plots / f"differences-{place}.png"))
    page.tables["differences"] = pd.concat(tables)


def _within(found: Study) -> list[tuple[dict[str, Value], Study]]:
    """Return, for each domain and fold, a study of its arms by the axes besides."""
    groups: dict[tuple[tuple[str, Value], ...], list[int]] = {}
    for place, arm in enumerate(found.arms):
        groups.setdefault(tuple((axis, arm.values[axis]) for axis in TESTED if axis in arm.values), []).append(place)
    parts = []
    for tested, places in groups.items():
        values = [{k: v for k, v in found.arms[place].values.items() if k not in TESTED} for place in places]
        shown = tuple(replace(found.arms[place], values=one) for place, one in zip(places, values, strict=True))
        entries = tuple(replace(one, arm=places.index(one.arm)) for one in found.entries if one.arm in places)
        parts.append((dict(tested), replace(found, arms=shown, entries=entries)))
    return parts


def _settings(found: Study, table: DataFrame) -> list[tuple[str, DataFrame]]:
    """Return the parts of a table by the axes other than the domain, each with what it is called, "" for the only."""
    others = [axis for axis in found.axes if axis != "domain"]
    if not others or table.empty:
        return [("", table)]
    return [
        (", ".join(f"{axis} {titled(axis, value)}" for axis, value in zip(others, values, strict=True)) + ": ", part)
        for values, part in table.groupby(others, sort=False)
    ]


def _confusers(found: Study, table: DataFrame, plots: Path, page: _Page) -> None:
    from benchmark.studies import _confuser_rates, _pair_plot, _words

    page.tables["confusers"] = rates = _confuser_rates.confusers(found)
    page.said += _words.confused(rates)
    caption = "False-alarm and miss rates in strata that confuse."
    page.draw(caption, _pair_plot.rates(rates, plots / "confusers.png"))


def _sections(page: _Page, folder: Path) -> list[str]:
    """Return the lines of Markdown above the table."""
    told = [f"- {said}" for said in page.said] or ["- Nothing can be compared yet."]
    shown = [line for path, text in page.pictures for line in (f"![{text}]({path.relative_to(folder)})", "", text, "")]
    tables = ", ".join(f"[{name}.csv]({name}.csv)" for name in ("study", *page.tables))
    return ["## What it shows", "", TAIL, "", *told, "", *shown, *page.beneath, f"Tables: {tables}", ""]
