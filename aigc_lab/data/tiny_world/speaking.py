"""Choosing what to say and how, with the exact probability of each choice.

A document of the tiny world is a chain of `say`: first *what* is said (one of the items that may
come now), then *how* (one of its wordings). Both choices can be seen in the text, and no two ways
lead to the same text, so that the probability of a text is the product of its choices.

The same program, `document(speaker)`, serves three purposes, by the speaker that it is given:
`Drawing` makes a document up, `Following` reads one that is there and finds its probability, and
`all_documents` goes through every document that there is.
"""

import math
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Item, Result = TypeVar("Item", bound=Hashable), TypeVar("Result")
# What may come: groups with a weight each; within a group all items are equally likely.
Groups = Sequence[tuple[float, Sequence[Item]]]
# How it may be put: texts with their weights.
Wordings = Callable[[Item], dict[str, float]]


class Impossible(ValueError):
    """A text that the world cannot produce; the message says where and why."""


class Speaker:
    """What has been said so far, and its log-probability in nats."""

    def __init__(self) -> None:
        self.text = ""
        self.log_prob = 0.0

    def say(self, groups: Groups, wordings: Wordings) -> Item:
        """Choose an item and a wording, add the wording to the text, and return the item."""
        raise NotImplementedError


def _used(groups: Groups) -> list[tuple[float, Sequence[Item]]]:
    return [(weight, items) for weight, items in groups if weight > 0 and items]


def _choices(groups: Groups) -> Iterator[tuple[Item, float]]:
    """Every item with its log-probability."""
    groups = _used(groups)
    total = sum(weight for weight, _ in groups)
    for weight, items in groups:
        for item in items:
            yield item, math.log(weight / total / len(items))


class Drawing(Speaker):
    """Makes a document up."""

    def __init__(self, chance: random.Random):
        super().__init__()
        self.chance = chance

    def say(self, groups: Groups, wordings: Wordings) -> Item:
        """Draw an item and a wording."""
        groups = _used(groups)
        number, log_prob = self._draw([weight for weight, _ in groups])
        items = groups[number][1]
        item = items[int(self.chance.random() * len(items))]
        texts = wordings(item)
        wording, log_prob_wording = self._draw(list(texts.values()))
        self.text += list(texts)[wording]
        self.log_prob += log_prob - math.log(len(items)) + log_prob_wording
        return item

    def _draw(self, weights: list[float]) -> tuple[int, float]:
        total = sum(weights)
        place = self.chance.random() * total
        number = 0
        while number < len(weights) - 1 and place >= weights[number]:
            place -= weights[number]
            number += 1
        return number, math.log(weights[number] / total)


class Following(Speaker):
    """Reads a text that is there: takes the choices that it shows.

    Raises:
        Impossible: at the first place where the text is none of what may come.
    """

    def __init__(self, target: str):
        super().__init__()
        self.target = target

    def say(self, groups: Groups, wordings: Wordings) -> Item:
        """Find the item and the wording with which the text goes on."""
        best: tuple[str, Item, float] | None = None
        for item, log_prob in _choices(groups):
            texts = wordings(item)
            total = sum(texts.values())
            for text, weight in texts.items():
                fits = self.target.startswith(text, len(self.text))
                # The longest one: "Q: …" goes on where the empty text would stop.
                if fits and (best is None or len(text) > len(best[0])):
                    best = (text, item, log_prob + math.log(weight / total))
        if best is None:
            rest = self.target[len(self.text) :]
            raise Impossible(f"{rest[:60]!r} cannot come after {self.text[-60:]!r}")
        self.text += best[0]
        self.log_prob += best[2]
        return best[1]


class _Choosing(Speaker):
    """Takes the choices that a list of numbers prescribes, and the first one after that."""

    def __init__(self, numbers: list[int]):
        super().__init__()
        self.numbers = numbers
        self.made: list[tuple[int, int]] = []  # chosen number, and out of how many

    def say(self, groups: Groups, wordings: Wordings) -> Item:
        item, log_prob = self._take(list(_choices(groups)))
        texts = wordings(item)
        total = sum(texts.values())
        text, weight = self._take([(text, w) for text, w in texts.items() if w > 0])
        self.text += text
        self.log_prob += log_prob + math.log(weight / total)
        return item

    def _take(self, options: list) -> tuple:
        place = len(self.made)
        number = self.numbers[place] if place < len(self.numbers) else 0
        self.made.append((number, len(options)))
        return options[number]


def all_documents(document: Callable[[Speaker], Result]) -> Iterator[Result]:
    """What the program returns for every way to choose, in the order of the choices."""
    numbers: list[int] = []
    while True:
        speaker = _Choosing(numbers)
        yield document(speaker)
        made = speaker.made
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return
        numbers = [number for number, _ in made[:-1]] + [made[-1][0] + 1]
