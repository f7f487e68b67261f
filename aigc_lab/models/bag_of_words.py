"""Naive Bayes: a classifier that counts words and knows nothing of their order.

It is the baseline that a fine-tuned model has to beat: it learns in milliseconds.

Source: Maron 1961; the multinomial form with add-one smoothing, as in McCallum and Nigam 1998.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r"\w+|[^\w\s]")


class NaiveBayes:
    """p(class | words) ∝ p(class) · product over the words of p(word | class).

    Args:
        texts: to learn from.
        labels: their classes, 0 to K − 1; each must occur.
        n_classes: K.

    Raises:
        ValueError: no texts, another number of labels, or a class without a text.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[int], n_classes: int = 2):
        if not texts or len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels: one for each, some")
        sizes = np.bincount(labels, minlength=n_classes)
        if len(sizes) > n_classes:
            raise ValueError(f"class {max(labels)} is none of n_classes={n_classes}")
        if not sizes.all():
            raise ValueError(f"class {int(sizes.argmin())} has no text: nothing to count")
        words = sorted({word for text in texts for word in words_of(text)})
        self.column = {word: number for number, word in enumerate(words)}
        counts = np.zeros((len(sizes), len(words)))
        for text, label in zip(texts, labels, strict=True):
            counts[label] += self._counts(text)
        smoothed = counts + 1  # so that no word makes a class impossible
        self.log_word = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))  # (K, V)
        self.log_class = np.log(sizes / sizes.sum())  # (K,)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """log p(class, words) `(N, K)`; words that were never seen do not count."""
        return np.stack([self.log_word @ self._counts(text) for text in texts]) + self.log_class

    def _counts(self, text: str) -> np.ndarray:
        counts = np.zeros(len(self.column))
        for word, n in Counter(words_of(text)).items():
            if word in self.column:
                counts[self.column[word]] = n
        return counts


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, and its punctuation."""
    return WORD.findall(text.lower())
