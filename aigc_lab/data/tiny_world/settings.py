"""The knobs of the tiny world."""

import dataclasses
import math
from dataclasses import dataclass

from aigc_lab.data.tiny_world import lexicon

KINDS = ("story", "questions", "sums", "dialogue")
SPLITS = ("train", "new_pairs", "new_people", "new_questions")
QUESTION_KINDS = (
    "where person",
    "where thing",
    "who has",
    "what has",
    "colour",
    "wish",
    "is there",
)
HELD_OUT_QUESTION_KINDS = ("where first",)


@dataclass(frozen=True)
class WorldSettings:
    """What there is in the world, and how much of it in a document.

    Args:
        seed: documents of different seeds have nothing to do with each other.
        split: "train", or what is held out from it: "new_pairs" (stories about a person who wishes
            for a thing that this person never gets in training, and sums of numbers that are never
            set in training), "new_people" (names that never occur) or "new_questions" (a kind of
            question that is never asked).
        mix: weights of stories, stories with questions, sums, dialogues.
        people, places, things, colours: the words that are used, out of those of `lexicon`;
            `people` without the held-out names.
        n_people, n_things, n_events, n_questions, n_exchanges, n_sums: least and largest number of
            people and things in a story, of things that happen, of questions after a story, of
            exchanges in a dialogue, of sums in a document.
        question_kinds: those that are asked ("new_questions" asks the held-out ones instead).
        end_chance: chance that a story ends at a given point between its least and largest number
            of events; `end_chance_with` if the wish has come true.
        purpose: how much more likely people go to where the thing that they want is.
        mentioned: how much more likely people go to places that the story has named.
        largest_addend: of the sums.
        steps_share: share of the documents with sums that write the steps out.

    Raises:
        ValueError: a setting that is impossible, with the remedy.
    """

    seed: int = 0
    split: str = "train"
    mix: tuple[float, float, float, float] = (0.1, 0.7, 0.12, 0.08)
    people: tuple[str, ...] = tuple(lexicon.PEOPLE)
    places: tuple[str, ...] = tuple(lexicon.PLACES)
    things: tuple[str, ...] = lexicon.THINGS
    colours: tuple[str, ...] = lexicon.COLOURS
    n_people: tuple[int, int] = (2, 3)
    n_things: tuple[int, int] = (1, 2)
    n_events: tuple[int, int] = (2, 6)
    n_questions: tuple[int, int] = (6, 10)
    n_exchanges: tuple[int, int] = (1, 3)
    n_sums: tuple[int, int] = (2, 5)
    question_kinds: tuple[str, ...] = QUESTION_KINDS
    end_chance: float = 0.15
    end_chance_with: float = 0.5
    purpose: float = 4.0
    mentioned: float = 6.0
    largest_addend: int = 99
    steps_share: float = 0.5

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split={self.split!r} is not one of {SPLITS}")
        is_finite = all(math.isfinite(weight) for weight in self.mix)
        if len(self.mix) != len(KINDS) or not is_finite or min(self.mix) < 0 or sum(self.mix) <= 0:
            raise ValueError(
                f"mix={self.mix} must hold four finite weights, one for each of {KINDS}, "
                "none below 0 and at least one above 0"
            )
        self._check_words()
        self._check_numbers()

    def _check_words(self) -> None:
        known = {
            "people": tuple(lexicon.PEOPLE),
            "places": tuple(lexicon.PLACES),
            "things": lexicon.THINGS,
            "colours": lexicon.COLOURS,
            "question_kinds": QUESTION_KINDS + HELD_OUT_QUESTION_KINDS,
        }
        for name, words in known.items():
            value = getattr(self, name)
            strange = [word for word in value if word not in words]
            if not value or strange or len(set(value)) < len(value):
                raise ValueError(
                    f"{name}={value} must hold at least one, each once, of {words}"
                    + (f"; {strange[0]!r} is not among them" if strange else "")
                )

    def _check_numbers(self) -> None:
        least = {"n_people": 2, "n_things": 1, "n_events": 0, "n_questions": 1}
        most = {"n_people": len(self.used_people), "n_things": len(self.things)}
        for name in ("n_people", "n_things", "n_events", "n_questions", "n_exchanges", "n_sums"):
            low, high = getattr(self, name)
            lowest, highest = least.get(name, 1), most.get(name, 1000)
            if not lowest <= low <= high <= highest:
                raise ValueError(
                    f"{name}={(low, high)} must be (least, largest) between {lowest} and {highest}"
                )
        if len(self.places) < 2:
            raise ValueError(f"places={self.places} must hold at least two: people walk about")
        for name in ("end_chance", "end_chance_with", "steps_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")
        for name in ("purpose", "mentioned"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0 and finite")
        if not 9 <= self.largest_addend <= 999:
            raise ValueError(f"largest_addend={self.largest_addend} must lie between 9 and 999")
        for person in self.used_people:
            if not any(self.may_wish(person, thing) for thing in self.things):
                raise ValueError(
                    f"things={self.things} leaves {person} nothing to wish for in "
                    f"split={self.split!r}: add a thing or leave the name out of people"
                )

    @property
    def used_people(self) -> tuple[str, ...]:
        """The names that occur in this split."""
        return tuple(lexicon.HELD_OUT_PEOPLE) if self.split == "new_people" else self.people

    @property
    def asked_kinds(self) -> tuple[str, ...]:
        """The kinds of question that are asked in this split."""
        return HELD_OUT_QUESTION_KINDS if self.split == "new_questions" else self.question_kinds

    def may_meet(self, person: str, thing: str) -> bool:
        """Whether the thing may come into this person's hands in this split."""
        is_new = self.split in ("new_pairs", "new_people")
        return is_new or not lexicon.is_held_out_pair(person, thing)

    def may_wish(self, person: str, thing: str) -> bool:
        """Whether a story of this split may be about this person's wish for this thing."""
        if self.split == "new_pairs":
            return lexicon.is_held_out_pair(person, thing)
        return self.may_meet(person, thing)

    def replace(self, **changes) -> "WorldSettings":
        """The same settings with some changes."""
        return dataclasses.replace(self, **changes)
