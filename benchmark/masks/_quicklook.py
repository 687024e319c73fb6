"""A picture of a product's mask: what the method saw with the outline of its clouds, and the probability beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark._composite import composite, kelvin_range
from benchmark.api import CLOUD, UserError
from benchmark.masks._mask_file import FILL, STEP, blocks

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from benchmark.masks.trained import Model

INCHES, DPI = 15.0, 100  # of the whole picture's width
PANEL = 700  # pixels that a panel has at most along an axis
OUTLINE, UNKNOWN = "#d55e00", "#a05195"


def draw(model: Model, ds: xr.Dataset, mask: Path, path: Path) -> None:
    """Write a PNG of at most 1500 pixels; of several pixels in one, the mean is shown.

    Args:
        model: what made the mask.
        ds: the product with the model's bands.
        mask: NetCDF file of the mask.
        path: picture to write.

    Raises:
        UserError: it cannot be written.
    """
    shape = (ds.sizes["y"], ds.sizes["x"])
    factor = -(-max(shape) // PANEL)
    cloud, probability = _coarse_mask(mask, factor, shape)
    figure, left, right, bar = _canvas(shape)
    extent = (0, shape[1], shape[0], 0)
    left.imshow(_picture(model, ds, factor), extent=extent, interpolation="nearest")
    _outline(left, cloud, factor)
    image = right.imshow(probability, extent=extent, vmin=0, vmax=1, cmap="cividis", interpolation="nearest")
    _name(left, right, bar, image)
    figure.suptitle(f"{ds.attrs['granule']}\ncloud mask of {model.row.name}", fontsize=11)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _coarse_mask(mask: Path, factor: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return share of cloud and mean probability of `factor` x `factor` pixels, NaN where none is valid."""
    sums = np.zeros((3, -(-shape[0] // factor), -(-shape[1] // factor)))
    rows, columns = (np.arange(length) // factor for length in shape)
    for begin, (flag, packed) in blocks(mask, "cloud_mask", "cloud_probability"):
        valid = flag != FILL
        planes = (valid, flag == CLOUD, np.where(valid, packed * STEP, 0))
        for total, plane in zip(sums, planes, strict=True):
            across = np.add.reduceat(plane.astype(np.float64), np.flatnonzero(np.diff(columns, prepend=-1)), axis=1)
            np.add.at(total, rows[begin : begin + len(plane)], across)
    with np.errstate(invalid="ignore"):
        return sums[1] / sums[0], sums[2] / sums[0]


def _picture(model: Model, ds: xr.Dataset, factor: int) -> np.ndarray:
    """Return the product as in the report's gallery, (y, x, 3) uint8, in UNKNOWN where no pixel is valid."""
    coarse = ds["toa"].coarsen(y=factor, x=factor, boundary="pad").mean().values.astype(np.float32)
    picture = composite(coarse, model.bands, kelvin_range([coarse], model.bands))
    picture[np.isnan(coarse).any(axis=0)] = tuple(bytes.fromhex(UNKNOWN[1:]))
    return picture


def _outline(axes: Axes, cloud: np.ndarray, factor: int) -> None:
    if min(cloud.shape) < 2:
        return
    y, x = ((np.arange(length) + 0.5) * factor for length in cloud.shape)
    axes.contour(x, y, np.nan_to_num(cloud), levels=[0.5], colors=OUTLINE, linewidths=0.7)


def _canvas(shape: tuple[int, int]) -> tuple[Figure, Axes, Axes, Axes]:
    """Return a figure, two panels of the product's proportions, and a place for the colour bar under the second."""
    from matplotlib.figure import Figure

    left, gap, right, below, above = 0.7, 0.6, 0.3, 1.2, 0.95  # inches
    width = min((INCHES - left - gap - right) / 2, (INCHES - below - above) * shape[1] / shape[0])
    height = width * shape[0] / shape[1]
    size = np.array([left + gap + right + 2 * width, below + above + height] * 2)
    figure = Figure(figsize=tuple(size[:2]), dpi=DPI)
    places = (
        (left, below, width, height),
        (left + width + gap, below, width, height),
        (left + width + gap, 0.5, width, 0.15),
    )
    first, second, bar = (figure.add_axes(tuple(np.array(place) / size)) for place in places)
    return figure, first, second, bar


def _name(left: Axes, right: Axes, bar: Axes, image: AxesImage) -> None:
    """Write titles, axes, legend and colour bar."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    right.set_facecolor(UNKNOWN)
    right.set_yticklabels([])
    left.set(title="what the method saw", xlabel="column", ylabel="row")
    right.set(title="what it says", xlabel="column")
    place = left.get_position()
    left.figure.legend(
        handles=[Line2D([], [], color=OUTLINE, label="outline of cloud"), Patch(color=UNKNOWN, label="not valid")],
        loc="center",
        bbox_to_anchor=((place.x0 + place.x1) / 2, bar.get_position().y0),
        ncols=2,
        frameon=False,
    )
    right.figure.colorbar(image, cax=bar, orientation="horizontal", label="probability of cloud")
