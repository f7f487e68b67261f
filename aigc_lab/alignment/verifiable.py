"""Rewards that a rule can check: sums, whose result is right or wrong whoever says it.

The prompts ask for a short answer, so the model has to say the result at once. The chat model can
do that about every second time, and knows much better how to do it with more words.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aigc_lab.alignment.rollout import AnyPrompt, Samples
from aigc_lab.data.chat import Message
from aigc_lab.data.tiny_world.chat_words import SUMS, SYSTEMS
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum
from aigc_lab.data.tiny_world.sums import judge_sum

LONGEST_SUM = 32  # tokens of a reply: room for one with the question said again


@dataclass(frozen=True)
class SumPrompt:
    """A sum to be answered in few words."""

    a: int
    b: int
    text: str
    system: str

    @property
    def messages(self) -> list[Message]:
        """The conversation up to where the assistant replies."""
        return [("system", self.system), ("user", self.text)]


def sum_prompts(
    n: int, seed: int, held_out: bool = False, style: str = "short", largest: int = 99
) -> list[SumPrompt]:
    """Sums that ask for a style of answer.

    Args:
        n: how many; a sum may come twice.
        seed: of the draw.
        held_out: sums that no model of the book was trained on, in place of the others.
        style: of the answer, as the system message asks for it: "short", "full" or "steps".
        largest: number to add.

    Raises:
        ValueError: an unknown style.
    """
    if style not in ("short", "full", "steps"):
        raise ValueError(f"style={style!r} is not one of 'short', 'full', 'steps'")
    chance, found = random.Random(f"sums {seed}/{held_out}"), []
    while len(found) < n:
        a, b = chance.randint(0, largest), chance.randint(0, largest)
        if is_held_out_sum(a, b) == held_out:
            text = chance.choice(SUMS).format(a=a, b=b)
            found.append(SumPrompt(a, b, text, chance.choice(SYSTEMS[style])))
    return found


def repeated(prompts: Sequence[AnyPrompt], group_size: int) -> list[AnyPrompt]:
    """Each prompt so many times, one after the other: the rows of `grpo_step`."""
    return [prompt for prompt in prompts for _ in range(group_size)]


def is_right(samples: Samples) -> torch.Tensor:
    """1 for each reply that ended and whose last number is the right result, else 0: `(B,)`."""
    right = [
        judge_sum(prompt.a, prompt.b, text).is_right
        for prompt, text in zip(samples.prompts, samples.texts, strict=True)
    ]
    return (torch.tensor(right) & samples.has_ended).float()


def is_right_and_short(samples: Samples) -> torch.Tensor:
    """1 for each reply that is the right result and nothing else, else 0: `(B,)`."""
    short = [bool(re.fullmatch(r"\d+\.?", text.strip())) for text in samples.texts]
    return is_right(samples) * torch.tensor(short).float()
