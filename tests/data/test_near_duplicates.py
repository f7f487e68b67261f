"""MinHash against the true Jaccard similarity, banding against its formula, clusters by force."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from aigc_lab.data import corpora
from aigc_lab.data.near_duplicates import (
    candidate_pairs,
    candidate_probability,
    clusters,
    estimated_jaccard,
    jaccard,
    near_duplicates,
    normalise,
    shingles,
    signature,
)


def sets_with(n_shared, n_own):
    """Two sets of strings that share `n_shared` and have `n_own` each for themselves."""
    shared = {f"shared {i}" for i in range(n_shared)}
    return tuple(frozenset(shared | {f"{name} {i}" for i in range(n_own)}) for name in "ab")


def changed(text, n_words, seed):
    """A text with some of its words replaced."""
    words = text.split()
    for place in np.random.default_rng(seed).choice(len(words), n_words, replace=False):
        words[place] = f"other{place}"
    return " ".join(words)


def brute_force(texts, threshold):
    """Clusters by comparing all pairs and merging until nothing changes."""
    sets = [shingles(text) for text in texts]
    groups = [{i} for i in range(len(texts))]
    for a, b in itertools.combinations(range(len(texts)), 2):
        union = sets[a] | sets[b]
        if not union or len(sets[a] & sets[b]) >= threshold * len(union):
            together = [group for group in groups if a in group or b in group]
            groups = [group for group in groups if group not in together]
            groups.append(set().union(*together))
    return sorted(sorted(group) for group in groups if len(group) > 1)


# ---------------------------------------------------------------------------------------- shingles


def test_shingles_are_runs_of_words_without_case_and_punctuation():
    assert shingles("The cat, the CAT — the hat!", 2) == {
        "the cat",
        "cat the",
        "the hat",
    }
    assert shingles("one two", 3) == {"one two"}
    assert shingles("one", 1) == {"one"}


def test_chinese_characters_are_words():
    assert shingles("猫在垫子上。", 2) == {"猫 在", "在 垫", "垫 子", "子 上"}
    assert shingles("我用Python写", 1) == {"我", "用", "python", "写"}


def test_a_text_without_words_is_its_own_shingle_and_an_empty_one_has_none():
    assert shingles("?!") == {"?!"}
    assert shingles(" \n\t") == shingles("") == frozenset()


def test_forms_of_one_character_are_one():
    assert normalise("Ｃａｆé  \n x") == normalise("CAFE\u0301 x") == "café x"


def test_shingles_need_a_length():
    with pytest.raises(ValueError, match="n_words=0 must be at least 1"):
        shingles("a", 0)


# ----------------------------------------------------------------------------------------- MinHash


@pytest.mark.parametrize(("n_shared", "n_own"), [(2, 1), (10, 45), (50, 25), (90, 5)])
def test_the_estimate_has_mean_j_and_the_standard_error_of_the_formula(n_shared, n_own):
    a, b = sets_with(n_shared, n_own)
    true, n_hashes, n_seeds = n_shared / (n_shared + 2 * n_own), 64, 600
    assert jaccard(a, b) == true
    found = np.array(
        [
            estimated_jaccard(signature(a, n_hashes, seed), signature(b, n_hashes, seed))
            for seed in range(n_seeds)
        ]
    )
    error = np.sqrt(true * (1 - true) / n_hashes)
    # Four standard errors of the mean and of the spread, upwards and downwards.
    assert abs(found.mean() - true) < 4 * error / np.sqrt(n_seeds)
    assert abs(found.std() / error - 1) < 4 / np.sqrt(2 * n_seeds)


def test_every_element_is_the_minimum_equally_often():
    items = [f"item {i}" for i in range(8)]
    alone = np.stack([signature([item], 4000) for item in items])  # (8, K)
    counts = np.bincount(alone.argmin(axis=0), minlength=8)
    assert np.array_equal(signature(items, 4000), alone.min(axis=0))
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 24.3  # 0.1 % of chance for 7 degrees of freedom


def test_equal_sets_have_equal_signatures_and_others_have_not():
    a, b = sets_with(0, 20)
    assert np.array_equal(signature(sorted(a)), signature(list(a) * 2))
    assert estimated_jaccard(signature(a), signature(b)) == 0
    assert estimated_jaccard(signature([]), signature([])) == jaccard(frozenset(), frozenset()) == 1
    assert estimated_jaccard(signature([]), signature(a)) == 0


def test_signatures_are_the_same_in_every_process_and_other_for_another_seed():
    code = "from aigc_lab.data.near_duplicates import signature; print(signature('ab', 3).tolist())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert runs == {str(signature("ab", 3).tolist())}
    assert not np.array_equal(signature("ab", 3), signature("ab", 3, seed=1))


def test_a_lone_surrogate_can_be_hashed():
    assert signature(["\ud800"], 2).shape == (2,)


def test_signatures_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="use one n_hashes for both"):
        estimated_jaccard(signature("a", 3), signature("a", 4))
    with pytest.raises(ValueError, match="n_hashes=0"):
        signature("a", 0)


# ----------------------------------------------------------------------------------------- banding


@pytest.mark.parametrize(("n_bands", "n_rows"), [(4, 8), (8, 4), (16, 2), (32, 1)])
def test_banding_follows_its_formula(n_bands, n_rows):
    n_trials = 400
    for n_shared, n_own in [(30, 35), (40, 30), (60, 20), (90, 5)]:
        a, b = sets_with(n_shared, n_own)
        hits = 0
        for seed in range(n_trials):
            both = np.stack([signature(items, n_bands * n_rows, seed) for items in (a, b)])
            hits += candidate_pairs(both, n_bands) == [(0, 1)]
        expected = 1 - (1 - (n_shared / (n_shared + 2 * n_own)) ** n_rows) ** n_bands
        assert candidate_probability(jaccard(a, b), n_bands, n_rows) == pytest.approx(expected)
        error = np.sqrt(expected * (1 - expected) / n_trials)
        assert abs(hits / n_trials - expected) <= 4 * error + 1e-9


def test_candidates_agree_on_a_whole_band_at_the_same_place():
    rows = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [9, 8, 3, 4], [3, 4, 1, 2], [1, 7, 3, 7]])
    assert candidate_pairs(rows.astype(np.uint64), 2) == [(0, 1), (0, 2)]
    assert candidate_pairs(np.zeros((3, 4), np.uint64), 2) == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("n_bands", [0, 3, -2])
def test_bands_that_do_not_fit_are_refused(n_bands):
    with pytest.raises(ValueError, match=f"n_bands={n_bands} must divide the number of hashes, 4"):
        candidate_pairs(np.zeros((2, 4), np.uint64), n_bands)


# ---------------------------------------------------------------------------------------- clusters


def test_clusters_are_the_connected_components():
    assert clusters(7, [(0, 1), (5, 4), (1, 3), (3, 0)]) == [[0, 1, 3], [4, 5]]
    assert clusters(4, [(2, 3), (0, 1), (1, 2)]) == [[0, 1, 2, 3]]
    assert clusters(3, []) == clusters(3, [(1, 1)]) == []


def test_long_chains():
    n = 20_000
    assert clusters(n, [(i, i + 1) for i in reversed(range(n - 1))]) == [list(range(n))]


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
def test_clusters_of_real_text_are_those_of_all_pairs(threshold):
    docs = [doc for doc in corpora.python_docs() if 100 < len(doc.split()) < 1500][:25]
    texts = docs + [changed(doc, len(doc.split()) // 40, i) for i, doc in enumerate(docs[:8])]
    texts += [docs[3].upper(), docs[5] + "!", "", "", docs[8]]
    expected = brute_force(texts, threshold)
    # With bands of one row nothing above 0.3 escapes; the default is made for 0.7.
    assert near_duplicates(texts, threshold, n_bands=128 if threshold < 0.7 else 32) == expected
    assert len(expected) >= 4


def test_planted_copies_are_found_and_different_texts_kept():
    docs = [doc for doc in corpora.python_docs() if len(doc.split()) > 200]
    planted = [changed(doc, len(doc.split()) // 50, i) for i, doc in enumerate(docs)]
    found = near_duplicates([*docs, *planted])
    alone = near_duplicates(docs)
    assert len(docs) > 30
    assert alone == brute_force(docs, 0.7)
    in_a_cluster = {i for group in found for i in group}
    assert in_a_cluster == set(range(2 * len(docs)))  # recall: every one and its copy
    assert len(found) == len(docs) - sum(len(group) - 1 for group in alone)  # precision


def test_the_threshold_itself_is_near_and_equal_texts_do_not_shift_the_others():
    a, b = "one two three four", "one two three four five"  # 3 of 4 shingles of two words
    texts = ["x y z", "X y, z", "x y z", a, b]
    for threshold, expected in [(0.75, [[0, 1, 2], [3, 4]]), (0.76, [[0, 1, 2]])]:
        assert near_duplicates(texts, threshold, n_words=2) == expected


def test_texts_in_other_scripts():
    chinese = corpora.chinese_sentences(corpora.book_pages())[:20]
    one = "".join(chinese)
    other = one.replace("的", "之", 1)
    texts = [one, "Совсем другой текст о другом.", other, "😀😀 👍🏽", "😀😀 👍🏽"]
    assert near_duplicates(texts, 0.8) == [[0, 2], [3, 4]]


def test_corpora_of_no_and_of_one_text_and_empty_texts():
    assert near_duplicates([]) == near_duplicates([""]) == near_duplicates(["one text"]) == []
    assert near_duplicates(["", "a", " \n"]) == [[0, 2]]


@pytest.mark.parametrize("threshold", [0, 1.1])
def test_a_threshold_that_means_nothing_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold={threshold} must be above 0 and at most 1"):
        near_duplicates(["a"], threshold)
