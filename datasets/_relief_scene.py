"""One scene on relief: that of `simulator.scene` with the same seed, its ground raised and rendered again.

Sun, clouds, instrument and noise are drawn as there and in the same order; the relief has a generator of its own. So
what differs between the two is what height does.
"""

from __future__ import annotations

import numpy as np

from datasets import _relief_tables as relief
from datasets._relief_ground import draw_ground
from datasets._relief_sky import ReliefSky
from datasets.simulator import instrument, scene, tables
from datasets.simulator.clouds import draw_layers
from datasets.simulator.scene import PATCHES, Scene
from datasets.simulator.surface import draw_surface

_SPACE = 8849  # sets the seeds of the relief apart from those of the scenes


def simulate(seed: int, part: int, number: int, size: int) -> Scene:
    """Simulate one scene; the result depends on nothing but the arguments.

    Args:
        seed: of the data set.
        part: number of the part (train, val, test).
        number: of the scene in its part.
        size: rows and columns of a patch.
    """
    sky, rng, place = draw_sky(seed, part, number, size)
    device = instrument.draw_instrument(rng, (size, PATCHES * size))
    metres = np.round(1000 * scene.coarsen(sky.ground))
    toa = np.concatenate([scene.measure(rng, sky, device), metres[None]])
    mask, strata = truth(sky)
    strata["cosmetic"] = (device.copies != np.arange(mask.size).reshape(mask.shape)).astype(np.uint8)
    outside = ~instrument.swath(rng, sky.grid)
    toa[:, outside], mask[outside] = np.nan, 255
    return scene.cut(rng, scene.regime_of(seed, part, number).name, toa, mask, strata, (*place, sky.grid))


def draw_sky(
    seed: int, part: int, number: int, size: int
) -> tuple[ReliefSky, np.random.Generator, tuple[float, float]]:
    """Draw a scene; return it with the generator that goes on, and its latitude and day of the year."""
    regime = scene.regime_of(seed, part, number)
    rng, own = (np.random.default_rng(np.random.SeedSequence([seed, part, number, *more])) for more in ([], [_SPACE]))
    latitude, day, grid = scene.draw_place(rng, regime, size)
    level = draw_surface(rng, regime, grid, latitude, day)
    layers = draw_layers(rng, regime, grid, level.relief, level.air)
    ground = draw_ground(own, level, grid, latitude, day)
    return ReliefSky(grid, ground.surface, layers, ground.height), rng, (latitude, day)


def truth(sky: ReliefSky) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the mask (y, x) at 500 m, and the strata of `scene.truth` with tops where layers are, and `terrain`."""
    mask, strata = scene.truth(sky)
    for layer, depth, level in zip(sky.layers, sky.depths, sky.levels[1:], strict=True):
        if layer.is_cloud:
            here = scene.coarsen(depth) > tables.TRACE_DEPTH
            strata["top_height"][here] = scene.coarsen(level)[here]
    strata["terrain"] = np.digitize(scene.coarsen(sky.ground), relief.ZONE_LIMITS).astype(np.uint8)
    return mask, strata
