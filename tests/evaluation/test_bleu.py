"""BLEU against sacrebleu and by hand."""

import math
import random

import pytest
import sacrebleu

from aigc_lab.data.tiny_world.translation import SentencePairs
from aigc_lab.evaluation.bleu import bleu


def theirs(translations, references):
    return sacrebleu.corpus_bleu(
        [" ".join(words) for words in translations],
        [[" ".join(words) for words in references]],
        smooth_method="none",
        tokenize="none",
        force=True,
    ).score


def damaged(words, chance):
    """Words left out, doubled, exchanged."""
    words = [w for w in words for _ in range(chance.choices([0, 1, 2], [1, 8, 1])[0])]
    if len(words) > 1 and chance.random() < 0.5:
        i = chance.randrange(len(words) - 1)
        words[i], words[i + 1] = words[i + 1], words[i]
    return words


@pytest.mark.parametrize("seed", range(5))
def test_equals_sacrebleu_on_damaged_translations(seed):
    chance = random.Random(seed)
    references = [pair.chinese for pair in SentencePairs(seed).pairs(50)]
    translations = [damaged(words, chance) for words in references]
    found = bleu(translations, references)
    assert 10 < found < 95
    assert found == pytest.approx(theirs(translations, references), abs=1e-9)


def test_equals_sacrebleu_where_translations_are_too_short_or_too_long():
    references = [list("abcdefgh"), list("hijklmnop")]
    for translations in ([r[:5] for r in references], [[*r, "z", "z"] for r in references]):
        found = bleu(translations, references)
        assert found == pytest.approx(theirs(translations, references), abs=1e-9)


def test_by_hand():
    assert bleu([list("abcde")], [list("abcde")]) == pytest.approx(100)
    # a b c d | a b c d e: all n-grams right, but 4 words for 5.
    assert bleu([list("abcd")], [list("abcde")]) == pytest.approx(100 * math.exp(1 - 5 / 4))
    # "the" seven times: two of seven count, no two-gram is right.
    assert bleu([["the"] * 7], [["the", "cat", "is", "on", "the", "mat"]]) == 0.0


def test_counts_are_summed_before_the_mean():
    """A sentence without any right 4-gram does not make the set worth 0."""
    one, two = list("abcdefgh"), list("hgfedcba")
    assert bleu([one, one], [one, two]) > 40
    assert bleu([one], [two]) == 0.0


def test_clear_errors():
    with pytest.raises(ValueError, match="1 translations and 2 references"):
        bleu([["a"]], [["a"], ["b"]])
    with pytest.raises(ValueError, match="0 translations and 0 references"):
        bleu([], [])
