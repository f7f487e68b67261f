"""Policy gradients and trust regions where nothing is hidden: one choice among K answers.

A policy is a softmax of K logits, π = softmax(θ), and each answer a has a known reward r_a. So the
gradient, the curvature and the best policy within a distance can be computed, not only estimated.

Shapes: everything is a numpy array `(K,)` unless said otherwise.

Sources: Williams 1992 (REINFORCE), Kakade 2001 (natural gradient), Schulman et al. 2015 (TRPO).
"""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the answers."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p‖q) in nats; answers that p never gives do not count."""
    given = p > 0
    return float((p[given] * np.log(p[given] / q[given])).sum())


def policy_gradient(policy: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Gradient of the mean reward Σ π_a r_a with respect to the logits: π_a (r_a − Σ π r)."""
    return policy * (rewards - policy @ rewards)


def reinforce(
    policy: np.ndarray, chosen: np.ndarray, rewards: np.ndarray, baseline: float = 0.0
) -> np.ndarray:
    """Estimates of the gradient, one from each answer that was drawn: `(N, K)`.

    Args:
        policy: probabilities.
        chosen: numbers of answers drawn from the policy, `(N,)`.
        rewards: of all answers.
        baseline: is subtracted from every reward.

    Returns:
        (r_a − b) ∇ log π_a, where the gradient of log π_a is 1 for answer a, less π everywhere.
    """
    score = np.eye(len(policy))[chosen] - policy  # (N, K)
    return (rewards[chosen] - baseline)[:, None] * score


def best_baseline(policy: np.ndarray, rewards: np.ndarray) -> float:
    """The number b for which REINFORCE's estimates vary least, summed over the logits.

    E[r·|∇ log π|²] / E[|∇ log π|²]: a mean of the rewards in which answers that would push the
    logits further count more.
    """
    lengths = ((np.eye(len(policy)) - policy) ** 2).sum(1)  # |∇ log π_a|²
    weights = policy * lengths
    return float(weights @ rewards / weights.sum())


def fisher(policy: np.ndarray) -> np.ndarray:
    """The curvature of KL at its minimum, E[∇ log π ∇ log πᵀ] = diag(π) − π πᵀ: `(K, K)`."""
    return np.diag(policy) - np.outer(policy, policy)


def natural_step(logits: np.ndarray, advantages: np.ndarray, delta: float) -> np.ndarray:
    """TRPO's step: F⁻¹g, as long as the quadratic picture of KL allows; new logits.

    Maximises g·s subject to ½ sᵀFs ≤ δ, where g is the policy's gradient and F the Fisher matrix.
    """
    policy = softmax(logits)
    gradient = policy_gradient(policy, advantages)
    direction = np.linalg.pinv(fisher(policy), hermitian=True) @ gradient
    return logits + np.sqrt(2 * delta / (gradient @ direction)) * direction


def trust_region(
    policy: np.ndarray, advantages: np.ndarray, delta: float, reverse: bool = False
) -> np.ndarray:
    """The best policy within a distance: maximises Σ π_a A_a subject to KL ≤ δ, exactly.

    Args:
        policy: the old one, every answer possible.
        advantages: A, not all equal.
        delta: δ in nats, above 0.
        reverse: False bounds KL(new‖old), as RLHF's penalty does; the solution is
            π_old·exp(A/η)/Z. True bounds KL(old‖new), as TRPO does; the solution is
            π_old·c/(μ − A) with μ above every A.

    Returns:
        The new policy. Where even the sure choice of the best answer is within δ, nearly that.

    Raises:
        ValueError: δ that is not above 0, or advantages that are all equal.
    """
    if not delta > 0:
        raise ValueError(f"delta={delta} must be above 0: no policy is nearer than the old one")
    spread = advantages.max() - advantages.min()
    if spread == 0:
        raise ValueError("all advantages are equal: every policy is as good as the old one")
    above = (advantages - advantages.max()) / spread  # in [−1, 0]

    def at(log_pressure: float) -> np.ndarray:
        pressure = np.exp(log_pressure)  # 1/η, or 1/(μ − A) of the best answer
        factors = 1 / (1 / pressure - above) if reverse else np.exp(pressure * above)
        return policy * factors / (policy @ factors)

    low, high = -40.0, 40.0
    for _ in range(200):  # KL grows with the pressure
        middle = (low + high) / 2
        new = at(middle)
        kl = kl_divergence(policy, new) if reverse else kl_divergence(new, policy)
        low, high = (middle, high) if kl < delta else (low, middle)
    return at(low)
