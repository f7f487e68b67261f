"""The words of the tiny world: who and what there is, and how each fact may be put.

A template has slots in braces: {P} a person as subject (a name, or "she" / "he" where the sentence
before was about the same person), {Q} another person, {t} a thing, {c} its colour, {at} a place
with its preposition ("by the river"), {to} a place as a goal ("to the river").
"""

from functools import cache

# Name → pronoun.
PEOPLE = {
    "Amara": "she", "Kenji": "he", "Lucia": "she", "Omar": "he", "Ingrid": "she",
    "Mateo": "he", "Priya": "she", "Tomas": "he", "Mei": "she", "Kofi": "he",
    "Leila": "she", "Arjun": "he", "Freya": "she", "Diego": "he", "Yuki": "she",
    "Malik": "he", "Nadia": "she", "Pavel": "he", "Aroha": "she", "Elias": "he",
}  # fmt: skip
HELD_OUT_PEOPLE = {"Wanjiru": "she", "Henrik": "he", "Zainab": "she", "Bao": "he"}

# Place → preposition.
PLACES = {
    "garden": "in", "kitchen": "in", "library": "in", "market": "at", "river": "by",
    "harbour": "at", "forest": "in", "hill": "on", "bridge": "on", "station": "at",
    "bakery": "in", "island": "on",
}  # fmt: skip

THINGS = (
    "kite", "lamp", "book", "drum", "apple", "map", "key", "basket", "ball", "letter", "flute",
    "clock", "bell", "ring",
)  # fmt: skip

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "silver", "brown")

# How a story's sentences are worded, by the kind of fact.
OPENINGS = [
    f"{start} {{P}} {was} {{at}}."
    for start in ("One morning", "One evening", "One windy day", "On a cold day", "Long ago")
    for was in ("was", "stood")
]
FORMS = {
    "be": ["{P} was {at}.", "{P} was waiting {at}.", "{P} sat {at}."],
    "lie": [
        "There was a {c} {t} {at}.",
        "A {c} {t} lay {at}.",
        "Somebody had left a {c} {t} {at}.",
    ],
    "own": ["{P} had a {c} {t}.", "{P} was carrying a {c} {t}.", "{P} owned a {c} {t}."],
    "wish": [
        "{P} wanted to have the {t}.",
        "{P} dreamed of the {t}.",
        "{P} wished for the {t} more than anything.",
    ],
    "go": ["{P} went {to}.", "{P} walked {to}.", "{P} ran {to}.", "{P} set off {to}."],
    "take": ["{P} took the {t}.", "{P} picked up the {t}.", "{P} found the {t} and kept it."],
    "drop": ["{P} put down the {t}.", "{P} left the {t} there.", "{P} lost the {t} there."],
    "give": ["{P} gave the {t} to {Q}.", "{P} handed {Q} the {t}.", "{P} let {Q} have the {t}."],
    "greet": ["{P} greeted {Q}.", "{P} smiled at {Q}.", "{P} told {Q} a joke."],
    "air": [
        "It began to rain.",
        "The sun came out.",
        "A bird flew by.",
        "Far away a dog barked.",
        "The wind was singing.",
    ],
    "end with": [
        "In the end {P} had the {t}, and all was well.",
        "So {P} got the {t} after all.",
        "That night {P} fell asleep with the {t}.",
    ],
    "end without": [
        "In the end {P} did not have the {t}.",
        "So {P} never got the {t}.",
        "That night {P} fell asleep without the {t}.",
    ],
}
EVENTS = ("go", "take", "drop", "give", "greet")
# What may stand before a sentence about an event, and how often.
LINKS = {"": 6, "Then ": 2, "Soon ": 1, "After that ": 1}
PRONOUN_WEIGHT, NAME_WEIGHT = 6, 4


def pronoun(person: str) -> str:
    """ "she" or "he"."""
    return PEOPLE.get(person) or HELD_OUT_PEOPLE[person]


def at(place: str) -> str:
    """A place with its preposition: "by the river"."""
    return f"{PLACES[place]} the {place}"


@cache
def is_held_out_pair(person: str, thing: str) -> bool:
    """Whether this person never wants, gets or owns this thing in the training documents.

    One thing in eight for each person, and one person in eight for each thing.
    """
    names = (*PEOPLE, *HELD_OUT_PEOPLE)
    return (3 * names.index(person) + 5 * THINGS.index(thing)) % 8 == 0


def is_held_out_sum(a: int, b: int) -> bool:
    """Whether a + b (and b + a) is never set in the training documents: about 1 pair in 12."""
    return a * b % 11 == 5
