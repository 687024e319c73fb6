"""LightGBM per pixel: gradient-boosted trees, stopped early on validation pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines import _pixels
from benchmark.api import Context, Images, Part, Row, Trial

if TYPE_CHECKING:
    from baselines._compact_forest import CompactForest

ROUNDS, PATIENCE, REPORT_EVERY = 1000, 50, 20


@dataclass
class BoostedTrees:
    """LightGBM on the bands of a pixel.

    Attributes:
        num_leaves: most leaves of a tree.
        learning_rate: weight of each tree.
        min_child_samples: fewest training pixels in a leaf; neighbouring pixels are near copies of each other.
        subsample: share of the pixels that each tree sees.
        context: also use mean and standard deviation of each band in the 3x3 window.
    """

    num_leaves: int = 31
    learning_rate: float = 0.05
    min_child_samples: int = 100
    subsample: float = 0.8
    context: bool = False

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Add trees until the log loss on validation pixels has not fallen for 50 rounds."""
        import lightgbm

        pixels, cloud = _pixels.sample(train, ctx.budget.pixels, ctx.seed, self.context)
        data = lightgbm.Dataset(pixels.values, cloud, feature_name=list(pixels.names), free_raw_data=False)
        pixels, cloud = _pixels.sample(val, ctx.budget.pixels, ctx.seed, self.context)
        self.booster_ = lightgbm.train(
            self._params(ctx.seed),
            data,
            ROUNDS,
            valid_sets=[lightgbm.Dataset(pixels.values, cloud, reference=data)],
            feval=_score(ctx),
            callbacks=[lightgbm.early_stopping(PATIENCE, first_metric_only=True, verbose=False), _report(ctx)],
        )

    def _params(self, seed: int) -> dict[str, Any]:
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_child_samples,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the probability from the best number of trees, (n, y, x)."""
        forest = self._forest()
        return _pixels.predict(images, lambda pixels: _pixels.threaded(forest.predict, pixels.values), self.context)

    def _forest(self) -> CompactForest:
        """Return the present booster's trees as arrays; they are made once a booster and never saved."""
        from baselines._compact_forest import compact

        booster, forest = vars(self).get("_compact", (None, None))
        if booster is not self.booster_:
            forest = compact(self.booster_)
            self._compact = (self.booster_, forest)
        return forest


def _score(ctx: Context) -> Callable[..., tuple[str, float, bool]]:
    """Return the ranking metric as LightGBM wants it: the pixels stand as one image of one row."""

    def score(probability: np.ndarray, data: Any) -> tuple[str, float, bool]:
        mask = data.get_label().astype(np.uint8)
        return "score", ctx.score(probability.reshape(1, 1, -1), mask.reshape(1, 1, -1)), True

    return score


def _report(ctx: Context) -> Callable[[Any], None]:
    """Return a callback that reports the curves now and then; a report may raise to end the trial."""

    def report(env: Any) -> None:
        if (env.iteration + 1) % REPORT_EVERY == 0:
            loss, score = (result[2] for result in env.evaluation_result_list)
            ctx.report(env.iteration + 1, val_loss=loss, score=score)

    return report


def space(trial: Trial) -> dict[str, Any]:
    """Return the size, speed and features of the boosted trees to try."""
    return {
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 10, 2000, log=True),
        "subsample": trial.suggest_float("subsample", 0.4, 1.0),
        "context": trial.suggest_categorical("context", [False, True]),
    }


ROWS = (Row("lightgbm", "boosting", BoostedTrees, space=space, needs=("lightgbm", "cv2", "numba"), reach=1),)
