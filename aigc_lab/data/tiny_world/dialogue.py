"""Small dialogues: two people meet, and one asks the other about things that were spoken of."""

from functools import cache

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Speaker
from aigc_lab.data.tiny_world.state import Fact, State
from aigc_lab.data.tiny_world.story import things, wordings

MEETINGS = ["{A} and {B} met {at}.", "{A} ran into {B} {at}.", "{A} and {B} were talking {at}."]
HELLOS = ["Hello, {B}!", "Good morning, {B}!", "{B}, how nice to see you!"]
REPLIES = ["Hello, {A}! How are you?", "Hi, {A}!", "Good to see you, {A}!"]
ASKED = {
    "where": ["Where is the {t}?", "Do you know where the {t} is?", "Have you seen the {t}?"],
    "colour": ["What colour is the {t}?", "Which colour does the {t} have?"],
}
THERE = ["It is {at}.", "Look for it {at}.", "You can find it {at}."]
MINE = ["I have it.", "It is here, with me."]
UNKNOWN = ["I do not know.", "I have no idea.", "I have not heard of it."]
OF_COLOUR = ["It is {c}.", "{C}, I think."]
GOODBYES = ["Goodbye, {B}!", "Thank you, {B}. Goodbye!", "See you soon, {B}!"]
FAREWELLS = ["Goodbye, {A}!", "Bye, {A}!", "Take care, {A}!"]
UNKNOWN_WEIGHT = 0.25  # of questions about things that nobody has spoken of


def talk(speaker: Speaker, settings: WorldSettings) -> State:
    """Say a dialogue and return the state that it is about."""
    state = _meet(speaker, settings)
    first, second = state.people
    _line(speaker, first, HELLOS, first, second)
    _line(speaker, second, REPLIES, first, second)
    asked: list[tuple[str, str] | None] = []
    least, largest = settings.n_exchanges
    while len(asked) < largest:
        stop = 1 / (largest - len(asked) + 1) if len(asked) >= least else 0
        known, unknown = _questions(state, settings, asked)
        groups = [
            ((1 - stop) * (1 - UNKNOWN_WEIGHT), known),
            ((1 - stop) * UNKNOWN_WEIGHT, unknown),
        ]
        if not any(items for _, items in groups):
            break
        question = speaker.say(
            [*groups, (stop, [None])],
            lambda q: {f"\n{first}: {f.format(t=q[1])}": 1 for f in ASKED[q[0]]} if q else {"": 1},
        )
        if question is None:
            break
        asked.append(question)
        _say_one_of(speaker, [f"\n{second}: {text}" for text in replies(question, state)])
    _line(speaker, first, GOODBYES, first, second)
    _line(speaker, second, FAREWELLS, first, second)
    return state


def _meet(speaker: Speaker, settings: WorldSettings) -> State:
    """Say who meets where, and which things there are."""
    state = State()
    people = settings.used_people
    first, second, place = speaker.say(
        [(1, _meetings(people, settings.places))],
        lambda m: {f.format(A=m[0], B=m[1], at=lexicon.at(m[2])): 1 for f in MEETINGS},
    )
    for person in (first, second):
        state.apply(Fact("be", person, place=place))
    state.subject = ""  # "she" could be either of them
    least, largest = settings.n_things
    while len(state.things) < largest:
        groups = things(state, settings)
        total = sum(weight for weight, items in groups if items)
        stop = total / (largest - len(state.things)) if len(state.things) >= least else 0
        fact = speaker.say(
            [*groups, (stop, [None])], lambda f: wordings(f, state) if f else {"": 1}
        )
        if fact is None:
            break
        state.apply(fact)
    return state


@cache
def _meetings(people: tuple[str, ...], places: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(a, b, place) for a in people for b in people if a != b for place in places]


def _questions(
    state: State, settings: WorldSettings, asked: list
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    known = [(kind, thing) for thing in state.things for kind in ASKED]
    unknown = [("where", thing) for thing in settings.things if thing not in state.things]
    return [q for q in known if q not in asked], [q for q in unknown if q not in asked]


def replies(question: tuple[str, str], state: State) -> list[str]:
    """Every right reply of the second person to a question of the first."""
    kind, thing = question
    if thing not in state.things:
        return UNKNOWN
    if kind == "colour":
        colour = state.colours[thing]
        return [form.format(c=colour, C=colour.capitalize()) for form in OF_COLOUR]
    if state.holder(thing):  # the one who is asked: stories give no thing to their first person
        return MINE
    return [form.format(at=lexicon.at(state.things[thing])) for form in THERE]


def _line(speaker: Speaker, who: str, forms: list[str], first: str, second: str) -> None:
    _say_one_of(speaker, [f"\n{who}: {form.format(A=first, B=second)}" for form in forms])


def _say_one_of(speaker: Speaker, texts: list[str]) -> None:
    speaker.say([(1, [None])], lambda _: dict.fromkeys(texts, 1.0))
