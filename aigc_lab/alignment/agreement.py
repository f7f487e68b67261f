"""How far labellers agree, and what that says about the best that a model of them can do.

Two people who vote by chance agree on half of the pairs, so a share of agreement alone says little.
A kappa compares it with the share that chance would give:

    κ = (p_o − p_e) / (1 − p_e)        1: always, 0: as by chance, below 0: less than that

Shapes: N items, R labellers, K categories.

Sources: Cohen 1960, Fleiss 1971, Krippendorff 2004.
"""

import numpy as np


def percent_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the N items on which two labellers say the same.

    Raises:
        ValueError: no items, or not as many of one as of the other.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"labels of shapes {first.shape} and {second.shape} must both be (N,)")
    return float((first == second).mean())


def cohen_kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Agreement of two labellers beyond chance, each with a habit of their own.

    By chance they agree on category k with the product of how often each of them says k.

    Raises:
        ValueError: as `percent_agreement`, or both always say the same one thing: nothing in
            their labels can tell agreement from habit.
    """
    observed = percent_agreement(first, second)
    categories = np.union1d(first, second)
    expected = sum(np.mean(first == k) * np.mean(second == k) for k in categories)
    return _beyond_chance(observed, float(expected))


def count_table(labels: np.ndarray, categories: np.ndarray | None = None) -> np.ndarray:
    """How many of R labellers put each item into each category: `(N, K)`, from labels `(N, R)`."""
    labels = np.asarray(labels)
    categories = np.unique(labels) if categories is None else np.asarray(categories)
    return (labels[:, :, None] == categories).sum(axis=1)


def fleiss_kappa(counts: np.ndarray) -> float:
    """Agreement of many labellers beyond chance, who may be other people for each item.

    Args:
        counts: how many labellers put each item into each category, `(N, K)`; as many labels for
            each item, at least two.

    Raises:
        ValueError: another number of labels, or only one category was ever used.
    """
    counts = np.asarray(counts)
    per_item = counts.sum(axis=1)
    if per_item.min() != per_item.max() or per_item.min() < 2:
        raise ValueError(
            f"items have {per_item.min()} to {per_item.max()} labels: all must have the same "
            "number, at least two; where some are missing use krippendorff_alpha"
        )
    observed = _agreeing_pairs(counts, per_item).mean()
    expected = (counts.sum(axis=0) / counts.sum()) ** 2
    return _beyond_chance(float(observed), float(expected.sum()))


def krippendorff_alpha(counts: np.ndarray) -> float:
    """The same for labels of which some are missing, corrected for small numbers of them.

    Args:
        counts: as for `fleiss_kappa`, with any number of labels for an item; items with fewer than
            two say nothing about agreement and are left out.

    Raises:
        ValueError: no item with two labels, or only one category was ever used.
    """
    counts = np.asarray(counts)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        raise ValueError("no item has two labels: there is nothing to compare")
    per_item, per_category, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    observed = (_agreeing_pairs(counts, per_item) * per_item).sum() / total
    expected = (per_category * (per_category - 1)).sum() / (total * (total - 1))
    return _beyond_chance(float(observed), float(expected))


def _agreeing_pairs(counts: np.ndarray, per_item: np.ndarray) -> np.ndarray:
    """For each item the share of pairs of its labels that are the same: `(N,)`."""
    return (counts * (counts - 1)).sum(axis=1) / (per_item * (per_item - 1))


def _beyond_chance(observed: float, expected: float) -> float:
    if expected > 1 - 1e-12:
        raise ValueError(
            "all labels are of one category: agreement cannot be told from habit, so label items "
            "that differ more"
        )
    return (observed - expected) / (1 - expected)
