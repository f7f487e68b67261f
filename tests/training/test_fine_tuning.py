"""The loop for classifiers against one written out with torch, and early stopping."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.data.labelled import Labelled, LabelledTexts, encode_for_bert
from aigc_lab.data.masking import PAD, make_masking_tokenizer
from aigc_lab.models.bert import BERT, BERTConfig
from aigc_lab.models.heads import BERTClassifier, train_only
from aigc_lab.training.fine_tuning import (
    FineTuning,
    accuracy,
    class_loss,
    fine_tune,
    labels_of,
    mean_class_loss,
    predict,
)
from aigc_lab.training.optimizers import warmup_then_decay

TOKENIZER = make_masking_tokenizer(["Mei had a lamp.", "Omar had a kite."] * 3, 270)
ENCODE = partial(encode_for_bert, TOKENIZER, max_length=24)
EXAMPLES = [
    Labelled(f"{name} had a {thing}.", int(thing == "lamp"))
    for name in ("Mei", "Omar", "Yuki", "Kofi", "Bao")
    for thing in ("lamp", "kite")
]


def classifier(dropout=0.0):
    torch.manual_seed(0)
    pad = TOKENIZER.special_tokens[PAD]
    config = BERTConfig(
        270, pad, max_length=24, d_model=16, n_layers=1, init_std=0.25, dropout=dropout
    )
    return BERTClassifier(BERT(config), 2, dropout)


def test_the_steps_are_those_of_torch():
    settings = FineTuning(n_steps=6, batch_size=4, lr=1e-2, n_warmup=2, weight_decay=0.1, seed=3)
    ours, theirs = classifier(), classifier()
    assert fine_tune(ours, ENCODE, EXAMPLES, settings) == []
    assert not ours.training
    matrices = [p for p in theirs.parameters() if p.dim() > 1]
    rest = [p for p in theirs.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    source = LabelledTexts(EXAMPLES, ENCODE, 4, seed=3)
    for step in range(6):
        batch = source.batch(step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * warmup_then_decay(step, 6, 2)
        optimizer.zero_grad()
        F.cross_entropy(theirs(batch.tokens, batch.attention_mask), batch.labels).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_it_learns_and_what_is_frozen_stays():
    model = classifier()
    train_only(model, "head")
    before = {name: p.clone() for name, p in model.named_parameters()}
    fine_tune(model, ENCODE, EXAMPLES, FineTuning(20, lr=0.05))
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) != name.startswith("head.")
    train_only(model, "all")
    fine_tune(model, ENCODE, EXAMPLES, FineTuning(40, lr=0.01))
    assert accuracy(model, ENCODE, EXAMPLES) == 1


def test_looks_and_the_best_of_them():
    held_out = [
        Labelled(text, 1 - label) for text, label in EXAMPLES
    ]  # the opposite: it gets worse
    settings = FineTuning(7, lr=1e-2, evaluate_every=3)
    last = classifier()
    looks = fine_tune(last, ENCODE, EXAMPLES, settings, held_out)
    assert [look.step for look in looks] == [0, 3, 6, 7]
    assert looks[-1].train_loss == pytest.approx(mean_class_loss(last, ENCODE, EXAMPLES))
    assert looks[-1].held_out_loss == pytest.approx(mean_class_loss(last, ENCODE, held_out))
    assert looks[-1].held_out_loss > looks[0].held_out_loss
    best = classifier()
    kept = FineTuning(7, lr=1e-2, evaluate_every=3, keep_best=True)
    assert fine_tune(best, ENCODE, EXAMPLES, kept, held_out) == looks
    least = min(look.held_out_loss for look in looks)
    assert mean_class_loss(best, ENCODE, held_out) == pytest.approx(least)


def test_dropout_acts_in_training_only_and_the_seed_decides_it():
    runs = []
    for seed in (0, 0, 1):
        model = classifier(dropout=0.3)
        fine_tune(model, ENCODE, EXAMPLES, FineTuning(3, batch_size=10, seed=seed))
        runs.append(predict(model, ENCODE, EXAMPLES))
        assert np.array_equal(runs[-1], predict(model.train(), ENCODE, EXAMPLES))
        assert model.training
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_measures():
    model = classifier().eval()
    logits = predict(model, ENCODE, EXAMPLES * 8)  # more than a batch
    assert logits.shape == (80, 2)
    labels = labels_of(EXAMPLES * 8)
    assert accuracy(model, ENCODE, EXAMPLES * 8) == (logits.argmax(1) == labels).mean()
    batch = LabelledTexts(EXAMPLES, ENCODE, 10).batch(0)
    with torch.no_grad():
        total = class_loss(model, batch).item()
    assert total / 10 == pytest.approx(mean_class_loss(model, ENCODE, EXAMPLES), rel=1e-5)


def test_bad_settings():
    for wrong, message in (
        ({"n_steps": 0}, "n_steps=0 must be at least 1"),
        ({"n_steps": 1, "batch_size": 0}, "batch_size=0"),
        ({"n_steps": 10, "n_warmup": -3}, "n_warmup=-3 must be at least 0"),
        ({"n_steps": 10, "lr": -1}, "lr=-1 must be above 0"),
        ({"n_steps": 10, "lr": 0.0}, "lr=0.0 must be above 0"),
        ({"n_steps": 10, "lr": float("nan")}, "lr=nan must be above 0"),
        ({"n_steps": 10, "weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"n_steps": 1, "keep_best": True}, "needs evaluate_every"),
    ):
        with pytest.raises(ValueError, match=message):
            FineTuning(**wrong)
    with pytest.raises(ValueError, match="needs texts that are held out"):
        fine_tune(classifier(), ENCODE, EXAMPLES, FineTuning(1, evaluate_every=1))
    with pytest.raises(ValueError, match="examples is empty: nothing to predict"):
        predict(classifier(), ENCODE, [])
    with pytest.raises(ValueError, match="0 examples"):
        fine_tune(classifier(), ENCODE, [], FineTuning(1))
