"""N-gram models against the formulas, written again by scanning the text for every count."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_lab.models.ngram import (
    AddK,
    Interpolated,
    KneserNey,
    continuation_counts,
    count_ngrams,
    estimate_discount,
)

V = 5
TEXT = [0, 1, 2, 1, 2, 3, 1, 2, 0, 1, 3, 3, 3, 1, 0, 1, 2, 1]  # 4 never occurs
MAKERS = {
    "maximum likelihood": lambda text, n: AddK(text, n, V, k=0),
    "add 1": lambda text, n: AddK(text, n, V),
    "add 0.1": lambda text, n: AddK(text, n, V, k=0.1),
    "interpolated": lambda text, n: Interpolated(text, n, V, weight=0.7),
    "kneser-ney": lambda text, n: KneserNey(text, n, V),
    "kneser-ney, 0.75": lambda text, n: KneserNey(text, n, V, discount=0.75),
}
every_model = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


# ------------------------------------------------------------------------------- brute force


def occurrences(text, gram):
    """How often the tokens of `gram` stand in a row."""
    gram = list(gram)
    return sum(text[i : i + len(gram)] == gram for i in range(len(text) - len(gram) + 1))


def preceded_by(text, gram):
    """The different tokens in front of `gram`."""
    gram = list(gram)
    return {text[i - 1] for i in range(1, len(text)) if text[i : i + len(gram)] == gram}


def add_k(text, n, k, context, token):
    context = list(context)[max(0, len(context) - n + 1) :]
    total = sum(occurrences(text, [*context, other]) for other in range(V)) + k * V
    return (occurrences(text, [*context, token]) + k) / total if total else 1 / V


def interpolated(text, n, weight, context, token):
    context = list(context)[max(0, len(context) - n + 1) :]
    p = 1 / V
    for length in range(len(context) + 1):
        h = context[len(context) - length :]
        total = sum(occurrences(text, [*h, other]) for other in range(V))
        if total:
            p = weight * occurrences(text, [*h, token]) / total + (1 - weight) * p
    return p


def kneser_ney(text, n, discount, context, token):
    context = list(context)[max(0, len(context) - n + 1) :]

    def count(length, gram):
        # The longest n-grams count occurrences; a shorter one the different (length + 2)-grams
        # that end with it, which in turn have such counts of their own.
        if length == n - 1:
            return occurrences(text, gram)
        found = {g for g in grams(length + 2) if list(g[1:]) == list(gram)}
        return len(found)

    def grams(size):
        # All grams of a size that stand in the text far enough from its beginning to be counted.
        return {tuple(text[i : i + size]) for i in range(n - size, len(text) - size + 1)}

    p = 1 / V
    for length in range(len(context) + 1):
        h = context[len(context) - length :]
        counts = [count(length, [*h, other]) for other in range(V)]
        if sum(counts):
            d = discount
            kept = max(counts[token] - d, 0) / sum(counts)
            p = kept + d * sum(c > 0 for c in counts) / sum(counts) * p
    return p


CONTEXTS = [(), (0,), (1,), (4,), (1, 2), (2, 1), (4, 1), (3, 3), (0, 4), (3, 1, 2), (2, 4, 1, 2)]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_probability_is_that_of_the_formula(n, context):
    for token in range(V):
        for k in (0, 0.1, 1):
            found = AddK(TEXT, n, V, k).probability(token, context)
            assert found == pytest.approx(add_k(TEXT, n, k, context, token), abs=1e-15)
        for weight in (0, 0.3, 0.9, 1):
            found = Interpolated(TEXT, n, V, weight).probability(token, context)
            assert found == pytest.approx(interpolated(TEXT, n, weight, context, token), abs=1e-15)
        for d in (0, 0.5, 0.75, 1):
            found = KneserNey(TEXT, n, V, d).probability(token, context)
            assert found == pytest.approx(kneser_ney(TEXT, n, d, context, token), abs=1e-15)


def test_kneser_ney_worked_by_hand():
    # a b a c a b c a: counts of pairs ab 2, ba 1, ac 1, ca 2, bc 1.
    a, b, c = range(3)
    model = KneserNey([a, b, a, c, a, b, c, a], 2, 3, discount=0.5)
    # Continuation counts: a follows b and c (2), b follows a (1), c follows a and b (2).
    first = {w: (n - 0.5) / 5 + 0.5 * 3 / 5 / 3 for w, n in {a: 2, b: 1, c: 2}.items()}
    for token, expected in first.items():
        assert model.probability(token) == pytest.approx(expected)
    # After a: b twice, c once; 0.5 of each of the two is given away.
    shorter = 0.5 * 2 / 3
    assert model.probability(b, [a]) == pytest.approx((2 - 0.5) / 3 + shorter * first[b])
    assert model.probability(c, [a]) == pytest.approx((1 - 0.5) / 3 + shorter * first[c])
    assert model.probability(a, [a]) == pytest.approx(shorter * first[a])


def test_a_word_that_follows_one_other_word_only_is_unlikely_elsewhere():
    # 2 is frequent, but only after 1; 3 is rare, but follows three different tokens.
    text = [1, 2] * 10 + [0, 3, 4, 3, 1, 3, 0]
    after_unseen = (2, 2)
    kneser_ney_model = KneserNey(text, 2, V)
    plain = Interpolated(text, 2, V)
    unseen = [4]  # 4 was followed by 3 only
    assert plain.probability(2, unseen) > plain.probability(0, unseen)
    assert kneser_ney_model.probability(2, unseen) < kneser_ney_model.probability(0, unseen)
    assert after_unseen not in kneser_ney_model.counts[1]


@every_model
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_every_context(make, n):
    model = make(TEXT, n)
    for context in [*CONTEXTS, tuple(TEXT[:3]), tuple(TEXT[-6:])]:
        p = model.distribution(context)
        assert p.shape == (V,)
        assert (p >= 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert p.tolist() == [model.probability(token, context) for token in range(V)]


@settings(deadline=None, max_examples=60)
@given(
    text=st.lists(st.integers(0, V - 1), min_size=4, max_size=60),
    n=st.integers(1, 4),
    context=st.lists(st.integers(0, V - 1), max_size=6),
    setting=st.floats(0, 1),
)
def test_probabilities_sum_to_one_whatever_the_text(text, n, context, setting):
    for model in (
        AddK(text, n, V, setting),
        Interpolated(text, n, V, setting),
        KneserNey(text, n, V, setting),
        KneserNey(text, n, V),
    ):
        p = model.distribution(context)
        assert (p >= -1e-15).all()
        assert p.sum() == pytest.approx(1, abs=1e-9)


@every_model
def test_only_the_last_tokens_of_a_context_count(make):
    model = make(TEXT, 3)
    assert model.distribution([4, 4, 0, 1, 2]).tolist() == model.distribution([1, 2]).tolist()
    assert model.distribution([2, 1]).tolist() != model.distribution([1, 2]).tolist()
    assert make(TEXT, 1).distribution([1]).tolist() == make(TEXT, 1).distribution().tolist()


def test_smoothed_models_hold_nothing_for_impossible():
    for name, make in MAKERS.items():
        lowest = min(make(TEXT, 3).distribution(context).min() for context in CONTEXTS)
        assert (lowest == 0) == (name == "maximum likelihood"), name


@every_model
def test_nats_are_the_logarithms_one_by_one(make):
    model, text = make(TEXT, 3), [1, 2, 1, 0, 1, 2, 3]
    expected = [-math.log(model.probability(text[t], text[:t]) or 1e-300) for t in range(1, 7)]
    found = model.nats(text)
    assert found.shape == (6,)
    assert np.where(np.isinf(found), -math.log(1e-300), found) == pytest.approx(expected)
    assert model.nats([1]).shape == (0,)


def test_maximum_likelihood_fits_its_own_text_best_and_others_not_at_all():
    bits = [model.nats(TEXT).mean() for model in (MAKERS[name](TEXT, 3) for name in MAKERS)]
    assert bits[0] == min(bits)
    assert MAKERS["maximum likelihood"](TEXT, 2).nats([0, 4])[0] == math.inf


@every_model
def test_samples_have_the_models_distribution(make):
    model = make(TEXT, 2)
    n_draws = 2000
    text = [1, *model.sample(n_draws, np.random.default_rng(0), [1])]
    after_one = Counter(b for a, b in zip(text, text[1:], strict=False) if a == 1)
    n = sum(after_one.values())
    for token, p in enumerate(model.distribution([1])):
        assert abs(after_one[token] / n - p) < 4 * math.sqrt(p * (1 - p) / n) + 1e-12
    again = model.sample(30, np.random.default_rng(0), [1])
    assert again == text[1:31]
    assert model.sample(0, np.random.default_rng(0)) == []


def test_counts():
    assert count_ngrams("abab", 2) == {("a", "b"): 2, ("b", "a"): 1}
    assert count_ngrams([1, 2], 3) == {}
    longer = Counter({(0, 1, 2): 9, (3, 1, 2): 1, (0, 1, 1): 1})
    assert continuation_counts(longer) == {(1, 2): 2, (1, 1): 1}


def test_the_discount_is_estimated_from_what_occurs_once_and_twice():
    counts = Counter({(n,): count for n, count in enumerate([1, 1, 1, 2, 2, 7])})
    assert estimate_discount(counts) == 3 / (3 + 2 * 2)
    assert estimate_discount(Counter({(0,): 5})) == 0.5
    assert KneserNey(TEXT, 3, V).discounts[2] == estimate_discount(count_ngrams(TEXT, 3))
    assert KneserNey(TEXT, 3, V, 0.75).discounts == [0.75] * 3


def test_ids_may_be_numpys():
    model = KneserNey(np.array(TEXT), 2, V)
    assert model.nats(np.array(TEXT)).tolist() == KneserNey(TEXT, 2, V).nats(TEXT).tolist()
    assert model.probability(np.int64(2), np.array([1])) == model.probability(2, [1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddK(TEXT, 0, V), "n=0 must lie between 1 and the number of tokens, 18"),
        (lambda: AddK([1, 2], 3, V), "n=3 must lie between 1 and the number of tokens, 2"),
        (lambda: AddK([], 1, V), "number of tokens, 0"),
        (lambda: AddK(TEXT, 2, 3), "from 0 to 3 do not fit vocab_size=3"),
        (lambda: AddK([-1, 0], 1, V), "from -1 to 0 do not fit vocab_size=5"),
        (lambda: AddK(TEXT, 2, V, k=-0.5), "k=-0.5 must be at least 0"),
        (lambda: Interpolated(TEXT, 2, V, weight=1.5), "weight=1.5 must lie between 0 and 1"),
        (lambda: KneserNey(TEXT, 2, V, discount=2), "discount=2 must lie between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
