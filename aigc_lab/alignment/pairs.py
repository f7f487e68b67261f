"""Preferences as batches: each answer that was chosen beside the one that was rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aigc_lab.alignment.replies import ReplyBatch, make_reply_batch
from aigc_lab.data.chat import encode_prompt, encode_reply
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class PairBatch:
    """B pairs.

    Attributes:
        replies: 2·B rows: the chosen replies, then the rejected ones of the same prompts.
        margins: how much better each chosen reply is, `(B,)`; 0 where that is not known.
    """

    replies: ReplyBatch
    margins: torch.Tensor

    @property
    def n_targets(self) -> int:
        """Number of pairs: what a mean over the batch is taken over."""
        return len(self.margins)

    @property
    def shape(self) -> torch.Size:
        """Rows and columns of the tokens."""
        return self.replies.tokens.shape

    def to(self, device: torch.device | str) -> "PairBatch":
        """The same on another device."""
        return PairBatch(self.replies.to(device), self.margins.to(device))


def make_pair_batch(
    tokenizer: Tokenizer, preferences: Sequence[Preference], context_length: int
) -> PairBatch:
    """Encode preferences.

    Raises:
        ValueError: no preferences, or one that is longer than the context; names its row.
    """
    if not preferences:
        raise ValueError("there are no preferences: an empty list makes no batch")
    prompts = [encode_prompt(tokenizer, pair.messages) for pair in preferences]
    texts = [pair.chosen for pair in preferences] + [pair.rejected for pair in preferences]
    replies = [encode_reply(tokenizer, text) for text in texts]
    return PairBatch(
        make_reply_batch(prompts * 2, replies, context_length),
        torch.tensor([pair.margin or 0.0 for pair in preferences]),
    )


class PairSource:
    """Batches of preferences, each of them once before any comes again.

    Args:
        tokenizer: with the marks of the chat template.
        preferences: at least `batch_size` of them.
        context_length: of the model.
        batch_size: pairs of a batch.
        seed: of the order.

    Raises:
        ValueError: fewer preferences than a batch has.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        preferences: Sequence[Preference],
        context_length: int,
        batch_size: int,
        seed: int = 0,
    ):
        if not 1 <= batch_size <= len(preferences):
            raise ValueError(
                f"batch_size={batch_size} must lie between 1 and the number of preferences, "
                f"{len(preferences)}"
            )
        self.tokenizer, self.preferences = tokenizer, preferences
        self.context_length, self.batch_size, self.seed = context_length, batch_size, seed

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches until all preferences were seen; the rest of them waits for the next."""
        return len(self.preferences) // self.batch_size

    def batch(self, step: int) -> PairBatch:
        """The batch of a step, the same whenever it is asked for."""
        epoch, number = divmod(step, self.batches_per_epoch)
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.preferences), generator=chance)
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        some = [self.preferences[i] for i in chosen.tolist()]
        return make_pair_batch(self.tokenizer, some, self.context_length)
