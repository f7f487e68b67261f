"""The exact optimum against brute force, and DPO against the optimum."""

import numpy as np
import pytest

from aigc_lab.alignment.bandit import kl_divergence, policy_gradient, softmax
from aigc_lab.alignment.dpo import DPOSettings
from aigc_lab.alignment.exact import (
    best_policy,
    draw_votes,
    fit_votes,
    frontier,
    objective,
    priced,
)


def make_problem(seed=0, n=6):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n)) * 0.9 + 0.1 / n, rng.normal(size=n), rng


def test_no_policy_is_better_and_the_optimum_is_beta_log_z():
    ref, rewards, rng = make_problem()
    best = best_policy(ref, rewards, 0.5)
    assert best.sum() == pytest.approx(1)
    most = objective(best, ref, rewards, 0.5)
    assert most == pytest.approx(0.5 * np.log((ref * np.exp(rewards / 0.5)).sum()))
    for _ in range(200):
        near = softmax(np.log(best) + 0.3 * rng.normal(size=6))
        assert objective(near, ref, rewards, 0.5) < most


def test_at_the_optimum_all_replies_are_worth_the_same():
    ref, rewards, _ = make_problem(1)
    best = best_policy(ref, rewards, 0.7)
    worth = priced(best, ref, rewards, 0.7)
    assert np.ptp(worth) < 1e-9
    assert np.abs(policy_gradient(best, worth)).max() < 1e-12


def test_the_gradient_of_the_objective_is_the_policy_gradient_of_priced_rewards():
    ref, rewards, rng = make_problem(2)
    logits = rng.normal(size=6)
    policy = softmax(logits)
    found = policy_gradient(policy, priced(policy, ref, rewards, 0.3))
    for i in range(6):
        moved = [softmax(logits + sign * 1e-5 * np.eye(6)[i]) for sign in (1, -1)]
        difference = np.subtract(*(objective(p, ref, rewards, 0.3) for p in moved)) / 2e-5
        assert found[i] == pytest.approx(difference, abs=1e-8)


def test_nothing_lies_above_the_frontier():
    ref, rewards, rng = make_problem(3)
    distances, means = frontier(ref, rewards, np.geomspace(20, 0.1, 400))
    assert (np.diff(distances) > 0).all() and (np.diff(means) > 0).all()
    for _ in range(200):
        policy = softmax(np.log(ref) + 2 * rng.normal(size=6))
        allowed = np.interp(kl_divergence(policy, ref), distances, means)
        assert policy @ rewards < allowed + 1e-3


def test_votes_follow_bradley_and_terry():
    ref, rewards, rng = make_problem(4, n=3)
    votes = draw_votes(ref, rewards, 60_000, rng)
    assert votes.shape == (60_000, 2) and (votes[:, 0] != votes[:, 1]).all()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        wins, losses = ((votes == pair).all(1).sum() for pair in ((a, b), (b, a)))
        expected = 1 / (1 + np.exp(rewards[b] - rewards[a]))
        assert wins / (wins + losses) == pytest.approx(expected, abs=0.02)
    met = 2 * ref[0] * ref[1] / (1 - (ref**2).sum())  # how often the first two meet
    assert np.isin(votes, (0, 1)).all(1).mean() == pytest.approx(met, abs=0.01)


def test_dpo_with_many_votes_finds_the_optimum():
    ref, rewards, rng = make_problem(5)
    best = best_policy(ref, rewards, 0.5)
    votes = draw_votes(ref, rewards, 200_000, rng)
    policies = fit_votes(votes, ref, DPOSettings(beta=0.5), n_steps=400, lr=0.05)
    assert policies.shape == (400, 6)
    assert np.abs(policies[-1] - best).sum() / 2 < 0.02
    assert np.abs(policies[0] - best).sum() / 2 > 0.1  # and did not begin there


def test_bad_arguments_are_named():
    ref, rewards, _ = make_problem()
    with pytest.raises(ValueError, match="beta=0"):
        best_policy(ref, rewards, 0)
    with pytest.raises(ValueError, match="both must be"):
        best_policy(ref, rewards[1:], 1)
    with pytest.raises(ValueError, match="sum to 1"):
        best_policy(2 * ref, rewards, 1)
    with pytest.raises(ValueError, match="no votes"):
        fit_votes(np.empty((0, 2), dtype=int), ref, DPOSettings())
    with pytest.raises(ValueError, match="only one reply"):
        draw_votes(np.array([0.0, 1.0]), np.zeros(2), 5, np.random.default_rng(0))
