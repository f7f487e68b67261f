"""What scores go by: weights that are planted are found, and simple scores are what they say."""

import numpy as np
import pytest

from aigc_lab.alignment.labellers import Labeller, Pair, label
from aigc_lab.alignment.score_weights import (
    TRAITS,
    counted_words,
    longer_wins,
    trait_table,
    weights_of,
)
from aigc_lab.data.tiny_world.requests import StoryRequest
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import StoryPrompt, Taste, story_prompts
from aigc_lab.data.tiny_world.world import TinyWorld

OPENING = (
    "One morning Mei was by the river. A red kite lay by the river. Mei wanted to have the kite."
)
HAPPY = " In the end Mei had the kite, and all was well."


def pairs_of_stories(n):
    stories = [d.text for d in TinyWorld(WorldSettings(mix=(1, 0, 0, 0))).documents(2 * n)]
    stories = [text.split("\n")[0] for text in stories]
    prompts = story_prompts(WorldSettings(seed=8), n)
    cut = [" ".join(text.split()[: 12 + i % 30]) for i, text in enumerate(stories)]
    return [Pair(*row) for row in zip(prompts, stories[::2], cut[1::2], strict=True)]


def test_rows_are_first_and_second_in_turn_with_two_kinds_of_happy_ends():
    earned, unearned = OPENING + " Mei took the kite." + HAPPY, OPENING + HAPPY
    prompt = StoryPrompt(StoryRequest(person="Omar"), "")
    table = trait_table([Pair(prompt, earned, unearned)])
    assert table.shape == (2, len(TRAITS))
    assert table[0].tolist() == [1, 0, 1, 0, 1, len(earned.split())]
    assert table[1].tolist() == [0, 1, 0, 1, 1, len(unearned.split())]


def test_planted_weights_are_found():
    table = np.random.default_rng(0).normal(size=(200, 6))
    planted = np.array([2, 0, 1, -0.3, -0.4, 0.01])
    found = weights_of(table @ planted + 5, table)
    assert list(found) == list(TRAITS)
    assert list(found.values()) == pytest.approx(planted)


def test_words_are_counted_first_less_second():
    pair = Pair(StoryPrompt(StoryRequest(), ""), "a b c", "a")
    assert longer_wins([pair, Pair(pair.prompt, "a", "a b")]).tolist() == [2, -1]


def test_counted_words_learn_a_taste_for_length():
    pairs = pairs_of_stories(160)
    likes_words = Labeller(Taste(0, 0, 0, 0, 0, word=1.0), temperature=0)
    differences = counted_words(label(pairs[:120], likes_words), pairs[120:])
    longer = longer_wins(pairs[120:])
    agree = np.sign(differences)[longer != 0] == np.sign(longer)[longer != 0]
    assert agree.mean() > 0.85
    mirrored = [Pair(p.prompt, p.second, p.first) for p in pairs[120:]]
    again = counted_words(label(pairs[:120], likes_words), mirrored)
    assert np.allclose(again, -differences)
