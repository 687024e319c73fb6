"""Suites: comparisons that a TOML file states, rows and numbers together. A fault in one is a sentence.

title = "Two rows with equal steps"
why = "What the comparison answers."
rows = ["lightgbm", "prithvi-300-*-frozen"]   # names or globs
bands = "study"                               # as --bands; every key from here on may be left out
profile = "quick"                             # whose numbers hold where this file states none
seeds = 3
trials = 0
patches = { train = 16, val = 8, test = 8 }
budget = { epochs = 20, batch = 8, pixels = 200000, orientations = 8 }
epochs = { "prithvi-300-random-frozen" = 5 }  # of single rows
data = "simulated"                            # where --data is not given
size = 112                                    # rows and columns of a simulated patch
vary = { train = [10, 100], subset = [0, 1] } # every combination is an arm: a plan of its own (see `arms`)
at.quick = { patches = { train = 64 } }       # what is other with a profile
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from benchmark import ROOT, catalog
from benchmark.api import Row, UserError
from benchmark.profiles import PROFILES, Profile
from benchmark.studies import arms

Positive = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=32)]
Patches = dict[Literal["train", "val", "test"], Positive]
FOLDER = ROOT / "benchmark" / "suites"
DATA = "simulated"  # data set where neither the user nor a suite names one
_STRICT = ConfigDict(extra="forbid", strict=True)
_SAID = {"missing": "is missing", "unexpected_keyword_argument": "is no key of a suite"}


@with_config(_STRICT)
@dataclass(frozen=True)
class Numbers:
    """What of `api.Budget` a suite states; None stands for the profile's."""

    epochs: Positive | None = None
    batch: Positive | None = None
    pixels: Positive | None = None
    orientations: Literal[1, 8] | None = None


@with_config(_STRICT)
@dataclass(frozen=True)
class Changes:
    """What of a suite is other with a profile; None stands for the suite's own."""

    rows: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: Positive | None = None
    trials: Annotated[int, Field(ge=0)] | None = None
    size: Size | None = None
    patches: Patches | None = None
    budget: Numbers | None = None
    vary: dict[str, list[Any]] | None = None


@with_config(_STRICT)
@dataclass(frozen=True)
class Suite:
    """A comparison.

    Attributes:
        title: what it is, in a line.
        why: what it answers, and what of it is not as it should be.
        rows: names, and globs of enumerated rows.
        bands: band set or list.
        profile: whose numbers hold where the suite states none; None: as without a suite.
        seeds, trials: as in `profiles.Profile`.
        patches: at most, by part; a given data set is cut to them.
        budget: for all rows.
        epochs: of single rows, whatever factor a row has of its own.
        data: data set where the user names none.
        size: rows and columns of a simulated patch.
        vary: axis -> values, see `arms`; empty for a single plan.
        at: profile -> what is other with it.
        name: of its file.
    """

    title: str
    why: str
    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    bands: str = "hls"
    profile: str | None = None
    seeds: Positive | None = None
    trials: Annotated[int, Field(ge=0)] | None = None
    patches: Patches = field(default_factory=dict)
    budget: Numbers = field(default_factory=Numbers)
    epochs: dict[str, Positive] = field(default_factory=dict)
    data: str = DATA
    size: Size | None = None
    vary: dict[str, list[Any]] = field(default_factory=dict)
    at: dict[str, Changes] = field(default_factory=dict)
    name: str = ""

    def chosen(self) -> list[Row]:
        """Return its rows."""
        return catalog.choose(self.rows, ())

    def with_profile(self, name: str) -> Suite:
        """Return what this suite is with a profile."""
        if name not in self.at:
            return self
        stated = {f.name: getattr(self.at[name], f.name) for f in fields(Changes)}
        return replace(self, **{key: value for key, value in stated.items() if value is not None})

    def numbers(self, profile: Profile) -> Profile:
        """Return a profile with what this suite states put in."""
        stated = {f.name: getattr(self.budget, f.name) for f in fields(Numbers)}
        budget = replace(profile.budget, **{name: value for name, value in stated.items() if value is not None})
        trials = profile.trials if self.trials is None else self.trials
        seeds, size = self.seeds or profile.seeds, self.size or profile.size
        changed = replace(profile, budget=budget, seeds=seeds, trials=trials, size=size)
        return cut(changed, {str(part): count for part, count in self.patches.items()}) if self.patches else changed


def cut(profile: Profile, patches: dict[str, int]) -> Profile:
    """Return a profile with these numbers of patches, also of given data."""
    return replace(profile, patches={**profile.patches, **patches}, cuts=True)


def known() -> list[str]:
    """Return the names of the suites that come with the benchmark."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> Suite:
    """Return the suite of a name, or in a TOML file, checked.

    Raises:
        UserError: there is none, or something in it is not as it must be.
    """
    path = FOLDER / f"{name}.toml" if name in known() else Path(name)
    if not path.is_file():
        raise UserError(f"there is no suite or file '{name}'; suites are {', '.join(known())}")
    suite = replace(_parse(path), name=path.stem)
    try:
        for profile in (suite.profile, *suite.at):
            _check_profile(profile)
        for each in (suite, *map(suite.with_profile, suite.at)):
            each.chosen()
            arms.stated(each.vary)
        _check_epochs(suite)
    except UserError as error:
        raise UserError(f"suite {path.name}: {error}") from None
    return suite


def _parse(path: Path) -> Suite:
    """Return the suite of a file, its keys and types checked."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"suite {path.name} is not TOML: {error}") from None
    if "name" in content:
        raise UserError(f"suite {path.name}: 'name' is no key of a suite, which is called like its file")
    try:
        return TypeAdapter(Suite).validate_json(json.dumps(content, default=str))  # JSON: a list may be a tuple
    except ValidationError as error:
        raise UserError(f"suite {path.name}: {'; '.join(map(_said, error.errors()))}") from None


def _said(fault: Any) -> str:
    """Return one of pydantic's faults as half a sentence."""
    where = ".".join(str(part) for part in fault["loc"])
    text = fault["msg"][0].lower() + fault["msg"][1:]
    return f"'{where}' {_SAID.get(fault['type'], f'is not as it must be ({text})')}"


def _check_profile(name: str | None) -> None:
    """Raise UserError at a profile that there is not."""
    if name not in (None, *PROFILES):
        raise UserError(f"no profile is called '{name}'; profiles are {', '.join(PROFILES)}")


def _check_epochs(suite: Suite) -> None:
    """Raise UserError at epochs of a row that the suite does not have, or beside arms of other epochs."""
    every = (suite, *map(suite.with_profile, suite.at))
    if suite.epochs and any("epochs" in each.vary for each in every):
        raise UserError("single rows have epochs and 'vary' has some for all; state one of the two")
    rows = {row.name for each in every for row in each.chosen()}
    stranger = next((name for name in suite.epochs if name not in rows), None)
    if stranger:
        raise UserError(f"'{stranger}' has epochs and is none of its rows")
