"""Tests of benchmark/views/lines.py and benchmark/views/tables.py."""

from __future__ import annotations

import io
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    f1_score,
    jaccard_score,
    matthews_corrcoef,
    roc_auc_score,
)

from benchmark import boundary, record
from benchmark.api import IGNORE
from benchmark.plan import Plan
from benchmark.views.lines import COLUMNS, MISSING, histogram_of, lines
from benchmark.views.tables import fit_facts, leaderboard, pivot, summary, write_leaderboard
from tests.record_factory import REALISTIC, WEIGHTS_ABSENT, Spec, factorial, make_plan


@pytest.fixture(scope="module")
def realistic(tmp_path_factory):
    out = tmp_path_factory.mktemp("realistic")
    plan = make_plan(out, REALISTIC)
    return plan, out, leaderboard(plan, out)


def line_of(frame, row, tuned=False):
    return frame[(frame["row"] == row) & (frame["tuned"] == tuned)].iloc[0]


def pixels(plan, out, row, tuned=False):
    """Truth and probabilities of a row's seeds, ignored pixels left out."""
    mask = np.load(plan.cells[0].truth(out) / "mask.npy")
    cells = [cell for cell in plan.cells if (cell.row, cell.tuned) == (row, tuned)]
    found = [np.load(cell.folder(out) / "probabilities.npy") for cell in cells]
    valid = mask != IGNORE
    return mask[valid], [probability[valid].astype(np.float64) for probability in found]


AGREED = (
    "row family status reason tuned seeds jaccard jaccard_low jaccard_high "
    "jaccard_cloud f1 f2 precision recall accuracy balanced_accuracy kuiper mcc dice_loss auc brier ece "
    "boundary_jaccard_2 boundary_f1_2 tied detectable "
    "fit_s encode_s tune_s mpixel_per_s latency_ms parameters trainable rss_mb rss_over_start_mb "
    "vram_allocated_mb vram_reserved_mb vram_process_mb energy_j step_s mfu "
    "vram_load_mb vram_forward_mb vram_backward_mb vram_step_mb trials study_id device "
    "shared labels circular note suspect"
)


def test_columns_stand_in_the_agreed_order(realistic):
    assert " ".join(realistic[2].columns) == AGREED


def test_scores_agree_with_scikit_learn(realistic):
    plan, out, frame = realistic
    truth, found = pixels(plan, out, "lightgbm")
    line = line_of(frame, "lightgbm")
    assert (line["seeds"], len(found)) == (2, 2)
    expected = {
        "jaccard": lambda p: jaccard_score(truth, p > 0.5, average="macro"),
        "f1": lambda p: f1_score(truth, p > 0.5),
        "mcc": lambda p: matthews_corrcoef(truth, p > 0.5),
        "auc": lambda p: roc_auc_score(truth, p),
        "brier": lambda p: brier_score_loss(truth, p),
    }
    for name, score in expected.items():
        assert line[name] == pytest.approx(np.mean([score(p) for p in found]), abs=1e-9), name


def test_scores_of_outlines_are_the_mean_over_seeds(realistic):
    plan, out, frame = realistic
    mask = np.load(plan.cells[0].truth(out) / "mask.npy")
    cells = [cell for cell in plan.cells if (cell.row, cell.tuned) == ("lightgbm", False)]
    found = [np.load(cell.folder(out) / "probabilities.npy") > 0.5 for cell in cells]
    counts = [{d: np.sum(one, axis=0) for d, one in boundary.counts(cloud, mask).items()} for cloud in found]
    for name in ("boundary_jaccard_2", "boundary_f1_2"):
        expected = np.mean([boundary.scores(one)[name] for one in counts])
        assert line_of(frame, "lightgbm")[name] == pytest.approx(expected)
    assert f"{line_of(frame, 'majority')['boundary_jaccard_2']:.3f}" in [entry["edge"] for entry in pivot(frame)]


def test_facts_of_a_fit_are_columns_and_entries(tmp_path):
    specs = [replace(spec, seeds=(0, 1), seconds=40.0) for spec in factorial() if spec.row.startswith("prithvi-100-r")]
    specs = [replace(specs[0], device="cuda"), specs[1], Spec("forest")]
    plan = make_plan(tmp_path, specs, size=16)
    frame = leaderboard(plan, tmp_path)
    gpu, cpu, forest = (line_of(frame, spec.row) for spec in specs)
    names = ["step_s", "mfu", "vram_load_mb", "vram_forward_mb", "vram_backward_mb", "vram_step_mb"]
    assert gpu[names].tolist() == pytest.approx([0.04, 0.31, 1000, 2000, 3000, 4000])
    assert cpu["step_s"] == pytest.approx(0.04)
    assert cpu[names[1:]].isna().all()
    assert forest[names].isna().all()
    told = fit_facts(frame, lines(plan, tmp_path))
    assert [entry["row"] for entry in told] == [spec.row for spec in specs[:2]]
    assert (told[0]["micro-batch"], told[0]["step ms"], told[0]["MFU %"], told[0]["VRAM step MB"]) == (
        "4",
        "40",
        "31",
        "4000",
    )
    assert (told[1]["micro-batch"], told[1]["MFU %"]) == ("", "")
    assert fit_facts(frame, lines(plan, tmp_path)[2:]) == []


def test_records_of_the_factory_are_true_counts(realistic):
    plan, out, _ = realistic
    truth, (found,) = pixels(plan, out, "naive-bayes")
    kept = next(line for line in lines(plan, out) if line.first.row == "naive-bayes").records[0]
    assert np.array_equal(np.sum(kept.counts, axis=0), confusion_matrix(truth, found > 0.5).ravel())


def test_interval_is_over_scenes_and_holds_the_score(realistic):
    ok = realistic[2][realistic[2]["status"] == "ok"]
    assert (ok["jaccard_low"] < ok["jaccard"]).all()
    assert (ok["jaccard"] < ok["jaccard_high"]).all()


def test_a_single_scene_has_no_interval(tmp_path):
    line = leaderboard(make_plan(tmp_path, [Spec("forest")], scenes=1), tmp_path).iloc[0]
    assert 0 < line["jaccard"] < 1
    assert np.isnan(line["jaccard_low"])
    assert np.isnan(line["jaccard_high"])


def test_a_scene_without_a_valid_pixel_changes_nothing(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    before = leaderboard(plan, tmp_path).iloc[0]
    folder = plan.cells[0].folder(tmp_path)
    kept = record.read(folder)
    more = {
        "counts": [*kept.counts, [0, 0, 0, 0]],
        "scenes": [*kept.scenes, "night"],
        "patches": [*kept.patches, "night0"],
    }
    record.write(replace(kept, **more), folder)
    (folder / "probabilities.npy").unlink()
    after = leaderboard(plan, tmp_path).iloc[0]
    assert after[list(COLUMNS[6:19])].tolist() == before[list(COLUMNS[6:19])].tolist()


def test_costs(realistic):
    line = line_of(realistic[2], "unet", tuned=True)
    expected = {"fit_s": 180.25, "tune_s": 4.0, "mpixel_per_s": 0.9, "latency_ms": 12.0, "parameters": 7_700_000}
    expected |= {"trainable": 770_000, "rss_mb": 900.0, "rss_over_start_mb": 500.0}
    assert {name: line[name] for name in expected} == pytest.approx(expected)


def test_what_was_not_measured_is_empty_and_never_zero(realistic, tmp_path):
    line = line_of(realistic[2], "unet")
    for name in ("encode_s", "tune_s", "vram_allocated_mb", "vram_reserved_mb", "vram_process_mb", "energy_j"):
        assert np.isnan(line[name]), name
    cuda = leaderboard(make_plan(tmp_path, [Spec("unet", "cnn", device="cuda")]), tmp_path).iloc[0]
    assert (cuda["vram_reserved_mb"], cuda["energy_j"]) == (2000.0, 1050.0)
    assert np.isnan(cuda["vram_process_mb"])
    assert pd.isna(cuda["parameters"])


def test_missing_probabilities_leave_their_scores_empty(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    (plan.cells[0].folder(tmp_path) / "probabilities.npy").unlink()
    line = leaderboard(plan, tmp_path).iloc[0]
    assert np.isnan(line["auc"])
    assert line["jaccard"] > 0


def test_truth_of_other_patches_is_refused(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    kept = record.read(plan.cells[0].folder(tmp_path))
    with pytest.raises(ValueError, match="not those of"):
        histogram_of(plan.cells[0], replace(kept, patches=kept.patches[::-1]), tmp_path)


def test_rewritten_probabilities_are_read_again(tmp_path):
    plan = make_plan(tmp_path, [Spec("forest")])
    assert leaderboard(plan, tmp_path).iloc[0]["auc"] > 0.8
    stored = plan.cells[0].folder(tmp_path) / "probabilities.npy"
    np.save(stored, np.full_like(np.load(stored), 0.5))
    assert leaderboard(plan, tmp_path).iloc[0]["auc"] == 0.5


def test_rows_are_sorted_by_their_better_line_with_defaults_first(realistic):
    frame = realistic[2]
    best = frame[frame["status"] == "ok"].groupby("row", sort=False)["jaccard"].max()
    assert list(best) == sorted(best, reverse=True)
    assert frame.groupby("row", sort=False)["tuned"].apply(list).isin([[False], [False, True]]).all()
    assert (frame["row"] != frame["row"].shift()).sum() == frame["row"].nunique(), "the lines of a row stand together"
    states = list(dict.fromkeys(frame["status"]))
    assert states == ["ok", "failed", "timeout", "not run", "missing"]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({0: "ok", 1: "ok"}, ("ok", "")),
        ({0: "ok", 1: "failed", 2: "failed"}, ("failed", "seed 1: why 1")),
        ({0: "not run", 1: "timeout"}, ("timeout", "seed 1: why 1")),
        ({0: "missing", 1: "ok"}, ("missing", "seed 0: no record yet")),
    ],
)
def test_status_is_of_the_worst_seed_and_a_part_of_the_seeds_has_no_score(tmp_path, ends, expected):
    plan = make_plan(tmp_path, [Spec("forest", seeds=tuple(ends))])
    for cell in plan.cells:
        status = ends[cell.seed]
        if status == "missing":
            (cell.folder(tmp_path) / record.FILE).unlink()
        elif status != "ok":
            record.write(record.Record(cell.key, asdict(cell), status, f"why {cell.seed}"), cell.folder(tmp_path))
    line = leaderboard(plan, tmp_path).iloc[0]
    assert (line["status"], line["reason"]) == expected
    assert np.isnan(line["jaccard"]) == (expected[0] != "ok")


def test_an_absent_row_says_why_before_it_was_ever_run(tmp_path):
    plan = make_plan(tmp_path, [Spec("prithvi", status=MISSING)])
    plan = replace(plan, cells=(replace(plan.cells[0], absent=WEIGHTS_ABSENT),))
    line = leaderboard(plan, tmp_path).iloc[0]
    assert (line["status"], line["reason"]) == ("not run", WEIGHTS_ABSENT)


def test_csv_holds_every_column_and_empty_fields(realistic, tmp_path):
    _, _, frame = realistic
    csv, _ = write_leaderboard(frame, tmp_path)
    assert csv.read_text().splitlines()[0] == ",".join([*COLUMNS, "suspect"])
    again = pd.read_csv(csv, keep_default_na=False, dtype=str)
    cpu = again[(again["row"] == "unet") & (again["tuned"] == "True")].iloc[0]
    assert (cpu["vram_reserved_mb"], cpu["parameters"], cpu["fit_s"]) == ("", "7700000", "180.25")
    absent = again[again["row"] == "prithvi-300-frozen"]
    assert set(absent["jaccard"]) == {""}
    assert set(absent["reason"]) == {WEIGHTS_ABSENT}


def test_markdown_has_defaults_beside_tuned_and_reasons_beneath(realistic, tmp_path):
    _, _, frame = realistic
    text = write_leaderboard(frame, tmp_path)[1].read_text()
    unet = next(line for line in text.splitlines() if line.startswith("| unet"))
    scores = [f"{line_of(frame, 'unet', tuned)['jaccard']:.3f}" for tuned in (False, True)]
    assert [field.split()[0] for field in unet.split(" | ")[2:4]] == scores
    assert text.count(WEIGHTS_ABSENT) == 1, "a reason that both lines share stands once"
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("|")}) == 1


def test_markdown_keeps_markup_of_a_reason_in_its_place(tmp_path):
    plan = make_plan(tmp_path, [Spec("bad", status="failed", reason="a|b <script>\nline")])
    text = write_leaderboard(leaderboard(plan, tmp_path), tmp_path)[1].read_text()
    assert r"a\|b &lt;script> line" in text


def test_a_failed_tuned_line_leaves_the_defaults_ranked(tmp_path):
    specs = [Spec("forest", tuned=True, status="failed", reason="boom"), Spec("forest")]
    (entry,) = pivot(leaderboard(make_plan(tmp_path, specs), tmp_path))
    assert entry["tuned"] == "failed"
    assert entry["default"].startswith("0.")
    assert entry["train s"] == "1.25"


def test_a_plan_without_cells_gives_an_empty_table(tmp_path):
    frame = leaderboard(Plan("empty", (), tmp_path, tmp_path), tmp_path)
    assert (len(frame), list(frame.columns)) == (0, [*COLUMNS, "suspect"])
    assert pivot(frame) == []
    write_leaderboard(frame, tmp_path)


def test_summary_fits_a_terminal_of_120_columns(realistic):
    stream = io.StringIO()
    Console(file=stream, width=120).print(summary(realistic[2]))
    text = stream.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert "shape '[1, 196]' is invalid" in text, "brackets of a reason are no markup"
