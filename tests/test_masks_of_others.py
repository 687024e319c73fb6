"""Operational masks in a patch set: rows of their own, never truth, never a hidden input; and who is circular."""

import json
from dataclasses import replace

import numpy as np
import pytest
from patch_factory import HLS5, bands, toa_and_mask

from benchmark import data, patchset, planner, splits, strata
from benchmark.api import UserError
from benchmark.plan import from_json
from benchmark.views import tables

LABEL_BANDS = ["swir_1", "F9"]  # F9 is not among the bands of the set
MAPS = {"slstr_basic": ["green", "swir_1"]}


def write(path, label_bands=LABEL_BANDS, orbits=("a", "b", "c"), footprint=""):
    attrs = {"sensor": "test", "label_source": "drawn", "label_bands": label_bands, "licence": "none"}
    attrs |= {"maps": MAPS, "metadata": ["orbit", "footprint", "row"]}
    with patchset.PatchWriter(path, bands(HLS5), attrs) as writer:
        for scene in range(6):
            toa, mask = toa_and_mask(2, 32, HLS5, seed=scene)
            wrong = np.where(mask == 255, 255, mask ^ (np.arange(32) < 8)).astype(np.uint8)
            described = {"orbit": np.full(2, orbits[scene % len(orbits)]), "row": np.array([0, 32])}
            described |= {"footprint": np.full(2, footprint)} if footprint else {}
            known = {"land": np.ones(mask.shape, np.uint8), "slstr_basic": wrong, **described}
            time = np.datetime64(f"2024-07-0{scene + 1}T10:00:00", "s")
            writer.append([f"s{scene}p{i}" for i in range(2)], f"s{scene}", toa, mask, known, time)
    return path


PARTS = {
    part: [f"s{scene}p{i}" for scene in scenes for i in range(2)]
    for part, scenes in (("train", (0, 3)), ("val", (1, 4)), ("test", (2, 5)))
}


@pytest.fixture
def store(tmp_path):
    path = write(tmp_path / "others.zarr")
    splits.write(splits.from_parts(path, PARTS), splits.split_path(path))
    return path


def plan_of(store, out, rows, bands="all"):
    asked = planner.Asked(rows=rows, data=str(store), profile="smoke", bands=bands, out=out, trials=0)
    return planner.make(asked, lambda done, total: None)


def test_a_row_is_circular_by_the_bands_it_sees(store, tmp_path):
    seen = {cell.row: cell.circular for cell in plan_of(store, tmp_path, ("lightgbm", "slstr-basic")).cells}
    assert seen == {"lightgbm": ("swir_1",), "slstr-basic": ("swir_1",)}
    fewer = {c.row: c.circular for c in plan_of(store, tmp_path, ("lightgbm", "slstr-basic"), "green,red").cells}
    assert fewer == {"lightgbm": (), "slstr-basic": ("swir_1",)}


def test_circularity_changes_no_number_and_survives_the_plan_file(store, tmp_path):
    plan = plan_of(store, tmp_path, ("lightgbm",))
    assert from_json(json.loads(json.dumps(plan.to_json()))) == plan
    (cell,) = plan.cells
    assert cell.circular
    assert cell.key == replace(cell, circular=()).key


def test_operational_rows_come_with_all_where_the_data_hold_their_mask(store, tmp_path):
    names = {cell.row for cell in plan_of(store, tmp_path, ("all",)).cells}
    assert "slstr-basic" in names
    assert "slstr-bayes" not in names


def test_a_mask_that_is_asked_for_and_missing_is_not_run(store, tmp_path):
    (cell,) = plan_of(store, tmp_path, ("slstr-bayes",)).cells
    assert cell.absent == "the data set has no map 'slstr_bayes'"


def test_a_row_sees_the_maps_it_reads_and_no_other(store):
    split = splits.read(splits.split_path(store), store)
    opened = {
        reads: data.open_part(store, split, ("green",), "train", reads) for reads in (("land",), ("slstr_basic",))
    }
    for reads, part in opened.items():
        assert tuple(part.images.maps) == reads
        assert part.images.read_map(reads[0], slice(0, 3)).shape == (3, 32, 32)
    assert opened["land",].images.read_map("slstr_basic") is None
    truth = data.open_part(store, split, ("green",), "train", ("mask", "orbit", "truth"))
    assert truth.images.maps == {}


def test_masks_and_names_are_no_strata(store):
    split = splits.read(splits.split_path(store), store)
    assert set(strata.of_store(store, split.parts["test"])) == {"land", "coast"}


def test_an_orbit_on_two_sides_is_refused(tmp_path):
    store = write(tmp_path / "orbits.zarr", orbits=("a", "b"))
    with pytest.raises(UserError, match=r"orbit '[ab]' is in train and, as patch 's.p0', in"):
        splits.from_parts(store, PARTS)
    assert splits.from_parts(store, PARTS, "block").unit == "block"


def test_one_place_at_nearly_one_time_on_two_sides_is_refused(tmp_path):
    square = "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"
    apart = write(tmp_path / "days.zarr", footprint=square)
    assert splits.from_parts(apart, PARTS)
    ds = patchset.open_store(apart).load()
    attrs = {name: value for name, value in ds.attrs.items() if name != "fingerprint"}
    with patchset.PatchWriter(tmp_path / "hours.zarr", patchset.bands_of(ds), attrs) as writer:
        where = np.full(12, square)
        writer.append(ds.patch.values.tolist(), ds.scene.values.tolist(), ds.toa.values, ds.mask.values,
                      {"footprint": where}, np.datetime64("2024-07-01T10:00:00", "s"))  # fmt: skip
    with pytest.raises(UserError, match="overlap on the ground less than 12 hours apart"):
        splits.from_parts(tmp_path / "hours.zarr", PARTS)


def test_the_table_says_who_is_circular(store, tmp_path):
    plan = plan_of(store, tmp_path, ("majority", "lightgbm"))
    frame = tables.leaderboard(plan, tmp_path)
    assert dict(zip(frame["row"], frame["circular"], strict=True)) == {"majority": "", "lightgbm": "swir_1"}
    assert tables.circles(frame)[0].startswith("† circular")
    assert tables.marked("lightgbm", "swir_1") == "lightgbm †"
    assert tables.circles(frame.assign(circular="")) == []


def test_a_label_of_unknown_bands_is_told_from_an_independent_one(tmp_path):
    said = {}
    for name, label_bands in (("unknown", None), ("independent", [])):
        store = write(tmp_path / f"{name}.zarr", label_bands)
        splits.write(splits.from_parts(store, PARTS), splits.split_path(store))
        frame = tables.leaderboard(plan_of(store, tmp_path, ("lightgbm",)), tmp_path)
        said[name] = tables.circles(frame)
        assert tables.marked("lightgbm", frame["circular"][0]) == "lightgbm"
    assert said["independent"] == []
    assert "does not say which bands" in said["unknown"][0]
