"""Probes of the tiny world: the world's own texts score best, others as badly as they are."""

import math

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.questions import all_questions, answers, question_texts, truth
from aigc_lab.data.tiny_world.settings import QUESTION_KINDS
from aigc_lab.evaluation import world_probes
from aigc_lab.evaluation.world_probes import (
    answer_scores,
    excess_loss,
    probe,
    questions_about,
    story_scores,
    write_stories,
)
from aigc_lab.models.gpt import GPT, GPTConfig

DOCUMENTS = list(TinyWorld(WorldSettings(mix=(0.3, 0.3, 0.2, 0.2))).documents(30))
STORIES = [d for d in DOCUMENTS if d.kind in ("story", "questions")]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [document.text for document in DOCUMENTS]
    return train_bpe(texts, 300, special_tokens=["<|endoftext|>"])


@pytest.fixture(scope="module")
def blank(tokenizer):
    """A model to which all tokens are equally likely."""
    model = GPT(GPTConfig(tokenizer.vocab_size, context_length=900, d_model=8, n_heads=2))
    torch.nn.init.zeros_(model.embedding.weight)
    return model.eval()


def test_the_excess_of_a_blank_model_is_log_v_minus_the_floor(tokenizer, blank):
    found = excess_loss(blank, tokenizer, DOCUMENTS)
    assert set(found) == {document.kind for document in DOCUMENTS}
    for kind, excess in found.items():
        mine = [document for document in DOCUMENTS if document.kind == kind]
        n_targets = sum(len(tokenizer.encode(document.text)) + 1 for document in mine)
        floor = -sum(document.log_prob for document in mine) / n_targets
        assert excess == pytest.approx(math.log(tokenizer.vocab_size) - floor, abs=1e-5)


def test_kinds_that_do_not_occur_are_left_out(tokenizer, blank):
    assert set(excess_loss(blank, tokenizer, [STORIES[0]])) == {STORIES[0].kind}


def test_the_worlds_own_stories_are_good_and_broken_ones_are_not():
    own = [document.text.split("\n")[0] for document in STORIES]
    assert story_scores(own) == {"grammatical": 1, "consistent": 1}
    # A story in which somebody gives away what he does not have.
    wrong = (
        "One morning Freya was in the kitchen. Kenji sat by the river. A red kite lay on the hill."
        " Freya wanted to have the kite. Kenji gave the kite to Freya."
    )
    broken = [text.replace(".", "", 1) for text in own]
    assert story_scores(own + broken)["grammatical"] == 0.5
    assert story_scores([*own, wrong])["consistent"] == pytest.approx(len(own) / (len(own) + 1))


def test_every_question_of_a_story_is_asked_once():
    asked = questions_about(DOCUMENTS, QUESTION_KINDS)
    expected = [(d.state, q) for d in STORIES for q in all_questions(d.state, QUESTION_KINDS)]
    assert [(state, question) for _, question, state in asked] == expected
    for prompt, question, _ in asked:
        *_, story, line, last = prompt.split("\n")
        assert story in {document.text.split("\n")[0] for document in STORIES}
        assert line[len("Q: ") :] in question_texts(question) and last == "A:"
    wordings = {prompt.split("\n")[1].split()[1] for prompt, *_ in asked}
    assert len(wordings) > 3


def test_shares_of_right_answers_are_counted_by_kind(monkeypatch):
    asked = questions_about(DOCUMENTS, QUESTION_KINDS)
    wrong_kind = "who has"

    def say(model, tokenizer, prompts, *more, **settings):
        said = []
        for prompt, (_, question, state) in zip(prompts, asked, strict=True):
            assert prompt.endswith("A:")
            right = answers(question, truth(question, state))[-1]
            said.append(" Purple." if question.kind == wrong_kind else f" {right}")
        return said

    monkeypatch.setattr(world_probes, "complete", say)
    scores = answer_scores(None, None, asked)
    n_wrong = sum(question.kind == wrong_kind for _, question, _ in asked)
    assert scores.pop("overall") == pytest.approx(1 - n_wrong / len(asked))
    assert scores == {kind: float(kind != wrong_kind) for kind in QUESTION_KINDS}


def test_stories_begin_as_often_with_each_word_as_in_the_world(tokenizer, blank, monkeypatch):
    monkeypatch.setattr(world_probes, "STORY_TOKENS", 3)
    stories = write_stories(blank, tokenizer, 20)
    starts = [story[:3] for story in stories]
    assert (starts.count("One"), starts.count("Lon")) == (12, 4)
    assert sum(start.startswith("On") for start in starts) == 16
    assert write_stories(blank, tokenizer, 20) == stories
    assert write_stories(blank, tokenizer, 20, seed=1) != stories


def test_a_probe_has_all_scores(tokenizer, blank, monkeypatch):
    monkeypatch.setattr(world_probes, "ANSWER_TOKENS", 2)
    found = probe(blank, tokenizer, WorldSettings(seed=5), n_documents=8)
    assert found["n_too_long"] == 0
    assert found["answers"]["overall"] == 0 and found["n_questions"] > 10
    assert min(found["excess"].values()) > 3


def test_documents_that_do_not_fit_are_left_out_and_counted(tokenizer, monkeypatch):
    monkeypatch.setattr(world_probes, "ANSWER_TOKENS", 2)
    made = list(TinyWorld(WorldSettings(seed=5)).documents(12))
    lengths = sorted(len(tokenizer.encode(document.text)) for document in made)
    model = GPT(GPTConfig(tokenizer.vocab_size, context_length=lengths[8], d_model=8, n_heads=2))
    found = probe(model, tokenizer, WorldSettings(seed=5), n_documents=12)
    assert found["n_too_long"] == sum(n >= lengths[8] for n in lengths) > 0
