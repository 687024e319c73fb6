"""What is kept of stored probabilities is that of these very files, and spares reading them."""

import json
import math
import os
import shutil

import numpy as np
import pytest
from record_factory import Spec, make_plan

from benchmark import probability_summary
from benchmark.api import IGNORE
from benchmark.probability_summary import FILE, summary
from benchmark.scores import PROBABILITY_SCORES, histogram, probability_scores
from benchmark.views.lines import lines
from benchmark.views.tables import leaderboard


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    probabilities, mask = tmp_path / "run" / "probabilities.npy", tmp_path / "mask.npy"
    probabilities.parent.mkdir()
    np.save(probabilities, rng.random((3, 8, 8)).astype(np.float16))
    np.save(mask, rng.integers(0, 2, (3, 8, 8)).astype(np.uint8))
    return probabilities, mask


def expected(probabilities, mask):
    hist = histogram(np.load(probabilities), np.load(mask))
    return np.count_nonzero(hist.sum(0)), probability_scores(hist)


@pytest.fixture
def unread(monkeypatch):
    """Another process, which may read no pixels."""

    def refuse(*_):
        raise AssertionError("pixels were read")

    probability_summary._summary.cache_clear()
    monkeypatch.setattr(probability_summary, "histogram", refuse)


def test_a_summary_is_kept_to_the_bit(files, request):
    first = summary(*files)
    assert (first.values, first.scores) == expected(*files)
    request.getfixturevalue("unread")
    assert summary(*files) == first


@pytest.mark.parametrize("changed", [0, 1])
def test_a_rewritten_file_of_the_same_size_and_date_is_read_again(files, changed):
    before, at = summary(*files), files[changed].stat()
    values = np.load(files[changed])
    np.save(files[changed], 1 - values)
    os.utime(files[changed], ns=(at.st_atime_ns, at.st_mtime_ns))
    assert files[changed].stat().st_mtime_ns == at.st_mtime_ns
    assert summary(*files).scores == expected(*files)[1] != before.scores


def test_a_summary_that_was_copied_with_other_probabilities_does_not_count(files, tmp_path):
    summary(*files)
    copy = tmp_path / "copy"
    shutil.copytree(files[0].parent, copy)
    values = np.load(copy / files[0].name)
    at = files[0].stat()
    np.save(copy / files[0].name, np.sqrt(values))
    os.utime(copy / files[0].name, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert summary(copy / files[0].name, files[1]).scores == expected(copy / files[0].name, files[1])[1]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "of": []}', "not"])
def test_half_a_file_is_made_again(files, text):
    told = summary(*files)
    (files[0].parent / FILE).write_text(text)
    probability_summary._summary.cache_clear()
    assert summary(*files) == told
    assert json.loads((files[0].parent / FILE).read_text())["scores"] == told.scores


def test_another_version_does_not_count(files, monkeypatch, request):
    summary(*files)
    monkeypatch.setattr(probability_summary, "VERSION", probability_summary.VERSION + 1)
    request.getfixturevalue("unread")
    with pytest.raises(AssertionError, match="pixels were read"):
        summary(*files)


def test_truth_of_one_class_has_no_auc_and_none_at_all_no_score(files, request):
    np.save(files[1], np.ones((3, 8, 8), np.uint8))
    assert math.isnan(summary(*files).scores["auc"])
    probability_summary._summary.cache_clear()
    assert math.isnan(summary(*files).scores["auc"]), "read again from its file"
    np.save(files[1], np.full((3, 8, 8), IGNORE, np.uint8))
    assert summary(*files) == probability_summary.Summary(0, {})


def test_the_definition_is_that_of_its_version():
    """Where these numbers change, VERSION must, or runs of before keep scores of another definition."""
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 64
    truth = (np.arange(64) % 5 + np.arange(64) / 16 > 3).astype(np.uint8).reshape(1, 8, 8)
    found = probability_scores(histogram(values.astype(np.float16), truth))
    assert tuple(found) == PROBABILITY_SCORES
    assert list(found.values()) == pytest.approx([0.809090909091, 0.203491210938, 0.1953125])
    assert probability_summary.VERSION == 1


def test_a_second_process_makes_the_leaderboard_without_a_pixel(tmp_path, request):
    plan = make_plan(tmp_path, [Spec("forest", seeds=(0, 1)), Spec("unet", skill=0.5)])
    first = leaderboard(plan, tmp_path)
    request.getfixturevalue("unread")
    second = leaderboard(plan, tmp_path, lines(plan, tmp_path))
    assert first.equals(second)
    assert first[list(PROBABILITY_SCORES)].notna().all(axis=None)
