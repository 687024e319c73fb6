"""The files that a product and its label are read from."""

from __future__ import annotations

import os
from pathlib import Path

from datasets import _mask_files


def of(product: Path, label: str) -> list[Path]:
    """Return the files of a product, those of a folder by name, and its mask file where `label` names one."""
    inside = sorted(product.rglob("*")) if product.is_dir() else [product]
    if label.startswith(_mask_files.PREFIX):
        # A mask that is missing is a fault of its product alone, and `make` says so.
        inside += filter(Path.exists, [_mask_files.find(label, product)])
    return inside


def sizes(product: Path, label: str) -> tuple[tuple[Path, int], ...]:
    """Return the files with their bytes."""
    return tuple((path, path.stat().st_size) for path in of(product, label) if path.is_file())


def shortened(said: str, product: Path) -> str:
    """Return a fault of a product without the folder that the product lies in."""
    for folder in (product.parent.absolute(), product.parent):
        said = said.replace(f"{folder}{os.sep}", "")
    return said
