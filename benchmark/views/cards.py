"""A card per row: what it saw, its budget, scores, cost and worst patches; from records alone, written by no hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import evidence
from benchmark._files import replacing
from benchmark.plan import Plan
from benchmark.views import _card_sections as sections
from benchmark.views._card_sections import Card
from benchmark.views.lines import Line
from benchmark.views.tables import TIED, best_lines, circles, is_tied, markdown, marked

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDER, INDEX = "cards", "README.md"
LONGEST = 50  # characters of a patch's name in a picture


def write_cards(plan: Plan, frame: DataFrame, found: Sequence[Line], strata: DataFrame, out: Path) -> Path:
    """Write `<out>/cards/<row>.md` and the picture <row>.png of every row, and an index; return the index.

    Cards of other plans are removed. The same records give the same bytes.

    Args:
        plan: what was run.
        frame: its leaderboard.
        found: its lines.
        strata: what `strata_table.strata_table` gave for them.
        out: where the records are.
    """
    folder = out / FOLDER
    cards = _cards(frame, found, strata)
    written = {folder / INDEX}
    for card in cards:
        page, picture = folder / f"{card.stem}.md", _picture(card, folder / f"{card.stem}.png")
        _write(page, _page(plan, frame, card, picture))
        written |= {page} if picture is None else {page, picture}
    _write(folder / INDEX, _index(plan, cards))
    for path in {*folder.glob("*.md"), *folder.glob("*.png")} - written:
        path.unlink()
    return folder / INDEX


def _cards(frame: DataFrame, found: Sequence[Line], strata: DataFrame) -> list[Card]:
    """Return the cards in the order of the leaderboard."""
    ranked = best_lines(frame, found)
    places = {line.first.row: (place, line) for place, line in enumerate(ranked, 1)}
    made = []
    for row in dict.fromkeys(frame["row"]):
        lines = {_kind(line.first.tuned): line for line in found if line.first.row == row}
        entries = {_kind(entry["tuned"]): entry for entry in frame[frame["row"] == row].to_dict("records")}
        place, best = places.get(row, (0, None))
        kind = _kind(best.first.tuned) if best else ""
        tied = f", tied with the first ({TIED})" if place > 1 and is_tied(entries[kind]) else ""
        own = strata[(strata["row"] == row) & (strata["tuned"] == (kind == "tuned"))]
        made.append(Card(row, lines, entries, kind, f"{place} of {len(ranked)}{tied}" if place else "none", own))
    return made


def _kind(tuned: bool) -> str:
    return "tuned" if tuned else "default"


def _write(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _index(plan: Plan, cards: Sequence[Card]) -> list[str]:
    """Return the page that leads to the cards."""
    entries = [
        {
            **{"row": f"[{card.row}]({card.stem}.md)", "family": card.shown.first.family, "rank": card.rank},
            **{kind: sections.score(card.entries.get(kind)) for kind in ("default", "tuned")},
        }
        for card in cards
    ]
    told = "Macro Jaccard index on the test part [95 % interval over scenes and seeds], or why there is none."
    return [f"# Cards of {plan.name}", "", told, "", *markdown(entries)]


def _page(plan: Plan, frame: DataFrame, card: Card, picture: Path | None) -> list[str]:
    """Return the lines of a card; a section of which nothing is known is left out."""
    body = {
        **{"": sections.standing(plan, card), "Scores": sections.performance(card)},
        **{"Calibration": sections.calibration(card), "Strata": sections.strata(card)},
        **{"Worst patches": sections.worst(card, picture), "What it saw": sections.saw(plan, card)},
        **{"Budget": sections.budget(card), "Cost": sections.cost(card)},
    }
    text = [f"# {marked(card.row, ' '.join(card.shown.first.circular))}", ""]
    for mark in circles(frame[frame["row"] == card.row]):
        text += [mark, ""]
    for title, lines in body.items():
        text += [*([f"## {title}", ""] if title and lines else []), *lines, *([""] if lines else [])]
    return [*text, f"Made from the records of {plan.name}."]


def _picture(card: Card, path: Path) -> Path | None:
    """Draw the worst patches; None where there is no score, or no arrays are kept."""
    kept = card.kept
    if not card.best or kept is None or not (stored := evidence.stored(card.shown.first, kept, card.shown.out)):
        return None
    from benchmark.views._worst_plot import Sample, draw

    probabilities, truth = stored
    files = (probabilities, truth / "composite.npy", truth / "mask.npy")
    probability, composite, mask = (np.load(file, mmap_mode="r") for file in files)
    samples = [
        Sample(
            f"{rank}  {_short(kept.patches[p])}  {score:.3f}", composite[p], mask[p], probability[p] > kept.threshold
        )
        for rank, (p, score) in enumerate(sections.worst_patches(kept), 1)
    ]
    return draw(samples, path) if samples else None


def _short(name: str) -> str:
    """Return a name that fits above its tiles; what tells patches apart is at the end."""
    return name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"
