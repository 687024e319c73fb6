"""Neck, decoder, head and the path at full resolution, for backbones of either kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prithvi_factory import LARGE, PLAIN, TIMED, context, make_part, narrow_backbones, network, recipe, state
from terratorch.models.encoder_decoder_factory import EncoderDecoderFactory
from torch import nn

from models import _encoder, _frozen, _segmenter, _train


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with narrow_backbones():
        yield


class Pyramid(_encoder.Encoder):
    """Four levels, from a quarter of the rows down to a thirty-second."""

    channels = (8, 12, 16, 20)
    pyramid = True
    multiple = 32

    def __init__(self):
        super().__init__()
        steps = zip((6, *self.channels), self.channels, (4, 2, 2, 2), strict=False)
        self.levels = nn.ModuleList(nn.Conv2d(inputs, outputs, step, step) for inputs, outputs, step in steps)

    def forward(self, toa, *coordinates):
        maps = []
        for level in self.levels:
            toa = level(toa)
            maps.append(toa)
        return maps


def pyramid(skip=False):
    scale = {"mean": [0.2] * 6, "std": [0.3] * 6}
    return _segmenter.build_network(Pyramid(), scale, dropout=0.1, skip=skip, seed=0).eval()


def terratorchs(model):
    """TerraTorch's own factory around the same backbone, from the same seed."""
    necks = [
        {"name": "SelectIndices", "indices": list(model.encoder.layers)},
        {"name": "ReshapeTokensToImage"},
        {"name": "LearnedInterpolateToPyramidal"},
    ]
    with _train.seeded(0):
        return (
            EncoderDecoderFactory()
            .build_model(
                task="segmentation",
                backbone=model.encoder.vit,
                necks=necks,
                decoder="UNetDecoder",
                decoder_channels=[512, 256, 128, 64],
                head_dropout=0.1,
                num_classes=2,
                rescale=True,
            )
            .eval()
        )


def arrays(images, coordinates=False):
    known = (images.read(), *_encoder.known_coordinates(images, coordinates))
    return [torch.from_numpy(array) for array in known]


@pytest.mark.parametrize(
    ("name", "coordinates", "size"), [(PLAIN, False, (48, 48)), (TIMED, True, (40, 72)), (LARGE, False, (56, 84))]
)
def test_logits_are_those_of_terratorchs_own_model(name, coordinates, size):
    model = network(name, coordinates=coordinates)
    toa, *known = arrays(make_part(size=size).images, coordinates)
    named = dict(zip(("temporal_coords", "location_coords"), known, strict=False))
    with torch.inference_mode():
        assert torch.allclose(model(toa, *known), terratorchs(model)(model.scale(toa), **named).output, atol=1e-6)


def test_tokens_of_an_oblong_patch_stay_where_they_are():
    """TerraTorch takes 2 x 8 tokens for 4 x 4, because 16 is a square."""
    model = network()
    toa = torch.zeros(1, 6, 32, 128)
    toa[..., 64:] = 1
    last = model.maps(toa)[-1]
    assert last.shape == (1, 32, 2, 8)
    whole = model.encoder.vit.forward_features(model.scale(toa))[-1][0, 1:]
    assert torch.equal(last[0, :, 1, 3], whole[8 + 3])


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("make", [network, pyramid])
@pytest.mark.parametrize("size", [(64, 64), (40, 72)])
def test_kept_features_give_the_same_logits(make, skip, size):
    model, images = make(skip=skip), make_part(size=size).images
    toa = torch.from_numpy(images.read())
    features = _frozen.FrozenEncoder(model, recipe(), 0, context()).encode(images)
    assert features.dtype == np.float16
    with torch.inference_mode():
        plain = model(toa)
        kept = _segmenter.Tail(model, size).eval()(torch.from_numpy(features), *([toa] if skip else []))
    assert plain.shape == (4, 2, *size)
    assert torch.allclose(kept, plain, atol=5e-3 * plain.abs().max().item())


@pytest.mark.parametrize("make", [network, pyramid])
@pytest.mark.parametrize("size", [(32, 32), (40, 72)])
def test_maps_have_the_shapes_that_are_foretold(make, size):
    model = make()
    maps = model.maps(torch.rand(1, 6, *size))
    shapes = _segmenter.shapes(model.encoder, size)
    assert [tuple(one.shape[1:]) for one in maps] == shapes
    flat = model.features(torch.rand(2, 6, *size))
    again = _segmenter.unflatten(flat, shapes)
    assert torch.equal(torch.cat([one.flatten(1) for one in again], 1), flat)


def test_features_of_another_shape_are_not_taken_for_maps():
    model = network()
    features = model.features(torch.rand(1, 6, 32, 32))
    with pytest.raises(RuntimeError, match="split"):
        _segmenter.Tail(model, (64, 64))(features)


def test_the_path_at_full_resolution_leaves_the_start_of_the_rest_alone():
    without, with_ = state(network()), state(network(skip=True))
    assert set(without) < set(with_)
    assert all(torch.equal(value, with_[name]) for name, value in without.items())
    added = {name.split(".")[1] for name in set(with_) - set(without)}
    assert added == {"stem", "join"}


def test_the_path_at_full_resolution_sees_single_pixels():
    """One pixel changes the logits around it, on the side of the patch that it is on."""
    model = network(skip=True)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()  # nothing comes through the backbone
    toa = torch.full((1, 6, 64, 64), 0.2)
    other = toa.clone()
    other[..., 20, 30] = 0.9
    with torch.inference_mode():
        moved = (model(other) - model(toa)).abs().sum(1)[0] > 1e-6
    rows, columns = np.nonzero(moved.numpy())
    assert moved[20, 30]
    assert max(abs(rows - 20).max(), abs(columns - 30).max()) <= 3  # three convolutions of 3 x 3


def test_only_the_path_at_full_resolution_asks_for_the_image():
    model, images = network(), make_part().images
    read = _frozen._inputs([np.zeros((4, 8), np.float16)], images, False)
    both = _frozen._inputs([np.zeros((4, 8), np.float16)], images, True)
    rows, elements = np.array([2, 0]), np.array([0, 0])
    assert len(read(rows, elements)) == 1
    features, toa = both(rows, elements)
    assert features.shape == (2, 8)
    assert np.array_equal(toa, images.read(rows), equal_nan=True)
    assert not model.segmenter.skips


def test_the_image_turns_with_its_features():
    images = make_part().images
    turned = [np.full((4, 3), element, np.float16) for element in range(8)]
    rows, elements = np.array([1, 3, 0]), np.array([5, 0, 2])
    features, toa = _frozen._inputs(turned, images, True)(rows, elements)
    assert features[:, 0].tolist() == [5, 0, 2]
    assert np.array_equal(toa, _train.turn_each(images.read(rows), elements), equal_nan=True)


def test_the_last_map_is_that_of_the_backbone():
    model, images = network(), make_part(size=(48, 48)).images
    found = _frozen.last_maps(model, images, False, replace(context(), device="cpu"))
    with torch.inference_mode():
        expected = model.maps(torch.from_numpy(images.read()))[-1]
    assert found.dtype == np.float32
    assert np.allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)
