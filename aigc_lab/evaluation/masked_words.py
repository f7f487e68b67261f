"""How well a model fills in a masked word of a story, beside the best that anyone could do.

The tiny world knows the probability of every story. So it knows, for one hidden word, how likely
each word is given all the others:

    p(w | rest) = P(story with w) / Σ_v P(story with v)

The largest of these is the best accuracy that is possible at this place, and the entropy the best
loss. A model's answer is scored by the same numbers: its accuracy is the probability of the word
that it holds for most likely, its loss the cross-entropy. So chance in the story that happened to
be told plays no part, and no model can be above the best.

Shapes: N masked places, V tokens.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from aigc_lab.data.masking import MASK, MaskedBatch, cut, encode_pairs
from aigc_lab.data.tiny_world import Impossible, TinyWorld, lexicon
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.story_likelihood import WORD, story_log_prob
from aigc_lab.models.bert_pretraining import BERTForPretraining
from aigc_lab.models.modes import evaluation_mode

TEMPLATES = (
    *lexicon.OPENINGS,
    *(form for forms in lexicon.FORMS.values() for form in forms),
    *lexicon.LINKS,
    *map(lexicon.at, lexicon.PLACES),
    "to",
)
# Every word that can stand where a word of this kind stands, by the kind.
NAMES = tuple(lexicon.PEOPLE | lexicon.HELD_OUT_PEOPLE)
PRONOUNS = ("she", "he", "She", "He")
WORDS = {
    "name": NAMES,
    "pronoun": PRONOUNS,
    "thing": lexicon.THINGS,
    "place": tuple(lexicon.PLACES),
    "colour": lexicon.COLOURS,
}
OTHER = tuple(
    sorted(
        {word for text in TEMPLATES for word in WORD.findall(re.sub(r"\{\w+\}", "", text))}
        - {word for words in WORDS.values() for word in words}
    )
)
KINDS = (*WORDS, "other")


class Slot(NamedTuple):
    """A word of a text: where it begins and ends, the word, and its kind, one of `KINDS`."""

    start: int
    end: int
    word: str
    kind: str


class Question(NamedTuple):
    """A story with one word to be filled in.

    Attributes:
        parts: the story, cut in two.
        slot: the word.
        best: p(w | rest) for every word that is possible.
    """

    parts: tuple[str, str]
    slot: Slot
    best: dict[str, float]


class Score(NamedTuple):
    """Means over the questions of one kind; losses in nats."""

    n: int
    accuracy: float
    best_accuracy: float
    loss: float
    best_loss: float


def slots(text: str) -> list[Slot]:
    """The words of a text."""
    return [
        Slot(found.start(), found.end(), found[0], kind_of_word(found[0]))
        for found in WORD.finditer(text)
    ]


def kind_of_word(word: str) -> str:
    """One of `KINDS`."""
    return next((kind for kind, words in WORDS.items() if word in words), "other")


def posterior(world: TinyWorld, text: str, slot: Slot) -> dict[str, float]:
    """p(w | rest) for every word that the world can put into a slot.

    Raises:
        ValueError: the world never makes this text, whatever stands in the slot.
    """
    kind = slot.kind
    words = (*NAMES, *PRONOUNS) if kind in ("name", "pronoun") else WORDS.get(kind, OTHER)
    log_probs = {}
    for word in words:
        try:
            log_probs[word] = story_log_prob(world, text[: slot.start] + word + text[slot.end :])
        except Impossible:
            continue
    if not log_probs:
        raise ValueError(f"no word fits into {text!r} at {slot.start}: is it of this world?")
    largest = max(log_probs.values())
    weights = {word: math.exp(value - largest) for word, value in log_probs.items()}
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}


def make_questions(
    world: TinyWorld, texts: Iterable[str], kinds: Sequence[str] = KINDS, seed: int = 0
) -> list[Question]:
    """From each story one word of each kind that it has, drawn at random.

    Raises:
        ValueError: an unknown kind, or a text that is no story of the world.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds={kinds} holds {min(unknown)!r}; there are {KINDS}")
    chance = np.random.default_rng(seed)
    questions = []
    for text in texts:
        parts, all_slots = cut(text, chance), slots(text)
        for kind in kinds:
            if found := [slot for slot in all_slots if slot.kind == kind]:
                slot = found[int(chance.integers(len(found)))]
                questions.append(Question(parts, slot, posterior(world, text, slot)))
    return questions


def masked_place(
    tokenizer: Tokenizer, question: Question
) -> tuple[tuple[str, str], int, dict[str, int]]:
    """The parts with the word in place, the index of its token in the row, and candidates' ids.

    Raises:
        ValueError: a word that could stand there has several tokens.
    """
    (first, second), slot = question.parts, question.slot
    is_second = slot.start >= len(first)
    part, start = (second, slot.start - len(first)) if is_second else (first, slot.start)
    begin = start - (start > 0 and part[start - 1] == " ")  # the space belongs to the token
    before = len(tokenizer.encode(first)) + 1 if is_second else 0
    index = 1 + before + len(tokenizer.encode(part[:begin]))
    ids = {}
    for word in question.best:
        tokens = tokenizer.encode(part[begin:start] + word)
        if len(tokens) != 1:
            raise ValueError(
                f"{word!r} has {len(tokens)} tokens, so one mask cannot stand for it: learn the "
                "tokenizer with a larger vocab_size"
            )
        ids[word] = tokens[0]
    return (first, second), index, ids


@torch.no_grad()
def answers(
    model: BERTForPretraining, tokenizer: Tokenizer, questions: Sequence[Question]
) -> torch.Tensor:
    """Log-probabilities of the model for the masked places, `(N, V)`."""
    found = []
    with evaluation_mode(model):
        for start in range(0, len(questions), 64):
            some = [masked_place(tokenizer, question) for question in questions[start : start + 64]]
            tokens, mask, segments = encode_pairs(
                tokenizer, [parts for parts, _, _ in some], model.config.max_length
            )
            rows, places = torch.arange(len(some)), torch.tensor([place for _, place, _ in some])
            tokens[rows, places] = tokenizer.special_tokens[MASK]
            states = model.bert(tokens, mask, segments).last_hidden_state
            found.append(model.predict(states[rows, places]).log_softmax(-1))
    return torch.cat(found)


def score(
    model: BERTForPretraining, tokenizer: Tokenizer, questions: Sequence[Question]
) -> dict[str, Score]:
    """Accuracy and loss by the kind of word, with the best that is possible.

    Raises:
        ValueError: no question, or a word of several tokens.
    """
    if not questions:
        raise ValueError("questions is empty: take more stories, or other kinds")
    rows: dict[str, list[tuple[float, ...]]] = {}
    for question, log_probs in zip(questions, answers(model, tokenizer, questions), strict=True):
        ids = masked_place(tokenizer, question)[2]
        best = question.best
        word_of = {token: word for word, token in ids.items()}
        choice = word_of.get(int(log_probs.argmax()), "")
        rows.setdefault(question.slot.kind, []).append(
            (
                best.get(choice, 0.0),
                max(best.values()),
                -sum(p * log_probs[ids[word]].item() for word, p in best.items()),
                -sum(p * math.log(p) for p in best.values()),
            )
        )
    return {
        kind: Score(len(rows[kind]), *np.mean(rows[kind], axis=0).tolist())
        for kind in KINDS
        if kind in rows
    }


@torch.no_grad()
def pair_accuracy(model: BERTForPretraining, batches: Iterable[MaskedBatch]) -> float:
    """Share of pairs of which the model says rightly whether the second part follows."""
    right = []
    with evaluation_mode(model):
        for batch in batches:
            out = model.bert(batch.tokens, batch.attention_mask, batch.segments)
            right.append(model.seq_relationship(out.pooler_output).argmax(-1) == batch.labels)
    return torch.cat(right).float().mean().item()
