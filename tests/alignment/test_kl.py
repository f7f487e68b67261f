"""The three estimators of KL against sums over the whole distribution, and their gradients."""

import numpy as np
import pytest
import torch

from aigc_lab.alignment.kl import adapted, kl_k1, kl_k2, kl_k3

ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


def policies(seed=0, n=6):
    """Logits of a policy, which learns, and log-probabilities of its reference."""
    chance = torch.Generator().manual_seed(seed)
    logits, other = torch.randn(2, n, generator=chance, dtype=torch.float64)
    return logits.requires_grad_(), other.log_softmax(-1)


def kl(p, q):
    return (p.exp() * (p - q)).sum()


@pytest.mark.parametrize("seed", range(3))
def test_means_of_k1_and_k3_are_the_kl_and_of_k2_nearly(seed):
    logits, ref = policies(seed)
    log_p = logits.log_softmax(-1).detach()
    means = {name: (log_p.exp() * k(log_p, ref)).sum().item() for name, k in ESTIMATORS.items()}
    true = kl(log_p, ref).item()
    assert means["k1"] == pytest.approx(true)
    assert means["k3"] == pytest.approx(true)
    assert means["k2"] != pytest.approx(true, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_k2_and_k3_are_never_negative_and_k1_is(seed):
    logits, ref = policies(seed)
    log_p = logits.log_softmax(-1).detach()
    assert (kl_k3(log_p, ref) >= 0).all() and (kl_k2(log_p, ref) >= 0).all()
    assert (kl_k1(log_p, ref) < 0).any()


def test_k3_is_positive_in_the_direction_that_the_policy_samples():
    """Swapped, its mean under the policy is no KL at all."""
    logits, ref = policies()
    log_p = logits.log_softmax(-1).detach()
    swapped = (log_p.exp() * kl_k3(ref, log_p)).sum()
    assert abs(swapped - kl(log_p, ref)) > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_gradients_as_losses(seed):
    """Nothing for k1, KL(policy, reference) for k2, KL(reference, policy) for k3."""
    logits, ref = policies(seed)

    def gradient(of):
        return torch.autograd.grad(of, logits)[0].numpy()

    log_p = logits.log_softmax(-1)
    weights = log_p.exp().detach()  # tokens are drawn, and what is drawn has no gradient
    found = {
        name: gradient((weights * k(log_p, ref)).sum())
        for name, k in ESTIMATORS.items()
        for log_p in [logits.log_softmax(-1)]
    }
    reverse = gradient(kl(logits.log_softmax(-1), ref))
    forward = gradient(kl(ref, logits.log_softmax(-1)))
    np.testing.assert_allclose(found["k1"], 0, atol=1e-12)
    np.testing.assert_allclose(found["k2"], reverse, atol=1e-12)
    np.testing.assert_allclose(found["k3"], forward, atol=1e-12)
    assert np.abs(reverse - forward).max() > 0.01


def test_equal_policies_have_kl_0():
    log_p = torch.randn(4, 5).log_softmax(-1)
    for estimator in ESTIMATORS.values():
        assert (estimator(log_p, log_p) == 0).all()


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(6.0, 1.0), (6.6, 1 + 0.1 * 64 / 1000), (60.0, 1 + 0.2 * 64 / 1000), (0.0, 1 - 0.2 * 0.064)],
)
def test_beta_rises_above_the_target_and_falls_below(kl, factor):
    new = adapted(0.15, kl, target=6.0, n_replies=64, horizon=1000)
    assert new == pytest.approx(0.15 * factor)


def test_beta_settles_where_kl_has_its_target():
    """A policy whose KL is 2 over β reaches a KL of 8 at β = 0.25, from either side."""
    for beta in (0.05, 2.0):
        for _ in range(2000):
            beta = adapted(beta, 2 / beta, target=8.0, n_replies=64, horizon=1000)
        assert beta == pytest.approx(0.25, rel=1e-3)


def test_refuses_a_target_of_0():
    with pytest.raises(ValueError, match=r"target=0\.0"):
        adapted(0.1, 1.0, target=0.0, n_replies=64, horizon=1000)
    with pytest.raises(ValueError, match="horizon=0"):
        adapted(0.1, 1.0, target=1.0, n_replies=64, horizon=0)
