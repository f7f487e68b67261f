"""Bradley and Terry's model without a network: one strength for each of a few fixed replies.

    P(i is preferred to j) = π_i / (π_i + π_j) = σ(s_i − s_j),    s = log π

Only ratios of strengths matter, so the scores s are known up to a constant, which is chosen here so
that their mean is 0.

Sources: Zermelo 1929, Bradley and Terry 1952, Hunter 2004 (the iteration, and when it converges).
"""

import numpy as np


def fit_strengths(
    wins: np.ndarray, tolerance: float = 1e-10, max_rounds: int = 100_000
) -> np.ndarray:
    """The scores s that make the votes likeliest.

    Each round sets π_i to its wins divided by Σ_j n_ij/(π_i + π_j), the number of wins per unit of
    strength that its opponents allow; the likelihood never falls.

    Args:
        wins: `(K, K)`, how often i was preferred to j; a tie counts half for each.
        tolerance: stop when no score changes by more.
        max_rounds: at most so many rounds.

    Returns:
        Scores `(K,)` in nats, with mean 0.

    Raises:
        ValueError: a table that is not square or has a number below 0, or one in which some replies
            never win against the others: then the likeliest scores are infinite.
    """
    wins = np.array(wins, dtype=float)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or (wins < 0).any():
        raise ValueError(f"wins of shape {wins.shape} must be a square table of numbers from 0 up")
    np.fill_diagonal(wins, 0)
    if split := _losers(wins):
        raise ValueError(
            f"replies {split} never win against any of the others, so the likeliest difference is "
            "infinite: compare more pairs, or add a little to every cell as a prior"
        )
    games, won, strength = wins + wins.T, wins.sum(axis=1), np.ones(len(wins))
    for _ in range(max_rounds):
        new = won / (games / (strength[:, None] + strength)).sum(axis=1)
        new /= np.exp(np.log(new).mean())
        change = np.abs(np.log(new / strength)).max()
        strength = new
        if change < tolerance:
            break
    return np.log(strength)


def log_likelihood(scores: np.ndarray, wins: np.ndarray) -> float:
    """log P(votes) in nats at scores `(K,)`, with wins as in `fit_strengths`."""
    differences = np.asarray(scores)[:, None] - np.asarray(scores)
    return float(-(np.asarray(wins) * np.logaddexp(0, -differences)).sum())


def _losers(wins: np.ndarray) -> list[int]:
    """Replies from which the others cannot all be reached by "has won against"; [] if all can.

    Ford's condition (1957): the likeliest scores are finite if and only if, however the replies are
    split in two groups, somebody of each has won against somebody of the other.
    """
    reach = wins > 0
    for k in range(len(wins)):  # Warshall: by way of replies 0 to k
        reach |= np.outer(reach[:, k], reach[k])
    np.fill_diagonal(reach, True)
    if reach.all():
        return []
    fewest = reach.sum(axis=1).argmin()
    return np.flatnonzero(reach[fewest]).tolist()
