"""Extractive question answering: the best span, and how answers are compared.

Shapes: B rows, T tokens, N questions.

Source: Rajpurkar et al. 2016 and 2018 (SQuAD and its evaluation).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from aigc_lab.data.spans import ABSENT, SpanBatch, StoryQuestions, encode_questions
from aigc_lab.data.story_spans import ASKED_KINDS, SpanQuestion
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.heads import SpanReader
from aigc_lab.models.modes import evaluation_mode

LONGEST = 8  # tokens of an answer
QUESTIONS_AT_ONCE = 64
N_STORIES = 200  # of a probe


def normalise(answer: str) -> str:
    """An answer as SQuAD compares it: small letters, no punctuation, no articles, single spaces."""
    answer = "".join(char for char in answer.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer).split())


def exact_match(said: str, right: str) -> bool:
    """Whether two answers are equal once they are normalised."""
    return normalise(said) == normalise(right)


def token_f1(said: str, right: str) -> float:
    """Harmonic mean of the shares of words that two normalised answers have in common.

    Where one of them is no answer, 1 if both are none, else 0.
    """
    ours, theirs = normalise(said).split(), normalise(right).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def best_spans(
    starts: torch.Tensor, ends: torch.Tensor, longest: int = LONGEST
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The likeliest span of each row that is one: it ends where it starts or after it.

    Args:
        starts, ends: logits `(B, T)`; −∞ where no span may start or end.
        longest: most tokens of a span.

    Returns:
        Starts and ends `(B,)`, and by how much the sum of their logits is above that of no answer,
        which is the span from [CLS] to [CLS].

    Raises:
        ValueError: logits of different shapes, or `longest` below 1.
    """
    if starts.shape != ends.shape or starts.dim() != 2 or longest < 1:
        raise ValueError(
            f"starts {tuple(starts.shape)} and ends {tuple(ends.shape)} must both be (B, T), and "
            f"longest={longest} at least 1"
        )
    T = starts.shape[1]
    places = torch.arange(T, device=starts.device)
    length = places[None, :] - places[:, None] + 1  # of a span from row to column
    is_span = (length >= 1) & (length <= longest) & (places[:, None] != ABSENT)
    sums = starts[:, :, None] + ends[:, None, :]  # (B, T, T)
    scores, flat = sums.masked_fill(~is_span, -torch.inf).flatten(1).max(dim=1)
    return flat // T, flat % T, scores - starts[:, ABSENT] - ends[:, ABSENT]


class Answer(NamedTuple):
    """What a model found.

    Attributes:
        text: of the best span.
        margin: by how much its score is above that of "the text does not tell".
    """

    text: str
    margin: float


def read_answers(
    model: SpanReader, tokenizer: Tokenizer, questions: Sequence[SpanQuestion]
) -> list[Answer]:
    """The best span for each question, answerable or not."""
    found: list[Answer] = []
    with torch.no_grad(), evaluation_mode(model):
        for first in range(0, len(questions), QUESTIONS_AT_ONCE):
            some = questions[first : first + QUESTIONS_AT_ONCE]
            batch = encode_questions(tokenizer, some, model.config.max_length)
            starts, ends, margins = best_spans(*_logits(model, batch))
            for row, question in enumerate(some):
                text = batch.text(row, int(starts[row]), int(ends[row]), question.context)
                found.append(Answer(text, float(margins[row])))
    return found


def _logits(model: SpanReader, batch: SpanBatch) -> tuple[torch.Tensor, torch.Tensor]:
    return model(batch.tokens, batch.attention_mask, batch.segments, batch.allowed)


def final_texts(answers: Sequence[Answer], threshold: float = 0.0) -> list[str]:
    """The answers' texts; "" where the margin is not above the threshold."""
    return [answer.text if answer.margin > threshold else "" for answer in answers]


def best_threshold(answers: Sequence[Answer], right: Sequence[str]) -> float:
    """The threshold of the margin with the most exact matches; for questions that no test uses.

    Raises:
        ValueError: no answers, or another number of right ones.
    """
    if not answers or len(answers) != len(right):
        raise ValueError(f"{len(answers)} answers and {len(right)} right ones: one for each")
    margins = np.array([answer.margin for answer in answers])
    if_given = np.array([exact_match(a.text, r) for a, r in zip(answers, right, strict=True)])
    if_kept = np.array([exact_match("", r) for r in right])
    # Sorted by margin: the first ones are kept back, the others given.
    order = margins.argsort()
    gain = np.concatenate([[0], (if_kept[order].astype(int) - if_given[order]).cumsum()])
    n_kept = int(gain.argmax())
    borders = np.concatenate([[margins.min() - 1], np.sort(margins), [margins.max() + 1]])
    return float((borders[n_kept] + borders[n_kept + 1]) / 2)


class SpanScores(NamedTuple):
    """Number of questions, share of exact matches, mean F1."""

    n: int
    exact: float
    f1: float


def span_scores(said: Sequence[str], questions: Sequence[SpanQuestion]) -> dict[str, SpanScores]:
    """Scores of final answers: "all", "told", "not told", and each kind of question."""
    groups: dict[str, list[tuple[str, str]]] = {"all": [], "told": [], "not told": []}
    for text, question in zip(said, questions, strict=True):
        pair = text, question.answer
        for name in ("all", "told" if question.answer else "not told", question.kind):
            groups.setdefault(name, []).append(pair)
    return {
        name: SpanScores(
            len(pairs),
            sum(exact_match(*pair) for pair in pairs) / len(pairs),
            sum(token_f1(*pair) for pair in pairs) / len(pairs),
        )
        for name, pairs in groups.items()
        if pairs
    }


def probe_reader(
    model: SpanReader, tokenizer: Tokenizer, settings: WorldSettings, threshold: float = 0.0
) -> dict[str, SpanScores]:
    """`span_scores` for questions about `N_STORIES` stories of a world."""
    questions = world_questions(tokenizer, settings, N_STORIES, model.config.max_length)
    answers = read_answers(model, tokenizer, questions)
    return span_scores(final_texts(answers, threshold), questions)


def world_questions(
    tokenizer: Tokenizer, settings: WorldSettings, n_stories: int, max_length: int = 128
) -> list[SpanQuestion]:
    """One question of each kind about each of the first stories of a world."""
    source = StoryQuestions(
        TinyWorld(settings), tokenizer, n_stories, len(ASKED_KINDS), max_length=max_length
    )
    return source.questions(0)
