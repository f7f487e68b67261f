"""Texts with a class: stories whose end was taken away, and batches for a classifier.

Shapes: B rows, T tokens of the longest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from aigc_lab.data.chat import START
from aigc_lab.data.masking import SENTENCE_END, encode_pairs
from aigc_lab.data.tiny_world import Document, TinyWorld
from aigc_lab.data.tokenizer import Tokenizer

# Texts → tokens and attention mask, `(B, T)` each.
Encode = Callable[[Sequence[str]], tuple[torch.Tensor, torch.Tensor]]


class Labelled(NamedTuple):
    """A text and the number of its class."""

    text: str
    label: int


def wish_stories(
    world: TinyWorld, n: int, first: int = 0, balanced: bool = False
) -> list[Labelled]:
    """Stories without their last sentence, which says whether the wish came true.

    Args:
        world: makes the stories.
        n: how many.
        first: number of the first story.
        balanced: leave out stories of the commoner kind, so that every second one ends well.

    Returns:
        The texts, with the label 1 if the wish came true and 0 if not.

    Raises:
        ValueError: a world with documents that are no stories, or half of an odd number.
    """
    if any(world.settings.mix[1:]):
        raise ValueError(
            f"mix={world.settings.mix} has documents without a wish, or with more than a story: "
            "use WorldSettings(mix=(1, 0, 0, 0))"
        )
    if balanced and n % 2:
        raise ValueError(f"n={n} must be even for two equal halves")
    if not balanced:
        return [_without_end(document) for document in world.documents(n, first)]
    by_label: dict[int, list[Labelled]] = {0: [], 1: []}
    number = first
    while min(map(len, by_label.values())) < n // 2:
        example = _without_end(world.document(number))
        by_label[example.label].append(example)
        number += 1
    return [example for pair in zip(*by_label.values(), strict=False) for example in pair][:n]


def _without_end(document: Document) -> Labelled:
    sentences = SENTENCE_END.split(document.text)
    return Labelled("".join(sentences[:-1]), int(document.state.last == "end with"))


def encode_for_bert(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """[CLS] text [SEP] and padding: tokens and attention mask, `(B, T)` each.

    A longer text loses its end.
    """
    tokens, mask, _ = encode_pairs(tokenizer, texts, max_length, shorten=True)
    return tokens, mask


def encode_for_gpt(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The start token, the text, and padding on the right: tokens and mask, `(B, T)` each.

    A longer text loses its end. Padding is the start token; the mask hides it.

    Raises:
        ValueError: no text, or a tokenizer without the start token.
    """
    if START not in tokenizer.special_tokens:
        raise ValueError(f"the tokenizer has no {START!r}: use the one of the book's GPT")
    if not texts:
        raise ValueError("texts is empty: a batch needs at least one")
    start = tokenizer.special_tokens[START]
    rows = [[start, *tokenizer.encode(text)][:max_length] for text in texts]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [start] * (longest - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(longest) < lengths[:, None]


@dataclass(frozen=True)
class LabelledBatch:
    """What one step of a classifier needs.

    Args:
        tokens, attention_mask: `(B, T)`.
        labels: the classes, `(B,)`.
    """

    tokens: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    @property
    def n_targets(self) -> int:
        """Number of texts."""
        return len(self.labels)

    @property
    def shape(self) -> torch.Size:
        """`(B, T)`."""
        return self.tokens.shape

    def to(self, device: torch.device | str) -> "LabelledBatch":
        """The same batch on another device."""
        parts = (self.tokens, self.attention_mask, self.labels)
        return LabelledBatch(*(part.to(device) for part in parts))


class LabelledTexts:
    """Batches of labelled texts, a function of the step; each comes once before any comes again.

    Args:
        examples: the texts, at least one.
        encode: makes tokens of them.
        batch_size: texts B of a batch.
        seed: of their order.

    Raises:
        ValueError: no text, or a batch size below 1.
    """

    def __init__(
        self, examples: Sequence[Labelled], encode: Encode, batch_size: int, seed: int = 0
    ):
        if not examples or batch_size < 1:
            raise ValueError(
                f"{len(examples)} examples and batch_size={batch_size}: both must be at least 1"
            )
        self.examples, self.encode = examples, encode
        self.batch_size, self.seed = batch_size, seed

    def numbers(self, step: int) -> list[int]:
        """The numbers of the texts of a step."""
        n, places = len(self.examples), range(step * self.batch_size, (step + 1) * self.batch_size)
        orders = {
            round_: np.random.default_rng([self.seed, round_]).permutation(n)
            for round_ in {place // n for place in places}
        }
        return [int(orders[place // n][place % n]) for place in places]

    def batch(self, step: int) -> LabelledBatch:
        """The batch of a step."""
        some = [self.examples[number] for number in self.numbers(step)]
        tokens, mask = self.encode([example.text for example in some])
        return LabelledBatch(tokens, mask, torch.tensor([example.label for example in some]))
