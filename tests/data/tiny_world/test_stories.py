"""Stories: what happens is possible, what is written can be read, what is wrong is found."""

import itertools
import random

import pytest

from aigc_lab.data.tiny_world import TinyWorld, WorldSettings, lexicon, read_story
from aigc_lab.data.tiny_world.speaking import Drawing
from aigc_lab.data.tiny_world.state import Fact, Facts, State
from aigc_lab.data.tiny_world.story import events, next_facts, tell, wordings

STORIES = WorldSettings(mix=(1, 0, 0, 0))
STORY = (
    "One morning Mei was in the garden. Omar sat by the river. There was a red kite by the river. "
    "Mei wished for the kite more than anything. Then she ran to the river. "
    "Omar picked up the kite. He handed Mei the kite. So Mei got the kite after all."
)


def test_every_story_reads_as_consistent_and_ends_in_its_state():
    for split in ("train", "new_pairs", "new_people"):
        for document in TinyWorld(STORIES.replace(split=split)).documents(150):
            reading = read_story(document.text)
            assert reading.is_consistent, (document.text, reading.mistakes, reading.contradictions)
            assert vars(reading.state) == vars(document.state)


def test_what_a_story_says_by_hand():
    assert read_story(STORY).is_consistent
    state = read_story(STORY).state
    assert state.people == {"Mei": "river", "Omar": "river"}
    assert state.first == {"Mei": "garden", "Omar": "river"}
    assert state.things == {"kite": "Mei"}
    assert state.colours == {"kite": "red"}
    assert (state.lead, state.wish, state.place_of("kite")) == ("Mei", "kite", "river")
    assert (state.has("Mei"), state.has("Omar")) == (["kite"], [])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Then she ran to the river. ", "", "Omar is by the river and Mei is in the garden"),
        ("Omar picked up the kite. He", "Omar", "the kite is by the river, not with Omar"),
        ("picked up the kite", "picked up the lamp", "nobody has spoken of a lamp"),
        ("kite by the river", "kite on the hill", "the kite is on the hill, and Omar is by the"),
        ("So Mei got the kite after all", "So Mei never got the kite", "Mei has the kite"),
        ("So Mei got the kite", "So Omar got the kite", "the story is about Mei"),
        ("Omar picked", "Kofi picked", "nobody has said where Kofi is"),
        ("Then she ran to the river", "Then she ran to the garden", "is in the garden already"),
        ("Omar picked up the kite.", "Omar greeted Omar.", "cannot do this with themselves"),
        ("He handed", "Omar put down the kite. Omar picked up the kite. Mei took the kite. He gave",
         "Omar has the kite, and Mei is by the river"),
        ("Omar sat", "Mei sat", "Mei is already in the story"),
        ("There was", "A red kite lay in the garden. There was", "kite is already in the story"),
        ("Mei wished", "Omar wished", "the story is about Mei"),
    ],
)  # fmt: skip
def test_contradictions_are_found(old, new, reason):
    assert old in STORY
    text = STORY.replace(old, new)
    reading = read_story(text)
    assert not reading.is_consistent
    assert any(reason in problem for problem in reading.contradictions + reading.mistakes), reading


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("One morning", "Yesterday", "no sentence that begins a story"),
        ("ran to", "flew to", "no sentence of this world"),
        ("So Mei got the kite after all.", "", "the story has no end"),
        (" So Mei got the kite after all.", " So Mei got the kite after", "no sentence"),
        ("He handed", "She handed", "nobody can be meant by 'She'"),
        ("Then she", "Then She", "within a sentence"),
        ("There was a red", "There was a a red", "no sentence of this world"),
        ("So Mei", "so Mei", "no sentence of this world"),
        ("the garden. Omar", "the garden.Omar", "not one space before"),
        ("the garden. Omar", "the garden.  Omar", "not one space before"),
        ("the garden. Omar", "the garden.\nOmar", "not one space before"),
        ("Mei wished for the kite more than anything. ", "", "too early"),
        ("Then she ran", "There was a blue lamp on the hill. Then Mei ran", "too late"),
        ("Then she ran", "Mei dreamed of the kite. Then she ran", "a second wish"),
        ("after all.", "after all. The sun came out.", "comes after the end"),
    ],
)
def test_mistakes_are_found(old, new, reason):
    assert old in STORY
    reading = read_story(STORY.replace(old, new, 1))
    assert not reading.is_grammatical
    assert any(reason in problem for problem in reading.mistakes), reading.mistakes


def test_white_space_around_a_story_is_no_mistake():
    assert read_story(f" {STORY} \n").is_consistent


@pytest.mark.parametrize("text", ["", " ", ".", "...", "Amara", "\n", "雨。", "<|endoftext|>"])
def test_anything_can_be_read(text):
    assert not read_story(text).is_grammatical


def test_any_order_of_any_sentences_can_be_read():
    """What a bad model writes: all sentences are sentences, and nothing fits together."""
    sentences = [
        sentence.strip() + "."
        for document in TinyWorld(STORIES).documents(40)
        for sentence in document.text.split(".")[:-1]
    ]
    chance = random.Random(0)
    problems = set()
    for _ in range(1500):
        text = " ".join(chance.choices(sentences, k=8))
        reading = read_story(text)
        problems |= {p.split(": ")[-1] for p in reading.mistakes + reading.contradictions}
        assert isinstance(reading.is_consistent, bool)
    assert len(problems) > 50


def test_a_thing_of_somebody_unknown():
    reading = read_story(
        "One morning Freya was in the kitchen. Tomas owned a red ring. "
        "Freya wanted to have the ring. Freya put down the ring."
    )
    assert any("nobody has said where Tomas is" in p for p in reading.contradictions)
    assert any("Tomas has the ring" in p for p in reading.contradictions)


def test_what_may_come_is_what_has_no_objection():
    """Two descriptions of what is possible, one that lists and one that forbids, agree."""
    settings = STORIES.replace(split="new_people")  # where every pair may meet
    seen = set()
    for index in range(40):
        state = State()
        document = TinyWorld(settings).document(index)
        for fact in read_story(document.text).facts:
            assert not state.objection(fact), (document.text, fact)
            if state.wish and not state.is_over:
                listed = {fact for _, facts in events(state, settings) for fact in facts}
                free = {
                    fact
                    for kind in lexicon.EVENTS
                    for fact in _all_facts(kind, state)
                    if not state.objection(fact)
                }
                listed.discard(Fact("air"))
                assert listed == free
                seen |= {fact.kind for fact in listed}
            state.apply(fact)
    assert seen == set(lexicon.EVENTS)


def _all_facts(kind: str, state: State):
    people, things, places = list(state.people), list(state.things), list(lexicon.PLACES)
    if kind == "go":
        return Facts(kind, person=people, place=places)
    if kind in ("take", "drop"):
        return Facts(kind, person=people, thing=things)
    if kind == "give":
        return Facts(kind, person=people, thing=things, other=people)
    return Facts(kind, person=people, other=people)


def test_held_out_pairs_never_meet_in_training():
    held_out = 0
    for document in TinyWorld(STORIES).documents(400):
        reading = read_story(document.text)
        for fact in reading.facts:
            hands = fact.other if fact.kind == "give" else fact.person
            if fact.thing and hands:
                assert not lexicon.is_held_out_pair(hands, fact.thing), document.text
    for document in TinyWorld(STORIES.replace(split="new_pairs")).documents(100):
        held_out += lexicon.is_held_out_pair(document.state.lead, document.state.wish)
    assert held_out == 100


def test_every_person_and_every_thing_has_held_out_pairs_but_not_many():
    names = (*lexicon.PEOPLE, *lexicon.HELD_OUT_PEOPLE)
    for name in names:
        assert 1 <= sum(lexicon.is_held_out_pair(name, t) for t in lexicon.THINGS) <= 2
    for thing in lexicon.THINGS:
        assert 2 <= sum(lexicon.is_held_out_pair(name, thing) for name in names) <= 4


def test_new_people_are_new():
    train = " ".join(d.text for d in TinyWorld().documents(300))
    new = " ".join(d.text for d in TinyWorld(WorldSettings(split="new_people")).documents(300))
    assert not any(name in train for name in lexicon.HELD_OUT_PEOPLE)
    assert not any(name in new for name in lexicon.PEOPLE)
    assert all(name in new for name in lexicon.HELD_OUT_PEOPLE)


def test_pronouns_stand_only_for_the_last_subject():
    state = State(people={"Mei": "garden", "Omar": "garden"}, subject="Mei")
    greets = wordings(Fact("greet", "Mei", other="Omar"), state)
    assert " She greeted Omar." in greets
    assert " After that she greeted Omar." in greets
    assert " Mei greeted Omar." in greets
    assert not any("he " in text for text in wordings(Fact("greet", "Omar", other="Mei"), state))


def test_purpose_draws_the_lead_to_the_wish():
    """With a larger `purpose` more wishes come true."""
    share = {}
    for purpose in (0.01, 50.0):
        world = TinyWorld(STORIES.replace(purpose=purpose))
        ends = [d.state.last for d in world.documents(300)]
        share[purpose] = ends.count("end with") / len(ends)
    assert share[50.0] > share[0.01] + 0.1


def test_numbers_of_people_things_and_events_are_kept():
    settings = STORIES.replace(n_people=(3, 3), n_things=(2, 2), n_events=(4, 4))
    for document in TinyWorld(settings).documents(50):
        state = document.state
        assert (len(state.people), len(state.things), state.n_events) == (3, 2, 4)


def test_facts_are_all_combinations():
    facts = Facts("go", person=("a", "b"), place=("x", "y", "z"))
    assert set(facts) == {
        Fact("go", person, place=place) for person, place in itertools.product("ab", "xyz")
    }
    assert len(facts) == 6
    assert not Facts("go", person=(), place=("x",))


def test_tell_goes_on_to_the_end():
    speaker = Drawing(random.Random(0))
    state = tell(speaker, STORIES)
    assert state.is_over
    assert not next_facts(state, STORIES)
