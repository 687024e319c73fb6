"""The sanity gate: which lines are suspect and why, from records alone. What is suspect has no rank.

Nothing is chosen by it and nothing is run again: it says what a reader would have to find out himself. A line is
suspect if

- its input was standardised otherwise than its name says, or the fit refused its input for another scale;
- its features no longer tell images apart (`feature_health`, of the first seed's default fit);
- its probabilities are constant, or it says one class everywhere, where the truth has both;
- it does not beat `majority`, or the best threshold on a single band: the difference of the macro Jaccard index,
  paired over seeds and scenes, is 0 or less. The estimate decides and not its interval: to be ranked above a constant
  takes no proof, to be as good as one is enough to be looked at;
- it predicts the same mask in every pixel as another row. The defaults and the tuned line of one row may, and so may
  rows that are made to (`_alike`);
- it scores above chance although it was trained on permuted labels (`run ROW --labels permuted` into the same folder).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import combinations

import numpy as np

from benchmark import record
from benchmark.calibration import validation_of
from benchmark.label_noise import PERMUTED
from benchmark.plan import Cell
from benchmark.record import PROBABILITIES, Record
from benchmark.scores import VALUES
from benchmark.views import permuted
from benchmark.views._resampling import areas
from benchmark.views.lines import Line
from benchmark.views.permuted import FLOOR, THRESHOLD

SINGLE_BAND = "threshold-band"  # the row that is the best threshold on one band
LEAST_RANK, LEAST_SPREAD = 1.5, 0.02  # of features, see `feature_health`
_REFUSED = re.compile(r"it looks like .+ and must be (a fraction|kelvin)$")  # see `models/_scales.py`
# Factors of which another level may change nothing: a better epoch than that of the shorter run did not come.
_IDLE = {"stop", "epochs"}

Name = tuple[str, bool]  # row and whether tuned


def suspects(found: Sequence[Line]) -> dict[Name, tuple[str, ...]]:
    """Return why lines are suspect, by row and whether tuned; sound lines are not in it.

    Args:
        found: all lines of a plan.
    """
    told = {(line.first.row, line.first.tuned): list(_of_itself(line)) for line in found}
    taught = [line for line in found if line.ok and line.first.labels != PERMUTED]  # others are to fall short
    for check in (_floors, _same):
        for line, reason in check(taught):
            told[line.first.row, line.first.tuned].append(reason)
    return {name: tuple(reasons) for name, reasons in told.items() if reasons}


def _of_itself(line: Line) -> Iterator[str]:
    """Yield what is wrong with a line whatever the others do; of several seeds the first that it is wrong with."""
    status, reason = line.ending
    if status == record.FAILED and _REFUSED.search(reason):
        yield f"its input has another scale than it declares: {reason}"
    for check in (_scale, _features, _outputs) if line.first.labels != PERMUTED else ():
        if wrong := [why for cell, kept in zip(line.cells, line.ok, strict=False) if (why := check(line, cell, kept))]:
            yield wrong[0] + (f" ({len(wrong)} of {len(line.ok)} seeds)" if len(line.ok) > 1 else "")
    if line.ok and (reason := _permuted(line)):
        yield reason


def _scale(line: Line, cell: Cell, kept: Record) -> str:
    declared, used = cell.factors.get("input scale", ""), str(kept.facts.get("input scale", ""))
    if declared and used and used.split(",")[0] != declared:
        return f"its input was standardised by '{used}' statistics, and the row declares '{declared}'"
    moments = [np.asarray(kept.facts.get(f"input {name}", ()), float) for name in ("mean", "std")]
    if not all(np.isfinite(one).all() for one in moments) or not (moments[1] > 0).all():
        return "its input was standardised by a mean or deviation that is none"
    return ""


def _features(line: Line, cell: Cell, kept: Record) -> str:
    rank, spread = (kept.facts.get(f"feature {name}") for name in ("rank", "spread"))
    if isinstance(rank, float | int) and rank < LEAST_RANK:
        return f"its features have collapsed: effective rank {rank:.2g}, below {LEAST_RANK}"
    if isinstance(spread, float | int) and spread < LEAST_SPREAD:
        return f"its features have collapsed: {spread:.1%} of them depend on the image, less than {LEAST_SPREAD:.0%}"
    return ""


def _outputs(line: Line, cell: Cell, kept: Record) -> str:
    """Say whether probabilities or masks are constant, where the truth has both classes; a floor is meant to be."""
    test = np.sum(kept.counts, axis=0)
    if cell.family == FLOOR or not _both(test):
        return ""
    told = line.summaries[line.cells.index(cell)]
    if told is not None and told.values == 1:
        return "its probability is the same in every pixel"
    if not _one_class(test):
        return ""
    judged, validation = [test], validation_of(cell.folder(line.out))
    if validation is not None and _both(other := _counts(validation, kept.threshold)):  # older records have none
        judged.append(other)
    if all(_one_class(counts) for counts in judged):
        kind = "clear" if not test[1] + test[3] else "cloud"
        return f"it says {kind} in every pixel of the test part{' and one class in validation' * (len(judged) > 1)}"
    return ""


def _both(counts: np.ndarray) -> bool:
    return bool(counts[0] + counts[1]) and bool(counts[2] + counts[3])


def _one_class(counts: np.ndarray) -> bool:
    return not counts[1] + counts[3] or not counts[0] + counts[2]


def _counts(hist: np.ndarray, threshold: float) -> np.ndarray:
    """Return [true clear, false cloud, missed cloud, true cloud] of a histogram of probabilities."""
    cloud = np.greater(VALUES, threshold)
    return np.array([part.sum() for kind in hist for part in (kind[~cloud], kind[cloud])])


def _floors(done: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    """Yield the lines that do not beat a row that knows next to nothing, with the one that they lose most to."""
    lowest = [line for line in done if line.first.family == FLOOR and not line.first.tuned]
    single = [line for line in done if _single_band(line) and not line.first.tuned]
    sampler = areas()
    for line in (line for line in done if _errs(line)):
        rank = 0 if line in lowest else 1 if _single_band(line) else 2
        against = (*lowest, *single)[: (0, len(lowest), None)[rank]]
        lost = [(one.mean, floor, one) for floor in against if (one := sampler.difference([line], [floor])).mean <= 0]
        if lost:
            _, floor, one = min(lost, key=lambda entry: entry[0])
            ends = "" if np.isnan(one.low) else f" [{one.low:+.3f}, {one.high:+.3f}]"
            yield line, f"it does not beat {floor.first.row}: {one.mean:+.3f}{ends} in the macro Jaccard index"


def _errs(line: Line) -> bool:
    """Whether a line has an error in any pixel; one without may be as good as a floor that has none either."""
    return any(np.sum(kept.counts, axis=0)[[1, 2]].any() for kept in line.ok)


def _single_band(line: Line) -> bool:
    """Whether a line is a threshold on one band: by its row, or because the comparison has but one."""
    cell = line.first
    return cell.row == SINGLE_BAND or (cell.family == THRESHOLD and len(cell.bands) == 1)


def _same(done: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    """Yield the lines whose masks at the first seed are another row's.

    Masks of one class are told of elsewhere, masks without an error are all alike.
    """
    by_counts: dict[bytes, list[Line]] = {}
    for line in done:
        counts = np.asarray(line.ok[0].counts)
        if line.first.family != FLOOR and not _one_class(counts.sum(0)) and _errs(line):
            by_counts.setdefault(counts.tobytes(), []).append(line)
    for group in by_counts.values():  # equal masks have equal counts, and only few need be read
        masks = {id(line): _mask(line) for line in group if len(group) > 1}
        twins: dict[int, tuple[Line, list[str]]] = {id(line): (line, []) for line in group}
        for one, other in combinations(group, 2):
            if masks[id(one)] == masks[id(other)] and not _alike(one.first, other.first):
                twins[id(one)][1].append(other.first.row)
                twins[id(other)][1].append(one.first.row)
        yield from (
            (line, f"it predicts the same in every pixel as {', '.join(dict.fromkeys(names))}")
            for line, names in twins.values()
            if names
        )


def _mask(line: Line) -> str:
    """Return a hash of a line's masks at its first seed, of the line itself where they are not kept."""
    stored = line.first.folder(line.out) / PROBABILITIES
    if not stored.exists():
        return line.first.key
    cloud = np.load(stored, mmap_mode="r") > line.ok[0].threshold
    return sha256(np.packbits(cloud).tobytes()).hexdigest()


def _alike(one: Cell, other: Cell) -> bool:
    """Whether two cells may predict the same without fault.

    They may if they are of one row, if they are factorial rows that differ only in how long they may train, as the
    best epoch is kept, or if both are random and neither is told time and place, which makes two encodings one network.
    """
    if one.row == other.row:
        return True
    names = one.factors.keys() | other.factors.keys()
    apart = {name for name in names if one.factors.get(name) != other.factors.get(name)}
    told = [(cell.factors.get("start"), cell.factors.get("encoding")) for cell in (one, other)]
    untold = all(start == "random" and encoding != "tl" for start, encoding in told)
    return bool(apart) and apart <= _IDLE | ({"encoding"} if untold else set())


def _permuted(line: Line) -> str:
    """Say whether a row was trained on permuted labels and scores above chance all the same.

    A tuned line answers for its defaults too, as a leak is in the row.
    """
    defaults = tuple(cell.default() for cell in line.cells)
    for cells in (line.cells, defaults) if line.first.tuned else (line.cells,):
        known = permuted.of(cells, line.out)
        if known is not None and known.verdict == permuted.SUSPECT:
            skill = known.skill
            ends = f"{skill.mean:.2f} [{skill.low:.2f}, {skill.high:.2f}]"
            return f"trained on permuted labels it has a Kuiper skill of {ends}, and chance is below {known.chance}"
    return ""
