"""Backbones of every family, narrow, and checkpoints with the keys that their packages expect of the hub."""

from contextlib import contextmanager

import pytest
import timm
import torch
from safetensors.torch import save_file
from terratorch.models.backbones import scalemae, torchgeo_resnet, torchgeo_vit
from terratorch.models.backbones.clay_v1 import embedder
from terratorch.models.backbones.terramind.model import terramind_register
from terratorch.registry import BACKBONE_REGISTRY
from torchgeo.models import dofa

from benchmark.api import REFLECTANCE, Band
from models import _dofa, _encoders, _timm, _train

SLSTR = (
    Band("S1", "GREEN", 0.55427, REFLECTANCE),
    Band("S2", "RED", 0.65947, REFLECTANCE),
    Band("S3", "NIR_NARROW", 0.868, REFLECTANCE),
    Band("S4", "CIRRUS", 1.3748, REFLECTANCE),
    Band("S5", "SWIR_1", 1.6134, REFLECTANCE),
    Band("S6", "SWIR_2", 2.2557, REFLECTANCE),
)
# One name that `_encoders.build` knows of each family.
DOFA, TERRAMIND, CLAY = "dofa_base_patch16_224", "terramind_v1_tiny", "clay_v1_base"
VIT, RESNET = "ssl4eos12_vit_small_patch16_224_sentinel2_all_dino", "ssl4eos12_resnet50_sentinel2_all_moco"
SCALEMAE = "scalemae_vit_large_patch16"
IMAGENET_VIT, IMAGENET_RESNET = "vit_small_patch16_224.augreg_in21k_ft_in1k", "resnet50.a1_in1k"
NAMES = (DOFA, TERRAMIND, CLAY, VIT, RESNET, SCALEMAE, IMAGENET_VIT, IMAGENET_RESNET)
TRANSFORMER = {"embed_dim": 32, "depth": 4, "num_heads": 2}
RESIDUAL = {"channels": (8, 16, 32, 64), "layers": (1, 1, 1, 1), "stem_width": 16}


def _narrow_timm(name, **options):
    return _create(name, **options, **(TRANSFORMER if name.startswith("vit_") else RESIDUAL))


_create = timm.create_model
_terramind, _clay = terramind_register.TerraMindViT, embedder.EmbeddingEncoder


def _narrow_terramind(**options):
    return _terramind(**{**options, "dim": 32, "encoder_depth": 4, "num_heads": 2})


def _narrow_clay(**options):
    return _clay(**{**options, "dim": 32, "depth": 4, "heads": 2, "dim_head": 16})


def _narrow_scalemae(**options):
    return scalemae.VisionTransformer(patch_size=16, qkv_bias=True, **TRANSFORMER, **options)


@contextmanager
def narrow_backbones():
    """The real patch sizes, levels and keys, 32 channels wide and four layers deep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dofa, DOFA, lambda **options: dofa.DOFA(patch_size=16, **TRANSFORMER, **options))
        patch.setattr(terramind_register, "TerraMindViT", _narrow_terramind)
        patch.setattr(embedder, "EmbeddingEncoder", _narrow_clay)
        patch.setitem(scalemae.scalemae_model_registry, SCALEMAE.removeprefix("scalemae_"), _narrow_scalemae)
        patch.setattr(torchgeo_vit, "vit_small_patch16_224", lambda **o: _narrow_timm("vit_small_patch16_224", **o))
        patch.setattr(torchgeo_resnet, "resnet50", lambda **options: _narrow_timm("resnet50", **options))
        patch.setattr(
            _timm.timm,
            "create_model",
            lambda name, **o: _create(name, **o) if "clay" in name else _narrow_timm(name, **o),
        )
        yield


def _published(name):
    """Return the model that a published file is of, with its own bands, and the parts that the file lacks."""
    if name == DOFA:
        return dofa.dofa_base_patch16_224(num_classes=0), ("fc_norm.",)
    if name == TERRAMIND:
        return BACKBONE_REGISTRY.build(name, modalities=["S2L1C", "S2L2A", "DEM"]), ()
    if name == CLAY:
        return timm.create_model(name).clay_encoder, ()
    if name == SCALEMAE:
        return scalemae.create_model(name.removeprefix("scalemae_")), ()
    if name == VIT:
        return torchgeo_vit.vit_small_patch16_224(in_chans=13), ("norm.", "head.")
    if name == RESNET:
        return torchgeo_resnet.resnet50(in_chans=13), ("fc.",)
    return timm.create_model(name), ()


def tensors(name):
    """Return the tensors of the file, by the names that the model of the package has for them."""
    with _train.seeded(99):
        model, lacking = _published(name)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return {key: value for key, value in model.state_dict().items() if not key.startswith(lacking)}


def checkpoint(folder, name, change=lambda tensors: tensors):
    """Write a file as the hub has it; return its path."""
    stored = change(tensors(name))
    if name in (IMAGENET_VIT, IMAGENET_RESNET):
        path = folder / "model.safetensors"
        save_file(stored, path)
        return path
    if name == CLAY:
        encoder = {f"model.encoder.{key}": value for key, value in stored.items()}
        stored = {"state_dict": {**encoder, "model.decoder.mask_patch": torch.zeros(4)}, "epoch": 1}
    if name == SCALEMAE:
        stored = {"model": {**stored, "mask_token": torch.zeros(1, 1, 4)}}
    if name == TERRAMIND:
        stored = {**stored, "decoder.0.norm1.weight": torch.zeros(4)}
    path = folder / "checkpoint.pth"
    torch.save(stored, path)
    return path


def build(name, bands=SLSTR, weights=None, seed=0, coordinates=False):
    return _encoders.build(name, bands, coordinates=coordinates, seed=seed, weights=weights).eval()


def patches(size=(64, 64), bands=6, count=2):
    return torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def answers(encoder, toa):
    return encoder(toa)


def inner(encoder):
    """The package's own model inside an encoder."""
    (child,) = encoder.children()
    return child.dofa_model if isinstance(encoder, _dofa.Dofa) else child
