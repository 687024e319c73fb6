"""What ids and band names of a patch folder say."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmark.api import ELEVATION, Band, UserError
from datasets._patch_names import BIOME, TIMESTAMP, Name, compile_pattern, make_bands, read_name


@given(st.datetimes(), st.integers(0, 9999), st.sampled_from([224, 256]))
def test_ids_of_the_study_give_scene_and_time(time: object, index: int, size: int) -> None:
    for text, unit in ((f"{time:%Y%m%dT%H%M%S}", "s"), (f"{time:%Y%m%d%H%M%S}", "s"), (f"{time:%Y%m%d}", "D")):
        if not text[:8].isdigit() or len(text) not in (8, 14, 15):
            continue
        name = read_name(f"{text}_{index}_{size}")
        assert (name.scene, name.biome) == (text, "")
        assert np.datetime64(name.time) == np.datetime64(time, unit)


field = st.text("abcXYZ019-", min_size=1, max_size=6)


@given(st.text("abcXYZ", min_size=1, max_size=8), field, field)
def test_ids_of_three_fields_give_biome_and_scene(biome: str, scene: str, tile: str) -> None:
    assert read_name(f"{biome}_{scene}_{tile}") == Name(f"{biome}_{scene}", "NaT", biome)


@given(st.text(max_size=20))
def test_any_other_id_is_a_sentence(text: str) -> None:
    assume(not TIMESTAMP.fullmatch(text) and not BIOME.fullmatch(text))
    with pytest.raises(UserError, match=re.escape(f"patch id '{text}' does not follow")):
        read_name(text)


def test_a_time_that_is_none_and_optional_groups() -> None:
    with pytest.raises(UserError, match="has no date or time in '20211399'"):
        read_name("20211399_1_224")
    pattern = compile_pattern(r"(?P<scene>[a-z]+)(?:_(?P<time>[\d-]+))?")
    assert read_name("abc", pattern) == Name("abc", "NaT", "")
    assert read_name("abc_2021-08-27", pattern).time == "2021-08-27T00:00:00"


def test_a_dem_is_elevation_in_metres() -> None:
    assert make_bands(["S1", "dem"], ())[1] == Band("dem", "ELEVATION", 0.0, ELEVATION)


def test_every_band_of_slstr_has_its_role() -> None:
    roles = [band.role for band in make_bands([f"S{n}" for n in range(1, 10)], ())]
    assert roles == ["GREEN", "RED", "NIR_NARROW", "CIRRUS", "SWIR_1", "SWIR_2", "BT_37", "BT_11", "BT_12"]
