"""English sentences with their Chinese translations."""

import re

import pytest

from aigc_lab.data.tiny_world import chinese, lexicon
from aigc_lab.data.tiny_world.translation import (
    SPLITS,
    SentencePairs,
    is_held_out_colour,
)

N = 3000
PAIRS = {split: list(SentencePairs(0, split).pairs(N)) for split in SPLITS}


def combinations(pair):
    """Thing and colour, where a colour stands before a thing."""
    words = [word.lower().removesuffix("s") for word in pair.english]
    return {
        (thing, colour)
        for colour, thing in zip(words, words[1:], strict=False)
        if colour in lexicon.COLOURS and thing in lexicon.THINGS
    }


def n_clauses(pair):
    text = pair.english_text
    return (
        1
        + text.count(", and")
        + sum(f" {w} " in text for w in ("because", "before", "after", "when"))
    )


def test_all_words_of_the_world_have_a_translation():
    assert set(chinese.PEOPLE) == set(lexicon.PEOPLE)
    assert set(chinese.PLACES) == set(lexicon.PLACES)
    assert set(chinese.THINGS) == set(lexicon.THINGS)
    assert set(chinese.COLOURS) == set(lexicon.COLOURS)


def test_examples_by_hand():
    """Sentences whose translation was written down by a reader of both languages."""
    known = {
        "Who found the blue basket?": "谁找到了蓝色的篮子？",
        "Kenji went to the library.": "健二去了图书馆。",
        "There was a map in the bakery.": "面包店里有一张地图。",
    }
    found = {p.english_text: p.chinese_text for p in SentencePairs(3).pairs(200)}
    assert {english: found[english] for english in known} == known


def test_a_sentence_has_one_translation():
    known = {}
    for split in SPLITS:
        for pair in PAIRS[split]:
            assert known.setdefault(pair.english, pair.chinese) == pair.chinese
    # And the other way round Chinese leaves out what English says ("a" and "this" differ, but
    # "the" is silent): still nearly always one.
    back = {}
    for english, translation in known.items():
        back.setdefault(translation, set()).add(english)
    assert sum(len(texts) == 1 for texts in back.values()) > 0.99 * len(back)


def test_a_place_after_a_clause_with_that_belongs_to_this_clause():
    """ "the lamp that Mei found in the garden" 小梅在花园里找到的灯: never where it was seen."""
    pattern = re.compile(r" that ([A-Z]\w+) (?:\w+ ){1,2}(?:in|on|at) the ")
    found = [
        (pair, match[1])
        for pair in PAIRS["train"] + PAIRS["longer"]
        for match in pattern.finditer(pair.english_text)
    ]
    assert len(found) > 50
    for pair, who in found:
        assert f"{chinese.PEOPLE[who]}在" in pair.chinese_text, pair


def test_links_join_words_that_mean_the_same():
    names = chinese.PEOPLE
    for pair in PAIRS["train"][:500]:
        linked = {}
        for i, j in sorted(pair.links):
            linked.setdefault(pair.english[i], []).append(pair.chinese[j])
        for word, characters in linked.items():
            if word in names:
                assert "".join(characters).startswith(names[word])
            if word in chinese.COLOURS:
                assert "".join(characters).startswith(chinese.COLOURS[word])
        joined = {j for _, j in pair.links}
        alone = {pair.chinese[j] for j in range(len(pair.chinese)) if j not in joined}
        assert alone <= set("把")  # every other character says what an English word says


def test_order_differs():
    """A time stands last in its English clause and before the person in Chinese."""
    seen = 0
    for pair in PAIRS["train"]:
        if pair.english[-2] == "yesterday" and n_clauses(pair) == 1:
            seen += 1
            assert pair.chinese_text.startswith("昨天")
    assert seen > 20


@pytest.mark.parametrize("split", ["train", "longer"])
def test_held_out_combinations_never_come_elsewhere(split):
    for pair in PAIRS[split]:
        assert not any(is_held_out_colour(*combination) for combination in combinations(pair))


def test_new_pairs_each_have_a_held_out_combination():
    for pair in PAIRS["new_pairs"]:
        assert any(is_held_out_colour(*combination) for combination in combinations(pair))
    share = sum(is_held_out_colour(t, c) for t in lexicon.THINGS for c in lexicon.COLOURS)
    assert share == len(lexicon.THINGS)  # one colour in eight


def test_longer_sentences_have_more_clauses_than_any_in_training():
    assert {n_clauses(pair) for pair in PAIRS["train"]} == {1, 2}
    assert {n_clauses(pair) for pair in PAIRS["longer"]} == {3, 4}


def test_pairs_are_the_same_for_the_same_seed_and_vary_with_it():
    again = SentencePairs(0, "train").pair(5)
    assert again == PAIRS["train"][5] and again != SentencePairs(1).pair(5)
    assert len({pair.english for pair in PAIRS["train"]}) > 0.9 * N


def test_clear_errors():
    with pytest.raises(ValueError, match="split='test' is not one of"):
        SentencePairs(split="test")
    with pytest.raises(ValueError, match="index=-1 must be at least 0"):
        SentencePairs().pair(-1)
