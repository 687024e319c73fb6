"""The leak guard: every planted leak is refused with its pairs, and sound data are not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_factory import bands, toa_and_mask
from typer.testing import CliRunner

from benchmark import _near_duplicates as near
from benchmark import leaks, patchset, splits
from benchmark.api import ELEVATION, REFLECTANCE, UserError
from benchmark.cli_data import app
from benchmark.patchset import PatchWriter, Table

SIZE = 64
ATTRS = {"sensor": "test", "label_source": "drawn", "label_bands": [], "licence": "none"}
PARTS = {"train": ["a0", "a1", "b0", "b1"], "val": ["c0", "c1"], "test": ["d0", "d1"]}


def table(days: list[str] | None = None, **columns: tuple[str, ...]) -> Table:
    """Return eight patches of four scenes, a day apart where no days are given."""
    ids = tuple(f"{scene}{row}" for scene in "abcd" for row in range(2))
    days = days or [f"2024-07-0{1 + place // 2}T10:00" for place in range(8)]
    values = {"scenes": tuple(patch[0] for patch in ids), "sha256": ids} | columns
    return Table(ids=ids, time=np.array(days, "datetime64[s]"), **values)


def states(rows: Table, unit: str = "scene") -> dict[str, str]:
    return {one.check: one.state for one in leaks.known(rows, PARTS, unit)}


def square(lon: float) -> str:
    return f"POLYGON (({lon} 0, {lon + 1} 0, {lon + 1} 1, {lon} 1, {lon} 0))"


def test_what_is_not_known_is_told_and_not_a_fault() -> None:
    assert states(table()) == {
        "scene": "ok", "content": "ok", "orbit": "not checked", "date": "not checked", "footprint": "not checked"
    }  # fmt: skip
    found = {one.check: one.told for one in leaks.known(table(["NaT"] * 8), PARTS, "scene")}
    assert found["date"] == "no times"
    assert found["footprint"] == "the patch set has no footprints"


@pytest.mark.parametrize(
    ("check", "rows", "sentence", "pairs"),
    [
        (
            "scene",
            table(scenes=("a", "a", "b", "b", "c", "c", "a", "c")),
            r"scene 'a' is in train and, as patch 'd0', in test \(2 such pairs: 'a0' and 'd0', 'c0' and 'd1'\)",
            (("a0", "d0"), ("c0", "d1")),
        ),
        (
            "content",
            table(sha256=("1", "2", "3", "4", "5", "6", "7", "2")),
            r"content of patch 'a1' is in train and, as patch 'd1', in test \(1 such pair: 'a1' and 'd1'\)",
            (("a1", "d1"),),
        ),
        (
            "orbit",
            table(orbits=("1", "1", "2", "2", "2", "2", "2", "2")),
            r"orbit '2' is in train and, as patch 'c0', in val \(4 such pairs: .*'b0' and 'd0', \.\.\.\)",
            (("b0", "c0"), ("b0", "c1"), ("b0", "d0"), ("b0", "d1")),
        ),
        (
            "footprint",
            table(["2024-07-01"] * 8, footprints=tuple(square(lon) for lon in (0, 2, 4, 6, 8, 10, 4.5, 12))),
            r"patches 'b0' of train and 'd0' of test overlap on the ground less than 12 hours apart \(1 such pair",
            (("b0", "d0"),),
        ),
    ],
)
def test_a_planted_leak_is_refused_with_its_pairs(
    check: str, rows: Table, sentence: str, pairs: tuple[tuple[str, str], ...]
) -> None:
    findings = leaks.known(rows, PARTS, "scene")
    assert {one.check: one.pairs for one in findings if one.state == leaks.FAULT} == {check: pairs}
    with pytest.raises(UserError, match=sentence):
        leaks.refuse(findings)


def test_several_faults_are_all_named() -> None:
    rows = table(scenes=("a",) * 8, orbits=("1",) * 8)
    with pytest.raises(UserError, match=r"^scene 'a' is in train .*; also at fault: orbit$"):
        leaks.refuse(leaks.known(rows, PARTS, "scene"))
    assert states(table(orbits=("1",) * 8), "block")["orbit"] == leaks.UNCHECKED


def test_days_of_two_parts_keep_the_gap_of_the_split() -> None:
    assert states(table(), "date")["date"] == states(table(), "date:1")["date"] == "ok"
    findings = leaks.known(table(), PARTS, "date:2")
    with pytest.raises(
        UserError, match=r"patch 'b0' of train is of 2024-07-02 and 'c0' of val of 2024-07-03, .* 2 day"
    ):
        leaks.refuse(findings)
    assert {one.check: one.pairs for one in findings}["date"] == (("b0", "c0"), ("c0", "d0"))
    wider = table([f"2024-07-{day}T23:59" for day in ("01", "01", "02", "02", "05", "05", "10", "10")])
    told = {one.check: one.told for one in leaks.known(wider, PARTS, "date:3")}["date"]
    assert told == "days of two parts are 3 or more apart, the gap being 3"
    with pytest.raises(UserError, match="'date:soon' names no number of days"):
        leaks.gap_days("date:soon")


def test_a_scene_over_midnight_is_of_the_day_it_began() -> None:
    days = ["2024-07-01T23:59", "2024-07-02T00:01", *["2024-06-01"] * 2, *["2024-07-02T12"] * 2, *["2024-08-01"] * 2]
    assert states(table(days), "date")["date"] == "ok"
    days[0] = "NaT"
    assert states(table(days), "date")["date"] == "fault"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=8, max_size=8), st.integers(1, 9))
def test_groups_by_date_stand_the_check_of_their_gap(days: list[int], gap: int) -> None:
    days = sorted(days)
    rows = table([str(np.datetime64("2024-01-01") + days[place // 2 * 2]) for place in range(8)])
    unit = f"date:{gap}"
    if len(set(splits.groups_of(rows, unit))) < 3:
        with pytest.raises(UserError, match="a split by date"):
            splits.group_parts(rows, unit)
    else:
        parts = splits.group_parts(rows, unit)
        assert {one.check: one.state for one in leaks.known(rows, parts, unit)}["date"] == "ok"


ORIENTATIONS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda toa, turns=turns, flip=flip: np.rot90(toa[..., ::-1] if flip else toa, turns, (-2, -1))
    for flip in (False, True)
    for turns in range(4)
]


def noise(shape: tuple[int, ...], spread: float, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_a_turned_copy_with_noise_is_found_and_nothing_else(turn: Callable[[np.ndarray], np.ndarray]) -> None:
    toa, _ = toa_and_mask(12, SIZE, seed=3)
    toa[9] = turn(toa[0]) + noise(toa[0].shape, 0.01)
    found = near.pairs(toa, [range(6), range(6, 9), range(9, 12)], [REFLECTANCE] * 5)
    assert [pair[:2] for pair in found] == [(0, 9)]
    assert 0.7 < found[0][2] <= 1


@pytest.mark.parametrize("across", [100, 57])
def test_a_copy_of_clear_sea_is_told_from_other_clear_sea(across: int) -> None:
    """Gradients, glint, a sensor's stripes, one small cloud, and the same swath edge are no likeness."""
    y, x = (np.mgrid[:96, :across].T / 96).T
    rng = np.random.default_rng(0)
    sea = 0.03 + noise((40, 3, 96, across), 0.002)
    slope, glint = rng.normal(0, 0.03, (2, 40, 1, 1, 1))
    sea += slope * x + glint * np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) / 0.3)
    sea += noise((1, 3, 96, 1), 0.003, 6)
    for patch, row, column in zip(sea, *rng.integers(25, 50, (2, 40)), strict=True):
        patch[:, row : row + 4, column : column + 4] = 0.5
    sea[:, :, x + y < 0.4] = np.nan
    images = near.small_images(sea, range(40), [REFLECTANCE] * 3)
    alike = near.correlation(images, images)
    assert np.allclose(np.diag(alike), 1, atol=1e-5)
    assert alike[~np.eye(40, dtype=bool)].max() < 0.5 < near.ALIKE


@pytest.mark.parametrize("share", [0.0006, 0.02])
def test_a_copy_is_found_through_its_own_holes(share: float) -> None:
    toa, _ = toa_and_mask(6, 224, seed=3, invalid=False)
    toa[5] = toa[0]
    for number in (0, 5):
        toa[number][:, np.random.default_rng(number).random((224, 224)) < share] = np.nan
    assert [pair[:2] for pair in near.pairs(toa, [range(3), range(3, 6)], [REFLECTANCE] * 5)] == [(0, 5)]


def test_a_copy_is_found_where_half_of_it_is_seen() -> None:
    toa, _ = toa_and_mask(6, 224, seed=3, invalid=False)
    toa[5] = toa[0]
    toa[:, :, 110:] = np.nan
    assert [pair[:2] for pair in near.pairs(toa, [range(3), range(3, 6)], [REFLECTANCE] * 5)] == [(0, 5)]


def test_the_same_mountains_in_another_weather_are_no_copy() -> None:
    toa, _ = toa_and_mask(6, SIZE, seed=3)
    heights = np.concatenate([1000 * toa[1:2, :1].repeat(6, 0), toa], axis=1)
    found = near.small_images(heights, range(6), [ELEVATION] + [REFLECTANCE] * 5)
    assert np.array_equal(found, near.small_images(toa, range(6), [REFLECTANCE] * 5))


def test_what_has_no_structure_is_like_nothing() -> None:
    level = np.full((4, 2, 32, 32), 0.7, np.float32) + np.arange(4, dtype=np.float32)[:, None, None, None] / 100
    level[3] = np.nan
    assert near.pairs(level, [[0, 3], [1], [2]], [REFLECTANCE] * 2) == []


def write(path: Path, copy: bool) -> Path:
    """Write four scenes; the last may hold a scene of train, turned, under a name of its own."""
    with PatchWriter(path, bands(), ATTRS) as writer:
        for place, scene in enumerate("abcd"):
            toa, mask = toa_and_mask(2, SIZE, seed=0 if copy and scene == "d" else place, invalid=False)
            if scene == "d":
                toa, mask = (np.ascontiguousarray(np.rot90(values, 1, (-2, -1))) for values in (toa, mask))
            writer.append([f"{scene}0", f"{scene}1"], scene, toa, mask)
    splits.write(splits.from_parts(path, PARTS), splits.split_path(path))
    return path


def verdict(store: Path) -> leaks.Finding:
    split = splits.read(splits.split_path(store), store)
    return leaks.near_duplicates(store, split.parts, splits.split_hash(split))


def test_near_duplicates_are_refused_and_the_verdict_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path / "copy.zarr", copy=True)
    found = verdict(store)
    assert set(found.pairs) == {("a0", "d0"), ("a1", "d1")}
    with pytest.raises(UserError, match=r"patches 'a.' of train and 'd.' of test are nearly the same.*\(2 such pairs"):
        leaks.refuse([found])
    monkeypatch.setattr(near, "pairs", lambda *args: pytest.fail("it was looked for again"))
    assert verdict(store) == found
    (file,) = (tmp_path / "copy.leaks").iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"of": ["another", "rule"]}))
    with pytest.raises(pytest.fail.Exception, match="looked for again"):
        verdict(store)


def test_sound_patches_pass_and_tiny_ones_are_not_judged(tmp_path: Path) -> None:
    assert verdict(write(tmp_path / "sound.zarr", copy=False)).state == leaks.OK
    with PatchWriter(tmp_path / "tiny.zarr", bands(), ATTRS) as writer:
        toa, mask = toa_and_mask(3, 16, seed=0)
        writer.append(["x", "y", "z"], ["1", "2", "3"], toa, mask)
    parts = {"train": ["x"], "val": ["y"], "test": ["z"]}
    found = leaks.near_duplicates(tmp_path / "tiny.zarr", parts, "hash")
    assert (found.state, found.told) == (leaks.UNCHECKED, "patches of 16x16 pixels are too small to compare")


def test_check_prints_a_line_per_check_even_where_the_split_leaks(tmp_path: Path) -> None:
    store = write(tmp_path / "copy.zarr", copy=True)
    path = splits.split_path(store)
    # A split file as nobody here would write it: val and test share scene c, and its hash is right.
    given = json.loads(path.read_text())
    given["parts"]["val"], given["parts"]["test"] = ["c0"], ["c1", "d0", "d1"]
    split = splits.Split(given["unit"], given["data"], given["parts"], given["patches"], given["scenes"])
    splits.write(split, path)
    with pytest.raises(UserError, match="scene 'c' is in val and, as patch 'c1', in test"):
        splits.read(path, store)
    result = CliRunner().invoke(app, ["check", str(store)])
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.split(":")[0].split()[-1] for line in lines[2:]] == [
        "scene", "content", "orbit", "date", "footprint", "near-duplicate"
    ]  # fmt: skip
    assert [line.split("  ")[0].strip() for line in lines if line.startswith("fault")] == ["fault", "fault"]
    assert "(2 such pairs: 'a" in lines[-1]


@pytest.mark.skipif("NEPHOSCOPE_L8BIOME" not in os.environ, reason="NEPHOSCOPE_L8BIOME names no folder of patches")
def test_no_alarm_on_real_patches(tmp_path: Path) -> None:
    store = tmp_path / "l8.zarr"
    result = CliRunner().invoke(app, ["import", os.environ["NEPHOSCOPE_L8BIOME"], "--out", str(store)])
    assert result.exit_code == 0, result.output
    arrays = patchset.arrays(store)
    images = near.small_images(arrays.toa, range(len(arrays.ids)), [band.quantity for band in arrays.bands])
    alike = near.correlation(images, images)
    assert np.triu(alike, 1).max() < 0.3
    assert (np.diag(near.correlation(images, np.rot90(images, 1, (-2, -1))[..., ::-1])) > 0.99).all()
