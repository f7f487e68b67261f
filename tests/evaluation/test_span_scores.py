"""SQuAD's measures against its paper's definition, the best span against a search by hand."""

import itertools
import string

import pytest
import torch

from aigc_lab.data.masking import make_masking_tokenizer
from aigc_lab.data.spans import StoryQuestions
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.evaluation.spans import (
    Answer,
    best_spans,
    best_threshold,
    exact_match,
    final_texts,
    normalise,
    read_answers,
    span_scores,
    token_f1,
)
from aigc_lab.models.heads import ReaderConfig, SpanReader

TEXTS = (
    "", "the", "river", "The River.", "the red lamp", "a red  lamp", "red, red lamp!", "An apple",
    "Theatre", "a.m.", "another", "U.S.A", "lamp red", "The the", "it's", "red-lamp", "Ünder the Ä",
)  # fmt: skip


def words_by_definition(text):
    """Small letters, then no punctuation, then no articles: the order matters for "a.m."."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [word for word in plain.split() if word not in ("a", "an", "the")]


def f1_by_definition(said, right):
    said, right = words_by_definition(said), words_by_definition(right)
    if not said or not right:
        return float(said == right)
    rest, common = list(right), 0
    for word in said:
        if word in rest:  # each word of the right answer counts once
            rest.remove(word)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(right)
    return 2 * precision * recall / (precision + recall)


def test_normalisation_and_scores():
    for text in TEXTS:
        assert normalise(text) == " ".join(words_by_definition(text))
    assert normalise("The  red-lamp, a.m.!") == "redlamp am"
    for said, right in itertools.product(TEXTS, TEXTS):
        assert exact_match(said, right) == (words_by_definition(said) == words_by_definition(right))
        assert token_f1(said, right) == pytest.approx(f1_by_definition(said, right))


@pytest.mark.parametrize("longest", [1, 3, 20])
def test_the_best_span_is_that_of_a_search(longest):
    generator = torch.Generator().manual_seed(longest)
    starts, ends = torch.randn(2, 30, 9, generator=generator)
    allowed = torch.rand(30, 9, generator=generator) < 0.7
    allowed[:, 0], allowed[:, 4] = True, True
    starts, ends = (part.masked_fill(~allowed, -torch.inf) for part in (starts, ends))
    found = best_spans(starts, ends, longest)
    for row, (start, end, margin) in enumerate(zip(*found, strict=True)):
        spans = [
            (float(starts[row, i] + ends[row, j]), i, j)
            for i in range(1, 9)
            for j in range(i, min(9, i + longest))
        ]
        score, i, j = max(spans)
        assert (int(start), int(end)) == (i, j)
        assert float(margin) == pytest.approx(
            score - float(starts[row, 0] + ends[row, 0]), abs=1e-5
        )


def test_bad_logits_are_refused():
    for starts, ends, longest in (
        (torch.zeros(2, 3), torch.zeros(2, 4), 1),
        (torch.zeros(3), torch.zeros(3), 1),
        (torch.zeros(2, 3), torch.zeros(2, 3), 0),
    ):
        with pytest.raises(ValueError, match="must both be"):
            best_spans(starts, ends, longest)


def test_the_threshold_is_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        margins = torch.randn(12, generator=generator).tolist()
        right = ["" if torch.rand((), generator=generator) < 0.5 else "lamp" for _ in range(12)]
        answers = [
            Answer("lamp" if torch.rand((), generator=generator) < 0.7 else "kite", margin)
            for margin in margins
        ]

        def n_right(threshold, answers=answers, right=right):
            said = final_texts(answers, threshold)
            return sum(exact_match(*pair) for pair in zip(said, right, strict=True))

        tried = [n_right(m + d) for m in margins for d in (-1e-6, 1e-6)]
        assert n_right(best_threshold(answers, right)) == max(tried)
    with pytest.raises(ValueError, match="one for each"):
        best_threshold([], [])


WORLD = TinyWorld(WorldSettings(mix=(1, 0, 0, 0), n_events=(1, 4)))


def test_answers_are_read_off_the_context_and_the_mode_comes_back():
    tokenizer = make_masking_tokenizer((d.text for d in WORLD.documents(100)), 500)
    torch.manual_seed(0)
    config = ReaderConfig(
        tokenizer.vocab_size, tokenizer.special_tokens["[PAD]"], d_model=16, n_layers=1, dropout=0.5
    )
    model = SpanReader(config).train()
    source = StoryQuestions(WORLD, tokenizer, 6, 4)
    questions = [question for step in range(6) for question in source.questions(step)]
    assert len(questions) > 64  # several batches
    answers = read_answers(model, tokenizer, questions)
    assert model.training and len(answers) == len(questions)
    assert answers == read_answers(model, tokenizer, questions)
    for answer, question in zip(answers, questions, strict=True):
        assert answer.text and answer.text in question.context


def test_scores_by_group():
    questions = [q for d in range(8) for q in StoryQuestions(WORLD, TOKENIZER, 1, 4).questions(d)]
    perfect = span_scores([q.answer for q in questions], questions)
    assert all(s.exact == s.f1 == 1 for s in perfect.values())
    silent = span_scores([""] * len(questions), questions)
    assert silent["told"].exact == silent["told"].f1 == 0 and silent["not told"].exact == 1
    n_absent = sum(not q.answer for q in questions)
    assert silent["all"].exact == pytest.approx(n_absent / len(questions))
    kinds = {q.kind for q in questions}
    assert sum(silent[kind].n for kind in kinds) == silent["all"].n == len(questions)
    half = span_scores([q.answer + " lamp" if q.answer else "" for q in questions], questions)
    assert half["told"].exact == 0 and 0.6 < half["told"].f1 < 0.7


TOKENIZER = make_masking_tokenizer((d.text for d in WORLD.documents(50)), 450)
