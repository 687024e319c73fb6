"""Counts that a record lacks, from its stored probabilities, the truth and the strata beside it; no inference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import boundary, evidence, fraction, spectrum, strata
from benchmark.plan import Cell
from benchmark.record import Record


def complete(cell: Cell, kept: Record, out: Path) -> Record:
    """Return a record with strata, boundary, spectrum and fraction; as it is where it has them or cannot get them.

    Where the strata are not beside the truth, those are added that follow from the truth alone.

    Args:
        cell: of the record.
        kept: a record that ended well.
        out: where its files are.

    Raises:
        ValueError: the truth is that of other patches.
    """
    if kept.spectrum and kept.strata_version == strata.VERSION:
        return kept
    stored = evidence.stored(cell, kept, out)
    if stored is None:
        return kept
    probabilities, truth = stored
    mask = np.load(truth / "mask.npy")
    cloud = np.load(probabilities) > kept.threshold
    found = evidence.read_strata(truth) or strata.of_truth(mask)
    inside = {**kept.strata, **strata.count(found, cloud, mask)}
    return replace(kept, strata=inside, strata_version=strata.VERSION, **shapes(cloud, mask))


def shapes(cloud: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return the fields of a record that tell of the shapes of clouds: boundary, spectrum, fraction.

    Args:
        cloud: (n, y, x) bool, the prediction.
        mask: (n, y, x) the truth.
    """
    return {
        "boundary": boundary.counts(cloud, mask),
        "spectrum": spectrum.sums(cloud, mask),
        "fraction": fraction.sums(cloud, mask),
    }
