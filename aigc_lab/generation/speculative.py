"""Speculative decoding: a small model guesses a few tokens, the large one checks them at once.

The large model reads k guesses in one pass, which costs hardly more than reading one token. It
keeps guesses in such a way that what is written has exactly its own distribution: a guess x, drawn
from the small model's q, is kept with probability min(1, p(x)/q(x)), where p is the large model's;
at the first guess that is not kept, a token is drawn from what p has more than q, max(0, p − q),
and the guesses after it are forgotten.

Sources: Leviathan, Kalman and Matias 2023; Chen et al. 2023.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from aigc_lab.generation.sampling import Sampling, draw
from aigc_lab.models.gpt import GPT, KVCache


@dataclass(frozen=True)
class Speculation:
    """What was written, and what it cost.

    Args:
        tokens: the new tokens, `(1, N)`.
        n_guessed: tokens that the small model guessed.
        n_kept: those of them that were kept.
        n_passes: forward passes of the large model.
    """

    tokens: torch.Tensor
    n_guessed: int
    n_kept: int
    n_passes: int

    @property
    def share_kept(self) -> float:
        """Share of the guesses that were kept, from 0 to 1 (NaN if there were none)."""
        return self.n_kept / self.n_guessed if self.n_guessed else float("nan")

    @property
    def passes_per_token(self) -> float:
        """Passes of the large model for each token; plain decoding needs 1."""
        return self.n_passes / max(1, self.tokens.shape[1])


@torch.no_grad()
def speculate(
    model: GPT,
    draft: GPT,
    prompt: torch.Tensor,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    n_guesses: int = 4,
    stop_tokens: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Speculation:
    """Write with `model`, with `draft` to guess ahead.

    With greedy sampling the tokens are those that `generate` gives (unless two logits are equal up
    to rounding); otherwise they have the same distribution.

    Args:
        model, prompt, max_new_tokens, sampling, generator: as in `generate`; one prompt, `(1, T)`.
        draft: a smaller model with the same vocabulary.
        n_guesses: tokens that are guessed before each check.
        stop_tokens: ids that end the text.

    Raises:
        ValueError: not one prompt, an empty one, no room in one of the contexts, vocabularies of
            different sizes, or no guesses.
    """
    sampling = sampling or Sampling()
    _check(model, draft, prompt, max_new_tokens, n_guesses)
    modes = model.training, draft.training
    model.eval(), draft.eval()
    try:
        text, n_guessed, n_kept, n_passes = prompt, 0, 0, 0
        end = prompt.shape[1] + max_new_tokens
        caches = [_cache_for(part, end) for part in (model, draft)]
        while text.shape[1] < end:
            # One token of each round is the large model's own, so leave room for it.
            n_ahead = min(n_guesses, end - 1 - text.shape[1])
            guesses, q = _guess(draft, caches[1], text, n_ahead, sampling, generator)
            new = _check_guesses(model, caches[0], text, guesses, q, sampling, generator)
            n_guessed, n_kept = n_guessed + n_ahead, n_kept + len(new) - 1
            n_passes += 1
            if stop := [place for place, token in enumerate(new) if token in stop_tokens]:
                new = new[: stop[0] + 1]
                end = text.shape[1] + len(new)
            text = torch.cat([text, torch.tensor([new], device=text.device)], dim=1)
            for cache in caches:  # forget what was guessed in vain; the last token is not read yet
                cache.length = min(cache.length, text.shape[1] - 1)
    finally:
        model.train(modes[0]), draft.train(modes[1])
    return Speculation(text[:, prompt.shape[1] :], n_guessed, n_kept, n_passes)


def _guess(draft, cache, text, n_ahead, sampling, generator):
    """Guesses `(1, n_ahead)`, and the distribution `(V,)` that each was drawn from."""
    guesses, q = text[:, :0], []
    for _ in range(n_ahead):
        whole = torch.cat([text, guesses], dim=1)
        logits = draft(whole[:, cache.length :], cache=cache, last_only=True)[:, -1]
        q.append(sampling.probabilities(logits, whole)[0])
        guesses = torch.cat([guesses, draw(q[-1][None], generator)[:, None]], dim=1)
    return guesses, q


def _check_guesses(model, cache, text, guesses, q, sampling, generator) -> list[int]:
    """The guesses that are kept, and one token of the large model's own."""
    whole = torch.cat([text, guesses], dim=1)
    n_read = text.shape[1]
    logits = model(whole[:, cache.length :], cache=cache)[:, -guesses.shape[1] - 1 :]
    for place, guess in enumerate(guesses[0].tolist()):
        p = sampling.probabilities(logits[:, place], whole[:, : n_read + place])[0]
        chance = torch.rand((), generator=generator, dtype=torch.double, device=p.device)
        if chance * q[place][guess] >= p[guess]:  # not kept
            own = draw(left_over(p, q[place])[None], generator)
            return [*guesses[0, :place].tolist(), own.item()]
    own = draw(sampling.probabilities(logits[:, -1], whole), generator)  # all kept: one more
    return [*guesses[0].tolist(), own.item()]


def left_over(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """What p has more than q, `(V,)`, not normalised: max(0, p − q).

    A guess x is drawn and kept with probability q(x) · min(1, p(x)/q(x)) = min(p(x), q(x)). What is
    missing from p(x) is this; and it sums to the probability that no guess is kept.
    """
    more = (p - q).clamp(min=0)
    return more if more.sum() > 0 else p  # equal up to rounding: as good


def _cache_for(model: GPT, length: int) -> KVCache:
    weights = model.embedding.weight
    return KVCache(model.config, 1, length, weights.dtype, weights.device)


def _check(model, draft, prompt, max_new_tokens, n_guesses) -> None:
    if prompt.dim() != 2 or prompt.shape[0] != 1 or prompt.shape[1] == 0:
        raise ValueError(
            f"prompt must have shape (1, T) with at least one token, not {tuple(prompt.shape)}: "
            "each text keeps another number of guesses"
        )
    sizes = model.config.vocab_size, draft.config.vocab_size
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"model and draft have vocabularies of {sizes[0]} and {sizes[1]} tokens: they must be "
            "trained with the same tokenizer"
        )
    if n_guesses < 1:
        raise ValueError(f"n_guesses={n_guesses} must be at least 1")
    context = min(model.config.context_length, draft.config.context_length)
    if not 0 <= max_new_tokens <= context + 1 - prompt.shape[1]:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} and max_new_tokens={max_new_tokens} do not fit into "
            f"the smaller context of {context} tokens: shorten the prompt or write less"
        )
