"""Writing token by token, and as a stream of text."""

import codecs
from collections.abc import Collection, Iterator, Sequence

import torch

from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.sampling import Sampling
from aigc_lab.generation.single_step import single_step
from aigc_lab.models.gpt import GPT, KVCache
from aigc_lab.models.modes import evaluation_mode


@torch.no_grad()
def generate_steps(
    model: GPT,
    prompt: torch.Tensor,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    attention_mask: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[torch.Tensor]:
    """Yield the next token of each sequence, `(B,)`, step by step.

    Args:
        model: set to evaluation mode, so that dropout is off.
        prompt: `(B, T)`, padded on the left where lengths differ.
        max_new_tokens: number of steps.
        sampling: how tokens are chosen; by default plain sampling.
        attention_mask: boolean `(B, T)`, False for padding.
        generator: source of chance.
        use_cache: without it the whole text is computed anew for each token (to compare).

    Raises:
        ValueError: the prompt is empty, or the new tokens do not fit into the context.
    """
    sampling = sampling or Sampling()
    batch, length = prompt.shape
    total = length + max_new_tokens
    if max_new_tokens < 0 or total > model.config.context_length + 1:
        raise ValueError(
            f"a prompt of {length} and max_new_tokens={max_new_tokens} do not fit into the context "
            f"of {model.config.context_length} tokens: shorten the prompt or write less"
        )
    with evaluation_mode(model):
        dtype = model.embedding.weight.dtype
        cache = KVCache(model.config, batch, total, dtype, prompt.device) if use_cache else None
        step = None if cache is None else single_step(model, cache)
        text, new, mask = prompt, prompt, attention_mask
        for _ in range(max_new_tokens):
            with torch.inference_mode():  # keeps no books for gradients at all: faster
                if step is not None and mask is None and new.shape[1] == 1:
                    logits = step(new)  # (B, V)
                else:
                    part = text if cache is None else new
                    logits = model(part, attention_mask=mask, cache=cache, last_only=True)[:, -1]
            token = sampling.choose(logits, text, generator)
            yield token
            new = token[:, None]
            text = torch.cat([text, new], dim=1)
            if mask is not None:
                mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)


def generate(
    model: GPT,
    prompt: torch.Tensor,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop_tokens: Collection[int] = (),
    **settings,
) -> torch.Tensor:
    """Write `max_new_tokens` tokens, or fewer if every sequence has reached a stop token.

    Args:
        model, prompt, max_new_tokens, sampling, settings: as in `generate_steps`.
        stop_tokens: ids that end a sequence; what follows the first one in a row is that token
            again.

    Returns:
        The new tokens, `(B, N)` with N ≤ `max_new_tokens`.
    """
    stops = torch.tensor(sorted(stop_tokens), device=prompt.device)
    written: list[torch.Tensor] = []
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for token in generate_steps(model, prompt, max_new_tokens, sampling, **settings):
        if written and len(stops):
            token = torch.where(ended, written[-1], token)
        written.append(token)
        if len(stops):
            ended = torch.isin(token, stops)  # stays true, for a stop token is repeated
            if ended.all():
                break
    if not written:
        return prompt[:, :0]
    return torch.stack(written, dim=1)


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop_tokens: Collection[int] = (),
    stop_strings: Collection[str] = (),
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """Yield the text as it is written, in pieces that are whole characters.

    What might be the beginning of a stop string is held back until it is clear; a stop string
    itself, and a stop token, are never shown.

    Args:
        model, max_new_tokens, sampling, generator: as in `generate_steps`.
        tokenizer: the one that the model was trained with.
        prompt: text, in which special tokens are not recognised, or token ids.
        stop_tokens: ids that end the text.
        stop_strings: texts that end the text, also across tokens.

    Raises:
        ValueError: an empty stop string, and as in `generate_steps`.
    """
    if "" in stop_strings:
        raise ValueError("stop_strings holds an empty text, which is found everywhere")
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    device = model.embedding.weight.device
    start = torch.tensor([ids], dtype=torch.long, device=device)
    steps = generate_steps(model, start, max_new_tokens, sampling, generator=generator)
    held = ""  # text that is not shown yet
    for step in steps:
        token = int(step[0])
        if token in stop_tokens:
            break
        held += decoder.decode(tokenizer.token_bytes(token))
        found = [at for stop in stop_strings if (at := held.find(stop)) >= 0]
        if found:
            if shown := held[: min(found)]:
                yield shown
            return
        safe = len(held) - _longest_beginning(held, stop_strings)
        if safe:
            yield held[:safe]
            held = held[safe:]
    if held := held + decoder.decode(b"", final=True):
        yield held


def _longest_beginning(text: str, stop_strings: Collection[str]) -> int:
    """Length of the longest end of `text` that is the beginning of a stop string."""
    lengths = (
        n
        for stop in stop_strings
        for n in range(1, min(len(stop), len(text) + 1))
        if text.endswith(stop[:n])
    )
    return max(lengths, default=0)
