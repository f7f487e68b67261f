"""Measures of classifiers against scikit-learn and torch."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix as their_confusion
from sklearn.metrics import log_loss, precision_recall_fscore_support

from aigc_lab.evaluation.classification import (
    best_temperature,
    calibration_error,
    confusion_matrix,
    mean_log_loss,
    probabilities,
    reliability,
    scores,
)


@pytest.mark.parametrize("seed", range(4))
def test_confusion_precision_recall_and_f1(seed):
    chance = np.random.default_rng(seed)
    truth, said = chance.integers(3, size=(2, 60)) * chance.integers(2, size=(2, 60))
    counts = confusion_matrix(truth, said, 3)
    assert np.array_equal(counts, their_confusion(truth, said, labels=[0, 1, 2]))
    theirs = precision_recall_fscore_support(truth, said, labels=[0, 1, 2], zero_division=0)
    for kind in range(3):
        assert np.allclose(scores(counts, kind), [column[kind] for column in theirs[:3]])


def test_a_class_that_is_never_said_or_never_there():
    assert scores(confusion_matrix([1, 1, 0], [0, 0, 0], 2)) == (0, 0, 0)
    assert scores(confusion_matrix([0, 0], [0, 1], 2)) == (0, 0, 0)
    assert scores(confusion_matrix([0, 0], [0, 0], 2)) == (0, 0, 0)
    for truth, said in (([0, 2], [0, 0]), ([0, 0], [-1, 0])):
        with pytest.raises(ValueError, match=r"classes outside 0 \.\. n_classes-1=1"):
            confusion_matrix(truth, said, 2)
    with pytest.raises(ValueError, match=r"must both be \(N,\)"):
        confusion_matrix([0], [0, 1], 2)


@pytest.mark.parametrize("n_bins", [1, 4, 10])
def test_reliability_is_scikit_learns_curve(n_bins):
    chance = np.random.default_rng(n_bins)
    p = np.concatenate([chance.random(200), [0, 1, 0.5, 0.25]])
    is_true = chance.random(len(p)) < p**2
    found = reliability(p, is_true, n_bins)
    frequency, probability = calibration_curve(is_true, p, n_bins=n_bins)
    assert np.allclose(found.frequency, frequency) and np.allclose(found.probability, probability)
    assert found.weight.sum() == pytest.approx(1)


def test_calibration_error():
    p = np.array([0.9] * 10 + [0.3] * 10)
    is_true = np.array([1] * 9 + [0] + [1] * 3 + [0] * 7)
    assert calibration_error(p, is_true) == pytest.approx(0)
    assert calibration_error(p, 1 - is_true) == pytest.approx((0.8 + 0.4) / 2)
    assert calibration_error(np.array([1.0]), [0]) == 1
    for wrong in ([1.5], [-0.1]):
        with pytest.raises(ValueError, match="are these logits"):
            calibration_error(np.array(wrong), [1])
    with pytest.raises(ValueError, match=r"must both be \(N,\)"):
        reliability(np.array([]), np.array([]))


def test_loss_and_temperature():
    chance = np.random.default_rng(0)
    truth = chance.integers(3, size=400)
    logits = chance.normal(size=(400, 3)) + 1.5 * np.eye(3)[truth]
    assert mean_log_loss(logits, truth) == pytest.approx(
        log_loss(truth, torch.from_numpy(logits).softmax(-1).numpy())
    )
    assert np.allclose(probabilities(logits, 2.0), torch.from_numpy(logits / 2).softmax(-1))
    best = best_temperature(logits, truth)
    grid = np.geomspace(0.2, 5, 400)
    losses = [mean_log_loss(logits, truth, T) for T in grid]
    assert best == pytest.approx(grid[np.argmin(losses)], rel=0.02)
    assert best_temperature(7 * logits, truth) == pytest.approx(7 * best, rel=1e-3)
    assert np.isfinite(mean_log_loss(1e4 * logits, truth))
