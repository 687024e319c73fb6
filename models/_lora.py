"""Low-rank adapters (LoRA, Hu et al. 2021) on the linear layers of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from peft import LoraConfig, inject_adapter_in_model
from terratorch.models.peft_utils import replace_qkv
from torch import nn

from models import _train

SPLIT = ("q_linear", "k_linear", "v_linear")  # what TerraTorch makes of a layer that gives query, key and value at once


def adapt(encoder: nn.Module, targets: Sequence[str], *, rank: int = 8, alpha: int = 16, seed: int) -> int:
    """Adapt linear layers in place and freeze all else; return the number of parameters that learn.

    The answer is the same as before until a step has been taken. Weights keep their values but not always their names
    (`x.weight` becomes `x.base_layer.weight`), so a checkpoint is loaded, and its checksum taken, before this.

    Args:
        encoder: the backbone.
        targets: names, or ends of names after a dot, of linear layers. Of a layer that gives query, key and value at
            once, name the thirds to adapt: "attn.qkv.q_linear" and "attn.qkv.v_linear" split every "attn.qkv".
        rank: of the adapters.
        alpha: the adapters' answer is multiplied by alpha / rank.
        seed: of the adapters' random weights.

    Raises:
        ValueError: no layer has one of these names, or one is not linear.
    """
    fused = sorted({target.rsplit(".", 1)[0] for target in targets if target.endswith(SPLIT)})
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(targets))
    encoder.requires_grad_(False)
    with _train.seeded(seed):
        for name in fused:
            replace_qkv(encoder, name)
        _check(encoder, targets)
        inject_adapter_in_model(config, encoder)
    return _train.count_parameters(encoder)["trainable"]


def _check(encoder: nn.Module, targets: Sequence[str]) -> None:
    """PEFT is content when one of the names is found; a misspelt second one would be left out in silence."""
    modules = dict(encoder.named_modules())
    for target in targets:
        found = [module for name, module in modules.items() if name == target or name.endswith(f".{target}")]
        if not found or not all(isinstance(module, nn.Linear) for module in found):
            raise ValueError(f"{type(encoder).__name__} has no linear layers called {target}")
