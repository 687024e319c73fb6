"""Methods whose masks are easily checked, models made of them, and how a row is found."""

from dataclasses import dataclass

import netCDF4
import numpy as np
import product_factory

from benchmark import catalog, planner
from benchmark.api import Row
from benchmark.masks import trained
from benchmark.plan import Plan


@dataclass
class Brightness:
    """Probability from the first band of a pixel alone, or less its patch's mean."""

    relative: bool = False

    def fit(self, train, val, ctx):
        self.level_ = 0.3

    def predict(self, images, ctx):
        toa = images.read()[:, 0].astype(np.float64)
        if self.relative:
            toa = toa - np.nanmean(toa, axis=(1, 2), keepdims=True) + self.level_
        return 1 / (1 + np.exp(np.clip(-20 * (toa - self.level_), -50, 50)))


@dataclass
class Witness:
    """Keeps the images it is given."""

    def fit(self, train, val, ctx):
        self.seen_ = []

    def predict(self, images, ctx):
        self.seen_.append(images)
        return np.full((len(images), *images.shape[2:]), 0.7, np.float32)


@dataclass
class Wrong:
    answer: float = 2.0

    def fit(self, train, val, ctx):
        pass

    def predict(self, images, ctx):
        return np.full((len(images), *images.shape[2:]), self.answer)


ROWS = {
    row.name: row
    for row in (
        Row("pixelwise", "threshold", Brightness, reach=0),
        Row("patchwise", "threshold", Brightness, {"relative": True}),
        Row("witness", "threshold", Witness, reads=("land",)),
        Row("wrong", "threshold", Wrong),
        Row("rival", "threshold", Brightness, reads=("rival_map",), reach=0),
    )
}


def model(tmp_path, row, **facts):
    return trained.load(
        product_factory.run(tmp_path / "results", catalog.rows()[row], **facts), "cpu", None, tmp_path / "w"
    )


def masks(path):
    with netCDF4.Dataset(path) as file:
        assert file.dimensions["y"].size
        file.set_auto_maskandscale(False)
        return file["cloud_mask"][:], file["cloud_probability"][:] * 1e-4


def nothing(done, total):
    pass


def plan_of(tmp_path, *cells):
    plan = Plan("factory-smoke", cells, tmp_path / "data.zarr", tmp_path / "split.json")
    planner.save(plan, tmp_path / "results")
    return plan
