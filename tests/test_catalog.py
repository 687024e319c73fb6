from types import SimpleNamespace

import pytest

from benchmark import catalog, cli_list
from benchmark.api import Row, UserError
from benchmark.profiles import PROFILES


def row(name, family="foundation", **values):
    return Row(name, family, SimpleNamespace, **values)


def factorial(*modes, size="9"):
    names = [(start, mode) for start in ("pretrained", "random") for mode in modes]
    return tuple(
        row(f"fake-{size}-{start}-{mode}", factors={"start": start, "mode": mode}, study_id=f"exp_{place}")
        for place, (start, mode) in enumerate(names)
    )


def resolve(name):
    return row(name, params={"option": name.split("+")[1]}) if name.startswith("fake-") and "+" in name else None


@pytest.fixture
def fake(monkeypatch):
    """Two modules: one that makes rows of names, and one that does not."""
    modules = (
        SimpleNamespace(ROWS=(row("floor-row", "floor"),)),
        SimpleNamespace(ROWS=factorial("frozen", "lora"), resolve=resolve, NAMES="fake-...[+option]"),
    )
    monkeypatch.setattr(catalog, "_methods", lambda: modules)
    for function in (catalog.rows, catalog._resolved):
        function.cache_clear()
    yield modules
    for function in (catalog.rows, catalog._resolved):
        function.cache_clear()


def test_a_row_is_enumerated_or_made_of_its_name(fake):
    assert catalog.row("fake-9-random-lora") is fake[1].ROWS[3]
    assert catalog.row("fake-9-random-lora+skip").params == {"option": "skip"}
    assert "fake-9-random-lora+skip" not in catalog.rows()
    assert catalog.names() == ("fake-...[+option]",)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fake-9-randm-lora", "no row is called 'fake-9-randm-lora'; did you mean fake-9-random-lora"),
        ("zebra", "no row is called 'zebra'; `python -m benchmark list`"),
    ],
)
def test_an_unknown_name_is_met_with_those_spelt_alike(fake, name, sentence):
    for find in (catalog.row, lambda name: catalog.choose([name], ())):
        with pytest.raises(UserError, match=sentence):
            find(name)


def test_a_row_made_of_a_name_with_a_family_that_no_table_knows_is_refused(fake, monkeypatch):
    monkeypatch.setattr(fake[1], "resolve", lambda name: row(name, "zoo"))
    with pytest.raises(ValueError, match="has family 'zoo'"):
        catalog.row("anything")


def test_names_globs_and_all_stand_in_the_order_of_the_catalogue(fake):
    found = catalog.choose(
        ["fake-9-random-lora+skip", "all", "*-frozen"], ["floor-row", "fake-9-random-lora+trainstats"]
    )
    assert [one.name for one in found] == [
        "floor-row", "fake-9-pretrained-frozen", "fake-9-random-frozen", "fake-9-random-lora+skip",
        "fake-9-random-lora+trainstats",
    ]  # fmt: skip


def test_a_glob_matches_enumerated_rows_or_those_it_is_told_of(fake):
    with pytest.raises(UserError, match="no row is called"):
        catalog.choose(["*+skip"], ())
    pool = [catalog.row("fake-9-random-lora+skip")]
    assert catalog.choose(["*+skip"], (), pool) == pool


def test_a_factorial_is_one_line_and_the_rest_stand_alone():
    odd = row("fake-9-random-frozen-long", factors={"start": "random", "mode": "frozen"}, note="longer")
    lines = cli_list.collapsed((row("floor-row", "floor", note="n"), *factorial("frozen", "lora"), odd,
                                *factorial("head", size="10")))  # fmt: skip
    assert lines == [
        ("floor-row", 1, "floor", "n"),
        (
            "fake-9-START-MODE", 4, "foundation",
            "START pretrained, random; MODE frozen, lora; exp_0 exp_1 exp_2 exp_3",
        ),
        ("fake-9-random-frozen-long", 1, "foundation", "longer"),
        ("fake-10-START-MODE", 2, "foundation", "START pretrained, random; MODE head; exp_0 exp_1"),
    ]  # fmt: skip


def test_every_enumerated_row_is_counted_once_in_a_list_that_fits_a_screen():
    lines = cli_list.collapsed(catalog.rows().values())
    assert sum(count for _, count, *_ in lines) == len(catalog.rows())
    assert len(lines) < 50


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_name_rows_that_there_are_and_every_control_can_be_found(profile):
    patterns = PROFILES[profile].rows
    assert all(catalog.choose([pattern], ()) for pattern in patterns)
    for one in catalog.choose(["all"], patterns):
        assert not one.control or catalog.row(one.control).name == one.control
