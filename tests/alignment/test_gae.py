"""Rewards of tokens and their advantages, against sums written out."""

import pytest
import torch

from aigc_lab.alignment.gae import advantages_of, explained_variance, token_rewards

LENGTHS = [4, 1, 3]
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]


def numbers(seed, junk=0.0):
    chance = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 4, generator=chance, dtype=torch.float64)
    return torch.where(MASK, values, junk)


@pytest.mark.parametrize("junk", [0.0, 100.0, float("nan")])
def test_token_rewards_hold_the_price_everywhere_and_the_score_at_the_last(junk):
    kl, scores = numbers(0, junk), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    rewards = token_rewards(scores, kl, MASK, 0.3)
    for row, length in enumerate(LENGTHS):
        expected = [-0.3 * kl[row, t] + (scores[row] if t == length - 1 else 0) for t in range(4)]
        assert rewards[row, :length].tolist() == pytest.approx(
            [float(e) for e in expected[:length]]
        )
        assert (rewards[row, length:] == 0).all()


@pytest.mark.parametrize("junk", [0.0, 100.0, float("nan")])
@pytest.mark.parametrize(("gamma", "lam"), [(1, 1), (1, 0.95), (0.9, 0.5), (1, 0), (0.9, 1)])
def test_advantages_are_the_weighted_sum_of_surprises(gamma, lam, junk):
    """The definition, A_t = Σ_l (γλ)^l δ_{t+l}, row by row."""
    rewards, values = numbers(1, junk), numbers(2, junk)
    found = advantages_of(rewards, values, MASK, gamma, lam)
    for row, n in enumerate(LENGTHS):
        r, v = rewards[row, :n].tolist(), [*values[row, :n].tolist(), 0.0]
        surprises = [r[t] + gamma * v[t + 1] - v[t] for t in range(n)]
        expected = [
            sum((gamma * lam) ** (k - t) * surprises[k] for k in range(t, n)) for t in range(n)
        ]
        assert found[row, :n].tolist() == pytest.approx(expected)
        assert (found[row, n:] == 0).all()


@pytest.mark.parametrize("junk", [0.0, 1e6, float("nan")])
def test_without_discount_advantage_and_value_are_the_score_less_the_price_still_to_pay(junk):
    """γ = λ = 1: A_t + V_t = score − β·ΣKL from t on."""
    beta, kl, values = 0.2, numbers(3, junk), numbers(4, junk)
    scores = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    rewards = token_rewards(scores, kl, MASK, beta)
    advantages = advantages_of(rewards, values, MASK, 1.0, 1.0)
    for row, n in enumerate(LENGTHS):
        for t in range(n):
            to_pay = beta * kl[row, t:n].sum()
            assert (advantages + values)[row, t].item() == pytest.approx(
                (scores[row] - to_pay).item()
            )


def test_lambda_0_is_one_surprise():
    rewards, values = numbers(5), numbers(6)
    found = advantages_of(rewards, values, MASK, 1.0, 0.0)
    assert found[0, 0].item() == pytest.approx((rewards[0, 0] + values[0, 1] - values[0, 0]).item())
    assert found[0, 3].item() == pytest.approx((rewards[0, 3] - values[0, 3]).item())


def test_explained_variance():
    returns = numbers(7)
    assert explained_variance(returns, returns, MASK) == pytest.approx(1.0)
    assert explained_variance(torch.zeros_like(returns), returns, MASK) == pytest.approx(0.0)
    assert explained_variance(-returns, returns, MASK) == pytest.approx(-3.0)
    junk = torch.where(MASK, returns, 1e9)
    assert explained_variance(junk, returns, MASK) == pytest.approx(1.0)
