"""A kept model and a whole product to a mask file; a stripe of the product is in memory at a time.

One thread reads the next rows and writes those that are done, while this one predicts: the library behind NetCDF must
not be entered by two threads at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import catalog
from benchmark.api import Images, UserError, digest
from benchmark.masks._tiling import Block, Stripe, Tile, Window, sweep
from benchmark.masks.trained import Model
from benchmark.sources import Progress, Request

if TYPE_CHECKING:
    import xarray as xr

    from benchmark.masks._mask_file import MaskWriter

PLANES = ("lat", "lon", "sun_zenith")
DERIVED = (".tif", ".png")  # of what is made of a mask, beside it
READ_ROWS = 256  # at once, in whole chunks of the product
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError)  # what a damaged file raises, by library
NIGHT = 88.0  # degrees of sun zenith from which on reflectance is not given


@dataclass
class Outcome:
    """The mask of a product and what it took.

    Attributes:
        path: the file.
        kept: whether it was there already.
        pixels, valid, cloud: number of pixels, of those that could be judged, and of those that are cloud.
        lowest_sun_zenith: degrees.
        seconds: in all, and inside the method.
    """

    path: Path
    kept: bool = False
    pixels: int = 0
    valid: int = 0
    cloud: int = 0
    lowest_sun_zenith: float = float("inf")
    seconds: dict[str, float] = field(default_factory=lambda: {"all": 0.0, "method": 0.0})


def open_product(model: Model, product: Path) -> xr.Dataset:
    """Return a product as a granule with the model's bands, in the model's order, found by their own roles.

    Raises:
        UserError: no source opens it, or it lacks the view, a band or a map that the model was trained on.
    """
    if not product.exists():
        raise UserError(f"there is nothing at {product}")
    source = next((one for one in catalog.sources().values() if one.open is not None and one.recognises(product)), None)
    if source is None or source.open is None:
        raise UserError(f"{product} is no product of a data source with whole products")
    try:
        ds = _opened(model, product, source.open).assign_attrs(version=source.version(Request((product,), Path())))
    except UNREADABLE as error:
        raise UserError(f"{product} cannot be opened: {error}") from None
    lacking = next((name for name in model.row.reads if name != "land" and name not in ds), None)
    if lacking:
        raise UserError(f"{product} has no map '{lacking}', which row '{model.row.name}' reads")
    chosen = ds.isel(band=_places(model, ds, product))
    return chosen[["toa", *PLANES, *(name for name in model.row.reads if name in ds)]]


def _opened(model: Model, product: Path, open_: Callable[..., xr.Dataset]) -> xr.Dataset:
    """Open a product in the view that the model was trained on."""
    roles = list(dict.fromkeys(model.roles))  # one band may play several
    # A view to choose has a name of one word; others say where a satellite stands.
    if model.view == "nadir" or not model.view.isidentifier():
        return open_(product, roles, {})
    try:
        return open_(product, roles, {"view": model.view})
    except UserError as error:
        raise UserError(f"row '{model.row.name}' was trained on the {model.view} view: {error}") from None


def _places(model: Model, ds: xr.Dataset, product: Path) -> list[int]:
    """Return the position in a granule of each band of the model: that of the same role and quantity."""
    roles, quantities = ds["role"].values.tolist(), ds["quantity"].values.tolist()
    for band, role in zip(model.bands, model.roles, strict=True):
        if role not in roles:
            raise UserError(f"{product} has no band of role {role}, which row '{model.row.name}' was trained on")
        found = quantities[roles.index(role)]
        if found != band.quantity:
            raise UserError(f"role {role} is {found} in {product}, and the model was trained on {band.quantity}")
    return [roles.index(role) for role in model.roles]


def mask_path(model: Model, ds: xr.Dataset, out: Path) -> Path:
    """Return where the mask of a product goes."""
    granule, row = ds.attrs["granule"].removesuffix(".SEN3"), model.row.name
    name = "_".join(re.sub(r"[^A-Za-z0-9._+-]+", "-", one) for one in (granule, row))
    return out / f"{name}.nc"


def predict(model: Model, ds: xr.Dataset, out: Path, fresh: bool, progress: Progress) -> Outcome:
    """Write the mask of a product, unless the same model's is there already.

    Args:
        model: what predicts.
        ds: the product, as `open_product` gives it.
        out: folder of masks.
        fresh: write it in any case.
        progress: called with rows done and rows in all.

    Raises:
        UserError: the product cannot be read or the mask not be written, or no pixel is valid.
    """
    from benchmark.masks._mask_facts import describe, prediction
    from benchmark.masks._mask_file import MaskWriter, provenance

    outcome, begun = Outcome(mask_path(model, ds, out)), time.perf_counter()
    if not fresh and provenance(outcome.path).get("prediction") == prediction(model, ds):
        outcome.kept = True
        return outcome
    shape = (ds.sizes["y"], ds.sizes["x"])
    start, stop = span(ds)
    with MaskWriter(outcome.path, shape, start + (stop - start) / 2, describe(model, ds)) as writer:
        _fill(writer, model, ds, outcome, progress)
        if not outcome.valid:
            raise UserError(_why_invalid(ds, outcome))
        _drop_derived(outcome.path)
    outcome.seconds["all"] = time.perf_counter() - begun
    return outcome


def _drop_derived(mask: Path) -> None:
    """Remove what was made of the mask that is about to be replaced."""
    for path in map(mask.with_suffix, DERIVED):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path} belongs to an older mask and cannot be removed: {error.strerror}") from None


def _fill(writer: MaskWriter, model: Model, ds: xr.Dataset, outcome: Outcome, progress: Progress) -> None:
    """Predict and write stripe after stripe."""
    threshold = model.record.threshold
    with ThreadPoolExecutor(1) as thread:
        written: Future[None] | None = None
        for stripe in _stripes(model, ds, thread, outcome):
            valid = ~np.isnan(stripe.values["toa"][0])
            probability = _checked(stripe.probability, valid, model.row.name)
            _tally(outcome, probability > threshold, valid, stripe.values["sun_zenith"])
            if written is not None:
                written.result()  # so that no more than one stripe waits to be written
            axes = {name: stripe.values[name] for name in ("lat", "lon")}
            written = thread.submit(writer.write, stripe.begin, probability, valid, threshold, **axes)
            progress(stripe.begin + len(valid), ds.sizes["y"])
        if written is not None:
            written.result()


def span(ds: xr.Dataset) -> tuple[datetime, datetime]:
    """Return start and stop of a product, UTC."""
    start, stop = (datetime.fromisoformat(ds.attrs[name]) for name in ("start_time", "stop_time"))
    return start.replace(tzinfo=UTC), stop.replace(tzinfo=UTC)


def _stripes(model: Model, ds: xr.Dataset, thread: ThreadPoolExecutor, outcome: Outcome) -> Iterator[Stripe]:
    """Yield the stripes of a product and add the time inside the method to the outcome."""
    height, width = ds.sizes["y"], ds.sizes["x"]
    chunk = ds["toa"].chunks[1][0] if ds["toa"].chunks else height
    window = Window(_reader(ds), height, chunk * max(1, round(READ_ROWS / chunk)), thread)
    start, stop = span(ds)

    def answer(tiles: Sequence[Tile]) -> np.ndarray:
        images = _images(model, tiles, lambda row: start + (stop - start) * min(row / height, 1), ds.attrs["granule"])
        begun = time.perf_counter()
        probability = np.asarray(model.method.predict(images, model.context), np.float32)
        outcome.seconds["method"] += time.perf_counter() - begun
        if probability.shape != (len(images), *images.shape[2:]):
            raise ValueError(f"{model.row.name} gave shape {probability.shape} for images of shape {images.shape}")
        return probability

    return sweep(window, (height, width), model.row.reach, model.size, model.context.budget.batch, answer)


def _reader(ds: xr.Dataset) -> Callable[[int, int], Block]:
    """Return what reads rows of every variable; a pixel that is NaN in one band becomes NaN in every band."""

    def read(begin: int, end: int) -> Block:
        try:
            rows = ds.isel(y=slice(begin, end)).compute()
        except UNREADABLE as error:
            raise UserError(f"{ds.attrs['granule']} cannot be read: {error}") from None
        block = {str(name): variable.values for name, variable in rows.data_vars.items()}
        invalid = np.isnan(block["toa"]).any(axis=0)
        return block | {"toa": np.where(invalid, np.float32(np.nan), block["toa"])}

    return read


def _images(model: Model, tiles: Sequence[Tile], clock: Callable[[float], datetime], granule: str) -> Images:
    """Return tiles as a method sees patches; time and place are those of a tile's middle."""
    first = tiles[0].values
    lat, lon, sun = np.array([_middle(tile.values) for tile in tiles], np.float64).T
    moments = [clock(tile.top + tile.values["toa"].shape[1] / 2).replace(tzinfo=None) for tile in tiles]
    return Images(
        toa=[tile.values["toa"] for tile in tiles],
        bands=model.bands,
        channels=tuple(range(len(model.bands))),
        index=np.arange(len(tiles)),
        time=np.array(moments, "datetime64[s]"),
        lat=lat,
        lon=lon,
        sun_zenith=sun,
        maps={name: [tile.values[name] for tile in tiles] for name in model.row.reads if name in first},
        source=digest(granule, [(tile.top, tile.left) for tile in tiles]),
    )


def _middle(values: Block) -> tuple[float, ...]:
    """Return lat, lon and sun zenith of the pixel nearest to the middle that has them all; NaN where none has."""
    planes = [values[name] for name in PLANES]
    row, column = (length // 2 for length in planes[0].shape)
    if not all(np.isfinite(plane[row, column]) for plane in planes):
        known = np.argwhere(np.isfinite(np.stack(planes)).all(axis=0))
        if not len(known):
            return (float("nan"),) * len(PLANES)
        row, column = known[((known - (row, column)) ** 2).sum(axis=1).argmin()]
    return tuple(float(plane[row, column]) for plane in planes)


def _checked(probability: np.ndarray, valid: np.ndarray, row: str) -> np.ndarray:
    """Return the probability where valid, 0 elsewhere; blending may leave it a rounding error outside [0, 1]."""
    known = np.where(valid, probability, np.float32(0))
    if not ((known > -1e-5) & (known < 1 + 1e-5)).all():
        raise ValueError(f"{row} gave probabilities that are not in [0, 1]")
    return np.clip(known, 0, 1)


def _tally(outcome: Outcome, cloud: np.ndarray, valid: np.ndarray, sun_zenith: np.ndarray) -> None:
    outcome.pixels += valid.size
    outcome.valid += int(valid.sum())
    outcome.cloud += int((cloud & valid).sum())
    lowest = float(np.fmin.reduce(sun_zenith, axis=None))
    outcome.lowest_sun_zenith = min(outcome.lowest_sun_zenith, lowest if np.isfinite(lowest) else float("inf"))


def _why_invalid(ds: xr.Dataset, outcome: Outcome) -> str:
    bands = ", ".join(ds["band"].values.tolist())
    said = f"{ds.attrs['granule']} has no pixel that is valid in all of {bands}"
    if np.isfinite(outcome.lowest_sun_zenith) and outcome.lowest_sun_zenith > NIGHT:
        said += f"; it was taken at night (sun zenith {outcome.lowest_sun_zenith:.0f} degrees or more)"
    return said
