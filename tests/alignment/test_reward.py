"""The pairwise loss against torch's own, scores, training, and the accuracy that is expected."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aigc_lab.alignment.labellers import Labeller, Pair
from aigc_lab.alignment.pairs import make_pair_batch
from aigc_lab.alignment.reward import (
    RewardSettings,
    expected_accuracy,
    loss_of_pairs,
    new_reward_model,
    pairwise_loss,
    score_differences,
    score_replies,
    train_reward_model,
)
from aigc_lab.data.chat import encode_prompt, encode_reply
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tiny_world.requests import StoryRequest
from aigc_lab.data.tiny_world.taste import StoryPrompt
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.shipped import load_shipped

PREFERENCES = [
    Preference((("user", f"Tell me of {name}."),), f"{name} ran to the hill.", f"{name} sat.")
    for name in ("Mei", "Omar", "Yuki", "Kofi", "Leila", "Arjun", "Freya", "Diego")
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_shipped("chat")[1]


@pytest.fixture(scope="module")
def start(tokenizer):
    torch.manual_seed(0)
    return GPT(GPTConfig(tokenizer.vocab_size, 64, d_model=16, n_layers=1, n_heads=1)).eval()


def test_the_loss_is_binary_cross_entropy_of_the_difference():
    chosen, rejected = torch.randn(2, 20, generator=torch.Generator().manual_seed(0)).double()
    expected = F.binary_cross_entropy_with_logits(
        chosen - rejected, torch.ones(20).double(), reduction="none"
    )
    assert torch.allclose(pairwise_loss(chosen, rejected), expected)
    shifted = F.binary_cross_entropy_with_logits(
        chosen - rejected - 0.7, torch.ones(20).double(), reduction="none"
    )
    assert torch.allclose(pairwise_loss(chosen, rejected, 0.7), shifted)


def test_the_loss_is_finite_far_away_and_so_is_its_slope():
    chosen = torch.tensor([-500.0, 500.0], requires_grad=True)
    loss = pairwise_loss(chosen, torch.zeros(2))
    assert torch.allclose(loss, torch.tensor([500.0, 0.0]))
    loss.sum().backward()
    assert torch.allclose(chosen.grad, torch.tensor([-1.0, 0.0]))


def test_a_head_of_zeros_costs_ln_2(tokenizer, start):
    model = new_reward_model(start)
    torch.nn.init.zeros_(model.score.weight)
    batch = make_pair_batch(tokenizer, PREFERENCES, 64)
    loss = loss_of_pairs(model, batch).item() / batch.n_targets
    assert loss == pytest.approx(math.log(2), abs=1e-6)


def test_the_loss_of_a_batch_is_that_of_scores_one_by_one(tokenizer, start):
    torch.manual_seed(1)
    model = new_reward_model(start).eval()
    marked = [Preference(p.messages, p.chosen, p.rejected, 0.5) for p in PREFERENCES]
    batch = make_pair_batch(tokenizer, marked, 64)

    def alone(preference, text):
        ids = encode_prompt(tokenizer, preference.messages) + encode_reply(tokenizer, text)
        return model(torch.tensor([ids]))[0].item()

    expected = sum(
        math.log1p(math.exp(-(alone(p, p.chosen) - alone(p, p.rejected) - 0.5))) for p in marked
    )
    assert loss_of_pairs(model, batch).item() == pytest.approx(expected, rel=1e-4)


def test_scores_do_not_depend_on_the_batch_and_ensembles_are_rows(tokenizer, start):
    models = [new_reward_model(start) for _ in range(2)]
    conversations = [p.messages for p in PREFERENCES]
    texts = [p.chosen for p in PREFERENCES]
    one = score_replies(models[0], tokenizer, conversations, texts)
    assert torch.allclose(
        one, score_replies(models[0], tokenizer, conversations, texts, batch_size=3), atol=1e-5
    )
    both = score_replies(models, tokenizer, conversations, texts)
    assert both.shape == (2, len(texts)) and torch.equal(both[0], one)
    assert not torch.allclose(both[0], both[1])
    assert models[0].training  # as it was
    for conversations_, texts_ in ((conversations[:2], texts), ([], [])):
        with pytest.raises(ValueError, match="give one conversation for each reply"):
            score_replies(models[0], tokenizer, conversations_, texts_)


def test_training_learns_and_repeats_itself(tokenizer, start):
    settings = RewardSettings(n_epochs=6, batch_size=4, lr=2e-2, muon_lr=2e-2)
    losses = []
    model = train_reward_model(
        start, tokenizer, PREFERENCES, settings, 3, lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 12 and np.mean(losses[-3:]) < 0.3 < np.mean(losses[:3])
    again = train_reward_model(start, tokenizer, PREFERENCES, settings, 3)
    other = train_reward_model(start, tokenizer, PREFERENCES, settings, 4)
    conversations, texts = [p.messages for p in PREFERENCES], [p.chosen for p in PREFERENCES]
    scores = [score_replies(m, tokenizer, conversations, texts) for m in (model, again, other)]
    assert torch.equal(scores[0], scores[1]) and not torch.allclose(scores[0], scores[2])
    rejected = score_replies(model, tokenizer, conversations, [p.rejected for p in PREFERENCES])
    assert (scores[0] > rejected).all()
    with pytest.raises(ValueError, match="batch_size=32"):
        train_reward_model(start, tokenizer, PREFERENCES)


def test_expected_accuracy_is_the_share_over_many_votes(tokenizer, start):
    model = new_reward_model(start)
    pairs = [
        Pair(StoryPrompt(StoryRequest(), p.messages[0][1]), p.chosen, p.rejected)
        for p in PREFERENCES
    ]
    labeller = Labeller(temperature=0.7, flips=0.1)
    differences = score_differences(model, tokenizer, pairs)
    conversations = [pair.prompt.messages for pair in pairs]
    by_hand = score_replies(model, tokenizer, conversations, [p.first for p in pairs])
    by_hand -= score_replies(model, tokenizer, conversations, [p.second for p in pairs])
    assert torch.allclose(differences, by_hand)
    hits = [
        (differences[i].item() > 0)
        == Labeller(temperature=0.7, flips=0.1, seed=s).vote(p.prompt, p.first, p.second, i)
        for s in range(400)
        for i, p in enumerate(pairs)
    ]
    found = expected_accuracy(model, tokenizer, pairs, labeller)
    assert found == pytest.approx(np.mean(hits), abs=0.03)
