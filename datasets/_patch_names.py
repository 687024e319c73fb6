"""What the names of patches and bands in a patch folder say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmark.api import BRIGHTNESS_TEMPERATURE, ELEVATION, REFLECTANCE, ROLES, Band, UserError

# <timestamp>_<index>_<size>, names of the EUMETSAT study; and <biome>_<scene>_<tile>.
TIMESTAMP = re.compile(r"(?P<scene>(?P<time>\d{8}(?:T?\d{6})?))_\d+_\d+")
BIOME = re.compile(r"(?P<scene>(?P<biome>[A-Za-z]+)_[^_]+)_[^_]+")
TIME_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

# Other names of roles: TerraTorch's, USGS's for the thermal bands of Landsat, and the SLSTR band numbers.
ALIASES = {
    "NIR": "NIR_NARROW",
    "TIR_1": "BT_11",
    "B10": "BT_11",
    "TIR_2": "BT_12",
    "S1": "GREEN",
    "S2": "RED",
    "S3": "NIR_NARROW",
    "S4": "CIRRUS",
    "S5": "SWIR_1",
    "S6": "SWIR_2",
    "S7": "BT_37",
    "S8": "BT_11",
    "S9": "BT_12",
    "DEM": "ELEVATION",
}


@dataclass(frozen=True)
class Name:
    """What a patch id says: its scene, its time in UTC ("NaT" where unknown), its biome ("" where unknown)."""

    scene: str
    time: str
    biome: str


def compile_pattern(text: str | None) -> re.Pattern[str] | None:
    """Return the user's scene pattern as a regular expression.

    Raises:
        UserError: not a regular expression, or one without a group called scene.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"scene pattern '{text}' is not a regular expression: {error}") from None
    if "scene" not in pattern.groupindex:
        raise UserError(f"scene pattern '{text}' has no group (?P<scene>...)")
    return pattern


def read_name(patch: str, pattern: re.Pattern[str] | None = None) -> Name:
    """Return scene, time and biome of a patch id, which the pattern must match wholly.

    Without a pattern the id is `<timestamp>_<index>_<size>` (the timestamp is the scene and, in UTC, the time) or
    `<biome>_<scene>_<tile>` (the first two fields are the scene).

    Raises:
        UserError: the id follows no rule.
    """
    rules = (pattern,) if pattern else (TIMESTAMP, BIOME)
    found = next((match for rule in rules if (match := rule.fullmatch(patch))), None)
    if found is None:
        rule = f"'{pattern.pattern}'" if pattern else "<timestamp>_<index>_<size> or <biome>_<scene>_<tile>"
        raise UserError(f"patch id '{patch}' does not follow {rule}; say where its scene is with scene_pattern")
    groups = {name: value or "" for name, value in found.groupdict().items()}
    if not groups["scene"]:
        raise UserError(f"patch id '{patch}' gives an empty scene")
    time = _time(patch, groups["time"]) if groups.get("time") else "NaT"
    return Name(groups["scene"], time, groups.get("biome", ""))


def _time(patch: str, text: str) -> str:
    digits = re.sub(r"\D", "", text)
    try:
        return datetime.strptime(digits, TIME_FORMATS[len(digits)]).isoformat()
    except (KeyError, ValueError):
        raise UserError(f"patch id '{patch}' has no date or time in '{text}'; give another scene_pattern") from None


def make_bands(names: Sequence[str], given: Sequence[str]) -> tuple[Band, ...]:
    """Return the band table for the names that files give ("" where they give none) or, instead, the user gives.

    Raises:
        UserError: another number of names than bands, or a name that stands for no role.
    """
    if given and len(given) != len(names):
        raise UserError(f"option bands names {len(given)} bands, and the files of a patch have {len(names)}")
    if not given and "" in names:
        raise UserError("the GeoTIFFs have no band descriptions; name their bands in order, bands=GREEN,RED,...")
    return tuple(_band(name) for name in given or names)


def _band(name: str) -> Band:
    role = ALIASES.get(name.upper(), name.upper())
    if role not in ROLES:
        known = ", ".join((*ROLES, *ALIASES))
        raise UserError(f"band '{name}' has no known role; name the bands in order, bands=..., from {known}")
    measured = BRIGHTNESS_TEMPERATURE if role.startswith("BT_") else REFLECTANCE
    return Band(name, role, ROLES[role], ELEVATION if role == "ELEVATION" else measured)
