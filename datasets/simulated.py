"""Simulated SLSTR scenes: clouds, surfaces and instrument from physics, with exact truth; needs no files.

Results on these scenes rank methods on known physics. They are not SLSTR accuracy.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.api import Band
from datasets._simulated_patches import ATTRIBUTES, LEGENDS, append, code
from datasets._simulated_scenes import Kind, source
from datasets.simulator import scene, tables

BANDS = tuple(Band(*band) for band in tables.BANDS)
KIND = Kind(
    name="simulated",
    summary="simulated SLSTR scenes with exact truth, nine bands S1..S9 (the default; needs no files)",
    bands=BANDS,
    attributes=ATTRIBUTES,
    legends=LEGENDS,
    patches=scene.PATCHES,
    simulate=scene.simulate,
    append=append,
    files=(Path(__file__), *code()),
)
SOURCE = source(KIND)
