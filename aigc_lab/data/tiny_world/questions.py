"""Questions about a story, their right answers, and the judgement of any answer."""

import re
from typing import NamedTuple

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Groups, Speaker
from aigc_lab.data.tiny_world.state import State

QUESTION, ANSWER = "\nQ: ", "\nA: "

ASKED = {
    "where person": ["Where is {P}?", "Where is {P} now?", "In which place is {P}?"],
    "where thing": ["Where is the {t}?", "Where is the {t} now?", "In which place is the {t}?"],
    "who has": ["Who has the {t}?", "Who is holding the {t}?", "With whom is the {t}?"],
    "what has": ["What does {P} have?", "What is {P} holding?", "What is in the hands of {P}?"],
    "colour": ["What colour is the {t}?", "Which colour does the {t} have?"],
    "wish": ["What did {P} want?", "What did {P} wish for?", "Which wish did {P} have?"],
    "is there": ["Is {P} {at}?", "Is {P} {at} now?"],
    "where first": ["Where was {P} at first?", "Where was {P} in the beginning?"],
}


class Question(NamedTuple):
    """A question: its kind, and the person, thing or place that it is about."""

    kind: str
    person: str = ""
    thing: str = ""
    place: str = ""


class Verdict(NamedTuple):
    """Whether an answer is right, and in words why not."""

    is_right: bool
    explanation: str = ""


def ask(speaker: Speaker, state: State, settings: WorldSettings) -> list[Question]:
    """Say some questions about a story, each once and each with its answer."""
    asked: list[Question | None] = []
    least, largest = settings.n_questions
    while len(asked) < largest:
        groups = [
            (weight, [question for question in questions if question not in asked])
            for weight, questions in question_groups(state, settings.asked_kinds)
        ]
        total = sum(weight for weight, questions in groups if questions)
        if not total:
            break
        # So that every number of questions from least to largest is equally likely.
        stop = total / (largest - len(asked)) if len(asked) >= least else 0
        question = speaker.say([*groups, (stop, [None])], _worded)
        if question is None:
            break
        asked.append(question)
        value = truth(question, state)
        speaker.say(
            [(1, [value])],
            lambda value, q=question: {ANSWER + text: 1 for text in answers(q, value)},
        )
    return asked


def _worded(question: Question | None) -> dict[str, float]:
    if question is None:
        return {"": 1}
    return {QUESTION + text: 1 for text in question_texts(question)}


def question_groups(state: State, kinds: tuple[str, ...]) -> Groups:
    """All questions about a story, in groups of one kind."""
    people, things = list(state.people), list(state.things)
    here = [Question("is there", p, place=place) for p, place in state.people.items()]
    elsewhere = [
        Question("is there", person, place=place)
        for person, at in state.people.items()
        for place in state.places
        if place != at
    ]
    groups = {
        "where person": [(1, [Question("where person", p) for p in people])],
        "where thing": [(1, [Question("where thing", thing=t) for t in things])],
        "who has": [(1, [Question("who has", thing=t) for t in things])],
        "what has": [(1, [Question("what has", p) for p in people])],
        "colour": [(1, [Question("colour", thing=t) for t in things])],
        "wish": [(0.5, [Question("wish", state.lead)])],
        "is there": [(0.5, here), (0.5, elsewhere)],
        "where first": [(1, [Question("where first", p) for p in people])],
    }
    return [group for kind in kinds for group in groups[kind]]


def all_questions(state: State, kinds: tuple[str, ...]) -> list[Question]:
    """All questions of these kinds about a story."""
    return [question for _, questions in question_groups(state, kinds) for question in questions]


def question_texts(question: Question) -> list[str]:
    """Every wording of a question."""
    at = lexicon.at(question.place) if question.place else ""
    return [
        form.format(P=question.person, t=question.thing, at=at) for form in ASKED[question.kind]
    ]


def truth(question: Question, state: State) -> str:
    """The right answer as one word or a few: a place, a person, things, a colour, yes or no."""
    kind, person, thing, place = question
    return {
        "where person": lambda: state.people[person],
        "where thing": lambda: state.place_of(thing),
        "who has": lambda: state.holder(thing) or "nobody",
        "what has": lambda: " ".join(state.has(person)) or "nothing",
        "colour": lambda: state.colours[thing],
        "wish": lambda: state.wish,
        "is there": lambda: "yes" if state.people[person] == place else "no",
        "where first": lambda: state.first[person],
    }[kind]()


def answers(question: Question, value: str) -> list[str]:
    """Every wording of the answer `value` to a question."""
    kind, person, thing, _ = question
    pronoun = lexicon.pronoun(person) if person else ""
    subject = pronoun.capitalize()
    if kind in ("where person", "where first"):
        at, verb = lexicon.at(value), "was" if kind == "where first" else "is"
        return [f"{at.capitalize()}.", f"{person} {verb} {at}.", f"{subject} {verb} {at}."]
    if kind == "where thing":
        at = lexicon.at(value)
        return [f"{at.capitalize()}.", f"It is {at}.", f"The {thing} is {at}."]
    if kind == "who has":
        who = value.capitalize()
        return [f"{who}.", f"{who} has it.", f"{who} has the {thing}."]
    if kind == "what has":
        things = " and ".join(f"the {word}" for word in value.split())
        things = "nothing" if value == "nothing" else things
        return [f"{things.capitalize()}.", f"{person} has {things}.", f"{subject} has {things}."]
    if kind == "colour":
        return [f"{value.capitalize()}.", f"It is {value}.", f"The {thing} is {value}."]
    if kind == "wish":
        return [f"The {value}.", f"{person} wanted the {value}.", f"{subject} wanted the {value}."]
    if value == "yes":
        return ["Yes.", f"Yes, {pronoun} is."]
    return ["No.", f"No, {pronoun} is not."]


def possible_values(question: Question, answer: str) -> list[str]:
    """Everything that this answer to a question could say, right or wrong."""
    kind = question.kind
    if kind.startswith("where"):
        return list(lexicon.PLACES)
    if kind == "who has":
        return [*lexicon.PEOPLE, *lexicon.HELD_OUT_PEOPLE, "nobody"]
    if kind == "what has":
        words = re.findall(r"\w+", answer.lower())
        return ["nothing", " ".join(word for word in words if word in lexicon.THINGS)]
    if kind == "colour":
        return list(lexicon.COLOURS)
    return list(lexicon.THINGS) if kind == "wish" else ["yes", "no"]


def judge(question: Question, answer: str, state: State) -> Verdict:
    """Say whether an answer, in any of its wordings, is right.

    Args:
        question: about the story.
        answer: the text after "A:"; white space around it does not count.
        state: at the end of the story.
    """
    answer, right = answer.strip(), truth(question, state)
    if not right:
        return Verdict(False, "nobody can know this after this story")
    if answer in answers(question, right):
        return Verdict(True)
    for value in possible_values(question, answer):
        if answer in answers(question, value):
            if sorted(value.split()) == sorted(right.split()):
                return Verdict(True)  # the same things in another order
            return Verdict(False, f"says {value!r}, but it is {right!r}")
    return Verdict(False, f"{answer!r} does not answer a question of the kind {question.kind!r}")


def find_question(text: str, state: State) -> Question | None:
    """The question that a text asks about a story, if it is one of them."""
    for question in all_questions(state, tuple(ASKED)):
        if text.strip() in question_texts(question):
            return question
    return None
