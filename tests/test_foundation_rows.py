"""Rows of backbones besides Prithvi: names, weights, controls, and a fit of each family."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import backbone_factory as factory
import numpy as np
import pytest
import timm
import torch
from backbone_factory import CLAY, DOFA, IMAGENET_RESNET, NAMES, RESNET, SCALEMAE, SLSTR, TERRAMIND, VIT
from patch_factory import make_part
from terratorch.models.backbones import scalemae
from terratorch.models.backbones.clay_v1 import embedder
from terratorch.models.backbones.terramind.model import terramind_register
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY
from torchgeo.models import ScaleMAELarge16_Weights

from benchmark.api import Budget, Context, NotRun, UserError, Weights
from models import _backbones, _encoders, _foundation, _segmenter, _torchgeo, foundation

ROWS = {row.name: row for row in foundation.ROWS}
ROLES = tuple(band.role for band in SLSTR)


def url(weights):
    """Repository and file that an entry of torchgeo's tables downloads."""
    repo, _, file = weights.url.removeprefix("https://hf.co/").partition("/resolve/")
    return Weights(repo, file.split("/", 1)[1])


def packaged(name):
    """Repository and file of a backbone in the tables of the packages that are installed."""
    if name.startswith("terramind"):
        entry = terramind_register.pretrained_weights[name]
        return Weights(entry["hf_hub_id"], entry["hf_hub_filename"])
    if name == CLAY:
        config = embedder.default_cfgs[name].cfgs[""]
        return Weights(config.hf_hub_id, config.hf_hub_filename)
    if name == SCALEMAE:
        return url(ScaleMAELarge16_Weights.FMOW_RGB)
    if name.startswith(("dofa", "ssl4eo")):
        published = inspect.signature(TERRATORCH_BACKBONE_REGISTRY[name.removesuffix("_wrongwaves")]).parameters
        default = published["weights"].default
        return url(default) if default else None
    return Weights(timm.models.get_pretrained_cfg(name).hf_hub_id, "model.safetensors")


@pytest.mark.parametrize("backbone", _backbones.BACKBONES, ids=lambda backbone: backbone.prefix)
def test_weights_are_those_that_the_packages_name(backbone):
    assert backbone.weights == packaged(backbone.name)


def test_every_backbone_is_one_that_can_be_built():
    for backbone in _backbones.BACKBONES:
        name = backbone.name.removesuffix("_wrongwaves")
        tables = (TERRATORCH_BACKBONE_REGISTRY, {f"scalemae_{model}" for model in scalemae.scalemae_model_registry})
        assert any(name in table for table in tables) or timm.is_model(name), name


def test_every_backbone_has_its_rows_and_its_control():
    for backbone in _backbones.BACKBONES:
        starts = ("pretrained", "random") if backbone.weights else ("random",)
        for start in starts:
            for mode in ("frozen", "unfrozen"):
                row = ROWS[f"{backbone.prefix}-{start}-{mode}"]
                assert row.weights == (backbone.weights if start == "pretrained" else None)
                assert row.params["backbone"] == backbone.name
                assert row.params["mode"] == mode
                assert (row.control in ROWS) == (start == "pretrained" and mode == "frozen")
    assert len(ROWS) == 4 * len(_backbones.BACKBONES) - 2  # there are no weights of the small DOFA


def test_wrong_wavelengths_differ_from_the_right_ones_in_one_factor():
    right, wrong = ROWS["dofa-base-pretrained-frozen"].factors, ROWS["dofa-base-wrongwaves-pretrained-frozen"].factors
    assert {name for name in right if right[name] != wrong[name]} == {"wavelengths"}
    assert (right["wavelengths"], wrong["wavelengths"]) == ("true", "wrong")


def test_probes_adapters_and_options_are_resolved():
    row = foundation.resolve("terramind-base-pretrained-lora+skip")
    assert row.params["mode"] == "lora"
    assert row.params["skip"]
    assert row.weights == Weights("ibm-esa-geospatial/TerraMind-1.0-base", "TerraMind_v1_base.pt")
    assert foundation.resolve("dofa-base-wrongwaves-pretrained-knn").params["kind"] == "knn"
    mine = foundation.resolve("dofa-small-pretrained-frozen")
    assert mine.weights == Weights("", "dofa_small_patch16_224.safetensors")


def test_any_name_of_the_registry_is_a_row():
    row = foundation.resolve("fm:satlas_swin_b_sentinel2_si_ms-random-frozen")
    assert row.params["backbone"] == "satlas_swin_b_sentinel2_si_ms"
    assert row.weights is None
    short = foundation.resolve("fm:resnet18.a1_in1k+skip")
    assert short.name == "fm:resnet18.a1_in1k-pretrained-frozen+skip"
    assert short.weights == Weights("", "resnet18.a1_in1k.safetensors")
    assert short.control == "fm:resnet18.a1_in1k-random-frozen+skip"
    assert foundation.resolve(short.control).params["pretrained"] is False
    known = foundation.resolve("fm:clay_v1_base")
    assert known.weights == Weights("made-with-clay/Clay-legacy", "v1/clay-v1-base.ckpt")


@pytest.mark.parametrize("backbone", _backbones.BACKBONES, ids=lambda backbone: backbone.prefix)
@pytest.mark.parametrize("mode", ["frozen", "linear"])
def test_a_backbone_that_declares_no_statistics_has_one_input_scale(backbone, mode):
    name = f"{backbone.prefix}-random-{mode}"
    plain, asked = foundation.resolve(name), foundation.resolve(f"{name}+trainstats")
    levels = [(row.factors["input scale"], row.params["statistics"]) for row in (plain, asked) if row]
    assert levels == ([("own", "own"), ("train", "train")] if backbone.declares else [("train", "train")])
    alias = foundation.resolve(f"fm:{backbone.name}-random-{mode}")
    assert alias.factors["input scale"] == plain.factors["input scale"]


def test_the_names_that_declare_statistics_are_those_that_have_them():
    own = {name for name in TERRATORCH_BACKBONE_REGISTRY if _torchgeo.covers(name) and _torchgeo.statistics(name, [0])}
    own |= {name for name in TERRATORCH_BACKBONE_REGISTRY if name.startswith("prithvi_eo_")}
    own |= {f"terramind_v1_{size}" for size in ("tiny", "small", "base", "large")}
    assert {name for name in TERRATORCH_BACKBONE_REGISTRY if re.fullmatch(foundation.DECLARING, name)} == own
    declared = {backbone.name for backbone in _backbones.BACKBONES if backbone.declares}
    assert declared == {backbone.name for backbone in _backbones.BACKBONES} & own


@pytest.mark.parametrize("text", ["rf", "fm:", "dofa-base", "dofa-huge-random-frozen", "clay-v1-simpretrained-frozen"])
def test_what_is_no_row_is_left_to_others(text):
    assert foundation.resolve(text) is None


def test_rows_load_nothing_heavy():
    code = "import sys; from models import foundation; foundation.resolve('fm:resnet18');"
    code += "print(sorted({'torch', 'terratorch', 'timm', 'torchgeo', 'sklearn'} & set(sys.modules)))"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def _narrow():
    with factory.narrow_backbones():
        yield


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_fitted_and_predicts(name, tmp_path):
    train, val = (make_part(n=2, size=64, roles=ROLES, seed=seed) for seed in (0, 1))
    facts = {}
    ctx = Context(
        budget=Budget(epochs=1, batch=2),
        score=lambda probability, mask: 0.0,
        fact=facts.__setitem__,
        weights=factory.checkpoint(tmp_path, name),
    )
    method = _foundation.Foundation(backbone=name, mode="frozen")
    method.fit(train, val, ctx)
    probability = method.predict(val.images, ctx)
    assert probability.shape == (2, 64, 64)
    assert np.isfinite(probability).all()
    level = foundation.resolve(f"fm:{name}").factors["input scale"]
    assert facts["input scale"] == level == ("own" if name in (TERRAMIND, VIT, RESNET) else "train")
    stored = factory.tensors(name)
    kept = method.network_.encoder.state_dict()
    last = [key for key in kept if key.endswith(("fc2.weight", "net.3.weight", "bn2.bias"))][-1]
    assert torch.equal(kept[last], next(value for key, value in stored.items() if last.endswith(key)))


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("name", [DOFA, IMAGENET_RESNET])
@pytest.mark.parametrize("mode", ["unfrozen", "lora"])
def test_a_backbone_learns_where_the_mode_says_so(name, mode):
    part = make_part(n=2, size=64, roles=ROLES)
    ctx = Context(budget=Budget(epochs=1, batch=2), score=lambda probability, mask: 0.0)
    method = _foundation.Foundation(backbone=name, mode=mode, pretrained=False)
    if mode == "lora" and name == IMAGENET_RESNET:
        with pytest.raises(NotRun, match="no linear layers"):
            method.fit(part, part, ctx)
        return
    before = _encoders.build(name, part.images.bands, coordinates=False, seed=0, weights=None).state_dict()
    method.fit(part, part, ctx)
    after = method.network_.encoder.state_dict()
    assert any(torch.is_tensor(before.get(key)) and not torch.equal(before[key], after[key]) for key in after) == (
        mode == "unfrozen"
    )


# Row -> size of the model in millions of parameters; the others of a family differ from these in width and depth.
SMALL = {
    "dofa-small": 34.7,
    "terramind-tiny": 5.6,
    "ssl4eo-vit-dino": 21.9,
    "ssl4eo-resnet50-moco": 23.5,
    "imagenet-vit-small": 22.0,
    "imagenet-resnet50": 23.5,
}


@pytest.mark.parametrize("prefix", SMALL)
def test_a_named_row_gives_maps_that_the_decoder_takes(prefix):
    name = ROWS[f"{prefix}-random-frozen"].params["backbone"]
    encoder = _encoders.build(name, SLSTR, coordinates=False, seed=0, weights=None)
    size = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    assert size == pytest.approx(SMALL[prefix], rel=0.01)
    scale = {"mean": [0.0] * 6, "std": [1.0] * 6}
    network = _segmenter.build_network(encoder, scale, dropout=0.0, skip=True, seed=0).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 6, 64, 64)).shape == (1, 2, 64, 64)


def test_an_unknown_name_of_the_registry_fails_with_one_sentence():
    part = make_part(n=1, size=64, roles=ROLES)
    row = foundation.resolve("fm:resnet5-random-frozen")
    with pytest.raises(UserError, match="near it are resnet50"):
        row.method(**row.params).fit(part, part, Context())
