"""Going on with many texts at once."""

from collections.abc import Collection, Sequence

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
    end = start_id(tokenizer, start)
    stops = {end, *(tokenizer.encode("\n") if one_line else [])}
    prompts = [[end, *tokenizer.encode(text)] for text in texts]
    written = complete_ids(
        model,
        prompts,
        max_new_tokens,
        sampling,
        stop_tokens=stops,
        generator=generator,
        batch_size=batch_size,
    )
    return [tokenizer.decode(ids[:-1] if ids[-1:] and ids[-1] in stops else ids) for ids in written]


def start_id(tokenizer: Tokenizer, start: str) -> int:
    """The id of the special token that begins every document.

    Raises:
        ValueError: the tokenizer does not have it.
    """
    if start not in tokenizer.special_tokens:
        raise ValueError(
            f"start={start!r} is not a special token of this tokenizer, which has "
            f"{sorted(tokenizer.special_tokens)}"
        )
    return tokenizer.special_tokens[start]


def complete_ids(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop_tokens: Collection[int],
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> list[list[int]]:
    """What the model writes after each row of tokens, up to and with the first stop token.

    Rows of different lengths are padded on the left; padding is masked, so each is continued as
    if it were alone. Neighbours in the list are padded together, so sort long lists by length.

    Args:
        model, max_new_tokens, sampling, generator: as in `generate`.
        prompts: rows of at least one token.
        stop_tokens: that end what is written.
        batch_size: so many at once.

    Raises:
        ValueError: an empty row, or one that does not fit into the context together with the new
            tokens.
    """
    if empty := [number for number, prompt in enumerate(prompts) if not prompt]:
        raise ValueError(f"prompt {empty[0]} has no token: begin it with a start token")
    device = model.embedding.weight.device
    written: list[list[int]] = []
    for first in range(0, len(prompts), batch_size):
        some = [list(prompt) for prompt in prompts[first : first + batch_size]]
        longest = max(map(len, some))
        # Any token will do as padding: nobody looks at it.
        padded = torch.tensor([[prompt[0]] * (longest - len(prompt)) + prompt for prompt in some])
        n_padding = torch.tensor([longest - len(prompt) for prompt in some])
        mask = torch.arange(longest) >= n_padding[:, None]  # (B, T)
        rows = generate(
            model,
            padded.to(device),
            max_new_tokens,
            sampling,
            stop_tokens=stop_tokens,
            attention_mask=None if mask.all() else mask.to(device),
            generator=generator,
        )
        for row in rows.tolist():
            n = next((i + 1 for i, token in enumerate(row) if token in stop_tokens), len(row))
            written.append(row[:n])
    return written
