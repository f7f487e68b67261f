"""Making pairs to judge: two different answers of a model to requests for stories."""

from collections.abc import Iterator, Sequence

import torch

from aigc_lab.alignment.feedback.pairs import Pair
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import StoryPrompt, story_prompts
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.chat import replies
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT

MOST_ROUNDS = 20  # after so many without enough pairs the model always answers the same


def make_pairs(
    model: GPT, tokenizer: Tokenizer, n_pairs: int, *, seed: int = 0, temperature: float = 1.0
) -> list[Pair]:
    """Pairs of different answers, both sampled from the same model.

    Args:
        model, tokenizer: that know the chat template.
        n_pairs: how many.
        seed: of the requests and of the sampling.
        temperature: of the sampling; below 1 the answers differ less.

    Raises:
        ValueError: no pairs are asked for, or the model gives the same answer again and again.
    """
    if n_pairs < 1:
        raise ValueError(f"n_pairs={n_pairs} must be at least 1")
    settings, n_asked = WorldSettings(seed=seed), 0
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Pair] = {}
    for _ in range(MOST_ROUNDS):
        prompts = story_prompts(settings, n_pairs - len(found), start=n_asked)
        n_asked += len(prompts)
        for pair in _sample(model, tokenizer, prompts, Sampling(temperature), generator):
            found[pair.pair_id] = pair
        if len(found) == n_pairs:
            return list(found.values())
    raise ValueError(
        f"only {len(found)} of {n_pairs} pairs have two different answers at "
        f"temperature={temperature}: take a higher one"
    )


def _sample(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[StoryPrompt],
    sampling: Sampling,
    generator: torch.Generator,
) -> Iterator[Pair]:
    twice = [prompt.messages for prompt in prompts for _ in range(2)]
    said = replies(model, tokenizer, twice, sampling, generator=generator)
    for prompt, a, b in zip(prompts, said[::2], said[1::2], strict=True):
        if a.text != b.text:
            yield Pair(tuple(prompt.messages), a.text, b.text)
