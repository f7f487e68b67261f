"""Best of n: draw n replies, keep the one that the reward likes best. No training at all.

Sources: Stiennon et al. 2020; Gao, Schulman and Hilton 2023 (over-optimisation, the unbiased
estimator), Beirami et al. 2024 (the usual formula for KL is only an upper bound).
"""

import math

import numpy as np


def best_of_n_mean(proxy: np.ndarray, values: np.ndarray, n: int) -> float:
    """The mean of what the best of n replies is worth, over all ways to draw n of the N in a pool.

    Args:
        proxy: what replies are chosen by, `(N,)`; ties are broken by lot.
        values: what is averaged over the chosen ones, `(N,)`: the proxy itself, or the gold reward.
        n: 1 to N.

    Returns:
        An unbiased estimate of the mean for n fresh replies.

    Raises:
        ValueError: arrays of different lengths, or n outside 1 to N.
    """
    total = len(proxy)
    if len(values) != total:
        raise ValueError(f"{total} proxy scores and {len(values)} values: give one for each reply")
    if not 1 <= n <= total:
        raise ValueError(f"n={n} must lie between 1 and the number of replies, {total}")
    _, level_of = np.unique(proxy, return_inverse=True)
    sizes = np.bincount(level_of)
    means = np.bincount(level_of, weights=values) / sizes
    at_most = _chance_of_all(np.cumsum(sizes), n)  # the best of n is on this level or below
    return float(np.diff(at_most, prepend=0.0) @ means)


def best_of_n_kl(shares: np.ndarray, n: int) -> float:
    """KL from the policy to its best of n in nats, exactly.

    Args:
        shares: the policy's probability of each score, from the worst to the best, `(L,)`. Replies
            with equal scores are one level, since the choice among them is by lot.
        n: how many are drawn, at least 1.

    Returns:
        Σ q log(q/p), where q is the probability that the best of n has the score.

    Raises:
        ValueError: shares that are not above 0 or do not sum to 1, or n below 1.
    """
    shares = np.asarray(shares, dtype=float)
    if not (shares > 0).all() or not math.isclose(shares.sum(), 1, abs_tol=1e-6):
        raise ValueError(f"shares must be above 0 and sum to 1, not to {shares.sum():g}")
    if n < 1:
        raise ValueError(f"n={n} must be at least 1")
    up_to = np.minimum(np.cumsum(shares), 1.0)
    up_to[-1] = 1.0
    best = np.diff(up_to**n, prepend=0.0)
    possible = best > 0  # for large n the worst levels underflow to 0, which counts for nothing
    return float((best[possible] * np.log(best[possible] / shares[possible])).sum())


def level_shares(scores: np.ndarray) -> np.ndarray:
    """The share of each score among the replies of a pool, from the worst to the best."""
    counts = np.unique(scores, return_counts=True)[1]
    return counts / counts.sum()


def best_of_n_bound(n: int | np.ndarray) -> float | np.ndarray:
    """log n − (n − 1)/n: the KL of best-of-n where no two replies have the same score."""
    return np.log(n) - (n - 1) / n


def gaussian_ceiling(kl: float | np.ndarray, std: float = 1.0) -> float | np.ndarray:
    """The most that a mean reward can rise within a KL, σ√(2·KL), if rewards are Gaussian.

    It is reached by tilting the policy, π·exp(r/η): of a Gaussian with deviation σ that moves the
    mean by σ²/η, at a KL of σ²/(2η²).
    """
    return std * np.sqrt(2 * np.asarray(kl))


def _chance_of_all(numbers: np.ndarray, n: int) -> np.ndarray:
    """C(m, n)/C(N, n) for numbers m of which the last is N: all n draws are among the first m."""
    log_factorials = np.cumsum(np.log(np.maximum(np.arange(numbers[-1] + 1), 1)))
    enough = numbers >= n
    logs = np.full(len(numbers), -np.inf)
    logs[enough] = log_factorials[numbers[enough]] - log_factorials[numbers[enough] - n]
    return np.exp(logs - logs[-1])
