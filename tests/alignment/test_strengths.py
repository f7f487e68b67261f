"""Bradley and Terry's scores against logistic regression, the truth, and their own conditions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aigc_lab.alignment.strengths import fit_strengths, log_likelihood


def drawn(scores, n, seed=0):
    rng = np.random.default_rng(seed)
    wins = np.zeros((len(scores),) * 2)
    for i in range(len(scores)):
        for j in range(i):
            wins[i, j] = rng.binomial(n, 1 / (1 + np.exp(scores[j] - scores[i])))
            wins[j, i] = n - wins[i, j]
    return wins


def test_scores_are_those_of_logistic_regression():
    wins = drawn(np.array([0.0, 1.0, -0.5, 2.0]), 30)
    rows, counts = [], []
    for i, j in np.ndindex(wins.shape):
        if i != j and wins[i, j]:
            rows.append(np.eye(4)[i] - np.eye(4)[j])
            counts.append(wins[i, j])
    both = np.array(rows + [-row for row in rows])
    won = np.repeat([1, 0], len(rows))
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
    expected = model.fit(both, won, sample_weight=counts * 2).coef_[0]
    assert np.allclose(fit_strengths(wins), expected - expected.mean(), atol=1e-5)


def test_many_votes_find_the_truth_and_the_likelihood_is_largest_there():
    scores = np.array([-1.0, 0.0, 0.25, 0.75])
    wins = drawn(scores, 20_000)
    found = fit_strengths(wins)
    assert np.allclose(found, scores, atol=0.05) and found.mean() == pytest.approx(0)
    best = log_likelihood(found, wins)
    assert log_likelihood(found + 3, wins) == pytest.approx(best)
    for i in range(4):
        for step in (-0.01, 0.01):
            assert log_likelihood(found + step * np.eye(4)[i], wins) < best


def test_the_likelihood_by_hand():
    wins = np.array([[0, 3], [1, 0]])
    p = 1 / (1 + np.exp(-0.5))
    expected = 3 * np.log(p) + np.log(1 - p)
    assert log_likelihood(np.array([0.5, 0.0]), wins) == pytest.approx(expected)
    assert fit_strengths(wins) == pytest.approx([np.log(3) / 2, -np.log(3) / 2])


@pytest.mark.parametrize(
    ("wins", "losers"),
    [
        ([[0, 3], [0, 0]], r"\[1\]"),
        ([[0, 1, 1], [1, 0, 1], [0, 0, 0]], r"\[2\]"),
        ([[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]], r"\[2, 3\]"),
    ],
)
def test_groups_that_never_win_are_named(wins, losers):
    with pytest.raises(ValueError, match=f"replies {losers} never win"):
        fit_strengths(np.array(wins))


def test_a_chain_of_wins_is_enough_and_replies_need_not_all_meet():
    around = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # rock, paper, scissors
    assert np.allclose(fit_strengths(around), 0, atol=1e-6)


@pytest.mark.parametrize("wins", [np.ones((2, 3)), np.ones(4), -np.ones((2, 2))])
def test_no_table_of_wins(wins):
    with pytest.raises(ValueError, match="square table"):
        fit_strengths(wins)
