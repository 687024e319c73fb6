"""Splits: nothing leaks, nothing is lost, nothing depends on luck."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark import splits
from benchmark.api import REFLECTANCE, Band, UserError, digest
from benchmark.patchset import PatchWriter, Table

ATTRS = {"sensor": "test", "label_source": "drawn", "label_bands": [], "licence": "none"}
BANDS = (Band("S1", "GREEN", 0.554, REFLECTANCE),)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes one patch for each (id, scene, time, value)."""

    def write(*patches: tuple[str, str, str, float]) -> Path:
        with PatchWriter(tmp_path / "set.zarr", BANDS, ATTRS) as writer:
            for patch, scene, time, value in patches:
                toa = np.full((1, 1, 2, 2), value, np.float32)
                writer.append([patch], scene, toa, np.zeros((1, 2, 2), np.uint8), time=time)
        return tmp_path / "set.zarr"

    return write


def nine(make: Make) -> Path:
    """Write patches p0 to p8, two a scene and the last alone, a scene a day."""
    return make(*((f"p{n}", f"s{n // 2}", f"2021-08-{10 + n // 2}T23:5{n}:00", n / 10) for n in range(9)))


PARTS = {"train": ["p1", "p0", "p2", "p3"], "val": ["p4", "p5"], "test": ["p6", "p7"]}


def test_a_split_is_read_as_written(make: Make) -> None:
    store = nine(make)
    split = splits.from_parts(store, PARTS)
    assert split.parts["train"] == ("p0", "p1", "p2", "p3")
    path = splits.split_path(store)
    splits.write(split, path)
    assert path.name == "set.split.json"
    assert splits.read(path) == splits.read(path, store) == split
    assert json.loads(path.read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test": ["p6", "nope"]}, "split names patch 'nope', which is not in set.zarr"),
        ({"test": ["p6", "p0"]}, "split names patch 'p0' twice, in train and in test"),
        ({"test": ["p6", "p6"]}, "split names patch 'p6' twice, in test and in test"),
        ({"val": []}, "part 'val' of the split is empty"),
        ({"val": ["p4"], "test": ["p5"]}, "scene 's2' is in val and, as patch 'p5', in test"),
        ({"dev": ["p8"]}, "the split has a part 'dev'"),
    ],
)
def test_a_fault_is_named(make: Make, changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        splits.from_parts(nine(make), PARTS | changes)


def test_a_copy_under_another_name_leaks(make: Make) -> None:
    store = make(("a", "s1", "NaT", 0.1), ("b", "s2", "NaT", 0.2), ("c", "s3", "NaT", 0.1))
    with pytest.raises(UserError, match="content of patch 'a' is in train and, as patch 'c', in test"):
        splits.from_parts(store, {"train": ["a"], "val": ["b"], "test": ["c"]})


def test_other_content_is_found(make: Make) -> None:
    store = nine(make)
    path = splits.split_path(store)
    splits.write(splits.from_parts(store, PARTS), path)
    make(*((f"p{n}", f"s{n // 2}", "NaT", (n + (n == 5) * 0.5) / 10) for n in range(9)))
    with pytest.raises(
        UserError, match=r"patch 'p5' of set.zarr has not the content that set.split.json was made with"
    ):
        splits.read(path)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda values: values["parts"]["test"].append(values["parts"]["val"].pop()), "was changed after"),
        (lambda values: values.update(schema=9), "was changed after"),
        (lambda values: values.pop("parts"), "is not a split: KeyError 'parts'"),
        (lambda values: values.update(patches=7), "is not a split: TypeError"),
    ],
)
def test_an_edited_file_is_refused(make: Make, edit: Callable, sentence: str) -> None:
    store = nine(make)
    path = splits.split_path(store)
    splits.write(splits.from_parts(store, PARTS), path)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=sentence):
        splits.read(path)


def test_a_file_that_is_no_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no split at"):
        splits.read(tmp_path / "set.split.json")
    (tmp_path / "set.split.json").write_text("train: all of them")
    with pytest.raises(UserError, match="is not a split"):
        splits.read(tmp_path / "set.split.json")


def test_by_date_keeps_days_whole_and_needs_times(make: Make) -> None:
    times = ["2021-01-01T01", "2021-01-01T22", "2021-01-02T01", "2021-01-03T01", "2021-01-03T05", "2021-01-04T01"]
    store = make(*((f"p{n}", f"s{n}", time, n / 10) for n, time in enumerate(times)))
    split = splits.by_group(store, "date")
    where = {patch: part for part, ids in split.parts.items() for patch in ids}
    assert split.unit == "date"
    assert where["p0"] == where["p1"]
    assert where["p3"] == where["p4"]
    store = make(("a", "s1", "2021-01-01", 0.1), ("b", "s2", "NaT", 0.2), ("c", "s3", "2021-01-02", 0.3))
    with pytest.raises(UserError, match="patch 'b' has no time, which a split by date needs"):
        splits.by_group(store, "date")


def test_too_few_groups_or_another_unit(make: Make) -> None:
    store = make(("a", "s1", "2021-01-01", 0.1), ("b", "s2", "2021-01-01", 0.2), ("c", "s3", "2021-01-01", 0.3))
    with pytest.raises(UserError, match=r"the patch set has 1 date\(s\); a split by date needs 3"):
        splits.by_group(store, "date")
    with pytest.raises(UserError, match="not by 'patch'"):
        splits.by_group(store, "patch")
    assert all(len(ids) == 1 for ids in splits.by_group(store, "scene").parts.values())


def test_the_hash_hangs_on_content_not_on_names(make: Make) -> None:
    store = nine(make)
    before = splits.split_hash(splits.from_parts(store, PARTS))
    make(*((f"renamed{n}", f"t{n // 2}", "NaT", n / 10) for n in range(9)))
    renamed = {part: [patch.replace("p", "renamed") for patch in ids] for part, ids in PARTS.items()}
    assert splits.split_hash(splits.from_parts(store, renamed)) == before
    swapped = PARTS | {"val": PARTS["test"], "test": PARTS["val"]}
    nine(make)
    assert splits.split_hash(splits.from_parts(store, swapped)) != before


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Return 3 to 12 scenes of 1 to 9 patches, in shuffled order, over some days."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=3, max_size=12))
    scenes = draw(st.permutations([f"s{scene}" for scene, size in enumerate(sizes) for _ in range(size)]))
    days = draw(st.lists(st.integers(0, 5), min_size=len(scenes), max_size=len(scenes)))
    time = np.datetime64("2021-08-27T23:59:59") + np.array(days).astype("timedelta64[D]")
    ids = tuple(f"p{row}" for row in range(len(scenes)))
    return Table(ids, tuple(scenes), tuple(digest(patch) for patch in ids), time.astype("datetime64[s]"))


def split_of(rows: Table, seed: int = 0) -> splits.Split:
    parts = {part: tuple(ids) for part, ids in splits.group_parts(rows, "scene", seed=seed).items()}
    patches, scenes = (dict(zip(rows.ids, values, strict=True)) for values in (rows.sha256, rows.scenes))
    return splits.Split("scene", "f", parts, patches, scenes)


@settings(max_examples=60, deadline=None)
@given(rows=tables(), seed=st.integers(0, 99))
def test_by_scene_is_a_partition_of_whole_scenes(rows: Table, seed: int) -> None:
    split = split_of(rows, seed)
    assert sorted(patch for ids in split.parts.values() for patch in ids) == sorted(rows.ids)
    scenes = [{split.scenes[patch] for patch in ids} for ids in split.parts.values()]
    assert all(scenes)
    assert sum(map(len, scenes)) == len(set(rows.scenes))
    assert split_of(rows, seed) == split
    largest = max(rows.scenes.count(scene) for scene in rows.scenes)
    for part, fraction in zip(splits.PARTS, splits.FRACTIONS, strict=True):
        # The last groups may be needed to fill empty parts, so two groups are the bound.
        assert abs(len(split.parts[part]) - fraction * len(rows.ids)) <= 2 * largest


@settings(max_examples=40, deadline=None)
@given(rows=tables(), seed=st.integers(0, 99))
def test_by_date_shares_neither_scene_nor_first_day(rows: Table, seed: int) -> None:
    began: dict[str, np.datetime64] = {}
    for scene, time in zip(rows.scenes, rows.time, strict=True):
        began[scene] = min(began.get(scene, time), time)
    assume(len({time.astype("datetime64[D]") for time in began.values()}) >= 3)
    scene_of = dict(zip(rows.ids, rows.scenes, strict=True))
    parts = splits.group_parts(rows, "date", seed=seed)
    days = [{began[scene_of[patch]].astype("datetime64[D]") for patch in ids} for ids in parts.values()]
    assert all(days)
    assert sum(map(len, days)) == len(set().union(*days))
    assert sorted(patch for ids in parts.values() for patch in ids) == sorted(rows.ids)


@settings(max_examples=60, deadline=None)
@given(rows=tables(), count=st.integers(1, 30))
def test_a_cut_is_exact_spread_nested_and_repeatable(rows: Table, count: int) -> None:
    split = split_of(rows)
    cut = splits.cap(split, {"train": count})
    train = cut.parts["train"]
    assert len(train) == min(count, len(split.parts["train"]))
    assert cut.parts["test"] == split.parts["test"]
    assert set(train) <= set(splits.cap(split, {"train": count + 1}).parts["train"])
    assert len({split.scenes[p] for p in train}) == min(count, len({split.scenes[p] for p in split.parts["train"]}))
    shuffled = replace(split, parts=split.parts | {"train": split.parts["train"][::-1]})
    assert set(splits.cap(shuffled, {"train": count}).parts["train"]) == set(train)
    assert set(cut.patches) == set(cut.scenes) == {patch for ids in cut.parts.values() for patch in ids}


def test_a_cut_to_nothing_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match="part 'val' of the split cannot be cut to 0 patches"):
        splits.cap(splits.from_parts(nine(make), PARTS), {"val": 0})
