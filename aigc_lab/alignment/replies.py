"""Prompts with replies as one batch, and how likely a model finds the replies.

    columns      0 .. Q-1                          Q .. Q+R-1
    row          [pad, pad, prompt ... mark]       [reply ... end, pad, pad]

Prompts are padded on the left, so that all replies begin in the same column; replies are padded on
the right. Which token fills the padding says nothing: what is padding is known from the lengths
alone. (Where it is told by the id of the padding token, and that is also the end of a reply, no
model ever learns to stop.)

Shapes: B rows, Q columns of prompts, R columns of replies, T = Q + R, V tokens in the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aigc_lab.models.gpt import GPT


@dataclass(frozen=True)
class ReplyBatch:
    """Prompts and replies.

    Attributes:
        tokens: ids `(B, Q + R)`.
        attention_mask: boolean `(B, Q + R)`, False for padding.
        n_prompt: Q.
    """

    tokens: torch.Tensor
    attention_mask: torch.Tensor
    n_prompt: int

    @property
    def replies(self) -> torch.Tensor:
        """Ids of the replies `(B, R)`."""
        return self.tokens[:, self.n_prompt :]

    @property
    def reply_mask(self) -> torch.Tensor:
        """Boolean `(B, R)`, True for the tokens of replies, their end included."""
        return self.attention_mask[:, self.n_prompt :]

    def rows(self, chosen: torch.Tensor) -> "ReplyBatch":
        """Some of the rows, by number."""
        return ReplyBatch(self.tokens[chosen], self.attention_mask[chosen], self.n_prompt)

    def to(self, device: torch.device | str) -> "ReplyBatch":
        """The same on another device."""
        return ReplyBatch(self.tokens.to(device), self.attention_mask.to(device), self.n_prompt)

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.tokens)


def make_reply_batch(
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
    context_length: int,
    pad_token: int = 0,
) -> ReplyBatch:
    """Pad prompts on the left and replies on the right.

    Args:
        prompts: token ids, with the mark after which the assistant speaks (`encode_prompt`).
        replies: token ids, with the token that ends a reply, if it was ended.
        context_length: most tokens of a prompt with its reply.
        pad_token: fills the padding; any id will do.

    Raises:
        ValueError: not as many replies as prompts, none at all, an empty prompt or reply, or a
            prompt that is longer than the context with its reply; names the row. Also rows that
            fit alone, but not padded to one width.
    """
    if len(prompts) != len(replies) or not prompts:
        raise ValueError(f"{len(prompts)} prompts and {len(replies)} replies: give one for each")
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        if not prompt or not reply:
            raise ValueError(f"row {row} has an empty {'prompt' if reply else 'reply'}")
        if len(prompt) + len(reply) > context_length:
            raise ValueError(
                f"row {row}: a prompt of {len(prompt)} tokens with a reply of {len(reply)} is "
                f"longer than the context of {context_length}: shorten the prompt or leave it out"
            )
    n_prompt, n_reply = max(map(len, prompts)), max(map(len, replies))
    if n_prompt + n_reply > context_length:
        raise ValueError(
            f"the longest prompt has {n_prompt} tokens and the longest reply, of another row, "
            f"{n_reply}: side by side they need more columns than the context of "
            f"{context_length}. Put rows of like lengths into a batch"
        )
    tokens = torch.full((len(prompts), n_prompt + n_reply), pad_token)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        columns = slice(n_prompt - len(prompt), n_prompt + len(reply))
        tokens[row, columns] = torch.tensor([*prompt, *reply])
        mask[row, columns] = True
    return ReplyBatch(tokens, mask, n_prompt)


def reply_logits(model: GPT, batch: ReplyBatch, temperature: float = 1.0) -> torch.Tensor:
    """The logits from which each token of the replies is drawn, `(B, R, V)`.

    The logits of a column are those of the token after it, so the slice begins one column before
    the replies and ends one before the last.

    Args:
        model: a GPT, in evaluation mode: dropout would make each pass another model.
        batch: prompts and replies.
        temperature: by which logits are divided where replies are drawn; it must be the same
            everywhere.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0: greedy has no probabilities")
    logits = model(batch.tokens, attention_mask=batch.attention_mask)  # (B, T, V)
    return logits[:, batch.n_prompt - 1 : -1] / temperature


def token_log_probs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log p of each token in nats, `(B, R)`, from logits `(B, R, V)` and ids `(B, R)`."""
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


def reply_log_probs(model: GPT, batch: ReplyBatch, temperature: float = 1.0) -> torch.Tensor:
    """log p of each token of the replies, given all before it, in nats.

    Returns:
        `(B, R)`, 0 for padding.

    Raises:
        ValueError: as `reply_logits`.
    """
    log_probs = token_log_probs(reply_logits(model, batch, temperature), batch.replies)
    return torch.where(batch.reply_mask, log_probs, 0.0)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy in nats of the distributions with logits `(..., V)`: `(...)`."""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)
