"""How far a policy is from its reference: estimates from samples, and a penalty that adapts.

With r = π_ref(x)/π(x) for a token x drawn from π, three estimates of KL(π‖π_ref):

    k1 = −log r               mean exact, noisy, may be negative
    k2 = (log r)² / 2         always ≥ 0, mean a little off
    k3 = r − 1 − log r        mean exact, always ≥ 0

As a number to look at k3 is best. As a loss they differ more: the gradient of k1's mean is zero,
k2's is the gradient of KL(π‖π_ref), and k3's is that of KL(π_ref‖π), of the two turned round.

Source: Schulman 2020 ("Approximating KL divergence"), Ziegler et al. 2019 (the adaptive penalty).
"""

import torch


def kl_k1(log_probs: torch.Tensor, ref_log_probs: torch.Tensor) -> torch.Tensor:
    """k1 for each token, in nats; arguments and result of one shape, such as `(B, R)`."""
    return log_probs - ref_log_probs


def kl_k2(log_probs: torch.Tensor, ref_log_probs: torch.Tensor) -> torch.Tensor:
    """k2 for each token, in nats."""
    return (log_probs - ref_log_probs) ** 2 / 2


def kl_k3(log_probs: torch.Tensor, ref_log_probs: torch.Tensor) -> torch.Tensor:
    """k3 for each token, in nats."""
    log_ratio = ref_log_probs - log_probs  # log r: the reference is above
    return log_ratio.exp() - 1 - log_ratio


def adapted(coefficient: float, kl: float, target: float, n_replies: int, horizon: int) -> float:
    """The coefficient of the penalty after a step: up if KL was above its target, down if below.

    Args:
        coefficient: β so far.
        kl: mean over replies of the summed KL, in nats.
        target: that it should have.
        n_replies: in the step.
        horizon: number of replies in which β changes by up to a fifth.

    Raises:
        ValueError: a target or a horizon that is not above 0.
    """
    if target <= 0 or horizon <= 0:
        raise ValueError(f"target={target} and horizon={horizon} must be above 0")
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * n_replies / horizon)
