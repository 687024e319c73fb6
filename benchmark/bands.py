"""Which bands a comparison sees, and which role each plays: named sets for every method.

An entry is the name of a band, or NAME=ROLE for a band that plays another role than its own: `S2=BLUE` is band S2 where
a method looks for BLUE. Sets are made of roles, so that they mean the same on other sensors; a band may play several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmark.api import ELEVATION, HLS_ROLES, ROLES, Band, UserError


@dataclass(frozen=True)
class BandSet:
    """A set with a fixed place for each band.

    Attributes:
        about: what it is, for the user.
        players: role of the band that plays each of `roles`.
        roles: in the order of the channels.
    """

    about: str
    players: tuple[str, ...]
    roles: tuple[str, ...] = HLS_ROLES


FIVE = HLS_ROLES[1:]
NINE = ("GREEN", "RED", "NIR_NARROW", "CIRRUS", "SWIR_1", "SWIR_2", "BT_37", "BT_11", "BT_12")
FIXED = {
    "study": BandSet(
        "what the study fed Prithvi: S2 S2 S3 S5 S5 S6 as BLUE GREEN RED NIR_NARROW SWIR_1 SWIR_2",
        ("RED", "RED", "NIR_NARROW", "SWIR_1", "SWIR_1", "SWIR_2"),
    ),
    "study-readme": BandSet(
        "what the study's README says was meant: S1 S1 S2 S3 S5 S6 in these places",
        ("GREEN", *FIVE),
    ),
    "study-slides": BandSet("what the study's slides say: OLCI's Oa04 as BLUE, and S1 S2 S3 S5 S6", HLS_ROLES),
    "five": BandSet("the bands of SLSTR that Prithvi knows, each in its own role: S1 S2 S3 S5 S6", FIVE, FIVE),
    "nine": BandSet("the bands of SLSTR, each in its own role, and no elevation: S1 to S9", NINE, NINE),
}
SETS = {
    "hls": "bands whose role Prithvi knows, as far as they are there: " + ", ".join(HLS_ROLES),
    "all": "every band of the data set",
    **{name: chosen.about for name, chosen in FIXED.items()},
    "shuffled": "control for methods that find bands by role: the bands of hls, each in the role of the band half "
    "their number further on; wavelengths stay true, so it is none for those that read them (DOFA)",
}


def choose(bands: Sequence[Band], spec: str) -> tuple[str, ...]:
    """Return the entries that a set, or a comma-separated list of names, roles and NAME=ROLE, stands for.

    Args:
        bands: of the data set.
        spec: what the user typed.

    Raises:
        UserError: a band or role that is not there, a role that two bands would play, or nothing that shows a cloud.
    """
    if spec == "all":
        return tuple(band.name for band in bands)
    if spec in ("hls", "shuffled"):
        return _hls(bands, spec == "shuffled")
    if spec in FIXED:
        return _fixed(bands, spec)
    entries = tuple(dict.fromkeys(_entry(bands, text.strip()) for text in spec.split(",")))
    if all(band.quantity == ELEVATION for _, band in played(bands, entries)):
        raise UserError(f"bands {spec} hold nothing that a sensor measured; add some that it did")
    return entries


def _hls(bands: Sequence[Band], shuffled: bool) -> tuple[str, ...]:
    """Return the bands of a role that Prithvi knows; shuffled, each plays the role of another one of them.

    The permutation is fixed: half their number, rounded down, further on in the order of the data set.
    """
    found = [band for band in bands if band.role in HLS_ROLES]
    if not found:
        raise UserError("the data set has none of the bands that Prithvi knows; choose others with --bands")
    if not shuffled:
        return tuple(band.name for band in found)
    if len(found) < 2:
        raise UserError(f"band '{found[0].name}' is the only one that Prithvi knows, so there is nothing to shuffle")
    half = len(found) // 2
    others = (*found[half:], *found[:half])
    return tuple(f"{band.name}={other.role}" for band, other in zip(found, others, strict=True))


def _fixed(bands: Sequence[Band], name: str) -> tuple[str, ...]:
    """Return the entries of a set with fixed places."""
    known, chosen = {band.role: band for band in bands}, FIXED[name]
    lacking = next((role for role in chosen.players if role not in known), None)
    if lacking:
        raise UserError(f"the data set has no band of role {lacking}, which band set '{name}' needs")
    pairs = zip(chosen.players, chosen.roles, strict=True)
    return tuple(_written(known[player], role) for player, role in pairs)


def _entry(bands: Sequence[Band], text: str) -> str:
    """Return what the user typed as an entry: the band by its name, the role only where it is not its own."""
    name, _, role = (word.strip() for word in text.partition("="))
    known = {band.role: band for band in bands} | {band.name: band for band in bands}
    if name not in known:
        raise UserError(
            f"the data set has no band '{name}'; its bands are {', '.join(known)}, and band sets {', '.join(SETS)}"
        )
    if "=" in text and role not in {*ROLES, *(band.role for band in bands)}:
        raise UserError(f"there is no role '{role}' for band '{name}' to play; roles are {', '.join(ROLES)}")
    if role and (known[name].quantity == ELEVATION) != (role == "ELEVATION"):
        raise UserError(f"band '{name}' cannot play {role}: elevation plays ELEVATION, and nothing else does")
    return _written(known[name], role or known[name].role)


def _written(band: Band, role: str) -> str:
    return band.name if role == band.role else f"{band.name}={role}"


def shortly(spec: str) -> str:
    """Return a list of roles as what it adds to nine or five bands or leaves out of five; any other spec as it is."""
    roles = spec.split(",")
    name, known = ("nine", NINE) if set(NINE) <= set(roles) else ("five", FIVE)
    more, fewer = ([role for role in one if role not in other] for one, other in ((roles, known), (known, roles)))
    if set(more) - set(ROLES) or len(fewer) > 2:
        return spec
    return " ".join([name, *(f"+ {role}" for role in more), *(f"- {role}" for role in fewer)])


def true_name(entry: str) -> str:
    """Return the name of the band of an entry."""
    return entry.partition("=")[0]


def played(bands: Sequence[Band], entries: Sequence[str]) -> list[tuple[int, Band]]:
    """Return position in `bands` and band of each entry; the band has the role it plays, all else is its own.

    Raises:
        UserError: two entries play one role.
    """
    position = {band.name: place for place, band in enumerate(bands)}
    found = []
    for entry in entries:
        name, _, role = entry.partition("=")
        own = bands[position[name]]
        found.append((position[name], replace(own, role=role or own.role)))
    roles = [band.role for _, band in found]
    twice = next((role for role in roles if roles.count(role) > 1), None)
    if twice:
        raise UserError(f"role {twice} is played twice in bands {', '.join(entries)}")
    return found
