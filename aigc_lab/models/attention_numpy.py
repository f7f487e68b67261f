"""Attention for one head in numpy: forward, backward by hand, and block by block.

Made to be read next to the derivation in the chapter on attention; `aigc_lab.models.attention`
is the version for training. Shapes: Tq queries, Tk keys, D = head_dim, Dv the width of a value.
"""

import math

import numpy as np

Array = np.ndarray


def softmax(scores: Array) -> Array:
    """Softmax over the last axis; subtracting the maximum only avoids overflow."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def attend_forward(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """Output `(Tq, Dv)` and weights `(Tq, Tk)` of q `(Tq, D)`, k `(Tk, D)`, v `(Tk, Dv)`."""
    weights = softmax(q @ k.T / math.sqrt(q.shape[-1]))
    return weights @ v, weights


def attend_backward(
    d_out: Array, q: Array, k: Array, v: Array, weights: Array
) -> tuple[Array, Array, Array]:
    """Gradients of a scalar loss with respect to q, k and v.

    Args:
        d_out: the loss's gradient with respect to the output, `(Tq, Dv)`.
        q, k, v, weights: what went into and came out of `attend_forward`.
    """
    d_v = weights.T @ d_out  # (Tk, Dv)
    d_weights = d_out @ v.T  # (Tq, Tk)
    # Softmax, row by row: each score's gradient is its weight times how far the gradient of its
    # weight lies above the row's weighted average.
    average = (weights * d_weights).sum(axis=-1, keepdims=True)
    d_scores = weights * (d_weights - average) / math.sqrt(q.shape[-1])
    return d_scores @ k, d_scores.T @ q, d_v


def attend_blockwise(q: Array, k: Array, v: Array, block: int = 64, causal: bool = False) -> Array:
    """The output of attention without ever holding the `(Tq, Tk)` matrix of weights.

    Goes through the keys `block` at a time and keeps, for each query, three things: the largest
    score so far, the sum of the exponentials and the weighted sum of values. When a larger score
    turns up, the two sums are scaled down to it ("online softmax").

    Args:
        q, k, v: `(Tq, D)`, `(Tk, D)`, `(Tk, Dv)`.
        block: number of queries and keys handled at a time.
        causal: query i looks only at keys 0 .. i + (Tk - Tq).

    Returns:
        `(Tq, Dv)`.

    Raises:
        ValueError: `block` below 1, no keys, another number of values than of keys, or causal with
            more queries than keys.

    Source: Milakov and Gimelshein 2018 (online softmax), Dao et al. 2022 (FlashAttention).
    """
    n_queries, n_keys = len(q), len(k)
    if n_keys == 0 or len(v) != n_keys:
        raise ValueError(
            f"there must be one value per key, at least one: {n_keys} keys, {len(v)} values"
        )
    if block < 1:
        raise ValueError(f"block={block} must be at least 1")
    if causal and n_queries > n_keys:
        raise ValueError(f"causal attention needs Tq <= Tk, not {n_queries} > {n_keys}")
    out = np.empty((n_queries, v.shape[-1]), dtype=np.result_type(q, k, v, np.float16))
    for top in range(0, n_queries, block):
        rows = np.arange(top, min(top + block, n_queries))
        largest = np.full((len(rows), 1), -np.inf)
        total = np.zeros((len(rows), 1))
        summed = np.zeros((len(rows), v.shape[-1]))
        last_visible = rows + n_keys - n_queries  # per query, if causal
        for left in range(0, n_keys, block):
            if causal and left > last_visible[-1]:
                break  # the rest lies in the future of every query in this block
            columns = np.arange(left, min(left + block, n_keys))
            scores = q[rows] @ k[columns].T / math.sqrt(q.shape[-1])  # (block, block)
            if causal:
                scores = np.where(columns <= last_visible[:, None], scores, -np.inf)
            new_largest = np.maximum(largest, scores.max(axis=-1, keepdims=True))
            shrink = np.exp(largest - new_largest)
            exponentials = np.exp(scores - new_largest)
            total = total * shrink + exponentials.sum(axis=-1, keepdims=True)
            summed = summed * shrink + exponentials @ v[columns]
            largest = new_largest
        out[rows] = summed / total
    return out
