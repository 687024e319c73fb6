"""Probes: a small classifier on the tokens of a frozen backbone, to ask what the backbone alone knows of clouds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import Context, Images, Part, Trial
from models._backboned import Backboned

if TYPE_CHECKING:
    from models._encoder import Encoder

NEEDS = ("torch", "terratorch", "sklearn")
REFERENCES = 4096  # pixels among which neighbours are looked for; the time a mask takes grows with their number
_LEARNED = ("hidden_coef_", "hidden_intercept_", "coef_", "intercept_")  # what counts as parameters


@dataclass
class Probe(Backboned):
    """A classifier of scikit-learn on the last map of a backbone that does not learn.

    The last map and not all of them: that is what a frozen backbone hands to a task that knows nothing of its layers,
    and what the picture of features shows; four of them would also take four times the memory for the same pixels.
    It is taken at labelled training pixels by bilinear interpolation. The mask is made on a lattice of a quarter of
    the patch's rows and columns, and its probability interpolated to pixels.

    Attributes:
        backbone: name that `_encoders.build` knows.
        coordinates: whether time and place of each patch go in.
        pretrained: whether the backbone has the weights in ctx.weights; otherwise it is random, from ctx.seed.
        statistics: what standardises the bands: "own" of the backbone's pretraining where it knows the band, "train"
            of the training patches.
        kind: "linear" logistic regression; "mlp" one hidden layer; "forest"; "knn" share of cloud among neighbours.
        inverse_penalty: C of the logistic regression.
        hidden: width of the hidden layer.
        alpha: L2 penalty of the MLP.
        trees: of the forest.
        leaf: fewest training pixels in a leaf of the forest.
        neighbours: how many, among at most REFERENCES training pixels.
    """

    backbone: str = "prithvi_eo_v2_300"
    coordinates: bool = False
    pretrained: bool = True
    statistics: str = "own"
    kind: str = "linear"
    inverse_penalty: float = 1.0
    hidden: int = 64
    alpha: float = 1e-4
    trees: int = 100
    leaf: int = 20
    neighbours: int = 15

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Run the backbone once, by ctx.features, and fit the classifier; `val` is not used.

        Raises:
            NotRun: there are no weights, or no times and locations, or no pixels of both classes.
            UserError: the input has another scale than the backbone's.
        """
        from models import _backboned, _frozen, _tokens, _train

        encoder = _backboned.begin(self, train.images, ctx, learns=False)
        self.frozen_ = self._assemble(encoder)
        recipe = _frozen.Recipe(self.frozen_["encoder"], train.images.bands, self.coordinates)
        features = ctx.features(_frozen.FrozenEncoder(self.network_, recipe, 0, ctx), train.images)
        values, cloud = _tokens.sample(train, features, encoder, ctx.budget.pixels, ctx.seed)
        self.mean_, self.std_ = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
        self.std_[self.std_ < 1e-6] = 1.0
        _FITS[self.kind](self, self._standardised(values), cloud, ctx)
        learned = sum(vars(self)[name].size for name in _LEARNED if name in vars(self))
        self.parameters_ = {"total": _train.count_parameters(self.network_)["total"] + learned, "trainable": learned}

    def build_network(self) -> None:
        """Make the backbone in `network_` again.

        Raises:
            UserError: it came out with other weights.
        """
        from models import _backboned

        _backboned.compare(self, self._assemble(_backboned.build(self, self.weights_)), self.frozen_)

    def _assemble(self, encoder: Encoder) -> dict[str, str]:
        """Make `network_`, of which nothing learns; return its checksum."""
        from models import _encoder, _segmenter, _train

        self.network_ = _segmenter.Backbone(_train.Scale(**self.scale_), encoder).requires_grad_(False).eval()
        return {"encoder": _encoder.checksum(encoder)}

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the cloud probability, (n, y, x) float32; the backbone runs on the images, whatever was kept."""
        from models import _frozen, _segmenter, _tokens

        size = images.shape[-2:]
        maps = _frozen.last_maps(self.network_, images, self.coordinates, ctx)
        points = _tokens.centres(_tokens.lattice(size), size)
        values = _tokens.at(maps, *points, size, _segmenter.padded(self.network_.encoder, size))
        cloud = _ANSWERS[self.kind](self, self._standardised(values.reshape(-1, values.shape[-1])))
        return _tokens.upsample(np.asarray(cloud).reshape(len(images), -1), size)

    def _standardised(self, values: np.ndarray) -> np.ndarray:
        """Return values (k, channels) float32 with the mean and spread of the training pixels taken out, in place."""
        values -= self.mean_.astype(np.float32)
        values /= self.std_.astype(np.float32)
        return values

    def _fit_linear(self, values: np.ndarray, cloud: np.ndarray, ctx: Context) -> None:
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression(C=self.inverse_penalty, max_iter=1000).fit(values, cloud)
        self.coef_, self.intercept_ = found.coef_[0].astype(np.float32), found.intercept_.astype(np.float32)
        ctx.fact("iterations", int(found.n_iter_[0]))

    def _fit_mlp(self, values: np.ndarray, cloud: np.ndarray, ctx: Context) -> None:
        """Pass over the pixels as often as the budget has epochs, whether the loss falls or not."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        epochs = ctx.budget.epochs
        network = MLPClassifier(
            (self.hidden,), alpha=self.alpha, max_iter=epochs, n_iter_no_change=epochs, random_state=ctx.seed, tol=0.0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the budget ends it
            network.fit(values, cloud)
        self.hidden_coef_, self.hidden_intercept_ = network.coefs_[0], network.intercepts_[0]
        self.coef_, self.intercept_ = network.coefs_[1][:, 0], network.intercepts_[1]

    def _fit_forest(self, values: np.ndarray, cloud: np.ndarray, ctx: Context) -> None:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(self.trees, min_samples_leaf=self.leaf, random_state=ctx.seed, n_jobs=-1)
        self.forest_ = forest.fit(values, cloud).set_params(n_jobs=1)  # threads add the trees in any order

    def _fit_knn(self, values: np.ndarray, cloud: np.ndarray, ctx: Context) -> None:
        chosen = np.random.default_rng(ctx.seed).permutation(len(values))[:REFERENCES]
        self.reference_, self.reference_cloud_ = values[chosen], cloud[chosen]

    def _linear(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(values @ self.coef_ + self.intercept_)

    def _mlp(self, values: np.ndarray) -> np.ndarray:
        return self._linear(np.maximum(values @ self.hidden_coef_ + self.hidden_intercept_, 0))

    def _forest(self, values: np.ndarray) -> np.ndarray:
        return self.forest_.predict_proba(values)[:, 1]

    def _knn(self, values: np.ndarray) -> np.ndarray:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=min(self.neighbours, len(self.reference_)), algorithm="brute")
        return self.reference_cloud_[search.fit(self.reference_).kneighbors(values, return_distance=False)].mean(1)


_FITS: dict[str, Callable[[Probe, np.ndarray, np.ndarray, Context], None]] = {
    "linear": Probe._fit_linear,
    "mlp": Probe._fit_mlp,
    "forest": Probe._fit_forest,
    "knn": Probe._fit_knn,
}
_ANSWERS: dict[str, Callable[[Probe, np.ndarray], np.ndarray]] = {
    "linear": Probe._linear,
    "mlp": Probe._mlp,
    "forest": Probe._forest,
    "knn": Probe._knn,
}


def _linear_space(trial: Trial) -> dict[str, Any]:
    return {"inverse_penalty": trial.suggest_float("inverse_penalty", 1e-5, 1e2, log=True)}


def _mlp_space(trial: Trial) -> dict[str, Any]:
    return {
        "hidden": trial.suggest_categorical("hidden", [32, 64, 128, 256]),
        "alpha": trial.suggest_float("alpha", 1e-6, 1.0, log=True),
    }


def _forest_space(trial: Trial) -> dict[str, Any]:
    return {
        "trees": trial.suggest_int("trees", 50, 300),
        "leaf": trial.suggest_int("leaf", 1, 200, log=True),
    }


def _knn_space(trial: Trial) -> dict[str, Any]:
    return {"neighbours": trial.suggest_int("neighbours", 1, 200, log=True)}


# Kind -> trial to the fields that tuning changes.
SPACES: dict[str, Callable[[Trial], dict[str, Any]]] = {
    "linear": _linear_space,
    "mlp": _mlp_space,
    "forest": _forest_space,
    "knn": _knn_space,
}
