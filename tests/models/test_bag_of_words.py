"""Naive Bayes against scikit-learn's."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from aigc_lab.models.bag_of_words import WORD, NaiveBayes, words_of

TEXTS = [
    "Win a prize now! Call now.",
    "see you at the river",
    "Call me, please",
    "WIN WIN £100",
    "the river is near",
    "nothing",
]
LABELS = [1, 0, 0, 1, 2, 2]


def test_the_same_as_scikit_learns():
    vectors = CountVectorizer(token_pattern=WORD.pattern).fit(TEXTS)
    theirs = MultinomialNB().fit(vectors.transform(TEXTS), LABELS)
    new = [*TEXTS, "call the prize river", "words that nobody has seen", ""]
    ours = NaiveBayes(TEXTS, LABELS, 3).logits(new)
    assert np.allclose(ours, theirs.predict_joint_log_proba(vectors.transform(new)))
    assert (ours[: len(TEXTS)].argmax(1) == LABELS).all()


def test_words():
    assert words_of("It's 5 o'Clock!") == ["it", "'", "s", "5", "o", "'", "clock", "!"]


def test_bad_arguments():
    for texts, labels in (([], []), (["a"], [0, 1])):
        with pytest.raises(ValueError, match="one for each"):
            NaiveBayes(texts, labels)
    with pytest.raises(ValueError, match="class 0 has no text"):
        NaiveBayes(["a", "b"], [1, 1])
    with pytest.raises(ValueError, match="class 1 has no text"):
        NaiveBayes(["a", "b"], [0, 0])
    with pytest.raises(ValueError, match="class 2 is none of n_classes=2"):
        NaiveBayes(TEXTS, LABELS)
