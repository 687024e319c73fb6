"""Names and manifests of SLSTR level-1B products."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmark.api import UserError

# Sentinel-3 PDGS File Naming Convention; the frame is blank in products that are not cut into frames.
_TIME = r"(\d{8}T\d{6})"
_PATTERN = re.compile(
    rf"(S3[A-D])_SL_1_RBT____{_TIME}_{_TIME}_{_TIME}_\d{{4}}_\d{{3}}_\d{{3}}_(\d{{4}}|_{{4}})"
    r"_[A-Z0-9_]{3}_[A-Z]_([A-Z]{2})_[A-Z0-9]{3}\.SEN3",
    re.ASCII,
)


@dataclass(frozen=True)
class Name:
    """What the name of a product says.

    Attributes:
        platform: S3A to S3D.
        start, stop, creation: of sensing and processing, UTC, whole seconds.
        frame: along-track position of a frame, "" where the product is no frame.
        timeliness: NR near real time, ST short time, NT not time critical.
    """

    platform: str
    start: datetime
    stop: datetime
    creation: datetime
    frame: str
    timeliness: str


def parse(name: str) -> Name:
    """Return what the folder name of a product says.

    Raises:
        UserError: it is not such a name.
    """
    found = _PATTERN.fullmatch(name)
    try:
        if found is None:
            raise ValueError
        platform, *times, frame, timeliness = found.groups()
        start, stop, creation = (datetime.strptime(time, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for time in times)
    except ValueError:
        raise UserError(
            f"{name} is not the name of an SLSTR level-1B product; the reader needs the product's own folder name"
        ) from None
    return Name(platform, start, stop, creation, frame.strip("_"), timeliness)
