"""Calibration of the rows of a plan, as tables: scores before and after, by stratum, and the points of the curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark._files import replacing, write_csv
from benchmark.api import CLOUD, IGNORE
from benchmark.calibration import (
    BEFORE,
    KINDS,
    MEASURES,
    Calibration,
    calibrate,
    jaccard_by_threshold,
    measures,
    moved,
    validation_of,
)
from benchmark.plan import Cell
from benchmark.record import PROBABILITIES, Record
from benchmark.scores import VALUES, confusion, jaccard, reliability
from benchmark.stats import Estimate, by_scene, difference, interval, resample
from benchmark.views.lines import Line, histogram_of
from benchmark.views.tables import label, markdown

if TYPE_CHECKING:
    from pandas import DataFrame

ALL = "all"  # the stratum of every pixel
_CHOICE = ("jaccard", "chosen", "gain")  # at one half, at the chosen threshold, the second minus the first
COLUMNS = (
    *("row", "family", "tuned", "seeds", "said", "validation_pixels", "validation_cloud"),
    *("threshold", "threshold_lowest", "threshold_highest", "validation_jaccard", "validation_chosen"),
    *(f"{name}{end}" for name in _CHOICE for end in ("", "_low", "_high")),
    "temperature",
    *(f"{measure}_{kind}" for measure in MEASURES for kind in KINDS),
)
STRATA_COLUMNS = ("row", "tuned", "stratum", "pixels", "cloud", *(f"ece_{kind}" for kind in KINDS))
POINT_COLUMNS = ("row", "tuned", "stratum", "kind", "forecast", "observed", "share")
TOLD = (
    "Macro Jaccard index on the test part at 0.5 and at the threshold that the validation part chooses, gain the "
    "second minus the first [95 % interval over scenes and seeds]; on validation: the same two there. ECE, Brier "
    "score, negative log-likelihood (NLL, nats a pixel) and AUC on the test part: as stored / by temperature / by "
    "isotonic regression. Means over seeds; each seed has its own threshold and maps."
)
CAVEAT = (
    "Thresholds, temperatures and isotonic maps are fitted on the validation part alone. The same part chose epochs "
    "and hyperparameters, and it is small, so what it promises is more than it keeps: the scores of the test part are "
    "those to read. For logits and for NLL, probabilities are clipped to [2^-12, 1 - 2^-12]. Isotonic maps make ties, "
    "and so does clipping, so that AUC may differ a little."
)


def calibration(found: Sequence[Line]) -> DataFrame:
    """Return one entry per finished line with the columns COLUMNS, means over seeds; NaN where nothing is known.

    `chosen` is the test score at each seed's own threshold, `gain` that minus the score at one half, paired over scenes
    and seeds (see `stats.difference`).
    """
    import pandas as pd

    return pd.DataFrame([_entry(line) for line in found if line.ok], columns=list(COLUMNS))


def _entry(line: Line) -> dict[str, Any]:
    folders = [cell.folder(line.out) for cell in line.cells]
    parts = [validation_of(folder) for folder in folders]
    fits = [calibrate(part) for part in parts]
    tests = [histogram_of(cell, kept, line.out) for cell, kept in zip(line.cells, line.ok, strict=True)]
    lacking = "no test probabilities were kept" if any(test is None or not test.any() for test in tests) else ""
    said = dict.fromkeys(one for one in (*(fit.said for fit in fits), lacking) if one)
    names = {"row": line.first.row, "family": line.first.family, "tuned": line.first.tuned, "seeds": len(fits)}
    known = [part for part in parts if part is not None and part.any()]
    shown = [] if lacking else [(fit, test) for fit, test in zip(fits, tests, strict=True) if test is not None]
    return {
        **dict.fromkeys(COLUMNS, math.nan) | names,
        "said": "; ".join(said),
        **(_validation(known, fits) if len(known) == len(parts) else {}),
        **_choice(line, [] if lacking else fits),
        **_before_and_after(shown),
    }


def _validation(parts: Sequence[np.ndarray], fits: Sequence[Calibration]) -> dict[str, float]:
    """Return the size of the validation part, and what it chose and promises."""
    chosen, half = [fit.threshold for fit in fits], int(np.searchsorted(VALUES, 0.5))
    curves = [jaccard_by_threshold(part) for part in parts]
    promised = [
        math.nan if math.isnan(t) else curve[np.searchsorted(VALUES, t)]
        for t, curve in zip(chosen, curves, strict=True)
    ]
    return {
        "validation_pixels": float(parts[0].sum()),
        "validation_cloud": float(parts[0][1].sum() / parts[0].sum()),
        "threshold": float(np.mean(chosen)),
        "threshold_lowest": float(np.min(chosen)),
        "threshold_highest": float(np.max(chosen)),
        "temperature": float(np.mean([fit.temperature for fit in fits])),
        "validation_jaccard": float(np.mean([curve[half] for curve in curves])),
        "validation_chosen": float(np.mean(promised)),
    }


def _choice(line: Line, fits: Sequence[Calibration]) -> dict[str, float]:
    """Return the test scores at one half and at the chosen thresholds, and their difference, with intervals."""
    half = np.stack([by_scene(np.asarray(kept.counts), kept.scenes) for kept in line.ok])
    seen = half.sum((0, 2)) > 0  # scenes without a valid pixel say nothing
    if not seen.any():
        return {}
    first = resample(half[:, seen], jaccard)
    if not fits or any(math.isnan(fit.threshold) for fit in fits):
        return _told("jaccard", interval(first))
    runs = zip(line.cells, line.ok, fits, strict=True)
    counts = [by_scene(counts_at(cell, kept, line.out, fit.threshold), kept.scenes) for cell, kept, fit in runs]
    second = resample(np.stack(counts)[:, seen], jaccard)
    gain = difference([second], [first])
    return _told("jaccard", interval(first)) | _told("chosen", interval(second)) | _told("gain", gain)


def _told(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def counts_at(cell: Cell, kept: Record, out: Path, threshold: float) -> np.ndarray:
    """Return counts per test patch (n, 4) of a finished cell's stored probabilities at a threshold."""
    if threshold == kept.threshold:
        return np.asarray(kept.counts)
    probability, mask = _stored(cell, out)
    return confusion(probability > threshold, mask)


def _stored(cell: Cell, out: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(cell.folder(out) / PROBABILITIES), np.load(cell.truth(out) / "mask.npy")


def _before_and_after(shown: Sequence[tuple[Calibration, np.ndarray]]) -> dict[str, float]:
    """Return the measures of the test part by each kind of map that all seeds have, means over seeds."""
    told: dict[str, float] = {}
    for kind in KINDS:
        if shown and all(kind in fit.maps for fit, _ in shown):
            each = [measures(test, fit.maps[kind]) for fit, test in shown]
            told |= {f"{name}_{kind}": float(np.mean([one[name] for one in each])) for name in MEASURES}
    return told


def strata(found: Sequence[Line], where: Mapping[str, np.ndarray]) -> tuple[DataFrame, DataFrame]:
    """Return calibration by stratum, and the points of the reliability curves.

    Args:
        found: the lines of a plan.
        where: stratum -> boolean (n, y, x) of the test part; ALL is added.

    Returns:
        STRATA_COLUMNS: pixels, share of cloud, and ECE by kind of map inside the stratum, means over seeds.
        POINT_COLUMNS: of the first seed, every kind of map for all pixels, BEFORE alone for a stratum.
    """
    import pandas as pd

    entries: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for line in found:
        for cell, kept in zip(line.cells, line.ok, strict=False):  # `ok` is empty unless every seed ended well
            if histogram_of(cell, kept, line.out) is not None:
                maps = calibrate(validation_of(cell.folder(line.out))).maps
                for name, hist in _histograms(cell, line.out, where):
                    what = {"row": cell.row, "tuned": cell.tuned, "stratum": name}
                    entries.append(what | _share(hist) | {f"ece_{kind}": _ece(hist, maps.get(kind)) for kind in KINDS})
                    if cell == line.first:
                        points += [what | point for point in _points(hist, maps if name == ALL else {BEFORE: VALUES})]
    table = pd.DataFrame(entries, columns=list(STRATA_COLUMNS))
    means = table.groupby(["row", "tuned", "stratum"], sort=False, as_index=False).agg(
        lambda seeds: seeds.mean(skipna=False)
    )
    return means, pd.DataFrame(points, columns=list(POINT_COLUMNS))


def _histograms(cell: Cell, out: Path, where: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the histogram of all test pixels and of those of each stratum that has any."""
    probability, mask = _stored(cell, out)
    valid, codes = mask != IGNORE, len(VALUES)
    # One code of 16 bits a pixel serves every stratum: its float16 value and its class; -0.0 becomes 0.0.
    code = (probability + np.float16(0)).view(np.uint16) + np.uint16(codes) * (mask == CLOUD)
    for name, inside in {ALL: valid, **where}.items():
        hist = np.bincount(code[valid & inside], minlength=2 * codes).reshape(2, codes)
        if hist.any():
            yield name, hist


def _share(hist: np.ndarray) -> dict[str, float]:
    return {"pixels": int(hist.sum()), "cloud": float(hist[1].sum() / hist.sum())}


def _ece(hist: np.ndarray, values: np.ndarray | None) -> float:
    return math.nan if values is None else measures(hist, values)["ece"]


def _points(hist: np.ndarray, maps: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Yield the points of the reliability curve by each map."""
    for kind, values in maps.items():
        merged, levels = moved(hist, values)
        for forecast, observed, share in zip(*reliability(merged, values=levels), strict=True):
            yield {"kind": kind, "forecast": forecast, "observed": observed, "share": share}


def tell(table: DataFrame) -> list[dict[str, str]]:
    """Return readable entries; several numbers are those before, by temperature and by isotonic regression."""
    return [
        {
            "row": label(line["row"], line["tuned"]),
            "threshold": _range(line),
            "Jaccard at 0.5": _said(line, "jaccard", ""),
            "at the threshold": _said(line, "chosen", ""),
            "gain": _said(line, "gain", "+"),
            "on validation": _three([line["validation_jaccard"], line["validation_chosen"]]),
            "temperature": _number(line["temperature"]),
            **{
                name: _three([line[f"{name.lower()}_{kind}"] for kind in KINDS])
                for name in ("ECE", "Brier", "NLL", "AUC")
            },
            "note": line["said"],
        }
        for line in table.to_dict("records")
    ]


def _range(line: Mapping[str, Any]) -> str:
    low, high = _number(line["threshold_lowest"]), _number(line["threshold_highest"])
    return low if low == high else f"{low} to {high}"


def _said(line: Mapping[str, Any], name: str, sign: str) -> str:
    mean, low, high = (_number(line[name + end], sign) for end in ("", "_low", "_high"))
    return f"{mean} [{low}, {high}]" if low else mean


def _three(values: Sequence[float]) -> str:
    return " / ".join(text for value in values if (text := _number(value)))


def _number(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{round(value, 3) + 0.0:{sign}.3f}"  # no -0.000


def write_calibration(table: DataFrame, parts: tuple[DataFrame, DataFrame], out: Path) -> list[Path]:
    """Write calibration.csv, calibration_strata.csv, calibration_curves.csv and calibration.md; return them.

    Args:
        table: of `calibration`.
        parts: of `strata`.
        out: folder.
    """
    frames = {"calibration": table, "calibration_strata": parts[0], "calibration_curves": parts[1]}
    paths = [write_csv(frame, out / f"{name}.csv") for name, frame in frames.items()]
    with replacing(page := out / "calibration.md") as temporary:
        temporary.write_text("\n".join([f"{TOLD} {CAVEAT}", "", *markdown(tell(table))]) + "\n")
    return [*paths, page]
