"""The gallery: what the methods see. Patches are chosen by their truth alone, never by a score."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.api import CLEAR, CLOUD, IGNORE
from benchmark.record import PROBABILITIES
from benchmark.scores import scores
from benchmark.views.lines import Line
from benchmark.views.plots import best_lines, canvas, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

PATCHES, METHODS = 6, 10
TILE = 1.2  # inches
MIXED = (0.05, 0.95)  # cloud fraction of patches that can tell methods apart
COLOURS = {
    "cloud": (255, 255, 255),
    "clear": (32, 40, 52),
    "missed cloud": (213, 94, 0),
    "false cloud": (86, 180, 233),
    "no truth": (150, 150, 150),
}
Column = tuple[str, list[np.ndarray], list[str]]  # title, tiles, marks under them
CAPTION = (
    "Patches: of those with 5 to 95 % cloud in their truth (all, where there are too few), sorted by cloud fraction, "
    "at equal steps; no score has a part in it. Methods: the best of each family first, then the next by rank, at "
    "most ten, suspect ones (?) last; tuned where it exists, first seed. Under each tile: macro Jaccard index of the "
    "patch."
)


def choose_patches(mask: np.ndarray, wanted: int = PATCHES) -> list[int]:
    """Return patches (positions) at equal steps of the cloud fraction of their truth (n, y, x)."""
    cloud, clear = ((mask == kind).sum((1, 2)) for kind in (CLOUD, CLEAR))
    fraction = cloud / np.maximum(cloud + clear, 1)
    usable = np.flatnonzero(cloud + clear)
    mixed = usable[(fraction[usable] >= MIXED[0]) & (fraction[usable] <= MIXED[1])]
    pool = mixed if len(mixed) >= wanted else usable
    ordered = pool[np.argsort(fraction[pool], kind="stable")]
    steps = (np.arange(min(wanted, len(ordered))) + 0.5) / min(wanted, max(len(ordered), 1)) * len(ordered)
    return [int(ordered[int(step)]) for step in steps]


def choose_methods(lines: Sequence[Line], wanted: int = METHODS) -> list[Line]:
    """Return the first line of each family, then the others, in the order given."""
    families = [line.first.family for line in lines]
    leaders = [line for place, line in enumerate(lines) if families.index(families[place]) == place]
    chosen = [*leaders, *(line for line in lines if line not in leaders)][:wanted]
    return [line for line in lines if line in chosen]


def tile(cloud: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the picture (y, x, 3) uint8 of a cloud mask (y, x) bool against its truth."""
    kinds = np.array(list(COLOURS.values()), np.uint8)
    code = np.where(mask == CLOUD, np.where(cloud, 0, 2), np.where(cloud, 3, 1))
    return kinds[np.where(mask == IGNORE, 4, code)]


def gallery(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw picture, truth and each method's mask for a few patches."""
    methods = [line for line in choose_methods(best_lines(frame, lines, doubted=True)) if _probabilities(line).exists()]
    if not methods or not (folder := methods[0].first.truth(methods[0].out)).exists():
        return None
    mask, composite = (np.load(folder / name, mmap_mode="r") for name in ("mask.npy", "composite.npy"))
    patches = choose_patches(np.asarray(mask))
    if not patches:
        return None
    truth = [tile(mask[p] == CLOUD, mask[p]) for p in patches]
    columns: list[Column] = [("picture", [composite[p] for p in patches], []), ("truth", truth, [])]
    columns += [_column(line, named(line, frame), mask, patches) for line in methods]
    with canvas(path, 0.9 + (TILE + 0.15) * len(patches), width=max(TILE * len(columns), 7.0)) as figure:
        _draw(figure, columns, len(patches))
    return path


def _probabilities(line: Line) -> Path:
    return line.first.folder(line.out) / PROBABILITIES


def _column(line: Line, name: str, mask: np.ndarray, patches: Sequence[int]) -> Column:
    kept = line.ok[0]
    probability = np.load(_probabilities(line), mmap_mode="r")
    tiles = [tile(probability[p] > kept.threshold, mask[p]) for p in patches]
    return name, tiles, [f"{scores(np.asarray(kept.counts[p]))['jaccard']:.2f}" for p in patches]


def _draw(figure: Figure, columns: Sequence[Column], rows: int) -> None:
    from matplotlib.patches import Patch

    panels = figure.subplots(rows, len(columns), squeeze=False)
    for place, (name, tiles, marks) in enumerate(columns):
        panels[0, place].set_title(textwrap.fill(name, 17), fontsize=8)
        for axes, picture, mark in zip(panels[:, place], tiles, marks or [""] * rows, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(mark, fontsize=8, labelpad=1)
    handles = [
        Patch(facecolor=f"#{bytes(rgb).hex()}", edgecolor="#909090", label=kind) for kind, rgb in COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
