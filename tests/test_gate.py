"""Each fault is planted and must be found; the sound lines beside it must not be."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from patch_factory import make_part
from record_factory import REALISTIC, Spec, factorial, make_plan

from benchmark import record
from benchmark.record import FAILED, PROBABILITIES, VALIDATION
from benchmark.scores import confusion, histogram
from benchmark.views import gate, permuted, tables
from benchmark.views.gate import suspects
from benchmark.views.lines import lines

FLOOR = Spec("majority", "floor")
BAND = Spec(gate.SINGLE_BAND, "threshold", 1.3)
FOREST = Spec("random-forest", "forest", 0.4, seeds=(0, 1))
TREES = Spec("lightgbm", "boosting", 0.35, seeds=(0, 1))
SOUND = [FLOOR, BAND, FOREST, TREES, replace(TREES, skill=0.3, tuned=True)]


def cells_of(plan, row, tuned=False):
    return [cell for cell in plan.cells if (cell.row, cell.tuned) == (row, tuned)]


def alter(plan, out, row, probability=None, seeds=None, tuned=False, labels=False, **values):
    """Write the records of a row again with other predictions or other fields, or those of its permuted twin."""
    for cell in cells_of(plan, row, tuned):
        if seeds is not None and cell.seed not in seeds:
            continue
        kept, mask = record.read(cell.folder(out)), np.load(cell.truth(out) / "mask.npy")
        told = probability(mask, np.random.default_rng(cell.seed)) if callable(probability) else probability
        written = permuted.twin(cell) if labels else cell
        written.folder(out).mkdir(parents=True, exist_ok=True)
        if told is not None:
            told = np.broadcast_to(told, mask.shape).astype(np.float16)
            np.save(written.folder(out) / PROBABILITIES, told)
            values |= {"counts": confusion(told > 0.5, mask).tolist()}
        record.write(replace(kept, cell=asdict(written), key=written.key, **values), written.folder(out))


def made(out, specs=SOUND):
    plan = make_plan(out, specs, scenes=8)
    alter(plan, out, "majority", 1.0)
    return plan


def found(plan, out):
    return suspects(lines(plan, out))


def only(plan, out, *names):
    """Return the one reason of each of these lines, after a look that no other is suspect and none has two."""
    told = found(plan, out)
    assert set(told) == set(names)
    assert all(len(reasons) == 1 for reasons in told.values()), told
    return [told[name][0] for name in names]


def noise(mask, rng):
    return rng.random(mask.shape)


def true(mask, rng):
    return np.where(rng.random(mask.shape) < 0.9, mask == 1, mask != 1)


def test_sound_lines_are_not_suspect(tmp_path):
    assert found(made(tmp_path), tmp_path) == {}


def test_rows_without_a_record_are_not_suspect(tmp_path):
    told = found(made(tmp_path, REALISTIC), tmp_path)
    assert not any(row in told for row in ("terramind-frozen", "prithvi-300-full", "forest-intelex", "lightgbm"))


@pytest.mark.parametrize("scale", ["train", "own, of unknown bands train"])
def test_another_input_scale_than_declared_is_suspect(tmp_path, scale):
    rows = [spec for spec in factorial((0,)) if spec.row.startswith("prithvi-tiny-pretrained-frozen")]
    plan = make_plan(tmp_path, rows)
    kept = record.read(cells_of(plan, "prithvi-tiny-pretrained-frozen")[0].folder(tmp_path))
    alter(plan, tmp_path, "prithvi-tiny-pretrained-frozen", facts={**kept.facts, "input scale": scale})
    if scale == "train":
        (reason,) = only(plan, tmp_path, ("prithvi-tiny-pretrained-frozen", False))
        assert reason == "its input was standardised by 'train' statistics, and the row declares 'own'"
    else:
        assert found(plan, tmp_path) == {}
    alter(plan, tmp_path, "prithvi-tiny-pretrained-frozen", facts={**kept.facts, "input std": [0.1, 0.0]})
    (reason,) = only(plan, tmp_path, ("prithvi-tiny-pretrained-frozen", False))
    assert "a mean or deviation that is none" in reason


@pytest.mark.parametrize("unit", [1e4, 100.0, 1e-4])
def test_input_that_the_fit_refused_for_its_scale_is_suspect(tmp_path, unit):
    from models import _scales
    from models._encoder import Statistics

    images = make_part().images
    toa = np.asarray(images.toa) * unit
    with pytest.raises(Exception, match="must be") as refused:
        _scales.gate(replace(images, toa=toa), Statistics(np.full(5, 0.2), np.full(5, 0.1)))
    plan = made(
        tmp_path, [*SOUND, Spec("a", status=FAILED, reason=str(refused.value)), Spec("b", status=FAILED, reason="no")]
    )
    (reason,) = only(plan, tmp_path, ("a", False))
    assert reason.startswith("its input has another scale than it declares: band ")


@pytest.mark.parametrize(("fact", "value"), [("feature rank", 0.0), ("feature rank", 1.2), ("feature spread", 0.009)])
def test_collapsed_features_are_suspect(tmp_path, fact, value):
    plan = made(tmp_path)
    sound = {"feature rank": 22.0, "feature spread": 0.84}
    alter(plan, tmp_path, "random-forest", facts=sound)
    assert found(plan, tmp_path) == {}
    alter(plan, tmp_path, "random-forest", seeds=[1], facts={**sound, fact: value})
    (reason,) = only(plan, tmp_path, ("random-forest", False))
    assert reason.startswith("its features have collapsed: ")
    assert reason.endswith("(1 of 2 seeds)")


def test_constant_probabilities_are_suspect(tmp_path):
    plan = made(tmp_path)
    alter(plan, tmp_path, "random-forest", 0.25)
    told = found(plan, tmp_path)
    assert set(told) == {("random-forest", False)}
    assert told["random-forest", False][0] == "its probability is the same in every pixel (2 of 2 seeds)"


@pytest.mark.parametrize(("high", "word"), [(0.4, "clear"), (0.9, "cloud")])
def test_one_class_everywhere_is_suspect_if_validation_agrees(tmp_path, high, word):
    plan = made(tmp_path)

    def varied(mask, rng):
        return rng.uniform(high - 0.3, high, mask.shape)

    alter(plan, tmp_path, "random-forest", varied)
    reasons = found(plan, tmp_path)["random-forest", False]
    assert reasons[0] == f"it says {word} in every pixel of the test part (2 of 2 seeds)"
    mask = np.tile(np.uint8([0, 1]), (2, 8, 4))
    for cell in cells_of(plan, "random-forest"):
        np.save(cell.folder(tmp_path) / VALIDATION, histogram(np.full(mask.shape, high), mask))
    assert "and one class in validation" in found(plan, tmp_path)["random-forest", False][0]
    for cell in cells_of(plan, "random-forest"):
        np.save(cell.folder(tmp_path) / VALIDATION, histogram(np.where(mask, 0.75, 0.25), mask))
    assert not any("every pixel" in reason for reason in found(plan, tmp_path).get(("random-forest", False), ()))


@pytest.mark.parametrize("floor", ["majority", gate.SINGLE_BAND])
def test_a_row_that_does_not_beat_a_floor_is_suspect(tmp_path, floor):
    plan = made(tmp_path)
    alter(plan, tmp_path, floor, lambda mask, rng: mask == 1)
    told = found(plan, tmp_path)
    assert set(told) == {(cell.row, cell.tuned) for cell in plan.cells} - {("majority", False), (floor, False)}
    assert all(reason[0].startswith(f"it does not beat {floor}: -0.") for reason in told.values())


def test_chance_does_not_beat_the_single_band_threshold(tmp_path):
    plan = made(tmp_path)
    alter(plan, tmp_path, "random-forest", noise)
    (reason,) = only(plan, tmp_path, ("random-forest", False))
    assert reason.startswith(f"it does not beat {gate.SINGLE_BAND}: -0.")


def test_a_threshold_is_a_floor_where_there_is_but_one_band(tmp_path):
    plan = made(tmp_path, [FLOOR, Spec("threshold-fitted", "threshold", 0.3), replace(FOREST, skill=2.0, seeds=(0,))])
    assert found(plan, tmp_path) == {}
    bare = tuple(replace(cell, bands=("S1",)) for cell in plan.cells)
    for before, cell in zip(plan.cells, bare, strict=True):
        cell.folder(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        before.folder(tmp_path).rename(cell.folder(tmp_path))
    assert set(found(replace(plan, cells=bare), tmp_path)) == {("random-forest", False)}


def test_two_rows_with_the_same_masks_are_suspect(tmp_path):
    plan = made(tmp_path)
    forest = np.load(cells_of(plan, "random-forest")[0].folder(tmp_path) / PROBABILITIES)
    alter(plan, tmp_path, "lightgbm", np.where(forest > 0.5, 0.9, 0.1), seeds=[0])
    reasons = only(plan, tmp_path, ("random-forest", False), ("lightgbm", False))
    assert reasons == [f"it predicts the same in every pixel as {row}" for row in ("lightgbm", "random-forest")]
    forest[0, -1, -1] = 1 - forest[0, -1, -1]
    other = forest.copy()
    alter(plan, tmp_path, "lightgbm", other, seeds=[0])
    assert found(plan, tmp_path) == {}


def test_two_rows_without_an_error_are_sound(tmp_path):
    plan = made(tmp_path)
    for row in ("random-forest", "lightgbm"):
        alter(plan, tmp_path, row, lambda mask, rng: mask == 1)
    assert found(plan, tmp_path) == {}


def test_a_tuned_line_that_is_its_default_is_sound(tmp_path):
    plan = made(tmp_path)
    alter(plan, tmp_path, "lightgbm", true)
    alter(plan, tmp_path, "lightgbm", true, tuned=True)
    assert found(plan, tmp_path) == {}


@pytest.mark.parametrize(
    ("factors", "sound"),
    [
        ({"stop": "early"}, True),
        ({"epochs": "x7.5"}, True),
        ({"encoding": "tl-nocoords"}, True),
        ({"encoding": "tl"}, False),
        ({"mode": "lora"}, False),
        ({"start": "pretrained"}, False),
        ({"start": "pretrained", "stop": "early"}, False),
    ],
)
def test_factorial_rows_may_agree_only_where_a_factor_may_be_idle(tmp_path, factors, sound):
    base = {
        "start": "random",
        "encoding": "plain",
        "mode": "frozen",
        "stop": "best",
        "epochs": "x1",
        "input scale": "own",
    }
    rows = [Spec(name, "foundation", factors=told) for name, told in (("one", base), ("other", base | factors))]
    plan = make_plan(tmp_path, rows)
    for row in ("one", "other"):
        alter(plan, tmp_path, row, true)
    assert set(found(plan, tmp_path)) == (set() if sound else {("one", False), ("other", False)})


def test_a_suspect_row_has_no_rank_and_is_told_of(tmp_path):
    plan = made(tmp_path)
    sound = [entry["row"] for entry in tables.pivot(tables.leaderboard(plan, tmp_path))]
    assert sound[0] == "lightgbm"
    alter(plan, tmp_path, "lightgbm", 1.0)  # the defaults are no reason against the tuned line
    frame = tables.leaderboard(plan, tmp_path)
    assert [entry["row"] for entry in tables.pivot(frame)] == sound
    alter(plan, tmp_path, "lightgbm", 1.0, tuned=True)
    frame = tables.leaderboard(plan, tmp_path)
    assert [entry["row"] for entry in tables.pivot(frame)] == [row for row in sound if row != "lightgbm"]
    assert "lightgbm" not in [line.first.row for line in tables.best_lines(frame, lines(plan, tmp_path))]
    _, page = tables.write_leaderboard(frame, tmp_path)
    (told,) = [line for line in page.read_text().splitlines() if line.startswith("- **lightgbm**: suspect: ")]
    assert "its probability is the same in every pixel (2 of 2 seeds); it does not beat threshold-band" in told
