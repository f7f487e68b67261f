"""How good a classifier is: confusion, precision, recall, F1, calibration.

Shapes: N texts, K classes, M bins.

Source: Guo et al. 2017 for the calibration error and the temperature.
"""

from typing import NamedTuple

import numpy as np

from aigc_lab.models.attention_numpy import softmax


def confusion_matrix(truth: np.ndarray, said: np.ndarray, n_classes: int) -> np.ndarray:
    """How often each class was taken for each: `(K, K)`, a row for each true class.

    Args:
        truth, said: classes, `(N,)` whole numbers.
        n_classes: K.

    Raises:
        ValueError: different lengths, or a class that does not exist.
    """
    truth, said = np.asarray(truth), np.asarray(said)
    if truth.shape != said.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and said {said.shape} must both be (N,)")
    for name, classes in (("truth", truth), ("said", said)):
        if classes.size and not 0 <= classes.min() <= classes.max() < n_classes:
            raise ValueError(f"{name} holds classes outside 0 .. n_classes-1={n_classes - 1}")
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (truth, said), 1)
    return counts


class Scores(NamedTuple):
    """Of one class: how much of what was said is right, how much of what is there was found."""

    precision: float
    recall: float
    f1: float


def scores(confusion: np.ndarray, positive: int = 1) -> Scores:
    """Precision, recall and F1 of a class; a quotient 0/0 counts as 0.

    Args:
        confusion: `(K, K)`, as `confusion_matrix`.
        positive: the class.
    """
    right = confusion[positive, positive]
    said, there = confusion[:, positive].sum(), confusion[positive].sum()
    return Scores(
        float(right / said) if said else 0.0,
        float(right / there) if there else 0.0,
        float(2 * right / (said + there)) if said + there else 0.0,
    )


class Reliability(NamedTuple):
    """Of each bin that is not empty: mean probability, share that is true, and share of all."""

    probability: np.ndarray
    frequency: np.ndarray
    weight: np.ndarray


def reliability(probability: np.ndarray, is_true: np.ndarray, n_bins: int = 10) -> Reliability:
    """Sort answers by how sure they are, and see how often each kind is right.

    Args:
        probability: that something is so, `(N,)` from 0 to 1.
        is_true: whether it is so, `(N,)`.
        n_bins: M bins of equal width.

    Raises:
        ValueError: probabilities outside 0 to 1, or different lengths.
    """
    probability, is_true = np.asarray(probability, float), np.asarray(is_true, float)
    if probability.shape != is_true.shape or probability.ndim != 1 or not probability.size:
        raise ValueError(f"{probability.shape} and {is_true.shape} must both be (N,), N at least 1")
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError("probabilities must lie between 0 and 1: are these logits?")
    # A probability on the border of two bins belongs to the lower one, except 0.
    bins = np.clip(np.ceil(probability * n_bins).astype(int) - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    used = counts > 0
    return Reliability(
        np.bincount(bins, probability, n_bins)[used] / counts[used],
        np.bincount(bins, is_true, n_bins)[used] / counts[used],
        counts[used] / counts.sum(),
    )


def calibration_error(probability: np.ndarray, is_true: np.ndarray, n_bins: int = 10) -> float:
    """Expected calibration error: mean distance of probability and frequency over the bins."""
    found = reliability(probability, is_true, n_bins)
    return float((found.weight * np.abs(found.probability - found.frequency)).sum())


def mean_log_loss(logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0) -> float:
    """Mean −log p(true class) in nats, of logits `(N, K)` divided by the temperature."""
    scaled = np.asarray(logits, float) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(log_p)), truth].mean())


def best_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature from 0.05 to 20 with the least loss; use logits that were held out.

    The loss is convex in 1/T, so the search by thirds finds its only valley.
    """
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(60):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if mean_log_loss(logits, truth, np.exp(a)) < mean_log_loss(logits, truth, np.exp(b)):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits `(N, K)` divided by the temperature."""
    return softmax(np.asarray(logits, float) / temperature)
