"""Names of rows with a backbone, what they say, and the rows they stand for.

`<backbone>-<start>-<what learns>[-long][+<option>...]`, for instance `prithvi-300-tl-pretrained-frozen+skip`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from benchmark.api import Row, Weights
from models import _foundation, _probes

STARTS = ("pretrained", "random", "simpretrained")
MODES = ("frozen", "unfrozen", "lora", "head")
PROBES = ("linear", "mlp", "forest", "knn")
WARMUP, PATIENCE = 0.05, 5
# Option -> what it means; in a name they stand in this order.
OPTIONS = {
    "trainstats": "bands standardised by the training patches, whatever the backbone was trained with",
    "skip": "the input bands also go past the backbone, at full resolution",
    "cosine": f"the learning rate rises over {WARMUP:.0%} of the steps and falls to 0 on a cosine",
    "earlystop": f"training stops after {PATIENCE} epochs without a better validation score",
}
HEAD = "neck and head learn, as when TerraTorch freezes encoder and decoder; the decoder's norms estimate their moments"
LONG = 7.5  # the study gave some runs 150 epochs and others 20

_GRAMMAR = re.compile(
    rf"(?P<prefix>.+)-(?P<start>{'|'.join(STARTS)})-(?P<mode>{'|'.join(MODES + PROBES)})(?P<long>-long)?"
    r"(?P<options>(\+[a-z]+)*)"
)


@dataclass(frozen=True)
class Name:
    """What the name of a row says.

    Attributes:
        prefix: the backbone as users call it.
        start: one of STARTS.
        mode: one of MODES or PROBES.
        long: whether it has LONG times the epochs.
        options: of OPTIONS, in their order.
    """

    prefix: str
    start: str
    mode: str
    long: bool = False
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.prefix}-{self.start}-{self.mode}{'-long' * self.long}{''.join(f'+{o}' for o in self.options)}"

    @property
    def factors(self) -> dict[str, str]:
        """Factors that do not depend on the backbone."""
        return {
            "start": self.start,
            "mode": self.mode,
            "input scale": "train" if "trainstats" in self.options else "own",
            "skip": "on" if "skip" in self.options else "off",
            "epochs": f"x{LONG}" if self.long else "x1",
            "schedule": "cosine" if "cosine" in self.options else "constant",
            "stop": "early" if "earlystop" in self.options else "best",
        }

    @property
    def control(self) -> str:
        """Name of the row with a random backbone, where a trained one is frozen; else ""."""
        frozen = self.start != "random" and self.mode == "frozen"
        return str(replace(self, start="random")) if frozen else ""


def parse(text: str) -> Name | None:
    """Return what a name says; None where it is not of this grammar, or says what there is not: a probe that skips."""
    found = _GRAMMAR.fullmatch(text)
    if not found:
        return None
    asked = found["options"].split("+")[1:]
    name = Name(
        found["prefix"],
        found["start"],
        found["mode"],
        bool(found["long"]),
        tuple(one for one in OPTIONS if one in asked),
    )
    probes = name.mode in PROBES and (name.long or bool(set(name.options) - {"trainstats"}))
    return None if probes or str(name) != text else name


def row(
    name: Name,
    backbone: str,
    *,
    model: str,
    size: str = "",
    encoding: str = "plain",
    declares: bool = True,
    weights: Weights | None = None,
    study_id: str = "",
    notes: tuple[str, ...] = (),
) -> Row | None:
    """Return the row of a name; None where an option would ask for what the row without it is.

    Args:
        name: what it is called.
        backbone: name that `_encoders.build` knows.
        model: level of the factor of this name; so are `size` and `encoding`.
        size: of the model.
        encoding: "tl" where time and place go in.
        declares: whether the backbone says what its bands were standardised with; else training patches always do it.
        weights: checkpoint of a backbone that is not random.
        study_id: as in `api.Row`.
        notes: what a reader of the table must know.
    """
    if "trainstats" in name.options and not declares:
        return None
    factors = {**name.factors, **({} if declares else {"input scale": "train"})}
    probes = name.mode in PROBES
    fixed = {"kind": name.mode} if probes else _learning(name)
    space = _foundation.space_unfrozen if name.mode == "unfrozen" else _foundation.space
    return Row(
        name=str(name),
        family="foundation",
        method=_probes.Probe if probes else _foundation.Foundation,
        params={
            "backbone": backbone,
            "coordinates": encoding == "tl",
            "pretrained": name.start != "random",
            "statistics": factors["input scale"],
            **fixed,
        },
        space=_probes.SPACES[name.mode] if probes else space,
        needs=_probes.NEEDS if probes else _foundation.NEEDS,
        weights=None if name.start == "random" else weights,
        epochs=LONG if name.long else 1.0,
        study_id=study_id,
        note="; ".join(note for note in (*notes, *_notes(name)) if note),
        factors={"model": model, "size": size, "encoding": encoding, **factors},
        control=name.control,
    )


def _learning(name: Name) -> dict[str, Any]:
    """Return the fields that say what learns behind a backbone, and how."""
    cosine, early = ("cosine" in name.options, "earlystop" in name.options)
    return {
        "mode": name.mode,
        "skip": "skip" in name.options,
        "schedule": name.factors["schedule"],
        "warmup": WARMUP if cosine else 0.0,
        "patience": PATIENCE if early else 0,
    }


def _notes(name: Name) -> list[str]:
    head = [HEAD] if name.mode == "head" else []
    return [*head, *([f"{LONG:g} times the epochs"] if name.long else []), *(OPTIONS[one] for one in name.options)]
