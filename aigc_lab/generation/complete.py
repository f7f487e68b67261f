"""Going on with many texts at once."""

from collections.abc import Sequence

import torch

from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT


def complete(
    model: GPT,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    start: str = "<|endoftext|>",
    one_line: bool = True,
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> list[str]:
    """What the model writes after each text, up to the end of its document.

    Texts of different lengths are padded on the left; padding is masked, so each is continued as
    if it were alone.

    Args:
        model: the model.
        tokenizer: the one that it was trained with.
        texts: beginnings of documents; "" for none. Special tokens in them are not recognised.
        max_new_tokens: most tokens that are written after a text.
        sampling: how tokens are chosen; by default plain sampling.
        start: the special token that begins and ends every document.
        one_line: also stop at the end of a line.
        generator: source of chance.
        batch_size: so many at once.

    Raises:
        ValueError: a token `start` that the tokenizer does not have, or a text that does not fit
            into the context together with the new tokens.
    """
    if start not in tokenizer.special_tokens:
        raise ValueError(
            f"start={start!r} is not a special token of this tokenizer, which has "
            f"{sorted(tokenizer.special_tokens)}"
        )
    end = tokenizer.special_tokens[start]
    stops = {end, *(tokenizer.encode("\n") if one_line else [])}
    written: list[str] = []
    for first in range(0, len(texts), batch_size):
        prompts = [[end, *tokenizer.encode(t)] for t in texts[first : first + batch_size]]
        longest = max(map(len, prompts))
        padded = torch.tensor([[end] * (longest - len(p)) + p for p in prompts])  # (B, T)
        n_padding = torch.tensor([longest - len(p) for p in prompts])
        mask = torch.arange(longest) >= n_padding[:, None]  # (B, T)
        device = model.embedding.weight.device
        rows = generate(
            model,
            padded.to(device),
            max_new_tokens,
            sampling,
            stop_tokens=stops,
            attention_mask=None if mask.all() else mask.to(device),
            generator=generator,
        )
        for row in rows.tolist():
            n = next((i for i, token in enumerate(row) if token in stops), len(row))
            written.append(tokenizer.decode(row[:n]))
    return written
