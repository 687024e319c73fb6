"""Tests of benchmark/report.py."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import pytest

from benchmark.report import PICTURES, flatten, write_report
from tests.record_factory import REALISTIC, Spec, make_plan

HOSTILE = "<script>alert('x')</script> & \"more\""
SPECS = [*REALISTIC[8:13], REALISTIC[16], Spec("hostile", status="failed", reason=HOSTILE, note=HOSTILE)]


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
    return plan, out, write_report(plan, out)


def test_everything_is_written(written):
    _, out, page = written
    assert page == out / "report.html"
    assert {path.stem for path in (out / "plots").iterdir()} == set(PICTURES)
    assert (out / "leaderboard.csv").exists()
    assert (out / "leaderboard.md").exists()


def test_the_page_needs_nothing_from_outside(written):
    page = Page(written[2].read_text())
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert sum(link.startswith("data:") for link in page.links) == len(PICTURES)
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
        "import sys, benchmark.report, benchmark.track; heavy = {'torch', 'sklearn', 'mlflow', 'matplotlib', 'seaborn',"
        "'pandas', 'scipy', 'optuna', 'lightgbm', 'xarray', 'rich', 'jinja2', 'benchmark.cell', 'benchmark.runner',"
        "'benchmark.catalog', 'benchmark.tune'}; sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
