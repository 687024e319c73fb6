import fnmatch
from dataclasses import asdict

import pytest

from benchmark import catalog, planner, record, splits
from benchmark.api import UserError
from benchmark.profiles import PROFILES
from benchmark.studies import arms, suite_cost, suites

TOML = """
title = "Two rows"
why = "To see that it works."
rows = ["majority", "threshold*"]
bands = "shuffled"
profile = "smoke"
seeds = 2
trials = 0
patches = { train = 3, val = 2, test = 1 }
budget = { epochs = 4, batch = 2, orientations = 8 }
epochs = { majority = 9 }
"""


def nothing(done, total):
    pass


@pytest.fixture
def toml(tmp_path):
    def write(text=TOML):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def make(store, tmp_path, **asked):
    return planner.make(planner.Asked(**{"data": str(store), "out": tmp_path / "out"} | asked), nothing)


def sizes(plan):
    return tuple(len(ids) for ids in splits.read(plan.split, plan.store).parts.values())


def test_a_suite_gives_rows_bands_and_numbers(store, tmp_path, toml):
    plan = make(store, tmp_path, suite=toml())
    assert {cell.row for cell in plan.cells} == {"majority", "threshold", "threshold-band", "threshold-fitted"}
    assert plan.name == "plain-mine"
    assert sizes(plan) == (3, 2, 1)
    assert {cell.seed for cell in plan.cells} == {0, 1}
    assert not any(cell.tuned for cell in plan.cells)
    assert plan.cells[0].bands[0] == "green=NIR_NARROW"
    epochs = {cell.row: cell.budget.epochs for cell in plan.cells}
    assert epochs == {"majority": 9, "threshold": 4, "threshold-band": 4, "threshold-fitted": 4}
    budget = plan.cells[0].budget
    assert (budget.batch, budget.orientations, budget.pixels) == (2, 8, 4_000), (
        "what it does not state is the profile's"
    )


def test_options_win_over_the_suite(store, tmp_path, toml):
    options = {"seeds": 1, "trials": 2, "epochs": 7, "patches": "4,3,2", "bands": "five", "profile": "quick"}
    plan = make(store, tmp_path, suite=toml(), **options)
    assert sizes(plan) == (4, 3, 2)
    assert {cell.seed for cell in plan.cells} == {0}
    assert {cell.trials for cell in plan.cells} == {0, 2}
    assert {cell.budget.epochs for cell in plan.cells} == {7}
    assert plan.cells[0].bands == ("green", "red", "nir_narrow", "swir_1", "swir_2")
    assert {cell.profile for cell in plan.cells} == {"quick"}


def test_names_and_globs_choose_from_the_rows_of_the_suite(store, tmp_path, toml):
    assert {cell.row for cell in make(store, tmp_path, suite=toml(), rows=("maj*",)).cells} == {"majority"}
    assert {cell.row for cell in make(store, tmp_path, suite=toml(), rows=("lightgbm",)).cells} == {"lightgbm"}
    with pytest.raises(UserError, match="no row is called 'light\\*'"):
        make(store, tmp_path, suite=toml(), rows=("light*",))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds", "sedes", "suite mine.toml: 'sedes' is no key of a suite"),
        ("batch", "bach", "'budget.bach' is no key of a suite"),
        ('title = "Two rows"', "", "'title' is missing"),
        ("seeds = 2", 'seeds = "two"', r"'seeds' is not as it must be \(input should be a valid integer\)"),
        ("seeds = 2", "seeds = 0", "'seeds' is not as it must be .*greater than or equal to 1"),
        ("orientations = 8", "orientations = 3", "'budget.orientations' is not as it must be .*1 or 8"),
        ("train = 3", "training = 3", "'patches.training.*' is not as it must be .*'train', 'val' or 'test'"),
        ('"majority",', '"majorty",', "suite mine.toml: no row is called 'majorty'; did you mean majority"),
        ('"threshold*"', '"treshold*"', "no row is called 'treshold\\*'"),
        ("majority = 9", "lightgbm = 9", "'lightgbm' has epochs and is none of its rows"),
        ('"smoke"', '"smoked"', "no profile is called 'smoked'"),
        ("title =", "name = 'x'\ntitle =", "'name' is no key of a suite"),
        ("epochs = {", "vary = 3\nepochs = {", "'vary' is not as it must be .*object"),
        (
            "epochs = {",
            "vary = { trian = [1] }\nepochs = {",
            "mine.toml: 'trian' is nothing that a suite can vary; axes",
        ),
        ("epochs = {", "vary = { train = [0] }\nepochs = {", "axis 'train' has the value 0; its values are percent of"),
        ("epochs = {", "vary = { train = [] }\nepochs = {", "axis 'train' has no values"),
        ("epochs = {", "vary = { train = [5, 5] }\nepochs = {", "axis 'train' has the value 5 twice"),
        ("epochs = {", "vary = { subset = [0] }\nepochs = {", "axis 'subset' changes nothing without train or balance"),
        ("epochs = {", "vary = { bands = [['S1', 3]] }\nepochs = {", r"axis 'bands' has the value \['S1', 3\]"),
        (
            "epochs = {",
            "vary = { labels = ['flip-2'] }\nepochs = {",
            "axis 'labels' has the value 'flip-2'; .*flip-SHARE",
        ),
        ("epochs = {", "vary = { epochs = [true] }\nepochs = {", "axis 'epochs' has the value True"),
        ("epochs = {", "vary = { epochs = [3, 5] }\nepochs = {", "single rows have epochs and 'vary' has some for all"),
        ("epochs = {", "at.quick = { vary = { epochs = [3] } }\nepochs = {", "single rows have epochs and 'vary' has"),
        ("epochs = {", "vary = { domain = ['a=b'] }\nepochs = {", "axis 'domain' has the value 'a=b'; .*SIDE -> SIDE"),
        ("epochs = {", "at.quik = { seeds = 1 }\nepochs = {", "no profile is called 'quik'"),
        ("epochs = {", "at.quick = { sedes = 1 }\nepochs = {", "'at.quick.sedes' is no key of a suite"),
        ("epochs = {", "at.quick = { rows = ['unett'] }\nepochs = {", "no row is called 'unett'"),
        ("epochs = {", "at.quick = { vary = { x = [1] } }\nepochs = {", "'x' is nothing that a suite can vary"),
        ("epochs = {", "size = 8\nepochs = {", "'size' is not as it must be .*greater than or equal to 32"),
        ("title =", "title", "suite mine.toml is not TOML"),
    ],
)
def test_faults_are_one_sentence(toml, old, new, sentence):
    assert old in TOML
    with pytest.raises(UserError, match=sentence) as fault:
        suites.read(toml(TOML.replace(old, new, 1)))
    assert "\n" not in str(fault.value)


def test_no_such_suite():
    with pytest.raises(UserError, match=r"no suite or file 'nowhere'; suites are .*study-as-published"):
        suites.read("nowhere")


@pytest.mark.parametrize("name", suites.known())
def test_the_suites_that_come_along_can_be_read(name):
    suite = suites.read(name)
    assert suite.title
    assert suite.why
    assert suite.chosen()


def test_a_suite_is_another_with_a_profile(store, tmp_path, toml):
    other = 'at.quick = { rows = ["majority"], seeds = 1, patches = { train = 2 }, size = 64 }\nepochs = {'
    text = toml(TOML.replace("epochs = {", other))
    plan = make(store, tmp_path, suite=text)
    assert (len({cell.row for cell in plan.cells}), sizes(plan)) == (4, (3, 2, 1))
    plan = make(store, tmp_path, suite=text, profile="quick")
    assert ({cell.row for cell in plan.cells}, {cell.seed for cell in plan.cells}) == ({"majority"}, {0})
    assert sizes(plan)[0] == 2
    suite = suites.read(text)
    assert [suite.with_profile(name).numbers(PROFILES[name]).size for name in ("smoke", "quick")] == [32, 64]


def test_a_suite_may_name_its_data(store, tmp_path, toml):
    text = toml(TOML.replace("epochs = {", f'data = "{store}"\nepochs = {{'))
    assert make(store, tmp_path, suite=text, data=None).store == store
    with pytest.raises(UserError, match="no data set or folder 'elsewhere'"):
        make(store, tmp_path, suite=text, data="elsewhere")


@pytest.mark.parametrize("name", suites.known())
def test_the_arms_that_come_along_are_sound_with_every_profile(name):
    for profile in PROFILES:
        suite = suites.read(name).with_profile(profile)
        assert set(arms.stated(suite.vary)) == set(suite.vary)
        assert suite.chosen()


def test_what_a_suite_costs_is_told_from_records(store, tmp_path, toml):
    out = tmp_path / "out"
    text = TOML.replace("epochs = {", "vary = { train = [10, 50, 100] }\nepochs = {").replace('bands = "shuffled"', "")
    suite = suites.read(toml(text))
    assert suite_cost.cost(suite, out) == suite_cost.Cost("24", "?")
    plan = make(store, tmp_path, suite=toml(), profile="smoke")
    for cell in plan.cells:
        done = record.Record(cell.key, asdict(cell), record.OK, patches=["a", "b"], pixels=2 * 32**2, seconds=30.0)
        record.write(done, cell.folder(out))
    # 4 rows, 3 arms, 2 seeds; 30 s for as many train patches (3) of as many pixels as the suite has
    assert suite_cost.cost(suite, out) == suite_cost.Cost("24", "0.2")
    word = suites.read(toml(text.replace("train = [10, 50, 100]", "domain = ['leave-one-out:biome']")))
    assert suite_cost.cost(word, out) == suite_cost.Cost("16+", "0.1+")


# Runs of the study, from its repository: name -> row, epochs.
PUBLISHED = {
    "exp_0": ("prithvi-300-random-unfrozen", 5),
    "exp_1": ("prithvi-300-random-frozen", 20),
    "exp_2": ("prithvi-300-pretrained-unfrozen", 20),
    "exp_3": ("prithvi-300-pretrained-frozen", 20),
    "exp_4": ("prithvi-300-tl-nocoords-pretrained-frozen", 20),
    "exp_5": ("prithvi-600-random-unfrozen", 20),
    "exp_6": ("prithvi-600-pretrained-frozen", 20),
    "exp_7": ("prithvi-300-random-head", 20),
    "exp_31": ("prithvi-300-random-frozen-long", 150),
    "exp_33": ("prithvi-300-pretrained-frozen-long", 150),
}


def test_the_study_as_it_was_published(store, tmp_path):
    plan = make(store, tmp_path, suite="study-as-published", device="cpu")
    epochs = {cell.row.removesuffix("+trainstats"): cell.budget.epochs for cell in plan.cells}
    assert {row: epochs[row] for row, _ in PUBLISHED.values()} == dict(PUBLISHED.values())
    rows = {cell.row for cell in plan.cells}
    assert all(row.endswith("+trainstats") for row in rows)
    assert set(plan.controls) == rows - {f"{row}+trainstats" for row, _ in PUBLISHED.values()}
    assert {(cell.seed, cell.budget.batch, cell.budget.orientations, cell.tuned) for cell in plan.cells} == {
        (0, 8, 8, False)
    }
    assert plan.cells[0].bands == ("red=BLUE", "red=GREEN", "nir_narrow=RED", "swir_1=NIR_NARROW", "swir_1", "swir_2")
    for cell in plan.cells:
        params = catalog.row(cell.row).params
        assert (params["statistics"], params["coordinates"]) == ("train", False)
    assert plan.name == "plain-study-as-published"


def test_equal_steps_are_equal_and_every_frozen_start_has_its_control(store, tmp_path):
    plan = make(store, tmp_path, suite="study-equal-steps", device="cpu")
    assert {cell.budget.epochs for cell in plan.cells} == {20}
    assert {cell.seed for cell in plan.cells} == {0, 1, 2}
    rows = {cell.row for cell in plan.cells}
    arms = {f"{row}+trainstats" for row, _ in PUBLISHED.values() if not row.endswith("-long")}
    assert arms | {"prithvi-300-tl-pretrained-frozen+trainstats", "lightgbm", "random-forest", "unet"} <= rows
    assert fnmatch.filter(rows, "*-simpretrained-*")
    assert fnmatch.filter(rows, "*-lora*")
    assert {catalog.row(row).control for row in rows} - {""} <= rows


def test_a_control_gets_the_epochs_of_the_row_that_brought_it(store, tmp_path, toml):
    row, control = "prithvi-tiny-pretrained-frozen", "prithvi-tiny-random-frozen"
    text = TOML.replace('"threshold*"', f'"{row}"').replace("majority = 9", f"{row} = 9")
    plan = make(store, tmp_path, suite=toml(text))
    assert plan.controls == (control,)
    assert {cell.row: cell.budget.epochs for cell in plan.cells} == {"majority": 4, row: 9, control: 9}
    assert {cell.budget.epochs for cell in make(store, tmp_path, suite=toml(text), epochs=2).cells} == {2}
    named = text.replace(f"{row} = 9", f"{row} = 9, {control} = 3").replace(f'"{row}"', f'"{row}", "{control}"')
    plan = make(store, tmp_path, suite=toml(named))
    assert {cell.row: cell.budget.epochs for cell in plan.cells} == {"majority": 4, row: 9, control: 3}
