"""Translating with an encoder–decoder: greedily, or with beams.

The encoder reads the source once; the decoder then writes token after token. For clarity it reads
its own beginning anew at each step: the sentences are short.

Shapes: B sentences, N beams, T tokens written so far (with the start token), V target words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from aigc_lab.data.sentence_batches import END, PAD, START
from aigc_lab.models.modes import evaluation_mode


@dataclass(frozen=True)
class Translation:
    """What beam search found for one sentence.

    Args:
        tokens: without start and end.
        log_probability: of these tokens and, if there was room for it, the end, in nats.
        score: `log_probability / n ** length_penalty`, with n tokens, the end among them.
    """

    tokens: list[int]
    log_probability: float
    score: float


@torch.no_grad()
def translate(model: nn.Module, source: torch.Tensor, max_length: int) -> list[list[int]]:
    """The most likely next token at each step, for a batch of sentences.

    Args:
        model: with `encode` and `decode` as `Transformer` has them; set to evaluation mode
            meanwhile.
        source: ids `(B, S)`, padded on the right.
        max_length: most tokens of a translation.

    Returns:
        For each sentence the tokens before its end.

    Raises:
        ValueError: `max_length` below 1, and what `encode` and `decode` raise.
    """
    _check_length(model, max_length)
    with evaluation_mode(model):
        memory, mask = model.encode(source)
        written = torch.full((len(source), 1), START, device=source.device)
        is_over = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        for _ in range(max_length):
            logits, _ = model.decode(written, memory, mask)
            new = logits[:, -1].argmax(dim=-1).masked_fill(is_over, PAD)  # (B,)
            written = torch.cat([written, new[:, None]], dim=1)
            is_over |= new == END
            if is_over.all():
                break
    return [_before_end(row[1:]) for row in written.tolist()]


@torch.no_grad()
def beam_translate(
    model: nn.Module,
    source: torch.Tensor,
    max_length: int,
    n_beams: int = 4,
    length_penalty: float = 1.0,
) -> list[Translation]:
    """The best translations of one sentence that a search with `n_beams` beams finds.

    The search ends when no beginning can still win: with all that it may yet write it would
    score no better than the worst of `n_beams` finished ones.

    Args:
        model, max_length: as for `translate`.
        source: ids of one sentence, `(1, S)`.
        n_beams: beginnings N that are kept.
        length_penalty: power of the length in the score, at least 0.

    Returns:
        At most `n_beams` of them, best first.

    Raises:
        ValueError: not one sentence, a number below its least, and as `translate`.
    """
    _check_length(model, max_length)
    if len(source) != 1 or n_beams < 1 or length_penalty < 0:
        raise ValueError(
            f"source {tuple(source.shape)} must be one sentence (1, S), n_beams={n_beams} at least "
            f"1 and length_penalty={length_penalty} at least 0"
        )
    with evaluation_mode(model):
        return _search(model, source, max_length, n_beams, length_penalty)


def _search(model, source, max_length, n_beams, length_penalty) -> list[Translation]:
    ended: list[Translation] = []
    written = torch.full((1, 1), START, device=source.device)  # (N, T)
    sums = torch.zeros(1, device=source.device)  # log-probabilities of the beginnings, (N,)
    memory, mask = model.encode(source)
    for length in range(1, max_length + 2):  # the end token may follow max_length others
        if len(mask) != len(written):  # a copy for each beam; mostly in the second round only
            memory, mask = model.encode(source.expand(len(written), -1))
        logits, _ = model.decode(written, memory, mask)
        totals = sums[:, None] + logits[:, -1].log_softmax(dim=-1)  # (N, V)
        for row, total in enumerate(totals[:, END].tolist()):
            score = total / length**length_penalty
            ended.append(Translation(written[row, 1:].tolist(), total, score))
        ended = sorted(ended, key=lambda found: -found.score)[:n_beams]
        totals[:, [END, START, PAD]] = -torch.inf
        best = totals.flatten().topk(min(n_beams, totals.numel()))
        kept = best.values > -torch.inf
        rows, tokens = best.indices[kept] // totals.shape[1], best.indices[kept] % totals.shape[1]
        sums = best.values[kept]
        # A log-probability only falls; spread over the largest length it is as good as it gets.
        can_win = sums / (max_length + 1) ** length_penalty
        if len(ended) == n_beams and can_win.max() <= ended[-1].score:
            break
        written = torch.cat([written[rows], tokens[:, None]], dim=1)
    return ended


def _before_end(tokens: Sequence[int]) -> list[int]:
    tokens = list(tokens)
    return tokens[: tokens.index(END)] if END in tokens else tokens


def _check_length(model: nn.Module, max_length: int) -> None:
    room = model.config.max_length - 1  # the start token takes one place
    if not 1 <= max_length <= room:
        raise ValueError(f"max_length={max_length} must lie between 1 and {room}, the model's room")
