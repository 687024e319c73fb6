"""Profiles: the numbers of a run. Same code for all, only these differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.api import Budget

MANY = 10_000  # trials where only the time counts: more than any row makes in it
LARGE = tuple(f"prithvi-{size}-*-{mode}" for size in (300, 600) for mode in ("frozen", "unfrozen", "lora", "head"))
CLASSICAL = ("majority", "slstr-*", "threshold*", "naive-bayes", "random-forest*", "lightgbm", "unet")


@dataclass(frozen=True)
class Profile:
    """How much of everything.

    Attributes:
        rows: names, and globs of enumerated rows, that `all` stands for.
        patches: patches per part that a source makes.
        cuts: whether a given data set is cut to `patches` as well.
        size: rows and columns of a simulated patch.
        budget: as in `api.Budget`.
        trials: trials of tuning per method, the defaults being the first.
        cap: seconds that tuning one method may take beyond its default run.
        allowance: as in `plan.Cell`.
        seeds: number of seeds.
        latency: single-patch predictions to time.
        timeout: seconds after which a cell is ended.
    """

    name: str
    rows: tuple[str, ...]
    patches: Mapping[str, int] = field(default_factory=dict)
    cuts: bool = True
    size: int = 224
    budget: Budget = field(default_factory=Budget)
    trials: int = 3
    cap: float = 60.0
    allowance: float = 0.0
    seeds: int = 1
    latency: int = 5
    timeout: float = 3600.0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            rows=(
                *CLASSICAL,
                "prithvi-tiny-random-frozen",
                "prithvi-tiny-random-unfrozen",
                "prithvi-tiny-random-lora",
                "prithvi-tiny-random-head",
                "prithvi-tiny-random-linear",
                "prithvi-tiny-pretrained-frozen",
                "prithvi-tiny-tl-random-frozen",
            ),
            patches={"train": 8, "val": 4, "test": 4},
            size=32,
            budget=Budget(epochs=1, batch=4, pixels=4_000),
            trials=2,
            cap=60.0,
            latency=2,
            timeout=300.0,
        ),
        Profile(
            name="quick",
            rows=(
                *CLASSICAL,
                "prithvi-tiny-random-*frozen",
                "prithvi-tiny-simpretrained-*frozen",
                "prithvi-tiny-pretrained-*frozen",
                "prithvi-tiny-random-lora",
                "prithvi-300-random-frozen",
                "prithvi-300-pretrained-frozen",
            ),
            patches={"train": 24, "val": 8, "test": 16},
            budget=Budget(epochs=8, batch=2, pixels=100_000),
            trials=3,
            cap=60.0,
            latency=3,
            timeout=600.0,
        ),
        Profile(
            name="study",
            rows=(*CLASSICAL, *LARGE),  # and none of the rows with more epochs, which suites name
            patches={"train": 437, "val": 141, "test": 166},
            cuts=False,
            budget=Budget(epochs=20, batch=8, pixels=1_000_000, orientations=8),
            trials=12,
            cap=1800.0,
            seeds=3,
            latency=50,
            timeout=6 * 3600.0,
        ),
    )
}
