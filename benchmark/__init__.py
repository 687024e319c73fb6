"""Nephoscope: a cloud-mask benchmark for Sentinel-3 SLSTR. Run it from its root: `python -m benchmark`."""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for _name in ("baselines", "models", "datasets"):
    _spec = find_spec(_name)
    if _spec is None or _spec.origin is None or Path(_spec.origin).resolve().parent.parent != ROOT:
        _found = _spec.origin if _spec else "nothing"
        sys.exit(f"error: '{_name}' resolves to {_found}; start Nephoscope from {ROOT} with `python -m benchmark`")
