"""Beam search: keep the n most likely beginnings, and extend them all at each step.

Greedy decoding keeps one beginning and cannot take a choice back. Beam search keeps `n_beams`; a
beginning that looked second best may win in the end. Finished texts of different lengths are
compared by

    score = log-probability / length ** length_penalty

for otherwise the shorter one nearly always wins: each further token can only lower the
log-probability.

Sources: Wu et al. 2016 (a penalty for length); the rule of when to stop is that of the
`transformers` library.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from aigc_lab.models.gpt import GPT, KVCache
from aigc_lab.models.modes import evaluation_mode


@dataclass(frozen=True)
class Hypothesis:
    """A text that beam search has found.

    Args:
        tokens: the new tokens; the last one is a stop token, unless there was no more room.
        log_probability: of these tokens after the prompt, in nats.
        score: `log_probability / len(tokens) ** length_penalty`, by which texts are ordered.
    """

    tokens: list[int]
    log_probability: float
    score: float


@torch.no_grad()
def beam_search(
    model: GPT,
    prompt: torch.Tensor,
    max_new_tokens: int,
    n_beams: int = 4,
    *,
    length_penalty: float = 1.0,
    stop_tokens: Collection[int] = (),
    early_stopping: bool = False,
) -> list[Hypothesis]:
    """The best texts that a search with `n_beams` beams finds, best first.

    Args:
        model: set to evaluation mode while searching.
        prompt: one prompt, `(1, T)`.
        max_new_tokens: where a text ends at the latest.
        n_beams: number of beginnings that are kept, and of texts that are returned (fewer where
            there are not so many). With 1 this is greedy decoding.
        length_penalty: the power of the length in the score. 0 compares log-probabilities,
            1 their mean for each token, more prefers long texts.
        stop_tokens: ids that end a text.
        early_stopping: stop as soon as `n_beams` texts have ended. Otherwise go on until the best
            beginning, with the length that it has now, scores no better than the worst of them.

    Raises:
        ValueError: not one prompt, an empty one, no beam, no room for the new tokens.
    """
    _check(model, prompt, max_new_tokens, n_beams)
    with evaluation_mode(model):
        return _search(
            model, prompt, max_new_tokens, n_beams, length_penalty, set(stop_tokens), early_stopping
        )


def _search(model, prompt, max_new_tokens, n_beams, length_penalty, stop_tokens, early_stopping):
    weights = model.embedding.weight
    total = prompt.shape[1] + max_new_tokens
    cache = KVCache(model.config, 1, total, weights.dtype, weights.device)
    # Of the candidates at most n_beams for each stop token end, so n_beams are left to go on with.
    n_candidates = max(2, 1 + len(stop_tokens)) * n_beams
    ended: list[Hypothesis] = []
    beginnings: list[list[int]] = [[]]
    sums = torch.zeros(1, device=weights.device)  # log-probability of each beginning, (B,)
    new = prompt  # (B, T) first, then (B, 1)
    for length in range(1, max_new_tokens + 1):
        logits = model(new, cache=cache, last_only=True)[:, -1].float()  # (B, V)
        candidates = (sums[:, None] + logits.log_softmax(dim=-1)).flatten()  # (B·V,)
        best = candidates.topk(min(n_candidates, len(candidates)))
        rows, tokens, kept = [], [], []  # of the beginnings that go on
        for place, (index, value) in enumerate(zip(*_lists(best), strict=True)):
            row, token = divmod(index, model.config.vocab_size)
            if token in stop_tokens or length == max_new_tokens:
                if place < n_beams:  # what is no better than n_beams others has lost
                    score = value / length**length_penalty
                    ended.append(Hypothesis([*beginnings[row], token], value, score))
            elif len(kept) < n_beams:
                rows.append(row)
                tokens.append(token)
                kept.append(value)
        ended = sorted(ended, key=lambda hypothesis: -hypothesis.score)[:n_beams]
        if not kept or _is_over(ended, kept[0], length, n_beams, length_penalty, early_stopping):
            break
        beginnings = [[*beginnings[row], token] for row, token in zip(rows, tokens, strict=True)]
        sums = torch.tensor(kept, device=weights.device)
        new = torch.tensor(tokens, device=weights.device)[:, None]
        reorder(cache, rows)
    return ended


def _lists(best) -> tuple[list[int], list[float]]:
    return best.indices.tolist(), best.values.tolist()


def _is_over(ended, best_sum, length, n_beams, length_penalty, early_stopping) -> bool:
    """Whether `n_beams` texts have ended and the best beginning promises nothing better."""
    if len(ended) < n_beams:
        return False
    return early_stopping or best_sum / length**length_penalty <= ended[-1].score


def reorder(cache: KVCache, rows: list[int]) -> None:
    """Give the cache the sequences `rows` of those that it holds; one may be named repeatedly."""
    cache.keys, cache.values = cache.keys[:, rows], cache.values[:, rows]


def _check(model: GPT, prompt: torch.Tensor, max_new_tokens: int, n_beams: int) -> None:
    if prompt.dim() != 2 or prompt.shape[0] != 1 or prompt.shape[1] == 0:
        raise ValueError(
            f"prompt must have shape (1, T) with at least one token, not {tuple(prompt.shape)}: "
            "search for each prompt by itself"
        )
    if n_beams < 1:
        raise ValueError(f"n_beams={n_beams} must be at least 1")
    room = model.config.context_length + 1 - prompt.shape[1]
    if not 0 <= max_new_tokens <= room:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} and max_new_tokens={max_new_tokens} do not fit into "
            f"the context of {model.config.context_length} tokens: shorten the prompt or write less"
        )
