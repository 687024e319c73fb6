"""Tests of benchmark/embedding.py and benchmark/views/_embedding_plot.py."""

from dataclasses import replace

import numpy as np
import pytest
from patch_factory import HLS5, bands, make_images, make_part, toa_and_mask
from PIL import Image

from benchmark import embedding, patchset
from benchmark.api import CLOUD, IGNORE, Budget, Context
from benchmark.embedding import Stratum
from benchmark.views import _embedding_plot
from benchmark.views.lines import lines
from benchmark.views.plots import DPI
from benchmark.views.tables import leaderboard
from tests.record_factory import Spec, make_plan

CONTEXT = Context(budget=Budget(batch=4))


class Averages:
    """Tokens of 8 x 8 pixels: the mean of each band."""

    def embed(self, images, ctx):
        assert len(images) <= ctx.budget.batch
        toa = np.nan_to_num(images.read())
        n, bands, y, x = toa.shape
        return toa.reshape(n, bands, y // 8, 8, x // 8, 8).mean((3, 5)).transpose(0, 2, 3, 1)


@pytest.fixture
def part():
    return make_part(n=12, size=32)


def stratum(part):
    """The left half is sea, a corner of it ice."""
    values = np.ones(part.truth.shape, np.uint8)
    values[:, :, 16:], values[:, :3, :3] = 4, 2
    return Stratum(values, {1: "sea", 2: "sea_ice", 4: "crop"})


# What lies under a token


def test_a_token_has_the_class_and_the_surface_of_most_of_its_pixels():
    toa = np.zeros((2, 5, 16, 24), np.float32)
    toa[:] = np.arange(16 * 24).reshape(16, 24)
    mask = np.zeros((2, 16, 24), np.uint8)
    mask[0, :8, :8] = CLOUD  # all
    mask[0, :4, 8:16], mask[0, 0, 8] = CLOUD, IGNORE  # half of it but one pixel
    mask[0, :8, 16:], mask[0, 0, 16:20] = IGNORE, CLOUD  # too few are labelled
    mask[0, 8:, :8], mask[0, 8, :8] = IGNORE, CLOUD
    mask[0, 8:, 8:16], mask[0, 8, 8:16], mask[0, 9:13, 8:16] = IGNORE, CLOUD, 0  # 8 cloud, 32 clear
    mask[1] = IGNORE
    surface = np.ones((2, 16, 24), np.uint8)
    surface[0, :8, :4], surface[0, 0, 4] = 7, 7
    found = embedding.sample(Averages(), make_images(toa), mask, Stratum(surface, {1: "sea", 7: "land"}), CONTEXT)
    order = np.argsort(found.values[:, 0])
    where = toa[0, 0].reshape(2, 8, 3, 8).mean((1, 3)).ravel()[[0, 1, 4, 5]]
    np.testing.assert_allclose(found.values[order, 0], where)
    assert found.cloud[order].tolist() == [True, False, False, False]
    assert [found.surfaces[one] for one in found.surface[order]] == ["land", "sea", "sea", "sea"]


def test_every_patch_gives_as_many_tokens_and_no_token_twice(part):
    images = replace(part.images, toa=np.broadcast_to(np.arange(12.0)[:, None, None, None], (12, 5, 32, 32)))
    found = embedding.sample(Averages(), images, part.truth, None, CONTEXT, limit=60)
    assert np.unique(found.values[:, 0], return_counts=True)[1].tolist() == [5] * 12
    few = embedding.sample(Averages(), images, part.truth, None, CONTEXT, limit=5)
    assert len(few.values) == 5
    all_of_them = embedding.sample(Averages(), part.images, part.truth, None, CONTEXT)
    assert len(np.unique(all_of_them.values, axis=0)) == len(all_of_them.values) == 12 * 16
    assert found.surfaces == ()


def test_one_seed_chooses_one_sample(part):
    first, same, other = (
        embedding.sample(Averages(), part.images, part.truth, None, CONTEXT, 50, seed).values for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("whole", [False, True])
def test_the_surface_of_a_patch_set_is_found_by_patch(part, tmp_path, monkeypatch, whole):
    values = np.arange(12, dtype=np.uint8) if whole else stratum(part).values
    arrays = patchset.Arrays(
        toa=part.images.toa, mask=part.truth, strata={"surface": values}, legends={"surface": {0: "sea", 1: "sand"}},
        ids=tuple("abcdefghijkl"), scenes=part.scenes, bands=part.images.bands, time=part.images.time,
        lat=part.images.lat, lon=part.images.lon, sun_zenith=part.images.sun_zenith, attrs={}, fingerprint="",
    )  # fmt: skip
    monkeypatch.setattr(patchset, "arrays", lambda store: arrays)
    found = embedding.surface_of(tmp_path, ["c", "a"])
    np.testing.assert_array_equal(found.values, values[[2, 0]])
    assert found.legend[1] == "sand"
    tokens = embedding.sample(
        Averages(), part.images.take(np.array([2, 0])), part.truth[[2, 0]], found, CONTEXT, limit=1000
    )
    names = {"2", "sea"} if whole else {"sand", "4"}  # the ice is nowhere the commonest
    assert {tokens.surfaces[one] for one in tokens.surface} == names
    arrays.strata.clear()
    assert embedding.surface_of(tmp_path, ["c"]) is None


def test_a_surface_may_be_a_word_for_each_patch(tmp_path):
    path, words = tmp_path / "words.zarr", ["sea", "crop", "sea"]
    attrs = {"sensor": "test", "label_source": "constructed", "label_bands": [], "licence": "none"}
    with patchset.PatchWriter(path, bands(HLS5), attrs) as writer:
        toa, mask = toa_and_mask(3, 32, HLS5, seed=0)
        time, where = np.full(3, np.datetime64("2024-07-01T10:00:00", "s")), np.full(3, 40.0)
        writer.append(list("abc"), "scene", toa, mask, {"surface": np.array(words)}, time, where, where, where)
    found = embedding.surface_of(path, ["b", "c"])
    assert [found.legend[code] for code in found.values] == ["crop", "sea"]
    tokens = embedding.sample(Averages(), make_images(toa[1:]), np.zeros_like(mask[1:]), found, CONTEXT)
    assert [tokens.surfaces[one] for one in tokens.surface] == ["crop"] * 16 + ["sea"] * 16


@pytest.mark.parametrize(("patches", "shown"), [(1, 1), (10, 10), (64, 64), (65, 64), (1000, 64)])
def test_few_patches_are_spread_evenly(patches, shown):
    found = embedding.few(patches)
    assert len(np.unique(found)) == len(found) == shown
    assert (found[0], found[-1]) == (0, patches - 1)
    assert np.ptp(np.diff(found)) <= 1 if patches > 2 else True


# Two dimensions


def test_umap_is_the_same_again_and_keeps_apart_what_is_apart(part, tmp_path):
    path = embedding.keep(Averages(), part.images, part.truth, stratum(part), CONTEXT, tmp_path)
    found = embedding.read(tmp_path)
    assert path == tmp_path / embedding.FILE
    assert found.projection == "UMAP"
    assert found.points.shape == (192, 2)
    assert found.points.dtype == np.float32
    assert np.isfinite(found.points).all()
    assert found.surfaces == ("sea", "sea_ice", "crop")
    cloud, clear = found.points[found.cloud], found.points[~found.cloud]
    spread = max(np.median(np.linalg.norm(one - np.median(one, 0), axis=1)) for one in (cloud, clear))
    assert np.linalg.norm(np.median(cloud, 0) - np.median(clear, 0)) > spread
    again = embedding.project(embedding.sample(Averages(), part.images, part.truth, None, CONTEXT).values)[0]
    np.testing.assert_array_equal(again, found.points)


def test_without_umap_the_picture_says_pca(part, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    embedding.keep(Averages(), part.images, part.truth, None, CONTEXT, tmp_path)
    found = embedding.read(tmp_path)
    assert found.projection == "PCA"
    assert found.surfaces == ()
    apart = found.points[found.cloud, 0].mean() - found.points[~found.cloud, 0].mean()
    assert abs(apart) > 2 * found.points[found.cloud, 0].std()  # cloud is what these patches vary by most


def test_what_cannot_be_shown_leaves_no_file(part, tmp_path):
    assert embedding.keep(object(), part.images, part.truth, None, CONTEXT, tmp_path) is None
    nothing = np.full_like(part.truth, IGNORE)
    assert embedding.keep(Averages(), part.images, nothing, None, CONTEXT, tmp_path) is None
    assert not list(tmp_path.iterdir())
    assert embedding.read(tmp_path) is None


# The picture

ROWS = (
    "prithvi-tiny-pretrained-unfrozen",
    "prithvi-tiny-pretrained-frozen",
    "prithvi-tiny-random-linear",
    "prithvi-tiny-random-frozen",
    "prithvi-300-pretrained-lora",
)


def shown(out, surfaces=("sea", "crop"), rows=ROWS):
    """A plan with points for these rows; a probe has the points of its frozen row."""
    plan = make_plan(out, [Spec("lightgbm", "boosting"), *(Spec(row, "foundation") for row in rows)])
    for cell in plan.cells[1:]:
        rng = np.random.default_rng(list(cell.row.replace("linear", "frozen").encode()))
        points, cloud = rng.normal(size=(300, 2)), rng.random(300) > 0.5
        points[cloud] += 3
        surface = rng.integers(0, max(1, len(surfaces)), 300)
        columns = {"points": points.astype(np.float32), "cloud": cloud, "surface": surface}
        names = np.array(surfaces, dtype=str)
        np.savez(cell.folder(out) / embedding.FILE, surfaces=names, projection=np.array("PCA"), **columns)
    return leaderboard(plan, out), lines(plan, out), out / "embedding.png"


def test_starts_stand_side_by_side_and_shared_points_once(tmp_path):
    _, found, _ = shown(tmp_path)
    pairs = [(line, kept) for line in found if (kept := embedding.read(line.first.folder(tmp_path)))]
    assert [line.first.row for line, _ in _embedding_plot.arranged(pairs)] == [
        "prithvi-tiny-random-frozen",
        "prithvi-tiny-pretrained-frozen",
        "prithvi-tiny-pretrained-unfrozen",
        "prithvi-300-pretrained-lora",
    ]


@pytest.mark.parametrize("surfaces", [(), ("sea", "crop")])
def test_a_panel_per_row_by_class_and_by_surface(tmp_path, surfaces):
    frame, found, path = shown(tmp_path, surfaces)
    assert _embedding_plot.embedding(frame, found, path) == path
    picture = np.asarray(Image.open(path).convert("RGB"))
    colours = set(map(tuple, picture.reshape(-1, 3).tolist()))
    wanted = {*_embedding_plot.CLASSES.values(), *_embedding_plot.SURFACES[: len(surfaces)]}
    assert {tuple(bytes.fromhex(one[1:])) for one in wanted} <= colours
    height = (0.6 + (_embedding_plot.SIDE + 0.3) * (1 + bool(surfaces))) * DPI
    assert abs(picture.shape[0] - height) <= 1


def test_so_many_panels_and_no_more(tmp_path):
    rows = [f"fm:backbone{place}-random-frozen" for place in range(14)]
    frame, found, path = shown(tmp_path, rows=rows)
    assert _embedding_plot.embedding(frame, found, path) == path
    bands = 3 * 2
    assert abs(Image.open(path).height - (0.6 + (_embedding_plot.SIDE + 0.3) * bands) * DPI) <= 1


def test_without_an_embedding_nothing_is_drawn(tmp_path):
    frame, found, path = shown(tmp_path, rows=())
    assert _embedding_plot.embedding(frame, found, path) is None
    assert not path.exists()
