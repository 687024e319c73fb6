"""Backbones besides Prithvi: weights that arrive, bands in their places, maps of any size."""

from dataclasses import replace

import backbone_factory as factory
import pytest
import torch
from backbone_factory import (
    CLAY,
    DOFA,
    IMAGENET_RESNET,
    IMAGENET_VIT,
    NAMES,
    RESNET,
    SCALEMAE,
    SLSTR,
    TERRAMIND,
    VIT,
    answers,
    inner,
    patches,
)
from terratorch.models.backbones import scalemae
from terratorch.models.backbones.clay_v1.embedder import Embedder
from terratorch.registry import BACKBONE_REGISTRY
from timm.models._manipulate import adapt_input_conv
from torchgeo.models import resnet

from benchmark.api import BRIGHTNESS_TEMPERATURE, ELEVATION, Band, NotRun
from models import _encoders, _lora

THERMAL = Band("S8", "BT_11", 10.854, BRIGHTNESS_TEMPERATURE)
# Position of each SLSTR band among the 13 of Sentinel-2 level 1C: B3, B4, B8a, B10, B11, B12.
SENTINEL_2 = [2, 3, 8, 10, 11, 12]
STEMS = {VIT: "patch_embed.proj.weight", RESNET: "conv1.weight", SCALEMAE: "patch_embed.proj.weight"}
STEMS |= {IMAGENET_VIT: "patch_embed.proj.weight", IMAGENET_RESNET: "conv1.weight"}
STEMS |= {TERRAMIND: "encoder_embeddings.untok_sen2l1c@224.proj.weight"}


@pytest.fixture(autouse=True, scope="module")
def _narrow():
    with factory.narrow_backbones():
        yield


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_shape_that_the_encoder_declares_at_any_size(name):
    encoder = factory.build(name)
    for size in [(64, 64), (64, 128), (224, 224)]:
        maps = answers(encoder, patches(size, count=1))
        steps = [encoder.multiple >> (3 - level if encoder.pyramid else 0) for level in range(4)]
        expected = [
            (1, channels, size[0] // step, size[1] // step)
            for channels, step in zip(encoder.channels, steps, strict=True)
        ]
        assert [tuple(one.shape) for one in maps] == expected
        assert all(torch.isfinite(one).all() for one in maps)


@pytest.mark.parametrize("name", ["prithvi_eo_v2_tiny_tl", *NAMES])
def test_elevation_reaches_no_backbone(name):
    bands = (*SLSTR, Band("elevation", "ELEVATION", 0.0, ELEVATION))
    with pytest.raises(NotRun, match="takes what a sensor measured, and no elevation"):
        _encoders.build(name, bands, coordinates=False, seed=0, weights=None)


@pytest.mark.parametrize("name", NAMES)
def test_patches_answer_alone_and_gradients_reach_every_weight(name):
    encoder = factory.build(name)
    toa = patches()
    alone = answers(encoder, toa[1:])
    assert all(
        torch.allclose(one[1:], other, atol=1e-4) for one, other in zip(answers(encoder, toa), alone, strict=True)
    )
    sum(one.square().mean() for one in encoder(toa)).backward()
    idle = [key for key, value in encoder.named_parameters() if value.requires_grad and value.grad is None]
    assert not idle


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_a_checkpoint_arrives(name, tmp_path):
    encoder = factory.build(name, weights=factory.checkpoint(tmp_path, name))
    stored, found = factory.tensors(name), inner(encoder).state_dict()
    assert found
    for key, value in found.items():
        if key != STEMS.get(name):
            assert torch.equal(value, stored[key]), key
    assert all(torch.isfinite(one).all() for one in answers(encoder, patches()))


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_that_lacks_a_tensor_is_refused(name, tmp_path):
    lost = [key for key in factory.tensors(name) if key.endswith(("fc2.weight", "net.3.weight", "bn2.bias"))][-1]
    weights = factory.checkpoint(tmp_path, name, lambda tensors: {k: v for k, v in tensors.items() if k != lost})
    with pytest.raises(RuntimeError, match=lost.replace(".", r"\.")):
        factory.build(name, weights=weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_weights_and_another_seed_others(name):
    toa = patches(count=1)
    once, again, other = (answers(factory.build(name, seed=seed), toa)[-1] for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.allclose(once, other)


@pytest.mark.parametrize("name", NAMES)
def test_time_and_place_are_refused_rather_than_dropped(name):
    with pytest.raises(NotRun, match="takes no time and place"):
        factory.build(name, coordinates=True)


@pytest.mark.parametrize("name", [DOFA, TERRAMIND, CLAY, VIT, SCALEMAE, IMAGENET_VIT])
def test_lora_finds_the_layers_that_an_encoder_names(name):
    encoder = factory.build(name)
    toa = patches(count=1)
    before = answers(encoder, toa)[-1]
    assert _lora.adapt(encoder, encoder.adapted, seed=0) > 0
    assert torch.allclose(answers(encoder.eval(), toa)[-1], before, atol=1e-5)


@pytest.mark.parametrize("name", [VIT, RESNET])
def test_ssl4eo_bands_get_the_weights_of_their_sentinel_2_band(name, tmp_path):
    weights = factory.checkpoint(tmp_path, name)
    stem = inner(factory.build(name, weights=weights)).state_dict()[STEMS[name]]
    stored = factory.tensors(name)[STEMS[name]]
    assert torch.equal(stem, stored[:, SENTINEL_2])
    mixed = factory.build(name, (THERMAL, *SLSTR[::-1]), weights=weights)
    stem = inner(mixed).state_dict()[STEMS[name]]
    assert torch.equal(stem[:, 1:], stored[:, SENTINEL_2[::-1]])
    assert not any(torch.equal(stem[:, 0], stored[:, one]) for one in range(13))
    assert torch.isfinite(stem).all()
    assert mixed.statistics.mean[1:] == (0.0,) * 6
    assert mixed.statistics.std[1:] == (1.0,) * 6
    assert mixed.statistics.mean[0] != mixed.statistics.mean[0]


def test_terramind_puts_each_band_into_the_slot_of_its_role(tmp_path):
    weights = factory.checkpoint(tmp_path, TERRAMIND)
    stored = factory.tensors(TERRAMIND)[STEMS[TERRAMIND]].reshape(32, 256, 13)
    encoder = factory.build(TERRAMIND, weights=weights)
    assert torch.equal(inner(encoder).state_dict()[STEMS[TERRAMIND]].reshape(32, 256, 6), stored[..., SENTINEL_2])
    cirrus = factory.build(TERRAMIND, (SLSTR[3],), weights=weights)
    assert torch.equal(inner(cirrus).state_dict()[STEMS[TERRAMIND]].reshape(32, 256), stored[..., 10])
    assert encoder.statistics.mean[3] == pytest.approx(0.0506, abs=1e-4)
    assert encoder.statistics.std[0] == pytest.approx(0.1558, abs=1e-4)


def test_terramind_answers_as_with_all_its_bands_where_the_others_are_zero(tmp_path):
    """The slots must also be read in the order in which TerraTorch lays out a patch."""
    encoder = factory.build(TERRAMIND, weights=factory.checkpoint(tmp_path, TERRAMIND))
    whole = BACKBONE_REGISTRY.build(TERRAMIND, modalities=["S2L1C"]).eval()
    whole.load_state_dict(factory.tensors(TERRAMIND), strict=False)
    toa = patches()
    padded = torch.zeros(2, 13, 64, 64)
    padded[:, SENTINEL_2] = toa
    with torch.no_grad():
        expected = whole(padded)[-1].transpose(1, 2).unflatten(2, (4, 4))
    assert torch.allclose(answers(encoder, toa)[-1], expected, atol=1e-5)


def test_terramind_names_the_bands_that_work_where_it_does_not_know_one():
    with pytest.raises(NotRun, match=r"not S8; --bands S1,S2,S3,S4,S5,S6"):
        factory.build(TERRAMIND, (*SLSTR, THERMAL))


def test_dofa_and_clay_depend_on_the_wavelengths(tmp_path):
    for name in (DOFA, CLAY):
        weights = factory.checkpoint(tmp_path, name)
        right = factory.build(name, weights=weights)
        shifted = [replace(band, wavelength=band.wavelength + 0.3) for band in SLSTR]
        wrong = factory.build(name, shifted, weights=weights)
        assert not torch.allclose(answers(right, patches())[-1], answers(wrong, patches())[-1], atol=1e-4)
        assert right.recipe != wrong.recipe


def test_wrong_wavelengths_are_those_of_other_bands(tmp_path):
    weights = factory.checkpoint(tmp_path, DOFA)
    right, wrong = factory.build(DOFA, weights=weights), factory.build(f"{DOFA}_wrongwaves", weights=weights)
    assert wrong.wrapped.wavelengths == [1.3748, 1.6134, 2.2557, 0.55427, 0.65947, 0.868]
    assert right.wrapped.wavelengths == [band.wavelength for band in SLSTR]
    assert right.recipe != wrong.recipe
    assert not torch.allclose(answers(right, patches())[-1], answers(wrong, patches())[-1], atol=1e-4)
    with pytest.raises(NotRun, match="at least two bands"):
        factory.build(f"{DOFA}_wrongwaves", SLSTR[:1])


def test_an_encoder_answers_as_the_package_does_at_the_size_that_this_knows(tmp_path):
    dofa = factory.build(DOFA, weights=factory.checkpoint(tmp_path, DOFA))
    toa = patches((224, 224), count=1)
    with torch.no_grad():
        plain = dofa.wrapped(toa)[-1][:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    assert torch.allclose(answers(dofa, toa)[-1], plain, atol=1e-5)

    clay = factory.build(CLAY, weights=factory.checkpoint(tmp_path, CLAY))
    whole = Embedder(img_size=64, bands=["x"] * 6, out_indices=(3,)).eval()
    whole.clay_encoder.load_state_dict(factory.tensors(CLAY))
    with torch.no_grad():
        plain = whole.forward_features(patches(), waves=torch.tensor([band.wavelength for band in SLSTR]))[0]
    assert torch.allclose(answers(clay, patches())[-1], plain[:, 1:].transpose(1, 2).unflatten(2, (8, 8)), atol=1e-5)

    mae = factory.build(SCALEMAE, SLSTR[1:2], weights=factory.checkpoint(tmp_path, SCALEMAE))
    one = scalemae.create_model("vit_large_patch16", bands=["RED"], out_indices=[3]).eval()
    one.load_state_dict(inner(mae).state_dict(), strict=False)
    with torch.no_grad():
        (plain,) = one(patches(bands=1))
    plain = plain[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    assert torch.allclose(answers(mae, patches(bands=1))[-1], plain, atol=1e-5)


def test_positions_of_dofa_follow_the_grid():
    """Random weights too need positions: torchgeo leaves them at zero."""
    encoder = factory.build(DOFA)
    flat = torch.full((1, 6, 64, 64), 0.5)
    last = answers(encoder, flat)[-1]
    assert not torch.allclose(last[..., 0, 0], last[..., 1, 2], atol=1e-4)


def test_scalemae_keeps_red_green_and_blue_and_draws_the_others(tmp_path):
    stored = factory.tensors(SCALEMAE)[STEMS[SCALEMAE]]  # red, green, blue
    encoder = factory.build(SCALEMAE, weights=factory.checkpoint(tmp_path, SCALEMAE))
    stem = inner(encoder).state_dict()[STEMS[SCALEMAE]]
    assert torch.equal(stem[:, [1, 0]], stored[:, [0, 1]])
    assert not any(torch.equal(stem[:, band], stored[:, one]) for band in range(2, 6) for one in range(3))


@pytest.mark.parametrize("name", [IMAGENET_VIT, IMAGENET_RESNET])
def test_imagenet_repeats_red_green_and_blue_over_the_bands(name, tmp_path):
    stored = factory.tensors(name)[STEMS[name]]
    stem = inner(factory.build(name, weights=factory.checkpoint(tmp_path, name))).state_dict()[STEMS[name]]
    assert torch.equal(stem, adapt_input_conv(6, stored))
    assert torch.allclose(stem[:, 4], stored[:, 1] / 2)


def test_sentinel_2_is_the_only_sensor_whose_channels_are_known(tmp_path):
    landsat = "ssl4eol_resnet50_landsat_oli_sr_moco"
    assert answers(factory.build(landsat), patches())
    with pytest.raises(NotRun, match="other bands than Sentinel-2's"):
        factory.build(landsat, weights=factory.checkpoint(tmp_path, RESNET))
    assert resnet.ResNet50_Weights.SENTINEL2_ALL_MOCO.meta["bands"] == resnet._sentinel2_toa_bands
