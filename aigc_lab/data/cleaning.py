"""Cleaning a corpus: which documents stay, and why each of the others went.

Three sieves, the cheap ones first: rules of thumb for running text, exact duplicates, and
near-duplicates. The rules catch what is no prose (menus, tables, word lists, repetition). They are
made for English: other languages need their own stop words, and Chinese other word lengths.

Sources: Raffel et al. 2020 (C4: lines that end in punctuation), Rae et al. 2021 (Gopher: word
lengths, symbols, stop words, repetition), Lee et al. 2022 (duplicates).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aigc_lab.data.near_duplicates import near_duplicates, normalise

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS = ("•", "-", "*", "+")
END_OF_SENTENCE = (
    ".",
    "!",
    "?",
    "…",
    '."',
    '!"',
    '?"',
    ".'",
    ".”",
    "!”",
    "?”",
    ".)",
    "。",
    "！",
    "？",
)


@dataclass(frozen=True)
class QualityRules:
    """Limits for the measures of `measure`; the defaults are close to Gopher's and C4's.

    Args:
        n_words: least and greatest number of words.
        word_length: least and greatest mean length of a word, in characters.
        symbols: most symbols (# and ellipses) per word.
        alphabetic_words: least share of words with a letter in them.
        stop_words: least number of different words of `STOP_WORDS`.
        bullet_lines: greatest share of lines that begin with a bullet.
        ellipsis_lines: greatest share of lines that end in an ellipsis.
        finished_lines: least share of lines that end in punctuation. C4 drops the other lines; we
            drop documents, and ask for little, because in text with short lines few are an end.
        repeated_lines: greatest share of lines that occurred before.
        repeated_runs: greatest share of runs of five words that occurred before.

    Raises:
        ValueError: a pair with the least above the greatest, or a share outside 0 to 1.
    """

    n_words: tuple[float, float] = (50, 100_000)
    word_length: tuple[float, float] = (3, 10)
    symbols: float = 0.1
    alphabetic_words: float = 0.8
    stop_words: int = 2
    bullet_lines: float = 0.9
    ellipsis_lines: float = 0.3
    finished_lines: float = 0.05
    repeated_lines: float = 0.3
    repeated_runs: float = 0.15

    def __post_init__(self) -> None:
        for name in ("n_words", "word_length"):
            least, greatest = getattr(self, name)
            if least > greatest:
                raise ValueError(f"{name}={getattr(self, name)}: the least is above the greatest")
        for name in (
            "alphabetic_words",
            "bullet_lines",
            "ellipsis_lines",
            "finished_lines",
            "repeated_lines",
            "repeated_runs",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is a share and must lie in 0 .. 1")


@dataclass(frozen=True)
class Dropped:
    """A document that went.

    Args:
        index: its place in the corpus.
        reason: "quality", "exact duplicate" or "near-duplicate".
        detail: the rules that it broke, or which document it repeats.
    """

    index: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Cleaned:
    """What `clean` found: indices of the documents that stay, and those dropped, in order."""

    kept: tuple[int, ...]
    dropped: tuple[Dropped, ...]

    def __str__(self) -> str:
        total = len(self.kept) + len(self.dropped)
        counts = Counter(one.reason for one in self.dropped)
        parts = [f"{n} {reason}" for reason, n in sorted(counts.items())]
        return f"kept {len(self.kept)} of {total} documents; dropped: {', '.join(parts) or 'none'}"


def measure(text: str) -> dict[str, float]:
    """The measures that `QualityRules` limits, under the same names; all 0 for an empty text.

    Words are what white space separates, lines those that are not blank.
    """
    words = text.split()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    runs = list(zip(*(words[start:] for start in range(5)), strict=False))
    found = {"n_words": float(len(words))}
    found["word_length"] = _share(sum(map(len, words)), words)
    n_symbols = text.count("#") + len(re.findall(r"\.{3,}|…", text))
    found["symbols"] = _share(n_symbols, words)
    found["alphabetic_words"] = _share(sum(any(map(str.isalpha, w)) for w in words), words)
    bare = {word.strip(".,;:!?\"'()“”").casefold() for word in words}
    found["stop_words"] = float(len(bare & STOP_WORDS))
    found["bullet_lines"] = _share(sum(line.startswith(BULLETS) for line in lines), lines)
    found["ellipsis_lines"] = _share(sum(line.endswith(("...", "…")) for line in lines), lines)
    found["finished_lines"] = _share(sum(line.endswith(END_OF_SENTENCE) for line in lines), lines)
    found["repeated_lines"] = _share(len(lines) - len(set(lines)), lines)
    found["repeated_runs"] = _share(len(runs) - len(set(runs)), runs)
    return found


def _share(part: float, whole: Sequence) -> float:
    return part / len(whole) if whole else 0.0


def complaints(text: str, rules: QualityRules = QualityRules()) -> list[str]:
    """Which rules a text breaks, each with its value and the limit; none for good text."""
    found = measure(text)
    broken = []
    for name in ("n_words", "word_length"):
        least, greatest = getattr(rules, name)
        if not least <= found[name] <= greatest:
            broken.append(f"{name} {found[name]:.4g} not in {least:g} .. {greatest:g}")
    for name in ("alphabetic_words", "stop_words", "finished_lines"):
        if found[name] < getattr(rules, name):
            broken.append(f"{name} {found[name]:.3g} < {getattr(rules, name):g}")
    for name in ("symbols", "bullet_lines", "ellipsis_lines", "repeated_lines", "repeated_runs"):
        if found[name] > getattr(rules, name):
            broken.append(f"{name} {found[name]:.3g} > {getattr(rules, name):g}")
    return broken


def exact_duplicates(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (index, first) of every text that equals an earlier one after `normalise`.

    Only a hash of each text is kept: 16 bytes, however long the text.
    """
    first: dict[bytes, int] = {}
    pairs = []
    for index, text in enumerate(texts):
        data = normalise(text).encode("utf-8", "surrogatepass")
        earlier = first.setdefault(hashlib.blake2b(data, digest_size=16).digest(), index)
        if earlier != index:
            pairs.append((index, earlier))
    return pairs


def clean(
    texts: Sequence[str], rules: QualityRules | None = QualityRules(), threshold: float = 0.7
) -> Cleaned:
    """Sieve a corpus by quality, exact and near-duplicates; of duplicates the first stays.

    Args:
        texts: the corpus.
        rules: limits of the first sieve; None leaves it out.
        threshold: Jaccard similarity from which texts are near-duplicates, as in
            `near_duplicates`; the result is the same each time.

    Returns:
        Which documents stay, and why each of the others went.
    """
    dropped = []
    if rules is not None:
        broken = ((i, complaints(text, rules)) for i, text in enumerate(texts))
        dropped += [Dropped(i, "quality", "; ".join(found)) for i, found in broken if found]
    left = _without(range(len(texts)), dropped)
    for index, first in exact_duplicates([texts[i] for i in left]):
        dropped.append(Dropped(left[index], "exact duplicate", f"of document {left[first]}"))
    left = _without(left, dropped)
    for first, *others in near_duplicates([texts[i] for i in left], threshold):
        for index in others:
            dropped.append(Dropped(left[index], "near-duplicate", f"of document {left[first]}"))
    left = _without(left, dropped)
    return Cleaned(tuple(left), tuple(sorted(dropped, key=lambda one: one.index)))


def _without(indices: Sequence[int], dropped: list[Dropped]) -> list[int]:
    gone = {one.index for one in dropped}
    return [i for i in indices if i not in gone]
