"""People who compare replies, simulated: their taste is known, so the truth is.

A labeller prefers the reply that is worth more by a taste, with the chance that Bradley and Terry's
model gives, so near ties are decided by lot.
"""

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aigc_lab.data.preferences import Preference
from aigc_lab.data.tiny_world.taste import StoryPrompt, Taste
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.chat import replies
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT


@dataclass(frozen=True)
class Labeller:
    """Who compares two replies.

    Args:
        taste: what the labeller likes.
        temperature: divides the difference in worth: 0 always prefers the better reply (and
            tosses a coin when both are worth the same), a large one is guessing.
        flips: share of votes that are turned round by mistake.
        seed: of the chance.

    Raises:
        ValueError: a negative temperature, or a share of flips outside 0 to 0.5.
    """

    taste: Taste = dataclasses.field(default_factory=Taste)
    temperature: float = 1.0
    flips: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must be at least 0")
        if not 0 <= self.flips <= 0.5:
            raise ValueError(f"flips={self.flips} must lie between 0 and 0.5 (which is guessing)")

    def probability(self, prompt: StoryPrompt, first: str, second: str) -> float:
        """The chance that the first of two replies is preferred."""
        worth = [self.taste.utility(prompt.request, text) for text in (first, second)]
        p = bradley_terry(worth[0] - worth[1], self.temperature)
        return p * (1 - self.flips) + (1 - p) * self.flips

    def vote(self, prompt: StoryPrompt, first: str, second: str, index: int) -> bool:
        """Whether the first reply is preferred, in vote number `index` of this labeller."""
        chance = random.Random(f"vote {self.seed}/{index}")
        return chance.random() < self.probability(prompt, first, second)


def bradley_terry(difference: float, temperature: float = 1.0) -> float:
    """P(first is preferred) when it is worth so much more than the second: σ(difference / T)."""
    if temperature == 0:
        return 0.5 if difference == 0 else float(difference > 0)
    return 0.5 * (1 + math.tanh(difference / temperature / 2))  # σ, and no overflow


@dataclass(frozen=True)
class Pair:
    """Two replies to a prompt."""

    prompt: StoryPrompt
    first: str
    second: str


def sample_pairs(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[StoryPrompt], seed: int = 0
) -> list[Pair]:
    """Two different replies to each prompt, drawn from a model at temperature 1.

    Prompts to which it gives the same reply twice are left out: there is nothing to compare.
    """
    conversations = [prompt.messages for prompt in prompts for _ in range(2)]
    generator = torch.Generator().manual_seed(seed)
    said = replies(model, tokenizer, conversations, Sampling(), generator=generator, batch_size=256)
    texts = [reply.text for reply in said]
    found = zip(prompts, texts[::2], texts[1::2], strict=True)
    return [Pair(*pair) for pair in found if pair[1] != pair[2]]


def label(pairs: Sequence[Pair], labeller: Labeller) -> list[Preference]:
    """The labeller's votes as preferences."""
    preferences = []
    for index, pair in enumerate(pairs):
        texts = pair.first, pair.second
        if not labeller.vote(pair.prompt, *texts, index):
            texts = texts[::-1]
        preferences.append(Preference(tuple(pair.prompt.messages), *texts))
    return preferences


def vote_table(pairs: Sequence[Pair], labellers: Sequence[Labeller]) -> np.ndarray:
    """Whether each labeller prefers the first reply of each pair: boolean `(N, R)`."""
    return np.array(
        [
            [who.vote(pair.prompt, pair.first, pair.second, index) for who in labellers]
            for index, pair in enumerate(pairs)
        ]
    )


def panel(n: int, spread: float, seed: int = 0, taste: Taste | None = None) -> list[Labeller]:
    """Labellers of different tastes.

    Args:
        n: how many.
        spread: each weight of a taste is multiplied by 1 + spread · z, z from N(0, 1): with 0 all
            have the same taste and their votes differ by chance alone; with a large one some like
            what others dislike.
        seed: of the tastes and of the votes.
        taste: around which theirs lie; by default the book's.
    """
    taste, chance = taste or Taste(), random.Random(f"panel {seed}")
    labellers = []
    for number in range(n):
        own = {
            field.name: getattr(taste, field.name) * (1 + spread * chance.gauss(0, 1))
            for field in dataclasses.fields(taste)
            if field.name != "patience"
        }
        labellers.append(Labeller(taste.replace(**own), seed=1000 * seed + number))
    return labellers


# ------------------------------------------------------------------------------------ what is right


def chances(pairs: Sequence[Pair], labeller: Labeller) -> np.ndarray:
    """The chance that the labeller prefers the first reply of each pair, `(N,)`."""
    return np.array([labeller.probability(p.prompt, p.first, p.second) for p in pairs])


def share_foreseen(differences: np.ndarray, chances: np.ndarray) -> float:
    """Share of a labeller's votes that scores foresee, on average over the chance in the votes.

    To take the known chances in place of drawn votes leaves out their noise: the same as asking
    each labeller about each pair endlessly often.

    Args:
        differences: score of the first reply minus that of the second, `(N,)`; where it is 0 a coin
            is tossed.
        chances: that the first is preferred, `(N,)`.

    Raises:
        ValueError: different lengths.
    """
    differences, chances = np.asarray(differences), np.asarray(chances)
    if differences.shape != chances.shape:
        raise ValueError(f"{differences.shape} differences and {chances.shape} chances must match")
    says_first = (np.sign(differences) + 1) / 2
    return float((says_first * chances + (1 - says_first) * (1 - chances)).mean())


def bayes_ceiling(pairs: Sequence[Pair], labeller: Labeller) -> float:
    """Share of the labeller's votes that somebody who knows the taste exactly would foresee.

    Each vote is foreseen with the larger of the two chances; no model can do better on average.
    """
    p = chances(pairs, labeller)
    return float(np.maximum(p, 1 - p).mean())
