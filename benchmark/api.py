"""Contracts between the harness, the methods and the data sets. Imports nothing of ours.

Shapes: n patches, b bands, y rows, x columns. Reflectance is a fraction normalised by cos(sun zenith), brightness
temperature is in kelvin, elevation in metres; an invalid pixel is NaN in every band and IGNORE in the mask.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

CLEAR, CLOUD, IGNORE = 0, 1, 255
REFLECTANCE, BRIGHTNESS_TEMPERATURE, ELEVATION = "reflectance", "brightness_temperature", "elevation"

# Role -> central wavelength in um of the SLSTR band that plays it (BLUE and NIR of Landsat-8 OLI); 0 for none.
ROLES = {
    "BLUE": 0.482,
    "GREEN": 0.554,
    "RED": 0.659,
    "NIR_NARROW": 0.868,
    "CIRRUS": 1.375,
    "SWIR_1": 1.613,
    "SWIR_2": 2.256,
    "BT_37": 3.742,
    "BT_11": 10.854,
    "BT_12": 12.023,
    "ELEVATION": 0.0,
}
HLS_ROLES = ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")


class UserError(Exception):
    """A fault in what the user gave; the message is one sentence, the exit status 2."""


class NotRun(Exception):
    """A row cannot run here; the message holds the reason and the remedy."""


@dataclass(frozen=True)
class Band:
    """One band: its name in the product, the role it plays, wavelength in um (0 for elevation), and its quantity."""

    name: str
    role: str
    wavelength: float
    quantity: str


@dataclass(frozen=True)
class Images:
    """Patches without their truth, read from memory-mapped arrays when asked for.

    Attributes:
        toa: one (all bands, y, x) float32 array a patch, usually memory-mapped; none of a patch that is not of these.
        bands: the selected bands, in the order that `read` gives them.
        channels: position of each selected band in `toa`.
        index: position of each selected patch in `toa` and the other sequences.
        time, lat, lon, sun_zenith: datetime64[s] and degrees, NaT and NaN where unknown.
        maps: by name, one (y, x) uint8 array a patch, 255 where unknown: what the row may see besides the bands.
            `land` (1 land, 0 water) is known beforehand; masks of others (1 cloud) go to the rows that are these masks.
        source: hash of the content of `toa`.
    """

    toa: Sequence[np.ndarray]
    bands: tuple[Band, ...]
    channels: tuple[int, ...]
    index: np.ndarray
    time: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    sun_zenith: np.ndarray
    maps: Mapping[str, Sequence[np.ndarray]]
    source: str

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, b, y, x) of what `read` gives."""
        return (len(self.index), len(self.channels), *self.toa[0].shape[1:])

    @property
    def fingerprint(self) -> str:
        """Hash of the content: patch set, patches and bands, in their order."""
        return digest(self.source, self.index.tolist(), self.channels)

    def read(self, where: Any = slice(None)) -> np.ndarray:
        """Return toa of the patches at `where` (slice or integer array), (n, b, y, x) float32, a fresh array."""
        import numpy as np

        rows = self.index[where].reshape(-1)
        out = np.empty((len(rows), *self.shape[1:]), np.float32)
        for position, row in enumerate(rows):
            for channel, source in enumerate(self.channels):
                out[position, channel] = self.toa[row][source]
        return out

    def read_map(self, name: str, where: Any = slice(None)) -> np.ndarray | None:
        """Return a map of the patches at `where`, (n, y, x) uint8, or None where there is none of this name."""
        if name not in self.maps:
            return None
        return _stack(self.maps[name], self.index[where])

    def take(self, where: Any) -> Images:
        """Return the patches at `where` as Images of their own; nothing is read."""
        return replace(self, index=self.index[where].reshape(-1))

    def role(self, *roles: str) -> int | None:
        """Return the position in `read` of the first of these roles that is there, or None."""
        present = [band.role for band in self.bands]
        return next((present.index(role) for role in roles if role in present), None)


@dataclass(frozen=True)
class Part:
    """One part of a split (train or val): patches and their truth.

    Attributes:
        images: the patches.
        truth: one (y, x) uint8 array a patch of CLEAR, CLOUD or IGNORE, in the order of `images.toa`.
        scenes: scene of each patch of this part: the unit of splitting and of resampling.
    """

    images: Images
    truth: Sequence[np.ndarray]
    scenes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def masks(self, where: Any = slice(None)) -> np.ndarray:
        """Return the truth of the patches at `where`, (n, y, x) uint8."""
        return _stack(self.truth, self.images.index[where])


def _stack(maps: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the maps at these rows as one array."""
    import numpy as np  # not above: `--help` is not to wait for it

    return np.stack([maps[row] for row in rows.reshape(-1)])


@dataclass(frozen=True)
class Budget:
    """What every method of a comparison may spend; one for all, so that none is favoured.

    Attributes:
        epochs: passes of gradient descent over the training patches.
        batch: patches an optimiser step.
        pixels: labelled training pixels that a per-pixel method may sample.
        orientations: 1, or 8 for the D4 group, seen by methods trained by gradient descent.
    """

    epochs: int = 20
    batch: int = 8
    pixels: int = 200_000
    orientations: int = 1


class Encoder(Protocol):
    """A frozen backbone whose answers may be kept on disk.

    `fingerprint` pins the weight bytes and the preprocessing, never a name.
    """

    fingerprint: str

    def encode(self, images: Images) -> np.ndarray:
        """Return features (n, ...) as float16; those of a patch depend on no other patch."""


class Features(Protocol):
    """Features of patches, read when asked for; not written to."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return the features of the patches at `rows` (an integer array or a slice), (k, ...) float16."""


@dataclass(frozen=True)
class Context:
    """What the harness lends a method for one cell.

    Attributes:
        seed: for generators of the method's own; global ones are seeded before the method is built.
        device: torch device, "cpu" or "cuda[:n]".
        budget: what may be spent.
        score: ranking metric of (probability (n, y, x), mask (n, y, x)); higher is better.
        report: call once an epoch with the values of curves; tuning prunes on `score` by raising in the call.
        fact: (name, value): keep a plain value in the record, e.g. the input scale in use; the last of a name counts.
        features: (encoder, images) -> (n, ...) float16 features, computed once a patch and memory-mapped from then on.
        weights: checkpoint file of the row, verified by the harness; None where the row asks for none.
        training: folder for checkpoints of an unfinished fit, found again by the same fit; None: keep none.
        seconds: how long the fit may take; one that is sure to take longer raises NotRun once it knows.
    """

    seed: int = 0
    device: str = "cpu"
    budget: Budget = field(default_factory=Budget)
    score: Callable[[np.ndarray, np.ndarray], float] = lambda probability, mask: float("nan")
    report: Callable[..., None] = lambda step, **values: None
    fact: Callable[[str, Any], None] = lambda name, value: None
    features: Callable[[Encoder, Images], Features] = lambda encoder, images: encoder.encode(images)
    weights: Path | None = None
    training: Path | None = None
    seconds: float = float("inf")


class Method(Protocol):
    """A dataclass whose fields are its hyperparameters; the constructor does nothing else.

    What is learned is kept in attributes that end in `_`. These are saved to safe files by their type: arrays,
    numbers, text, lists and dicts of them, LightGBM boosters, scikit-learn estimators and torch modules. A method
    that learns torch modules makes them again, untrained, in `build_network(self)`, from its fields and its other
    learned attributes; only parameters that require gradients, and buffers, are stored.
    """

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Learn from `train`; `val` is for early stopping, calibration and choices, never for fitting."""

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the cloud probability, (n, y, x) float32 in [0, 1]; any number where a pixel is invalid."""


class Trial(Protocol):
    """The part of an Optuna trial that a search space may use."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Weights:
    """A checkpoint: repository on the Hugging Face hub, "" for one that `pretrain` writes or the user has, and file."""

    repo: str
    file: str


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard.

    Attributes:
        name: what the user types.
        family: groups rows in tables and colours in plots; one of `catalog.FAMILIES`.
        method: the dataclass to build.
        params: fields that this row fixes; tuning never changes them.
        space: trial -> fields to change; holds the defaults; None where there is nothing to tune.
        needs: packages imported before any clock starts.
        weights: checkpoint that must be there, or the row is not run.
        epochs: multiple of the budget's epochs.
        reads: names of the maps it sees; a row that reads another one than `land` is not run where that is missing.
        reach: pixels on each side that a pixel's probability depends on; None: on its whole patch.
        study_id: name of the same run in the EUMETSAT study.
        factors: factor -> level, for rows of a factorial: two rows that differ in one factor alone are an effect.
        control: name of the row that is always run beside this one.
        note: what a reader of the table must know.
    """

    name: str
    family: str
    method: Callable[..., Method]
    params: Mapping[str, Any] = field(default_factory=dict)
    space: Callable[[Trial], dict[str, Any]] | None = None
    needs: tuple[str, ...] = ()
    weights: Weights | None = None
    epochs: float = 1.0
    reads: tuple[str, ...] = ("land",)
    reach: int | None = None
    study_id: str = ""
    note: str = ""
    factors: Mapping[str, str] = field(default_factory=dict)
    control: str = ""


def code(*files: Path) -> str:
    """Return the SHA-256 of the syntax trees of files: docstrings count, comments and layout do not."""
    return digest([ast.dump(ast.parse(file.read_text())) for file in files])


def digest(*parts: Any) -> str:
    """Return the SHA-256 of the parts' representations; parts are numbers, text, bytes, and tuples or lists of them."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
