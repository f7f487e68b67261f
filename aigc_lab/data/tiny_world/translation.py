"""English sentences about the tiny world with their Chinese translations, word by word.

Each sentence has one translation, made from the same parts in another order: time and place
before the verb, everything that describes a thing before the thing (also what English says after
it: "the lamp that Mei found" is 小梅找到的灯), the reason before its consequence. Chinese also
needs a measure word between a number and a thing, another one for each kind of thing.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aigc_lab.data.tiny_world import chinese, lexicon

SPLITS = ("train", "new_pairs", "longer")
JOINED = {  # English words between two clauses → Chinese before, between and after; order swapped?
    ", and": ("", "，", "", False),
    "because": ("因为", "，所以", "", True),
    "before": ("", "之前，", "", True),
    "after": ("", "之后，", "", True),
    "when": ("", "的时候，", "", True),
}


@dataclass(frozen=True)
class SentencePair:
    """A sentence in two languages.

    Attributes:
        english: its words and punctuation marks.
        chinese: its characters and punctuation marks.
        links: pairs (i, j): English word i and Chinese character j say the same.
    """

    english: tuple[str, ...]
    chinese: tuple[str, ...]
    links: frozenset[tuple[int, int]]

    @property
    def english_text(self) -> str:
        """The English sentence as it is written."""
        text = " ".join(self.english)
        return text.replace(" .", ".").replace(" ?", "?").replace(" ,", ",")

    @property
    def chinese_text(self) -> str:
        """The Chinese sentence as it is written."""
        return "".join(self.chinese)


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence in both languages: words, each with the number of its meaning.

    What has no counterpart in the other language has a number that occurs only once.
    """

    english: tuple[tuple[str, int], ...] = ()
    chinese: tuple[tuple[str, int], ...] = ()


class SentencePairs:
    """An endless, numbered series of sentence pairs, the same for the same seed and split.

    Args:
        seed: sentences of different seeds have nothing to do with each other.
        split: "train"; "new_pairs" (each sentence has a colour with a thing that never has this
            colour in training); or "longer" (three or four clauses; training has one or two).

    Raises:
        ValueError: an unknown split.
    """

    def __init__(self, seed: int = 0, split: str = "train"):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not one of {SPLITS}")
        self.seed, self.split = seed, split

    def pair(self, index: int) -> SentencePair:
        """Pair number `index` ≥ 0.

        Raises:
            ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"index={index} must be at least 0")
        writer = _Writer(random.Random(f"pairs/{self.seed}/{self.split}/{index}"), self.split)
        return writer.sentence()

    def pairs(self, n: int, start: int = 0) -> Iterator[SentencePair]:
        """Pairs number `start` to `start + n - 1`."""
        return map(self.pair, range(start, start + n))


def is_held_out_colour(thing: str, colour: str) -> bool:
    """Whether a thing never has this colour in training: one in eight."""
    number = 3 * lexicon.THINGS.index(thing) + lexicon.COLOURS.index(colour)
    return number % len(lexicon.COLOURS) == 0


class _Writer:
    """Makes one pair up."""

    def __init__(self, chance: random.Random, split: str):
        self.chance, self.split = chance, split
        self.n_meanings = 0
        self.needs_new = split == "new_pairs"  # until the sentence has a new combination

    # ------------------------------------------------------------------------------- small parts

    def word(self, english: str, chinese_text: str) -> Phrase:
        """One meaning: a word or several on each side, or none on one of them."""
        self.n_meanings += 1
        return Phrase(
            tuple((word, self.n_meanings) for word in english.split()),
            tuple((character, self.n_meanings) for character in chinese_text),
        )

    def name(self, but: str = "") -> Phrase:
        name = self.chance.choice([name for name in chinese.PEOPLE if name != but])
        return self.word(name, chinese.PEOPLE[name])

    def place(self, goal: bool = False) -> Phrase:
        """ "in the garden" 在花园里, or as a goal "to the garden" 花园."""
        place = self.chance.choice(list(chinese.PLACES))
        noun, relation = chinese.PLACES[place]
        if goal:
            # One goes to the garden, but onto a hill and to the bank of a river.
            shown = noun + relation if len(noun) == 1 else noun
            return _joined([self.word("to", ""), self.word("the", ""), self.word(place, shown)])
        preposition = self.word(lexicon.PLACES[place], "在" + relation)
        thing = self.word(place, noun)
        # 在 before the noun, the relation after it: both say what the preposition says.
        return Phrase(
            preposition.english + self.word("the", "").english + thing.english,
            preposition.chinese[:1] + thing.chinese + preposition.chinese[1:],
        )

    def thing(self, is_first_named: bool = False) -> Phrase:
        """ "two green lamps" 两盏绿色的灯, "the lamp that Mei found" 小梅找到的灯.

        After "there was" the thing is named for the first time: no "the", "this" or "that".
        """
        thing = self.chance.choice(lexicon.THINGS)
        measure, noun = chinese.THINGS[thing]
        weights = [0, 3, 2, 0] if is_first_named else [3, 3, 2, 1.5]
        kind = self.chance.choices(["the", "one", "many", "that"], weights)[0]
        colour = self.colour(thing)
        if kind == "many":
            number = self.chance.choice(list(chinese.NUMBERS))
            count = self.word(number, chinese.NUMBERS[number])
            word = self.word(thing + "s", measure + noun)
            return self._described(count, colour, word, len(measure))
        if kind == "one":
            which = "a" if is_first_named else self.chance.choice(list(chinese.DETERMINERS))
            article = self.word(which, chinese.DETERMINERS[which])
            if which == "a" and (colour.english or ((thing, 0),))[0][0][0] in "aeiou":
                article = self.word("an", chinese.DETERMINERS[which])
            word = self.word(thing, measure + noun)
            return self._described(article, colour, word, len(measure))
        phrase = _joined([self.word("the", ""), colour, self.word(thing, noun)])
        if kind == "the":
            return phrase
        return self._with_clause(phrase)

    def colour(self, thing: str) -> Phrase:
        """A colour for a thing, or nothing."""
        is_new = self.needs_new
        if not is_new and self.chance.random() < 0.4:
            return Phrase()
        fitting = [c for c in lexicon.COLOURS if is_held_out_colour(thing, c) == is_new]
        self.needs_new = False
        colour = self.chance.choice(fitting)
        return self.word(colour, chinese.COLOURS[colour])

    def _described(self, count: Phrase, colour: Phrase, word: Phrase, n_measure: int) -> Phrase:
        """Number, measure word, colour, thing; the measure word belongs to the thing."""
        return Phrase(
            count.english + colour.english + word.english,
            count.chinese + word.chinese[:n_measure] + colour.chinese + word.chinese[n_measure:],
        )

    def _with_clause(self, thing: Phrase) -> Phrase:
        """ "that Mei found in the garden": after the thing in English, before it in Chinese."""
        that, who = self.word("that", "的"), self.name()
        past, _, plain, _ = self._verb()
        verb = self.word(past, plain)
        where = self.place() if self.chance.random() < 0.4 else Phrase()
        return Phrase(
            thing.english + that.english + who.english + verb.english + where.english,
            who.chinese + where.chinese + verb.chinese + that.chinese + thing.chinese,
        )

    def _verb(self) -> tuple[str, str, str, str]:
        (past, base), (plain, over) = self.chance.choice(list(chinese.VERBS.items()))
        return past, base, plain, over

    # ----------------------------------------------------------------------------------- clauses

    def clause(self, is_over: bool = True) -> Phrase:
        """A statement without its full stop.

        Args:
            is_over: whether Chinese marks the verb with 了; it does not before 之前 and 的时候.
        """
        kind = self.chance.choices(
            ["do", "not", "give", "go", "there"], [4, 1.5, 2, 1 if not self.needs_new else 0, 2]
        )[0]
        if kind == "there":
            verb, what, where = (
                self.word("was", "有"),
                self.thing(is_first_named=True),
                self.place(),
            )
            verb = self.word("were", "有") if what.english[-1][0].endswith("s") else verb
            english = self.word("there", "").english + verb.english + what.english + where.english
            # Chinese begins with the place, without 在.
            return Phrase(english, where.chinese[1:] + verb.chinese + what.chinese)
        who = self.name()
        when = self._time()
        if kind == "go":
            verb, goal = self.word("went", "去了" if is_over else "去"), self.place(goal=True)
            return Phrase(
                who.english + verb.english + goal.english + when.english,
                when.chinese + who.chinese + verb.chinese + goal.chinese,
            )
        if kind == "give":
            what, whom = self.thing(), self.name(but=who.english[0][0])
            verb = self.word("gave", "给了" if is_over else "给")
            marker = self.word("", "把")  # takes the object before the verb
            return Phrase(
                who.english + verb.english + what.english
                + self.word("to", "").english + whom.english + when.english,
                when.chinese + who.chinese + marker.chinese + what.chinese
                + verb.chinese + whom.chinese,
            )  # fmt: skip
        past, base, plain, over = self._verb()
        what = self.thing()
        # After "the lamp that Mei found" a place would say where she found it.
        ends_with_thing = what.english[-1][0].removesuffix("s") in lexicon.THINGS
        where = self.place() if ends_with_thing and self.chance.random() < 0.4 else Phrase()
        verb = self.word(past, over if is_over else plain)
        if kind == "not":
            denied, verb = self.word("did not", "没有"), self.word(base, plain)
            verb = Phrase(denied.english + verb.english, denied.chinese + verb.chinese)
        return Phrase(
            who.english + verb.english + what.english + where.english + when.english,
            when.chinese + who.chinese + where.chinese + verb.chinese + what.chinese,
        )

    def question(self) -> Phrase:
        """ "Who found ...?" or "Where did Mei find ...?", without the mark."""
        past, base, _, over = self._verb()
        what = self.thing()
        if self.chance.random() < 0.5:
            return _joined([self.word("who", "谁"), self.word(past, over), what])
        where, who = self.word("where", "在哪里"), self.name()
        verb = self.word(base, over)
        return Phrase(
            where.english + self.word("did", "").english + who.english + verb.english
            + what.english,
            who.chinese + where.chinese + verb.chinese + what.chinese,
        )  # fmt: skip

    def sentence(self) -> SentencePair:
        """One clause or several, or a question."""
        if self.split == "longer":
            n_clauses = self.chance.choice([3, 4])
        else:
            n_clauses = self.chance.choices([1, 2], [0.6, 0.4])[0]
        if n_clauses == 1 and self.chance.random() < 0.15:
            return _finished(self.question(), "?", "？", self)
        whole = self.clause()
        for number in range(1, n_clauses):
            # Only the first two are joined by more than "and": the rest follows.
            link = self.chance.choice(list(JOINED)) if number == 1 else ", and"
            whole = self._join(whole, link, self.clause(link not in ("before", "when")))
        return _finished(whole, ".", "。", self)

    def _join(self, one: Phrase, link: str, two: Phrase) -> Phrase:
        before, between, after, is_swapped = JOINED[link]
        joint = self.word(link, before + between + after)
        head = joint.chinese[: len(before)]
        middle = joint.chinese[len(before) : len(before) + len(between)]
        first, second = (two, one) if is_swapped else (one, two)
        return Phrase(
            one.english + joint.english + two.english,
            head + first.chinese + middle + second.chinese,
        )

    def _time(self) -> Phrase:
        if self.chance.random() < 0.65:
            return Phrase()
        time = self.chance.choice(list(chinese.TIMES))
        return self.word(time, chinese.TIMES[time])


def _joined(phrases: Sequence[Phrase]) -> Phrase:
    """Phrases that follow each other in the same order in both languages."""
    return Phrase(
        sum((phrase.english for phrase in phrases), ()),
        sum((phrase.chinese for phrase in phrases), ()),
    )


def _finished(phrase: Phrase, english_end: str, chinese_end: str, writer: _Writer) -> SentencePair:
    english = phrase.english + writer.word(english_end, "").english
    whole = Phrase(english, (*phrase.chinese, (chinese_end, english[-1][1])))
    words = [word for word, _ in whole.english]
    words[0] = words[0][0].upper() + words[0][1:]
    links = frozenset(
        (i, j)
        for i, (_, meaning) in enumerate(whole.english)
        for j, (_, other) in enumerate(whole.chinese)
        if meaning == other
    )
    return SentencePair(tuple(words), tuple(c for c, _ in whole.chinese), links)
