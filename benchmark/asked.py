"""What the user typed, and the profile that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import splits
from benchmark.api import UserError
from benchmark.measure import cuda_devices
from benchmark.profiles import MANY, PROFILES, Profile
from benchmark.studies import suites


@dataclass(frozen=True)
class Asked:
    """What the user typed; None stands for the suite's, the profile's or the machine's own value."""

    rows: Sequence[str] = ("all",)
    data: str | None = None
    profile: str | None = None
    seeds: int | None = None
    trials: int | None = None
    bands: str | None = None
    out: Path = Path("results")
    weights_dir: Path | None = None
    device: str | None = None
    storage: str = ""
    whole: bool = False
    suite: str | None = None
    patches: str | None = None
    epochs: int | None = None
    budget_seconds: float | None = None
    labels: str = ""


def profile_name(asked: Asked, suite: suites.Suite | None) -> str:
    """Return the profile whose numbers hold; `study` is the default with a GPU, else `quick`.

    Raises:
        UserError: there is no such profile.
    """
    default = "study" if asked.device != "cpu" and cuda_devices() else "quick"
    name = asked.profile or (suite.profile if suite else None) or default
    if name not in PROFILES:
        raise UserError(f"no profile is called '{name}'; profiles are {', '.join(PROFILES)}")
    return name


def profile(asked: Asked, name: str, suite: suites.Suite | None) -> Profile:
    """Return a profile with the suite's and, above these, the user's own numbers in it.

    Raises:
        UserError: numbers that contradict each other.
    """
    chosen = suite.numbers(PROFILES[name]) if suite else PROFILES[name]
    chosen = replace(
        chosen,
        seeds=asked.seeds or chosen.seeds,
        trials=chosen.trials if asked.trials is None else asked.trials,
        budget=replace(chosen.budget, epochs=asked.epochs or chosen.budget.epochs),
        cuts=chosen.cuts and not asked.whole,
    )
    if asked.budget_seconds is not None:
        chosen = _by_time(chosen, asked)
    if asked.patches is None:
        return chosen
    if asked.whole:
        raise UserError("--whole and --patches contradict each other; give one of them")
    return suites.cut(chosen, _numbers(asked.patches))


def _by_time(profile: Profile, asked: Asked) -> Profile:
    """Return the profile with so many seconds for each row, and as many trials as fit in."""
    if asked.trials is not None:
        raise UserError("--budget-seconds and --trials contradict each other; give one of them")
    seconds = asked.budget_seconds or 0.0
    return replace(profile, trials=MANY, cap=seconds, allowance=seconds)


def _numbers(text: str) -> dict[str, int]:
    """Return the numbers of patches by part that the user typed."""
    words = text.split(",")
    if len(words) != len(splits.PARTS) or not all(word.strip().isdecimal() and int(word) for word in words):
        raise UserError(f"--patches takes how many train, choose and test, as in 16,8,8, and not '{text}'")
    return dict(zip(splits.PARTS, map(int, words), strict=True))
