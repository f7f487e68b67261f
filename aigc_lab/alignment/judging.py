"""What aligning has changed: a policy beside the one it came from, on prompts it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aigc_lab.alignment.replies import reply_log_probs
from aigc_lab.alignment.rollout import Samples, sample_replies
from aigc_lab.data.tiny_world.taste import StoryPrompt, Taste, story_traits
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import merged_lora


@dataclass(frozen=True)
class Judged:
    """Replies with their gold worth.

    Attributes:
        samples: the replies.
        gold: worth of each by the reader's taste, `(N,)`.
        kl: log π − log π_ref of each reply, in nats, `(N,)`; its mean estimates KL(π‖π_ref).
    """

    samples: Samples
    gold: torch.Tensor
    kl: torch.Tensor


@torch.no_grad()
def judge_policy(
    policy: GPT,
    ref_model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[StoryPrompt],
    seed: int = 0,
    taste: Taste | None = None,
    batch_size: int = 256,
) -> Judged:
    """Let a policy write a story for each prompt, and judge it by the gold reward.

    Args:
        policy: the one to judge.
        ref_model: the one that it came from.
        tokenizer: theirs.
        prompts: requests for stories.
        seed: of the sampling.
        taste: of the reader; by default the book's.
        batch_size: so many at once.
    """
    kl, generator = [], torch.Generator().manual_seed(seed)
    samples = sample_replies(policy, tokenizer, prompts, generator=generator)
    with merged_lora(policy):
        for rows in torch.arange(len(prompts)).split(batch_size):
            batch = samples.batch.rows(rows)
            kl.append((reply_log_probs(policy, batch) - reply_log_probs(ref_model, batch)).sum(1))
    return Judged(samples, gold_of(samples, taste), torch.cat(kl))


def gold_of(samples: Samples, taste: Taste | None = None) -> torch.Tensor:
    """What a reader says that each story is worth, `(B,)`; by default the book's reader."""
    taste = taste or Taste()
    pairs = zip(samples.prompts, samples.texts, strict=True)
    return torch.tensor([taste.utility(prompt.request, text) for prompt, text in pairs])


def win_rate(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Share of prompts for which our reply is worth more; a tie counts half."""
    return ((ours > theirs).float() + (ours == theirs).float() / 2).mean().item()


def policy_scores(judged: Judged, before: Judged) -> dict[str, float]:
    """A policy's scores beside those of the one before it, on the same prompts.

    Returns:
        "gold" and "gold_before", means; "sd_before", the deviation over replies; "gain", the
        difference in units of it; "win_rate" against the policy before; "kl" in nats for each
        reply; "length" in tokens, "ended", "happy" and "earned" ends, "happenings", "errors",
        "unmet" constraints and "sentences", means for each reply.
    """
    sd = before.gold.std().item()
    traits = [
        story_traits(prompt.request, text)
        for prompt, text in zip(judged.samples.prompts, judged.samples.texts, strict=True)
    ]

    def mean(name: str) -> float:
        return sum(float(getattr(t, name)) for t in traits) / len(traits)

    gold, gold_before = judged.gold.mean().item(), before.gold.mean().item()
    return {
        "gold": gold,
        "gold_before": gold_before,
        "sd_before": sd,
        "gain": (gold - gold_before) / sd,
        "win_rate": win_rate(judged.gold, before.gold),
        "kl": judged.kl.mean().item(),
        "length": judged.samples.batch.reply_mask.sum(1).float().mean().item(),
        "ended": judged.samples.has_ended.float().mean().item(),
        "happy": mean("happy_end"),
        "earned": mean("is_earned"),
        "happenings": mean("n_happenings"),
        "errors": mean("n_errors"),
        "unmet": mean("n_unmet"),
        "sentences": mean("n_sentences"),
    }
