"""Where a story answers a question, against the world's own answers."""

import random

import pytest

from aigc_lab.data.story_spans import ASKED_KINDS, ask_about, find_answer, find_word, read_told
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings, all_questions
from aigc_lab.data.tiny_world.questions import Question, truth

WORLD = TinyWorld(WorldSettings(mix=(1, 0, 0, 0), n_events=(0, 6)))
STORY = (
    "One morning Mei stood in the garden. Omar was by the river. A red kite lay in the garden."
    " Mei wished for the kite more than anything. Omar went to the garden. Then he took the kite."
    " Soon Omar walked to the hill. That night Mei fell asleep without the kite."
)


@pytest.mark.parametrize("split", ["train", "new_pairs", "new_people"])
def test_answers_are_those_of_the_world(split):
    world = TinyWorld(WORLD.settings.replace(split=split))
    n = 0
    for document in world.documents(150):
        state, told = read_told(document.text)
        for question in all_questions(state, ASKED_KINDS):
            right = truth(question, document.state)
            if " " in right:
                with pytest.raises(ValueError, match=r"has the? ?\w+ and \w+|has \w+ and \w+"):
                    find_answer(question, state, told)
                continue
            place = find_answer(question, state, told)
            said = document.text[slice(*place)] if place else ""
            assert said == ("" if right in ("nobody", "nothing") else right), (question, right)
            n += 1
    assert n > 1000


def test_the_place_is_where_the_story_says_it():
    state, told = read_told(STORY)

    def sentence_of(kind, *about):
        start, end = find_answer(Question(kind, *about), state, told)
        before, after = STORY[:start].split(". ")[-1], STORY[end:].split(".")[0]
        return f"{before}[{STORY[start:end]}]{after}"

    assert sentence_of("where person", "Omar") == "Soon Omar walked to the [hill]"
    assert sentence_of("where first", "Omar") == "Omar was by the [river]"
    assert sentence_of("where thing", "", "kite") == "Soon Omar walked to the [hill]"
    assert sentence_of("colour", "", "kite") == "A [red] kite lay in the garden"
    assert sentence_of("who has", "", "kite") == "[Omar] went to the garden"  # then only "he"
    assert sentence_of("what has", "Omar") == "Then he took the [kite]"
    assert sentence_of("wish", "Mei").startswith("Mei wished for the [kite]")
    for kind, about in (
        ("wish", ("Omar",)),
        ("what has", ("Mei",)),
        ("where person", ("Kofi",)),
        ("who has", ("", "drum")),
        ("where thing", ("", "drum")),
    ):
        assert find_answer(Question(kind, *about), state, told) is None
    with pytest.raises(ValueError, match="kind='is there' has no spans"):
        find_answer(Question("is there", "Omar"), state, told)


def test_a_thing_that_was_put_down_lies_where_its_holder_was():
    story = STORY.replace("Soon Omar walked to the hill.", "Omar lost the kite there.")
    state, told = read_told(story)
    start, end = find_answer(Question("where thing", thing="kite"), state, told)
    assert story[:start].endswith("Omar went to the ") and story[start:end] == "garden"
    assert find_answer(Question("who has", thing="kite"), state, told) is None


def test_every_kind_is_asked_and_strangers_have_no_answer():
    chance, kinds, n_absent, n_strange = random.Random(0), set(), 0, 0
    asked = []
    for document in WORLD.documents(120):
        some = ask_about(document.text, 5, chance, WORLD.settings)
        assert len(some) == len({(q.question, q.context) for q in some}) <= 5
        assert len({q.kind for q in some[:5]}) >= len(some) - 1
        asked += some
    for question in asked:
        kinds.add(question.kind)
        is_strange = all(
            find_word(word, question.context) is None
            for word in question.question.rstrip("?").split()
            if word[0].isupper() or word in WORLD.settings.things
        )
        assert question.answer == question.context[question.start : question.end] or (
            question.start == question.end == -1 and question.answer == ""
        )
        n_absent += not question.answer
        if is_strange:
            n_strange += 1
            assert not question.answer
    assert kinds == set(ASKED_KINDS)
    assert 0.2 < n_absent / len(asked) < 0.55 and n_strange > 20


def test_the_same_chance_asks_the_same():
    once, again = (ask_about(STORY, 4, random.Random(3), WORLD.settings) for _ in range(2))
    assert once == again != ask_about(STORY, 4, random.Random(4), WORLD.settings)


def test_the_easier_task_points_to_the_word_itself():
    for seed in range(20):
        for question in ask_about(STORY, 5, random.Random(seed), WORLD.settings, find_words=True):
            word = question.answer
            assert question.start == STORY.find(word) if word else question.start == -1
            assert not word or word in question.question
    assert find_word("Mei", "Meiko met Mei.") == (10, 13)
    assert find_word("Mei", "Meiko") is None


def test_no_story_is_refused():
    with pytest.raises(ValueError, match="no story of the tiny world"):
        read_told("Once upon a time.")
