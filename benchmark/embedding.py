"""A picture of features: tokens of some test patches in two dimensions, and what lies under each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from benchmark import patchset
from benchmark._files import replacing
from benchmark.api import CLEAR, CLOUD, IGNORE, Context, Images

FILE = "embedding.npz"
LIMIT = 4000  # tokens in a picture
PATCHES = 64  # that they are of, at most: each is encoded once more
FEWEST = 50  # tokens that UMAP can draw a graph of; fewer are shown by PCA
NEIGHBOURS = 15


class Embeds(Protocol):
    """A method that can show the features it decides on."""

    def embed(self, images: Images, ctx: Context) -> np.ndarray:
        """Return tokens (n, y tokens, x tokens, channels) of equal areas that cover a patch."""


@dataclass(frozen=True)
class Stratum:
    """A stratum of some patches: values (n, y, x) or (n,) of integers, and what they mean."""

    values: np.ndarray
    legend: dict[int, str]


@dataclass(frozen=True)
class Tokens:
    """Tokens and what lies under them.

    Attributes:
        values: (k, channels) float32.
        cloud: (k,) whether most of the labelled pixels are cloud.
        surface: (k,) position in `surfaces` of the commonest one.
        surfaces: names; () where the patch set does not say.
    """

    values: np.ndarray
    cloud: np.ndarray
    surface: np.ndarray
    surfaces: tuple[str, ...]


@dataclass(frozen=True)
class Embedding:
    """Tokens in two dimensions.

    Attributes:
        points: (k, 2) float32.
        cloud, surface, surfaces: as in `Tokens`.
        projection: UMAP or PCA.
    """

    points: np.ndarray
    cloud: np.ndarray
    surface: np.ndarray
    surfaces: tuple[str, ...]
    projection: str


def few(patches: int) -> np.ndarray:
    """Return positions of the patches to show, PATCHES of them at most, spread evenly over all."""
    return np.linspace(0, patches - 1, min(patches, PATCHES)).round().astype(int)


def surface_of(store: Path, patches: Sequence[str]) -> Stratum | None:
    """Return the stratum `surface` of patches of a patch set; None where it has none."""
    arrays = patchset.arrays(store)
    if "surface" not in arrays.strata:
        return None
    values = np.asarray(arrays.strata["surface"][arrays.positions(patches)])
    if values.dtype.kind in "iub":
        names = {int(code): str(code) for code in np.unique(values)}
        return Stratum(values, names | arrays.legends.get("surface", {}))
    words, codes = np.unique(values, return_inverse=True)
    return Stratum(codes.reshape(values.shape), {code: str(word) for code, word in enumerate(words)})


def keep(
    method: Any, images: Images, mask: np.ndarray, surface: Stratum | None, ctx: Context, folder: Path
) -> Path | None:
    """Write the picture's points into FILE of a cell's folder and return its path.

    None, and nothing written, for a method that has no `embed`, and for patches with fewer than three labelled tokens.

    Args:
        method: the fitted method.
        images: patches.
        mask: their truth, (n, y, x) uint8.
        surface: of the patches.
        ctx: as the method had it.
        folder: of the cell.
    """
    if not hasattr(method, "embed"):
        return None
    found = sample(method, images, mask, surface, ctx)
    if len(found.values) < 3:
        return None
    points, projection = project(found.values)
    columns: dict[str, Any] = {"points": points, "cloud": found.cloud, "surface": found.surface}
    path = folder / FILE
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, surfaces=np.array(found.surfaces, dtype=str), projection=np.array(projection), **columns)
    return path


def read(folder: Path) -> Embedding | None:
    """Return what `keep` wrote into a folder; None where there is nothing."""
    if not (folder / FILE).exists():
        return None
    with np.load(folder / FILE, allow_pickle=False) as kept:
        points, cloud, surface = (kept[name] for name in ("points", "cloud", "surface"))
        return Embedding(points, cloud, surface, tuple(kept["surfaces"].tolist()), str(kept["projection"]))


def sample(
    method: Embeds,
    images: Images,
    mask: np.ndarray,
    surface: Stratum | None,
    ctx: Context,
    limit: int = LIMIT,
    seed: int = 0,
) -> Tokens:
    """Return tokens of a method, as many of each patch as of any other where it has them, `limit` at most.

    A token of which more than half is without truth is left out. The choice depends on the truth and the seed alone,
    so methods with one grid of tokens show the same tokens.
    """
    generator, share = np.random.default_rng(seed), -(-limit // len(images))
    pieces: list[Tokens] = []
    for begin in range(0, len(images), ctx.budget.batch):
        answer = method.embed(images.take(slice(begin, begin + ctx.budget.batch)), ctx)
        for place, tokens in enumerate(answer, begin):
            patch = None if surface is None else surface.values[place]
            under = _under(mask[place], patch, surface, tokens.shape[:2])
            chosen = generator.permutation(np.flatnonzero(under.usable))[:share]
            values = tokens.reshape(-1, tokens.shape[-1])[chosen]
            pieces.append(Tokens(np.asarray(values, np.float32), under.cloud[chosen], under.surface[chosen], ()))
    columns = [np.concatenate([getattr(one, name) for one in pieces]) for name in ("values", "cloud", "surface")]
    rows = np.sort(generator.permutation(len(columns[0]))[:limit])
    values, cloud, places = (column[rows] for column in columns)
    return Tokens(values, cloud, places, () if surface is None else tuple(surface.legend.values()))


@dataclass(frozen=True)
class _Under:
    """What lies under the tokens of a patch, each (tokens,): whether most of it is labelled, class and surface."""

    usable: np.ndarray
    cloud: np.ndarray
    surface: np.ndarray


def _under(mask: np.ndarray, patch: np.ndarray | None, surface: Stratum | None, grid: tuple[int, int]) -> _Under:
    clear, cloud, ignored = (_count(mask == kind, grid) for kind in (CLEAR, CLOUD, IGNORE))
    places = np.zeros(len(clear), np.int64)
    if surface is not None:
        whole = np.broadcast_to(np.asarray(patch), mask.shape)
        places = np.stack([_count(whole == code, grid) for code in surface.legend]).argmax(0)
    return _Under(ignored <= (clear + cloud), cloud > clear, places)


def _count(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return how many pixels (y, x) are set in each of the equal areas of a grid, row by row."""
    rows, columns = (np.arange(count) * length // count for count, length in zip(grid, pixels.shape, strict=True))
    sums = np.add.reduceat(pixels.astype(np.int64), rows, axis=0)
    return np.add.reduceat(sums, columns, axis=1).ravel()


def project(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return points (k, 2) float32 and how they were found: by UMAP where it is installed, else by PCA.

    Channels are standardised first: a transformer has a few whose values dwarf all others.
    """
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    if find_spec("umap") and len(values) >= FEWEST:
        return _umap(values, seed), "UMAP"
    from sklearn.decomposition import PCA

    return PCA(2, random_state=seed).fit_transform(values).astype(np.float32), "PCA"


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    import umap

    found = umap.UMAP(n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1).fit_transform(values)
    return cast(np.ndarray, found).astype(np.float32)
