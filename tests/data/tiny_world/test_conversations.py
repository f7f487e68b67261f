"""Conversations of the tiny world: right replies, held-out parts, and the judgement of others."""

import random
import re
from collections import Counter

import pytest

from aigc_lab.data.chat import check_conversation
from aigc_lab.data.tiny_world import WorldSettings, chat_words, lexicon
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.data.tiny_world.questions import Question, truth
from aigc_lab.data.tiny_world.requests import AGAIN, NUMBERS, StoryRequest, read_scene
from aigc_lab.data.tiny_world.tasks import DECLINES, Asked, SmallTalk, Sum, Unknowable

MADE = list(Conversations().conversations(800))
TURNS = [(talk, turn) for talk in MADE for turn in talk.turns]


def test_every_reply_is_right():
    for _, turn in TURNS:
        verdict = turn.task.judge(turn.reply)
        assert verdict.is_right, (turn, verdict)


def test_replies_follow_the_system_message():
    seen = Counter()
    for talk, turn in TURNS:
        if isinstance(turn.task, Asked | Sum) and talk.style:
            assert turn.reply in turn.task.replies(talk.style)
            seen[talk.style] += turn.reply not in turn.task.replies("short")
        if talk.style == "name" and turn.user.endswith(tuple(chat_words.WHO_ARE_YOU)):
            name = talk.system.split()[-1].strip(".")
            assert name in turn.reply
            seen["named"] += 1
    assert seen["short"] == 0 and seen["full"] > 50 and seen["steps"] > 10 and seen["named"] > 5


def test_all_kinds_occur_and_conversations_are_well_formed():
    kinds = Counter(turn.task.kind for _, turn in TURNS)
    assert set(kinds) == {"question", "unknowable", "sum", "small talk", "story"}
    assert min(kinds.values()) > 80
    assert {turn.task.why for _, turn in TURNS if isinstance(turn.task, Unknowable)} == {
        "absent",
        "unstated",
        "outside",
    }
    for talk in MADE:
        check_conversation(talk.messages())
        assert talk.messages(1) == talk.messages()[: 2 + bool(talk.system)]
    assert {talk.sort for talk in MADE} == {"story", "request", "free"}
    assert {talk.style for talk in MADE} == {"", *chat_words.SYSTEMS}


def test_the_same_number_is_the_same_conversation():
    assert Conversations().conversation(7) == MADE[7]
    assert Conversations(WorldSettings(seed=1)).conversation(7) != MADE[7]
    with pytest.raises(ValueError, match="index=-1"):
        Conversations().conversation(-1)


def test_follow_ups_refer_back_and_are_never_ambiguous():
    found = 0
    for talk in MADE:
        for before, turn in zip(talk.turns, talk.turns[1:], strict=False):
            if not isinstance(turn.task, Asked):
                continue
            if any(turn.user in texts for texts in _references(before.task, turn.task)):
                found += 1
            elif len(turn.user) < 60 and re.search(r"\b(it|she|he)\b|^And|^What about", turn.user):
                pytest.fail(f"{turn.user!r} after {before.user!r}")
    assert found > 300


def _references(before, task):
    if not isinstance(before, Asked):
        return []
    return [chat_words.follow_ups(before.question, task.question)]


@pytest.mark.parametrize("split", ["train", "new_pairs"])
def test_held_out_sums_and_pairs(split):
    held_out = split == "new_pairs"
    for talk in Conversations(WorldSettings(split=split)).conversations(150):
        for turn in talk.turns:
            if isinstance(turn.task, Sum):
                assert lexicon.is_held_out_sum(turn.task.a, turn.task.b) == held_out
            if isinstance(turn.task, StoryRequest):
                reading = read_scene(turn.reply)
                if reading.state.wish:
                    pair = reading.state.lead, reading.state.wish
                    assert lexicon.is_held_out_pair(*pair) == held_out


def test_held_out_wordings_are_never_trained_on():
    lists = (chat_words.UNSTATED_OF_PERSON, chat_words.UNSTATED_OF_THING, chat_words.OUTSIDE)
    slots = {r"\{P\}": r"\w+", r"\{t\}": r"\w+"}
    n = chat_words.N_NEW_WORDINGS
    patterns = [re.escape(form) for forms in lists for form in forms[-n:]]
    for slot, word in slots.items():
        patterns = [pattern.replace(slot, word) for pattern in patterns]
    held_out = re.compile("|".join(patterns))
    assert not any(held_out.search(turn.user) for _, turn in TURNS)
    new = Conversations(new_wordings=True).conversations(60)
    asked = [t for talk in new for t in talk.turns if isinstance(t.task, Unknowable)]
    assert len(asked) > 50
    for turn in asked:
        assert held_out.search(turn.user), turn


def test_unanswerable_questions_can_be_left_out():
    for talk in Conversations(unanswerable=0).conversations(60):
        assert not any(isinstance(turn.task, Unknowable) for turn in talk.turns)
    with pytest.raises(ValueError, match="unanswerable=2"):
        Conversations(unanswerable=2)
    with pytest.raises(ValueError, match="loud"):
        Conversations(styles=("loud",))


def test_nobody_can_answer_what_is_declined():
    """A question of a known kind that is declined is about somebody or something absent."""
    n_absent = n_others = 0
    for talk in MADE:
        told = []  # the state of every story so far
        for turn in talk.turns:
            if isinstance(turn.task, StoryRequest):
                told.append(read_scene(turn.reply).state)
            elif isinstance(turn.task, Asked):
                assert truth(turn.task.question, turn.task.state)
                told = told or [turn.task.state]
            elif isinstance(turn.task, Unknowable) and turn.task.why == "absent" and told:
                known = {name for state in told for name in (*state.people, *state.things)}
                names = {*lexicon.PEOPLE, *lexicon.THINGS} & set(
                    re.findall(r"\w+", turn.user[-60:])
                )
                if names & known:  # then it is about somebody else's wish
                    assert len(told) == 1 and told[0].lead not in turn.user[-60:], turn
                    n_others += 1
                else:
                    assert names, turn
                    n_absent += 1
    assert n_absent > 200 and n_others > 20


def test_nobody_but_the_system_gives_the_assistant_a_name():
    renamed = 0
    for talk, turn in TURNS:
        if turn.user.endswith(tuple(chat_words.WHO_ARE_YOU)) and len(turn.user) > 20:
            other = re.search(r"(\w+)\.", turn.user).group(1)
            assert other in lexicon.PEOPLE and other not in turn.reply
            assert talk.style != "name" or talk.system[:-1].split()[-1] in turn.reply
            renamed += 1
    assert renamed > 30


# ------------------------------------------------------------------------------------- judgement


def test_judging_declines_and_small_talk():
    assert Unknowable("absent").judge(f" {DECLINES[0]} ").is_right
    for wrong in ("It is by the river.", "", "I do not know. It is red.", "I know."):
        assert not Unknowable("absent").judge(wrong).is_right
    assert SmallTalk(("Hello!",)).judge("Hello!").is_right
    assert not SmallTalk(("Hello!",)).judge("Goodbye!").is_right


def test_judging_sums():
    assert Sum(37, 48).judge("It is 85.").is_right
    assert "forgets to carry" in Sum(37, 48).judge("37 + 48 = 75.").explanation
    assert not Sum(37, 48).judge("85 is not it, it is 86.").is_right
    assert Sum(37, 48).replies("steps") == [
        "37 + 48: 7 + 8 = 15 carry 1; 3 + 4 + 1 = 8; 37 + 48 = 85.",
    ]


STORY = (
    "One morning Mei was in the garden. A red kite lay by the river. Mei wanted to have the kite. "
    "Mei went to the river. She took the kite. In the end Mei had the kite, and all was well."
)


@pytest.mark.parametrize(
    ("request_", "met"),
    [
        (StoryRequest(), {}),
        (StoryRequest("Mei", "kite", "garden", 6), dict.fromkeys(NAMES := (
            "person", "thing", "place", "sentences"), True)),
        (StoryRequest("Omar", "lamp", "river", 5), dict.fromkeys(NAMES, False)),
        (StoryRequest("Mei", "lamp"), {"person": True, "thing": False}),
    ],
)  # fmt: skip
def test_checking_constraints(request_, met):
    assert request_.checks(STORY) == met
    assert request_.judge(STORY).is_right == all(met.values())
    for text in ("", "No story."):
        assert request_.checks(text) == dict.fromkeys(met, False)
    for text in ("", "No story.", STORY.replace("the kite.", "the moon.")):
        assert not request_.judge(text).is_right


def test_the_person_of_a_request_must_lead_the_story():
    story = "Long ago Mei was in the garden. Omar sat by the river. A red kite lay by the river."
    assert StoryRequest("Mei").judge(story).is_right
    assert not StoryRequest("Omar").judge(story).is_right


@pytest.mark.parametrize("n_sentences", NUMBERS)
@pytest.mark.parametrize("split", ["train", "new_pairs"])
def test_what_is_told_meets_the_constraints(n_sentences, split):
    settings = WorldSettings(split=split)
    for seed in range(60):
        chance = random.Random(seed)
        person = chance.choice(settings.used_people)
        thing = chance.choice([t for t in settings.things if settings.may_wish(person, t)])
        whole = StoryRequest(person, thing, chance.choice(settings.places), n_sentences)
        for request in (whole, StoryRequest(n_sentences=n_sentences), StoryRequest(thing=thing)):
            story, state = request.tell(chance, settings)
            reading = read_scene(story)
            assert reading.is_consistent and reading.state == state
            assert request.judge(story).is_right
            assert reading.state.is_over == (len(reading.facts) > 3)


def test_a_pair_of_another_split_is_refused():
    person, thing = next(
        (p, t) for p in lexicon.PEOPLE for t in lexicon.THINGS if lexicon.is_held_out_pair(p, t)
    )
    with pytest.raises(ValueError, match=f"{person} for the {thing}"):
        StoryRequest(person, thing).tell(random.Random(0), WorldSettings())


def test_requests_are_worded_with_all_constraints():
    request = StoryRequest("Mei", "apple", "river", 5)
    for seed in range(20):
        text = request.wording(random.Random(seed))
        for part in ("Mei", "an apple", "by the river", "five sentences"):
            assert part in text
    agains = {StoryRequest().wording(random.Random(seed), again=True) for seed in range(20)}
    assert agains == {text + "." for text in AGAIN}


def test_scenes_need_no_wish_but_no_contradiction():
    scene = "Long ago Mei was in the garden. A red kite lay by the river. Mei took the kite."
    assert read_scene(scene.replace("Mei took the kite", "Mei ran to the river")).is_consistent
    reading = read_scene(scene)
    assert reading.is_grammatical and len(reading.contradictions) == 1


def test_follow_ups_of_unrelated_questions_are_none():
    colour = Question("colour", thing="kite")
    assert chat_words.follow_ups(colour, Question("where person", "Mei")) == []
    assert "And the lamp?" in chat_words.follow_ups(colour, Question("colour", thing="lamp"))
    assert "Who has it?" in chat_words.follow_ups(colour, Question("who has", thing="kite"))
