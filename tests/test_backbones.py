"""Backbones besides Prithvi: weights that arrive, bands in their places, maps of any size."""

from dataclasses import replace

import backbone_factory as factory
import pytest
import torch
from backbone_factory import CLAY, DOFA, IMAGENET_RESNET, IMAGENET_VIT, NAMES, RESNET, SCALEMAE, SLSTR, TERRAMIND, VIT
from safetensors.torch import save_file
from terratorch.models.backbones import scalemae
from terratorch.models.backbones.clay_v1.embedder import Embedder
from terratorch.registry import BACKBONE_REGISTRY, TERRATORCH_BACKBONE_REGISTRY
from timm.models._manipulate import adapt_input_conv
from torchgeo.models import resnet

from benchmark.api import BRIGHTNESS_TEMPERATURE, ELEVATION, Band, NotRun, UserError
from models import _dofa, _encoders, _lora, _timm

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


def patches(size=(64, 64), bands=6, count=2):
    return torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def answers(encoder, toa):
    return encoder(toa)


def inner(encoder):
    """The package's own model inside an encoder."""
    (child,) = encoder.children()
    return child.dofa_model if isinstance(encoder, _dofa.Dofa) else child


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


@pytest.mark.parametrize(
    ("name", "reason"), [("dinov3_vits16", "wants ckpt_path"), ("IdentityBackbone", "no argument")]
)
def test_a_backbone_that_wants_other_inputs_says_so(name, reason):
    with pytest.raises(NotRun, match=reason):
        factory.build(name)


def register(monkeypatch, builder):
    monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, "odd", builder)


def test_an_unknown_name_is_answered_with_its_neighbours():
    with pytest.raises(UserError, match="dofa_base_patch16_224"):
        factory.build("dofa_bas_patch16")


class Odd(torch.nn.Module):
    """A stand-in for what a registry may hold: a class token, few layers, one size of input."""

    def __init__(self, in_chans, last):
        super().__init__()
        self.proj = torch.nn.Conv2d(in_chans, 8, 16, 16)
        self.last = last

    def forward(self, toa):
        assert toa.shape[-1] == 224, "one size"
        tokens = self.proj(toa)
        if self.last:
            return [tokens.permute(0, 2, 3, 1)]
        tokens = tokens.flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


@pytest.mark.parametrize("last", [True, False])
def test_a_registered_name_is_tried_and_looked_at(last, monkeypatch, tmp_path):
    register(monkeypatch, lambda in_chans: Odd(in_chans, last))
    encoder = factory.build("odd")
    assert encoder.channels == (8,) * 4
    assert (encoder.pyramid, encoder.multiple, encoder.resized) == (False, 16, True)
    toa = patches((64, 96))
    maps = answers(encoder, toa)
    assert [tuple(one.shape) for one in maps] == [(2, 8, 4, 6)] * 4
    seen = torch.nn.functional.interpolate(toa, size=(224, 224), mode="bilinear")
    with torch.no_grad():
        grid = torch.nn.functional.interpolate(encoder.model.proj(seen), size=(4, 6), mode="bilinear")
    assert torch.allclose(maps[-1], grid, atol=1e-5)
    path = tmp_path / "odd.pt"
    torch.save({key: value + 1 for key, value in encoder.model.state_dict().items()}, path)
    loaded = factory.build("odd", weights=path)
    assert torch.equal(loaded.model.proj.bias, encoder.model.proj.bias + 1)
    torch.save({"proj.bias": torch.zeros(8)}, path)
    with pytest.raises(RuntimeError, match=r"proj\.weight"):
        factory.build("odd", weights=path)


class Few(torch.nn.Module):
    """As many channels as rows: of a square answer nobody could say which is which."""

    def __init__(self, in_chans, flipped, channels, size=None):
        super().__init__()
        self.proj, self.flipped, self.size = torch.nn.Conv2d(in_chans, channels, 16, 16), flipped, size

    def forward(self, toa):
        assert self.size in (None, toa.shape[-1]), "one size"
        maps = self.proj(toa)
        return maps.permute(0, 2, 3, 1) if self.flipped else maps


@pytest.mark.parametrize("channels", [4, 6, 9])  # of 4 x 6 cells
@pytest.mark.parametrize("flipped", [True, False])
def test_rows_and_columns_are_told_from_channels(flipped, channels, monkeypatch):
    register(monkeypatch, lambda in_chans: Few(in_chans, flipped, channels))
    encoder = factory.build("odd")
    assert (encoder.flipped, encoder.channels, encoder.multiple) == ((flipped,) * 4, (channels,) * 4, 16)
    toa = patches((64, 64))
    with torch.no_grad():
        assert torch.equal(answers(encoder, toa)[-1], encoder.model.proj(toa))


def test_tokens_that_are_no_grid_are_not_run(monkeypatch):
    register(monkeypatch, lambda in_chans: Pooled())
    with pytest.raises(NotRun, match="1 tokens are no grid"):
        factory.build("odd")


class Pooled(torch.nn.Module):
    def forward(self, toa):
        return toa.mean((2, 3))[:, None]


def test_what_could_be_either_is_not_run(monkeypatch):
    register(monkeypatch, lambda in_chans: Few(in_chans, True, 14, size=224))
    with pytest.raises(NotRun, match="cannot be told"):
        factory.build("odd")


ROPE = {"depth": 4, "embed_dim": 32, "num_heads": 2}
SWIN = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("vit_small_patch16_rope_224", ROPE),
        ("vit_small_patch16_dinov3", ROPE),
        ("eva02_tiny_patch14_224", ROPE),
        ("swin_tiny_patch4_window7_224", SWIN),
    ],
)
def test_buffers_that_no_file_holds_are_computed(name, small, monkeypatch, tmp_path):
    real = factory._create
    monkeypatch.setattr(_timm.timm, "create_model", lambda name, **options: real(name, **{**options, **small}))
    random = factory.build(name, seed=1)
    assert set(dict(random.named_buffers())) - set(random.state_dict())
    path = tmp_path / "model.safetensors"
    save_file(real(name, **small).state_dict(), path)
    encoder = factory.build(name, weights=path)
    toa = patches((2 * encoder.multiple, 2 * encoder.multiple))
    found = answers(encoder, toa)
    assert not torch.allclose(found[-1], answers(random, toa)[-1], atol=1e-3)
    inner(random).load_state_dict(inner(encoder).state_dict())
    assert all(torch.equal(one, other) for one, other in zip(found, answers(random, toa), strict=True))


def test_levels_are_quarters_of_a_depth_or_the_coarsest_of_a_pyramid():
    assert _timm.levels([16] * 24) == ((5, 11, 17, 23), (16,) * 4)
    assert _timm.levels([16]) == ((0, 0, 0, 0), (16,) * 4)
    assert _timm.levels([2, 4, 4, 8, 16, 32]) == ((2, 3, 4, 5), (4, 8, 16, 32))
    with pytest.raises(NotRun, match="no pyramid"):
        _timm.levels([4, 8])
    with pytest.raises(NotRun, match="no pyramid"):
        _timm.levels([2, 4, 16, 32])


class Levels(torch.nn.Module):
    """A pyramid from the finest, channels last as in a Swin transformer, or first."""

    def __init__(self, in_chans, flipped):
        super().__init__()
        self.steps = torch.nn.ModuleList(torch.nn.Conv2d(in_chans, 2 * step, step, step) for step in (2, 4, 8, 16, 32))
        self.flipped = flipped

    def forward(self, toa):
        maps = [step(toa) for step in self.steps]
        return tuple(one.permute(0, 2, 3, 1) for one in maps) if self.flipped else maps


@pytest.mark.parametrize("flipped", [True, False])
def test_a_registered_pyramid_keeps_its_levels(flipped, monkeypatch):
    register(monkeypatch, lambda pretrained=False, **options: Levels(flipped=flipped, **options))
    encoder = factory.build("terratorch_odd")
    assert (encoder.pyramid, encoder.multiple, encoder.channels) == (True, 32, (8, 16, 32, 64))
    toa = patches((64, 96))
    with torch.no_grad():
        expected = [step(toa) for step in encoder.model.steps][1:]
    assert all(torch.equal(one, other) for one, other in zip(answers(encoder, toa), expected, strict=True))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda bands: torch.nn.Linear(4, 4), "takes no patch of 6 bands"),
        (lambda bands: torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), "no.* tokens or maps"),
    ],
)
def test_a_registered_name_that_gives_no_maps_is_not_run(model, reason, monkeypatch):
    register(monkeypatch, model)
    with pytest.raises(NotRun, match=reason):
        factory.build("odd")
