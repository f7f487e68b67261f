"""The probabilities that the tiny world gives its documents are the true ones."""

import math
import random
from collections import Counter

import pytest

from aigc_lab.data.tiny_world import Impossible, TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.settings import KINDS
from aigc_lab.data.tiny_world.speaking import Drawing, Following, all_documents
from aigc_lab.data.tiny_world.state import Fact, State
from aigc_lab.data.tiny_world.story import next_facts, wordings

SMALL = WorldSettings(
    people=("Amara", "Kenji"),
    places=("garden", "river"),
    things=("kite", "lamp"),
    colours=("red",),
    n_people=(2, 2),
    n_things=(1, 1),
    n_events=(0, 0),
    n_questions=(1, 2),
    question_kinds=("where person", "is there"),
    n_exchanges=(1, 1),
    n_sums=(1, 2),
    largest_addend=9,
)


def only(kind: str, **changes) -> TinyWorld:
    return TinyWorld(SMALL.replace(mix=tuple(float(kind == name) for name in KINDS), **changes))


def assert_is_distribution(documents) -> None:
    """The probabilities sum to 1, and no text can come about in two ways."""
    documents = list(documents)
    assert sum(math.exp(d.log_prob) for d in documents) == pytest.approx(1, abs=1e-9)
    assert len({d.text for d in documents}) == len(documents)


def test_small_world_of_stories_sums_to_one():
    assert_is_distribution(only("story").all_documents())


def test_small_world_of_sums_sums_to_one():
    assert_is_distribution(only("sums").all_documents())
    assert_is_distribution(only("sums", split="new_pairs").all_documents())


def test_small_world_of_dialogues_sums_to_one():
    dialogues = only("dialogue", places=("garden", "river"), things=("kite", "lamp"))
    assert_is_distribution(dialogues.all_documents())


def test_what_follows_a_story_sums_to_one():
    """Events and the end, from a state in which every kind of event can happen."""
    settings = SMALL.replace(n_events=(1, 2), n_things=(2, 2))
    state = State()
    for fact in (
        Fact("be", "Amara", place="garden"),
        Fact("be", "Kenji", place="garden"),
        Fact("lie", thing="kite", place="garden", colour="red"),
        Fact("own", "Kenji", thing="lamp", colour="red"),
        Fact("wish", "Amara", thing="kite"),
    ):
        state.apply(fact)

    def go_on(speaker) -> tuple[str, float, tuple]:
        now = State(**{name: _copy(value) for name, value in vars(state).items()})
        kinds = []
        # One event, and whatever may come then: the end, or another event.
        for _ in range(2):
            if groups := next_facts(now, settings):
                fact = speaker.say(groups, lambda fact: wordings(fact, now))
                now.apply(fact)
                kinds.append(fact.kind)
        return speaker.text, speaker.log_prob, tuple(kinds)

    found = list(all_documents(go_on))
    assert sum(math.exp(log_prob) for _, log_prob, _ in found) == pytest.approx(1, abs=1e-9)
    assert len({text for text, _, _ in found}) == len(found)
    first = Counter(kinds[0] for _, _, kinds in found)
    assert set(first) == {"go", "take", "give", "drop", "greet", "air"}


def _copy(value):
    return dict(value) if isinstance(value, dict) else value


def test_all_kinds_together_sum_to_one():
    settings = SMALL.replace(mix=(0.5, 0, 0.3, 0), n_sums=(1, 1))
    assert_is_distribution(TinyWorld(settings).all_documents())


def test_questions_sum_to_one():
    from aigc_lab.data.tiny_world.questions import ask

    state = State()
    for fact in (
        Fact("be", "Amara", place="garden"),
        Fact("be", "Kenji", place="river"),
        Fact("lie", thing="kite", place="garden", colour="red"),
        Fact("wish", "Amara", thing="kite"),
    ):
        state.apply(fact)

    def asked(speaker) -> tuple[str, float]:
        ask(speaker, state, SMALL.replace(question_kinds=("wish", "colour", "who has")))
        return speaker.text, speaker.log_prob

    found = list(all_documents(asked))
    assert sum(math.exp(log_prob) for _, log_prob in found) == pytest.approx(1, abs=1e-9)
    assert len({text for text, _ in found}) == len(found)


def test_documents_are_drawn_as_often_as_their_probability_says():
    """Chi-square over the 40 first sentences of the small world, and over its sums."""
    draws = 4000
    for world, part in ((only("story"), _first_sentence), (only("sums"), _first_line)):
        expected = Counter()
        for document in world.all_documents():
            expected[part(document.text)] += math.exp(document.log_prob)
        found = Counter(part(d.text) for d in world.documents(draws))
        assert set(found) <= set(expected)
        chi2 = sum((found[name] - draws * p) ** 2 / (draws * p) for name, p in expected.items())
        freedom = len(expected) - 1
        # Five standard deviations of a chi-square variable.
        assert abs(chi2 - freedom) < 5 * math.sqrt(2 * freedom)


def _first_sentence(text: str) -> str:
    return text.split(".")[0]


def _first_line(text: str) -> str:
    return "\n".join(text.split("\n")[:2])


# The full world has too many documents to count. Documents drawn with other weights, each counted
# P(document) / P'(document) times, must count 1 on average, for any P and P' with the same support.
OTHER = WorldSettings(
    mix=(0.15, 0.6, 0.15, 0.1),
    end_chance=0.2,
    end_chance_with=0.45,
    purpose=3.0,
    mentioned=5.0,
    steps_share=0.45,
)


@pytest.fixture(scope="module")
def counts() -> list[float]:
    """How often each document of the other world counts in the full one."""
    world = TinyWorld()
    return [
        math.exp(world.read(document.text).log_prob - document.log_prob)
        for document in TinyWorld(OTHER).documents(200)
    ]


def test_full_world_sums_to_one_by_monte_carlo(counts):
    assert abs(_deviation(counts)) < 4


def test_monte_carlo_notices_a_wrong_probability(counts):
    assert _deviation([1.2 * count for count in counts]) > 4
    assert _deviation([0.8 * count for count in counts]) < -4


def _deviation(counts: list[float]) -> float:
    """Mean count minus 1, in standard errors."""
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    return (mean - 1) / math.sqrt(variance / len(counts))


def test_reading_gives_the_probability_that_drawing_gave():
    world = TinyWorld()
    kinds = Counter()
    for document in world.documents(40, start=500):
        read = world.read(document.text)
        assert read.log_prob == pytest.approx(document.log_prob, abs=1e-9)
        assert (read.kind, read.questions, read.sums) == (
            document.kind, document.questions, document.sums,
        )  # fmt: skip
        assert vars(read.state or State()) == vars(document.state or State())
        kinds[document.kind] += 1
    assert set(kinds) == set(KINDS)


def test_entropy_by_sampling_is_the_exact_one():
    world = only("story")
    exact = -sum(math.exp(d.log_prob) * d.log_prob for d in world.all_documents())
    found = [-d.log_prob for d in world.documents(2000)]
    mean = sum(found) / len(found)
    error = math.sqrt(sum((x - mean) ** 2 for x in found) / len(found) ** 2)
    assert error < 0.02 * exact
    assert abs(mean - exact) < 4 * error


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda text: text.replace("Long ago", "Once upon a time"), "Once upon"),
        (lambda text: text + " And so on.", "after the end"),
        (lambda text: text[:-20], "cannot come after"),
        (lambda text: "", "cannot come after"),
    ],
)
def test_impossible_texts_are_named(change, where):
    text = next(d.text for d in TinyWorld().documents(1000) if d.text.startswith("Long ago"))
    text = text.split("\n")[0]
    with pytest.raises(Impossible, match=where):
        TinyWorld(WorldSettings(mix=(1, 0, 0, 0))).read(change(text))


def test_a_kind_without_share_is_impossible():
    with pytest.raises(Impossible, match=r"'sums': mix="):
        only("story").read("Sums:\n1 + 1 = 2")


def test_following_takes_the_longest_text():
    speaker = Following("abc")
    assert speaker.say([(1, ["a", "ab"])], lambda item: {item: 1}) == "ab"
    with pytest.raises(Impossible, match="'c' cannot come after 'ab'"):
        speaker.say([(1, ["d"])], lambda item: {item: 1})


def test_groups_without_weight_or_items_never_come():
    for seed in range(50):
        speaker = Drawing(random.Random(seed))
        item = speaker.say([(0, ["never"]), (5, []), (1, ["always"])], lambda item: {item: 1})
        assert item == "always"
        assert speaker.log_prob == 0
