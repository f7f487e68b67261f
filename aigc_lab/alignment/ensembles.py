"""Several reward models: their mean, their worst, and how much they differ where.

Members that learned from other votes agree where the votes taught them something, and differ where
they guess. Their scores are brought to one scale first, mean 0 and deviation 1 on some replies.

Source: Coste et al. 2024.
"""

from collections.abc import Sequence

import torch

from aigc_lab.alignment.labellers import Pair
from aigc_lab.alignment.reward import score_replies
from aigc_lab.data.chat import Message
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.chat import replies
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT
from aigc_lab.models.reward_model import RewardModel

NEAR = "as the votes' replies"


def strange_replies(
    model: GPT, tokenizer: Tokenizer, pairs: Sequence[Pair]
) -> tuple[list[Sequence[Message]], dict[str, list[str]]]:
    """Replies of the kind that was voted on, and three kinds that were not.

    Returns:
        The conversations that they answer, one for each pair, and the replies by kind.
    """
    near = [pair.first for pair in pairs]
    conversations = [pair.prompt.messages for pair in pairs]
    chance = torch.Generator().manual_seed(0)
    hot = replies(model, tokenizer, conversations, Sampling(1.5), generator=chance)
    return conversations, {
        NEAR: near,
        "temperature 1.5": [reply.text or "." for reply in hot],
        "two stories in one": [f"{a} {b}" for a, b in zip(near, [*near[1:], near[0]], strict=True)],
        "one sentence five times": [" ".join([text.split(".")[0] + "."] * 5) for text in near],
    }


def common_scale(
    members: Sequence[RewardModel],
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[Message]],
    texts: Sequence[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each member's scores on some replies, `(M, 1)` each."""
    scores = score_replies(members, tokenizer, conversations, texts)
    return scores.mean(1, keepdim=True), scores.std(1, keepdim=True)


def scaled_scores(
    members: Sequence[RewardModel],
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[Message]],
    texts: Sequence[str],
    scale: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Scores of all members on one scale, `(M, N)`; `scale` as of `common_scale`."""
    mean, std = scale
    return (score_replies(members, tokenizer, conversations, texts) - mean) / std


def disagreement(scores: torch.Tensor) -> float:
    """How far members' scores `(M, N)` lie apart: their deviation, its mean over the replies."""
    return scores.std(0, correction=0).mean().item()
