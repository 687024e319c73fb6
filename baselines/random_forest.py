"""Random forest per pixel: scikit-learn's, and the histogram-based one of scikit-learn-intelex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines import _pixels
from benchmark.api import Context, Images, NotRun, Part, Row, Trial


@dataclass
class RandomForest:
    """scikit-learn's random forest on the bands of a pixel, everything but these fields as scikit-learn has it.

    Attributes:
        n_estimators: number of trees.
        max_depth: deepest level of a tree; None for no limit.
        min_samples_leaf: fewest training pixels in a leaf. Neighbouring pixels are near copies of each other, so the
            single one that scikit-learn allows makes trees several times larger and no better.
        context: also use mean and standard deviation of each band in the 3x3 window.
        intelex: grow the trees with scikit-learn-intelex.
    """

    n_estimators: int = 100
    max_depth: int | None = None
    min_samples_leaf: int = 20
    context: bool = False
    intelex: bool = False

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Grow the trees on a sample of the training pixels; `val` is not used."""
        pixels, cloud = _pixels.sample(train, ctx.budget.pixels, ctx.seed, self.context)
        grow = _grow_with_intelex if self.intelex else _grow
        size = {
            "n_estimators": self.n_estimators,
            "max_depth": self.max_depth,
            "min_samples_leaf": self.min_samples_leaf,
        }
        self.forest_ = grow(pixels.values, cloud, random_state=ctx.seed, **size)

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the mean over the trees of the cloud fraction in the pixel's leaf, (n, y, x)."""
        return _pixels.predict(images, lambda pixels: _pixels.threaded(self._cloud, pixels.values), self.context)

    def _cloud(self, values: np.ndarray) -> np.ndarray:
        # A forest that saw one class answers with one column.
        return self.forest_.predict_proba(values) @ self.forest_.classes_.astype(np.float64)


def _grow(values: np.ndarray, cloud: np.ndarray, **params: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_jobs=-1, **params).fit(values, cloud).set_params(n_jobs=1)


def _grow_with_intelex(values: np.ndarray, cloud: np.ndarray, **params: Any) -> Any:
    """Return intelex's trees in scikit-learn's class, which can be stored safely (intelex's own cannot).

    The trees that intelex hands out have a class in each leaf, so the cloud fractions are counted again, on all
    sampled pixels.

    Raises:
        NotRun: a sampled pixel lacks a band; intelex would grow scikit-learn's trees without saying so.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearnex.ensemble import RandomForestClassifier as Intelex

    if not np.isfinite(values).all():
        raise NotRun("scikit-learn-intelex takes no pixels that lack a band; use the row random-forest")
    grown = Intelex(n_jobs=-1, **params).fit(values, cloud)
    forest = RandomForestClassifier(**params)
    forest.estimators_ = [_with_fractions(tree, values, cloud) for tree in grown.estimators_]
    forest.classes_, forest.n_classes_ = grown.classes_, int(grown.n_classes_)
    forest.n_outputs_, forest.n_features_in_ = 1, values.shape[1]
    return forest


def _with_fractions(tree: Any, values: np.ndarray, cloud: np.ndarray) -> Any:
    """Write into the nodes that pixels end in what fraction of these is cloud."""
    leaf = tree.tree_.apply(values)
    pixels = np.bincount(leaf, minlength=tree.tree_.node_count)
    used = pixels > 0
    fraction = np.bincount(leaf, cloud, tree.tree_.node_count)[used] / pixels[used]
    tree.tree_.value[used, 0, :] = np.stack([1 - fraction, fraction], axis=1)
    return tree


def space(trial: Trial) -> dict[str, Any]:
    """Return a forest's size and features to try."""
    return {
        "n_estimators": trial.suggest_int("n_estimators", 50, 200),
        "max_depth": trial.suggest_categorical("max_depth", [None, 8, 12, 16, 24]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 200, log=True),
        "context": trial.suggest_categorical("context", [False, True]),
    }


ROWS = (
    Row("random-forest", "forest", RandomForest, space=space, needs=("sklearn.ensemble", "cv2"), reach=1),
    Row(
        "random-forest-intelex",
        "forest",
        RandomForest,
        params={"intelex": True},
        space=space,
        needs=("sklearn.ensemble", "sklearnex.ensemble", "cv2"),
        reach=1,
        note="another algorithm: splits from histograms, by scikit-learn-intelex; predicts with scikit-learn",
    ),
)
