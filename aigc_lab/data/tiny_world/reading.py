"""Reading a story that somebody, perhaps a model, has written: what it says, and what is wrong."""

import re
from dataclasses import dataclass, field

from aigc_lab.data.tiny_world import lexicon
from aigc_lab.data.tiny_world.state import Fact, State

_NAMES = (*lexicon.PEOPLE, *lexicon.HELD_OUT_PEOPLE)
_PLACES = "|".join(lexicon.PLACES)
_SLOTS = {
    "{P}": f"(?P<person>{'|'.join(_NAMES)}|[Ss]he|[Hh]e)",
    "{Q}": f"(?P<other>{'|'.join(_NAMES)})",
    "{t}": f"(?P<thing>{'|'.join(lexicon.THINGS)})",
    "{c}": f"(?P<colour>{'|'.join(lexicon.COLOURS)})",
    "{at}": "(?P<place>" + "|".join(lexicon.at(place) for place in lexicon.PLACES) + ")",
    "{to}": f"to the (?P<place>{_PLACES})",
}


def _pattern(form: str, with_link: bool) -> re.Pattern[str]:
    text = re.escape(form).replace(r"\{", "{").replace(r"\}", "}")
    for slot, pattern in _SLOTS.items():
        text = text.replace(slot, pattern)
    links = "|".join(link for link in lexicon.LINKS if link)
    return re.compile(f"(?:{links})?{text}" if with_link else text)


_OPENINGS = [_pattern(form, False) for form in lexicon.OPENINGS]
_PATTERNS = [
    (kind, _pattern(form, kind in lexicon.EVENTS))
    for kind, forms in lexicon.FORMS.items()
    for form in forms
]
# In which order the parts of a story come.
_PARTS = {"be": 0, "lie": 1, "own": 1, "wish": 2, "end with": 4, "end without": 4}


@dataclass
class Reading:
    """What a text says.

    Attributes:
        facts: one for each sentence that is one.
        state: at the end.
        mistakes: sentences that are no sentences of this world, or stand where they cannot.
        contradictions: sentences that cannot be true after what was said before.
    """

    facts: list[Fact] = field(default_factory=list)
    state: State = field(default_factory=State)
    mistakes: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    @property
    def is_grammatical(self) -> bool:
        """Whether every sentence is one of this world, from an opening to an end."""
        return not self.mistakes

    @property
    def is_consistent(self) -> bool:
        """Whether it is grammatical and nothing contradicts what was said before."""
        return not self.mistakes and not self.contradictions


def read_story(text: str, is_whole: bool = True) -> Reading:
    """Read a story (the part before any question).

    Args:
        text: of the story.
        is_whole: whether it must have a wish and an end; a scene need not.
    """
    reading = Reading()
    sentences = re.findall(r"[^.]*\.|[^.]+$", text.strip())
    for number, sentence in enumerate(sentences):
        if number and not re.match(r" \S", sentence):
            reading.mistakes.append(f"not one space before {sentence.strip()!r}")
        sentence = sentence.strip()
        fact = _read_sentence(sentence, reading.state, is_first=number == 0)
        if isinstance(fact, str):
            reading.mistakes.append(f"{sentence!r}: {fact}")
            continue
        if problem := _out_of_place(fact, reading.state, is_whole):
            reading.mistakes.append(f"{sentence!r}: {problem}")
        elif problem := reading.state.objection(fact):
            reading.contradictions.append(f"{sentence!r}: {problem}")
        reading.facts.append(fact)
        reading.state.apply(fact)
    if is_whole and not reading.state.is_over:
        reading.mistakes.append("the story has no end")
    return reading


def _read_sentence(sentence: str, state: State, is_first: bool) -> Fact | str:
    """The fact, or what is wrong in words."""
    patterns = [("be", pattern) for pattern in _OPENINGS] if is_first else _PATTERNS
    found = ((kind, pattern.fullmatch(sentence)) for kind, pattern in patterns)
    kind, match = next(((kind, match) for kind, match in found if match), ("", None))
    if match is None:
        return "no sentence that begins a story" if is_first else "no sentence of this world"
    if sentence[0].islower():
        return "begins with a small letter"
    words = match.groupdict()
    if (place := words.get("place")) and " " in place:
        words["place"] = place.split()[-1]
    person = words.get("person")
    if person and person.lower() in ("she", "he"):
        if person[0].isupper() and not sentence.startswith(person):
            return f"{person!r} within a sentence"
        if not state.subject or lexicon.pronoun(state.subject) != person.lower():
            return f"nobody can be meant by {person!r}"
        words["person"] = state.subject
    return Fact(kind, **words)


def _out_of_place(fact: Fact, state: State, is_whole: bool) -> str:
    """Why a fact cannot stand here, whatever it says."""
    if state.is_over:
        return "comes after the end"
    part, before = _PARTS.get(fact.kind, 3), _PARTS.get(state.last, 3)
    if not state.last:
        return ""
    if part < before:
        return "comes too late in the story"
    if is_whole and part > before + 1 and not (before == 2 and part == 4):
        return "comes too early in the story"
    if part == before == 2:
        return "is a second wish"
    return ""
