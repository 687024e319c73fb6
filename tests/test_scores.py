"""Scores against scikit-learn and torchmetrics, on pixels rather than on counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from benchmark import scores
from benchmark.api import CLOUD, IGNORE


def pixels(seed=0, n=5, size=40):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 255], p=[0.5, 0.4, 0.1], size=(n, size, size)).astype(np.uint8)
    probability = np.clip(0.35 + 0.3 * (mask == CLOUD) + rng.normal(0, 0.25, mask.shape), 0, 1).astype(np.float16)
    return probability, mask


@pytest.fixture
def flat():
    probability, mask = pixels()
    valid = mask != IGNORE
    return mask[valid], probability[valid].astype(float), probability, mask


def test_scores_equal_scikit_learn(flat):
    truth, p, probability, mask = flat
    cloud = p > 0.5
    found = scores.scores(scores.confusion(probability > 0.5, mask).sum(0))
    expected = {
        "jaccard": sk.jaccard_score(truth, cloud, average="macro"),
        "jaccard_cloud": sk.jaccard_score(truth, cloud),
        "f1": sk.f1_score(truth, cloud),
        "f2": sk.fbeta_score(truth, cloud, beta=2),
        "precision": sk.precision_score(truth, cloud),
        "recall": sk.recall_score(truth, cloud),
        "accuracy": sk.accuracy_score(truth, cloud),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, cloud),
        "kuiper": sk.balanced_accuracy_score(truth, cloud, adjusted=True),
        "mcc": sk.matthews_corrcoef(truth, cloud),
        "dice_loss": 1 - sk.f1_score(truth, cloud, average="macro"),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


def test_jaccard_equals_torchmetrics_with_ignored_pixels(flat):
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import MulticlassJaccardIndex

    *_, probability, mask = flat
    metric = MulticlassJaccardIndex(num_classes=2, average="macro", ignore_index=IGNORE)
    expected = metric(torch.tensor((probability > 0.5).astype(int)), torch.tensor(mask.astype(int)))
    assert scores.ranking(probability, mask) == pytest.approx(float(expected), abs=1e-6)


def test_probability_scores_equal_scikit_learn(flat):
    truth, p, probability, mask = flat
    found = scores.probability_scores(scores.histogram(probability, mask))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, p), abs=1e-9)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(truth, p), abs=1e-9)


def test_ece_is_the_gap_of_equal_mass_bins(flat):
    truth, p, probability, mask = flat
    found = scores.probability_scores(scores.histogram(probability, mask))["ece"]
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, scores.ECE_BINS)
    expected = sum(len(b) / len(p) * abs(p[b].mean() - truth[b].mean()) for b in bins)
    assert found == pytest.approx(expected, abs=2e-3)  # equal values may not be torn apart here


def test_precision_recall_equals_scikit_learn(flat):
    truth, p, probability, mask = flat
    precision, recall = scores.precision_recall(scores.histogram(probability, mask))
    expected = sk.precision_recall_curve(truth, p)
    np.testing.assert_allclose(precision, expected[0][:-1])
    np.testing.assert_allclose(recall, expected[1][:-1])


def test_no_cloud_at_all_is_nan_and_not_zero():
    found = scores.scores(np.array([100, 0, 0, 0]))
    assert np.isnan(found["jaccard_cloud"])
    assert np.isnan(found["recall"])
    assert found["jaccard"] == 1.0


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_histogram_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match="NaN or outside"):
        scores.histogram(np.full((1, 2, 2), bad), np.zeros((1, 2, 2), np.uint8))


def test_histogram_passes_over_ignored_pixels():
    probability = np.array([[[np.nan, 0.25]]])
    hist = scores.histogram(probability, np.array([[[IGNORE, CLOUD]]], np.uint8))
    assert hist.sum() == 1
    assert hist[1].sum() == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0, 1, 255])), min_size=4, max_size=60))
def test_counts_hold_every_valid_pixel_once(values):
    cloud = np.array([v[0] for v in values])[None, None]
    mask = np.array([v[1] for v in values], np.uint8)[None, None]
    counts = scores.confusion(cloud, mask)
    assert counts.shape == (1, 4)
    assert counts.sum() == (mask != IGNORE).sum()
    assert counts[0, 3] == (cloud & (mask == CLOUD)).sum()


def test_counts_are_per_patch():
    mask = np.stack([np.zeros((3, 3)), np.ones((3, 3))]).astype(np.uint8)
    np.testing.assert_array_equal(scores.confusion(np.ones((2, 3, 3), bool), mask), [[0, 9, 0, 0], [0, 0, 0, 9]])
