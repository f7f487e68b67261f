"""Policy gradients and trust regions of one choice, against autograd and brute force."""

import numpy as np
import pytest
import torch

from aigc_lab.alignment.bandit import (
    best_baseline,
    fisher,
    kl_divergence,
    natural_step,
    policy_gradient,
    reinforce,
    softmax,
    trust_region,
)


def problem(seed=0, n=6):
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=n)
    return logits, softmax(logits), 2 * chance.normal(size=n) + 1


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_autograd(seed):
    logits, policy, rewards = problem(seed)
    theta = torch.tensor(logits, requires_grad=True)
    (theta.softmax(0) @ torch.tensor(rewards)).backward()
    np.testing.assert_allclose(policy_gradient(policy, rewards), theta.grad, atol=1e-12)


@pytest.mark.parametrize("baseline", [0.0, -2.0, 5.0])
def test_estimates_are_right_on_average_whatever_the_baseline(baseline):
    """Not by drawing: every answer once, weighted with its probability."""
    _, policy, rewards = problem()
    each = reinforce(policy, np.arange(6), rewards, baseline)
    np.testing.assert_allclose(policy @ each, policy_gradient(policy, rewards), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_baseline_has_less_variance(seed):
    _, policy, rewards = problem(seed)

    def variance(baseline):
        each = reinforce(policy, np.arange(6), rewards, baseline)
        return policy @ ((each - policy @ each) ** 2).sum(1)

    best = best_baseline(policy, rewards)
    grid = np.linspace(-6, 6, 2001)
    assert abs(grid[np.argmin([variance(b) for b in grid])] - best) < 0.01
    assert variance(best) < variance(policy @ rewards) < variance(best + 50)


def test_fisher_is_the_curvature_of_kl():
    logits, policy, _ = problem()
    old = torch.tensor(policy)

    def kl(theta):
        return (old * (old.log() - theta.log_softmax(0))).sum()

    curvature = torch.autograd.functional.hessian(kl, torch.tensor(logits))
    np.testing.assert_allclose(fisher(policy), curvature, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("delta", [1e-4, 0.01, 0.3])
def test_trust_region_is_used_up_and_nothing_within_it_is_better(reverse, delta):
    _, policy, advantages = problem(1, n=3)
    new = trust_region(policy, advantages, delta, reverse)

    def distance(other):
        return kl_divergence(policy, other) if reverse else kl_divergence(other, policy)

    assert distance(new) == pytest.approx(delta, rel=1e-6)  # smaller than the sure choice's
    assert new.sum() == pytest.approx(1) and (new >= 0).all()
    chance = np.random.default_rng(0)
    others = np.concatenate(
        [chance.dirichlet(np.ones(3), 20_000), new + 1e-3 * chance.normal(size=(5_000, 3))]
    )
    others = np.abs(others) / np.abs(others).sum(1, keepdims=True)
    inside = [other for other in others if distance(other) <= delta]
    assert len(inside) > 20 or delta < 1e-3
    assert all(other @ advantages <= new @ advantages + 1e-9 for other in inside)


def test_exact_solutions_have_their_forms():
    _, policy, advantages = problem()
    tilted = np.log(trust_region(policy, advantages, 0.2) / policy)
    slopes = np.diff(tilted) / np.diff(advantages)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)  # log ratio = A/η + constant
    inverse = policy / trust_region(policy, advantages, 0.2, reverse=True)
    slopes = np.diff(inverse) / np.diff(advantages)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)  # 1/ratio = (μ − A)/c


def test_natural_step_is_the_exact_solution_where_the_region_is_small():
    logits, policy, advantages = problem()
    for reverse in (False, True):
        errors = []
        for delta in (1e-2, 1e-4, 1e-6):
            step = softmax(natural_step(logits, advantages, delta))
            exact = trust_region(policy, advantages, delta, reverse)
            errors.append(np.abs(step - exact).max() / np.abs(exact - policy).max())
        assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_natural_step_tilts_the_policy():
    """In the logits of a softmax F⁻¹g is the advantages themselves, but for a constant."""
    logits, _, advantages = problem()
    step = natural_step(logits, advantages, 0.05) - logits
    slopes = np.diff(step) / np.diff(advantages)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)


def test_a_large_region_holds_the_best_answer():
    _, policy, advantages = problem()
    new = trust_region(policy, advantages, 100.0)
    assert new.argmax() == advantages.argmax() and new.max() > 1 - 1e-6


def test_refuses_what_has_no_solution():
    _, policy, advantages = problem()
    with pytest.raises(ValueError, match=r"delta=0\.0"):
        trust_region(policy, advantages, 0.0)
    with pytest.raises(ValueError, match="all advantages are equal"):
        trust_region(policy, np.ones(6), 0.1)


def test_kl_against_torch():
    _, p, _ = problem(0)
    _, q, _ = problem(1)
    expected = torch.nn.functional.kl_div(
        torch.tensor(q).log(), torch.tensor(p), reduction="sum"
    ).item()
    assert kl_divergence(p, q) == pytest.approx(expected)
    assert kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
