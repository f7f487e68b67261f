"""Kappas against scikit-learn, published examples, and each other."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from aigc_lab.alignment.agreement import (
    cohen_kappa,
    count_table,
    fleiss_kappa,
    krippendorff_alpha,
    percent_agreement,
)

# Fleiss 1971's form of data, as in the example of many textbooks: ten items, fourteen labellers.
TEXTBOOK = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


@pytest.mark.parametrize("n_categories", [2, 3, 5])
def test_cohen_is_that_of_scikit_learn(n_categories):
    rng = np.random.default_rng(n_categories)
    first = rng.integers(0, n_categories, 200)
    second = np.where(rng.random(200) < 0.5, first, rng.integers(0, n_categories, 200) ** 2 % 3)
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert percent_agreement(first, second) == (first == second).mean()


def test_fleiss_of_the_textbook_example():
    assert fleiss_kappa(TEXTBOOK) == pytest.approx(0.210, abs=5e-4)


def test_a_table_counts_labels():
    labels = np.array([[0, 2, 2], [1, 1, 1]])
    assert count_table(labels).tolist() == [[1, 0, 2], [0, 3, 0]]
    assert count_table(labels, np.arange(4)).tolist() == [[1, 0, 2, 0], [0, 3, 0, 0]]


def alpha_by_pairs(rows):
    """Krippendorff's definition: disagreement within items over that between all labels."""
    within, weight = 0.0, 0
    labels = [label for row in rows if len(row) > 1 for label in row]
    for row in rows:
        if len(row) > 1:
            pairs = [a != b for i, a in enumerate(row) for j, b in enumerate(row) if i != j]
            within += sum(pairs) / (len(row) - 1)
            weight += len(row)
    n = len(labels)
    between = sum(a != b for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j)
    return 1 - (within / weight) / (between / (n * (n - 1)))


def test_alpha_by_its_definition_with_labels_missing():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 3, rng.integers(1, 5)).tolist() for _ in range(40)]
    counts = np.array([[row.count(k) for k in range(3)] for row in rows])
    assert krippendorff_alpha(counts) == pytest.approx(alpha_by_pairs(rows))


def test_alpha_comes_near_fleiss_for_many_items():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (4000, 1))
    labels = np.where(rng.random((4000, 4)) < 0.7, truth, rng.integers(0, 2, (4000, 4)))
    counts = count_table(labels)
    assert fleiss_kappa(counts) == pytest.approx(krippendorff_alpha(counts), abs=1e-3)
    assert fleiss_kappa(counts) == pytest.approx(0.49, abs=0.04)


def test_perfect_and_chance():
    same = np.array([0, 1, 1, 0])
    assert cohen_kappa(same, same) == 1 == fleiss_kappa(count_table(np.stack([same, same], 1)))
    assert cohen_kappa(same, 1 - same) == -1
    one_habit = np.array([1, 1, 1, 1])
    assert cohen_kappa(same, one_habit) == 0


def test_what_cannot_be_judged_is_refused():
    ones = np.ones(4, dtype=int)
    with pytest.raises(ValueError, match="one category"):
        cohen_kappa(ones, ones)
    with pytest.raises(ValueError, match="must both be"):
        percent_agreement(ones, ones[:2])
    with pytest.raises(ValueError, match="must both be"):
        percent_agreement(ones[:0], ones[:0])
    with pytest.raises(ValueError, match="2 to 3 labels"):
        fleiss_kappa(np.array([[2, 0], [2, 1]]))
    with pytest.raises(ValueError, match="1 to 1 labels"):
        fleiss_kappa(np.array([[1, 0], [0, 1]]))
    with pytest.raises(ValueError, match="no item has two labels"):
        krippendorff_alpha(np.array([[1, 0], [0, 1]]))
