"""Extractive question answering: from characters to tokens and back.

    [CLS] question [SEP] context [SEP]        segments 0 ... 0 1 ... 1

The answer is a span of the context's tokens, from `start` to `end`, both included; where the
context does not tell, both are 0, the place of [CLS].

Shapes: B rows, T tokens of the longest.

Sources: Rajpurkar et al. 2016 and 2018 (SQuAD), Devlin et al. 2019.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aigc_lab.data.masking import SEP, encode_pairs
from aigc_lab.data.story_spans import SpanQuestion, ask_about
from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.data.tokenizer import Tokenizer

ABSENT = 0  # the place of [CLS]


@dataclass(frozen=True)
class SpanBatch:
    """What a model that marks answers reads, and what it should mark.

    Args:
        tokens, attention_mask, segments: as `aigc_lab.data.masking.encode_pairs`, `(B, T)`.
        allowed: where an answer may begin or end: the context's tokens, and [CLS], `(B, T)`.
        starts, ends: first and last token of the answer, `(B,)`.
        offsets: of each row, the characters of the context that each of its tokens covers, and the
            place of the context's first token in the row.
    """

    tokens: torch.Tensor
    attention_mask: torch.Tensor
    segments: torch.Tensor
    allowed: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor
    offsets: tuple[tuple[list[tuple[int, int]], int], ...] = ()

    @property
    def n_targets(self) -> int:
        """Number of questions."""
        return len(self.starts)

    @property
    def shape(self) -> torch.Size:
        """`(B, T)`."""
        return self.tokens.shape

    def to(self, device: torch.device | str) -> "SpanBatch":
        """The same batch on another device."""
        names = ("tokens", "attention_mask", "segments", "allowed", "starts", "ends")
        return SpanBatch(*(getattr(self, name).to(device) for name in names), self.offsets)

    def text(self, row: int, start: int, end: int, context: str) -> str:
        """The characters of the context behind tokens `start` to `end` of a row.

        Returns:
            The text without white space around it; "" for [CLS], which is no answer.

        Raises:
            ValueError: tokens that are not of the context, or an end before the start.
        """
        if start == end == ABSENT:
            return ""
        offsets, first = self.offsets[row]
        if not first <= start <= end < first + len(offsets):
            raise ValueError(
                f"start={start}, end={end} is no span of the context, whose tokens are number "
                f"{first} to {first + len(offsets) - 1} of row {row}: are these token ids in "
                "place of positions?"
            )
        return context[offsets[start - first][0] : offsets[end - first][1]].strip()


def token_offsets(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """The characters that each token of a text covers: first, and the one after the last.

    Tokens are made of bytes; one that ends within a character is said to cover all of it.
    """
    character_of = [number for number, char in enumerate(text) for _ in char.encode()]
    found, at = [], 0
    for token in tokenizer.encode(text):
        after = at + len(tokenizer.token_bytes(token))
        found.append((character_of[at], character_of[after - 1] + 1))
        at = after
    return found


def encode_questions(
    tokenizer: Tokenizer, questions: Sequence[SpanQuestion], max_length: int
) -> SpanBatch:
    """Questions with their contexts as a batch.

    Raises:
        ValueError: a row that is longer than `max_length`, or as `encode_pairs`.
    """
    pairs = [(question.question, question.context) for question in questions]
    tokens, mask, segments = encode_pairs(tokenizer, pairs, max_length)
    allowed = (segments == 1) & (tokens != tokenizer.special_tokens[SEP])
    allowed[:, ABSENT] = True
    starts, ends, offsets = [], [], []
    for row, question in enumerate(questions):
        covered = token_offsets(tokenizer, question.context)
        first = int(segments[row].argmax())
        offsets.append((covered, first))
        inside = [
            first + number
            for number, (start, end) in enumerate(covered)
            if start < question.end and end > question.start
        ]
        starts.append(inside[0] if inside else ABSENT)
        ends.append(inside[-1] if inside else ABSENT)
    return SpanBatch(
        tokens,
        mask,
        segments,
        allowed,
        torch.tensor(starts),
        torch.tensor(ends),
        tuple(offsets),
    )


class StoryQuestions:
    """Batches of questions about stories, a function of the step.

    Args:
        world: makes the stories.
        tokenizer: with BERT's special tokens.
        n_stories: in a batch, each once.
        n_each: questions about each of them at most.
        max_length: longest row, in tokens.
        first_story: number of the first story of step 0.
        find_words: as in `ask_about`.
    """

    def __init__(
        self,
        world: TinyWorld,
        tokenizer: Tokenizer,
        n_stories: int,
        n_each: int,
        *,
        max_length: int = 128,
        first_story: int = 0,
        find_words: bool = False,
    ):
        if n_stories < 1 or n_each < 1:
            raise ValueError(f"n_stories={n_stories} and n_each={n_each} must be at least 1")
        self.world, self.tokenizer = world, tokenizer
        self.n_stories, self.n_each = n_stories, n_each
        self.max_length, self.first_story = max_length, first_story
        self.find_words = find_words

    def questions(self, step: int) -> list[SpanQuestion]:
        """The questions of a step, without those that do not fit into a row with their story."""
        first = self.first_story + step * self.n_stories
        found = []
        for number in range(first, first + self.n_stories):
            story = self.world.document(number).text.split("\n")[0]
            settings = self.world.settings
            chance = random.Random(f"{settings.seed}/{settings.split}/{number}/spans")
            asked = ask_about(story, self.n_each, chance, settings, find_words=self.find_words)
            for question in asked:
                texts = (question.question, story)
                if sum(len(self.tokenizer.encode(text)) for text in texts) + 3 <= self.max_length:
                    found.append(question)
        return found

    def batch(self, step: int) -> SpanBatch:
        """The batch of a step."""
        return encode_questions(self.tokenizer, self.questions(step), self.max_length)
