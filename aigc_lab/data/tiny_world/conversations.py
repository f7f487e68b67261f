"""Conversations about the tiny world: a person asks, an assistant replies.

Three sorts: about a story that the person tells, with follow-ups and questions that nobody can
answer; requests for stories with constraints, and questions about what the assistant told; and
free talk with sums. A system message may say how to answer.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from aigc_lab.data.tiny_world import chat_words as words
from aigc_lab.data.tiny_world.questions import Question, question_groups, question_texts, truth
from aigc_lab.data.tiny_world.requests import NUMBERS, StoryRequest
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Drawing
from aigc_lab.data.tiny_world.state import State
from aigc_lab.data.tiny_world.story import tell
from aigc_lab.data.tiny_world.sums import first_addends, second_addends
from aigc_lab.data.tiny_world.tasks import Asked, SmallTalk, Sum, Unknowable

Task = Asked | Unknowable | Sum | SmallTalk | StoryRequest
MOST_WORDS = 210  # of a conversation, so that it fits into the book's context of 320 tokens


@dataclass(frozen=True)
class Turn:
    """What the user says, what a good assistant replies, and what was asked for."""

    user: str
    reply: str
    task: Task


@dataclass(frozen=True)
class Conversation:
    """A conversation.

    Attributes:
        sort: "story", "request" or "free".
        style: what the system message asks for: "short", "full", "steps", "name", or "" if there
            is none.
        system: the system message, or "".
        turns: of user and assistant.
    """

    sort: str
    style: str
    system: str
    turns: tuple[Turn, ...]

    def messages(self, n_turns: int | None = None) -> list[tuple[str, str]]:
        """Pairs of role and text: the system message and the first turns, by default all."""
        said = [("system", self.system)] if self.system else []
        for turn in self.turns[:n_turns]:
            said += [("user", turn.user), ("assistant", turn.reply)]
        return said


@dataclass
class _Talk:
    """A conversation in the making."""

    chance: random.Random
    settings: WorldSettings
    new_wordings: bool
    unanswerable: float
    style: str
    name: str
    turns: list[Turn] = field(default_factory=list)
    known: set[str] = field(default_factory=set)  # people and things of all stories so far
    n_words: int = 0

    def add(self, user: str, task: Task, reply: str = "") -> bool:
        """Add a turn if there is room for it."""
        reply = reply or self.chance.choice(task.replies(self.style))
        # Digits and punctuation are tokens of their own, and so are the marks of the roles.
        n_words = sum(len(text.split()) + sum(map(str.isdigit, text)) for text in (user, reply)) + 6
        if self.turns and self.n_words + n_words > MOST_WORDS:
            return False
        self.n_words += n_words
        self.turns.append(Turn(user, reply, task))
        return True


class Conversations:
    """An endless, numbered series of conversations, the same for the same settings.

    Args:
        settings: of the stories and sums; its seed and split also make the conversations' own.
        new_wordings: ask only such unanswerable questions as are never trained on.
        unanswerable: share of the questions about a story that nobody can answer; without it, none
            are asked beyond stories either.
        styles: that system messages may ask for.

    Raises:
        ValueError: an unknown style, or a share outside 0 to 1.
    """

    def __init__(
        self,
        settings: WorldSettings | None = None,
        new_wordings: bool = False,
        unanswerable: float = 0.25,
        styles: tuple[str, ...] = tuple(words.SYSTEMS),
    ):
        if unknown := set(styles) - set(words.SYSTEMS):
            raise ValueError(f"styles={styles}: {sorted(unknown)} is not of {list(words.SYSTEMS)}")
        if not 0 <= unanswerable <= 1:
            raise ValueError(f"unanswerable={unanswerable} must lie between 0 and 1")
        self.settings = settings or WorldSettings()
        self.new_wordings, self.unanswerable, self.styles = new_wordings, unanswerable, styles

    def conversations(self, n: int, start: int = 0) -> Iterator[Conversation]:
        """Conversations number `start` to `start + n - 1`."""
        return map(self.conversation, range(start, start + n))

    def conversation(self, index: int) -> Conversation:
        """Conversation number `index` ≥ 0.

        Raises:
            ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"index={index} must be at least 0")
        chance = random.Random(f"talk {self.settings.seed}/{self.settings.split}/{index}")
        style = chance.choice(self.styles) if self.styles and chance.random() < 0.4 else ""
        name = chance.choice(self.settings.used_people) if style == "name" else ""
        system = chance.choice(words.SYSTEMS[style]).format(P=name) if style else ""
        talk = _Talk(chance, self.settings, self.new_wordings, self.unanswerable, style, name)
        (sort,) = chance.choices(("story", "request", "free"), (0.5, 0.25, 0.25))
        if chance.random() < 0.2:
            _small_talk(talk, "hello")
        {"story": _about_story, "request": _requests, "free": _free}[sort](talk)
        if chance.random() < 0.3:
            _small_talk(talk, chance.choice(("thanks", "goodbye")))
        return Conversation(sort, style, system, tuple(talk.turns))


def _about_story(talk: _Talk) -> None:
    speaker = Drawing(talk.chance)
    state = tell(speaker, talk.settings)
    talk.known |= {*state.people, *state.things}
    question, text, task = _next_question(talk, state, [], None)
    frame = talk.chance.choice(words.STORY_FRAMES)
    talk.add(frame.format(story=speaker.text, question=text), task)
    _more_questions(talk, state, question, 12)


def _more_questions(talk: _Talk, state: State, before: Question | None, n: int) -> None:
    """Questions about a story, in between others, until there is no room."""
    asked = [before]
    for _ in range(n):
        lot = talk.chance.random()
        if lot < 0.12:
            added = _sum(talk) if lot < 0.08 or not talk.unanswerable else _outside(talk)
            before = None  # "it" would no longer be clear
        else:
            before, text, task = _next_question(talk, state, asked, before)
            asked.append(before)
            added = talk.add(text, task)
        if not added:
            return


def _next_question(
    talk: _Talk, state: State, asked: list[Question | None], before: Question | None
) -> tuple[Question | None, str, Task]:
    """A question that was not asked before (None for one without answer), its words, the task."""
    chance = talk.chance
    groups = [
        (weight, left)
        for weight, questions in question_groups(state, talk.settings.asked_kinds)
        if (left := [q for q in questions if q not in asked and truth(q, state)])
    ]
    if chance.random() < talk.unanswerable or not groups:
        text, why = _unanswerable(talk, state)
        return None, text, Unknowable(why)
    related = [
        q for _, questions in groups for q in questions if before and words.follow_ups(before, q)
    ]
    if related and chance.random() < 0.6:
        question = chance.choice(related)
        return question, chance.choice(words.follow_ups(before, question)), Asked(question, state)
    weights = [weight for weight, _ in groups]
    question = chance.choice(chance.choices([questions for _, questions in groups], weights)[0])
    return question, chance.choice(question_texts(question)), Asked(question, state)


def _unanswerable(talk: _Talk, state: State) -> tuple[str, str]:
    """A question that the story does not answer, and why."""
    chance, settings = talk.chance, talk.settings
    if not talk.new_wordings and chance.random() < 0.6:
        people = [name for name in settings.used_people if name not in talk.known]
        things = [thing for thing in settings.things if thing not in talk.known]
        # Of the only story so far: somebody else's wish may have been told in an earlier one.
        is_only = talk.known == {*state.people, *state.things}
        others = [name for name in state.people if is_only and name != state.lead]
        kind, subjects = chance.choice(
            [
                ("where person", people), ("what has", people), ("wish", people),
                ("where thing", things), ("who has", things), ("colour", things),
                ("wish", others or people),
            ]
        )  # fmt: skip
        subject = chance.choice(subjects)
        person, thing = ("", subject) if subject in settings.things else (subject, "")
        return chance.choice(question_texts(Question(kind, person, thing))), "absent"
    forms = words.UNSTATED_OF_PERSON, words.UNSTATED_OF_THING
    form = chance.choice([form for some in forms for form in _allowed(talk, some)])
    person, thing = chance.choice(list(state.people)), chance.choice(list(state.things))
    return form.format(P=person, t=thing), "unstated"


def _allowed(talk: _Talk, forms: list[str]) -> list[str]:
    n = words.N_NEW_WORDINGS
    return forms[-n:] if talk.new_wordings else forms[:-n]


def _outside(talk: _Talk) -> bool:
    return talk.add(talk.chance.choice(_allowed(talk, words.OUTSIDE)), Unknowable("outside"))


def _sum(talk: _Talk) -> bool:
    largest, held_out = talk.settings.largest_addend, talk.settings.split == "new_pairs"
    a = talk.chance.choice(first_addends(largest, held_out))
    b = talk.chance.choice(second_addends(a, largest, held_out))
    return talk.add(talk.chance.choice(words.SUMS).format(a=a, b=b), Sum(a, b))


def _small_talk(talk: _Talk, kind: str) -> bool:
    said, replies = words.SMALL_TALK[kind]
    return talk.add(talk.chance.choice(said), SmallTalk(tuple(replies)))


def _who_are_you(talk: _Talk) -> bool:
    """Ask for the assistant's name; only the system can give it one, whatever the user says."""
    forms = words.I_AM_CALLED if talk.name else words.I_AM
    task = SmallTalk(tuple(form.format(P=talk.name) for form in forms))
    others = [name for name in talk.settings.used_people if name != talk.name]
    renaming = talk.chance.choice(words.RENAMING).format(Q=talk.chance.choice(others))
    return talk.add(renaming + talk.chance.choice(words.WHO_ARE_YOU), task)


def _free(talk: _Talk) -> None:
    """Sums, questions beyond the story, and who is there."""
    ways = (_sum, _outside, _who_are_you)
    for _ in range(talk.chance.randint(4, 10)):
        (way,) = talk.chance.choices(ways, (0.6, 0.2 if talk.unanswerable else 0, 0.2))
        if not way(talk):
            return


def _requests(talk: _Talk) -> None:
    """Requests for stories; after some, questions about the story that was told."""
    chance = talk.chance
    for number in range(chance.randint(1, 4)):
        request = _request(talk)
        story, state = request.tell(chance, talk.settings)
        if not talk.add(request.wording(chance, again=number > 0), request, story):
            return
        talk.known |= {*state.people, *state.things}
        if chance.random() < 0.4:
            _more_questions(talk, state, None, chance.randint(1, 3))


def _request(talk: _Talk) -> StoryRequest:
    chance, settings = talk.chance, talk.settings
    person = chance.choice(settings.used_people)
    thing = chance.choice([t for t in settings.things if settings.may_wish(person, t)])
    place, n_sentences = chance.choice(settings.places), chance.choice(list(NUMBERS))
    values = {"person": person, "thing": thing, "place": place, "n_sentences": n_sentences}
    return StoryRequest(**{name: value for name, value in values.items() if chance.random() < 0.5})
