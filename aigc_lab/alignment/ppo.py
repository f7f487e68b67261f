"""RLHF with proximal policy optimisation: a policy learns to write what a reward scores highly.

A step: replies are sampled from the policy; scored; turned into one reward per token, with the
score at the last and a price for leaving the reference everywhere; advantages say which tokens
came out better than the value head expected; and a few passes over the replies raise the
probability of those, by a ratio of at most 1 ± clip.

Shapes: B replies, R columns of replies, V tokens in the vocabulary. Numbers are kept per token,
`(B, R)`, with a mask that is True for the replies' tokens, ends included.

Sources: Schulman et al. 2017 (PPO), Ziegler et al. 2019 and Stiennon et al. 2020 (on language),
Huang et al. 2024 (the details).
"""

from dataclasses import dataclass

import torch

from aigc_lab.alignment.actor import ActorCritic
from aigc_lab.alignment.gae import advantages_of, explained_variance, token_rewards
from aigc_lab.alignment.kl import adapted, kl_k1, kl_k3
from aigc_lab.alignment.masked import masked_mean, whiten
from aigc_lab.alignment.replies import ReplyBatch, entropy, reply_log_probs, token_log_probs
from aigc_lab.alignment.rollout import Samples
from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.training.optimizers import AdamW, clip_gradients


@dataclass(frozen=True)
class PPOSettings:
    """How to optimise.

    Args:
        n_epochs: passes over the replies of a step.
        minibatch_size: replies of an update.
        lr: learning rate at the start; the loop of `aigc_lab.alignment.running` lets it fall to 0.
        clip: how far the ratio of new to old probability may leave 1 before it stops to count.
        value_clip: the same for the change of a value.
        value_weight: of the value's loss beside the policy's.
        gamma: discount of later rewards for each token; 1 for none.
        lam: λ of the advantages: 1 trusts only what came, 0 only the next value.
        kl_coefficient: β, the price of a nat of distance from the reference.
        kl_target: distance in nats for each reply to which β adapts itself; None keeps it fixed.
        kl_horizon: number of replies in which β changes by up to a fifth.
        temperature: of sampling; it divides the logits everywhere.
        missing_end: score of a reply that was cut off, in place of the reward's.
        whiten_rewards: whether rewards are divided by their standard deviation.
        max_norm: of the gradients.
    """

    n_epochs: int = 4
    minibatch_size: int = 32
    lr: float = 3e-4
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    kl_coefficient: float = 0.1
    kl_target: float | None = None
    kl_horizon: int = 1000
    temperature: float = 1.0
    missing_end: float = -1.0
    whiten_rewards: bool = False
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_epochs", "minibatch_size", "kl_horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("lr", "clip", "value_clip", "temperature", "max_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")
        if self.kl_target is not None and not self.kl_target > 0:
            raise ValueError(f"kl_target={self.kl_target} must be above 0, or None for a fixed β")


def ppo_optimizer(actor: ActorCritic, settings: PPOSettings) -> AdamW:
    """Adam for what learns of a policy and its value head.

    Without decay, which would pull the policy away from its reference; with a larger eps than
    usual, so that numbers whose gradients are nearly nothing do not move at full speed.
    """
    learning = [p for p in actor.parameters() if p.requires_grad]
    return AdamW(learning, lr=settings.lr, eps=1e-5, weight_decay=0.0)


@dataclass(frozen=True)
class Experience:
    """What is known of the replies before the first update; all but the batch `(B, R)`."""

    batch: ReplyBatch
    log_probs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> "Experience":
        """Some of the replies, by number."""
        parts = (self.log_probs, self.values, self.advantages, self.returns)
        return Experience(self.batch.rows(chosen), *(part[chosen] for part in parts))


def policy_loss(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """PPO's loss of each token: −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), with ρ = π/π_old.

    The minimum takes the clip away where it would hide a loss: a token that became likelier by
    mistake is pushed back however far it went.
    """
    ratio = (log_probs - old_log_probs).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float
) -> torch.Tensor:
    """Half the squared error of each value, the larger with and without a clipped change."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.max((values - returns) ** 2, (near - returns) ** 2) / 2


def ppo_step(
    actor: ActorCritic,
    ref_model: GPT,
    optimizer: AdamW,
    samples: Samples,
    scores: torch.Tensor,
    settings: PPOSettings,
    generator: torch.Generator,
) -> dict[str, float]:
    """Learn from replies that were sampled from `actor.policy` just now.

    Args:
        actor: changes in place.
        ref_model: the policy before all training.
        optimizer: of the parameters that learn.
        samples, scores: replies and what the reward says of them, `(B,)`.
        settings: see there.
        generator: of the order of the replies.

    Returns:
        What the dashboard shows: "score", "kl" and "kl_k3" (summed over a reply, in nats),
        "entropy" in nats per token, "surprise" (−log π of the tokens that were drawn; its mean is
        the entropy if this policy drew them), "length" in tokens, "ended", "explained_variance" of
        the returns by the values, "kl_coefficient", "ratio_first" (the largest ratio before the
        first update: 1, or something is wrong); and of the last pass "clip_fraction", "ratio_max",
        "kl_old" from the policy that sampled, "policy_loss" and "value_loss".
    """
    batch, mask = samples.batch, samples.batch.reply_mask
    scores = torch.where(samples.has_ended, scores, settings.missing_end)
    with evaluation_mode(actor), evaluation_mode(ref_model), torch.no_grad():
        logits, values = actor(batch, settings.temperature)
        log_probs = torch.where(mask, token_log_probs(logits, batch.replies), 0.0)
        ref_log_probs = reply_log_probs(ref_model, batch, settings.temperature)
        rewards = token_rewards(
            scores, kl_k1(log_probs, ref_log_probs), mask, actor.kl_coefficient.item()
        )
        if settings.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        advantages = advantages_of(rewards, values, mask, settings.gamma, settings.lam)
        returns = advantages + values
        experience = Experience(batch, log_probs, values, whiten(advantages, mask), returns)
        k1 = kl_k1(log_probs, ref_log_probs).sum(1).mean().item()
        known = {
            "score": scores.mean().item(),
            "kl": k1,
            "kl_k3": kl_k3(log_probs, ref_log_probs).sum(1).mean().item(),
            "entropy": masked_mean(entropy(logits), mask).item(),
            "surprise": -masked_mean(log_probs, mask).item(),
            "length": mask.sum(1).float().mean().item(),
            "ended": samples.has_ended.float().mean().item(),
            "explained_variance": explained_variance(values, returns, mask),
            "kl_coefficient": actor.kl_coefficient.item(),
        }
    with evaluation_mode(actor):  # dropout would be a different policy in each pass
        updates = _optimise(actor, optimizer, experience, settings, generator)
    if settings.kl_target is not None:
        beta = adapted(
            known["kl_coefficient"], k1, settings.kl_target, len(scores), settings.kl_horizon
        )
        actor.kl_coefficient.fill_(beta)
    return known | updates


def _optimise(
    actor: ActorCritic,
    optimizer: AdamW,
    experience: Experience,
    settings: PPOSettings,
    generator: torch.Generator,
) -> dict[str, float]:
    """A few passes over the replies; what the last of them looked like."""
    n_replies, size = len(experience.batch), settings.minibatch_size
    parameters = [p for p in actor.parameters() if p.requires_grad]
    first: float | None = None
    for _ in range(settings.n_epochs):
        order = torch.randperm(n_replies, generator=generator)
        found: list[dict[str, float]] = []
        for chosen in order.split(size):
            some = experience.rows(chosen)
            loss, numbers = _loss(actor, some, settings)
            first = numbers["ratio_max"] if first is None else first
            optimizer.zero_grad()
            loss.backward()
            clip_gradients(parameters, settings.max_norm)
            optimizer.step()
            found.append(numbers)
    means = {name: sum(n[name] for n in found) / len(found) for name in found[0]}
    largest = max(numbers["ratio_max"] for numbers in found)
    return means | {"ratio_first": first, "ratio_max": largest}


def _loss(
    actor: ActorCritic, some: Experience, settings: PPOSettings
) -> tuple[torch.Tensor, dict[str, float]]:
    mask = some.batch.reply_mask
    logits, values = actor(some.batch, settings.temperature)
    log_probs = torch.where(mask, token_log_probs(logits, some.batch.replies), 0.0)
    of_policy = masked_mean(
        policy_loss(log_probs, some.log_probs, some.advantages, settings.clip), mask
    )
    of_value = masked_mean(value_loss(values, some.values, some.returns, settings.value_clip), mask)
    with torch.no_grad():
        ratio = (log_probs - some.log_probs).exp()  # 1 for padding
        outside = ((ratio - 1).abs() > settings.clip).float()
    return of_policy + settings.value_weight * of_value, {
        "policy_loss": of_policy.item(),
        "value_loss": of_value.item(),
        "clip_fraction": masked_mean(outside, mask).item(),
        "kl_old": kl_k3(some.log_probs, log_probs).detach().sum(1).mean().item(),
        "ratio_max": ratio.max().item(),
    }
