"""What rows know without labels, and who is suspect for it."""

from dataclasses import replace

import numpy as np
import pytest
from record_factory import make_plan
from test_gate import SOUND, alter, cells_of, found, made, noise, only, true

from benchmark import cell as cells
from benchmark import planner, record
from benchmark.record import PROBABILITIES
from benchmark.views import gate, permuted, permuted_table, report
from benchmark.views.lines import lines


def test_skill_from_permuted_labels_is_suspect(tmp_path):
    plan = made(tmp_path)
    alter(plan, tmp_path, "random-forest", noise, labels=True)
    alter(plan, tmp_path, "lightgbm", noise, labels=True)
    assert found(plan, tmp_path) == {}
    alter(plan, tmp_path, "lightgbm", true, labels=True)
    reasons = only(plan, tmp_path, ("lightgbm", False), ("lightgbm", True))
    assert all(reason.startswith("trained on permuted labels it has a Kuiper skill of 0.8") for reason in reasons)
    twins = replace(
        plan, cells=tuple(permuted.twin(cell) for cell in plan.cells if cell.row in ("random-forest", "lightgbm"))
    )
    assert set(found(twins, tmp_path)) == {("lightgbm", False)}  # chance itself is no fault in the permuted plan


def test_what_learns_nothing_and_thresholds_may_have_skill_on_permuted_labels(tmp_path):
    plan = made(tmp_path)
    alter(plan, tmp_path, gate.SINGLE_BAND, true, labels=True)
    for cell in cells_of(plan, "random-forest"):
        same = np.load(cell.folder(tmp_path) / PROBABILITIES)
        alter(plan, tmp_path, "random-forest", same, seeds=[cell.seed], labels=True)
    assert found(plan, tmp_path) == {}
    alter(plan, tmp_path, "lightgbm", noise, labels=True)
    table = permuted_table.table(lines(plan, tmp_path)).set_index(["row", "tuned"])
    assert dict(table["verdict"]) == {
        (gate.SINGLE_BAND, False): permuted.KNOWS,
        ("random-forest", False): permuted.LEARNS_NOTHING,
        ("lightgbm", False): permuted.UNRESOLVED,
    }
    assert table.loc[(gate.SINGLE_BAND, False), "kuiper"] == pytest.approx(0.8, abs=0.02)
    assert table["kuiper_low"].lt(table["kuiper"]).all()
    assert table["chance"].tolist() == [permuted.CHANCE_OF_FEW] * 3  # one or two seeds
    shown = permuted_table.tell(table.reset_index())
    assert shown[0]["verdict"] == "knows clouds without labels"


def test_one_scene_says_nothing_of_chance(tmp_path):
    plan = make_plan(tmp_path, SOUND, scenes=1)
    alter(plan, tmp_path, "lightgbm", true, labels=True)
    table = permuted_table.table(lines(plan, tmp_path))
    assert table["verdict"].tolist() == [permuted.UNKNOWN]
    assert permuted_table.tell(table)[0]["Kuiper skill"].startswith("+0.")


def test_the_report_tells_of_permuted_labels_where_there_are_any(tmp_path):
    plan = made(tmp_path)
    page = report.write_report(plan, tmp_path)
    assert permuted_table.TOLD not in page.read_text()
    assert not (tmp_path / "permuted.csv").exists()
    alter(plan, tmp_path, gate.SINGLE_BAND, true, labels=True)
    report.write_report(plan, tmp_path)
    assert permuted.KNOWS in page.read_text()
    assert (tmp_path / "permuted.csv").read_text().count(permuted.KNOWS) == 1


def test_real_rows_have_no_skill_on_permuted_labels(store, tmp_path):
    """Rows through the harness, and one that is made to look as if it had read the truth."""
    plans = [
        planner.make(
            planner.Asked(
                ("majority", "threshold-band", "lightgbm"), str(store), "smoke", trials=0, out=tmp_path, labels=labels
            ),
            lambda done, total: None,
        )
        for labels in ("", "permuted")
    ]
    for plan in plans:
        for cell in plan.cells:
            cell.folder(tmp_path).mkdir(parents=True)
            cells.main(replace(plan, cells=(cell,)), tmp_path)
            assert record.read(cell.folder(tmp_path)).status == "ok"
    plain = plans[0]
    twins = [record.read(permuted.twin(cell).folder(tmp_path)) for cell in plain.cells]
    assert [twin.cell["labels"] for twin in twins] == ["permuted"] * 3
    assert found(plain, tmp_path) == {}
    alter(plain, tmp_path, "lightgbm", true, labels=True)
    (reason,) = only(plain, tmp_path, ("lightgbm", False))
    assert "trained on permuted labels" in reason
