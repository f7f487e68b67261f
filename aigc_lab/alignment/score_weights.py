"""What a score of replies goes by: its weight for each trait, and scores that are simpler.

Shapes: N pairs, so 2N replies.
"""

from collections.abc import Sequence

import numpy as np

from aigc_lab.alignment.labellers import Pair
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tiny_world.taste import story_traits

TRAITS = ("earned", "unearned", "happening", "error", "unmet", "word")


def trait_table(pairs: Sequence[Pair]) -> np.ndarray:
    """What each reply is like, first and second of each pair in turn: `(2N, 6)`, as `TRAITS`.

    "earned" and "unearned" happy ends are two columns, since only the first is worth anything.
    """
    rows = []
    for pair in pairs:
        for text in (pair.first, pair.second):
            t = story_traits(pair.prompt.request, text)
            unearned = t.happy_end and not t.is_earned
            rows.append((t.is_earned, unearned, t.n_happenings, t.n_errors, t.n_unmet, t.n_words))
    return np.array(rows, dtype=float)


def weights_of(values: np.ndarray, traits: np.ndarray) -> dict[str, float]:
    """How much a score gives for each trait, by least squares: TRAITS → score per unit.

    Args:
        values: scores `(2N,)`.
        traits: `(2N, 6)`, of `trait_table`.
    """
    with_constant = np.column_stack([traits, np.ones(len(traits))])
    found, *_ = np.linalg.lstsq(with_constant, np.asarray(values, dtype=float), rcond=None)
    return dict(zip(TRAITS, found[:-1].tolist(), strict=True))


def longer_wins(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of the first reply less those of the second, `(N,)`: what a model must beat."""
    return np.array([len(p.first.split()) - len(p.second.split()) for p in pairs])


def counted_words(votes: Sequence[Preference], pairs: Sequence[Pair]) -> np.ndarray:
    """Differences of a score that is a sum over a reply's words, whatever their order: `(N,)`.

    The weight of each word is learned from votes by logistic regression.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # slow to import
    from sklearn.linear_model import LogisticRegression

    count = CountVectorizer(token_pattern=r"\w+").fit([vote.chosen for vote in votes])

    def differences(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        return (count.transform(first) - count.transform(second)).toarray()

    seen = differences([vote.chosen for vote in votes], [vote.rejected for vote in votes])
    both_ways = np.concatenate([seen, -seen])
    won = np.repeat([1, 0], len(seen))
    model = LogisticRegression(fit_intercept=False, max_iter=1000).fit(both_ways, won)
    return model.decision_function(differences([p.first for p in pairs], [p.second for p in pairs]))
