"""What to look for in the Data Store, and the lock file that keeps what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmark.api import UserError, digest
from benchmark.sources import Search
from datasets._slstr_names import parse
from datasets._slstr_store import COLLECTION, Product, product_of

OPTIONS = ("satellite", "timeliness", "entries")
SATELLITES = {"S3A": "Sentinel-3A", "S3B": "Sentinel-3B", "S3C": "Sentinel-3C", "S3D": "Sentinel-3D"}
TIMELINESS = ("NR", "NT")
ENTRIES = ("needed", "all")


@dataclass(frozen=True)
class Query:
    """A search that was found sound.

    Attributes:
        terms: one set of search terms a box; two where the area crosses the date line.
        entries: 'needed' or 'all' files of a product.
    """

    terms: tuple[Mapping[str, str], ...]
    entries: str

    @property
    def lock(self) -> str:
        """Name of the lock file: the same for the same search, and for no other."""
        return f"search-{digest(COLLECTION, [sorted(terms.items()) for terms in self.terms])[:8]}.json"


def query_of(search: Search) -> Query:
    """Return what to ask the Data Store for.

    Raises:
        UserError: a date that is none, an end before the start, an area without width, or an option that there is not.
    """
    options = dict(search.options)
    unknown = next((name for name in options if name not in OPTIONS), None)
    if unknown:
        raise UserError(f"slstr products have no option '{unknown}'; the options are {', '.join(OPTIONS)}")
    start, end = _moment(search.start, False), _moment(search.end, True)
    if end < start:
        raise UserError(f"the search ends at {search.end}, before it starts at {search.start}")
    terms = {"dtstart": f"{start:%Y-%m-%dT%H:%M:%SZ}", "dtend": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    if "satellite" in options:
        terms["sat"] = SATELLITES[_one_of("satellite", options, tuple(SATELLITES))]
    if "timeliness" in options:
        terms["timeliness"] = _one_of("timeliness", options, TIMELINESS)
    entries = _one_of("entries", {"entries": "needed", **options}, ENTRIES)
    return Query(tuple({**terms, "bbox": box} for box in _boxes(*search.bbox)), entries)


def _moment(text: str, last: bool) -> datetime:
    """Return a date or time as UTC; a date that ends a search stands for its last second."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"'{text}' is not an ISO 8601 date or time, such as 2021-08-27 or 2021-08-27T07:43:36"
        ) from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment + timedelta(days=1, seconds=-1) if last and len(text) <= len("2021-08-27") else moment


def _one_of(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> str:
    if options[name] not in known:
        raise UserError(f"option {name} is one of {', '.join(known)}, not '{options[name]}'")
    return options[name]


def _boxes(west: float, south: float, east: float, north: float) -> list[str]:
    spans = [(west, east)] if west < east else [(west, 180.0), (-180.0, east)]
    boxes = [f"{left:.9g},{south:.9g},{right:.9g},{north:.9g}" for left, right in spans if left < right]
    if west == east or not boxes:
        raise UserError(f"the area from {west:g} to {east:g} degrees east has no width")
    return boxes


def newest(found: list[Product]) -> list[Product]:
    """Leave out products that were made again: of one platform and start, not time critical first, then the latest."""
    best: dict[tuple[str, datetime], Product] = {}
    for product in sorted(found, key=_rank):
        name = parse(f"{product.name}.SEN3")
        best[name.platform, name.start] = product
    return [product for product in found if product in best.values()]


def _rank(product: Product) -> tuple[bool, datetime]:
    name = parse(f"{product.name}.SEN3")
    return name.timeliness == "NT", name.creation


def write_lock(path: Path, query: Query, found: list[Product]) -> None:
    """Keep the result of a search, so that the same search gives the same products later."""
    content = {
        "collection": COLLECTION,
        "query": [dict(terms) for terms in query.terms],
        "searched": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "products": [asdict(product) for product in found],
    }
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def read_lock(path: Path) -> list[Product] | None:
    """Return the products of a search that was made before, or None.

    Raises:
        UserError: the lock file is damaged.
    """
    if not path.is_file():
        return None
    try:
        products = json.loads(path.read_text())["products"]
        return [product_of(each["id"], each["md5"], each["entries"]) for each in products]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged: delete it, and the search is made again") from None
