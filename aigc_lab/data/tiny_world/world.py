"""The tiny world: documents with their exact probability."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from aigc_lab.data.tiny_world.dialogue import talk
from aigc_lab.data.tiny_world.questions import QUESTION, Question, ask
from aigc_lab.data.tiny_world.settings import KINDS, WorldSettings
from aigc_lab.data.tiny_world.speaking import (
    Drawing,
    Following,
    Impossible,
    Speaker,
    all_documents,
)
from aigc_lab.data.tiny_world.state import State
from aigc_lab.data.tiny_world.story import tell
from aigc_lab.data.tiny_world.sums import PLAIN, STEPS, say_sums


@dataclass(frozen=True)
class Document:
    """A document of the tiny world.

    Attributes:
        kind: "story", "questions" (a story with questions), "sums" or "dialogue".
        text: the document.
        log_prob: natural logarithm of the probability that the world makes this text, out of all
            its texts of all kinds.
        state: what is true at the end of the story or in the dialogue; None for sums.
        questions: that are asked after the story.
        sums: the pairs of numbers that are added.
    """

    kind: str
    text: str
    log_prob: float
    state: State | None = None
    questions: list[Question] = field(default_factory=list)
    sums: list[tuple[int, int]] = field(default_factory=list)


class TinyWorld:
    """An endless, numbered series of documents, the same for the same settings.

    Args:
        settings: what there is in the world.
    """

    def __init__(self, settings: WorldSettings | None = None):
        self.settings = settings or WorldSettings()

    def document(self, index: int) -> Document:
        """Document number `index` ≥ 0.

        Raises:
            ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"index={index} must be at least 0")
        # Seeded with a text, Python's generator uses all of it (by SHA-512).
        chance = random.Random(f"{self.settings.seed}/{self.settings.split}/{index}")
        (kind,) = chance.choices(KINDS, self.settings.mix)
        return self._say(Drawing(chance), kind)

    def documents(self, n: int, start: int = 0) -> Iterator[Document]:
        """Documents number `start` to `start + n - 1`."""
        return map(self.document, range(start, start + n))

    def read(self, text: str) -> Document:
        """The document that a text is, with its log-probability.

        Raises:
            Impossible: this world never makes this text; says from which place on.
        """
        kind = kind_of(text)
        if not self._share(kind):
            raise Impossible(
                f"there are no documents of the kind {kind!r}: mix={self.settings.mix}"
            )
        document = self._say(Following(text), kind)
        if document.text != text:
            rest = text[len(document.text) :]
            raise Impossible(f"{rest[:60]!r} comes after the end, {document.text[-60:]!r}")
        return document

    def all_documents(self) -> Iterator[Document]:
        """Every document of this world, each once: for very small worlds only."""
        for kind in KINDS:
            if self._share(kind):
                yield from all_documents(lambda speaker, kind=kind: self._say(speaker, kind))

    def _share(self, kind: str) -> float:
        return self.settings.mix[KINDS.index(kind)] / sum(self.settings.mix)

    def _say(self, speaker: Speaker, kind: str) -> Document:
        """Say a document of this kind."""
        state, questions, sums = None, [], []
        if kind == "sums":
            sums = say_sums(speaker, self.settings)
        elif kind == "dialogue":
            state = talk(speaker, self.settings)
        else:
            state = tell(speaker, self.settings)
            if kind == "questions":
                questions = ask(speaker, state, self.settings)
        log_prob = speaker.log_prob + math.log(self._share(kind))
        return Document(kind, speaker.text, log_prob, state, questions, sums)


def kind_of(text: str) -> str:
    """The kind of document that a text could be, by its look."""
    if text.startswith((PLAIN, STEPS)):
        return "sums"
    if QUESTION in text:
        return "questions"
    return "dialogue" if "\n" in text else "story"
