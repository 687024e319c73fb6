"""Tests of benchmark/views/report.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmark._files import replacing
from benchmark.record import PROBABILITIES, VALIDATION
from benchmark.scores import histogram
from benchmark.views import report
from benchmark.views.derived import FILES
from benchmark.views.report import CAPTIONS, PICTURES, flatten, write_report
from benchmark.views.tables import leaderboard
from tests.record_factory import REALISTIC, Spec, factorial, make_plan

HOSTILE = "<script>alert('x')</script> & \"more\""
FOUNDATION = [
    replace(spec, seeds=(0, 1), device="cuda")
    for spec in factorial()
    if spec.row in ("prithvi-300-pretrained-frozen", "prithvi-300-random-frozen")
]
SPECS = [
    *REALISTIC[8:13],
    *FOUNDATION,
    replace(REALISTIC[16], row="prithvi-600"),
    Spec("hostile", status="failed", reason=HOSTILE, note=HOSTILE),
]


class Page(HTMLParser):
    """Counts tags and collects what the page would load or lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    plan = make_plan(out, SPECS)
    for cell in plan.cells:
        if (stored := cell.folder(out) / PROBABILITIES).exists():
            hist = histogram(np.load(stored), np.load(cell.truth(out) / "mask.npy"))
            np.save(stored.with_name(VALIDATION), hist)
    return plan, out, write_report(plan, out)


def test_everything_is_written(written):
    _, out, page = written
    assert page == out / "report.html"
    assert {path.name for path in (out / "plots").iterdir()} == {f"{name}.png" for name in PICTURES}
    written = {path.name for path in out.iterdir() if path.is_file()}
    both = ("leaderboard", "effects", "comparisons", "calibration")
    tables = {f"{name}.{kind}" for name in both for kind in ("csv", "md")}
    more = {
        "published.md",
        "scores.csv",
        "strata.csv",
        "shapes.csv",
        "calibration_strata.csv",
        "calibration_curves.csv",
    }
    assert written == {*tables, *more, "report.html"}
    assert all(any(fnmatch(name, pattern) for pattern in FILES) for name in written - {"report.html"})


def test_every_picture_has_a_caption():
    assert set(CAPTIONS) == set(PICTURES)


def test_the_page_needs_nothing_from_outside(written):
    page = Page(written[2].read_text())
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert sum(link.startswith("data:") for link in page.links) == len(set(PICTURES))
    text = written[2].read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_text_of_records_is_escaped(written):
    text = written[2].read_text()
    assert Page(text).tags.count("script") == 1, "the page's own"
    assert "alert('x')" not in text.replace("&lt;script&gt;alert(&#39;x&#39;)", "")
    assert "&lt;script&gt;alert" in text


def test_the_page_tells_conditions_and_reasons(written):
    text = written[2].read_text()
    for told in ("S1, S2, S3", "Example CPU @ 2.80GHz", "0123456789abcdef", "8 patches of 4 scenes", "run all"):
        assert told in text, told
    assert "0 | 1" in text, "both seeds"
    assert "the weights are not here" in text


def test_the_page_tells_effects_and_facts_of_the_fits(written):
    text = written[2].read_text()
    assert "over scenes and seeds." in text
    effects, facts = text.index('id="effects"'), text.index('id="facts"')
    for told in ("start: pretrained - random", "prithvi 300 frozen", "against unet", "against lightgbm"):
        assert told in text[effects : text.index('id="pictures"')], told
    assert "energy: of fitting, where" in text[effects:facts]
    row = text[facts:].split("<tr><td>prithvi-300-pretrained-frozen</td>")[1].split("</tr>")[0]
    cells = row.replace("<td>", "").split("</td>")[:-1]
    assert cells[0:2] == ["own", "4"]
    assert cells[3:] == ["31", "1000", "2000", "3000", "4000"]


def test_the_page_tells_comparisons_and_ties(written):
    text = written[2].read_text()
    compared = text[text.index('id="comparisons"') : text.index('id="effects"')]
    for told in ("Against the first row", "Against unet", "Against lightgbm", "adjusted by Holm"):
        assert told in compared, told
    board = text[text.index('id="leaderboard"') : text.index('id="comparisons"')]
    assert "with a power of 80 % at 5 %" in board
    assert "<td>≈</td>" in board


def test_without_effects_and_facts_the_page_has_no_room_for_them(tmp_path):
    text = write_report(make_plan(tmp_path, [Spec("forest")], size=16), tmp_path).read_text()
    assert 'id="effects"' not in text
    assert 'id="facts"' not in text
    assert 'id="comparisons"' not in text
    assert not (tmp_path / "effects.csv").exists()


def test_the_leaderboard_is_not_made_again_for_a_caller_that_has_it(tmp_path, monkeypatch):
    plan = make_plan(tmp_path, [Spec("forest")], size=16)
    frame = leaderboard(plan, tmp_path)
    monkeypatch.setattr(report, "leaderboard", lambda *_: pytest.fail("made again"))
    assert write_report(plan, tmp_path, frame).exists()


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("table.csv", "old")]


def test_the_same_records_give_the_same_page(written):
    plan, out, page = written
    before = page.read_bytes()
    assert write_report(plan, out).read_bytes() == before


def test_a_picture_of_an_earlier_plan_does_not_stay(tmp_path):
    (tmp_path / "plots").mkdir()
    stale = tmp_path / "plots" / "curves.png"
    stale.write_bytes(b"old")
    page = write_report(make_plan(tmp_path, [Spec("later", status="missing")]), tmp_path)
    assert not stale.exists()
    assert "No row has a score yet" in page.read_text()
    assert "curves" in page.read_text()


def test_flatten():
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_views_start_fast_and_need_no_inference():
    code = (
        "import sys, benchmark.views.report, benchmark.track; heavy = {'torch', 'sklearn', 'mlflow', 'matplotlib',"
        "'seaborn', 'pandas', 'scipy', 'optuna', 'lightgbm', 'xarray', 'rich', 'jinja2', 'benchmark.cell',"
        "'benchmark.runner', 'benchmark.catalog', 'benchmark.tune'}; sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
