from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from patch_factory import bands
from prithvi_factory import (
    LARGE,
    PLAIN,
    TIMED,
    build,
    changed,
    checkpoint,
    context,
    fitted,
    make_part,
    narrow_backbones,
    network,
    state,
)
from terratorch.models.backbones import prithvi_vit

from benchmark.api import BRIGHTNESS_TEMPERATURE, HLS_ROLES, NotRun, UserError
from models import _encoder, _encoders, _memory, _prithvi


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "require", lambda *args: None)  # seconds a fit; it has tests of its own
        yield


# Weights


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(("name", "coordinates"), [(PLAIN, False), (TIMED, True), (LARGE, False)])
def test_every_tensor_of_the_file_arrives(tmp_path, name, coordinates, suffix):
    path = checkpoint(tmp_path, name, suffix)
    stored = _prithvi.read_checkpoint(path)
    backbone = build(name, coordinates=coordinates, weights=path)
    expected = {key.removeprefix("encoder."): value for key, value in stored.items() if key.startswith("encoder.")}
    if not coordinates:
        expected = {key: value for key, value in expected.items() if "_embed_enc" not in key}
    found = backbone.vit.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in found if key != "pos_embed")
    assert torch.equal(backbone.vit.pos_embed, build(name, coordinates=coordinates).vit.pos_embed)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_keys_without_prefix_are_taken_too(tmp_path):
    plain = checkpoint(tmp_path, PLAIN, change=lambda all_: {k.removeprefix("encoder."): v for k, v in all_.items()})
    backbone = build(weights=plain)
    assert torch.equal(backbone.vit.cls_token, _prithvi.read_checkpoint(plain)["cls_token"])


def test_trap_1_roles_select_the_slices_of_the_patch_embedding(tmp_path):
    path = checkpoint(tmp_path, PLAIN)
    stored = _prithvi.read_checkpoint(path)["encoder.patch_embed.proj.weight"]
    roles = ("SWIR_1", "CIRRUS", "GREEN", "BT_11", "RED", "GREEN")
    weight = build(roles=roles, weights=path).vit.patch_embed.proj.weight
    for position, role in enumerate(roles):
        if role in HLS_ROLES:
            assert torch.equal(weight[:, position], stored[:, HLS_ROLES.index(role)])
    extra = weight[:, [1, 3]]
    assert extra.std() > 0
    assert not any(torch.equal(extra[:, 0], stored[:, known]) for known in range(6))
    torch.manual_seed(1234)
    assert torch.equal(extra, build(roles=roles, weights=path).vit.patch_embed.proj.weight[:, [1, 3]])
    assert not torch.equal(extra, build(roles=roles, weights=path, seed=1).vit.patch_embed.proj.weight[:, [1, 3]])


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {key: value for key, value in tensors.items() if key != "encoder.blocks.3.mlp.fc1.bias"},
        lambda tensors: {**tensors, "encoder.cls_token": torch.zeros(1, 1, 48)},
        lambda tensors: {**tensors, "encoder.blocks.12.norm1.weight": torch.zeros(32)},
        lambda tensors: {f"model.{key}": value for key, value in tensors.items()},
        lambda tensors: {key: value for key, value in tensors.items() if not key.startswith("encoder.")},
        lambda tensors: {"state_dict": tensors},
    ],
)
def test_trap_2_a_file_that_does_not_fit_is_refused(tmp_path, change):
    path = checkpoint(tmp_path, PLAIN, change=change)
    with pytest.raises(RuntimeError, match=path.name):
        build(weights=path)


def test_weights_of_another_patch_size_are_refused(tmp_path):
    path = checkpoint(tmp_path, LARGE)
    with pytest.warns(UserWarning, match="Incompatible shapes"), pytest.raises(RuntimeError, match=path.name):
        build(PLAIN, weights=path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "page.pt"
    path.write_text("<html>")
    with pytest.raises(RuntimeError, match=path.name):
        build(weights=path)


def test_plain_weights_do_not_pass_for_weights_with_time_and_location(tmp_path):
    with pytest.raises(RuntimeError, match="embed_enc"):
        build("prithvi_eo_v2_300", coordinates=True, weights=checkpoint(tmp_path, "prithvi_eo_v2_300"))


def test_trap_1_random_patch_embedding_of_a_pretrained_backbone_is_noticed(tmp_path, monkeypatch):
    real = _prithvi.checkpoint_filter_fn_vit
    unknown_names = ["S1", "S2", "S3", "S4", "S5", "S6"]
    monkeypatch.setattr(_prithvi, "checkpoint_filter_fn_vit", lambda a, b, c, d: real(a, b, c, unknown_names))
    with pytest.raises(RuntimeError, match="patch_embed"):
        build(weights=checkpoint(tmp_path, PLAIN))


@pytest.mark.parametrize("part", ["norm.bias", "blocks.0.attn.qkv.weight", "cls_token", "patch_embed.proj.weight"])
def test_any_tensor_that_is_not_the_files_is_noticed(tmp_path, part):
    path = checkpoint(tmp_path, PLAIN)
    backbone = build(weights=path).vit
    bands = prithvi_vit.PRETRAINED_BANDS
    _prithvi.verify(backbone, bands, _prithvi.read_checkpoint(path), "file")
    backbone.get_parameter(part).data.view(-1)[-1] += 1e-3
    with pytest.raises(RuntimeError, match=part):
        _prithvi.verify(backbone, bands, _prithvi.read_checkpoint(path), "file")


def test_random_weights_come_from_the_seed_alone(tmp_path):
    first = state(build())
    torch.manual_seed(77)
    assert not changed(first, build())
    assert "vit.patch_embed.proj.weight" in changed(first, build(seed=1))
    pretrained = build(weights=checkpoint(tmp_path, PLAIN))
    assert set(changed(first, pretrained)) == set(dict(pretrained.named_parameters()))


def test_decoder_starts_the_same_whatever_the_backbone(tmp_path):
    random, pretrained = network(), network(weights=checkpoint(tmp_path, PLAIN))
    different = changed(state(random), pretrained)
    assert different == {f"encoder.{name}" for name, _ in pretrained.encoder.named_parameters()}


def test_a_pretrained_row_never_runs_without_weights():
    with pytest.raises(NotRun, match=PLAIN):
        fitted(pretrained=True)


def test_trap_2_a_pretrained_row_uses_the_file_and_a_random_row_does_not(tmp_path):
    path = checkpoint(tmp_path, PLAIN)
    stored = _prithvi.read_checkpoint(path)["encoder.norm.weight"]
    for pretrained in (True, False):
        method = fitted(ctx=context(path), pretrained=pretrained)
        assert torch.equal(method.network_.encoder.vit.norm.weight, stored) == pretrained


@pytest.mark.parametrize("name", ["prithvi_eo_v2_30", "prithvi_eo_v2_100"])  # TerraTorch has statistics of the second
def test_an_unknown_name_is_answered_with_its_neighbours(name):
    with pytest.raises(UserError, match=f"no Prithvi is called '{name}'; near it are .*prithvi_eo_v2_[13]00") as caught:
        _encoders.build(name, bands(HLS_ROLES), coordinates=False, seed=0, weights=None)
    assert "\n" not in str(caught.value)


# Inputs


def test_statistics_are_prithvis_own_as_fractions_for_the_bands_it_knows():
    mean, std = (np.array(values) for values in astuple(build(roles=("RED", "BT_11", "CIRRUS")).statistics))
    assert (mean[0], std[0]) == pytest.approx((0.1433, 0.2178))
    assert np.isnan([mean[1:], std[1:]]).all()
    heat = replace(bands(("RED",))[0], quantity=BRIGHTNESS_TEMPERATURE)
    assert np.isnan(_prithvi.statistics(PLAIN, [heat]).mean).all()


def test_trap_9_an_invalid_pixel_is_as_good_as_the_mean():
    model, toa = network(), torch.rand(1, 6, 32, 32)
    mean = toa.clone()
    mean[..., 5, 7], toa[..., 5, 7] = 0.2, torch.nan
    assert torch.allclose(model(toa), model(mean), atol=1e-6)


def test_trap_3_coordinates_are_float32_year_day_of_year_latitude_and_longitude():
    images = make_part(count=3).images
    images = replace(images, time=np.array(["2020-01-01T23:59", "2020-12-31", "2021-03-01"], "datetime64[s]"))
    time, place = _encoder.known_coordinates(images.take([2, 0, 1]), True)
    assert time.tolist() == [[[2021, 59]], [[2020, 0]], [[2020, 365]]]
    assert place.tolist() == [[60, 120], [-60, -120], [0, 0]]
    assert time.dtype == place.dtype == np.float32


def test_trap_3_time_and_place_reach_the_backbone():
    part = make_part()
    ctx = context()
    timed = fitted(part, backbone=TIMED, coordinates=True)
    plain = fitted(part, backbone=TIMED, coordinates=False)
    later = replace(part.images, time=part.images.time + np.timedelta64(90, "D"))
    elsewhere = replace(part.images, lat=part.images.lat + 20)
    for images in (later, elsewhere):
        assert not np.allclose(timed.predict(images, ctx), timed.predict(part.images, ctx), atol=1e-6)
        assert np.array_equal(plain.predict(images, ctx), plain.predict(part.images, ctx))


@pytest.mark.parametrize("coordinates", [True, False])
def test_trap_3_coordinates_are_neither_forgotten_nor_dropped(coordinates):
    backbone = build(TIMED, coordinates=coordinates)
    given = () if coordinates else (torch.zeros(1, 1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="coordinates"):
        backbone(torch.zeros(1, 6, 32, 32), *given)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_without_times_a_row_that_needs_them_is_not_run(mode):
    with pytest.raises(NotRun, match="no times/locations"):
        fitted(make_part(dated=False), backbone=TIMED, coordinates=True, mode=mode)


@pytest.mark.parametrize(("name", "size"), [(PLAIN, (32, 32)), (PLAIN, (40, 72)), (LARGE, (32, 32)), (LARGE, (56, 84))])
def test_any_size_is_padded_and_cropped(name, size):
    part = make_part(size=size)
    method = fitted(part, backbone=name)
    assert method.predict(part.images, context()).shape == (4, *size)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_building_from_a_file_makes_no_second_copy(tmp_path, monkeypatch, suffix):
    """No weight is drawn to be thrown away, and the weights lie in the pages of the file."""
    path, drawn = checkpoint(tmp_path, LARGE, suffix), []
    for name in ("xavier_uniform_", "normal_"):
        real = getattr(torch.nn.init, name)
        monkeypatch.setattr(torch.nn.init, name, lambda *a, real=real, **k: drawn.append(real(*a, **k)) or drawn[-1])
    backbone = build(LARGE, weights=path)
    assert drawn
    assert sum(one.numel() for one in drawn if not one.is_meta) == backbone.vit.patch_embed.proj.weight.numel()
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    spans = [[int(end, 16) for end in line[0].split("-")] for line in lines]
    inside = {
        name
        for name, value in backbone.vit.named_parameters()
        if any(first <= value.data_ptr() < last for first, last in spans)
    }
    assert {name for name, _ in backbone.vit.named_parameters()} - inside == {"patch_embed.proj.weight"}
