"""What a random split would have claimed: measured as every cell is, kept once, told and never used."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from patch_factory import bands, toa_and_mask
from typer.testing import CliRunner

from benchmark import cell, optimism, planner, random_split, record, splits
from benchmark.api import UserError
from benchmark.cli_data import app
from benchmark.patchset import PatchWriter
from benchmark.plan import Plan

ATTRS = {"sensor": "test", "label_source": "drawn", "label_bands": [], "licence": "none"}


def write(path: Path, per_scene: int) -> Path:
    """Write nine scenes, each with a brightness of its own that decides whether bright or dark is cloud."""
    with PatchWriter(path, bands(), ATTRS) as writer:
        for scene in range(9):
            toa, mask = toa_and_mask(per_scene, 32, seed=scene, invalid=False)
            swapped = scene % 2 == 1
            names = [f"s{scene}p{row}" for row in range(per_scene)]
            writer.append(names, f"s{scene}", toa + 0.1 * scene, (1 - mask if swapped else mask).astype(np.uint8))
    splits.write(splits.by_group(path, seed=1), splits.split_path(path))
    return path


def plan_of(store: Path, out: Path, rows: tuple[str, ...] = ("lightgbm",), **values: object) -> Plan:
    given = {"trials": 0, "device": "cpu", "whole": True} | values
    return planner.make(planner.Asked(rows, str(store), "smoke", out=out, **given), lambda done, total: None)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, optimism.Optimism]:
    out = tmp_path_factory.mktemp("out")
    plan = plan_of(write(out / "scenes.zarr", 6), out)
    return plan, out, random_split.measure(plan, out)


def test_a_scene_learnt_by_heart_is_optimism(measured: tuple[Plan, Path, optimism.Optimism]) -> None:
    plan, _, found = measured
    assert len(found.random) == random_split.SPLITS
    assert found.gain() > 0.2
    assert found.gain("kuiper") > 0.2
    assert {"jaccard", "mcc", "f1"} <= set(found.honest) == set(found.random[0])
    assert found.sizes == {part: len(ids) for part, ids in splits.read(plan.split, plan.store).parts.items()}
    assert found.scenes == 2
    told = optimism.tell(found)
    assert f"reaches a macro Jaccard index of {found.honest['jaccard']:.3f} on the split by scene" in told
    assert f"{found.gain():+.3f} on average" in told


def test_it_is_measured_once_and_leaves_nothing_else(
    measured: tuple[Plan, Path, optimism.Optimism], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out, found = measured
    assert optimism.read(plan, out) == found
    assert not list(out.glob(".optimism-*"))
    assert not (out / "runs").exists()
    assert [path.name for path in (out / "splits").iterdir()] == [plan.split.name]
    monkeypatch.setattr(cell, "run", lambda bench: pytest.fail("it was fitted again"))
    assert random_split.measure(plan, out) == found
    stale = replace(plan, cells=(replace(plan.cells[0], code="other"),))
    assert optimism.read(stale, out) is None


def test_the_record_of_the_plan_is_the_honest_score(
    measured: tuple[Plan, Path, optimism.Optimism], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, found = measured
    (tmp_path / "out").mkdir()
    (one,) = plan.cells
    one.folder(tmp_path / "out").mkdir(parents=True)
    cell.main(plan, tmp_path / "out")
    done = record.read(one.folder(tmp_path / "out"))
    assert done is not None
    runs = []
    monkeypatch.setattr(cell, "run", lambda bench: (runs.append(bench.split) or done, None))
    again = random_split.measure(plan, tmp_path / "out")
    assert again.honest == found.honest
    assert [split.unit for split in runs] == ["patch"] * random_split.SPLITS


def test_a_random_split_has_the_same_patches_and_sizes(measured: tuple[Plan, Path, optimism.Optimism]) -> None:
    plan, _, _ = measured
    split = splits.read(plan.split, plan.store)
    drawn = [random_split.random_split(split, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for one in drawn:
        assert sorted(chain(*one.parts.values())) == sorted(chain(*split.parts.values()))
        assert [len(ids) for ids in one.parts.values()] == [len(ids) for ids in split.parts.values()]
    splits.write(drawn[0], plan.split.with_name("random.json"))
    with pytest.raises(UserError, match=r"^scene 's.' is in .* and, as patch"):
        splits.read(plan.split.with_name("random.json"), plan.store)
    plan.split.with_name("random.json").unlink()


def test_one_patch_a_scene_is_said_to_be_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path / "single.zarr", 1)
    monkeypatch.setattr(cell, "run", lambda bench: pytest.fail("there is nothing to fit"))
    result = CliRunner().invoke(app, ["check", str(store), "--optimism", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == (
        "optimism: every scene has one patch, so a random split is the same thing as the split by it"
    )
    (file,) = (tmp_path / "out" / "optimism").iterdir()
    assert json.loads(file.read_text())["same"] is True


def test_a_plan_without_the_row_says_so(tmp_path: Path) -> None:
    plan = plan_of(write(tmp_path / "single.zarr", 1), tmp_path, ("majority",))
    assert optimism.read(plan, tmp_path) is None
    with pytest.raises(UserError, match="measured with the row lightgbm: the plan lacks it"):
        random_split.measure(plan, tmp_path)
