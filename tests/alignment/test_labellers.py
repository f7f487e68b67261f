"""Simulated labellers: their votes follow their taste, repeat, and bound what can be foreseen."""

import math

import numpy as np
import pytest
import torch

from aigc_lab.alignment.labellers import (
    Labeller,
    Pair,
    bayes_ceiling,
    bradley_terry,
    chances,
    label,
    panel,
    sample_pairs,
    share_foreseen,
    vote_table,
)
from aigc_lab.data.tiny_world.requests import StoryRequest
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import StoryPrompt, Taste, story_prompts
from aigc_lab.generation.chat import Reply
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.shipped import load_shipped

ANY = StoryPrompt(StoryRequest(), "Tell me a story.")
GOOD = "One morning Mei was by the river. Mei went to the hill. Mei greeted Mei."
WORSE = "One morning Mei was by the river. Mei went to the hill."
BAD = "One morning Mei was by the river. Nonsense."


def test_the_chance_is_the_logistic_function_of_the_difference():
    for difference in (-800.0, -2.0, 0.0, 0.5, 30.0, 800.0):
        expected = torch.tensor(difference / 2, dtype=torch.float64).sigmoid().item()
        assert bradley_terry(difference, 2.0) == pytest.approx(expected, abs=1e-12)
    assert [bradley_terry(d, 0) for d in (-0.1, 0, 3)] == [0, 0.5, 1]


def test_votes_come_as_often_as_their_chance():
    labeller = Labeller(temperature=0.8, flips=0.2)
    worth = [Taste().utility(ANY.request, text) for text in (WORSE, BAD)]
    p = 1 / (1 + math.exp(-(worth[0] - worth[1]) / 0.8))
    expected = 0.8 * p + 0.2 * (1 - p)
    assert labeller.probability(ANY, WORSE, BAD) == pytest.approx(expected)
    assert labeller.probability(ANY, BAD, WORSE) == pytest.approx(1 - expected)
    votes = [labeller.vote(ANY, WORSE, BAD, index) for index in range(4000)]
    assert np.mean(votes) == pytest.approx(expected, abs=0.025)


def test_identical_seeds_give_identical_votes_and_others_do_not():
    pairs = [Pair(ANY, WORSE, BAD)] * 60
    votes = [label(pairs, Labeller(seed=seed)) for seed in (1, 1, 2)]
    assert votes[0] == votes[1] != votes[2]
    assert {v.chosen for v in votes[0]} == {WORSE, BAD}


def test_a_sure_labeller_always_picks_the_better_and_keeps_the_prompt():
    found = label([Pair(ANY, BAD, WORSE), Pair(ANY, WORSE, BAD)], Labeller(temperature=0))
    assert [(p.chosen, p.rejected) for p in found] == [(WORSE, BAD)] * 2
    assert found[0].messages == tuple(ANY.messages)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"flips": -0.1}, {"flips": 0.6}])
def test_impossible_labellers_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        Labeller(**wrong)


def test_nobody_beats_the_ceiling_and_flips_lower_it_as_predicted():
    pairs = [Pair(ANY, WORSE, BAD), Pair(ANY, BAD, GOOD), Pair(ANY, WORSE, GOOD)]
    labeller = Labeller()
    p = chances(pairs, labeller)
    top = bayes_ceiling(pairs, labeller)
    every = [share_foreseen(np.array(d), p) for d in np.ndindex(3, 3, 3)]
    signs = [np.array(d) - 1 for d in np.ndindex(3, 3, 3)]
    best = max(share_foreseen(d, p) for d in signs)
    assert top == pytest.approx(best) and max(every) <= top + 1e-12
    assert share_foreseen(np.zeros(3), p) == 0.5
    for flips in (0.1, 0.5):
        flipped = bayes_ceiling(pairs, Labeller(flips=flips))
        assert flipped == pytest.approx(top * (1 - 2 * flips) + flips)
    with pytest.raises(ValueError, match="must match"):
        share_foreseen(np.zeros(2), p)


def test_foreseen_share_is_that_of_drawn_votes():
    pairs = [Pair(ANY, WORSE, BAD)] * 3000
    votes = vote_table(pairs, [Labeller(seed=5)])[:, 0]
    expected = share_foreseen(np.ones(1), chances(pairs[:1], Labeller()))
    assert votes.mean() == pytest.approx(expected, abs=0.03)


def test_a_panel_differs_in_taste_as_much_as_asked():
    same = panel(4, 0.0, seed=1)
    assert all(who.taste == Taste() for who in same) and len({who.seed for who in same}) == 4
    apart = panel(200, 0.5, seed=1)
    ratios = np.array([who.taste.happening / Taste().happening for who in apart])
    assert ratios.std() == pytest.approx(0.5, abs=0.08)
    assert ratios.mean() == pytest.approx(1, abs=0.12)
    assert all(who.taste.patience == Taste().patience for who in apart)
    assert panel(3, 0.5, seed=1)[0] == apart[0]
    votes = vote_table([Pair(ANY, WORSE, BAD)] * 4, same)
    assert votes.shape == (4, 4) and votes.dtype == bool


def test_pairs_of_a_model_differ_and_repeat(monkeypatch):
    _, tokenizer = load_shipped("chat")
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.vocab_size, 160, d_model=8, n_layers=1, n_heads=1)).eval()
    prompts = story_prompts(WorldSettings(seed=1), 2)
    pairs = sample_pairs(model, tokenizer, prompts, seed=2)
    assert [pair.prompt for pair in pairs] == prompts
    assert all(pair.first != pair.second for pair in pairs)
    assert pairs == sample_pairs(model, tokenizer, prompts, seed=2)
    assert pairs != sample_pairs(model, tokenizer, prompts, seed=3)
    same = [Reply("Ho.", True), Reply("Ho.", True), Reply("Ho.", True), Reply("No.", True)]
    monkeypatch.setattr("aigc_lab.alignment.labellers.replies", lambda *_, **__: same)
    assert sample_pairs(model, tokenizer, prompts) == [Pair(prompts[1], "Ho.", "No.")]
