"""What is true at a point of a story: facts, the state that they change, and what they require."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aigc_lab.data.tiny_world import lexicon


class Fact(NamedTuple):
    """What a sentence says. `kind` is one of `lexicon.FORMS`; fields that it lacks are empty."""

    kind: str
    person: str = ""
    thing: str = ""
    place: str = ""
    other: str = ""
    colour: str = ""


class Facts(Sequence):
    """All combinations of some words as facts of one kind, without writing them all down."""

    def __init__(self, kind: str, **words: Sequence[str]):
        self.kind, self.words = kind, words
        self.length = 1
        for options in words.values():
            self.length *= len(options)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Fact:
        if not 0 <= number < self.length:
            raise IndexError(number)
        chosen = {}
        for name, options in self.words.items():
            number, place = divmod(number, len(options))
            chosen[name] = options[place]
        return Fact(self.kind, **chosen)


@dataclass
class State:
    """What is true at a point of a story.

    Attributes:
        people: person → place where they are, in the order in which they came in; the first one
            is the lead.
        first: person → place where they were at first.
        things: thing → place where it lies, or person who has it.
        colours: thing → colour.
        places: the places that were named.
        wish: the thing that the lead wants; empty before that is said.
        subject: whom the last sentence was about; "she" and "he" mean this person.
        n_events: number of things that have happened since the wish.
        last: the kind of the last fact.
    """

    people: dict[str, str] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    places: dict[str, None] = field(default_factory=dict)
    wish: str = ""
    subject: str = ""
    n_events: int = 0
    last: str = ""

    @property
    def lead(self) -> str:
        """The person that the story is about."""
        return next(iter(self.people), "")

    @property
    def is_over(self) -> bool:
        """Whether the last sentence was said."""
        return self.last.startswith("end")

    def has(self, person: str) -> list[str]:
        """The things that a person has."""
        return [thing for thing, where in self.things.items() if where == person]

    def holder(self, thing: str) -> str:
        """The person who has a thing, or an empty text."""
        where = self.things.get(thing, "")
        return "" if where in lexicon.PLACES else where

    def place_of(self, thing: str) -> str:
        """Where a thing is, in somebody's hands or not; an empty text if nobody can know."""
        holder = self.holder(thing)
        return self.people.get(holder, "") if holder else self.things[thing]

    def apply(self, fact: Fact) -> None:
        """Make a fact true."""
        kind, person, thing, place, other, colour = fact
        if kind in ("be", "go"):
            self.people[person] = place
            self.first.setdefault(person, place)
        elif kind in ("lie", "own"):
            self.things[thing] = place or person
            self.colours[thing] = colour
        elif kind == "wish":
            self.wish = thing
        elif kind == "take":
            self.things[thing] = person
        elif kind == "drop":
            self.things[thing] = self.people.get(person, "")
        elif kind == "give":
            self.things[thing] = other
        if place:
            self.places[place] = None
        if kind in lexicon.EVENTS or kind == "air":
            self.n_events += 1
        self.subject = person
        self.last = kind

    def objection(self, fact: Fact) -> str:
        """Why a fact cannot be true now, in words; an empty text if it can."""
        kind, person, thing, place, other, _ = fact
        if kind in ("be", "lie", "own"):
            if kind == "be" and person in self.people:
                return f"{person} is already in the story"
            if thing in self.things:
                return f"the {thing} is already in the story"
            if kind == "own" and person not in self.people:
                return f"nobody has said where {person} is"
            return ""
        for name in (person, other):
            if name and name not in self.people:
                return f"nobody has said where {name} is"
        if thing and thing not in self.things:
            return f"nobody has spoken of a {thing} before"
        if other and other == person:
            return f"{person} cannot do this with themselves"
        return self._objection_to_event(kind, person, thing, place, other)

    def _objection_to_event(self, kind, person, thing, place, other) -> str:
        here = self.people.get(person, "")
        if kind == "go" and place == here:
            return f"{person} is {lexicon.at(here)} already"
        if kind == "take" and self.things[thing] != here:
            return f"{self._whereabouts(thing)}, and {person} is {lexicon.at(here)}"
        if kind in ("drop", "give") and self.things[thing] != person:
            return f"{self._whereabouts(thing)}, not with {person}"
        if kind in ("give", "greet") and self.people[other] != here:
            there = self.people[other]
            return f"{person} is {lexicon.at(here)} and {other} is {lexicon.at(there)}"
        if kind == "wish" and (person != self.lead or self.things[thing] == person):
            return f"the story is about {self.lead}" if person != self.lead else "it is theirs"
        if kind.startswith("end"):
            if (person, thing) != (self.lead, self.wish):
                return f"the story is about {self.lead}, who wanted the {self.wish}"
            if (kind == "end with") != (self.things[thing] == person):
                return self._whereabouts(thing)
        return ""

    def _whereabouts(self, thing: str) -> str:
        if self.holder(thing):
            return f"{self.holder(thing)} has the {thing}"
        place = self.things[thing]
        return f"the {thing} is {lexicon.at(place)}" if place else f"nobody knows of the {thing}"
