"""pass@k: the chance that at least one of k answers is right.

With c right ones among n samples, 1 − (1 − c/n)^k would be too small on average; the share of
subsets of k samples that hold a right one is exact in the mean:

    pass@k = 1 − C(n − c, k) / C(n, k)

Source: Chen et al. 2021 ("Evaluating large language models trained on code").
"""

import math

import torch


def pass_at_k(n: int, n_right: int, k: int) -> float:
    """Estimate of pass@k for one question, without bias.

    Args:
        n: samples drawn.
        n_right: c, how many of them are right.
        k: how many answers may be tried, at most n.

    Raises:
        ValueError: k outside 1 to n, or n_right outside 0 to n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must lie between 1 and the number of samples, {n}: draw more")
    if not 0 <= n_right <= n:
        raise ValueError(f"n_right={n_right} must lie between 0 and the number of samples, {n}")
    return 1 - math.comb(n - n_right, k) / math.comb(n, k)


def mean_pass_at_k(is_right: torch.Tensor, k: int) -> float:
    """Mean of pass@k over questions.

    Args:
        is_right: for each question whether each of its n samples is right, `(P, n)`.
        k: at most n.

    Raises:
        ValueError: as `pass_at_k`, or a table that has not two axes.
    """
    if is_right.dim() != 2 or not len(is_right):
        raise ValueError(f"is_right has shape {tuple(is_right.shape)}: give (questions, samples)")
    n = is_right.shape[1]
    return sum(pass_at_k(n, int(c), k) for c in is_right.sum(1).tolist()) / len(is_right)
