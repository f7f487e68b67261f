"""Questions about stories of the tiny world whose answer stands in the story, or does not.

Where an answer stands is where the story says it: in the sentence that made it true. So
"Where is the kite?" points to the place to which its holder went last, and "Who has the kite?" to
the name of the one who took it.
"""

import random
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from aigc_lab.data.tiny_world import WorldSettings, read_story
from aigc_lab.data.tiny_world.questions import Question, all_questions, question_texts
from aigc_lab.data.tiny_world.state import Fact, State

# "Is she there?" is left out: yes and no stand in no story.
ASKED_KINDS = (
    "where person",
    "where thing",
    "who has",
    "what has",
    "colour",
    "wish",
    "where first",
)

Place = tuple[int, int]  # first character, and the one after the last


class SpanQuestion(NamedTuple):
    """A question, the text that may answer it, and the part of the text that does.

    Attributes:
        question, context: the texts.
        start, end: the answer is `context[start:end]`; both are -1 if the text does not tell.
        kind: of the question.
    """

    question: str
    context: str
    start: int
    end: int
    kind: str

    @property
    def answer(self) -> str:
        """The answer's text; empty if the context does not tell."""
        return self.context[self.start : self.end] if self.start >= 0 else ""


@dataclass
class Told:
    """Where a story says what is true at its end.

    Attributes:
        names: person → the last mention of the name.
        at: person → the place where they are.
        first: person → the place where they were at first.
        lies: thing → the place where it lies, if nobody has it.
        holder: thing → the name of the one who has it.
        got: thing → its mention in the sentence in which its holder got it.
        colours: thing → its colour.
        wish: the thing that is wished for.
    """

    names: dict[str, Place] = field(default_factory=dict)
    at: dict[str, Place] = field(default_factory=dict)
    first: dict[str, Place] = field(default_factory=dict)
    lies: dict[str, Place] = field(default_factory=dict)
    holder: dict[str, Place] = field(default_factory=dict)
    got: dict[str, Place] = field(default_factory=dict)
    colours: dict[str, Place] = field(default_factory=dict)
    wish: Place | None = None

    def add(self, fact: Fact, sentence: str, offset: int) -> None:
        """Take in one sentence, which begins at character `offset` of the story."""

        def find(word: str) -> Place:
            start, end = find_word(word, sentence)
            return offset + start, offset + end

        kind, person, thing, place, other, colour = fact
        for name in (person, other):
            if name and name in sentence:  # and not "she" or "he"
                self.names[name] = find(name)
        if kind in ("be", "go"):
            self.at[person] = find(place)
            self.first.setdefault(person, self.at[person])
        if colour:
            self.colours[thing] = find(colour)
        if kind == "lie":
            self.lies[thing] = find(place)
        elif kind in ("own", "take", "give"):
            self.holder[thing] = self.names[other or person]
            self.got[thing] = find(thing)
        elif kind == "drop":
            self.lies[thing] = self.at[person]
            self.holder.pop(thing)
            self.got.pop(thing)
        elif kind == "wish":
            self.wish = find(thing)


def find_word(word: str, text: str) -> Place | None:
    """The first place of a whole word in a text; None if it does not stand there."""
    match = re.search(rf"\b{word}\b", text)
    return match and match.span()


def read_told(story: str) -> tuple[State, Told]:
    """The state at the end of a story, and where the story says it.

    Raises:
        ValueError: a text that is no consistent story.
    """
    reading = read_story(story)
    if not reading.is_consistent:
        problem = (reading.mistakes + reading.contradictions)[0]
        raise ValueError(f"no story of the tiny world: {problem}")
    told, offset = Told(), 0
    for fact, sentence in zip(reading.facts, re.findall(r"[^.]*\.", story), strict=True):
        told.add(fact, sentence, offset)
        offset += len(sentence)
    return reading.state, told


def find_answer(question: Question, state: State, told: Told) -> Place | None:
    """Where a story answers a question; None if it does not tell.

    Raises:
        ValueError: an answer of two parts, which no span holds, or a kind without spans.
    """
    kind, person, thing, _ = question
    if kind == "where thing":
        holder = state.holder(thing)
        return told.at.get(holder) if holder else told.lies.get(thing)
    if kind == "what has":
        things = state.has(person)
        if len(things) > 1:
            raise ValueError(f"{person} has {' and '.join(things)}: that is no single span")
        return told.got[things[0]] if things else None
    if kind == "wish":
        return told.wish if person == state.lead else None
    places = {
        "where person": (told.at, person),
        "where first": (told.first, person),
        "who has": (told.holder, thing),
        "colour": (told.colours, thing),
    }
    if kind not in places:
        raise ValueError(f"kind={kind!r} has no spans; choose from {', '.join(ASKED_KINDS)}")
    table, key = places[kind]
    return table.get(key)


def ask_about(
    story: str,
    n: int,
    chance: random.Random,
    settings: WorldSettings,
    stranger_share: float = 0.15,
    find_words: bool = False,
) -> list[SpanQuestion]:
    """Questions about a story, each of another kind until all kinds were asked.

    Args:
        story: the story.
        n: how many at most.
        chance: draws the questions and their wordings.
        settings: of the world, with the names and things that could be asked for.
        stranger_share: of the questions, so many are about somebody or something that the story
            never mentions. Others have no answer either: "What did Omar want?" in a story that
            tells of Mei's wish, or what somebody has who has nothing.
        find_words: point to the first mention of whom or what a question is about, in place of its
            answer: an easier task to begin with.
    """
    state, told = read_told(story)
    here = set(state.people) | set(state.things)
    kinds = list(ASKED_KINDS)
    chance.shuffle(kinds)
    found, seen = [], set()
    for number in range(2 * n):
        kind = kinds[number % len(kinds)]
        question = _choose(kind, state, here, settings, chance, stranger_share)
        if question is None or question in seen or len(found) == n:
            continue
        seen.add(question)
        if find_words:
            place = find_word(question.person or question.thing, story)
        else:
            place = find_answer(question, state, told)
        start, end = place or (-1, -1)
        wording = chance.choice(question_texts(question))
        found.append(SpanQuestion(wording, story, start, end, kind))
    return found


def _choose(kind, state, here, settings, chance, stranger_share) -> Question | None:
    """A question of this kind; None if there is none with a single answer."""
    if chance.random() < stranger_share:
        is_about_thing = kind in ("where thing", "who has", "colour")
        words = settings.things if is_about_thing else settings.used_people
        strangers = [word for word in words if word not in here]
        if not strangers:
            return None
        word = chance.choice(strangers)
        return Question(kind, thing=word) if is_about_thing else Question(kind, word)
    if kind == "wish":  # half of them about the one who wishes
        others = [person for person in state.people if person != state.lead]
        return Question(kind, chance.choice([state.lead, chance.choice(others)]))
    questions = [
        question
        for question in all_questions(state, (kind,))
        if kind != "what has" or len(state.has(question.person)) < 2
    ]
    return chance.choice(questions) if questions else None
