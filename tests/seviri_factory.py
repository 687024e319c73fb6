"""Small SEVIRI level-1.5 files in native and HRIT form, written through the record types that satpy reads them by.

No real file lies behind them. A native file is a region of interest of the true 3 km grid; an HRIT slot is the whole
disk on a much coarser grid than the true one, so that its files stay small.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from satpy.readers.core import hrit as base
from satpy.readers.core.seviri import CHANNEL_NAMES
from satpy.readers.seviri_l1b_hrit import image_segment_line_quality, segment_identification
from satpy.readers.seviri_l1b_native_hdr import (
    GSDTRecords,
    get_native_header,
    hrit_epilogue,
    hrit_prologue,
    native_trailer,
)

START = datetime(2021, 3, 2, 12, 0, 10)
ORBIT = datetime(2021, 3, 1)  # from when on the orbit's coefficients hold, for a month
DRIFT = 0.0  # degrees east of its nominal place that the satellite is
SCAN = timedelta(minutes=12, seconds=30)
CHANNELS = tuple(CHANNEL_NAMES.values())
# Gain and offset of Meteosat-11, mW m-2 sr-1 (cm-1)-1.
SLOPES = (0.0233, 0.0299, 0.0236, 0.00366, 0.00832, 0.0386, 0.1266, 0.104, 0.2051, 0.2223, 0.1574)
SLOPE = dict(zip(CHANNELS[:11], SLOPES, strict=True))
OFFSET = {name: -51 * slope for name, slope in SLOPE.items()}
METEOSAT_11 = 324
FULL = 3712
EPOCH = datetime(1958, 1, 1)


def constant(lines: int = 16, columns: int = 24, **others: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same count everywhere in six channels, but for others given by name."""
    names = ("VIS006", "VIS008", "IR_016", "IR_039", "IR_108", "IR_120")
    return {name: np.full((lines, columns), 400) for name in names} | others


def pack(counts: np.ndarray) -> np.ndarray:
    """Return 10-bit counts (..., 4 n) as bytes (..., 5 n), most significant bit first."""
    bits = (counts[..., None].astype(np.uint16) >> np.arange(9, -1, -1)) & 1
    return np.packbits(bits.reshape(*counts.shape[:-1], -1).astype(np.uint8), axis=-1)


def _cds(time: datetime) -> tuple[int, int]:
    past = time - EPOCH
    return past.days, round((past - timedelta(days=past.days)).total_seconds() * 1000)


def _set_cds(record: np.ndarray, time: datetime) -> None:
    record["Days"], record["Milliseconds"] = _cds(time)


def _fill_header(header: np.ndarray, longitude: float) -> None:
    """Fill what a data header (native) or prologue (HRIT) needs: satellite, plan, grid, calibration, earth."""
    status = header["SatelliteStatus"]
    status["SatelliteDefinition"]["SatelliteId"] = METEOSAT_11
    status["SatelliteDefinition"]["NominalLongitude"] = longitude
    orbit = status["Orbit"]["OrbitPolynomial"][..., 0]
    _set_cds(orbit["StartTime"], ORBIT)
    _set_cds(orbit["EndTime"], ORBIT + timedelta(days=30))
    # The constant term of a Chebyshev series counts half.
    orbit["X"][..., 0] = 2 * 42164.0 * np.cos(np.deg2rad(longitude + DRIFT))
    orbit["Y"][..., 0] = 2 * 42164.0 * np.sin(np.deg2rad(longitude + DRIFT))
    plan = header["ImageAcquisition"]["PlannedAcquisitionTime"]
    _set_cds(plan["TrueRepeatCycleStart"], START)
    _set_cds(plan["PlannedRepeatCycleEnd"], START + timedelta(minutes=15))
    image = header["ImageDescription"]
    image["ProjectionDescription"]["LongitudeOfSSP"] = longitude
    grid = image["ReferenceGridVIS_IR"]
    grid["LineDirGridStep"] = grid["ColumnDirGridStep"] = 3.0004031658172607
    grid["GridOrigin"] = 2
    image["Level15ImageProduction"]["ImageProcDirection"] = 1
    image["Level15ImageProduction"]["PlannedChanProcessing"] = 2
    calibration = header["RadiometricProcessing"]["Level15ImageCalibration"]
    calibration["CalSlope"][..., :11] = list(SLOPE.values())
    calibration["CalOffset"][..., :11] = list(OFFSET.values())
    earth = header["GeometricProcessing"]["EarthModel"]
    earth["TypeOfEarthModel"] = 2
    earth["EquatorialRadius"] = 6378.169
    earth["NorthPolarRadius"] = earth["SouthPolarRadius"] = 6356.5838


def _fill_trailer(trailer: np.ndarray) -> None:
    scan = trailer["ImageProductionStats"]["ActualScanningSummary"]
    _set_cds(scan["ForwardScanStart"], START)
    _set_cds(scan["ForwardScanEnd"], START + SCAN)


def line_time(line: float, lines: int = FULL) -> datetime:
    """Return when a line was scanned; line 0 is the southernmost of the full disk."""
    return START + SCAN * (line / lines)


def write_native(
    folder: Path, counts: Mapping[str, np.ndarray], south: int, east: int, longitude: float = 0.0, name: str = ""
) -> Path:
    """Write a region of interest as a native file.

    Args:
        folder: where the file is put.
        counts: by channel, (lines, columns) of 10 bits, north up and west left; columns in fours; 0 is no data.
        south: number of the southernmost line of the full disk, from 1.
        east: number of the easternmost column of the full disk, from 1.
        longitude: of the satellite, degrees east.
        name: of the file.
    """
    lines, columns = next(iter(counts.values())).shape
    header = np.zeros(1, get_native_header(with_archive_header=True))
    _fill_header(header["15_DATA_HEADER"], longitude)
    names = [channel for channel in CHANNELS if channel in counts]
    text = {
        "SelectedBandIDs": "".join("X" if channel in counts else "-" for channel in CHANNELS),
        "SouthLineSelectedRectangle": south,
        "NorthLineSelectedRectangle": south + lines - 1,
        "EastColumnSelectedRectangle": east,
        "WestColumnSelectedRectangle": east + columns - 1,
        "NumberLinesVISIR": lines,
        "NumberColumnsVISIR": columns,
        "NumberLinesHRV": 0,
        "NumberColumnsHRV": 0,
    }
    for key, value in text.items():
        header["15_SECONDARY_PRODUCT_HEADER"][key]["Name"] = f"{key:28}: "
        header["15_SECONDARY_PRODUCT_HEADER"][key]["Value"] = f"{value}\n"
    header["15_MAIN_PRODUCT_HEADER"]["FormatName"]["Name"] = f"{'FormatName':28}: "
    header["15_MAIN_PRODUCT_HEADER"]["FormatName"]["Value"] = "NATIVE\n"
    header["15_MAIN_PRODUCT_HEADER"]["QQOV"]["Value"] = "OK\n"
    trailer = np.zeros(1, native_trailer)
    _fill_trailer(trailer["15TRAILER"])
    end = line_time(south + lines)
    path = folder / (name or f"MSG4-SEVI-MSG15-0100-NA-{end:%Y%m%d%H%M%S}.185000000Z-NA.nat")
    path.write_bytes(header.tobytes() + _native_lines(counts, names, south).tobytes() + trailer.tobytes())
    return path


def _native_lines(counts: Mapping[str, np.ndarray], names: list[str], south: int) -> np.ndarray:
    lines, columns = counts[names[0]].shape
    packet = np.dtype([("head", GSDTRecords.gp_pk_header), ("sub", GSDTRecords.gp_pk_sh1)]).itemsize
    line = np.dtype(
        [
            ("packet", np.uint8, packet),
            ("version", np.uint8),
            ("satid", np.uint16),
            ("time", np.uint16, 5),
            ("lineno", np.uint32),
            ("chan_id", np.uint8),
            ("days", ">u2"),
            ("milliseconds", ">u4"),
            ("quality", np.uint8, 3),
            ("data", np.uint8, columns * 5 // 4),
        ]
    )
    records = np.zeros((lines, len(names)), line)
    for place, name in enumerate(names):
        # Lines run from south to north and pixels from east to west.
        records["data"][:, place] = pack(counts[name][::-1, ::-1])
    for row in range(lines):
        records["days"][row], records["milliseconds"][row] = _cds(line_time(south - 1 + row))
    return records


def write_hrit(
    folder: Path,
    counts: Mapping[str, np.ndarray],
    longitude: float = 0.0,
    segments: tuple[int, ...] = tuple(range(1, 9)),
) -> Path:
    """Write a slot of the whole disk as a folder of HRIT files.

    Args:
        folder: the folder to make.
        counts: by channel, (n, n) of 10 bits, north up and west left; n in multiples of 8; 0 is no data.
        longitude: of the satellite, degrees east.
        segments: which of the 8 segments are written; 1 is the southernmost.
    """
    folder.mkdir(parents=True)
    prologue = np.zeros(1, hrit_prologue)
    _fill_header(prologue, longitude)
    epilogue = np.zeros(1, hrit_epilogue)
    _fill_trailer(epilogue)
    for kind, data, file_type in (("PRO", prologue, 128), ("EPI", epilogue, 129)):
        _write_file(folder / _hrit_name("", kind), file_type, [], data.tobytes())
    for channel, values in counts.items():
        for segment in segments:
            _write_segment(folder, channel, segment, values[::-1, ::-1])
    return folder


def _hrit_name(channel: str, part: str) -> str:
    return f"H-000-MSG4__-MSG4________-{channel:_<9}-{part:_<9}-{START:%Y%m%d%H}00-__"


def _write_segment(folder: Path, channel: str, segment: int, scanned: np.ndarray) -> None:
    size = len(scanned)
    lines = size // 8
    first = (segment - 1) * lines
    factor = round(-13642337 * size / FULL)
    # The line offset counts from the first line of the segment.
    navigation = (b"GEOS(+000.0)".ljust(32), factor, factor, size // 2, size // 2 - first)
    quality = np.zeros(lines, image_segment_line_quality)
    quality["line_validity"] = quality["line_radiometric_quality"] = 1
    for row in range(lines):
        quality["line_mean_acquisition"][row] = _cds(line_time(first + row, size))
    identity = (METEOSAT_11, CHANNELS.index(channel) + 1, segment, 1, 8, 3)
    headers = [
        (1, np.array((10, size, lines, 0), base.image_structure)),
        (2, np.array(navigation, base.image_navigation)),
        (128, np.array(identity, segment_identification)),
        (129, quality),
    ]
    data = pack(scanned[first : first + lines]).tobytes()
    _write_file(folder / _hrit_name(channel, f"{segment:06}"), 0, headers, data)


def _write_file(path: Path, file_type: int, headers: list[tuple[int, np.ndarray]], data: bytes) -> None:
    blocks = b"".join(
        np.array((number, 3 + values.nbytes), base.common_hdr).tobytes() + values.tobytes()
        for number, values in headers
    )
    size = base.common_hdr.itemsize + base.primary_header.itemsize
    primary = np.array((file_type, size + len(blocks), 8 * len(data)), base.primary_header)
    path.write_bytes(np.array((0, size), base.common_hdr).tobytes() + primary.tobytes() + blocks + data)
