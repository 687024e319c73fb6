import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patch_factory import HLS5, bands, toa_and_mask

from benchmark import patchset, planner, splits
from benchmark.api import CLEAR, CLOUD, IGNORE, UserError
from benchmark.patchset import PatchWriter
from benchmark.studies import _arm_domain, _arm_train, _coarser, arms

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ATTRIBUTES = {"sensor": "test", "label_source": "constructed", "label_bands": [], "licence": "none"}
BIOMES = ("Urban", "Water", "Forest")
SIZE = 32
SUITE = 'title = "x"\nwhy = "y"\nrows = ["majority", "threshold"]\ntrials = 0\nprofile = "smoke"\n'
WHOLE = 'title = "x"\nwhy = "y"\nrows = ["majority"]\ntrials = 0\nprofile = "study"\n'


def nothing(done, total):
    pass


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """24 scenes of one to three patches: some all clear, some all cloud; the biome goes with the scene."""
    path = tmp_path_factory.mktemp("arms") / "mixed.zarr"
    with PatchWriter(path, bands(HLS5), ATTRIBUTES) as writer:
        for scene in range(24):
            count = 1 + scene % 3
            toa, mask = toa_and_mask(count, SIZE, HLS5, seed=100 + scene)
            if scene % 4 < 2:
                mask[mask != IGNORE] = (CLEAR, CLOUD)[scene % 4]
            writer.append(
                [f"s{scene:02d}p{i}" for i in range(count)],
                f"s{scene:02d}",
                toa,
                mask,
                {
                    "biome": np.full(count, BIOMES[scene % 3]),
                    "ground": np.array(["sea", "soil", "sea"])[:count] if scene % 6 else np.full(count, "rock"),
                    "land": np.ones(mask.shape, np.uint8),
                },
                np.datetime64("2024-01-15T10:00:00") + np.timedelta64(30 * scene, "D"),
                45.0 if scene % 2 else -10.0,
                5.0,
                40.0,
            )
    splits.write(splits.by_group(path, "scene", (0.6, 0.2, 0.2), seed=1), splits.split_path(path))
    return path


@pytest.fixture(scope="module")
def split(mixed):
    return splits.read(splits.split_path(mixed), mixed)


@pytest.fixture
def plans(mixed, tmp_path):
    def make(text, head=SUITE, tell=(), **asked):
        suite = tmp_path / "mine.toml"
        suite.write_text(head + text)
        asked = planner.Asked(data=str(mixed), suite=str(suite), out=tmp_path / "out", **asked)
        return planner.plans(asked, nothing, *tell)

    return make


def parts_of(plan):
    return splits.read(plan.split, plan.store).parts


def scenes(split, part="train"):
    return {split.scenes[patch] for patch in split.parts[part]}


def classes(store, patches):
    return set((_arm_train.labelled(store, patches).sum(0) > 0).tolist())


@QUICK
@given(subset=st.integers(0, 10**6), percents=st.lists(st.floats(0.01, 100), min_size=2, max_size=4))
def test_smaller_shares_of_the_scenes_lie_within_larger_ones(mixed, split, subset, percents):
    whole = scenes(split)
    kept = [_arm_train.fewer_scenes(split, mixed, percent, subset) for percent in sorted(percents)]
    for fewer, more in itertools.pairwise(kept):
        assert set(fewer.parts["train"]) <= set(more.parts["train"])
    for percent, one in zip(sorted(percents), kept, strict=True):
        assert (one.parts["val"], one.parts["test"]) == (split.parts["val"], split.parts["test"])
        assert len(scenes(one)) == max(1, int(percent / 100 * len(whole) + 0.5))
        assert {p for p in split.parts["train"] if split.scenes[p] in scenes(one)} == set(one.parts["train"])
        assert classes(mixed, one.parts["train"]) == {True}
    full = _arm_train.fewer_scenes(split, mixed, 100, subset)
    assert full == split


@QUICK
@given(kinds=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8), seed=st.integers(0, 9))
def test_the_first_scenes_show_both_classes_if_all_do(kinds, seed):
    named = {f"s{place}": kind for place, kind in enumerate(kinds)}
    order, least = _arm_train.scene_order(named, {name: name for name in named}, seed)
    assert sorted(order) == sorted(named)
    shown = [any(named[name][kind] for name in order[:least]) for kind in (0, 1)]
    assert shown == [any(kind[place] for kind in kinds) for place in (0, 1)]
    assert least == 1 or not any(all(kind) for kind in kinds)


def test_subsets_hang_on_content_and_not_on_names(mixed, split, tmp_path):
    ids = {patch: f"other-{99 - place}" for place, patch in enumerate(split.patches)}
    names = {scene: f"t{99 - place}" for place, scene in enumerate(sorted(set(split.scenes.values())))}
    parts = {part: tuple(ids[patch] for patch in each) for part, each in split.parts.items()}
    renamed = replace(split, parts=parts, patches={ids[p]: v for p, v in split.patches.items()},
                      scenes={ids[p]: names[v] for p, v in split.scenes.items()})  # fmt: skip
    kinds = {f"{scene}": (True, True) for scene in sorted(scenes(split))}
    content = {scene: f"c{scene}" for scene in kinds}
    order, _ = _arm_train.scene_order(kinds, content, 3)
    again, _ = _arm_train.scene_order(
        {names[scene]: kind for scene, kind in kinds.items()}, {names[s]: value for s, value in content.items()}, 3
    )
    assert again == [names[scene] for scene in order]
    back = {new: old for old, new in ids.items()}
    turned = _arm_train.in_turn(parts["train"], renamed.patches, renamed.scenes)
    assert [back[p] for p in turned] == _arm_train.in_turn(split.parts["train"], split.patches, split.scenes)


def test_other_subsets_are_others(mixed, split):
    drawn = {_arm_train.fewer_scenes(split, mixed, 30, subset).parts["train"] for subset in range(6)}
    assert len(drawn) > 3


@QUICK
@given(shares=st.lists(st.integers(25, 75), min_size=1, max_size=3, unique=True), subset=st.integers(0, 5))
def test_balance_is_what_was_asked_with_as_many_patches_in_every_arm(mixed, split, shares, subset):
    drawn = [_arm_train.balanced(split, mixed, share, shares, subset) for share in shares]
    assert len({len(one.parts["train"]) for one in drawn}) == 1
    for share, one in zip(shares, drawn, strict=True):
        clear, cloud = _arm_train.labelled(mixed, one.parts["train"]).sum(0)
        assert abs(cloud / (clear + cloud) - share / 100) <= _arm_train.NEAR
        assert (one.parts["val"], one.parts["test"]) == (split.parts["val"], split.parts["test"])
        assert set(one.parts["train"]) <= set(split.parts["train"])


def test_a_balance_out_of_reach_names_what_can_be_reached(store):
    given = splits.read(splits.split_path(store), store)
    low = 100 * (_arm_train.labelled(store, given.parts["train"])[:, 1] > 0).mean()
    assert low == 100, "every patch has some cloud"
    with pytest.raises(
        UserError, match=r"train patches with 1 to 50 % of cloud .*any 4 of the \d+ patches hold \d+ to"
    ):
        _arm_train.balanced(given, store, 50, [1, 50], 0)


@QUICK
@given(what=st.sampled_from([*(("biome", value) for value in BIOMES), ("ground", "soil")]), fold=st.integers(0, 1))
def test_arms_in_and_out_of_a_domain_differ_in_train_patches_alone(mixed, what, fold):
    name, value = what  # the ground differs within scenes
    pair = [f"{name}!={value} -> {name}={value}", f"all -> {name}={value}"]
    away, home = (_arm_domain.draw(mixed, "scene", text, fold, pair) for text in pair)
    known = dict(zip(patchset.table(mixed).ids, _arm_domain.attribute(mixed, name), strict=True))
    assert (away.parts["test"], away.parts["val"]) == (home.parts["test"], home.parts["val"])
    assert len(away.parts["train"]) == len(home.parts["train"])
    assert {known[patch] for patch in away.parts["test"]} == {value}
    assert value not in {known[patch] for patch in (*away.parts["train"], *away.parts["val"])}
    assert value in {known[patch] for patch in home.parts["train"]}
    for one in (away, home):
        assert not scenes(one, "test") & (scenes(one, "train") | scenes(one, "val"))
        assert not scenes(one, "train") & scenes(one, "val")
        assert classes(mixed, one.parts["val"]) == {True}
    counts = {"train": 6, "val": 2, "test": 3}
    few = [_arm_domain.draw(mixed, "scene", text, fold, pair, counts) for text in pair]
    assert [{part: len(ids) for part, ids in one.parts.items()} for one in few] == [counts, counts]


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("unknown", [False, True])
def test_arms_choose_by_the_same_patches_where_every_scene_holds_the_tested_side(mixed, monkeypatch, fold, unknown):
    """The first patch of each scene is tested; of some the ground is not known, which `all` holds and `!=` does not."""
    ids = patchset.table(mixed).ids
    kinds = {patch: "soil" if patch.endswith("p0") else "sea" for patch in ids}
    if unknown:
        kinds |= {patch: "" for patch in ids if patch.endswith("p2")}
    monkeypatch.setattr(_arm_domain, "attribute", lambda store, name: tuple(kinds.values()))
    pair = ["ground!=soil -> ground=soil", "all -> ground=soil"]
    away, home = (_arm_domain.draw(mixed, "scene", text, fold, pair) for text in pair)
    assert (away.parts["test"], away.parts["val"]) == (home.parts["test"], home.parts["val"])
    assert {kinds[patch] for patch in home.parts["val"]} == {"sea"}
    assert {kinds[patch] for patch in home.parts["train"]} >= {"sea", "soil"}
    assert len(away.parts["train"]) == len(home.parts["train"])
    for one in (away, home):
        assert not scenes(one, "test") & (scenes(one, "train") | scenes(one, "val"))
        assert not scenes(one, "train") & scenes(one, "val")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_trains_on_the_tested_side_alone_chooses_by_its_own_patches(mixed, order):
    known = dict(zip(patchset.table(mixed).ids, _arm_domain.attribute(mixed, "biome"), strict=True))
    arms_of = ["biome!=Water -> biome=Water", "biome=Water -> biome=Water", "all -> biome=Water"]
    among = [arms_of[place] for place in order]
    away, own, home = (_arm_domain.draw(mixed, "scene", text, 0, among) for text in arms_of)
    assert away.parts["val"] == home.parts["val"]
    assert {known[patch] for patch in (*own.parts["val"], *own.parts["train"])} == {"Water"}
    assert away.parts["test"] == own.parts["test"] == home.parts["test"]


@pytest.mark.parametrize("value", BIOMES)
def test_the_folds_test_every_patch_of_a_domain_once(mixed, value):
    text = f"biome!={value} -> biome={value}"
    tested = [set(_arm_domain.draw(mixed, "scene", text, fold, [text]).parts["test"]) for fold in (0, 1)]
    biome = dict(zip(patchset.table(mixed).ids, _arm_domain.attribute(mixed, "biome"), strict=True))
    assert not tested[0] & tested[1]
    assert tested[0] | tested[1] == {patch for patch, each in biome.items() if each == value}


def test_attributes_of_patches(mixed):
    rows = patchset.table(mixed)
    season = dict(zip(rows.ids, _arm_domain.attribute(mixed, "season"), strict=True))
    assert season["s01p0"] == "winter", "February in the north"
    assert season["s00p0"] == "summer", "January in the south"
    assert season["s06p0"] == "winter", "July in the south"
    assert set(_arm_domain.attribute(mixed, "latitude")) == {"tropics", "mid-latitudes"}
    assert set(_arm_domain.attribute(mixed, "sun")) == {"40-60"}
    assert set(_arm_domain.attribute(mixed, "land")) == {"1"}
    assert _arm_domain.attribute(mixed, "scene") == rows.scenes


def test_leave_one_out_is_two_arms_of_every_value(mixed):
    found = _arm_domain.expanded("leave-one-out:biome", mixed)
    assert found[:2] == ["biome!=Forest -> biome=Forest", "all -> biome=Forest"]
    assert len(found) == 2 * len(BIOMES)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("leave-one-out:boime", "no attribute 'boime'; they have biome, ground, land, scene"),
        ("leave-one-out:land", "all patches are of land=1, so there is none to leave out"),
        ("all -> biome=Snow", "no patch is of biome=Snow; values of biome are Forest, Urban, Water"),
        ("all -> scene=s00", "only one scene is of scene=s00, .* it needs two"),
        ("scene=s00 -> biome=Water", r"leaves 1 scene\(s\) to train and to choose by; it needs two"),
    ],
)
def test_domains_that_the_data_do_not_have_are_one_sentence(plans, text, sentence):
    with pytest.raises(UserError, match=sentence):
        plans(f"[vary]\ndomain = ['{text}']\n")


def test_copies_in_other_scenes_are_found_once_for_all_arms(mixed, monkeypatch):
    from benchmark import leaks

    asked = []
    known = leaks.near_duplicates
    monkeypatch.setattr(leaks, "near_duplicates", lambda *given: asked.append(given) or known(*given))
    assert arms.copies(mixed, "scene") == []
    assert len(asked) == 1
    text = "biome!=Water -> biome=Water"
    split = _arm_domain.draw(mixed, "scene", text, 0, [text])
    train, val, test = (split.parts[part] for part in splits.PARTS)
    arms.refuse_copies(split, [(train[0], train[1]), (val[0], "elsewhere")])
    with pytest.raises(UserError, match=f"patches '{train[0]}' of train and '{test[0]}' of test are nearly the same"):
        arms.refuse_copies(split, [(train[0], test[0])])


def test_every_combination_is_a_plan_and_equal_ones_come_once(plans):
    made = plans("[vary]\ntrain = [10, 50, 100]\nsubset = [0, 1, 2]\n", WHOLE)
    assert [plan.arm for plan in made] == [
        *({"train": train, "subset": subset} for train in (10, 50) for subset in range(3)),
        {"train": 100, "subset": 0},
    ]
    assert {plan.suite for plan in made} == {"mine"}
    assert len({plan.name for plan in made}) == len(made)
    assert len({(parts_of(plan)["val"], parts_of(plan)["test"]) for plan in made}) == 1


def test_arms_left_out_as_equal_are_named(plans):
    told = []
    made = plans("[vary]\ntrain = [1, 2, 100]\nsubset = [0, 1]\n", WHOLE, tell=[told.append])
    assert len(made) == 3
    assert told == [
        "left out, for the same cells as train-1-subset-0: train-2-subset-0",
        "left out, for the same cells as train-1-subset-1: train-2-subset-1",
        "left out, for the same cells as train-100-subset-0: train-100-subset-1",
    ]
    assert [plan.equal for plan in made] == [({"train": 2, "subset": n},) for n in (0, 1)] + [
        ({"train": 100, "subset": 1},)
    ]
    told.clear()
    assert len(plans("[vary]\nepochs = [2, 3]\n", tell=[told.append])) == 2
    assert told == []


def test_fewer_patches_take_as_many_steps(plans):
    made = plans("budget = { epochs = 4, batch = 2 }\n[vary]\ntrain = [5, 20, 100]\n", WHOLE)
    steps = [plan.cells[0].budget.epochs * -(-len(parts_of(plan)["train"]) // 2) for plan in made]
    assert made[-1].cells[0].budget.epochs == 4
    assert max(steps) - min(steps) <= 0.5 * max(-(-len(parts_of(plan)["train"]) // 2) for plan in made)
    assert made[0].cells[0].budget.epochs > 8


def test_bands_labels_and_epochs_are_as_the_options(plans):
    text = (
        "bands = 'five'\n[vary]\nbands = ['five', ['green', 'red=BLUE']]\nlabels = ['', 'flip-0.1']\nepochs = [2, 3]\n"
    )
    made = plans(text)
    assert len(made) == 8
    for plan in made:
        cell = plan.cells[0]
        assert (cell.labels, cell.budget.epochs) == (plan.arm["labels"], plan.arm["epochs"])
        assert cell.bands == (("green", "red=BLUE") if "," in str(plan.arm["bands"]) else
                              ("green", "red", "nir_narrow", "swir_1", "swir_2"))  # fmt: skip
    assert len({plan.name for plan in made}) == 8
    assert all(re.fullmatch(r"[A-Za-z0-9_=.-]+", plan.name) for plan in made)


def test_what_a_suite_varies_is_no_option(plans):
    for option in ({"bands": "five"}, {"epochs": 3}, {"labels": "permuted"}):
        (name,) = option
        value = {"bands": "'hls'", "epochs": "2", "labels": "''"}[name]
        with pytest.raises(UserError, match=f"--{name} is what the suite varies"):
            plans(f"[vary]\n{name} = [{value}]\n", **option)


def test_a_suite_with_arms_is_no_single_plan(mixed, tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE + "[vary]\nepochs = [1, 2]\n")
    asked = planner.Asked(data=str(mixed), suite=str(suite), out=tmp_path / "out")
    with pytest.raises(UserError, match="suite 'mine' varies epochs, so it is no single plan"):
        planner.make(asked, nothing)
    suite.write_text(SUITE + "vary = { epochs = [1, 2] }\nat.quick = { vary = { train = [10] } }\n")
    with pytest.raises(UserError, match="suite 'mine' varies train, so it is no single plan"):
        planner.make(replace(asked, profile="quick"), nothing)


def test_the_grammar_of_a_domain_is_told_once(plans):
    assert arms.AXES["domain"].about.endswith(_arm_domain.GRAMMAR)
    with pytest.raises(UserError, match=re.escape(_arm_domain.GRAMMAR)):
        plans("[vary]\ndomain = ['a=b']\n")


def test_without_a_suite_there_is_one_plan(store, tmp_path):
    asked = planner.Asked(("majority",), str(store), "smoke", out=tmp_path)
    assert planner.plans(asked, nothing) == [planner.make(asked, nothing)]
    assert planner.make(asked, nothing).arm == {}


def test_coarser_pixels_are_means_of_the_same_patches(plans, mixed):
    fine, coarse = plans("[vary]\ncoarser = [1, 2]\n")
    assert parts_of(fine) == parts_of(coarse)
    given, made = patchset.arrays(mixed), patchset.arrays(coarse.store)
    assert made.toa.shape == (len(given.ids), len(HLS5), SIZE // 2, SIZE // 2)
    patch = given.ids.index("s02p0")
    block = given.toa[patch][:, 10:12, 20:22]
    np.testing.assert_allclose(made.toa[patch][:, 5, 10], block.mean((1, 2)), rtol=1e-6)
    assert fine.cells[0].key != coarse.cells[0].key
    again = plans("[vary]\ncoarser = [2]\n")
    assert again[0].store == coarse.store
    with pytest.raises(UserError, match="patches of 32x32 pixels, 3 times coarser, have 10x10, and 16 are needed"):
        plans("[vary]\ncoarser = [3]\n")


def test_a_block_is_cloud_from_half_on_and_unknown_below_half():
    toa = np.ones((1, 4, 4), np.float32)
    mask = np.zeros((4, 4), np.uint8)
    mask[0, :2] = CLOUD  # two of four
    mask[0, 2] = CLOUD  # one of four
    toa[0, 2:, :2] = np.nan  # nothing valid
    toa[0, 2, 2:] = np.nan  # half valid
    mask[3, 2:] = (CLOUD, IGNORE)  # of the valid half one has no label
    means, labels = _coarser.block_means(toa, mask, 2)
    assert labels.tolist() == [[CLOUD, CLEAR], [IGNORE, IGNORE]]
    np.testing.assert_array_equal(np.isnan(means[0]), [[False, False], [True, False]])


def test_joined_data_sets_share_bands_by_role_and_know_their_sensor(store, mixed, tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE + "[vary]\ndomain = ['sensor=plain -> sensor=mixed', 'all -> sensor=mixed']\n")
    asked = planner.Asked(data=f"{store}+{mixed}", suite=str(suite), out=tmp_path / "out")
    away, home = planner.plans(asked, nothing)
    arrays = patchset.arrays(away.store)
    assert [band.name for band in arrays.bands] == list(HLS5)
    assert len(arrays.ids) == len(patchset.table(store).ids) + len(patchset.table(mixed).ids)
    assert {patch.split(":")[0] for patch in parts_of(away)["train"]} == {"plain"}
    assert {patch.split(":")[0] for patch in parts_of(home)["train"]} == {"plain", "mixed"}
    assert {patch.split(":")[0] for patch in parts_of(away)["test"]} == {"mixed"}
    with pytest.raises(UserError, match="have the same name"):
        planner.plans(replace(asked, data=f"{store}+{store}"), nothing)


def test_names_of_arms_differ_and_may_be_files():
    values = ["biome=A -> biome=B", "biome!=A -> biome=B", "biome=A B -> biome=B", "biome=A-B -> biome=B", "x" * 90, ""]
    names = [arms.words({"domain": value}) for value in values]
    assert len(set(names)) == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9_=.-]+", name) and len(name) <= arms.LONGEST for name in names)
    assert arms.words({"train": 10, "subset": 1}) == "train-10-subset-1"
    assert arms.words({}) == ""
