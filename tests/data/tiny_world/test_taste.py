"""The gold reward: traits against stories whose state is known, and weights by hand."""

import random

import pytest

from aigc_lab.data.tiny_world.requests import StoryRequest
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import WORST, Taste, story_prompts, story_traits

ANY = StoryRequest()
OPENING = "One morning Mei was by the river. A red kite lay by the river."
WISH = " Mei wanted to have the kite."
TOOK = " Mei picked up the kite."
HAPPY = " In the end Mei had the kite, and all was well."
SAD = " In the end Mei did not have the kite."


def test_stories_of_the_world_have_nothing_wrong_and_earn_their_ends():
    """The teller knows the state; the traits come from the text alone."""
    settings, n_happy = WorldSettings(seed=3), 0
    for prompt in story_prompts(settings, 200):
        text, state = prompt.request.tell(random.Random(prompt.text), settings)
        traits = story_traits(prompt.request, text)
        has_it = state.wish is not None and state.is_over
        has_it = bool(has_it and state.things[state.wish] == state.lead)
        assert (traits.n_errors, traits.n_unmet) == (0, 0)
        assert traits.happy_end == traits.is_earned == has_it
        assert traits.n_sentences == text.count(". ") + 1
        assert traits.n_words == len(text.split(" "))
        n_happy += has_it
    assert 10 < n_happy < 190


@pytest.mark.parametrize(
    ("request_", "text", "expected"),
    [
        (ANY, OPENING + WISH + TOOK + HAPPY, 2 + 1),
        (ANY, OPENING + WISH + HAPPY, -0.3),  # she never took it: an error, and not earned
        (ANY, OPENING + WISH + SAD, 0),
        (ANY, OPENING + " Mei went to the hill. Mei ran to the forest.", 1),  # one kind, twice
        (ANY, OPENING + TOOK + " Mei put down the kite.", 2),
        (ANY, OPENING + " Nonsense.", -0.3),
        (ANY, "", -0.3),
        (StoryRequest(person="Mei", place="river"), OPENING, 0),
        (StoryRequest(person="Omar", place="river"), OPENING, -0.4),
        (StoryRequest(person="Omar", thing="drum", place="hill"), OPENING, -1.2),
        (ANY, OPENING + " It began to rain." * 5, 0),  # seven sentences
        (ANY, OPENING + " It began to rain." * 7, -1.5),  # two too many
        (ANY, OPENING + " It began to rain." * 50, WORST),
    ],
)
def test_utilities_by_hand(request_, text, expected):
    assert Taste().utility(request_, text) == pytest.approx(expected)


def test_each_weight_counts_its_own_trait():
    text = OPENING + WISH + TOOK + HAPPY
    zero = Taste(happy_end=0, happening=0, error=0, unmet=0, tiring=0)
    request = StoryRequest(person="Omar")
    assert zero.utility(request, text) == 0
    assert zero.replace(happy_end=3.0).utility(request, text) == 3
    assert zero.replace(happening=3.0).utility(request, text) == 3
    assert zero.replace(unmet=-3.0).utility(request, text) == -3
    assert zero.replace(error=-3.0).utility(request, OPENING + HAPPY) == -3
    assert zero.replace(tiring=-1.0, patience=4).utility(request, text) == -1
    assert zero.replace(word=0.5).utility(request, text) == len(text.split()) / 2


def test_prompts_are_a_series():
    settings = WorldSettings(seed=4)
    prompts = story_prompts(settings, 30)
    assert prompts[10:] == story_prompts(settings, 20, start=10)
    assert prompts != story_prompts(WorldSettings(seed=5), 30)
    for prompt in prompts:
        assert prompt.request.n_sentences == 0
        assert prompt.messages == [("user", prompt.text)]
        for value in (prompt.request.person, prompt.request.thing, prompt.request.place):
            assert value in prompt.text
