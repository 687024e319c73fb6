"""The manifest of a simulated level-1B product: size and MD5 of every file, and what catalogues ask for."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as tree

import numpy as np

from datasets.simulator import product_geometry as geometry
from datasets.simulator import tables
from datasets.simulator.product_frame import Frame, utc
from datasets.simulator.sen3_files import TWINS, WIDTHS

NAMESPACES = {
    "xfdu": "urn:ccsds:schema:xfdu:1",
    "sentinel-safe": "http://www.esa.int/safe/sentinel/1.1",
    "gml": "http://www.opengis.net/gml",
    "sentinel3": "http://www.esa.int/safe/sentinel/sentinel-3/1.0",
    "slstr": "http://www.esa.int/safe/sentinel/sentinel-3/slstr/1.0",
}
POINTS = 20  # of the footprint along a side


@dataclass(frozen=True)
class Entry:
    """A file: its name, what it is, bytes, MD5 in hexadecimal digits."""

    name: str
    summary: str
    size: int
    md5: str


def manifest(frame: Frame, entries: list[Entry], percentages: dict[str, dict[str, float]]) -> bytes:
    """Return the manifest as XML; `percentages` are the shares of flagged pixels, by grid and flag."""
    for prefix, uri in NAMESPACES.items():
        tree.register_namespace(prefix, uri)
    root = tree.Element(_full("xfdu:XFDU"), {"version": "esa/safe/sentinel/sentinel-3/slstr/level-1/1.0"})
    metadata = tree.SubElement(root, "metadataSection")
    for name, content in (
        ("acquisitionPeriod", _period(frame)),
        ("platform", _platform()),
        ("generalProductInformation", _general(frame, sum(entry.size for entry in entries))),
        ("slstrProductInformation", _product(frame, percentages)),
        ("measurementOrbitReference", _orbit(frame)),
        ("measurementFrameSet", _footprint(frame)),
    ):
        holder = tree.SubElement(metadata, "metadataObject", ID=name, classification="DESCRIPTION", category="DMD")
        wrap = tree.SubElement(holder, "metadataWrap", mimeType="text/xml", vocabularyName="Sentinel-SAFE")
        tree.SubElement(wrap, "xmlData").append(content)
    _objects(tree.SubElement(root, "dataObjectSection"), entries)
    tree.indent(root)
    return bytes(tree.tostring(root, "UTF-8", xml_declaration=True))


def _full(name: str) -> str:
    prefix, plain = name.split(":")
    return f"{{{NAMESPACES[prefix]}}}{plain}"


def _node(name: str, /, *content: object, **attrs: str) -> tree.Element:
    """Return an element with children, or with a text."""
    node = tree.Element(_full(name), attrs)
    for part in content:
        if isinstance(part, tree.Element):
            node.append(part)
        else:
            node.text = str(part)
    return node


def _objects(section: tree.Element, entries: list[Entry]) -> None:
    for entry in entries:
        identity = "ADFData" if entry.name == "viscal.nc" else f"SLSTR_{entry.name.removesuffix('.nc').upper()}_Data"
        holder = tree.SubElement(section, "dataObject", ID=identity.replace("RADIANCE", "RAD"))
        stream = tree.SubElement(holder, "byteStream", mimeType="application/x-netcdf", size=str(entry.size))
        place = {"locatorType": "URL", "textInfo": entry.summary, "href": f"./{entry.name}"}
        tree.SubElement(stream, "fileLocation", place)
        tree.SubElement(stream, "checksum", checksumName="MD5").text = entry.md5


def _period(frame: Frame) -> tree.Element:
    return _node(
        "sentinel-safe:acquisitionPeriod",
        _node("sentinel-safe:startTime", utc(frame.start)),
        _node("sentinel-safe:stopTime", utc(frame.stop)),
    )


def _platform() -> tree.Element:
    family = _node("sentinel-safe:familyName", "Sea and Land Surface Temperature Radiometer", abbreviation="SLSTR")
    return _node(
        "sentinel-safe:platform",
        _node("sentinel-safe:familyName", "Sentinel-3"),
        _node("sentinel-safe:number", "A"),
        _node("sentinel-safe:instrument", family),
    )


def _general(frame: Frame, size: int) -> tree.Element:
    seconds = int((frame.stop - frame.start) / np.timedelta64(1, "s"))
    unit = _node(
        "sentinel3:productUnit",
        _node("sentinel3:type", "FRAME"),
        _node("sentinel3:duration", seconds),
        _node("sentinel3:alongtrackCoordinate", frame.orbit.frame),
    )
    plain = {
        "productName": frame.name,
        "productType": "SL_1_RBT___",
        "timeliness": "NT",
        "baselineCollection": "004",
        "creationTime": str(frame.creation).replace("-", "").replace(":", ""),
        "productSize": size,
        "dispositionMode": "Simulated",
    }
    children = [_node(f"sentinel3:{name}", value) for name, value in plain.items()]
    return _node("sentinel3:generalProductInformation", *children, unit)


def _product(frame: Frame, percentages: dict[str, dict[str, float]]) -> tree.Element:
    fine = _size(frame.start_offset * 2, frame.track, frame.rows, frame.columns, "0.5 km stripe A")
    coarse = _size(frame.start_offset, frame.track // 2, frame.rows // 2, frame.columns // 2, "1 km")
    ties = _size(frame.start_offset, geometry.TIE_TRACK, frame.rows // 2, geometry.TIE_COLUMNS, "Tie Points")
    shares = [
        _node(
            "slstr:classificationSummary",
            *(_node(f"sentinel3:{name}", percentage=f"{value:.6f}") for name, value in parts.items()),
            grid=grid,
        )
        for grid, parts in percentages.items()
    ]
    bands = [_band(name, twin) for name, twin in (*((band[0], band[0]) for band in tables.BANDS), *TWINS.items())]
    table = _node("slstr:bandDescriptions", *bands, bands=str(len(bands)))
    return _node("slstr:slstrProductInformation", *shares, coarse, fine, ties, table)


def _size(start: int, track: int, rows: int, columns: int, grid: str) -> tree.Element:
    numbers = {"startOffset": start, "trackOffset": track, "rows": rows, "columns": columns}
    children = [_node(f"sentinel3:{name}", value) for name, value in numbers.items()]
    return _node("slstr:nadirImageSize", *children, grid=grid)


def _band(name: str, twin: str) -> tree.Element:
    index = int(twin[1]) - 1
    return _node(
        "sentinel3:band",
        _node("sentinel3:centralWavelength", f"{1000 * tables.WAVELENGTH[index]:.6g}"),
        _node("sentinel3:bandwidth", f"{WIDTHS[index]:g}"),
        name=name,
    )


def _orbit(frame: Frame) -> tree.Element:
    orbit, down = frame.orbit, {"type": "start", "groundTrackDirection": "descending"}
    return _node(
        "sentinel-safe:orbitReference",
        _node("sentinel-safe:orbitNumber", orbit.absolute, **down),
        _node("sentinel-safe:relativeOrbitNumber", orbit.relative, **down),
        _node("sentinel-safe:passNumber", 2 * orbit.absolute, **down),
        _node("sentinel-safe:relativePassNumber", 2 * orbit.relative, **down),
        _node("sentinel-safe:cycleNumber", orbit.cycle),
    )


def _footprint(frame: Frame) -> tree.Element:
    """Return the outline of the frame, latitude and longitude by turns, closed."""
    along, across = frame.rows / 2, frame.across[[0, -1]]
    steps = np.linspace(0, 1, POINTS, endpoint=False)
    s = np.concatenate([0 * steps, steps, 0 * steps + 1, 1 - steps, [0]]) * along
    t = np.concatenate([steps, 0 * steps + 1, 1 - steps, 0 * steps, [0]]) * np.ptp(across) + across[0]
    pairs = np.stack(geometry.places(frame, s, t), axis=1).ravel()
    outline = _node(
        "sentinel-safe:footPrint",
        _node("gml:posList", " ".join(f"{value:.6g}" for value in pairs)),
        srsName="http://www.opengis.net/def/crs/EPSG/0/4326",
    )
    return _node("sentinel-safe:frameSet", outline)
