"""Questions and sums: right answers are right, wrong ones are wrong and say why."""

from itertools import permutations

import pytest

from aigc_lab.data.tiny_world import TinyWorld, WorldSettings, all_questions, judge, lexicon
from aigc_lab.data.tiny_world.dialogue import MINE, UNKNOWN, replies
from aigc_lab.data.tiny_world.questions import (
    ASKED,
    Question,
    answers,
    find_question,
    question_texts,
    truth,
)
from aigc_lab.data.tiny_world.reading import read_story
from aigc_lab.data.tiny_world.sums import judge_sum, steps, sum_text

STORY = (
    "One morning Mei was in the garden. Omar sat by the river. There was a red kite by the river. "
    "A blue map lay on the hill. Mei wished for the kite more than anything. Omar took the kite. "
    "Mei walked to the hill. She took the map. So Mei never got the kite."
)
STATE = read_story(STORY).state
TRUTHS = {
    Question("where person", "Mei"): "hill",
    Question("where thing", thing="kite"): "river",
    Question("where thing", thing="map"): "hill",
    Question("who has", thing="kite"): "Omar",
    Question("what has", "Mei"): "map",
    Question("colour", thing="map"): "blue",
    Question("wish", "Mei"): "kite",
    Question("is there", "Omar", place="river"): "yes",
    Question("is there", "Mei", place="garden"): "no",
    Question("where first", "Mei"): "garden",
}


def test_right_answers_by_hand():
    for question, expected in TRUTHS.items():
        assert truth(question, STATE) == expected
        for text in answers(question, expected):
            assert judge(question, f" {text}\n", STATE).is_right


def test_three_things_may_be_named_in_any_order():
    state = read_story(STORY).state
    state.things = dict.fromkeys(("kite", "map", "lamp"), "Mei")
    question = Question("what has", "Mei")
    for order in permutations(state.things):
        said = " and ".join(f"the {thing}" for thing in order)
        for text in (f"{said.capitalize()}.", f"Mei has {said}.", f"She has {said}."):
            assert judge(question, text, state).is_right, text
    for text in (
        "The kite and the map.",
        "The kite and the map and the map.",
        "The kite map lamp.",
    ):
        assert not judge(question, text, state).is_right


def test_where_a_thing_is_that_an_unknown_person_holds_nobody_can_know():
    state = read_story(STORY.replace("Omar took the kite.", "Bao took the kite.")).state
    verdict = judge(Question("where thing", thing="kite"), "By the river.", state)
    assert not verdict.is_right and "nobody can know" in verdict.explanation


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (Question("where person", "Mei"), "In the garden.", "says 'garden', but it is 'hill'"),
        (Question("where person", "Mei"), "On the garden.", "does not answer"),
        (Question("where person", "Mei"), "Omar.", "does not answer"),
        (Question("where person", "Mei"), "He is on the hill.", "does not answer"),
        (Question("who has", thing="kite"), "Nobody has it.", "says 'nobody', but it is 'Omar'"),
        (Question("what has", "Mei"), "Nothing.", "says 'nothing', but it is 'map'"),
        (Question("what has", "Mei"), "The map and the kite.", "says 'map kite'"),
        (Question("colour", thing="map"), "It is red.", "says 'red', but it is 'blue'"),
        (Question("is there", "Mei", place="garden"), "Yes, she is.", "says 'yes'"),
        (Question("wish", "Mei"), "", "does not answer"),
    ],
)
def test_wrong_answers_say_why(question, answer, reason):
    verdict = judge(question, answer, STATE)
    assert not verdict.is_right
    assert reason in verdict.explanation


def test_several_things_may_come_in_any_order():
    state = read_story(STORY).state
    state.things["kite"] = "Mei"
    for text in ("The kite and the map.", "The map and the kite.", "She has the map and the kite."):
        assert judge(Question("what has", "Mei"), text, state).is_right


def test_documents_ask_what_can_be_asked_and_answer_rightly():
    for split in ("train", "new_questions"):
        world = TinyWorld(WorldSettings(split=split, mix=(0, 1, 0, 0)))
        kinds = set()
        for document in world.documents(80):
            story, *lines = document.text.split("\n")
            assert len(lines) == 2 * len(document.questions)
            assert len(set(document.questions)) == len(document.questions)
            for question, asked, answered in zip(
                document.questions, lines[::2], lines[1::2], strict=True
            ):
                assert asked.removeprefix("Q: ") in question_texts(question)
                assert judge(question, answered.removeprefix("A: "), document.state).is_right
                assert find_question(asked.removeprefix("Q: "), document.state) == question
                kinds.add(question.kind)
            assert read_story(story).is_consistent
        assert kinds == set(world.settings.asked_kinds)


def test_every_answer_tells_its_value():
    """No two values of a question share a wording, or a wrong answer could count as right."""
    for question in all_questions(STATE, tuple(ASKED)):
        values = {"is there": ["yes", "no"], "colour": list(lexicon.COLOURS)}.get(
            question.kind,
            [*lexicon.PLACES] if question.kind.startswith("where") else ["kite", "map"],
        )
        if question.kind == "who has":
            values = ["Mei", "Omar", "nobody"]
        texts = [text for value in values for text in answers(question, value)]
        assert len(set(texts)) == len(texts)


def test_unknown_question():
    assert find_question("How old is Mei?", STATE) is None


def test_sums_by_hand():
    assert sum_text(37, 48) == "37 + 48 = 85"
    assert steps(37, 48) == ["7 + 8 = 15 carry 1", "3 + 4 + 1 = 8"]
    assert steps(0, 0) == ["0 + 0 = 0"]
    assert steps(99, 1) == ["9 + 1 = 10 carry 1", "9 + 0 + 1 = 10 carry 1"]
    assert sum_text(5, 60, True) == "5 + 60: 5 + 0 = 5; 0 + 6 = 6; 5 + 60 = 65"


def test_judging_sums():
    assert judge_sum(37, 48, " 85").is_right
    assert judge_sum(37, 48, sum_text(37, 48, True)).is_right
    assert "forgets to carry" in judge_sum(37, 48, "75").explanation
    assert "says 86, but it is 85" in judge_sum(37, 48, "86").explanation
    assert "no number" in judge_sum(37, 48, "many").explanation


def test_held_out_sums():
    train = TinyWorld(WorldSettings(mix=(0, 0, 1, 0)))
    new = TinyWorld(WorldSettings(mix=(0, 0, 1, 0), split="new_pairs"))
    pairs = [{pair for d in world.documents(300) for pair in d.sums} for world in (train, new)]
    assert pairs[0].isdisjoint(pairs[1])
    assert all(lexicon.is_held_out_sum(b, a) for a, b in pairs[1])  # also the other way round
    everything = [lexicon.is_held_out_sum(a, b) for a in range(100) for b in range(100)]
    assert 0.05 < sum(everything) / len(everything) < 0.12


def test_dialogues_answer_rightly():
    world = TinyWorld(WorldSettings(mix=(0, 0, 0, 1)))
    unknown = mine = colours = 0
    for document in world.documents(150):
        first, second = document.state.people
        _, *lines = document.text.split("\n")
        assert [line.split(":")[0] for line in lines] == [first, second] * (len(lines) // 2)
        for asked, said in zip(lines[2:-2:2], lines[3:-2:2], strict=True):
            thing = next(t for t in lexicon.THINGS if f"the {t}" in asked)
            kind = "colour" if "colour" in asked else "where"
            reply = said.split(": ")[1]
            assert reply in replies((kind, thing), document.state)
            assert (reply in UNKNOWN) == (thing not in document.state.things)
            unknown += reply in UNKNOWN
            mine += reply in MINE
            colours += kind == "colour"
    assert min(unknown, mine, colours) > 20
