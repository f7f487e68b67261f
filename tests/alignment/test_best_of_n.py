"""Best of n against all ways to draw, its KL against enumeration, and the bounds."""

import itertools

import numpy as np
import pytest

from aigc_lab.alignment.best_of_n import (
    best_of_n_bound,
    best_of_n_kl,
    best_of_n_mean,
    gaussian_ceiling,
    level_shares,
)

TIED = np.array([0.3, 1.2, 0.3, -1.0, 1.2, 1.2, 0.0])
GOLD = np.array([1.0, 2.0, -3.0, 0.5, 7.0, 0.0, 2.5])


def by_counting(proxy, values, n):
    """Over all sets of n replies; ties shared out."""
    found = []
    for chosen in itertools.combinations(range(len(proxy)), n):
        best = max(proxy[i] for i in chosen)
        found.append(np.mean([values[i] for i in chosen if proxy[i] == best]))
    return np.mean(found)


@pytest.mark.parametrize("n", range(1, 8))
def test_mean_is_that_over_all_ways_to_draw(n):
    assert best_of_n_mean(TIED, GOLD, n) == pytest.approx(by_counting(TIED, GOLD, n))
    distinct = np.argsort(GOLD[::-1]) + 0.5
    assert best_of_n_mean(distinct, GOLD, n) == pytest.approx(by_counting(distinct, GOLD, n))


def test_mean_is_unbiased():
    """Means over many pools, from a distribution whose answer is known."""
    chance = np.random.default_rng(0)
    proxy_of, gold_of = np.array([0.0, 1.0, 1.0, 2.0]), np.array([5.0, 1.0, -1.0, 3.0])
    n, draws = 3, chance.integers(0, 4, size=(4000, 6))
    means = [best_of_n_mean(proxy_of[d], gold_of[d], n) for d in draws]
    expected = np.mean(
        [
            np.mean([gold_of[i] for i in d if proxy_of[i] == max(proxy_of[list(d)])])
            for d in itertools.product(range(4), repeat=n)
        ]
    )
    assert np.mean(means) == pytest.approx(expected, abs=4 * np.std(means) / 4000**0.5)


def test_large_pools_do_not_overflow():
    chance = np.random.default_rng(0)
    proxy = chance.normal(size=5000)
    assert best_of_n_mean(proxy, proxy, 1) == pytest.approx(proxy.mean())
    assert best_of_n_mean(proxy, proxy, 5000) == pytest.approx(proxy.max())


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_kl_is_that_of_the_enumerated_distribution(n):
    answers, scores = np.array([0.1, 0.4, 0.2, 0.3]), [0.0, 1.0, 1.0, 2.0]
    best = np.zeros(4)
    for drawn in itertools.product(range(4), repeat=n):
        top = max(scores[i] for i in drawn)
        winners = [i for i in drawn if scores[i] == top]
        for i in winners:
            best[i] += np.prod(answers[list(drawn)]) / len(winners)
    expected = (best * np.log(best / answers)).sum() if n > 1 else 0.0
    assert best_of_n_kl(np.array([0.1, 0.6, 0.3]), n) == pytest.approx(expected, abs=1e-12)


def test_the_usual_formula_is_a_bound_and_reached_without_ties():
    shares = np.full(100_000, 1e-5)
    for n in (1, 2, 16, 64):
        exact = best_of_n_kl(shares, n)
        assert exact <= best_of_n_bound(n) + 1e-9
        assert exact == pytest.approx(best_of_n_bound(n), abs=2e-3)
    few = np.array([0.5, 0.3, 0.2])
    for n in (2, 16, 1000):
        assert best_of_n_kl(few, n) < best_of_n_bound(n) - 0.05
    assert best_of_n_kl(few, 10_000) == pytest.approx(-np.log(0.2))


def test_level_shares_count_ties_once():
    np.testing.assert_allclose(level_shares(TIED), np.array([1, 1, 2, 3]) / 7)


def test_the_ceiling_holds_best_of_n_of_gaussian_scores():
    """The shares of the ceiling that are known: 0.908 for n = 2, 0.922 for 16, 0.937 for 256."""
    chance = np.random.default_rng(0)
    scores = chance.normal(size=200_000)
    for n, share in ((2, 0.908), (16, 0.922), (256, 0.937)):
        ceiling = gaussian_ceiling(best_of_n_bound(n))
        assert best_of_n_mean(scores, scores, n) / ceiling == pytest.approx(share, abs=0.005)


def test_the_ceiling_is_what_tilting_reaches():
    scores = np.linspace(-9, 9, 20_001)
    p = np.exp(-(scores**2) / 2)
    p /= p.sum()
    for pressure in (0.1, 1.0, 3.0):
        q = p * np.exp(pressure * scores)
        q /= q.sum()
        kl = (q * np.log(q / p)).sum()
        assert q @ scores == pytest.approx(gaussian_ceiling(kl), rel=1e-6)


def test_refuses_what_has_no_best():
    with pytest.raises(ValueError, match="n=8 must lie between 1 and the number of replies, 7"):
        best_of_n_mean(TIED, GOLD, 8)
    with pytest.raises(ValueError, match="7 proxy scores and 6 values"):
        best_of_n_mean(TIED, GOLD[:6], 2)
    with pytest.raises(ValueError, match=r"sum to 1, not to 1\.5"):
        best_of_n_kl(np.array([0.5, 1.0]), 2)
    with pytest.raises(ValueError, match="n=0"):
        best_of_n_kl(np.array([0.5, 0.5]), 0)
