"""What `run` and `report` write for the plans of a suite, and which plans a name stands for."""

import gc
from dataclasses import replace

import pytest

from benchmark import cli_views, evidence, track
from benchmark.api import UserError
from benchmark.views import arm_tables, lines
from tests.test_study_table import make_arm


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Three arms that were run, their pages written; the output folder and the plans."""
    monkeypatch.setattr(evidence, "complete", lambda *_: None)  # the arms were made without a patch set
    pushed = []
    monkeypatch.setattr(track, "push", lambda plan, out, uri, frame, pages: pushed.append((plan.name, pages.name)))
    plans = [
        make_arm(tmp_path, {"labels": label}, {"unet": level, "lightgbm": 0.8})
        for label, level in (("", 0.8), ("flip-0.1", 0.7), ("shift-2", 0.75))
    ]
    cli_views.save(plans, tmp_path)
    cli_views.views(plans, tmp_path, None)
    return tmp_path, plans, pushed


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_arm_has_its_leaderboard_and_the_suite_a_page(study):
    out, plans, pushed = study
    assert pushed == [(plan.name, plan.name) for plan in plans]
    boards = [(out / "reports" / plan.name / "leaderboard.csv").read_text() for plan in plans]
    assert len(set(boards)) == 3
    page = out / "studies/synthetic-study/study.md"
    assert "flip-0.1" in page.read_text()


def test_arms_shared_by_processes_have_the_same_leaderboards(study, monkeypatch):
    out, plans, _ = study
    before, found = contents(out / "reports"), lines.by_plan(plans, out)
    alone = arm_tables.write(plans, out, found)
    monkeypatch.setattr(arm_tables, "SHARE", 1)
    monkeypatch.setattr(arm_tables.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(arm_tables, "write_one", None)  # of this process; the others have their own
    shared = arm_tables.write(plans, out, found)
    assert contents(out / "reports") == before
    assert all(shared[name].equals(alone[name]) for name in [plan.name for plan in plans])


def test_reading_records_leaves_the_collector_as_it_was(study):
    out, plans, _ = study
    for switch in (gc.disable, gc.enable):
        switch()
        before = gc.isenabled()
        lines.by_plan(plans, out)
        assert gc.isenabled() is before


def test_a_name_stands_for_a_plan_or_for_all_arms(study):
    out, plans, _ = study
    names = [plan.name for plan in plans]
    assert [plan.name for plan in cli_views.stored_plans(out, "synthetic-study")] == names
    assert [plan.name for plan in cli_views.stored_plans(out, None)] == names, "the suite was run last"
    assert [plan.name for plan in cli_views.stored_plans(out, names[1])] == names[1:2]
    cli_views.save([replace(plans[0], name="alone", arm={})], out)
    assert [plan.name for plan in cli_views.stored_plans(out, None)] == ["alone"]
    with pytest.raises(UserError, match="no plan is called 'bands'"):
        cli_views.stored_plans(out, "bands")


def test_the_report_of_one_arm_leaves_the_page_of_the_suite(study, monkeypatch):
    out, plans, _ = study
    before = contents(out / "studies")
    monkeypatch.setattr(cli_views, "_of_plan", arm_tables.write_one)
    cli_views.views(plans[1:2], out, None)
    assert contents(out / "studies") == before


def test_the_same_suite_with_other_bands_is_another_study(study):
    out, plans, _ = study
    before = contents(out / "studies")
    others = [replace(plan, name=plan.name.replace("synthetic-study", "synthetic-study-five")) for plan in plans]
    cli_views.save(others, out)
    cli_views.views(others, out, None)
    assert {path: before[path] for path in before} == {path: path.read_bytes() for path in before}
    assert (out / "studies/synthetic-study-five/study.md").exists()
    assert [plan.name for plan in cli_views.stored_plans(out, "synthetic-study")] == [plan.name for plan in plans]
