"""Small patches with a plain physics, for tests that need data but not the simulator.

Ground is dark in the visible and bright in the near infrared, and warm; cloud is bright everywhere and cold.
"""

import numpy as np

from benchmark.api import BRIGHTNESS_TEMPERATURE, CLOUD, ELEVATION, IGNORE, REFLECTANCE, ROLES, Band, Images, Part

GROUND = {
    "BLUE": 0.08,
    "GREEN": 0.08,
    "RED": 0.06,
    "NIR_NARROW": 0.35,
    "CIRRUS": 0.002,
    "SWIR_1": 0.2,
    "SWIR_2": 0.1,
    "BT_37": 296.0,
    "BT_11": 294.0,
    "BT_12": 293.0,
    "ELEVATION": 800.0,
}
CLOUDY = dict.fromkeys(GROUND, 0.55) | {
    "CIRRUS": 0.02,
    "BT_37": 270.0,
    "BT_11": 255.0,
    "BT_12": 254.0,
    "ELEVATION": 800.0,
}
HLS5 = ("GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")


def bands(roles=HLS5):
    others = dict.fromkeys(("BT_37", "BT_11", "BT_12"), BRIGHTNESS_TEMPERATURE) | {"ELEVATION": ELEVATION}
    return tuple(Band(role.lower(), role, ROLES[role], others.get(role, REFLECTANCE)) for role in roles)


def blobs(rng, n, size):
    """Cloud masks with soft shapes: low-pass noise above its median."""
    noise = np.fft.irfft2(
        np.fft.rfft2(rng.normal(size=(n, size, size)))
        / (1 + (20 * np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])) ** 3),
        s=(size, size),
    )
    return noise > np.median(noise)


def toa_and_mask(n=6, size=32, roles=HLS5, seed=0, invalid=True):
    """Return toa (n, b, y, x) float32 and mask (n, y, x) uint8; a corner of the first patch is invalid."""
    rng = np.random.default_rng(seed)
    cloud = blobs(rng, n, size)
    toa = np.empty((n, len(roles), size, size), np.float32)
    for place, role in enumerate(roles):
        noise = rng.normal(0, 2.0 if role.startswith("BT") else 0.03, (n, size, size))
        toa[:, place] = np.where(cloud, CLOUDY[role], GROUND[role]) + noise
    mask = cloud.astype(np.uint8) * CLOUD
    if invalid:
        toa[0, :, :5, :5] = np.nan
        mask[0, :5, :5] = IGNORE
    return toa, mask


def make_images(toa, roles=HLS5, land=None, maps=None):
    n = len(toa)
    return Images(
        toa=toa,
        bands=bands(roles),
        channels=tuple(range(len(roles))),
        index=np.arange(n),
        time=np.full(n, np.datetime64("2024-07-01T10:00:00", "s")),
        lat=np.linspace(30.0, 50.0, n),
        lon=np.linspace(-10.0, 10.0, n),
        sun_zenith=np.full(n, 40.0),
        maps=(maps or {}) | ({} if land is None else {"land": land}),
        source=f"factory-{toa.shape}-{float(np.nansum(toa)):.6f}",
    )


def make_part(n=6, size=32, roles=HLS5, seed=0, maps=()):
    """Return a part; each of `maps` is the truth with its first columns turned over."""
    toa, mask = toa_and_mask(n, size, roles, seed)
    wrong = np.where(mask == IGNORE, IGNORE, mask ^ (np.arange(size) < size // 4)).astype(np.uint8)
    return Part(
        make_images(toa, roles, maps=dict.fromkeys(maps, wrong)), mask, tuple(f"scene{i // 2}" for i in range(n))
    )
