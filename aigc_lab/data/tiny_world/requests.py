"""Requests for a story with constraints: how they are put, how they are met, and whether."""

import random
from dataclasses import dataclass

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.questions import Verdict
from aigc_lab.data.tiny_world.reading import Reading, read_story
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.speaking import Drawing, Groups
from aigc_lab.data.tiny_world.state import Fact, Facts, State
from aigc_lab.data.tiny_world.story import events, wordings

NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}
BEGINNINGS = ["Tell me a story", "Write a story", "I would like a story", "Please tell a story"]
AGAIN = ["Another story", "Now a story", "One more story"]
CLAUSES = {
    "person": [" about {P}", " of {P}"],
    "thing": [" with {t}", " with {t} in it"],
    "place": [" that begins {at}"],
    "sentences": [" in {n} sentences", " of {n} sentences"],
}


@dataclass(frozen=True)
class StoryRequest:
    """A wish for a story; what is empty or 0 is left to the teller.

    Args:
        person: whom the story is about, so who comes first.
        thing: that the story speaks of.
        place: where it begins.
        n_sentences: how long it is, one of `NUMBERS`.
    """

    person: str = ""
    thing: str = ""
    place: str = ""
    n_sentences: int = 0

    kind = "story"

    def checks(self, story: str) -> dict[str, bool]:
        """For each constraint whether a story meets it; a text that is no story meets none."""
        reading = read_scene(story)
        if reading.mistakes or not reading.facts:
            return dict.fromkeys(self.constraints(), False)
        opening = reading.facts[0]
        met = {
            "person": opening.person == self.person,
            "thing": self.thing in reading.state.things,
            "place": opening.place == self.place,
            "sentences": len(reading.facts) == self.n_sentences,
        }
        return {name: met[name] for name in self.constraints()}

    def constraints(self) -> list[str]:
        """The names of what is asked for."""
        asked = {
            "person": self.person,
            "thing": self.thing,
            "place": self.place,
            "sentences": self.n_sentences,
        }
        return [name for name, value in asked.items() if value]

    def judge(self, reply: str) -> Verdict:
        """Whether a reply is a story of this world that meets every constraint."""
        if mistakes := read_scene(reply).mistakes or ([] if reply.strip() else ["is empty"]):
            return Verdict(False, mistakes[0])
        missed = [name for name, is_met in self.checks(reply).items() if not is_met]
        return Verdict(not missed, f"misses {', '.join(missed)}" if missed else "")

    def wording(self, chance: random.Random, again: bool = False) -> str:
        """One of the ways to ask; `again` after another story."""
        clauses = [
            chance.choice(CLAUSES[name]).format(
                P=self.person,
                t=with_article(self.thing),
                at=lexicon.at(self.place) if self.place else "",
                n=NUMBERS.get(self.n_sentences),
            )
            for name in self.constraints()
        ]
        chance.shuffle(clauses)
        return chance.choice(AGAIN if again else BEGINNINGS) + "".join(clauses) + "."

    def tell(self, chance: random.Random, settings: WorldSettings) -> tuple[str, State]:
        """A story that meets the constraints, and the state at its end.

        Raises:
            ValueError: the person may not meet the thing in this split.
        """
        if self.person and self.thing and not settings.may_wish(self.person, self.thing):
            raise ValueError(
                f"no story of split={settings.split!r} is about the wish of {self.person} for the "
                f"{self.thing}: ask for another thing"
            )
        state, speaker = State(), Drawing(chance)
        for step in _plan(self.n_sentences or chance.choice(list(NUMBERS)), chance):
            groups = self._facts(step, state, settings)
            state.apply(speaker.say(groups, lambda fact: wordings(fact, state)))
        return speaker.text, state

    def _facts(self, step: str, state: State, settings: WorldSettings) -> Groups:
        """What may be said in a step of the plan."""
        if step == "lead":
            people = [self.person] if self.person else settings.used_people
            able = [p for p in people if not self.thing or settings.may_wish(p, self.thing)]
            places = [self.place] if self.place else settings.places
            return [(1, Facts("be", person=able, place=places))]
        if step == "other":
            others = [name for name in settings.used_people if name not in state.people]
            here = list(state.places)
            near = Facts("be", person=others, place=here)
            return [(1, near), (1, Facts("be", person=others, place=settings.places))]
        if step == "thing":
            free = [t for t in settings.things if settings.may_wish(state.lead, t)]
            wanted = [self.thing] if self.thing else free
            words = {"colour": settings.colours, "thing": wanted}
            near = Facts("lie", **words, place=list(state.places))
            return [(1, near), (1, Facts("lie", **words, place=settings.places))]
        if step == "wish":
            return [(1, [Fact("wish", state.lead, next(iter(state.things)))])]
        if step == "event":
            return events(state, settings)
        has_it = state.things[state.wish] == state.lead
        return [(1, [Fact("end with" if has_it else "end without", state.lead, state.wish)])]


def _plan(n_sentences: int, chance: random.Random) -> list[str]:
    """What each sentence of a scene is about; one of three has neither a wish nor an end."""
    if n_sentences == min(NUMBERS):
        return ["lead", "thing", "event"]
    others = ["other"] if n_sentences > 4 and chance.random() < 0.5 else []
    fixed = ["lead", *others, "thing", "wish"]
    return [*fixed, *["event"] * (n_sentences - len(fixed) - 1), "end"]


def read_scene(text: str) -> Reading:
    """Read a story that need not have a wish or an end, but an opening."""
    return read_story(text, is_whole=False)


def with_article(thing: str) -> str:
    """A thing with "a" or "an"; an empty text stays one."""
    return thing and ("an " if thing[0] in "aeiou" else "a ") + thing
