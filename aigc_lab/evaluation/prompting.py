"""How likely a model finds each of several answers after a prompt, p(answer | prompt).

Sources: Brown et al. 2020 (answers compared by their probability), Zhao et al. 2021 (calibration by
an input without content).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from aigc_lab.generation.complete import start_id
from aigc_lab.models.gpt import GPT, KVCache
from aigc_lab.models.modes import evaluation_mode


class TextCodec(Protocol):
    """What is needed of a tokenizer."""

    special_tokens: dict[str, int]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


@torch.no_grad()
def answer_log_probs(
    model: GPT,
    tokenizer: TextCodec,
    prompt: str,
    answers: Sequence[str],
    *,
    start: str = "<|endoftext|>",
    per_token: bool = False,
) -> torch.Tensor:
    """log p(answer | prompt) in nats of each answer, `(N,)`: the sum over its tokens.

    The prompt is read once; its keys and values serve all answers. Prompt and answer are encoded
    apart, as they are when a model writes. An answer that is the beginning of another, such as " 8"
    of " 85", needs what ends it (a "\\n") to be a rival of it.

    Args:
        model, tokenizer: the model and the tokenizer that it was trained with.
        prompt: beginning of a document; special tokens in it are not recognised.
        answers: what could come next.
        start: the special token that begins every document.
        per_token: divide by the number of tokens, a customary remedy against the bias towards
            short answers; what comes out are no log-probabilities any more.

    Raises:
        ValueError: no answers, an empty one, a token `start` that the tokenizer does not have, or
            more tokens than the context holds.
    """
    if not answers or "" in answers:
        raise ValueError(f"answers={list(answers)!r} must be at least one text, none of them empty")
    asked = [start_id(tokenizer, start), *tokenizer.encode(prompt)]
    rows = [tokenizer.encode(answer) for answer in answers]
    lengths = torch.tensor([len(row) for row in rows])
    longest, n_known = int(lengths.max()), len(asked) - 1
    # Padding on the right: no real token ever looks at it.
    targets = torch.tensor([row + [0] * (longest - len(row)) for row in rows])  # (N, longest)
    read = torch.cat([torch.tensor(asked[-1:]).expand(len(rows), 1), targets[:, :-1]], dim=1)
    device = model.embedding.weight.device
    cache = KVCache(model.config, len(rows), n_known + longest, device=device)
    with evaluation_mode(model):
        if n_known:
            once = KVCache(model.config, 1, n_known, device=device)
            model(torch.tensor([asked[:-1]], device=device), cache=once, last_only=True)
            cache.keys[:, :, :, :n_known] = once.keys
            cache.values[:, :, :, :n_known] = once.values
            cache.length = n_known
        logs = model(read.to(device), cache=cache).log_softmax(-1).cpu()  # (N, longest, V)
    found = logs.gather(2, targets[:, :, None])[:, :, 0]
    is_real = torch.arange(longest) < lengths[:, None]
    total = (found * is_real).sum(1)
    return total / lengths if per_token else total


def shares(log_probs: torch.Tensor) -> torch.Tensor:
    """Probabilities of the answers if it must be one of them, `(N,)` with sum 1."""
    return F.softmax(log_probs, dim=0)


def calibrate(given: torch.Tensor, without_content: torch.Tensor) -> torch.Tensor:
    """Take out of the answers' probabilities what the prompt says without any content.

    Args:
        given: probabilities of the answers, `(N,)`.
        without_content: those after the same prompt with its content left out, `(N,)`.

    Returns:
        given / without_content, scaled to sum 1: `(N,)`.

    Raises:
        ValueError: different shapes, or a probability that is 0 or less without content.

    Source: Zhao et al. 2021.
    """
    if given.shape != without_content.shape:
        raise ValueError(
            f"given {tuple(given.shape)} and without_content {tuple(without_content.shape)} must "
            "hold one probability for each answer"
        )
    if (without_content <= 0).any():
        raise ValueError(
            "an answer has probability 0 without content: nothing can be divided by it"
        )
    ratio = given / without_content
    return ratio / ratio.sum()
