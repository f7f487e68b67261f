"""From one score for a reply to an advantage for each of its tokens.

Shapes: B replies, R columns of replies; everything is kept per token, `(B, R)`, with a mask that is
True for the replies' tokens, ends included.

Sources: Schulman et al. 2016 (generalised advantage estimation), Ziegler et al. 2019 (the rewards).
"""

import torch


def token_rewards(
    scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_coefficient: float
) -> torch.Tensor:
    """−β·KL at every token of a reply, plus the score at its last.

    Args:
        scores: of whole replies, `(B,)`.
        kl: log π − log π_ref of each token, in nats, `(B, R)`.
        mask: `(B, R)`.
        kl_coefficient: β.

    Returns:
        `(B, R)`, 0 for padding.
    """
    rewards = torch.where(mask, -kl_coefficient * kl, 0.0)
    last = mask.sum(1) - 1  # replies begin in column 0 and have no gaps
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def advantages_of(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> torch.Tensor:
    """Generalised advantage estimation, from the last token to the first.

        δ_t = r_t + γ V_{t+1} − V_t        A_t = δ_t + γ λ A_{t+1}

    After the last token there is no value and no advantage; what stands in the padding is never
    read.

    Returns:
        `(B, R)`, 0 for padding.

    Source: Schulman et al. 2016.
    """
    values = torch.where(mask, values, 0.0)
    advantages = torch.zeros_like(rewards)
    following, next_value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        surprise = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(mask[:, t], surprise + gamma * lam * following, 0.0)
        advantages[:, t], next_value = following, values[:, t]
    return advantages


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """Share of the returns' variance that the values foresee; 0 for values that know nothing."""
    rest = (returns - values)[mask].var(correction=0)
    return (1 - rest / returns[mask].var(correction=0).clamp(min=1e-8)).item()
