"""What a reader of the tiny world's stories likes: a reward that is known exactly.

A taste is a sum over what a story says. It is computed from the text, so it can judge what any
model writes, and it knows more than a reward model that has learned from comparisons: whether a
happy end was earned, and where a long story becomes tiring.
"""

import dataclasses
import random
from dataclasses import dataclass
from functools import lru_cache

from aigc_lab.data.tiny_world.lexicon import EVENTS
from aigc_lab.data.tiny_world.requests import StoryRequest, read_scene
from aigc_lab.data.tiny_world.settings import WorldSettings

WORST = -4.0


@dataclass(frozen=True)
class StoryTraits:
    """What a taste looks at in a reply to a request for a story.

    Attributes:
        happy_end: whether it says that the wish came true.
        is_earned: whether it says so, and nothing in it is wrong.
        n_happenings: number of different kinds of events.
        n_errors: sentences that are none of this world or contradict those before.
        n_unmet: constraints of the request that are not met.
        n_sentences: its length.
        n_words: its length in words.
    """

    happy_end: bool
    is_earned: bool
    n_happenings: int
    n_errors: int
    n_unmet: int
    n_sentences: int
    n_words: int


@lru_cache(maxsize=1 << 15)  # many labellers read the same replies
def story_traits(request: StoryRequest, reply: str) -> StoryTraits:
    """Read a reply; an empty one is one error."""
    reading = read_scene(reply)
    n_errors = len(reading.mistakes) + len(reading.contradictions)
    kinds = {fact.kind for fact in reading.facts}
    happy_end = "end with" in kinds
    return StoryTraits(
        happy_end=happy_end,
        is_earned=happy_end and not n_errors,
        n_happenings=len(kinds & set(EVENTS)),
        n_errors=n_errors if reply.strip() else 1,
        n_unmet=sum(not met for met in request.checks(reply).values()),
        n_sentences=reply.count("."),
        n_words=len(reply.split()),
    )


@dataclass(frozen=True)
class Taste:
    """How much a reader likes each trait, in units of the log-odds of a choice.

    Args:
        happy_end: a wish that comes true, in a story in which nothing is wrong.
        happening: each different kind of event.
        error: each sentence that is wrong or contradicts another.
        unmet: each constraint of the request that is not met.
        tiring: each sentence beyond `patience`.
        patience: number of sentences that are read with pleasure.
        word: each word; the book's reader does not care, but some labellers do.
    """

    happy_end: float = 2.0
    happening: float = 1.0
    error: float = -0.3
    unmet: float = -0.4
    tiring: float = -0.75
    patience: int = 7
    word: float = 0.0

    def utility(self, request: StoryRequest, reply: str) -> float:
        """How much the reader likes a reply; at least `WORST`."""
        traits = story_traits(request, reply)
        liked = (
            self.happy_end * traits.is_earned
            + self.happening * traits.n_happenings
            + self.error * traits.n_errors
            + self.unmet * traits.n_unmet
            + self.tiring * max(0, traits.n_sentences - self.patience)
            + self.word * traits.n_words
        )
        return max(liked, WORST)

    def replace(self, **changes) -> "Taste":
        """The same taste but for these weights."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class StoryPrompt:
    """A request for a story: what is asked for, and in which words."""

    request: StoryRequest
    text: str

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The conversation up to where the assistant replies."""
        return [("user", self.text)]


def story_prompts(settings: WorldSettings, n: int, start: int = 0) -> list[StoryPrompt]:
    """Requests number `start` to `start + n - 1` of an endless series; none asks for a length.

    Args:
        settings: whose seed and split number the series. Another seed is another series, in which
            many requests are the same: there are only so many ways to ask for little.
        n, start: which of them.
    """
    prompts = []
    for index in range(start, start + n):
        chance = random.Random(f"request {settings.seed}/{settings.split}/{index}")
        person = chance.choice(settings.used_people)
        thing = chance.choice([t for t in settings.things if settings.may_wish(person, t)])
        values = {"person": person, "thing": thing, "place": chance.choice(settings.places)}
        asked = {name: value for name, value in values.items() if chance.random() < 0.5}
        request = StoryRequest(**asked)
        prompts.append(StoryPrompt(request, request.wording(chance)))
    return prompts
