import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.simulator import fractal, geometry, instrument, tables
from datasets.simulator.geometry import BORDER, PIXEL, Grid


def slope_of_rows(field):
    """Return the log-log slope of the mean one-dimensional power spectrum along the rows."""
    power = (np.abs(np.fft.rfft(field * np.hanning(field.shape[1]), axis=1)) ** 2).mean(axis=0)
    wave = np.arange(len(power))
    inertial = slice(6, field.shape[1] // 6)
    return np.polyfit(np.log(wave[inertial]), np.log(power[inertial]), 1)[0]


@pytest.mark.parametrize(("exponent", "slope"), [(8 / 3, -5 / 3), (11 / 3, -8 / 3), (5 / 3, -0.8)])
def test_exponents_in_two_dimensions_and_in_one(exponent, slope):
    fields = [fractal.gaussian(np.random.default_rng(seed), (512, 512), exponent) for seed in range(3)]
    assert np.mean([slope_of_rows(field) for field in fields]) == pytest.approx(slope, abs=0.15)


def test_fields_are_normalised_and_do_not_wrap_around():
    field = fractal.gaussian(np.random.default_rng(1), (300, 420), 8 / 3)
    assert field.shape == (300, 420)
    assert field.dtype == np.float32
    assert float(field.mean()) == pytest.approx(0, abs=1e-3)
    assert float(field.std()) == pytest.approx(1, abs=1e-3)
    across_the_seam = np.abs(field[:, 0] - field[:, -1]).mean()
    assert across_the_seam > 3 * np.abs(np.diff(field, axis=1)).mean()


def test_stretched_fields_are_smoother_along_their_axis():
    field = fractal.gaussian(np.random.default_rng(2), (256, 256), 8 / 3, stretch=6.0, angle=0.0)
    assert np.abs(np.diff(field, axis=1)).mean() < 0.5 * np.abs(np.diff(field, axis=0)).mean()


@given(st.floats(0.05, 0.95), st.floats(0.2, 1.5))
@settings(max_examples=20)
def test_broken_fields_cover_what_was_asked(cover, spread):
    field = fractal.gaussian(np.random.default_rng(3), (160, 160), 8 / 3)
    values = fractal.broken(field, cover, spread)
    assert (values > 0).mean() == pytest.approx(cover, abs=0.03)
    assert values[values > 0].mean() == pytest.approx(1.0, rel=0.01)


def test_cells_have_the_spacing_that_was_asked():
    nearest, second = fractal.cells(np.random.default_rng(4), (400, 400), 40.0)
    assert (second >= nearest - 1e-6).all()
    low = nearest < 0.15  # discs around the points: pi 0.15^2 per cell but for the bend
    assert low.mean() == pytest.approx(np.pi * 0.15**2, rel=0.5)


def grid(zenith=45.0, azimuth=90.0, across=0.0, side=200):
    return Grid((side, side), across + (np.arange(side) - side / 2) * PIXEL, zenith, azimuth)


def spot(place, margin):
    """Return a layer that is one column of cloud over a pixel of the grid."""
    field = np.zeros((place.shape[0] + 2 * margin[0], place.shape[1] + 2 * margin[1]), np.float32)
    field[margin[0] + 100, margin[1] + 100] = 1
    return field


def centre(seen):
    rows, columns = np.indices(seen.shape)
    return (rows * seen).sum() / seen.sum(), (columns * seen).sum() / seen.sum()


@pytest.mark.parametrize(("height", "zenith", "pixels"), [(2.0, 45.0, 4.0), (10.0, 65.0, 43.0)])
def test_shadows_fall_away_from_the_sun(height, zenith, pixels):
    place = grid(zenith, azimuth=270.0)  # the sun stands left of the image
    margin = place.margin(height)
    row, column = centre(place.sample(spot(place, margin), margin, 0.0, height))
    assert row == pytest.approx(100, abs=0.1)
    assert (column - 100) * PIXEL / 0.5 == pytest.approx(pixels, abs=0.3)


@pytest.mark.parametrize(("azimuth", "step"), [(0.0, (1, 0)), (180.0, (-1, 0)), (90.0, (0, -1)), (135.0, (-1, -1))])
def test_shadows_in_every_direction(azimuth, step):
    place = grid(45.0, azimuth)
    margin = place.margin(2.0)
    row, column = centre(place.sample(spot(place, margin), margin, 0.0, 2.0))
    length = 8.0 / np.hypot(*step)
    assert (row - 100, column - 100) == pytest.approx((step[0] * length, step[1] * length), abs=0.1)


@pytest.mark.parametrize("side", [-1, 1])
def test_high_clouds_appear_away_from_the_sub_satellite_track(side):
    across = 586.0 * side  # 40 degrees of view zenith
    assert np.degrees(geometry.view_zenith(np.array(across))) == pytest.approx(40, abs=0.3)
    place = grid(across=across)
    margin = place.margin(10.0)
    _, column = centre(place.sample(spot(place, margin), margin, 10.0, 0.0))
    shift = 10 * np.tan(geometry.view_zenith(np.array(across))) / 0.5
    assert side * (column - 100) * PIXEL / 0.5 == pytest.approx(shift, abs=1.0)
    assert shift == pytest.approx(17, abs=0.5)


def test_the_sun_in_the_morning():
    zenith, azimuth = geometry.solar(0.0, 80)
    assert zenith == pytest.approx(30, abs=1)
    assert azimuth == pytest.approx(90, abs=3)
    assert 90 < geometry.solar(50.0, 172)[1] < 180
    assert geometry.solar(-50.0, 355)[1] < 90


def test_view_zenith_angles_across_the_swath():
    # 740 km from the track: tan(nadir angle) = R sin(a) / (H + R (1 - cos a)), a = 740 / R; the sum is 47.4 degrees.
    assert np.degrees(geometry.view_zenith(np.array([0.0, 740.0, -740.0]))) == pytest.approx([0, 47.4, 47.4], abs=0.1)
    assert np.degrees(geometry.view_zenith(np.array(tables.SWATH))).max() == pytest.approx(54, abs=1.5)


@pytest.mark.parametrize("factor", [instrument.FINE, instrument.COARSE])
def test_point_spread_keeps_place_and_amount(factor):
    shape = (20, 24)
    fine = np.zeros((2 * shape[0] + 2 * BORDER, 2 * shape[1] + 2 * BORDER), np.float32)
    fine[BORDER + 16 : BORDER + 16 + factor, BORDER + 20 : BORDER + 20 + factor] = 1
    out = (10, 12) if factor == 4 else shape
    seen = instrument.resample(fine, factor, 0.45, (0, 0), out)
    assert seen.sum() == pytest.approx(1.0, abs=1e-3)
    assert centre(seen) == pytest.approx((16 / factor, 20 / factor), abs=1e-3)
    flat = instrument.resample(np.ones_like(fine), factor, 0.45, (1, -1), out)
    assert np.allclose(flat, 1, atol=1e-5)


def test_about_a_quarter_of_the_pixels_are_copies_of_a_neighbour():
    device = instrument.draw_instrument(np.random.default_rng(5), (96, 192))
    own = np.arange(96 * 192).reshape(96, 192)
    copied = device.copies != own
    assert copied.mean() == pytest.approx(0.27, abs=0.04)
    (row, column), (from_row, from_column) = np.divmod(own[copied], 192), np.divmod(device.copies[copied], 192)
    assert (np.abs(row - from_row) + np.abs(column - from_column) == 1).all()


def test_noise_meets_the_required_ratio():
    rng = np.random.default_rng(6)
    device = instrument.draw_instrument(rng, (64, 128))
    flat = np.full((2 * 64 + 2 * BORDER, 2 * 128 + 2 * BORDER), tables.NOISE_ALBEDO, np.float32)
    seen = instrument.measure_reflectance(rng, flat, 0, device, 1.0)
    rows = seen[:: tables.DETECTORS]  # one detector, so that stripes do not count as noise
    assert 18 < rows.mean() / rows.std() < 23


def test_thermal_noise_meets_the_required_difference():
    rng = np.random.default_rng(7)
    device = instrument.draw_instrument(rng, (64, 128))
    from datasets.simulator import thermal

    for band in tables.THERMAL_BANDS:
        radiance = thermal.planck(tables.WAVELENGTH[band], tables.NEDT_AT)
        flat = np.full((2 * 64 + 2 * BORDER, 2 * 128 + 2 * BORDER), radiance, np.float32)
        seen = instrument.measure_temperature(rng, flat, band, device)
        assert seen[::2, ::2].std() == pytest.approx(tables.NEDT[band - tables.S7], rel=0.1)
        assert (seen[::2] == seen[1::2]).all()  # 1 km pixels brought to 500 m
