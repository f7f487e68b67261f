"""Stories: what may come next, and how it is worded.

A story says where people are, which things there are and what its first person wants; then things
happen; then it says whether the wish came true. The whole of it is one rule, `next_facts`.
"""

from collections.abc import Sequence

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.lexicon import FORMS
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Groups, Speaker
from aigc_lab.data.tiny_world.state import Fact, Facts, State

# How often each kind of event happens where it is possible.
WEIGHTS = {"go": 3.0, "take": 4.0, "drop": 0.6, "give": 2.0, "greet": 1.0, "air": 0.6}


def tell(speaker: Speaker, settings: WorldSettings) -> State:
    """Say a story and return the state at its end."""
    state = State()
    while groups := next_facts(state, settings):
        fact = speaker.say(groups, lambda fact: wordings(fact, state))
        state.apply(fact)
    return state


def next_facts(state: State, settings: WorldSettings) -> Groups:
    """What may come next, with weights; nothing after the last sentence."""
    if not state.people:
        return [(1, Facts("be", person=settings.used_people, place=settings.places))]
    if not state.things:
        return _people(state, settings) + _things_after_people(state, settings)
    if not state.wish:
        n, (least, largest) = len(state.things), settings.n_things
        more = things(state, settings) if n < largest else []
        wishes = [
            Fact("wish", state.lead, thing)
            for thing, where in state.things.items()
            if where != state.lead and settings.may_wish(state.lead, thing)
        ]
        return [*scaled(more, 1), (1 if n >= least else 0, wishes)]
    if state.is_over:
        return []
    return _events_or_end(state, settings)


def scaled(groups: Groups, weight: float) -> Groups:
    """The groups with their weights scaled to sum to `weight`."""
    total = sum(w for w, items in groups if items)
    return [(w * weight / total, items) for w, items in groups if items]


def _people(state: State, settings: WorldSettings) -> Groups:
    if len(state.people) >= settings.n_people[1]:
        return []
    others = [name for name in settings.used_people if name not in state.people]
    near = [place for place in settings.places if place in state.places]
    far = [place for place in settings.places if place not in state.places]
    groups = [
        (settings.mentioned * len(near), Facts("be", person=others, place=near)),
        (len(far), Facts("be", person=others, place=far)),
    ]
    return scaled(groups, 1)


def _things_after_people(state: State, settings: WorldSettings) -> Groups:
    if len(state.people) < settings.n_people[0]:
        return []
    return scaled(things(state, settings), 1)


def things(state: State, settings: WorldSettings) -> Groups:
    """A thing that lies somewhere or, less often, is somebody's (but not the lead's)."""
    free = [thing for thing in settings.things if thing not in state.things]
    if not state.things:  # the first one must be something to wish for
        free = [thing for thing in free if settings.may_wish(state.lead, thing)]
    owned = []
    for person in state.people:
        theirs = [thing for thing in free if settings.may_meet(person, thing)]
        if person != state.lead:
            facts = Facts("own", person=[person], thing=theirs, colour=settings.colours)
            owned.append((len(facts), facts))
    lying = Facts("lie", colour=settings.colours, thing=free, place=settings.places)
    return [(3, lying), *scaled(owned, 1)]


def _events_or_end(state: State, settings: WorldSettings) -> Groups:
    has_it = state.things[state.wish] == state.lead
    ending = [Fact("end with" if has_it else "end without", state.lead, state.wish)]
    least, largest = settings.n_events
    chance = settings.end_chance_with if has_it else settings.end_chance
    if state.n_events < least:
        chance = 0
    elif state.n_events >= largest:
        chance = 1
    return [*scaled(events(state, settings), 1 - chance), (chance, ending)]


def events(state: State, settings: WorldSettings) -> Groups:
    """Everything that can happen now."""
    together = [
        (person, other)
        for person in state.people
        for other in state.people
        if person != other and state.people[person] == state.people[other]
    ]
    found: dict[str, list[Fact]] = {
        "take": [
            Fact("take", person, thing)
            for person, place in state.people.items()
            for thing, where in state.things.items()
            if where == place and settings.may_meet(person, thing)
        ],
        "drop": [
            Fact("drop", where, thing)
            for thing, where in state.things.items()
            if where in state.people
        ],
        "give": [
            Fact("give", person, thing, other=other)
            for person, other in together
            for thing in state.has(person)
            if settings.may_meet(other, thing)
        ],
        "greet": [Fact("greet", person, other=other) for person, other in together],
        "air": [] if state.last == "air" else [Fact("air")],
    }
    ways = scaled(_ways(state, settings), WEIGHTS["go"])
    return ways + [(WEIGHTS[kind], facts) for kind, facts in found.items()]


def _ways(state: State, settings: WorldSettings) -> Groups:
    """Who may go where: rather to places that were named, and the lead rather to what they want."""
    goal = state.place_of(state.wish) if state.wish and not state.holder(state.wish) else ""
    near = [place for place in settings.places if place in state.places]
    far = [place for place in settings.places if place not in state.places]
    groups: list[tuple[float, Sequence[Fact]]] = []
    for person, here in state.people.items():
        aim = [goal] if goal and goal != here and person == state.lead else []
        others = [place for place in near if place != here and place not in aim]
        for places, weight in (
            (aim, settings.mentioned * settings.purpose),
            (others, settings.mentioned),
            (far, 1.0),
        ):
            groups.append((weight * len(places), Facts("go", person=[person], place=places)))
    return groups


def wordings(fact: Fact, state: State) -> dict[str, float]:
    """Every way to put a fact after what was said before, with its weight."""
    if not state.people:
        return dict.fromkeys(_filled(lexicon.OPENINGS, fact, fact.person), 1.0)
    names = {fact.person: 1.0}
    if fact.person and fact.person == state.subject:
        pronoun = lexicon.pronoun(fact.person)
        names = {fact.person: lexicon.NAME_WEIGHT, pronoun: lexicon.PRONOUN_WEIGHT}
    links = lexicon.LINKS if fact.kind in lexicon.EVENTS else {"": 1}
    return {
        " " + text: link_weight * name_weight
        for name, name_weight in names.items()
        for link, link_weight in links.items()
        for text in _filled(FORMS[fact.kind], fact, name, link)
    }


def _filled(forms: list[str], fact: Fact, subject: str, link: str = "") -> list[str]:
    place = fact.place
    words = {
        "P": subject,
        "Q": fact.other,
        "t": fact.thing,
        "c": fact.colour,
        "at": lexicon.at(place) if place else "",
        "to": f"to the {place}",
    }
    texts = [link + form.format_map(words) for form in forms]
    return [text[0].upper() + text[1:] for text in texts]
