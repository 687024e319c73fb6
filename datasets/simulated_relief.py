"""Simulated SLSTR scenes on relief, with elevation as a tenth band: `simulated` with mountains; needs no files.

Height acts by physics: less air, much less water vapour (S4 sees high ground), colder ground, snow above a snow line.
Results on these scenes rank methods on known physics. They are not SLSTR accuracy.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.api import Band
from datasets import _relief_scene
from datasets import _relief_tables as relief
from datasets._simulated_patches import ATTRIBUTES, LEGENDS, append, code
from datasets._simulated_scenes import Kind, source
from datasets.simulator import scene

BANDS = tuple(Band(*band) for band in relief.BANDS)
KIND = Kind(
    name="simulated-relief",
    summary="simulated SLSTR scenes on relief: nine bands S1..S9 and elevation in metres (needs no files)",
    bands=BANDS,
    attributes=ATTRIBUTES,
    legends={**LEGENDS, "terrain": relief.ZONES},
    patches=scene.PATCHES,
    simulate=_relief_scene.simulate,
    append=append,
    files=(Path(__file__), *sorted(Path(__file__).parent.glob("_relief_*.py")), *code()),
)
SOURCE = source(KIND)
