"""The sections of a row's card, each as lines of Markdown; [] where nothing is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import splits
from benchmark.plan import Plan
from benchmark.record import OK, Record
from benchmark.scores import SCORES, jaccard
from benchmark.views.lines import COSTS, OUTLINE, Line
from benchmark.views.strata_table import FEWEST
from benchmark.views.tables import markdown, ranking_score

if TYPE_CHECKING:
    from pandas import DataFrame

WORST = 10  # patches in the picture
_CALIBRATION = ("ece", "brier")
_SHOWN = {"jaccard": "macro Jaccard", "recall": "cloud found", "specificity": "clear kept"}
_WORDS = {
    "auc": "AUC",
    "ece": "ECE",
    "mcc": "MCC",
    "rss": "RSS",
    "vram": "VRAM",
    "mb": "MB",
    "mpixel": "Mpixel",
    "j": "J",
}
_APART = ("step_s", "mfu", "vram_")  # facts of a fit that are costs of the leaderboard
TOLD_SCORES = (
    "On the test part, of pooled pixels, means over seeds. F-beta, Kuiper and the like are of the cloud class."
)
TOLD_STRATA = (
    "Worst first, of {kind}. The score is the macro Jaccard index or, where a stratum holds one class of the truth, "
    f"the share of its pixels that is right. Empty: fewer than {FEWEST} pixels, too few to tell."
)
TOLD_WORST = (
    "The {shown} of {known} test patches with the lowest macro Jaccard index of {kind}, seed {seed}, at its threshold "
    "{threshold}. They were looked up after all was scored and chose nothing. In a patch that is all clear or all "
    "cloud, few wrong pixels halve the index: the wrong pixel counts say more there."
)
TOLD_CALIBRATION = "Expected calibration error (15 bins of equal mass) and Brier score of the stored probabilities."


@dataclass(frozen=True)
class Card:
    """What one card is made of: a row's lines, the one that it ranks by (None: no score), and its lines of the tables.

    Attributes:
        row: name of the row.
        lines: "default" and "tuned", those that the plan has.
        entries: the same of the leaderboard.
        best: the kind that it ranks by, "" where no line has a score.
        rank: what its place is.
        strata: its part of the table of strata.
    """

    row: str
    lines: dict[str, Line]
    entries: dict[str, dict[str, Any]]
    best: str
    rank: str
    strata: DataFrame

    @property
    def shown(self) -> Line:
        """The line whose facts are told: the ranked one, else the first."""
        return self.lines[self.best] if self.best else next(iter(self.lines.values()))

    @property
    def kept(self) -> Record | None:
        """The record of that line's first seed."""
        return self.shown.records[0]

    @property
    def stem(self) -> str:
        """The row's name as that of a file and of a link."""
        return re.sub(r"[^\w.+-]", "_", self.row)


def score(entry: Mapping[str, Any] | None) -> str:
    """Return the ranking score of a line with its interval, its status where it has none, "" without a line."""
    return "" if entry is None else ranking_score(entry)


def standing(plan: Plan, card: Card) -> list[str]:
    """Return what the row is and how it did."""
    cell = card.shown.first
    return table(
        {
            **{"family": cell.family, "rank": card.rank, "macro Jaccard, default": score(card.entries.get("default"))},
            **{"macro Jaccard, tuned": score(card.entries.get("tuned")), "note": cell.note, "study id": cell.study_id},
            "asked for": "no: it is here as a control" if card.row in plan.controls else "",
            "its control": cell.control,
            **{f"{kind}, why no score": line.ending[1] for kind, line in card.lines.items() if line.ending[0] != OK},
        }
    )


def table(values: Mapping[str, Any]) -> list[str]:
    """Return a table of facts, those not known left out."""
    return markdown([{"fact": name, "value": str(value)} for name, value in values.items() if value not in ("", None)])


def performance(card: Card) -> list[str]:
    """Return the scores besides the one that ranks."""
    return compared(TOLD_SCORES, card, [name for name in (*SCORES, "auc", *OUTLINE) if name != "jaccard"])


def calibration(card: Card) -> list[str]:
    """Return how far its probabilities mean what they say."""
    return compared(TOLD_CALIBRATION, card, _CALIBRATION)


def compared(told: str, card: Card, names: Sequence[str]) -> list[str]:
    """Return a table of columns of the leaderboard, defaults and tuned side by side."""
    done = {kind: entry for kind, entry in card.entries.items() if entry["status"] == OK}
    entries = [
        {
            "": " ".join(_WORDS.get(word, word) for word in name.split("_")),
            **{kind: _digits(entry[name]) for kind, entry in done.items()},
        }
        for name in names
    ]
    known = [entry for entry in entries if any(list(entry.values())[1:])]
    return [*([told, ""] if told else []), *markdown(known)] if known else []


def _digits(value: Any) -> str:
    """Return a number with three significant digits, whole from 100 on; "" where it is not known."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if 0.01 <= abs(value) <= 1 else f"{value:.3g}"


def strata(card: Card) -> list[str]:
    """Return the scores of the classes of every stratum."""
    if card.strata.empty:
        return []
    told = card.strata.assign(few=card.strata["pixels"] < FEWEST)
    told["score"] = told["score"].where(~told["few"])
    ordered = told.sort_values(["few", "score", "stratum", "value"], kind="stable")
    entries = [
        {
            **{"stratum": one["stratum"], "class": str(one["value"]), "score": _digits(one["score"])},
            "95 % interval": "" if one["few"] or math.isnan(one["low"]) else f"{one['low']:.3f} to {one['high']:.3f}",
            **{"of what": "" if one["few"] else _SHOWN[one["shown"]], "pixels": f"{one['pixels']:,}"},
            "cloud %": f"{100 * one['cloud'] / one['pixels']:.0f}",
        }
        for one in ordered.to_dict("records")
    ]
    return [TOLD_STRATA.format(kind=_named(card)), "", *markdown(entries)]


def _named(card: Card) -> str:
    return "its tuned line" if card.best == "tuned" else "its defaults"


def worst_patches(kept: Record, wanted: int = WORST) -> list[tuple[int, float]]:
    """Return (position, macro Jaccard index) of a record's worst patches, worst first, ties by id.

    Patches without a pixel of known truth are left out.
    """
    if not kept.counts:
        return []
    each = jaccard(np.asarray(kept.counts))
    known = [place for place in range(len(each)) if not math.isnan(each[place])]
    ordered = sorted(known, key=lambda place: (each[place], kept.patches[place]))
    return [(place, float(each[place])) for place in ordered[:wanted]]


def worst(card: Card, picture: Path | None) -> list[str]:
    """Return the table of the worst patches and the link to their picture."""
    if not card.best or card.kept is None or not (chosen := worst_patches(card.kept)):
        return []
    entries = []
    for rank, (place, index) in enumerate(chosen, 1):
        tn, fp, fn, tp = card.kept.counts[place]
        shares = {"cloud in truth %": fn + tp, "cloud in mask %": fp + tp, "false cloud %": fp, "missed cloud %": fn}
        names = {"": str(rank), "patch": card.kept.patches[place], "scene": card.kept.scenes[place]}
        percent = {name: f"{100 * pixels / (tn + fp + fn + tp):.1f}" for name, pixels in shares.items()}
        entries.append({**names, "macro Jaccard": f"{index:.3f}", **percent})
    values = {"kind": _named(card), "seed": card.shown.first.seed, "threshold": f"{card.kept.threshold:g}"}
    told = TOLD_WORST.format(shown=len(chosen), known=len(worst_patches(card.kept, len(card.kept.counts))), **values)
    seen = f"![worst patches]({picture.name})" if picture else "No picture: probabilities or truth were not kept."
    return [told, "", seen, "", *markdown(entries)]


def saw(plan: Plan, card: Card) -> list[str]:
    """Return what went in: data, bands, weights, parameters."""
    cell, kept = card.shown.first, card.kept
    bands = [_band(band) for band in kept.bands] if kept and kept.bands else list(cell.bands)
    facts = {name: value for name, value in (kept.facts if kept else {}).items() if not name.startswith(_APART)}
    return table(
        {
            **{"bands": ", ".join(bands), "data set": f"{cell.data}, content {cell.fingerprint[:16]}"},
            **{"split": cell.split[:16], **_parts(plan.split, kept), "test pixels with truth": _pixels(kept)},
            "seeds": ", ".join(str(one.seed) for one in card.shown.cells),
            **{"weights, SHA-256": cell.weights or ("none" if card.best else ""), "code": cell.code[:16]},
            "factors": _pairs(cell.factors),
            **{"hyperparameters": _pairs(kept.params if kept else {}), "told by the fit": _pairs(facts)},
            "treatment of train labels": cell.labels,
            "threshold": ", ".join(f"{one.threshold:g}" for one in card.shown.ok),
        }
    )


def _band(band: Mapping[str, str]) -> str:
    plays = band.get("plays", band["role"])
    return f"{band['name']} ({band['role']}{'' if plays == band['role'] else f', in the place of {plays}'})"


def _parts(split: Path, kept: Record | None) -> dict[str, str]:
    """Return patches and scenes of each part; without the split's file of the test part alone."""
    if split.exists():
        used = splits.load(split)
        parts = {part: (ids, [used.scenes[patch] for patch in ids]) for part, ids in used.parts.items()}
    else:
        parts = {"test": (tuple(kept.patches), kept.scenes)} if kept and kept.patches else {}
    return {part: f"{len(ids)} patches of {len(set(scenes))} scenes" for part, (ids, scenes) in parts.items()}


def _pixels(kept: Record | None) -> str:
    pixels = np.sum(kept.counts, axis=0) if kept and kept.counts else np.zeros(4)
    return f"{pixels.sum():,}, {100 * pixels[2:].sum() / pixels.sum():.1f} % cloud" if pixels.any() else ""


def _pairs(values: Mapping[str, Any]) -> str:
    """Return plain values by name in one line, numbers of a fit rounded for reading."""
    return "; ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + _pairs(value) + "}"
    return ", ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def budget(card: Card) -> list[str]:
    """Return what the row might spend and what it chose with it."""
    cell, done = card.shown.first, card.shown.ok
    allowed = f"{cell.trials} trials, {cell.cap:g} s" if cell.tuned else ""
    allowed = f"{cell.allowance:g} s with the default fit" if cell.allowance else allowed
    ended = [trial["state"] for trial in done[0].trials] if done and cell.tuned else []
    return table(
        {
            **{"profile": cell.profile, "epochs": cell.budget.epochs, "patches a step": cell.budget.batch},
            "pixels of a per-pixel method": f"{cell.budget.pixels:,}",
            **{"orientations": cell.budget.orientations, "search, at most": allowed},
            "trials": ", ".join(f"{ended.count(state)} {state}" for state in dict.fromkeys(ended)),
            "what the search changed": (_pairs(done[0].changes) or "nothing: the defaults won") if ended else "",
            "validation score": ", ".join(_digits(one.validation) for one in done),
            "seconds of each seed": ", ".join(f"{one.seconds:.1f}" for one in done),
        }
    )


def cost(card: Card) -> list[str]:
    """Return times, memory, energy and sizes, and the machine that they are of."""
    kept = card.kept
    if kept is None or not kept.environment:
        return compared("", card, COSTS)
    there = kept.environment
    device = there.get("device", {})
    machine = f"{there.get('cpu')}, {there.get('cores')} cores, {there.get('threads')} threads"
    changed = " and uncommitted changes" if there.get("dirty") else ""
    told = (
        f"{machine}, device {device.get('name', device.get('kind'))}; commit {str(there.get('commit'))[:12]}{changed}."
    )
    return compared(told, card, COSTS)
