"""What a mask file says of itself: title, origin, and everything that decided its pixels."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import ROOT, catalog
from benchmark.api import digest
from benchmark.environment import commit
from benchmark.masks.trained import Model

if TYPE_CHECKING:
    import xarray as xr

PROTOCOL = 1  # raise it when the same model would give another mask
EARTH = 6371.0088  # km, mean radius (IUGG)


def describe(model: Model, ds: xr.Dataset) -> dict[str, Any]:
    """Return the global attributes of the mask of a product; those without a value are left out.

    `prediction` is a hash of all that decides the pixels: product, model, checkpoint, code and threshold.
    """
    cell, done, product = model.record.cell, model.record, ds.attrs
    version = software_version()
    pairs = zip(model.bands, ds["band"].values.tolist(), strict=True)
    code = "as when the model was trained" if model.unchanged else "changed since the model was trained"
    facts = {
        "title": f"Cloud mask of {product['granule']} by {model.row.name}",
        "institution": f"not given; made with Nephoscope {version}",
        "source": f"{model.row.name} applied to {product['sensor']} product {product['granule']}",
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} nephoscope {version} predict --method {model.row.name}",
        "references": "README.md and docs of Nephoscope",
        "comment": f"Cloud where cloud_probability is above {done.threshold}; the method was fitted on patches of data "
        f"set '{cell['data']}' (seed {cell['seed']}), and is no better than the labels of those.",
        "license": product["licence"],
        "product": product["granule"],
        "product_provenance": json.dumps(product["provenance"], sort_keys=True),
        "processing_baseline": str(product["provenance"].get("baseline", "")),
        "sensor": product["sensor"],
        "view": str(product["provenance"].get("view", "")),
        "grid": str(product["provenance"].get("grid", "")),
        "orbit": product["orbit"],
        "time_coverage_start": product["start_time"],
        "time_coverage_end": product["stop_time"],
        "spatial_resolution": _spacing(ds),
        "row": model.row.name,
        "study_id": model.row.study_id,
        "model": model.folder.name,
        "model_files": "; ".join(f"{name} sha256:{total}" for name, total in model.files.items()),
        "checkpoint": f"sha256:{cell['weights']}" if cell["weights"] else "",
        "bands": ", ".join(f"{band.role} {name} (trained on {band.name})" for band, name in pairs),
        "data": cell["data"],
        "view_of_training": model.view,
        "data_fingerprint": cell["fingerprint"],
        "split": cell["split"],
        "decision_threshold": done.threshold,
        "software": f"Nephoscope {version}",
        "commit": _commit(commit()),
        "commit_of_training": _commit(done.environment),
        "code_of_method": code,
        "prediction": prediction(model, ds),
    }
    return {name: value for name, value in facts.items() if value != ""}


def prediction(model: Model, ds: xr.Dataset) -> str:
    """Return a hash of all that decides the pixels of a mask."""
    made = [json.dumps(ds.attrs[name], sort_keys=True) for name in ("granule", "provenance", "version")]
    shape = (ds.sizes["y"], ds.sizes["x"])
    kept = (sorted(model.files.items()), model.record.cell["weights"], model.record.threshold)
    return digest(
        PROTOCOL, made, shape, ds["band"].values.tolist(), kept, catalog.code_hash(model.row), software_version()
    )


def software_version() -> str:
    """Return the version of this software."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _commit(state: dict[str, Any]) -> str:
    name = str(state.get("commit", ""))
    return f"{name} with changes" if name and state.get("dirty") else name


def _spacing(ds: xr.Dataset) -> str:
    """Return the distance between neighbouring pixels in the middle, "" where they have no place."""
    centre = {name: slice(ds.sizes[name] // 2 - 1, ds.sizes[name] // 2 + 1) for name in ("y", "x")}
    places = ds[["lat", "lon"]].isel(centre).compute()
    lat, lon = np.radians(places["lat"].values), np.radians(places["lon"].values)
    if lat.shape != (2, 2) or not np.isfinite([lat, lon]).all():
        return ""
    along, across = (_distance(lat, lon, other) for other in ((1, 0), (0, 1)))
    return f"{along * 1000:.0f} m along the track, {across * 1000:.0f} m across, in the middle"


def _distance(lat: np.ndarray, lon: np.ndarray, other: tuple[int, int]) -> float:
    """Return km from pixel (0, 0) to another, after the haversine formula."""
    up, across = lat[other] - lat[0, 0], lon[other] - lon[0, 0]
    half = np.sin(up / 2) ** 2 + np.cos(lat[0, 0]) * np.cos(lat[other]) * np.sin(across / 2) ** 2
    return float(2 * EARTH * np.arcsin(np.sqrt(half)))
