"""Backbones besides Prithvi that have a row: what users call them, what builds them, and where their weights are."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.api import Weights


@dataclass(frozen=True)
class Backbone:
    """One backbone.

    Attributes:
        prefix: of its rows.
        name: that `_encoders.build` knows.
        model, size: levels of these factors.
        weights: as the package that builds it names them; None where it names none.
        wavelengths: level of this factor; "" where it is told none.
        note: what a reader of the table must know.
        declares: whether it says what its bands were standardised with in pretraining.
    """

    prefix: str
    name: str
    model: str
    size: str = ""
    weights: Weights | None = None
    wavelengths: str = ""
    note: str = ""
    declares: bool = False


DOFA = {
    "small": None,
    "base": Weights("torchgeo/dofa", "dofa_base_patch16_224-a0275954.pth"),
    "large": Weights("torchgeo/dofa", "dofa_large_patch16_224-0ff904d3.pth"),
}
SSL4EO = {
    ("vit", "dino"): ("vit_small_patch16_224", "36bcc127"),
    ("vit", "moco"): ("vit_small_patch16_224", "67c9032d"),
    ("resnet50", "dino"): ("resnet50", "d6c330e9"),
    ("resnet50", "moco"): ("resnet50", "df8b932e"),
}
TERRAMIND = "ibm-esa-geospatial/TerraMind-1.0-"
SCALEMAE = "vit_large_patch16_224_fmow_rgb_scalemae"
IMAGENET = {"vit-small": "vit_small_patch16_224.augreg_in21k_ft_in1k", "resnet50": "resnet50.a1_in1k"}

WRONG = "told the wavelengths of other bands: a control for what the right ones bring"
UNSEEN = "pretrained on photographs: a control that never saw the Earth; its first convolution is that of red, green "
PICTURES = "pretrained on red, green and blue of 8-bit pictures; weights for other bands are random"


def _dofa(size: str, wrong: bool = False) -> Backbone:
    return Backbone(
        f"dofa-{size}{'-wrongwaves' * wrong}",
        f"dofa_{size}_patch16_224{'_wrongwaves' * wrong}",
        "dofa",
        size,
        DOFA[size],
        "wrong" if wrong else "true",
        WRONG if wrong else "",
    )


def _terramind(size: str) -> Backbone:
    weights = Weights(f"{TERRAMIND}{size}", f"TerraMind_v1_{size}.pt")
    return Backbone(f"terramind-{size}", f"terramind_v1_{size}", "terramind", size, weights, declares=True)


def _ssl4eo(kind: str, method: str) -> Backbone:
    network, digits = SSL4EO[kind, method]
    stem = f"{network}_sentinel2_all_{method}"
    weights = Weights(f"torchgeo/{stem}", f"{stem}-{digits}.pth")
    name = f"ssl4eo-{kind}-{method}"
    return Backbone(name, f"ssl4eos12_{stem}", name, "", weights, declares=True)


def _imagenet(kind: str) -> Backbone:
    weights = Weights(f"timm/{IMAGENET[kind]}", "model.safetensors")
    note = f"{UNSEEN}and blue, repeated over the bands in turn and scaled, as timm does"
    return Backbone(f"imagenet-{kind}", IMAGENET[kind], f"imagenet-{kind}", "", weights, note=note)


BACKBONES = (
    *(_dofa(size) for size in DOFA),
    _dofa("base", wrong=True),
    *(_terramind(size) for size in ("tiny", "small", "base", "large")),
    *(_ssl4eo(*key) for key in SSL4EO),
    Backbone("clay-v1", "clay_v1_base", "clay-v1", "", Weights("made-with-clay/Clay-legacy", "v1/clay-v1-base.ckpt")),
    Backbone(
        "scalemae-large",
        "scalemae_vit_large_patch16",
        "scalemae",
        "large",
        Weights(f"isaaccorley/{SCALEMAE}", f"{SCALEMAE}-98ed9821.pth"),
        note=PICTURES,
    ),
    *(_imagenet(kind) for kind in IMAGENET),
)
