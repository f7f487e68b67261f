"""The sieves one by one, then together on real text with planted rubbish."""

import pytest

from aigc_lab.data import corpora
from aigc_lab.data.cleaning import (
    QualityRules,
    clean,
    complaints,
    exact_duplicates,
    measure,
)

PROSE = (
    "The ferry left the island at noon with six people and a dog on board. The captain, who had "
    "made the trip a thousand times, said that the wind would turn before the evening. Nobody "
    "believed her until the first waves came over the bow, and then all of them wanted to have "
    "been on the earlier boat. The dog slept through everything."
)


def test_measures_of_a_text_counted_by_hand():
    text = "# The end...\n\n- of the 42 end\n  The end…\nof the 42 end of"
    # words: # The end... - of the 42 end The end… of the 42 end of
    found = measure(text)
    assert found["n_words"] == 15
    assert found["word_length"] == pytest.approx(len("".join(text.split())) / 15)
    assert found["symbols"] == pytest.approx(3 / 15)
    assert found["alphabetic_words"] == pytest.approx(11 / 15)
    assert found["stop_words"] == 2
    assert found["bullet_lines"] == 1 / 4
    assert found["ellipsis_lines"] == found["finished_lines"] == 2 / 4
    assert found["repeated_lines"] == 0
    assert found["repeated_runs"] == 0


def test_repetition_counts_what_was_there_before():
    found = measure("a b c d e f\na b c d e f\nx\na b c d e f")
    assert found["repeated_lines"] == 2 / 4
    # 19 words have 15 runs of five; "abcde" and "bcdef" come three times, "fabcd" not twice.
    assert found["repeated_runs"] == 4 / 15


def test_good_prose_breaks_no_rule():
    assert complaints(PROSE) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("", ["n_words", "word_length", "alphabetic_words", "stop_words", "finished_lines"]),
        ("The end of it.", ["n_words"]),
        (PROSE.replace(" ", ""), ["n_words", "word_length", "stop_words"]),
        (" ".join(PROSE.replace(".", " . ")), ["word_length", "stop_words"]),
        (PROSE + " # #" * 6, ["symbols", "finished_lines"]),
        (PROSE + " 12" + " 3.5 7 9 11 2,000 8 1 6 23.", []),
        ("\n".join(str(i) for i in range(40)) + PROSE, ["alphabetic_words", "finished_lines"]),
        ("\n".join(f"- {w}." for w in PROSE.split()), ["bullet_lines", "alphabetic_words"]),
        ("\n".join(f"{PROSE[:200]} {i}..." for i in range(3)), ["ellipsis_lines", "repeated_runs"]),
        (PROSE.replace(". ", "\n").rstrip("."), ["finished_lines"]),
        (f"{PROSE}\n{PROSE}", ["repeated_lines", "repeated_runs"]),
        (" ".join(w for w in PROSE.split() if len(w) > 4) * 2, ["stop_words"]),
    ],
)
def test_each_rule_names_what_it_dislikes(text, broken):
    found = {complaint.split()[0] for complaint in complaints(text)}
    assert found >= set(broken)
    if not broken:
        assert not found


@pytest.mark.parametrize(
    "rule",
    [
        {"n_words": (61, 62)},
        {"word_length": (1, 3)},
        {"symbols": -1},
        {"alphabetic_words": 1.0},
        {"stop_words": 8},
        {"bullet_lines": 0.0},
        {"ellipsis_lines": 0.0},
        {"finished_lines": 1.0},
        {"repeated_lines": 0.0},
        {"repeated_runs": 0.0},
    ],
    ids=lambda rule: next(iter(rule)),
)
def test_a_stricter_rule_is_the_only_one_that_complains(rule):
    text = f"- {PROSE}\n{PROSE[:130]} ...\n{PROSE[:130]} ...\nand 7 more"
    free = {
        "n_words": (0, 1e9),
        "word_length": (0, 1e9),
        "symbols": 9,
        "alphabetic_words": 0,
        "stop_words": 0,
        "bullet_lines": 1,
        "ellipsis_lines": 1,
        "finished_lines": 0,
        "repeated_lines": 1,
        "repeated_runs": 1,
    }
    assert complaints(text, QualityRules(**free)) == []
    (complaint,) = complaints(text, QualityRules(**(free | rule)))
    assert complaint.startswith(next(iter(rule)))


def test_the_limit_itself_is_allowed():
    text = "- a b\nc d"
    rules = {
        "n_words": (5, 5),
        "word_length": (1, 1),
        "symbols": 0,
        "alphabetic_words": 4 / 5,
        "stop_words": 0,
        "bullet_lines": 1 / 2,
        "finished_lines": 0,
        "repeated_lines": 0,
        "repeated_runs": 0,
    }
    assert complaints(text, QualityRules(**rules)) == []


def test_lines_that_differ_in_indentation_only_are_the_same():
    assert measure("  a b.  \n\ta b.\n")["repeated_lines"] == 1 / 2


def test_rules_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match=r"n_words=\(5, 2\): the least is above the greatest"):
        QualityRules(n_words=(5, 2))
    with pytest.raises(ValueError, match=r"repeated_lines=1\.5 is a share"):
        QualityRules(repeated_lines=1.5)


def test_exact_duplicates_ignore_case_space_and_unicode_form():
    texts = ["A  cafe\u0301", "other", "a café", "", "a café.", "OTHER\n", " "]
    assert exact_duplicates(texts) == [(2, 0), (5, 1), (6, 3)]


def test_planted_rubbish_goes_and_real_text_stays():
    docs = [doc for doc in corpora.python_docs() if not complaints(doc)]
    docs = [docs[i] for i in clean(docs, None).kept]
    menu = "\n".join("- Home | Shop | Cart | Login" for _ in range(30))
    copy = docs[4].replace("\n\n", "\n").upper()
    near = docs[7] + "\n\nLast changed on a Tuesday in March."
    assert len(docs) > 40
    found = clean([menu, *docs, copy, near])
    assert found.kept == tuple(range(1, len(docs) + 1))
    assert [(one.index, one.reason) for one in found.dropped] == [
        (0, "quality"),
        (len(docs) + 1, "exact duplicate"),
        (len(docs) + 2, "near-duplicate"),
    ]
    assert "stop_words" in found.dropped[0].detail
    assert found.dropped[1].detail == "of document 5"
    assert found.dropped[2].detail == "of document 8"
    total = len(docs) + 3
    assert str(found) == (
        f"kept {len(docs)} of {total} documents; dropped: 1 exact duplicate, 1 near-duplicate, "
        "1 quality"
    )


def test_small_corpora():
    assert clean([]).kept == clean([]).dropped == ()
    assert clean([PROSE]).kept == (0,)
    assert str(clean([PROSE])) == "kept 1 of 1 documents; dropped: none"
    assert clean([""]).dropped[0].reason == "quality"
    assert clean(["", "x", ""], None).kept == (0, 1)
