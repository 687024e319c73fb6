from dataclasses import replace

import numpy as np
import pytest

from benchmark import catalog, data, planner, splits, weights
from benchmark.api import NotRun, UserError, Weights
from benchmark.profiles import MANY, PROFILES


def nothing(done, total):
    pass


def asked(store, out, **values):
    return planner.Asked(
        **{"rows": ("majority", "lightgbm"), "data": str(store), "profile": "smoke", "out": out} | values
    )


def test_every_row_gets_the_same_patches_bands_and_budget(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, rows=("all",)), nothing)
    assert {"prithvi-tiny-random-linear", "prithvi-tiny-random-lora"} <= {cell.row for cell in plan.cells}
    assert len({(cell.fingerprint, cell.split, cell.bands, cell.budget) for cell in plan.cells}) == 1
    assert len({cell.key for cell in plan.cells}) == len(plan.cells)


def test_split_is_cut_to_the_profile(store, tmp_path):
    plan = planner.make(asked(store, tmp_path), nothing)
    parts = splits.read(plan.split, plan.store).parts
    assert all(len(parts[part]) <= PROFILES["smoke"].patches[part] for part in parts)


def test_defaults_come_before_tuning_and_tuning_before_the_other_seeds(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, seeds=2), nothing)
    order = [(cell.row, cell.tuned, cell.seed) for cell in plan.cells]
    assert order == [
        ("majority", False, 0), ("majority", False, 1), ("lightgbm", False, 0), ("lightgbm", False, 1),
        ("lightgbm", True, 0), ("lightgbm", True, 1),
    ]  # fmt: skip


def test_no_trials_no_tuning(store, tmp_path):
    assert not [cell for cell in planner.make(asked(store, tmp_path, trials=0), nothing).cells if cell.tuned]


def test_a_budget_of_seconds_is_for_every_row_part_of_the_key_and_of_the_name(store, tmp_path):
    plain, timed, longer = (
        planner.make(asked(store, tmp_path, budget_seconds=seconds), nothing) for seconds in (None, 30.0, 60.0)
    )
    assert {cell.allowance for cell in plain.cells} == {0.0}
    assert {cell.allowance for cell in timed.cells} == {30.0}
    assert {cell.trials for cell in timed.cells} == {0, MANY}
    keys = [{cell.key for cell in plan.cells} for plan in (plain, timed, longer)]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 9
    assert [plan.name for plan in (plain, timed, longer)] == [f"{plain.name}{end}" for end in ("", "-30s", "-60s")]
    assert replace(timed.cells[0], allowance=0.0).key == plain.cells[0].key


def test_row_without_its_weights_says_why_and_what_to_do(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, rows=("prithvi-tiny-pretrained-frozen",)), nothing)
    cell = next(cell for cell in plan.cells if "pretrained" in cell.row)
    assert "Prithvi_EO_V2_tiny_TL.pt could not be had" in cell.absent
    assert "--weights-dir" in cell.absent


def test_weights_in_a_folder_are_found_and_pinned_by_their_bytes(store, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    file = folder / "Prithvi_EO_V2_tiny_TL.pt"
    keys = []
    for content in (b"one", b"other"):
        file.write_bytes(content)
        options = {"rows": ("prithvi-tiny-pretrained-frozen",), "weights_dir": folder, "trials": 0}
        plan = planner.make(asked(store, tmp_path, **options), nothing)
        assert plan.weights == {"prithvi-tiny-pretrained-frozen": str(file)}
        (cell,) = (cell for cell in plan.cells if "pretrained" in cell.row)
        assert not cell.absent
        keys.append(cell.key)
    assert keys[0] != keys[1]


def test_checkpoints_with_one_name_lie_in_folders_named_after_their_repositories(tmp_path):
    first, second = (Weights(f"timm/{name}", "model.safetensors") for name in ("vit.in1k", "resnet.in1k"))
    plain, own = tmp_path / "model.safetensors", tmp_path / "vit.in1k" / "model.safetensors"
    plain.touch()
    assert weights.locate(first, tmp_path) == plain
    own.parent.mkdir()
    own.touch()
    assert weights.locate(first, tmp_path) == own
    assert weights.locate(second, tmp_path) == plain


def test_missing_checkpoint_is_not_run():
    with pytest.raises(NotRun, match=r"a\.pt could not be had"):
        weights.locate(Weights("nobody/nothing", "a.pt"), None)


def test_checkpoints_that_are_on_no_hub_come_from_a_folder_or_from_pretrain(tmp_path):
    own, made = tmp_path / "own", tmp_path / "pretrained"
    wanted = Weights("", "tiny-simpretrained.pt")
    with pytest.raises(NotRun, match=r"tiny-simpretrained\.pt are not here.*`python -m benchmark pretrain` makes them"):
        weights.locate(wanted, own, True, made)
    with pytest.raises(NotRun, match=r"other\.pt are not here.*give it as --weights-dir"):
        weights.locate(Weights("", "other.pt"), None, True, made)
    for folder in (made, own):  # the user's own folder comes first
        folder.mkdir()
        (folder / wanted.file).touch()
        assert weights.locate(wanted, own, True, made) == folder / wanted.file
    with pytest.raises(NotRun, match="could not be had"):
        weights.locate(Weights("nobody/nothing", wanted.file), None, True, made)


def test_a_run_finds_what_pretrain_wrote_into_its_folder(store, tmp_path):
    row = catalog.row("prithvi-tiny-simpretrained-frozen")
    file = tmp_path / "pretrained" / row.weights.file
    options = {"rows": (row.name,), "trials": 0}
    first = planner.make(asked(store, tmp_path, **options), nothing).cells
    assert ["benchmark pretrain" in cell.absent for cell in first] == [cell.row == row.name for cell in first]
    file.parent.mkdir()
    file.write_bytes(b"weights")
    plan = planner.make(asked(store, tmp_path, **options), nothing)
    assert plan.weights == {row.name: str(file)}
    assert not any(cell.absent for cell in plan.cells)


def test_a_control_comes_along_also_where_its_row_cannot_run(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, rows=("prithvi-tiny-pretrained-frozen+skip",), trials=0), nothing)
    absent = {cell.row: bool(cell.absent) for cell in plan.cells}
    assert absent == {"prithvi-tiny-pretrained-frozen+skip": True, "prithvi-tiny-random-frozen+skip": False}
    assert plan.controls == ("prithvi-tiny-random-frozen+skip",)
    both = planner.make(asked(store, tmp_path, rows=tuple(absent), trials=0), nothing)
    assert [cell.row for cell in both.cells] == [cell.row for cell in plan.cells]
    assert both.controls == ()


def test_cells_carry_the_factors_of_their_row(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, rows=("prithvi-tiny-random-frozen",)), nothing)
    assert plan.cells[0].factors == catalog.row("prithvi-tiny-random-frozen").factors
    assert plan.cells[0].factors["mode"] == "frozen"


def test_study_runs_carry_their_names():
    found = {row.study_id for row in catalog.rows().values()} - {""}
    assert found == {*(f"exp_{i}" for i in range(8)), "exp_31", "exp_33"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": ("unnet",)}, "no row is called 'unnet'"),
        ({"profile": "huge"}, "no profile is called 'huge'"),
        ({"data": "nowhere"}, "no data set or folder 'nowhere'"),
        ({"bands": "S1,S99"}, "no band 'S1'"),
        ({"device": "tpu"}, "no device is called 'tpu'"),
        ({"device": "cuda:77"}, "'cuda:77' is not on this machine"),
        ({"suite": "huge"}, "no suite or file 'huge'"),
        ({"patches": "3,2"}, "--patches takes how many .*, and not '3,2'"),
        ({"patches": "3,2,0"}, "--patches takes how many .*, and not '3,2,0'"),
        ({"patches": "3,2,one"}, "--patches takes how many .*, and not '3,2,one'"),
        ({"budget_seconds": 5.0, "trials": 3}, "--budget-seconds and --trials contradict each other"),
        ({"patches": "3,2,1", "whole": True}, "--whole and --patches contradict each other"),
    ],
)
def test_faults_are_one_sentence(store, tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence):
        planner.make(asked(store, tmp_path, **change), nothing)


def test_folder_that_nothing_recognises(tmp_path):
    with pytest.raises(UserError, match="neither a Zarr patch set nor a folder"):
        data.prepare(str(tmp_path), PROFILES["smoke"], tmp_path, nothing)


def test_parts_share_no_scene(store):
    split = splits.read(splits.split_path(store), store)
    opened = {part: data.open_part(store, split, ("green", "red"), part, ()) for part in ("train", "val")}
    assert not set(opened["train"].scenes) & set(opened["val"].scenes)
    assert opened["train"].images.read(slice(0, 1)).shape == (1, 2, 32, 32)
    assert np.isin(opened["val"].masks(), (0, 1, 255)).all()


def test_a_part_holds_its_own_patches_and_no_others(store):
    """A method is handed no patch of another part, neither pixels nor truth."""
    split = splits.read(splits.split_path(store), store)
    train = data.open_part(store, split, ("green", "red"), "train", ("land", "slstr_basic"))
    assert set(train.images.maps) == {"land"}
    count = len(split.parts["train"])
    assert len(train.images.toa) == len(train.truth) == len(train.images.maps["land"]) == len(train.scenes) == count
    for field in ("time", "lat", "lon", "sun_zenith"):
        assert len(getattr(train.images, field)) == count


def test_only_rows_with_torch_go_to_the_gpu(store, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "cuda_devices", lambda: 1)
    plan = planner.make(asked(store, tmp_path, rows=("lightgbm", "unet")), nothing)
    assert {(cell.row, cell.device) for cell in plan.cells} == {("lightgbm", "cpu"), ("unet", "cuda:0")}


def test_given_data_are_cut_by_the_quick_profile_and_not_by_the_study(store, tmp_path):
    whole = splits.read(splits.split_path(store), store).parts
    sizes = {}
    for profile in ("smoke", "study"):
        plan = planner.make(asked(store, tmp_path, profile=profile), nothing)
        sizes[profile] = {part: len(ids) for part, ids in splits.read(plan.split, plan.store).parts.items()}
    assert sizes["study"] == {part: len(ids) for part, ids in whole.items()}
    plan = planner.make(asked(store, tmp_path, whole=True), nothing)
    assert {part: len(ids) for part, ids in splits.read(plan.split, plan.store).parts.items()} == sizes["study"]
    assert sizes["smoke"]["train"] == PROFILES["smoke"].patches["train"] < sizes["study"]["train"]


@pytest.mark.parametrize("profile", ["smoke", "study"])
def test_patches_and_epochs_are_the_users_to_say(store, tmp_path, profile):
    plan = planner.make(asked(store, tmp_path, profile=profile, patches="5, 2,1", epochs=3), nothing)
    assert [len(ids) for ids in splits.read(plan.split, plan.store).parts.values()] == [5, 2, 1]
    assert {cell.budget.epochs for cell in plan.cells} == {3}


def test_the_factor_of_a_row_counts_on_top_of_the_epochs(store, tmp_path):
    plan = planner.make(asked(store, tmp_path, rows=("prithvi-300-random-frozen-long",), epochs=4, trials=0), nothing)
    assert [cell.budget.epochs for cell in plan.cells] == [30]


def test_all_of_a_profile_takes_the_same_epochs(store, tmp_path):
    for profile in PROFILES.values():
        assert {row.epochs for row in catalog.choose(["all"], profile.rows)} == {1.0}, profile.name
    large = {name for name in catalog.rows() if name.startswith(("prithvi-300-", "prithvi-600-"))}
    chosen = {row.name for row in catalog.choose(["all"], PROFILES["study"].rows)}
    assert large - chosen == {"prithvi-300-random-frozen-long", "prithvi-300-pretrained-frozen-long"}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, ""),
        ({"bands": "hls"}, ""),
        ({"bands": "shuffled"}, "-shuffled"),
        ({"epochs": 8}, "-e8"),
        ({"bands": "five", "epochs": 2}, "-five-e2"),
        ({"bands": "GREEN=RED, red = GREEN"}, "-GREEN=RED-red=GREEN"),
    ],
)
def test_other_bands_or_epochs_make_another_plan(store, tmp_path, given, added):
    assert planner.make(asked(store, tmp_path, **given), nothing).name == f"plain-smoke{added}"


def test_long_lists_of_bands_make_short_names_that_differ(store, tmp_path):
    lists = ("green,red,nir_narrow,swir_1,swir_2", "green,red,nir_narrow,swir_1=SWIR_2,swir_2=SWIR_1")
    names = [planner.make(asked(store, tmp_path, bands=text), nothing).name for text in lists]
    assert names[0] != names[1]
    assert max(map(len, names)) <= len("plain-smoke") + planner.LONGEST
