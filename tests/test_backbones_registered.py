"""Any backbone of TerraTorch's registry: it is tried, looked at, and refused where what it gives is no map."""

import backbone_factory as factory
import pytest
import torch
from backbone_factory import answers, inner, patches
from safetensors.torch import save_file
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

from benchmark.api import NotRun, UserError
from models import _timm


@pytest.fixture(autouse=True, scope="module")
def _narrow():
    with factory.narrow_backbones():
        yield


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
