"""BLEU: how many n-grams of a translation occur in the reference.

    BLEU = BP · exp(¼ Σ log p_n),  n = 1 … 4,    BP = min(1, exp(1 - r/c))

p_n is the share of the translations' n-grams that the references have too, counted over all
sentences together; an n-gram counts at most as often as its reference has it. Short translations
could do well with few safe words: the brevity penalty BP compares the length c of all
translations with that of all references, r.

Source: Papineni et al. 2002.
"""

import math
from collections import Counter
from collections.abc import Sequence

LONGEST = 4


def bleu(translations: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a whole set of sentences, between 0 and 100.

    Not the mean of the sentences' own: counts are summed first. If no n-gram of some length is
    right, BLEU is 0.

    Args:
        translations: each a sequence of words (or of characters, as is usual for Chinese).
        references: one for each.

    Raises:
        ValueError: no sentence, or not as many translations as references.
    """
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"there are {len(translations)} translations and {len(references)} references: give "
            "one reference for each, and at least one"
        )
    right, made = [0] * LONGEST, [0] * LONGEST
    for translation, reference in zip(translations, references, strict=True):
        for n in range(1, LONGEST + 1):
            ours, theirs = ngrams(translation, n), ngrams(reference, n)
            right[n - 1] += (ours & theirs).total()  # the smaller count of each
            made[n - 1] += ours.total()
    if 0 in right:
        return 0.0
    mean_log = sum(math.log(a / b) for a, b in zip(right, made, strict=True)) / LONGEST
    c, r = sum(map(len, translations)), sum(map(len, references))
    return 100 * min(1.0, math.exp(1 - r / c)) * math.exp(mean_log)


def ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
