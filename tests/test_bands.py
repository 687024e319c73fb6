import numpy as np
import pytest
from patch_factory import bands, toa_and_mask

from benchmark import bands as sets
from benchmark import data, planner, splits
from benchmark.api import HLS_ROLES, Band, UserError
from benchmark.patchset import PatchWriter
from datasets.simulated import BANDS as SLSTR

# USGS's names of the Landsat-8 OLI bands
OLI = tuple(
    Band(name, role, wavelength, "reflectance")
    for name, role, wavelength in (
        ("B2", "BLUE", 0.482), ("B3", "GREEN", 0.561), ("B4", "RED", 0.655), ("B5", "NIR_NARROW", 0.865),
        ("B6", "SWIR_1", 1.609), ("B7", "SWIR_2", 2.201),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("hls", ("green", "swir_1")), ("all", ("green", "swir_1", "bt_11")), ("bt_11,green", ("bt_11", "green")),
        ("BT_11, GREEN", ("bt_11", "green")), ("GREEN,green", ("green",)), ("GREEN=GREEN", ("green",)),
        ("green = RED,green", ("green=RED", "green")), ("shuffled", ("green=SWIR_1", "swir_1=GREEN")),
    ],
)  # fmt: skip
def test_bands_by_set_name_or_role(spec, names):
    assert sets.choose(bands(("GREEN", "SWIR_1", "BT_11")), spec) == names


@pytest.mark.parametrize(
    ("name", "slstr", "landsat"),
    [
        ("study", "S2 S2 S3 S5 S5 S6", "B4 B4 B5 B6 B6 B7"),
        ("study-readme", "S1 S1 S2 S3 S5 S6", "B3 B3 B4 B5 B6 B7"),
        ("study-slides", None, "B2 B3 B4 B5 B6 B7"),
        ("five", "S1 S2 S3 S5 S6", "B3 B4 B5 B6 B7"),
    ],
)
def test_the_studys_mappings_by_the_role_of_the_band(name, slstr, landsat):
    for table, names in ((SLSTR, slstr), (OLI, landsat)):
        if names is None:
            with pytest.raises(UserError, match=f"no band of role BLUE, which band set '{name}' needs"):
                sets.choose(table, name)
            continue
        found = [band for _, band in sets.played(table, sets.choose(table, name))]
        assert " ".join(band.name for band in found) == names
        assert [band.role for band in found] == list(HLS_ROLES[-len(found) :])


def test_a_played_band_keeps_its_name_wavelength_and_quantity():
    (first, second, *_) = sets.played(SLSTR, sets.choose(SLSTR, "study"))
    assert first == (1, Band("S2", "BLUE", 0.65947, "reflectance"))
    assert second == (1, Band("S2", "GREEN", 0.65947, "reflectance"))


@pytest.mark.parametrize("table", [SLSTR, OLI, bands(("GREEN", "RED")), bands(("GREEN", "RED", "SWIR_2"))])
def test_shuffling_moves_every_role_and_loses_none(table):
    plain, mixed = ([b for _, b in sets.played(table, sets.choose(table, spec))] for spec in ("hls", "shuffled"))
    assert [band.name for band in mixed] == [band.name for band in plain]
    assert all(one.role != other.role for one, other in zip(plain, mixed, strict=True))
    assert sorted(band.role for band in mixed) == sorted(band.role for band in plain)


def test_shuffling_leaves_wavelengths_and_says_whose_control_it_is():
    for _, band in sets.played(SLSTR, sets.choose(SLSTR, "shuffled")):
        assert band.wavelength == next(one.wavelength for one in SLSTR if one.name == band.name)
    assert "methods that find bands by role" in sets.SETS["shuffled"]
    assert "wavelengths stay true" in sets.SETS["shuffled"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("S1,S99", "no band 'S99'; its bands are .*S9, and band sets hls, all, study"),
        ("S1=VIOLET", "no role 'VIOLET' for band 'S1' to play"),
        ("S1=", "no role '' for band 'S1' to play"),
        ("S1,S2=GREEN", "role GREEN is played twice in bands S1, S2=GREEN"),
    ],
)
def test_faults_are_one_sentence(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        sets.choose(SLSTR, spec)


@pytest.mark.parametrize(("spec", "sentence"), [("hls", "none of the bands"), ("five", "no band of role GREEN")])
def test_thermal_data_have_no_such_bands(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        sets.choose(bands(("BT_11", "BT_12")), spec)
    with pytest.raises(UserError, match="nothing to shuffle"):
        sets.choose(bands(("RED", "BT_12")), "shuffled")


def test_a_part_reads_a_band_twice_in_the_roles_it_plays(store):
    split = splits.read(splits.split_path(store), store)
    plain = data.open_part(store, split, ("green", "red"), "train", ()).images
    played = data.open_part(store, split, ("red=BLUE", "red=GREEN", "green=RED"), "train", ()).images
    np.testing.assert_array_equal(played.read(), plain.read()[:, [1, 1, 0]])
    assert [(band.name, band.role) for band in played.bands] == [("red", "BLUE"), ("red", "GREEN"), ("green", "RED")]
    assert played.role("BLUE") == 0
    assert plain.role("BLUE") is None


def test_roles_count_in_the_key_and_circularity_is_of_the_true_band(tmp_path):
    store, roles = tmp_path / "circular.zarr", ("GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")
    attrs = {"sensor": "test", "label_source": "tests on red", "label_bands": ["red"], "licence": "none"}
    with PatchWriter(store, bands(roles), attrs) as writer:
        for scene in range(3):
            toa, mask = toa_and_mask(1, 32, roles, seed=scene)
            known = (np.full(1, np.datetime64("2024-07-01T10:00:00", "s")), *(np.full(1, v) for v in (45.0, 5.0, 40.0)))
            writer.append([f"p{scene}"], f"s{scene}", toa, mask, {}, *known)
    splits.write(splits.by_group(store, "scene", (0.4, 0.3, 0.3), seed=1), splits.split_path(store))

    def cell(spec):
        asked = planner.Asked(("threshold",), str(store), "smoke", bands=spec, out=tmp_path)
        return planner.make(asked, lambda done, total: None).cells[0]

    plain, shuffled, study = (cell(spec) for spec in ("hls", "shuffled", "study"))
    assert len({plain.key, shuffled.key, study.key}) == 3
    assert cell("five").key == plain.key
    assert plain.circular == shuffled.circular == study.circular == ("red",)
    assert cell("green=RED").circular == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("GREEN,RED,NIR_NARROW,SWIR_1,SWIR_2,CIRRUS", "five + CIRRUS"),
        ("GREEN,RED,NIR_NARROW,SWIR_1,SWIR_2,BT_11,BT_12", "five + BT_11 + BT_12"),
        ("RED,NIR_NARROW,SWIR_1,SWIR_2", "five - GREEN"),
        ("GREEN,RED,SWIR_1,SWIR_2,BT_11", "five + BT_11 - NIR_NARROW"),
        ("GREEN,RED,NIR_NARROW,SWIR_1,SWIR_2,ELEVATION", "five + ELEVATION"),
        (",".join([*sets.NINE, "ELEVATION"]), "nine + ELEVATION"),
        ("RED,CIRRUS", "RED,CIRRUS"),
        ("S1,S2,S3=BLUE", "S1,S2,S3=BLUE"),
        ("study", "study"),
    ],
)
def test_a_list_of_roles_is_told_by_what_it_adds_and_leaves_out(spec, said):
    assert sets.shortly(spec) == said


def test_elevation_is_in_no_set_but_all():
    table = (*SLSTR, *bands(("ELEVATION",)))
    assert sets.choose(table, "all")[-1] == "elevation"
    for spec in ("hls", "five", "nine", "study", "shuffled"):
        assert sets.choose(table, spec) == sets.choose(SLSTR, spec)
    assert sets.choose(table, "nine") == tuple(band.name for band in SLSTR)
    assert sets.choose(table, "five,ELEVATION".replace("five", ",".join(sets.FIVE)))[-1] == "elevation"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ELEVATION", "hold nothing that a sensor measured"),
        ("S1,elevation=BLUE", "band 'elevation' cannot play BLUE"),
        ("S1=ELEVATION", "band 'S1' cannot play ELEVATION"),
    ],
)
def test_elevation_plays_its_own_role_and_never_alone(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        sets.choose((*SLSTR, *bands(("ELEVATION",))), spec)
