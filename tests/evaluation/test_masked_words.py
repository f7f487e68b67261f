"""The best possible answer for a masked word, and the scores of a model beside it."""

import math

import pytest
import torch

from aigc_lab.data.masking import StoryPairs, make_masking_tokenizer
from aigc_lab.data.tiny_world import Impossible, TinyWorld, WorldSettings
from aigc_lab.evaluation import masked_words
from aigc_lab.evaluation.masked_words import (
    KINDS,
    OTHER,
    WORDS,
    Question,
    Slot,
    make_questions,
    masked_place,
    pair_accuracy,
    posterior,
    score,
    slots,
)
from aigc_lab.evaluation.story_likelihood import story_log_prob
from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.bert_pretraining import BERTForPretraining

STORIES = WorldSettings(mix=(1, 0, 0, 0))
SMALL = STORIES.replace(
    people=("Mei", "Omar", "Yuki"),
    places=("garden", "river"),
    things=("lamp", "kite"),
    colours=("red", "blue"),
    n_people=(2, 2),
    n_events=(0, 3),
)


@pytest.fixture(scope="module")
def tokenizer():
    texts = (document.text for document in TinyWorld(STORIES).documents(1500))
    return make_masking_tokenizer(texts, 640)


@pytest.mark.parametrize("settings", [SMALL, SMALL.replace(split="new_people"), STORIES])
def test_quick_reading_equals_the_world(settings):
    world = TinyWorld(settings)
    for document in world.documents(5 if settings is STORIES else 40):
        assert story_log_prob(world, document.text) == pytest.approx(document.log_prob, abs=1e-9)


def test_quick_reading_refuses_what_the_world_refuses():
    world = TinyWorld(SMALL)
    story = world.document(0).text
    for text in (
        story.replace("Omar", "Bao"),
        story.replace(" fell asleep", " fell"),
        story.replace(" in the garden", " in the river"),
        story + " It began to rain.",
        story[:-1],
    ):
        assert text != story
        with pytest.raises(Impossible):
            world.read(text)
        with pytest.raises(Impossible):
            story_log_prob(world, text)


def test_every_word_has_a_kind():
    text = "Then she gave the red lamp to Mei in the garden."
    kinds = {slot.word: slot.kind for slot in slots(text)}
    assert kinds["she"] == "pronoun" and kinds["red"] == "colour" and kinds["Mei"] == "name"
    assert kinds["lamp"] == "thing" and kinds["garden"] == "place" and kinds["gave"] == "other"
    assert all(text[slot.start : slot.end] == slot.word for slot in slots(text))
    for document in TinyWorld(STORIES).documents(100):
        assert all(slot.word in OTHER for slot in slots(document.text) if slot.kind == "other")


def test_posterior_by_trying_every_word():
    """No word of another kind fits, and the probabilities are the world's own."""
    world = TinyWorld(SMALL)
    everything = [*OTHER, *(word for words in WORDS.values() for word in words)]
    for document in world.documents(4):
        for slot in slots(document.text)[::3]:
            weights = {}
            for word in everything:
                text = document.text[: slot.start] + word + document.text[slot.end :]
                try:
                    weights[word] = math.exp(world.read(text).log_prob - document.log_prob)
                except Impossible:
                    continue
            total = sum(weights.values())
            expected = {word: weight / total for word, weight in weights.items()}
            assert posterior(world, document.text, slot) == pytest.approx(expected)


def test_what_the_rest_leaves_open_and_what_not():
    world = TinyWorld(SMALL)
    story = (
        "One morning Mei was by the river. Omar sat by the river. A red lamp lay by the river."
        " Mei dreamed of the lamp. That night Mei fell asleep without the lamp."
    )
    best = {slot.start: posterior(world, story, slot) for slot in slots(story)}
    assert best[story.index("red")] == pytest.approx({"red": 0.5, "blue": 0.5})
    assert best[story.index("Mei")] == {"Mei": 1.0}  # the last sentences name her
    assert set(best[story.index("Omar")]) == {"Omar", "Yuki"}
    assert best[story.index("lamp")] == {"lamp": 1.0}


def test_posterior_of_an_impossible_text():
    with pytest.raises(ValueError, match=r"no word fits into 'Mei ran\.' at 4"):
        posterior(TinyWorld(SMALL), "Mei ran.", Slot(4, 7, "ran", "other"))


def test_questions_and_the_place_of_their_mask(tokenizer):
    world = TinyWorld(STORIES)
    texts = [document.text for document in world.documents(12)]
    questions = make_questions(world, texts, seed=3)
    assert questions == make_questions(world, texts, seed=3)
    assert {question.slot.kind for question in questions} == set(KINDS)
    seconds = 0
    for question in questions:
        assert sum(question.best.values()) == pytest.approx(1)
        assert question.slot.word in question.best
        parts, index, ids = masked_place(tokenizer, question)
        assert "".join(parts) in texts
        row = [0, *tokenizer.encode(parts[0]), 0, *tokenizer.encode(parts[1])]
        assert row[index] == ids[question.slot.word]
        assert tokenizer.decode([row[index]]).strip() == question.slot.word
        seconds += question.slot.start >= len(parts[0])
    assert 0 < seconds < len(questions)
    with pytest.raises(ValueError, match="holds 'verb'; there are"):
        make_questions(world, texts, kinds=["verb"])


def test_a_model_that_knows_everything_reaches_the_best(tokenizer, monkeypatch):
    world = TinyWorld(STORIES)
    questions = make_questions(world, [d.text for d in world.documents(20)])

    def known(*_):
        logs = torch.full((len(questions), tokenizer.vocab_size), -30.0)
        for row, question in enumerate(questions):
            for word, token in masked_place(tokenizer, question)[2].items():
                logs[row, token] = math.log(question.best[word])
        return logs

    monkeypatch.setattr(masked_words, "answers", known)
    for result in score(None, tokenizer, questions).values():
        assert result.accuracy == pytest.approx(result.best_accuracy)
        assert result.loss == pytest.approx(result.best_loss, abs=1e-5)


def small_model(tokenizer):
    torch.manual_seed(0)
    pad = tokenizer.special_tokens["[PAD]"]
    return BERTForPretraining(BERTConfig(tokenizer.vocab_size, pad, d_model=16, n_layers=1))


def test_a_model_that_knows_nothing(tokenizer):
    world = TinyWorld(STORIES)
    questions = make_questions(world, [d.text for d in world.documents(5)])
    model = small_model(tokenizer).train()
    results = score(model, tokenizer, questions)
    assert model.training
    assert sum(result.n for result in results.values()) == len(questions)
    for result in results.values():
        assert result.accuracy <= result.best_accuracy + 1e-9
        assert result.loss > result.best_loss
    assert results["colour"].best_accuracy == pytest.approx(1 / 8)
    assert results["colour"].loss == pytest.approx(math.log(tokenizer.vocab_size), abs=1)
    with pytest.raises(ValueError, match="questions is empty"):
        score(model, tokenizer, [])


def test_the_answer_is_read_at_the_mask(tokenizer):
    """The model never sees the word: changing it changes nothing."""
    world = TinyWorld(STORIES)
    (question,) = make_questions(world, [world.document(3).text], kinds=["colour"])
    model = small_model(tokenizer)
    story = "".join(question.parts)
    slot, n = question.slot, len(question.parts[0])
    other = next(word for word in WORDS["colour"] if word != slot.word)
    changed = story[: slot.start] + other + story[slot.end :]
    n += (len(other) - len(slot.word)) * (slot.start < n)
    twin = Question((changed[:n], changed[n:]), slot._replace(word=other), question.best)
    logs = masked_words.answers(model, tokenizer, [question, twin])
    torch.testing.assert_close(logs[0], logs[1])


def test_a_word_of_several_tokens(tokenizer):
    question = Question(("Mei met Xyz.", " It"), Slot(8, 11, "Xyz", "name"), {"Xyz": 1.0})
    with pytest.raises(ValueError, match=r"'Xyz' has \d tokens, so one mask cannot stand for it"):
        masked_place(tokenizer, question)


def test_pair_accuracy(tokenizer):
    source = StoryPairs(TinyWorld(STORIES), tokenizer, 20)
    batches = [source.batch(0), source.batch(1)]
    model = small_model(tokenizer)
    with torch.no_grad():
        model.seq_relationship.weight.zero_()
        model.seq_relationship.bias.copy_(torch.tensor([1.0, 0.0]))
    share = sum((batch.labels == 0).sum().item() for batch in batches) / 40
    assert pair_accuracy(model, batches) == pytest.approx(share)
