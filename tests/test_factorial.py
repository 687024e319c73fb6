"""The factorial of rows, and where each trap of TerraTorch has its test."""

import ast
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from prithvi_factory import TIMED, context, fitted, make_part, narrow_backbones

from benchmark import catalog
from benchmark.api import HLS_ROLES, Budget, NotRun, UserError, Weights
from models import _loop, _memory, _names, _prithvi, prithvi

BY_NAME = {row.name: row for row in prithvi.ROWS}
# Trap -> tests that fail if it bites.
TRAPS = {
    "names of bands select weights": [
        ("test_models_prithvi.py", "test_trap_1_roles_select_the_slices_of_the_patch_embedding"),
        ("test_models_prithvi.py", "test_trap_1_random_patch_embedding_of_a_pretrained_backbone_is_noticed"),
    ],
    "checkpoints are ignored, or loaded in part": [
        ("test_models_prithvi.py", "test_trap_2_a_file_that_does_not_fit_is_refused"),
        ("test_models_prithvi.py", "test_trap_2_a_pretrained_row_uses_the_file_and_a_random_row_does_not"),
    ],
    "coordinates never arrive": [
        ("test_models_prithvi.py", "test_trap_3_coordinates_are_float32_year_day_of_year_latitude_and_longitude"),
        ("test_models_prithvi.py", "test_trap_3_time_and_place_reach_the_backbone"),
        ("test_models_prithvi.py", "test_trap_3_coordinates_are_neither_forgotten_nor_dropped"),
    ],
    "a frozen backbone freezes its adapters": [
        ("test_models_frozen.py", "test_trap_4_adapters_learn_and_the_rest_of_the_backbone_does_not")
    ],
    "a frozen row still learns a decoder": [
        ("test_models_frozen.py", "test_trap_5_what_is_frozen_stays_and_what_learns_is_counted")
    ],
    "other backbones drop coordinates": [("test_backbones.py", "test_time_and_place_are_refused_rather_than_dropped")],
    "the metric that chooses the epoch has another name": [
        ("test_models_unet.py", "test_best_epoch_is_kept"),
        ("test_models_unet.py", "test_without_a_score_the_last_epoch_stays"),
    ],
    "entries of a split match parts of names": [
        ("test_patch_folder.py", "test_split_files_match_whole_names_with_or_without_endings")
    ],
    "an invalid pixel looks measured": [
        ("test_models_prithvi.py", "test_trap_9_an_invalid_pixel_is_as_good_as_the_mean"),
        ("test_models_unet.py", "test_an_invalid_pixel_becomes_the_mean"),
    ],
    "tokens of an oblong patch are folded": [
        ("test_segmenter.py", "test_tokens_of_an_oblong_patch_stay_where_they_are")
    ],
}


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones():
        yield


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_has_its_tests(trap):
    for file, name in TRAPS[trap]:
        tree = ast.parse((Path(__file__).parent / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_is_one_row_for_every_combination():
    encodings = {"tiny": ("", "-tl"), "100": ("", "-tl"), "300": ("", "-tl", "-tl-nocoords")}
    encodings["600"] = encodings["300"]
    expected = {
        f"prithvi-{size}{encoding}-{start}-{mode}"
        for size in encodings
        for encoding, start, mode in product(encodings[size], ("pretrained", "random"), _names.MODES)
    }
    expected |= {f"prithvi-tiny{encoding}-simpretrained-{mode}" for encoding in ("", "-tl") for mode in _names.MODES}
    expected |= {f"prithvi-300-{start}-frozen-long" for start in ("pretrained", "random")}
    names = [row.name for row in prithvi.ROWS]
    assert len(names) == len(set(names))
    assert set(names) == expected
    assert set(names) <= set(catalog.rows())


def test_rows_ask_for_what_their_name_says():
    for row in prithvi.ROWS:
        assert row.params["pretrained"] == ("-random-" not in row.name) == (row.weights is not None)
        assert row.params["coordinates"] == ("-tl-" in row.name and "nocoords" not in row.name)
        assert row.params["mode"] in row.name
        assert set(row.params) <= {field.name for field in fields(row.method)}
        size = row.name.split("-")[1]
        assert f"_{size}" in row.params["backbone"]
        assert ("no plain backbone" in row.note) == (size in ("tiny", "100") and "-tl-" not in row.name)
        assert row.needs == prithvi.ROWS[0].needs  # rows with other needs would start a process of their own
    assert BY_NAME["prithvi-300-random-frozen-long"].epochs * Budget().epochs == 150
    assert all(row.epochs == 1 for row in prithvi.ROWS if not row.name.endswith("-long"))


def test_weights_are_where_terratorch_finds_them():
    from terratorch.models.backbones import prithvi_vit

    theirs = {
        name: Weights(place["hf_hub_id"], place["hf_hub_filename"])
        for name, place in prithvi_vit.pretrained_weights.items()
        if "_v2_" in name
    }
    assert theirs == prithvi.WEIGHTS
    published = {row.weights for row in prithvi.ROWS if "-simpretrained-" not in row.name}
    simulated = {row.weights for row in prithvi.ROWS if "-simpretrained-" in row.name}
    assert published - {None} == set(prithvi.WEIGHTS.values())
    assert simulated == {Weights("", "prithvi_eo_v2_tiny_tl-simpretrained.safetensors")}


def test_runs_of_the_study_have_their_row():
    study = {row.study_id: row for row in prithvi.ROWS if row.study_id}
    assert set(study) == {f"exp_{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 31, 33)}
    assert study["exp_4"].name == "prithvi-300-tl-nocoords-pretrained-frozen"  # no time or place reached the backbone
    assert not study["exp_4"].params["coordinates"]
    assert "exp_4" in BY_NAME["prithvi-300-tl-pretrained-frozen"].note
    assert study["exp_7"].params["mode"] == "head"


def test_a_name_says_its_factors_and_no_two_rows_say_the_same():
    seen = {}
    for row in prithvi.ROWS:
        name = _names.parse(row.name)
        assert str(name) == row.name
        size, encoding = prithvi.PREFIXES[name.prefix]
        assert row.factors == {"model": "prithvi", "size": size, "encoding": encoding, **name.factors}
        assert seen.setdefault(tuple(sorted(row.factors.items())), row.name) == row.name
    assert BY_NAME["prithvi-300-tl-pretrained-lora"].factors == {
        "model": "prithvi",
        "size": "300",
        "encoding": "tl",
        "start": "pretrained",
        "mode": "lora",
        "input scale": "own",
        "skip": "off",
        "epochs": "x1",
        "schedule": "constant",
        "stop": "best",
    }


def test_a_trained_frozen_row_has_a_control_that_differs_in_its_start_alone():
    trained = [row for row in prithvi.ROWS if row.params["mode"] == "frozen" and row.params["pretrained"]]
    assert len(trained) == 10 + 2 + 1
    asked = [prithvi.resolve(f"{row.name}+trainstats+skip") for row in trained]
    for row in (*trained, *asked):
        control = catalog.row(row.control)
        assert {name for name in row.factors if row.factors[name] != control.factors[name]} == {"start"}
        assert control.factors["start"] == "random"
        assert {name for name in row.params if row.params[name] != control.params[name]} == {"pretrained"}
        assert row.epochs == control.epochs
    assert not any(row.control for row in prithvi.ROWS if row not in trained)


@pytest.mark.parametrize("row", prithvi.ROWS, ids=lambda row: row.name)
def test_resolving_a_row_gives_the_row(row):
    assert prithvi.resolve(row.name) == row


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("prithvi-tiny-random-frozen+skip", {"skip": True, "statistics": "own", "mode": "frozen"}),
        ("prithvi-300-tl-pretrained-lora+trainstats", {"skip": False, "statistics": "train", "coordinates": True}),
        ("prithvi-600-random-head+trainstats+skip", {"skip": True, "statistics": "train", "mode": "head"}),
        ("prithvi-300-pretrained-linear", {"kind": "linear", "pretrained": True}),
        ("prithvi-tiny-tl-simpretrained-knn+trainstats", {"kind": "knn", "statistics": "train"}),
        ("prithvi-600-random-unfrozen-long", {"mode": "unfrozen"}),
        ("prithvi-tiny-random-frozen+cosine", {"schedule": "cosine", "warmup": 0.05, "patience": 0}),
        ("prithvi-tiny-random-lora+earlystop", {"schedule": "constant", "warmup": 0.0, "patience": 5}),
        ("prithvi-300-pretrained-unfrozen+trainstats+skip+cosine+earlystop", {"schedule": "cosine", "patience": 5}),
    ],
)
def test_names_with_options_and_probes_are_rows(name, params):
    row = catalog.row(name)
    assert row.name == name
    assert params.items() <= row.params.items()
    assert set(row.params) <= {field.name for field in fields(row.method)}
    assert not row.study_id


def test_every_option_is_a_level_of_its_own():
    names = ("", *(f"+{option}" for option in _names.OPTIONS))
    levels = [prithvi.resolve(f"prithvi-tiny-random-frozen{option}").factors for option in names]
    for other in levels[1:]:
        assert len({name for name in levels[0] if levels[0][name] != other[name]}) == 1
    assert len({tuple(one.values()) for one in levels}) == len(names)


def test_options_of_the_loop_reach_it(monkeypatch):
    asked = []
    monkeypatch.setattr(_memory, "require", lambda *args: None)
    monkeypatch.setattr(_loop, "train", lambda network, seen, val, ctx, learning: asked.append(learning))
    for option in ("", "+cosine", "+earlystop"):
        row, part = prithvi.resolve(f"prithvi-tiny-random-frozen{option}"), make_part()
        row.method(**row.params).fit(part, part, context())
    plain = asked[0]
    assert asked[1:] == [replace(plain, schedule="cosine", warmup=0.05), replace(plain, patience=5)]


@pytest.mark.parametrize("backbone", sorted(prithvi.WEIGHTS))
def test_what_can_be_pretrained_here_has_a_row(backbone):
    """The file that `pretrain` writes of a backbone is what a row, enumerated or not, asks for."""
    ((prefix, _), *_) = ((one, key) for one, key in prithvi.PREFIXES.items() if prithvi.BACKBONES[key] == backbone)
    row = catalog.row(f"{prefix}-simpretrained-frozen")
    assert row.weights == Weights("", f"{backbone}-simpretrained.safetensors")
    assert row.params["backbone"] == backbone
    assert "`python -m benchmark pretrain`, not the published weights" in row.note


def test_runs_with_the_scale_of_the_study_keep_their_name_in_it():
    assert catalog.row("prithvi-300-random-frozen+trainstats").study_id == "exp_1"
    assert not catalog.row("prithvi-300-random-frozen+trainstats+skip").study_id


@pytest.mark.parametrize(
    "name",
    [
        "prithvi-tiny-random-frozen+skip+trainstats",  # one name for one row
        "prithvi-tiny-random-frozen+skip+skip",
        "prithvi-tiny-random-frozen+sharp",
        "prithvi-tiny-random-linear+skip",
        "prithvi-tiny-random-knn-long",
        "prithvi-tiny-tl-nocoords-random-frozen",
        "prithvi-tiny-random-linear+cosine",
        "prithvi-tiny-random-mlp+earlystop",
        "prithvi-tiny-random-frozen+earlystop+cosine",
        "prithvi-400-random-frozen",
        "unet-random-frozen",
        "prithvi-tiny-frozen",
    ],
)
def test_other_names_are_no_rows(name):
    assert prithvi.resolve(name) is None


# What every mode does before it trains


@pytest.mark.parametrize("mode", _names.MODES)
def test_memory_is_asked_for_before_any_work(monkeypatch, mode):
    asked = []

    def require(network, shape, coordinates, ctx):
        asked.append((shape, coordinates, {name for name, p in network.named_parameters() if p.requires_grad}))
        raise NotRun("too little")

    monkeypatch.setattr(_memory, "require", require)
    with pytest.raises(NotRun, match="too little"):
        fitted(backbone=TIMED, coordinates=True, mode=mode)
    ((shape, coordinates, learning),) = asked
    assert (shape, coordinates) == ((6, 32, 32), True)
    assert any(name.startswith("encoder.") for name in learning) == (mode in ("unfrozen", "lora"))


@pytest.mark.parametrize(
    ("statistics", "roles", "said", "first"),
    [
        ("own", HLS_ROLES, "own", 0.1087),
        ("train", HLS_ROLES, "train", None),
        ("own", ("CIRRUS", "GREEN"), "own, of unknown bands train", None),
        ("own", ("CIRRUS",), "train", None),
    ],
)
def test_input_scale_is_on_record(monkeypatch, statistics, roles, said, first):
    facts, part = {}, make_part(roles)
    monkeypatch.setattr(_memory, "require", lambda *args: None)
    method = fitted(part, replace(context(), fact=facts.__setitem__), statistics=statistics)
    assert facts["input scale"] == said
    assert (facts["input mean"], facts["input std"]) == (method.scale_["mean"], method.scale_["std"])
    expected = first or float(np.nanmean(part.images.read()[:, 0]))
    assert facts["input mean"][0] == pytest.approx(expected, rel=1e-4)


def test_data_in_another_unit_are_refused():

    part = make_part()
    percent = replace(part, images=replace(part.images, toa=part.images.toa * 100))
    with pytest.raises(UserError, match="percent"):
        fitted(percent)


def test_a_backbone_without_layers_to_adapt_is_not_run(monkeypatch):
    monkeypatch.setattr(_prithvi.Prithvi, "adapted", ())
    with pytest.raises(NotRun, match="LoRA"):
        fitted(mode="lora")
