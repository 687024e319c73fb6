"""Synthetic plans with truth, probabilities and records, as a run would leave them: for tests of the views."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from benchmark import boundary, embedding, record
from benchmark.api import IGNORE, Budget, digest
from benchmark.plan import Cell, Plan
from benchmark.record import OK, Record
from benchmark.scores import confusion

ENVIRONMENT = {
    "python": "3.11.9",
    "platform": "Linux-6.1",
    "packages": {"numpy": "2.4.0", "torch": "2.9.0"},
    "cpu": "Example CPU @ 2.80GHz",
    "cores": 2,
    "threads": "2",
    "memory": 25_000_000_000,
    "load": 0.5,
    "device": {"kind": "cpu"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
}


@dataclass(frozen=True)
class Spec:
    """One line to make: `skill` is the spread of its noise, lower is better; status "missing" leaves no record."""

    row: str
    family: str = "forest"
    skill: float = 0.3
    tuned: bool = False
    seeds: tuple[int, ...] = (0,)
    status: str = OK
    reason: str = ""
    epochs: int = 0
    device: str = "cpu"
    seconds: float = 1.0
    speed: float = 1.0
    parameters: int | None = None
    note: str = ""
    factors: dict[str, str] = field(default_factory=dict)
    weights: str = ""


@dataclass(frozen=True)
class Scene:
    """The test part: a smooth field, its truth, and the names of patches and scenes."""

    field: np.ndarray
    mask: np.ndarray
    patches: tuple[str, ...]
    scenes: tuple[str, ...]


def smooth(shape: tuple[int, ...], rng: np.random.Generator, power: float = 2.0) -> np.ndarray:
    """Return Gaussian fields (n, y, x) with a falling spectrum, each of mean 0 and standard deviation 1."""
    y, x = np.fft.fftfreq(shape[1])[:, None], np.fft.fftfreq(shape[2])[None, :]
    weight = 1 / np.maximum(np.hypot(y, x), 1 / shape[2]) ** power
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * weight).real
    field -= field.mean((1, 2), keepdims=True)
    return field / field.std((1, 2), keepdims=True)


def make_scene(scenes: int, per_scene: int, size: int, seed: int = 7) -> Scene:
    """Return a test part whose patches go from nearly clear to nearly cloudy."""
    rng = np.random.default_rng(seed)
    n = scenes * per_scene
    field = smooth((n, size, size), rng) + np.linspace(-1.5, 1.5, n)[rng.permutation(n), None, None]
    mask = (field > 0).astype(np.uint8)
    mask[:, : max(1, size // 16), : size // 4] = IGNORE
    names = tuple(f"scene{index // per_scene}" for index in range(n))
    return Scene(field, mask, tuple(f"{name}_p{index}" for index, name in enumerate(names)), names)


def make_plan(out: Path, specs: list[Spec], scenes: int = 4, per_scene: int = 2, size: int = 32) -> Plan:
    """Write truth, probabilities and records of these lines under `out` and return their plan."""
    scene = make_scene(scenes, per_scene, size)
    cells = [(make_cell(spec, seed), spec) for spec in specs for seed in spec.seeds]
    plan = Plan(
        "synthetic-quick", tuple(cell for cell, _ in cells), out / "data.zarr", out / "data.split.json", "run all"
    )
    write_truth(plan, scene, out)
    for cell, spec in cells:
        if spec.status == OK:
            write_ok(cell, spec, scene, out)
        elif spec.status != "missing":
            values = {"environment": ENVIRONMENT, "started": "2026-01-02T03:04:05+00:00", "seconds": 3.0}
            record.write(Record(cell.key, asdict(cell), spec.status, spec.reason, **values), cell.folder(out))
    return plan


def make_cell(spec: Spec, seed: int) -> Cell:
    return Cell(
        **{"row": spec.row, "family": spec.family, "study_id": f"exp_{spec.row}", "note": spec.note},
        **{"data": "synthetic", "fingerprint": digest("data"), "split": digest("split"), "bands": ("S1", "S2", "S3")},
        **{"profile": "quick", "seed": seed, "trials": 5 if spec.tuned else 0, "cap": 60.0, "device": spec.device},
        **{"budget": Budget(), "latency": 5, "code": digest(spec.row)},
        **{"factors": spec.factors, "weights": spec.weights},
    )


def write_truth(plan: Plan, scene: Scene, out: Path) -> None:
    folder = plan.cells[0].truth(out)
    folder.mkdir(parents=True, exist_ok=True)
    surface = np.array([30, 60, 90]) + 15 * smooth(scene.field.shape, np.random.default_rng(1))[..., None]
    cloud = np.clip(scene.field + 0.4, 0, 1.2)[..., None] / 1.2
    np.save(folder / "composite.npy", np.clip(surface * (1 - cloud) + 245 * cloud, 0, 255).astype(np.uint8))
    np.save(folder / "mask.npy", scene.mask)
    (folder / "meta.json").write_text(json.dumps({"patches": scene.patches, "scenes": scene.scenes}))


def write_ok(cell: Cell, spec: Spec, scene: Scene, out: Path) -> Record:
    """Write the record of a method that sees the field through noise, its probabilities, model and log."""
    rng = np.random.default_rng([cell.seed, *spec.row.encode(), spec.tuned])
    noise = spec.skill * smooth(scene.field.shape, rng, power=1.2)
    probability = (1 / (1 + np.exp(-4 * (scene.field + noise)))).astype(np.float16)
    folder = cell.folder(out)
    (folder / "model").mkdir(parents=True, exist_ok=True)
    np.save(folder / "probabilities.npy", probability)
    (folder / "model" / "method.json").write_text("{}")
    (folder / "log.txt").write_text("fitted\n" * 3)
    cloud = probability > 0.5
    counts = {"counts": confusion(cloud, scene.mask).tolist(), "boundary": boundary.counts(cloud, scene.mask)}
    done = replace(_costs(cell, spec, scene.mask.size), **counts, facts=_facts(spec))
    if spec.factors and not (cell.seed or cell.tuned):
        points = {"points": rng.normal(size=(60, 2)), "cloud": rng.random(60) < 0.5, "surface": rng.integers(0, 2, 60)}
        np.savez(folder / embedding.FILE, **points, surfaces=np.array(["land", "water"]), projection=np.array("PCA"))
    record.write(replace(done, patches=list(scene.patches), scenes=list(scene.scenes)), folder)
    return done


def _facts(spec: Spec) -> dict[str, object]:
    """Return what a network says of its fit, as the training loop does."""
    if not spec.factors:
        return {}
    facts = {"input scale": spec.factors["input scale"], "input mean": [0.1, 0.2], "step_s": spec.seconds / 1000}
    if spec.device.startswith("cuda"):
        peaks = {
            f"vram_{phase}": 10**9 * (place + 1) for place, phase in enumerate(("load", "forward", "backward", "step"))
        }
        facts |= {"micro_batch": 4, "mfu": 0.31, **peaks}
    return facts


def _costs(cell: Cell, spec: Spec, pixels: int) -> Record:
    cuda = spec.device.startswith("cuda")
    curves = [
        {
            "epoch": e,
            "train_loss": 0.6 * 0.85**e + 0.1 + 0.01 * cell.seed,
            "val_loss": 0.5 * 0.9**e + 0.2 + 0.01 * cell.seed,
            "score": 0.9 - spec.skill / 3 - 0.4 * 0.7 ** (e + 1),
        }
        for e in range(spec.epochs)
    ]
    laps = {"fit": [spec.seconds, 0.25], "predict": [pixels / 1e6 / spec.speed], "latency": [0.010, 0.012, 0.050]}
    trials = [
        {"number": i, "params": {"depth": i}, "value": 0.7 + i / 50, "state": "complete", "seconds": 2.0}
        for i in range(3)
    ]
    vram = 2_000_000_000 if cuda else None
    memory = {"rss_start": 400_000_000, "rss_fit": 900_000_000, "rss_predict": 700_000_000}
    return Record(
        **{
            "key": cell.key,
            "cell": asdict(cell),
            "status": OK,
            "params": {"depth": 8, "scales": [1, 2], "inner": {"rate": 0.1}},
        },
        **{"parameters": spec.parameters and {"total": spec.parameters, "trainable": spec.parameters // 10}},
        **{"validation": 0.8, "curves": curves, "trials": trials if spec.tuned else []},
        **{"laps": {**laps, "tune": [2.0, 2.0]} if spec.tuned else laps, "pixels": pixels},
        memory={**memory, "vram_allocated": vram, "vram_reserved": vram, "vram_process": None},
        energy={"fit": 1000.0 if cuda else None, "predict": 50.0 if cuda else None},
        environment={**ENVIRONMENT, "device": {"kind": "cuda", "name": "Example GPU"} if cuda else {"kind": "cpu"}},
        started="2026-01-02T03:04:05+00:00",
        seconds=12.5,
    )


WEIGHTS_ABSENT = "the weights are not here; fetch them with `python -m benchmark data weights prithvi-300`"
REALISTIC = [
    Spec("majority", "floor", 9.0, seconds=0.01, speed=90.0),
    Spec("threshold-bt11", "threshold", 1.3, seconds=0.05, speed=60.0),
    Spec("threshold-reflectance", "threshold", 0.9, seconds=0.05, speed=62.0),
    Spec("threshold-reflectance", "threshold", 0.8, tuned=True, seconds=0.05, speed=61.0),
    Spec("naive-bayes", "probabilistic", 0.75, seconds=0.4, speed=8.0, note="S4 left out: its histogram is degenerate"),
    Spec("naive-bayes", "probabilistic", 0.7, tuned=True, seconds=0.4, speed=8.0),
    Spec("random-forest", "forest", 0.42, seconds=14.0, speed=0.3, seeds=(0, 1)),
    Spec("random-forest", "forest", 0.40, tuned=True, seconds=31.0, speed=0.25, seeds=(0, 1)),
    Spec("random-forest-texture", "forest", 0.36, seconds=30.0, speed=0.2, seeds=(0, 1)),
    Spec("lightgbm", "boosting", 0.40, seconds=4.0, speed=0.134, seeds=(0, 1), parameters=24_000),
    Spec("lightgbm", "boosting", 0.34, tuned=True, seconds=6.0, speed=0.1, seeds=(0, 1), parameters=36_000),
    Spec("unet", "cnn", 0.33, seconds=110.0, speed=1.3, seeds=(0, 1), epochs=20, parameters=1_900_000),
    Spec("unet", "cnn", 0.27, tuned=True, seconds=180.0, speed=0.9, seeds=(0, 1), epochs=20, parameters=7_700_000),
    Spec("prithvi-tiny-frozen", "foundation", 0.5, seconds=60.0, speed=0.4, epochs=10, parameters=26_000_000),
    Spec("prithvi-tiny-full", "foundation", 0.38, seconds=400.0, speed=0.4, epochs=10, parameters=26_000_000),
    Spec("prithvi-300-random-frozen", "foundation", 0.8, seconds=700.0, speed=0.06, epochs=10, parameters=324_000_000),
    Spec("prithvi-300-frozen", "foundation", status="not run", reason=WEIGHTS_ABSENT),
    Spec("prithvi-300-frozen", "foundation", tuned=True, status="not run", reason=WEIGHTS_ABSENT),
    Spec("prithvi-300-full", "foundation", status="timeout", reason="ended after 3600 s"),
    Spec(
        "terramind-frozen",
        "foundation",
        status="failed",
        reason="RuntimeError: shape '[1, 196]' is invalid",
        seeds=(0, 1),
    ),
    Spec("forest-intelex", "forest", status="missing"),
]


def factorial(seeds: tuple[int, ...] = (0, 1, 2)) -> list[Spec]:
    """Return the classical rows and a factorial of 62 foundation models, as the catalogue names and describes them."""
    made = [
        replace(spec, seeds=seeds)
        for spec in REALISTIC
        if spec.row in ("unet", "lightgbm", "random-forest") and not spec.tuned
    ]
    places = [
        ("tiny", "plain"),
        ("tiny", "tl"),
        ("100", "plain"),
        ("300", "plain"),
        ("300", "tl"),
        ("300", "tl-nocoords"),
        ("600", "plain"),
    ]
    for (size, encoding), start, mode in product(
        places, ("pretrained", "random"), ("frozen", "unfrozen", "lora", "head")
    ):
        made.append(_foundation(size, encoding, start, mode, seeds))
    for size, option in product(("tiny", "300"), ("skip", "trainstats", "skip+trainstats")):
        made.append(_foundation(size, "plain", "pretrained", "frozen", seeds, option))
    return made


def _foundation(size: str, encoding: str, start: str, mode: str, seeds: tuple[int, ...], option: str = "") -> Spec:
    """Return a foundation model whose noise is less if it is pretrained, large, or skips."""
    skill = {"tiny": 0.6, "100": 0.5, "300": 0.42, "600": 0.4}[size] * (1.5 if start == "random" else 1.0)
    skill *= {"frozen": 1.0, "unfrozen": 0.9, "lora": 0.92, "head": 1.3}[mode] * (0.8 if "skip" in option else 1.0)
    place = "" if encoding == "plain" else f"-{encoding}"
    name = f"prithvi-{size}{place}-{start}-{mode}" + "".join(f"+{one}" for one in sorted(option.split("+")) if one)
    factors = {"model": "prithvi", "size": size, "encoding": encoding, "start": start, "mode": mode}
    factors |= {
        "input scale": "train" if "trainstats" in option else "own",
        "skip": "on" if "skip" in option else "off",
    }
    weights = "" if start == "random" else size if size == "tiny" else size + encoding[:2]
    return Spec(name, "foundation", skill, seeds=seeds, seconds=len(name) * skill, speed=0.3 / skill, factors=factors,
                weights=weights, parameters=10**8, epochs=3)  # fmt: skip
