"""What rows have spent, and the picture of what they got for it."""

from dataclasses import replace

import pytest
from record_factory import REALISTIC, Spec, make_plan

from benchmark import record, spending
from benchmark.record import FAILED, Record
from benchmark.views import _budget_plot
from benchmark.views._budget_plot import budget, tracks
from benchmark.views.lines import lines
from benchmark.views.report import _conditions
from benchmark.views.tables import leaderboard

LAPS = {"fit": [1.0, 2.0], "encode": [4.0], "validate": [8.0], "predict": [100.0], "tune": [3.0]}


def trial(number, value, seconds, state="complete"):
    return {"number": number, "params": {}, "value": value, "state": state, "seconds": seconds, "why": ""}


TRIALS = [trial(0, 0.6, 10.0), trial(1, None, 5.0, "fail"), trial(2, 0.8, 20.0), trial(3, 0.9, 5.0, "pruned"),
          trial(4, 0.7, 10.0)]  # fmt: skip


def test_a_default_fit_costs_its_features_and_its_validation_too():
    assert spending.total(Record("", {}, "ok", laps=LAPS)) == 15.0


def test_a_search_costs_every_trial_whatever_its_end():
    assert spending.total(Record("", {}, "ok", laps=LAPS, trials=TRIALS)) == 50.0


@pytest.mark.parametrize(("allowance", "over"), [(20.0, 30.0), (60.0, 0.0)])
def test_what_was_spent_beyond_the_allowance_is_told(allowance, over):
    kept = Record("", {"allowance": allowance}, "ok", trials=TRIALS)
    assert spending.facts(kept) == {"spent_s": 50.0, "overspent_s": over}


def test_without_an_allowance_or_numbers_nothing_is_told():
    assert spending.facts(Record("", {"allowance": 0.0}, "ok", trials=TRIALS)) == {}
    assert spending.facts(Record("", {}, "ok", trials=TRIALS)) == {}
    assert spending.facts(Record("", {"allowance": 5.0}, FAILED)) == {}


def planned(out, allowance=0.0, specs=None):
    """Return the plan of two rows, one of them tuned with TRIALS."""
    specs = specs or [Spec("majority", "floor"), Spec("lightgbm"), Spec("lightgbm", tuned=True, seeds=(0, 1))]
    plan = make_plan(out, specs)
    cells = []
    for cell in plan.cells:
        changed = replace(cell, allowance=allowance)
        kept = record.read(cell.folder(out))
        if kept is not None and kept.status == record.OK:
            record.write(replace(kept, trials=TRIALS if cell.tuned else [], laps=LAPS), changed.folder(out))
        cells.append(changed)
    return replace(plan, cells=tuple(cells))


def test_the_best_so_far_never_falls_and_only_scored_trials_raise_it(tmp_path):
    found = {track.row: track for track in tracks(lines(planned(tmp_path), tmp_path))}
    assert found["majority"].seconds == (15.0,)
    assert found["majority"].best == (0.8,)
    assert not found["majority"].searched
    assert found["lightgbm"].seconds == (10.0, 15.0, 35.0, 40.0, 50.0)
    assert found["lightgbm"].best == (0.6, 0.6, 0.8, 0.8, 0.8)
    assert found["lightgbm"].scored == (True, False, True, False, True)


@pytest.mark.parametrize("allowance", [0.0, 45.0])
def test_the_picture_names_rows_and_the_allowance(tmp_path, monkeypatch, allowance):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **kw: (drawn.append(figure), path.write_bytes(b""))[1])
    plan = planned(tmp_path, allowance)
    budget(leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "budget.png")
    said = [text.get_text() for text in drawn[0].axes[0].texts]
    assert {"majority", "lightgbm"} <= set(said)
    assert ("45 s for each row" in said) == (allowance > 0)


def test_many_rows_are_drawn_with_numbers(tmp_path):
    plan = planned(tmp_path, 60.0, REALISTIC)
    path = tmp_path / "budget.png"
    assert budget(leaderboard(plan, tmp_path), lines(plan, tmp_path), path) == path
    assert path.stat().st_size > 20_000
    assert _budget_plot.CAPTION.endswith("test part.")


def test_nothing_is_drawn_where_nothing_was_fitted(tmp_path):
    plan = make_plan(tmp_path, [Spec("majority", "floor", status="failed", reason="no")])
    assert budget(leaderboard(plan, tmp_path), lines(plan, tmp_path), tmp_path / "budget.png") is None


def test_the_conditions_of_a_report_tell_the_allowance_in_place_of_trials(tmp_path):
    timed, plain = (dict(_conditions(planned(tmp_path, allowance), [])) for allowance in (45.0, 0.0))
    assert timed["seconds for a row's default fit and all its trials"] == "45"
    assert timed["trials of tuning"] == timed["seconds tuning may take"] == ""
    assert plain["seconds for a row's default fit and all its trials"] == ""
    assert (plain["trials of tuning"], plain["seconds tuning may take"]) == ("5", "60")
