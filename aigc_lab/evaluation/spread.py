"""What several runs gave, in a line of text and as smooth lines."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def show_seeds(numbers: Sequence[float], form: str = ".2f") -> str:
    """Mean of what several seeds gave, with the lowest and the highest.

    Args:
        numbers: one for each seed, `(S,)`.
        form: how to write a number, as in an f-string; ".1%" for a share.
    """
    low, mean, high = (of(numbers) for of in (min, np.mean, max))
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


def running_mean(values: ArrayLike, width: int) -> np.ndarray:
    """Means over `width` neighbours along the last axis: noisy lines can be told apart.

    Args:
        values: `(..., N)`.
        width: at most N.

    Returns:
        `(..., N - width + 1)`; number i is the mean of `values[..., i : i + width]`.

    Raises:
        ValueError: a width that is not among 1 ... N.
    """
    values = np.asarray(values, dtype=float)
    if not 1 <= width <= values.shape[-1]:
        raise ValueError(f"width={width} must lie between 1 and the {values.shape[-1]} values")
    return np.lib.stride_tricks.sliding_window_view(values, width, axis=-1).mean(-1)
