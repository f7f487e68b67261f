"""Exercises of chapter 04, attention."""

import math

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------------------------ shapes


def _sizes(draw):
    yield Case("one head", 2, 10, 48, 1, 1)
    yield Case("four heads, one for the keys", 1, 1, 16, 4, 1)
    n_kv, group = draw.integer(2, 4), draw.integer(2, 4)
    heads = n_kv * group
    yield Case("a real layer", draw.integer(2, 9), draw.integer(5, 90), 8 * heads, heads, n_kv)


@exercise(
    title="Shapes in your head",
    minutes=5,
    statement=r"""
    Inside `MultiHeadAttention`, an input of shape $(B, T, C)$ becomes queries for $H$ heads and
    keys for $H_{kv}$ heads. Work out, without running the layer: the shapes of `q` and `k` after
    they are split into heads, the shape of the weights, and the number of parameters of the four
    projections together (no biases).
    """,
    hints=[
        "All heads together are as wide as the model: $D = C/H$, for the keys as well.",
        "There is one map of weights for each *query* head. `k_proj` and `v_proj` have only "
        "$H_{kv} \\cdot D$ outputs each.",
    ],
    cases=_sizes,
    returns=("q: n", "k: n", "weights: n", "n_parameters: "),
    mistakes=[
        Mistake(
            "You divided the width by the number of *key* heads; D is C / n_heads for all.",
            "head_dim = d_model // n_heads",
            "head_dim = d_model // n_kv_heads",
        ),
        Mistake(
            "You gave every projection C × C parameters; those of keys and values are narrower.",
            "2 * d_model * n_kv_heads * head_dim",
            "2 * d_model * d_model",
        ),
        Mistake(
            "You counted one map of weights per key head; each query head has its own.",
            "(B, n_heads, T, T)",
            "(B, n_kv_heads, T, T)",
        ),
        Mistake(
            "You left the heads behind the positions: (B, T, H, D) is the order before "
            "`transpose(1, 2)`.",
            "q = (B, n_heads, T, head_dim)\n    k = (B, n_kv_heads, T, head_dim)",
            "q = (B, T, n_heads, head_dim)\n    k = (B, T, n_kv_heads, head_dim)",
        ),
    ],
)
def shapes_in_attention(
    B: int, T: int, d_model: int, n_heads: int, n_kv_heads: int
) -> tuple[tuple, tuple, tuple, int]:
    """Shapes of q, k and the weights, and the number of parameters, of a layer of width d_model."""
    head_dim = d_model // n_heads
    q = (B, n_heads, T, head_dim)
    k = (B, n_kv_heads, T, head_dim)
    n_parameters = 2 * d_model * d_model + 2 * d_model * n_kv_heads * head_dim
    return q, k, (B, n_heads, T, T), n_parameters


# ----------------------------------------------------------------------------------------- softmax


def _scores(draw):
    yield Case("one number", draw.array(1, 1))
    yield Case("one row", draw.array(1, 4))
    yield Case("random scores", draw.array(3, 5, scale=3))
    yield Case("huge scores", np.array([[1000.0, 1001.0, 999.0], [0.0, 1.0, 2.0]]))
    yield Case("a hidden key", np.array([[0.5, -np.inf, 1.5], [1.0, 0.0, -np.inf]]))
    yield Case("rows far apart", np.array([[0.0, 1.0], [-1000.0, -1001.0]]))
    yield Case("three axes", draw.array(2, 3, 4))


@exercise(
    title="A softmax that survives",
    minutes=10,
    statement=r"""
    Write the softmax over the last axis, $e^{s_j} / \sum_k e^{s_k}$, for scores of any size. Some
    scores will be 1000 and some $-\infty$; with numpy's `exp` alone, the first overflows.
    """,
    hints=[
        "Adding the same number to all scores of a row does not change its softmax. Which number "
        "makes every exponent at most 0?",
        "`scores.max(axis=-1, keepdims=True)` keeps an axis of size 1, which numpy stretches over "
        "the row.",
    ],
    cases=_scores,
    returns="row column",
    mistakes=[
        Mistake(
            "You take `exp` of the raw scores, which overflows above 709; subtract each row's "
            "maximum first.",
            " - largest",
            "",
        ),
        Mistake(
            "You subtract the maximum of the *whole* array: a row that lies far below it turns "
            "into 0/0. Each row needs its own.",
            "scores.max(axis=-1, keepdims=True)",
            "scores.max()",
        ),
        Mistake(
            "You divide by the sum over the whole array; each row must sum to 1.",
            "exponentials.sum(axis=-1, keepdims=True)",
            "exponentials.sum()",
        ),
        Mistake(
            "You normalise over the first axis: columns sum to 1. Rows should.",
            "exponentials.sum(axis=-1, keepdims=True)",
            "exponentials.sum(axis=0, keepdims=True)",
        ),
    ],
)
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis: (..., n) to (..., n), every row positive with sum 1."""
    largest = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - largest)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# ----------------------------------------------------------------------------- scaled dot product


def _queries_keys_values(draw):
    def qkv(B, H, Tq, Tk, D, Dv, scale=1.0):
        q, k = draw.tensor(B, H, Tq, D, scale=scale), draw.tensor(B, H, Tk, D, scale=scale)
        return q, k, draw.tensor(B, H, Tk, Dv)

    yield Case("one token", *qkv(1, 1, 1, 1, 3, 2))
    yield Case("no mask", *qkv(2, 3, 4, 5, 6, 7))
    causal = torch.ones(4, 4).tril().bool()
    yield Case("causal mask", *qkv(2, 2, 4, 4, 5, 5), mask=causal)
    padding = torch.tensor([[True, True, False], [True, False, False]])[:, None, None, :]
    yield Case("padding of two sequences", *qkv(2, 2, 3, 3, 4, 4), mask=padding)
    nowhere = torch.tensor([[True, False, False], [False, False, False]])
    yield Case("a row that may look nowhere", *qkv(1, 2, 2, 3, 4, 4), mask=nowhere)
    k = 100 * torch.eye(3)[None, None]
    yield Case("extreme scores", k, k, draw.tensor(1, 1, 3, 3))


_HIDE_AFTER = """    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
"""


@exercise(
    title="Scaled dot-product attention",
    minutes=30,
    statement=r"""
    The heart of the book in a few lines: $\operatorname{softmax}(QK^\top/\sqrt{D})\,V$, with a
    mask. `mask` is boolean, broadcasts to $(B, H, T_q, T_k)$ and is True where a query *may* look.
    Hidden keys get weight 0. A query that may look nowhere gets weights 0 and output 0, not NaN,
    and its gradients are finite, too.
    """,
    hints=[
        "Four steps: scores `q @ k.transpose(-2, -1)`, scaled; hide; `softmax` over the keys; "
        "`weights @ v`.",
        "`scores.masked_fill(~mask, -torch.inf)` hides before the softmax. A row that is -∞ "
        "throughout gives 0/0 = NaN; weights that belong to hidden keys can be set to 0 *after* "
        "the softmax as well.",
        "The gradients of a row of NaN stay NaN even where a later step overwrites it. Give such "
        "a row ordinary scores (leave it unmasked, say), and set its weights to 0 afterwards.",
    ],
    cases=_queries_keys_values,
    returns=("out: B H Tq Dv", "weights: B H Tq Tk"),
    gradients="q k v",
    mistakes=[
        Mistake(
            "You divided by √d_model; each head has its own, smaller d_k = q.shape[-1].",
            "math.sqrt(q.shape[-1])",
            "math.sqrt(q.shape[1] * q.shape[-1])",
        ),
        Mistake(
            "You divided by d_k; it is its square root that keeps the scores' spread at 1.",
            "math.sqrt(q.shape[-1])",
            "q.shape[-1]",
        ),
        Mistake("You did not divide the scores by √d_k.", " / math.sqrt(q.shape[-1])", ""),
        Mistake(
            "Your softmax runs over the queries; for each query, the weights over the *keys* "
            "must sum to 1.",
            "scores.softmax(dim=-1)",
            "scores.softmax(dim=-2)",
        ),
        Mistake(
            "You hide keys after the softmax only: they still take part in its sum, and the rest "
            "no longer sums to 1.",
            "scores.masked_fill(hidden, -torch.inf)",
            "scores",
        ),
        Mistake(
            "A row that may look nowhere gives you 0/0 = NaN.",
            "hidden = ~mask & mask.any(dim=-1, keepdim=True)",
            "hidden = ~mask",
            _HIDE_AFTER,
            "",
        ),
        Mistake(
            "In a row that may look nowhere, you overwrite NaN by 0; the NaN comes back in the "
            "gradients. It must not arise in the first place.",
            "hidden = ~mask & mask.any(dim=-1, keepdim=True)",
            "hidden = ~mask",
        ),
        Mistake(
            "A query that may look nowhere looks everywhere: its weights must be 0.",
            _HIDE_AFTER,
            "",
        ),
        Mistake(
            "You hide with a large negative number: a query that may look nowhere then averages "
            "all values. Its weights must be 0.",
            "scores.masked_fill(hidden, -torch.inf)",
            "scores.masked_fill(~mask, -1e9)",
            _HIDE_AFTER,
            "",
        ),
        Mistake(
            "You took the mask the other way round: True means that a query may look.",
            "hidden = ~mask &",
            "mask = ~mask\n        hidden = ~mask &",
        ),
        Mistake(
            "The gradient is cut: something between q and the weights was detached.",
            "weights = scores.softmax(dim=-1)",
            "weights = scores.softmax(dim=-1).detach()",
        ),
    ],
)
def scaled_dot_product(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention: the average of the values, weighted by how well query and key match.

    Shapes: q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv), mask boolean, broadcastable to
    (B, H, Tq, Tk), True where a query may look. Returns out (B, H, Tq, Dv) and weights
    (B, H, Tq, Tk).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, Tq, Tk)
    if mask is not None:
        hidden = ~mask & mask.any(dim=-1, keepdim=True)  # a row that sees nothing hides nothing
        scores = scores.masked_fill(hidden, -torch.inf)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, weights
