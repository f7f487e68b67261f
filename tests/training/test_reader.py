"""The recipe of the reader, cut down: what it reads first, what its loss is, and its scores."""

import dataclasses
import json

import pytest
import torch
from torch.nn import functional as F
from torch.nn.functional import log_softmax

from aigc_lab.models.heads import ReaderConfig, SpanReader
from aigc_lab.models.shipped import load_shipped, shipped_notes
from aigc_lab.training import recipes, shipping
from aigc_lab.training.losses import span_loss
from aigc_lab.training.making_data import make_data
from aigc_lab.training.recipe_data import Lesson
from aigc_lab.training.recipes import get_recipe
from aigc_lab.training.running import make_model, run_recipe


@pytest.fixture
def recipe(monkeypatch):
    whole = get_recipe("reader", "quick")
    lessons = (Lesson(1, n_documents=2, n_events=(0, 0)),)
    data = dataclasses.replace(
        whole.data, n_stories=3, n_each=2, n_held_out=6, n_finding=2, lessons=lessons
    )
    training = dataclasses.replace(whole.training, n_steps=4, n_warmup=1, evaluate_every=2)
    small = dataclasses.replace(whole, data=data, training=training)
    monkeypatch.setitem(recipes.RECIPES, "reader", lambda preset: small)
    return small


def test_it_begins_with_bert_and_words_to_find_then_short_stories_then_all(recipe):
    model, (bert, tokenizer) = make_model(recipe), load_shipped("bert")
    assert isinstance(model, SpanReader) and isinstance(model.config, ReaderConfig)
    for ours, theirs in zip(model.bert.parameters(), bert.bert.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    data = make_data(recipe)
    assert data.tokenizer.special_tokens == tokenizer.special_tokens
    steps = [data.source.batch(step) for step in range(5)]
    lengths = [int(batch.attention_mask.sum(1).max()) for batch in steps]
    assert steps[2].n_targets <= 4 < steps[3].n_targets  # two stories, then three
    assert lengths[2] < max(lengths)
    assert len(data.held_out) == 2 and data.held_out[0].n_targets == 6
    source = data.source
    for find_words in (True, False, False):
        now = source.first if hasattr(source, "first") else source
        assert now.find_words is find_words
        source = getattr(source, "then", None)


def test_the_loss_is_the_mean_of_two_cross_entropies(recipe):
    model, data = make_model(recipe).eval(), make_data(recipe)
    batch = data.source.batch(0)
    told = batch.starts > 0  # the world's answers are one word: make them longer
    batch = dataclasses.replace(batch, ends=batch.ends + told)
    assert told.any()
    with torch.no_grad():
        total = span_loss(model, batch).item()
        starts, ends = model(batch.tokens, batch.attention_mask, batch.segments, batch.allowed)
    rows = range(batch.n_targets)
    by_hand = -sum(
        log_softmax(starts[r].double(), 0)[batch.starts[r]]
        + log_softmax(ends[r].double(), 0)[batch.ends[r]]
        for r in rows
    )
    assert total == pytest.approx(by_hand.item() / 2, rel=1e-4)
    assert F.one_hot(batch.starts, batch.shape[1])[~batch.allowed].sum() == 0


def test_it_is_trained_probed_and_shipped(recipe, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(shipping, "N_TO_CHOOSE", 3)
    monkeypatch.setattr("aigc_lab.evaluation.spans.N_STORIES", 4)
    model, _, log = run_recipe(recipe, tmp_path / "run", show_progress=False)
    scores = shipping.ship("reader", tmp_path / "run", tmp_path / "weights")
    assert set(scores) == {"threshold", "train", "new_pairs", "new_people"}
    assert 20 <= scores["train"]["all"]["n"] <= 28
    read, tokenizer = load_shipped("reader", tmp_path / "weights")
    assert not [w for w in recwarn if "another recipe" in str(w.message)]
    batch = make_data(recipe, tokenizer).held_out[0]
    with torch.no_grad():
        torch.testing.assert_close(
            span_loss(read, batch), span_loss(model, batch), rtol=1e-2, atol=1e-2
        )
    notes = shipped_notes("reader", tmp_path / "weights")
    assert notes["log"] == log and notes["scores"] == json.loads(json.dumps(scores))


def test_a_recipe_without_a_start_is_refused(recipe):
    with pytest.raises(ValueError, match="give it start='bert'"):
        make_data(dataclasses.replace(recipe, start=None))


def test_the_shipped_reader_meets_its_bar():
    model, tokenizer = load_shipped("reader")
    recipe = get_recipe("reader")
    held_out = make_data(dataclasses.replace(recipe), tokenizer).held_out
    right = n = 0
    with torch.no_grad():
        for batch in held_out[:4]:
            starts, ends = model(batch.tokens, batch.attention_mask, batch.segments, batch.allowed)
            hits = (starts.argmax(1) == batch.starts) & (ends.argmax(1) == batch.ends)
            right, n = right + int(hits.sum()), n + len(hits)
    assert right / n > 0.9
    scores = shipped_notes("reader")["scores"]
    assert scores["train"]["all"]["exact"] >= 0.9 <= scores["new_pairs"]["all"]["exact"]
