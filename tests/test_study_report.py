"""Tests of benchmark/studies/study_report.py and of the pictures and sentences of a study."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark import cli_views
from benchmark.studies import _arm_plot, _pair_plot
from benchmark.studies._words import FEW, listed
from benchmark.studies.study_report import write
from tests.test_study_table import ROWS, make_arm, noisy, sensors, transfer


@pytest.fixture
def texts(monkeypatch):
    """Return all texts of the pictures that a test draws, by file name."""
    seen = {}
    for module in (_arm_plot, _pair_plot):
        whole = module.canvas

        def watched(path, *args, whole=whole):
            from contextlib import contextmanager

            @contextmanager
            def inner():
                with whole(path, *args) as figure:
                    yield figure
                    from matplotlib.text import Text

                    seen[path.stem] = [text.get_text() for text in figure.findobj(Text) if text.get_text()]

            return inner()

        monkeypatch.setattr(module, "canvas", watched)
    return seen


def page_of(plans, out):
    page = write(plans, out)
    assert page == out / "studies" / "synthetic-study" / "study.md"
    text = page.read_text()
    for name in re.findall(r"\]\(([^)]+)\)", text):
        assert (page.parent / name).exists(), name
    for picture in page.parent.glob("plots/*.png"):
        assert f"plots/{picture.name}" in text
        assert np.asarray(Image.open(picture).convert("L")).std() > 10
    return page.parent, text


def efficiency(out, rows=None):
    levels = rows or {"unet": 0.7, "lightgbm": 0.8, "prithvi": 0.85, "prithvi-random": 0.65}
    percents = (1, 10, 100)
    return [
        make_arm(
            out,
            {"train": percent, "subset": subset},
            {row: noisy(top - 0.1 * (2 - place) + 0.003 * subset * (place < 2)) for row, top in levels.items()},
            6 * percent,
            same="whole" if percent == 100 else "",
        )
        for place, percent in enumerate(percents)
        for subset in (1, 2)
    ]


def test_label_efficiency_says_who_needs_how_many_labels(tmp_path, texts):
    folder, text = page_of(efficiency(tmp_path), tmp_path)
    assert sorted(path.name for path in folder.glob("*.csv")) == ["against.csv", "crossings.csv", "study.csv"]
    assert re.search(r"At 10 % of the train scenes \(60 labelled patches\): .*; above unet: prithvi \+0\.15", text)
    assert re.search(r"The score of lightgbm on all 600 labelled patches \(0\.8\d\d\): fewer labels suffice "
                     r"\(95 % for each pair alone\) for prithvi with \d+ \[\d+, \d+\]; "
                     r"not reached by unet, prithvi-random\.", text)  # fmt: skip
    needs = next(line for line in text.splitlines() if line.startswith("| unet | ") and "not reached" in line)
    assert needs.split(" | ")[2] == "not reached", "by the score of lightgbm"
    drawn = "\n".join(texts["curves"])
    assert all(row in drawn for row in ROWS)
    order = [name for name in (entry.split("  ")[-1] for entry in texts["curves"]) if name in ROWS]
    assert order == ["prithvi", "lightgbm", "unet", "prithvi-random"], "by the last value"
    assert {"6", "60", "600"} <= set(texts["curves"])


def test_of_many_rows_a_picture_names_as_many_as_can_be_read(tmp_path, texts):
    rows = {f"prithvi-{i:02}": 0.9 - 0.01 * i for i in range(20)} | {"unet": 0.5, "lightgbm": 0.45}
    plans = [make_arm(tmp_path, {"epochs": one}, {row: noisy(top) for row, top in rows.items()}) for one in (15, 50)]
    page_of(plans, tmp_path)
    named = [text for text in texts["curves"] if re.fullmatch(r"0\.\d{3}  \S+", text)]
    assert len(named) == _arm_plot.CURVES
    assert any("unet" in one for one in named)
    assert any("lightgbm" in one for one in named)
    assert any("12 of 22 rows" in text for text in texts["curves"])


def test_names_stand_in_order_and_apart():
    wanted = [0.9, 0.89, 0.885, 0.2, 0.19, 0.01]
    places = _arm_plot.spread(wanted, 0.1)
    assert (np.diff(places) <= -0.1 + 1e-9).all()
    assert 0 <= min(places) <= max(places) <= 1
    assert _arm_plot.spread([0.9, 0.5], 0.1) == [0.9, 0.5]
    assert np.diff(_arm_plot.spread([0.5] * 30, 0.1)) == pytest.approx(-1 / 29)


def test_bands_are_a_heat_map_of_differences(tmp_path, texts):
    bands = {"hls": 0.7, "study": 0.62, "S1,S2,S3,S5,S6 without S4": 0.7}
    plans = [
        make_arm(
            tmp_path, {"bands": one}, {"unet": noisy(level, phase=i), "lightgbm": noisy(0.5, phase=i), "later": None}
        )
        for i, (one, level) in enumerate(bands.items())
    ]
    folder, text = page_of(plans, tmp_path)
    assert (folder / "plots/differences.png").exists()
    assert not (folder / "plots/curves.png").exists()
    drawn = texts["differences"]
    assert any(re.fullmatch(r"unet  0\.\d{3}", one) for one in drawn)
    assert "later" not in " ".join(drawn)
    assert any(re.fullmatch(r"-0\.0\d\d ●", one) for one in drawn), "resolved"
    assert any(re.fullmatch(r"[+-]0\.00\d", one) for one in drawn), "not resolved"
    assert "- 'study' against 'hls': worse for unet -0.0" in text
    assert "no difference is resolved for any of 2 rows" in text
    assert "**later**: failed: it broke (every arm)" in text


def test_of_many_arms_the_heat_map_shows_those_that_differ_most(tmp_path, texts, monkeypatch):
    monkeypatch.setattr(_arm_plot, "COLUMNS", 2)
    levels = {"hls": 0.7, "study": 0.62, "five": 0.7, "all": 0.55}
    plans = [
        make_arm(tmp_path, {"bands": one}, {"unet": noisy(level, phase=i)})
        for i, (one, level) in enumerate(levels.items())
    ]
    folder, _ = page_of(plans, tmp_path)
    drawn = texts["differences"]
    assert {"study", "all"} <= set(drawn)
    assert "five" not in drawn
    assert any("2 of 3 arms" in one for one in drawn)
    assert set(pd.read_csv(folder / "differences.csv")["bands"]) == {"study", "five", "all"}


def test_epochs_and_labels_are_curves_too(tmp_path, texts):
    for axis, values in {"epochs": (15, 50, 150), "labels": ("", "flip-0.1", "permuted")}.items():
        out = tmp_path / axis
        out.mkdir()
        plans = [
            make_arm(out, {axis: one}, {"unet": noisy(0.6 + i / 10), "prithvi": noisy(0.7)})
            for i, one in enumerate(values)
        ]
        folder, _ = page_of(plans, out)
        assert sorted(path.stem for path in folder.glob("plots/*.png")) == ["curves", "differences"]
        assert any("unet" in one for one in texts["curves"])
        assert ("150" if axis == "epochs" else "labels untouched") in texts["curves"]


def test_transfer_is_told_by_value_and_on_the_mean(tmp_path, texts):
    folder, text = page_of(transfer(tmp_path), tmp_path)
    assert (folder / "drops.csv").exists()
    assert "Tested on biome=Forest: trained without it, worse for unet +0.300" in text
    assert "On the mean over all values: trained without it, worse for unet +0.200" in text
    assert {"mean over all", "biome=Forest", "biome=Water", "unet", "lightgbm"} <= set(texts["transfer"])
    assert {"cnn", "boosting", "trained on it too", "trained without it"} <= set(texts["transfer"])


def test_transfer_from_several_sources_names_them(tmp_path, texts):
    _, text = page_of(sensors(tmp_path), tmp_path)
    assert "Tested on sensor=a: trained on sensor=b instead of sensor=a, worse for unet +0.300" in text
    assert "Tested on sensor=a: trained on sensor=b instead of all, worse for unet +0.200" in text
    mean = "On the mean over all values: trained on others instead of"
    assert f"{mean} the value itself, worse for unet +0.200" in text
    assert f"{mean} all, worse for unet +0.150" in text
    assert "trained without it, " not in text
    for value, where in (("sensor=a", "sensor=a"), ("mean over all", "the value itself")):
        away = "others" if value == "mean over all" else "sensor=b"
        assert {f"{value}\nfilled: {source}\nopen: {away}" for source in (where, "all")} <= set(texts["transfer"])


def test_fewer_labels_that_are_not_resolved_are_told_by_their_interval(tmp_path):
    _, text = page_of(efficiency(tmp_path, {"unet": 0.6, "lightgbm": 0.8}), tmp_path)
    assert "that fewer labels suffice is resolved (95 % for each pair alone) for no row; not reached by unet." in text


def test_confusers_are_told_by_stratum(tmp_path, texts):
    inside = [[6000 - 100 * i, 4000 + 100 * i, 300, 700] for i in range(6)]
    whole = [[26000, 4500 + 100 * i, 500, 12000] for i in range(6)]
    strata = {"smoke": {"yes": inside}, "phase": {"ice": [[0, 0, 300, 700]] * 6}, "dust": {"yes": [[9, 1, 0, 0]] * 6}}
    told = {"counts": whole, "strata": strata}
    plan = make_arm(tmp_path, {}, {"unet": 0.5, "lightgbm": 0.5}, unet=told, lightgbm=told)
    _, text = page_of([plan], tmp_path)
    assert re.search(
        r"Smoke: clear pixels taken for cloud from 0\.42\d \(\w+\).*more than beside it for \w+ \+0\.\d", text
    )
    drawn = texts["confusers"]
    assert {"smoke", "phase ice", "unet", "lightgbm", "false alarms", "misses"} <= set(drawn)
    assert "dust" not in drawn, "too few pixels"
    assert drawn.count("0.42 ●") == 2


def test_what_does_not_hold_any_more_is_removed(tmp_path):
    plans = [make_arm(tmp_path, {"bands": one}, {"unet": noisy(0.6, phase=i)}) for i, one in enumerate("ab")]
    folder = tmp_path / "studies/synthetic-study"
    (folder / "plots").mkdir(parents=True)
    (folder / "drops.csv").write_text("old")
    (folder / "plots/transfer.png").write_text("old")
    page_of(plans, tmp_path)
    assert not (folder / "drops.csv").exists()
    assert [path.name for path in folder.glob("plots/*")] == ["differences.png"]


def test_transfer_with_another_axis_tells_of_both_axes_and_has_a_picture_for_each_of_its_values(tmp_path):
    plans = [
        make_arm(tmp_path, {"domain": f"{source} -> season=winter", "bands": bands}, {"unet": noisy(score)})
        for bands, gain in (("hls", 0.0), ("hls, S7/S8", 0.05))
        for source, score in (("season!=winter", 0.6 + gain), ("all", 0.7 + gain))
    ]
    folder, text = page_of(plans, tmp_path)
    assert sorted(path.name for path in folder.glob("plots/*")) == [
        "differences-0.png", "differences-1.png", "transfer-bands-hls-S7-S8.png", "transfer-bands-hls.png"]  # fmt: skip
    assert "- bands hls, S7/S8: Tested on season=winter: trained without it, worse for unet +0.100" in text
    for source in ("season!=winter", "all"):
        assert f"- {source} -> season=winter: 'hls, S7/S8' against 'hls': better for unet +0.050" in text
    differences = pd.read_csv(folder / "differences.csv")
    assert set(differences["domain"]) == {"season!=winter -> season=winter", "all -> season=winter"}


def test_halves_of_a_domain_are_not_held_against_each_other(tmp_path):
    """They tested on other patches; the fold chooses these as the domain does."""
    plans = [
        make_arm(tmp_path, {"domain": f"{source} -> season=winter", "fold": fold}, {"unet": noisy(0.6)})
        for source in ("season!=winter", "all")
        for fold in (0, 1)
    ]
    folder, text = page_of(plans, tmp_path)
    assert "against" not in text
    assert not (folder / "differences.csv").exists()


def test_a_study_without_records_is_a_page_that_says_so(tmp_path):
    plans = [make_arm(tmp_path, {"train": one}, {"unet": None}) for one in (1, 100)]
    folder, text = page_of(plans, tmp_path)
    assert "Nothing can be compared yet." in text
    assert "**unet**: failed: it broke (every arm)" in text
    assert not list(folder.glob("plots/*.png"))
    assert len(pd.read_csv(folder / "study.csv")) == 2


def test_arms_that_were_left_out_as_equal_stand_on_the_page_of_stored_plans_too(tmp_path):
    plans = [make_arm(tmp_path, {"train": one, "subset": 0}, {"unet": one / 200}) for one in (1, 100)]
    plans[1] = replace(plans[1], equal=({"train": 100, "subset": 1}, {"train": 100, "subset": 2}))
    _, text = page_of(plans, tmp_path)
    said = "- left out, for the same cells as train-100-subset-0: train-100-subset-1, train-100-subset-2\n"
    assert f"## Arms that are not run twice\n\n{said}" in text
    cli_views.save(plans, tmp_path)
    assert page_of(cli_views.stored_plans(tmp_path, "synthetic-study"), tmp_path)[1] == text
    assert "not run twice" not in page_of(plans[:1], tmp_path)[1]


def test_one_scene_has_no_interval_and_no_sentence(tmp_path):
    plans = [make_arm(tmp_path, {"bands": one}, {"unet": 0.5 + i / 10}, scenes=1) for i, one in enumerate("ab")]
    folder, text = page_of(plans, tmp_path)
    assert "Nothing can be compared yet." in text
    assert pd.read_csv(folder / "differences.csv")["difference"].iloc[0] == pytest.approx(0.1, abs=1e-3)


def test_long_lists_are_cut():
    names = [f"row-{i}" for i in range(FEW + 3)]
    assert listed(names).endswith(f"row-{FEW - 1} and 3 more")
    assert listed(names[:2]) == "row-0, row-1"
