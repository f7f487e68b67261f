"""A prompt with few possible replies: here the best policy can be written down.

    maximise over π:  J(π) = Σ_y π(y) r(y) − β KL(π‖π_ref)
    solved by         π*(y) = π_ref(y) exp(r(y)/β) / Z        with J(π*) = β log Z

Shapes: K replies; policies and rewards are numpy arrays `(K,)`.

Sources: Korbak et al. 2022 (the optimum), Rafailov et al. 2023 (from it to DPO).
"""

from collections.abc import Sequence

import numpy as np
import torch

from aigc_lab.alignment.bandit import kl_divergence, softmax
from aigc_lab.alignment.dpo import DPOSettings, dpo_loss


def best_policy(ref: np.ndarray, rewards: np.ndarray, beta: float) -> np.ndarray:
    """π* ∝ π_ref · exp(r/β), `(K,)`.

    Args:
        ref: probabilities of the replies under the reference, `(K,)`, which sum to 1.
        rewards: of the replies, `(K,)`.
        beta: price of a nat of distance from the reference.

    Raises:
        ValueError: a β that is not above 0, other shapes, or what are no probabilities.
    """
    if not beta > 0:
        raise ValueError(f"beta={beta} must be above 0: without a price the best reply gets it all")
    if ref.shape != rewards.shape or ref.ndim != 1:
        raise ValueError(
            f"ref has shape {ref.shape} and rewards {rewards.shape}: both must be (K,)"
        )
    if (ref <= 0).any() or abs(ref.sum() - 1) > 1e-6:
        raise ValueError("ref must be probabilities above 0 that sum to 1: divide by their sum")
    return softmax(np.log(ref) + rewards / beta)


def objective(policy: np.ndarray, ref: np.ndarray, rewards: np.ndarray, beta: float) -> float:
    """J(π): mean reward less the price of the distance."""
    return float(policy @ rewards) - beta * kl_divergence(policy, ref)


def frontier(
    ref: np.ndarray, rewards: np.ndarray, betas: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """KL and mean reward of the best policy for each β; no policy gets more at the same KL."""
    policies = [best_policy(ref, rewards, beta) for beta in betas]
    distances = [kl_divergence(policy, ref) for policy in policies]
    return np.array(distances), np.array([policy @ rewards for policy in policies])


def priced(policy: np.ndarray, ref: np.ndarray, rewards: np.ndarray, beta: float) -> np.ndarray:
    """r(y) − β log(π(y)/π_ref(y)), `(K,)`: what PPO rewards, and the same for all y at the optimum.

    The gradient of J is the policy gradient with these as rewards: the policy inside the logarithm
    adds nothing, for the mean of ∇ log π is 0.
    """
    return rewards - beta * np.log(policy / ref)


def draw_votes(
    ref: np.ndarray, rewards: np.ndarray, n_votes: int, rng: np.random.Generator
) -> np.ndarray:
    """Votes of a labeller with these rewards on pairs from the reference: `(n_votes, 2)`.

    Each row holds the numbers of the chosen reply and of the rejected one. A pair of a reply with
    itself is drawn again.

    Raises:
        ValueError: a reference that always says the same.
    """
    if (ref > 0).sum() < 2:
        raise ValueError(f"ref={ref} has only one reply: there are no pairs to vote on")
    pairs = np.empty((0, 2), dtype=int)
    while len(pairs) < n_votes:
        drawn = rng.choice(len(ref), size=(n_votes, 2), p=ref)
        pairs = np.concatenate([pairs, drawn[drawn[:, 0] != drawn[:, 1]]])
    pairs = pairs[:n_votes]
    first, second = rewards[pairs].T
    is_first = rng.random(n_votes) < 1 / (1 + np.exp(second - first))  # Bradley-Terry
    return np.where(is_first[:, None], pairs, pairs[:, ::-1])


def fit_votes(
    votes: np.ndarray,
    ref: np.ndarray,
    settings: DPOSettings,
    n_steps: int = 300,
    lr: float = 0.1,
) -> np.ndarray:
    """DPO with a logit for each reply: the policy after every step of Adam, `(n_steps, K)`.

    Args:
        votes: `(n, 2)`, the numbers of chosen and rejected replies.
        ref: `(K,)`, where it begins.
        settings: of the loss.
        n_steps, lr: of the optimisation.

    Raises:
        ValueError: no votes.
    """
    if not len(votes):
        raise ValueError("there are no votes: draw more pairs")
    kinds, counts = np.unique(votes, axis=0, return_counts=True)  # equal votes have equal losses
    weights = torch.from_numpy(counts / counts.sum())
    chosen, rejected = torch.from_numpy(kinds).unbind(1)
    ref_logs = torch.from_numpy(np.log(ref))
    logits = ref_logs.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=lr)
    policies = []
    for _ in range(n_steps):
        logs = logits.log_softmax(0)
        losses = dpo_loss(
            logs[chosen], logs[rejected], ref_logs[chosen], ref_logs[rejected], settings
        )
        optimizer.zero_grad()
        (weights * losses).sum().backward()
        optimizer.step()
        policies.append(logits.detach().softmax(0).numpy())
    return np.array(policies)
