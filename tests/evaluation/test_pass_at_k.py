"""pass@k against counting all subsets, and its mean against the truth."""

import itertools
import math

import numpy as np
import pytest
import torch

from aigc_lab.evaluation.pass_at_k import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize("n_right", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_it_is_the_share_of_subsets_with_a_right_answer(n_right, k):
    right = [i < n_right for i in range(6)]
    subsets = list(itertools.combinations(right, k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k(6, n_right, k) == pytest.approx(expected)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_it_has_no_bias_and_the_power_has_one(p):
    n, k = 8, 4
    chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = sum(q * pass_at_k(n, c, k) for c, q in enumerate(chances))
    assert mean == pytest.approx(1 - (1 - p) ** k)
    naive = sum(q * (1 - (1 - c / n) ** k) for c, q in enumerate(chances))
    assert naive < mean - 0.001


def test_the_mean_is_over_questions():
    table = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    for k in (1, 2, 4):
        expected = np.mean([pass_at_k(4, c, k) for c in (1, 0, 4)])
        assert mean_pass_at_k(table, k) == pytest.approx(expected)
    assert mean_pass_at_k(table.bool(), 1) == pytest.approx(table.float().mean().item())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="k=9"):
        pass_at_k(8, 1, 9)
    with pytest.raises(ValueError, match="n_right=9"):
        pass_at_k(8, 9, 1)
    with pytest.raises(ValueError, match="give \\(questions, samples\\)"):
        mean_pass_at_k(torch.ones(3), 1)
