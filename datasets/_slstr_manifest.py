"""The list of files in an SLSTR product's manifest, and which of them the reader needs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmark.api import UserError

MANIFEST = "xfdumanifest.xml"
# Nadir measurements, and what calibrates, locates and flags them: 162 MB of the 455 MB of a day product.
NEEDED = (
    *(f"S{band}_radiance_an.nc" for band in range(1, 7)),
    *(f"S{band}_BT_in.nc" for band in range(7, 10)),
    "F1_BT_fn.nc",
    "F2_BT_in.nc",
    *(f"{kind}_{grid}.nc" for kind in ("geodetic", "cartesian") for grid in ("an", "in", "tx")),
    *(f"indices_{grid}.nc" for grid in ("an", "in", "fn")),
    "flags_an.nc",
    "flags_in.nc",
    "geometry_tn.nc",
    "time_in.nc",
    "viscal.nc",
)

_FILE = re.compile(r"(?:\./)?(\w+\.(?:nc|xml))", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Listed:
    """What a manifest says of a file: size in bytes, and MD5 in lower-case hexadecimal digits."""

    size: int
    md5: str


class Unsound(UserError):
    """What a server has of one product is not whole; other products may be."""


def read_manifest(content: bytes, product: str) -> dict[str, Listed]:
    """Return the files of a product by name, as its xfdumanifest.xml lists them, itself not among them.

    Raises:
        Unsound: not a manifest, an object without size or MD5, or a name that is not a plain file name.
    """
    try:
        objects = list(ElementTree.fromstring(content).iter("dataObject"))
    except (ElementTree.ParseError, LookupError, ValueError):  # LookupError: an unknown encoding
        raise Unsound(f"{MANIFEST} of {product} is damaged: not XML") from None
    if not objects:
        raise Unsound(f"{MANIFEST} of {product} is damaged: it lists no files")
    return dict(_listed(element, product) for element in objects)


def _listed(element: ElementTree.Element, product: str) -> tuple[str, Listed]:
    place, stream = element.find("byteStream/fileLocation"), element.find("byteStream")
    href = "" if place is None else place.get("href", "")
    name = _FILE.fullmatch(href)
    if name is None:
        raise Unsound(f"{MANIFEST} of {product} names '{href[:80]}', which is not a plain file name")
    size = "" if stream is None else stream.get("size", "")
    md5 = (element.findtext("byteStream/checksum[@checksumName='MD5']") or "").strip().lower()
    if not (size.isascii() and size.isdecimal() and _MD5.fullmatch(md5)):
        raise Unsound(f"{MANIFEST} of {product} gives no size and MD5 of {name[1]}")
    return name[1], Listed(int(size), md5)


def verify(product: Path) -> int:
    """Compare size and MD5 of the files that are present with the manifest; return how many were compared.

    Raises:
        UserError: there is no readable manifest, a file differs from it, or none of its files is there.
    """
    compared = 0
    if not (product / MANIFEST).exists():
        raise UserError(f"{MANIFEST} is missing from {product.name}")
    for name, listed in read_manifest((product / MANIFEST).read_bytes(), product.name).items():
        path = product / name
        if not path.exists():
            continue
        size = path.stat().st_size
        if size != listed.size:
            raise UserError(f"{name} of {product.name} has {size} bytes; its manifest says {listed.size}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != listed.md5:
                raise UserError(f"{name} of {product.name} differs from the checksum in its manifest")
        compared += 1
    if not compared:
        raise UserError(f"{product.name} holds none of the files that its manifest lists")
    return compared


def wanted(files: dict[str, Listed], entries: str) -> dict[str, Listed]:
    """Return the files to fetch: of all those that a manifest lists the needed ones, or with entries 'all' each."""
    return {name: listed for name, listed in files.items() if entries == "all" or name in NEEDED}


def absent(files: dict[str, Listed]) -> list[str]:
    """Return which of the needed files a manifest does not list: a product of the night may come without some."""
    return [name for name in NEEDED if name not in files]
