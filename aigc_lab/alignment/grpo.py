"""Group-relative policy optimisation: PPO whose baseline is a group of replies to the same prompt.

There is no value head. G replies to each prompt are scored; a reply's advantage is how much better
than its group it is, the same for all of its tokens. Where a whole group has the same score there
is nothing to learn.

Shapes: P prompts, G replies to each, B = P·G rows in the order of the prompts, R columns of
replies.

Sources: Shao et al. 2024 (GRPO), Liu et al. 2025 (Dr. GRPO: no division by deviations and
lengths), Yu et al. 2025 (DAPO: a higher clip above, no groups without differences, tokens that
count alike).
"""

from dataclasses import dataclass

import torch

from aigc_lab.alignment.kl import kl_k3
from aigc_lab.alignment.masked import masked_mean
from aigc_lab.alignment.replies import (
    ReplyBatch,
    entropy,
    reply_log_probs,
    reply_logits,
    token_log_probs,
)
from aigc_lab.alignment.rollout import Samples
from aigc_lab.models.gpt import GPT
from aigc_lab.training.optimizers import AdamW, clip_gradients

SCALES = ("group", "batch", "none")
MEANS = ("replies", "tokens", "fixed")


@dataclass(frozen=True)
class GRPOSettings:
    """How to optimise.

    Args:
        group_size: G, replies to each prompt.
        n_epochs: passes over the replies of a step.
        minibatch_size: replies of an update; 0 for all of them.
        clip: how far the ratio of new to old probability may fall below 1 before it stops to count.
        clip_high: the same above 1; by default as below.
        scale: what advantages are divided by: the standard deviation of the "group", of the
            "batch", or "none".
        mean: how the losses of tokens become one: as a mean over each reply and then over
            "replies"; over all "tokens"; or over `longest` tokens a reply, however many it has
            ("fixed").
        longest: most tokens of a reply.
        kl_coefficient: β, the price of distance from the reference, inside the loss by k3.
        temperature: of sampling; it divides the logits everywhere.
        only_informative: leave groups without differences out of the step, so that they do not
            thin out the others.
        max_norm: of the gradients.

    Raises:
        ValueError: a group of one, an unknown scale or mean, or a clip that is not above 0.
    """

    group_size: int = 8
    n_epochs: int = 1
    minibatch_size: int = 0
    clip: float = 0.2
    clip_high: float | None = None
    scale: str = "group"
    mean: str = "replies"
    longest: int = 100
    kl_coefficient: float = 0.0
    temperature: float = 1.0
    only_informative: bool = False
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ValueError(
                f"group_size={self.group_size} must be at least 2: a reply alone has nothing to be "
                "compared with"
            )
        if self.scale not in SCALES:
            raise ValueError(f"scale={self.scale!r} is not one of {SCALES}")
        if self.mean not in MEANS:
            raise ValueError(f"mean={self.mean!r} is not one of {MEANS}")
        if self.clip <= 0 or (self.clip_high is not None and self.clip_high <= 0):
            raise ValueError(f"clip={self.clip} and clip_high={self.clip_high} must be above 0")


def in_groups(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Rewards `(P·G,)` as `(P, G)`.

    Raises:
        ValueError: rewards that are not whole groups.
    """
    if rewards.dim() != 1 or not len(rewards) or len(rewards) % group_size:
        raise ValueError(
            f"rewards of shape {tuple(rewards.shape)} are no groups of {group_size}: repeat each "
            "prompt so often, one after the other"
        )
    return rewards.view(-1, group_size)


def group_advantages(rewards: torch.Tensor, group_size: int, scale: str = "group") -> torch.Tensor:
    """How much better than its group each reply is, `(P·G,)`.

    Args:
        rewards: `(P·G,)`, the replies to one prompt one after the other.
        group_size: G.
        scale: as in `GRPOSettings`. The deviation is the sample's, with G − 1 below the root.

    Raises:
        ValueError: rewards that are not whole groups.
    """
    groups = in_groups(rewards, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    if scale == "group":  # 1e-4 is what keeps equal rewards at 0 and not at 0/0
        centred = centred / (groups.std(1, keepdim=True) + 1e-4)
    elif scale == "batch":
        centred = centred / (rewards.std() + 1e-4)
    return centred.flatten()


def have_differences(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """For each prompt whether its replies have different rewards: boolean `(P,)`."""
    groups = in_groups(rewards, group_size)
    return (groups != groups[:, :1]).any(1)


def token_losses(
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    settings: GRPOSettings,
    ref_log_probs: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of each token, `(B, R)`: PPO's clipped one, plus β times k3.

    Args:
        log_probs: of the replies' tokens under the policy, `(B, R)`.
        old_log_probs: under the policy that wrote them; no gradient goes into them.
        advantages: of the replies, `(B,)`.
        settings: see there.
        ref_log_probs: under the reference; needed where β is above 0.

    Raises:
        ValueError: β is above 0 and there are no log-probabilities of a reference.
    """
    ratio = (log_probs - old_log_probs.detach()).exp()
    high = settings.clip if settings.clip_high is None else settings.clip_high
    clipped = ratio.clamp(1 - settings.clip, 1 + high)
    losses = -torch.min(ratio * advantages[:, None], clipped * advantages[:, None])
    if settings.kl_coefficient:
        if ref_log_probs is None:
            raise ValueError("kl_coefficient is above 0: give the reference's log-probabilities")
        losses = losses + settings.kl_coefficient * kl_k3(log_probs, ref_log_probs.detach())
    return losses


def mean_of_tokens(
    losses: torch.Tensor, mask: torch.Tensor, settings: GRPOSettings
) -> torch.Tensor:
    """One loss from those of tokens, `(B, R)`; what is masked does not count."""
    if settings.mean == "replies":
        return masked_mean(losses, mask, dim=1).mean()
    total = torch.where(mask, losses, 0.0).sum()
    if settings.mean == "tokens":
        return total / mask.sum()
    return total / (len(mask) * settings.longest)


def grpo_step(
    policy: GPT,
    ref_model: GPT | None,
    optimizer: AdamW,
    samples: Samples,
    rewards: torch.Tensor,
    settings: GRPOSettings,
    generator: torch.Generator,
) -> dict[str, float]:
    """Learn from replies that were sampled from `policy` just now.

    Args:
        policy: changes in place; in evaluation mode, since dropout would change the ratios.
        ref_model: the policy before all training; None is enough where β is 0.
        optimizer: of the parameters that learn.
        samples, rewards: G replies to each prompt one after the other, and their rewards `(B,)`.
        settings: see there.
        generator: of the order of the replies.

    Returns:
        What the dashboard shows: "reward", "kl" to the reference (k3 summed over a reply, in nats;
        0 without a reference), "entropy" in nats per token, "length" in tokens, "ended",
        "no_difference" (share of groups), "loss", "gradient_norm", "clip_fraction", all of the
        last pass.
    """
    keep = have_differences(rewards, settings.group_size)
    advantages = group_advantages(rewards, settings.group_size, settings.scale)
    batch, mask = samples.batch, samples.batch.reply_mask
    with torch.no_grad():
        logits = reply_logits(policy, batch, settings.temperature)
        old = torch.where(mask, token_log_probs(logits, batch.replies), 0.0)
        spread = masked_mean(entropy(logits), mask).item()
        ref = None if ref_model is None else reply_log_probs(ref_model, batch, settings.temperature)
    known = {
        "reward": rewards.mean().item(),
        "kl": 0.0 if ref is None else kl_k3(old, ref).sum(1).mean().item(),
        "entropy": spread,
        "length": mask.sum(1).float().mean().item(),
        "ended": samples.has_ended.float().mean().item(),
        "no_difference": 1 - keep.float().mean().item(),
    }
    rows = torch.arange(len(batch))
    if settings.only_informative:
        rows = rows[keep.repeat_interleave(settings.group_size)]
    if not len(rows):  # all groups are without differences: there is nothing to learn
        return known | {"loss": 0.0, "gradient_norm": 0.0, "clip_fraction": 0.0}
    size = settings.minibatch_size or len(rows)
    parameters = [p for p in policy.parameters() if p.requires_grad]
    for _ in range(settings.n_epochs):
        found = []
        for chosen in rows[torch.randperm(len(rows), generator=generator)].split(size):
            some = None if ref is None else ref[chosen]
            loss, outside = _loss(
                policy, batch.rows(chosen), old[chosen], some, advantages[chosen], settings
            )
            optimizer.zero_grad()
            loss.backward()
            norm = clip_gradients(parameters, settings.max_norm)
            optimizer.step()
            found.append((loss.item(), float(norm), outside))
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return known | dict(zip(("loss", "gradient_norm", "clip_fraction"), means, strict=True))


def _loss(
    policy: GPT,
    batch: ReplyBatch,
    old: torch.Tensor,
    ref: torch.Tensor | None,
    advantages: torch.Tensor,
    settings: GRPOSettings,
) -> tuple[torch.Tensor, float]:
    log_probs, mask = reply_log_probs(policy, batch, settings.temperature), batch.reply_mask
    losses = token_losses(log_probs, old, advantages, settings, ref)
    ratio = (log_probs.detach() - old).exp()
    high = settings.clip if settings.clip_high is None else settings.clip_high
    outside = ((ratio < 1 - settings.clip) | (ratio > 1 + high)).float()
    return mean_of_tokens(losses, mask, settings), masked_mean(outside, mask).item()
