"""Sun, swath and grid: who sees what where. The image's columns run across the track, its rows along it.

A cloud at height h over ground position c appears, to a sensor that maps onto the ellipsoid, where the line of sight
through it meets the ground, and casts its shadow where the sun's ray does. Both are gathered here: `sample` reads a
layer's field at the point where the line from a pixel towards sensor or sun passes the layer's height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import tables

PIXEL = 0.25  # km, the grid on which scenes are rendered
BORDER = 8  # pixels of PIXEL around the scene, which the point spread function needs


def solar(latitude: float, day: float) -> tuple[float, float]:
    """Return sun zenith and azimuth (degrees, azimuth clockwise from north) at the overpass's local solar time."""
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (day + 10) / 365.25))
    hour, lat = np.radians(15 * (tables.LOCAL_TIME - 12)), np.radians(latitude)
    height = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.sin(declination) * np.cos(lat) - np.cos(declination) * np.cos(hour) * np.sin(lat)
    return float(np.degrees(np.arccos(height))), float(np.degrees(np.arctan2(east, north)) % 360)


def view_zenith(across: np.ndarray) -> np.ndarray:
    """Return the view zenith angle in radians at distances (km) from the sub-satellite track."""
    centre = np.abs(across) / tables.EARTH_RADIUS
    opposite = tables.EARTH_RADIUS * np.sin(centre)
    adjacent = tables.ORBIT_HEIGHT + tables.EARTH_RADIUS * (1 - np.cos(centre))
    return np.arctan2(opposite, adjacent) + centre


@dataclass(frozen=True)
class Grid:
    """The rendered grid, with its border.

    Attributes:
        shape: rows and columns of PIXEL.
        across: (x,) km east of the sub-satellite track.
        sun_zenith: degrees.
        sun_azimuth: degrees clockwise from the image's up.
    """

    shape: tuple[int, int]
    across: np.ndarray
    sun_zenith: float
    sun_azimuth: float

    @property
    def sun(self) -> float:
        """Cosine of the sun zenith angle."""
        return float(np.cos(np.radians(self.sun_zenith)))

    @property
    def view(self) -> np.ndarray:
        """Cosine of the view zenith angle, (x,) float32."""
        return np.cos(view_zenith(self.across)).astype(np.float32)

    @property
    def airmass(self) -> np.ndarray:
        """Slant paths of sun and view together, (x,) float32."""
        return 1 / self.view + np.float32(1 / self.sun)

    @property
    def azimuth(self) -> np.ndarray:
        """Azimuth between the directions to sun and sensor, radians, (x,)."""
        return np.radians(self.sun_azimuth - np.where(self.across > 0, 270.0, 90.0))

    @property
    def scattering(self) -> np.ndarray:
        """Cosine of the scattering angle, (x,)."""
        sines = np.sqrt((1 - self.view**2) * (1 - self.sun**2))
        return -(self.view * self.sun + sines * np.cos(self.azimuth))

    @property
    def towards_sensor(self) -> np.ndarray:
        """Columns per km of height along the line of sight, (x,)."""
        return -np.sign(self.across) * np.tan(view_zenith(self.across)) / PIXEL

    @property
    def towards_sun(self) -> tuple[float, float]:
        """Rows and columns per km of height along the sun's ray."""
        length, angle = np.tan(np.radians(self.sun_zenith)) / PIXEL, np.radians(self.sun_azimuth)
        return float(-length * np.cos(angle)), float(length * np.sin(angle))

    def margin(self, height: float) -> tuple[int, int]:
        """Return rows and columns that a layer's field needs on each side of the grid."""
        rows, columns = self.towards_sun
        view = float(np.abs(self.towards_sensor).max())
        return int(abs(rows) * height) + 3, int((abs(columns) + view) * height) + 3

    def sample(self, field: np.ndarray, margin: tuple[int, int], seen_at: float, sunward: float) -> np.ndarray:
        """Return `field` (shape plus margins) where rays pass it, (y, x).

        Args:
            field: a layer's optical depth over the ground.
            margin: rows and columns that it extends beyond the grid on each side.
            seen_at: height in km of the point that is seen: 0 for the surface.
            sunward: height in km from that point up to the layer, along the sun's ray.
        """
        rows, columns = self.towards_sun
        first, share = divmod(margin[0] + rows * sunward, 1)
        block = field[int(first) : int(first) + self.shape[0] + 1]
        block = block[:-1] * np.float32(1 - share) + block[1:] * np.float32(share)
        position = margin[1] + np.arange(self.shape[1]) + self.towards_sensor * seen_at + columns * sunward
        low = np.floor(position).astype(np.int32)
        share_x = (position - low).astype(np.float32)
        return block.take(low, 1) * (1 - share_x) + block.take(low + 1, 1) * share_x
