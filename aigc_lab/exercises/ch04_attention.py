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
    keys for $H_{kv}$ heads (here $C$ is `d_model`, $H$ is `n_heads`, $H_{kv}$ is `n_kv_heads`).
    Work out, without running the layer: the shapes of `q` and `k` after
    they are split into heads, the shape of the weights, and the number of parameters of the four
    projections together (no biases).
    """,
    hints=[
        "All *query* heads together are as wide as the model, so $D = C/H$. A key head has the "
        "same width $D$; there are only fewer of them.",
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
    """Shapes of q, k and the weights, and the number of parameters."""
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
    Write the softmax over the last axis, $e^{s_j} / \sum_k e^{s_k}$, for scores of any size. Scores
    are float64, and so is the answer. Some will be 1000, where numpy's `exp` overflows, and some
    $-\infty$ (but never a whole row).
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
            "You take `exp` of the raw scores: above 709 it overflows, and far below 0 every term "
            "is 0. Subtract each row's maximum first.",
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
            "You add a small number to the sum, so rows sum to a little less than 1. There is no "
            "need: once the maximum is subtracted, the sum is at least 1.",
            "exponentials / exponentials.sum(axis=-1, keepdims=True)",
            "exponentials / (exponentials.sum(axis=-1, keepdims=True) + 1e-9)",
        ),
        Mistake(
            "You normalise over the first axis: columns sum to 1. Rows should.",
            "exponentials.sum(axis=-1, keepdims=True)",
            "exponentials.sum(axis=0, keepdims=True)",
        ),
    ],
)
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis: (..., n) to (..., n); rows sum to 1."""
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
    hidden = torch.tensor([[[[-5.0], [-4.0], [5.0]]]])
    last = torch.tensor([True, True, False])
    q, v = torch.full((1, 1, 1, 1), 64.0), draw.tensor(1, 1, 3, 2)
    yield Case("the largest score is hidden", q, hidden, v, mask=last)
    yield Case("scores below -10,000", 64 * q, hidden - 5, v, mask=last)


_SAME_AXIS = "the same axis, counted from the other end"

_HIDE_AFTER = """    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)  # also where NaN
"""


@exercise(
    title="Scaled dot-product attention",
    minutes=30,
    statement=r"""
    The heart of the book in a few lines: $\operatorname{softmax}(QK^\top/\sqrt{D})\,V$, with a
    mask. `mask` is boolean, broadcasts to $(B, H, T_q, T_k)$ and is True where a query *may* look.
    Hidden keys get weight 0, whatever their scores. A query that may look nowhere gets weights 0
    and output 0, not NaN. Stay in torch, so that gradients pass through; they are checked, too.
    """,
    hints=[
        "Four steps: scores `q @ k.transpose(-2, -1)`, scaled; hide; `softmax` over the keys; "
        "`weights @ v`.",
        "`scores.masked_fill(~mask, -torch.inf)` hides before the softmax.",
        "A row that is −∞ throughout becomes 0/0 = NaN. `masked_fill` can also set the weights of "
        "hidden keys to 0 *after* the softmax.",
    ],
    cases=_queries_keys_values,
    returns=("out: B H Tq Dv", "weights: B H Tq Tk"),
    gradients="q k v",
    equivalent={"`k.transpose(-2, -1)` → `k.transpose(2, -1)`": _SAME_AXIS},
    pipeline="""
    from aigc_lab.exercises.pipelines import compare_curves, look_back_losses

    book = look_back_losses()
    with swap("aigc_lab.models.attention.attend", scaled_dot_product) as swapped:
        yours = look_back_losses()

    print(f"your function ran {swapped.calls} times: in two layers, at each of 100 steps")
    assert swapped.calls == 200
    assert compare_curves(book, yours) < 1e-3, "the curves should lie on each other"
    """,
    mistakes=[
        Mistake(
            "You divided by √d_model; each head has its own, smaller width D = q.shape[-1].",
            "math.sqrt(q.shape[-1])",
            "math.sqrt(q.shape[1] * q.shape[-1])",
        ),
        Mistake(
            "You divided by D; it is its square root that keeps the scores' spread at 1.",
            "math.sqrt(q.shape[-1])",
            "q.shape[-1]",
        ),
        Mistake("You did not divide the scores by √D.", " / math.sqrt(q.shape[-1])", ""),
        Mistake(
            "Your softmax runs over the queries; for each query, the weights over the *keys* "
            "must sum to 1.",
            "scores.softmax(dim=-1)",
            "scores.softmax(dim=-2)",
        ),
        Mistake(
            "You hide keys after the softmax only: they still take part in its sum, and the rest "
            "no longer sums to 1.",
            "scores.masked_fill(~mask, -torch.inf)",
            "scores",
        ),
        Mistake(
            "You share out the weight among all keys and then rescale what is left: where a hidden "
            "key has by far the largest score, nothing is left.",
            "scores.masked_fill(~mask, -torch.inf)",
            "scores",
            "weights.masked_fill(~mask, 0.0)  # also where NaN",
            "weights * mask\n        weights = weights / weights.sum(-1, True).clamp_min(1e-9)",
        ),
        Mistake(
            "You hide with a negative number that is not negative enough: scores may be lower.",
            "scores.masked_fill(~mask, -torch.inf)",
            "scores.masked_fill(~mask, -1e4)",
        ),
        Mistake(
            "A row that may look nowhere gives you 0/0 = NaN.",
            _HIDE_AFTER,
            "",
        ),
        Mistake(
            "You hide with a large negative number: a query that may look nowhere then averages "
            "all values. Its weights must be 0.",
            "scores.masked_fill(~mask, -torch.inf)",
            "scores.masked_fill(~mask, -1e9)",
            _HIDE_AFTER,
            "",
        ),
        Mistake(
            "You *add* −∞ and overwrite the NaN of an empty row with 0: the answer is right, but "
            "the NaN comes back in the gradients, as 0 · NaN. `masked_fill` passes no gradient "
            "to what it fills.",
            "scores.masked_fill(~mask, -torch.inf)",
            "scores + torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)",
        ),
        Mistake(
            "You took the mask the other way round: True means that a query may look.",
            "        scores = scores.masked_fill",
            "        mask = ~mask\n        scores = scores.masked_fill",
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
    """The average of the values, weighted by how well query and key match.

    Shapes: q (B, H, Tq, D), k (B, H, Tk, D), v (B, H, Tk, Dv). The mask is
    boolean, broadcasts to (B, H, Tq, Tk) and is True where a query may look.
    Returns out (B, H, Tq, Dv) and weights (B, H, Tq, Tk).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)  # also where NaN
    return weights @ v, weights


# --------------------------------------------------------------------------------- causal, cached


def _lengths(draw):
    yield Case("one token", 1, 1)
    yield Case("a whole sequence", 4, 4)
    yield Case("one new query, five keys", 1, 5)
    n_queries = draw.integer(2, 6)
    yield Case("several new queries", n_queries, n_queries + draw.integer(1, 6))


@exercise(
    title="The mask of a model that writes",
    minutes=10,
    statement=r"""
    While a model writes, the keys of old tokens are kept and only the newest tokens ask: the $T_q$
    queries are the *last* $T_q$ of the $T_k$ positions. Make the causal mask for that, a boolean
    tensor of shape $(T_q, T_k)$ with $1 \le T_q \le T_k$. It is True where a query may look: at
    itself and at everything before it.
    """,
    hints=[
        "Number the positions of the keys 0 … Tk − 1. Which of these numbers do the queries have?",
        "Query i stands at position Tk − Tq + i. Compare a column of these with a row of key "
        "positions, or use `.tril(diagonal=...)`.",
    ],
    cases=_lengths,
    returns="Tq Tk",
    mistakes=[
        Mistake(
            "You number the queries from 0, as if they were the first tokens; they are the last.",
            "n_keys - n_queries + torch.arange(n_queries)",
            "torch.arange(n_queries)",
        ),
        Mistake(
            "You let each query look at itself and at the *future*: the triangle is the other one.",
            "keys <= queries",
            "keys >= queries",
        ),
        Mistake(
            "You leave out the query's own position; a token may look at itself.",
            "keys <= queries",
            "keys < queries",
        ),
        Mistake(
            "Your mask is True where a query may *not* look.",
            "keys <= queries",
            "keys > queries",
        ),
        Mistake(
            "You built it for (Tk, Tq); queries are the rows.",
            "return keys <= queries",
            "return (keys <= queries).T",
        ),
    ],
)
def mask_of_last_queries(n_queries: int, n_keys: int) -> torch.Tensor:
    """Boolean mask (Tq, Tk) for the last n_queries of n_keys positions."""
    queries = n_keys - n_queries + torch.arange(n_queries)[:, None]
    keys = torch.arange(n_keys)
    return keys <= queries


# ---------------------------------------------------------------------------------- grouped heads


def _keys_of_groups(draw):
    yield Case("nothing to share", draw.tensor(1, 1, 2, 2), 1)
    yield Case("one head for all", draw.tensor(1, 1, 2, 3), 4)
    yield Case("two heads, four queries", draw.tensor(1, 2, 3, 2), 4)
    yield Case("three heads, twelve queries", draw.tensor(2, 3, 1, 2), 12)
    n_kv = draw.integer(2, 4)
    yield Case("a batch", draw.tensor(2, n_kv, 3, 4), n_kv * draw.integer(2, 4))


@exercise(
    title="One key head, several query heads",
    minutes=10,
    statement=r"""
    In grouped-query attention neighbouring query heads share a key head: with $H = 4$ and
    $H_{kv} = 2$, query heads 0 and 1 use key head 0, and 2 and 3 use key head 1. Spread the keys,
    of shape $(B, H_{kv}, T, D)$, to one per query head, in torch, so that gradients pass through.
    $H$ is a multiple of $H_{kv}$.
    """,
    hints=[
        "How often must each key head appear, for any H and H_kv? And where do its copies stand: "
        "next to it, or behind all the other heads?",
        "`repeat_interleave`, or a new axis behind the heads, `expand` and `flatten`.",
    ],
    cases=_keys_of_groups,
    returns="B H T D",
    gradients="k",
    mistakes=[
        Mistake(
            "You repeat the heads as a whole: 0, 1, 0, 1. Then neighbours do not share, and "
            "weights trained with the other order do not fit.",
            "k.repeat_interleave(n_heads // k.shape[1], dim=1)",
            "k.repeat(1, n_heads // k.shape[1], 1, 1)",
        ),
        Mistake(
            "You repeat every head n_heads times; the group has only H / H_kv members.",
            "n_heads // k.shape[1]",
            "n_heads",
        ),
        Mistake("You repeat the positions; the heads are axis 1.", "dim=1", "dim=2"),
        Mistake("You repeat the sequences of the batch; the heads are axis 1.", "dim=1", "dim=0"),
    ],
)
def keys_for_all_heads(k: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Keys (B, H_kv, T, D) to (B, H, T, D), each repeated for its group."""
    return k.repeat_interleave(n_heads // k.shape[1], dim=1)


# --------------------------------------------------------------------------------------- backward


def _weights_and_gradients(draw):
    def weights(*shape):
        raw = np.exp(draw.array(*shape))
        return raw / raw.sum(axis=-1, keepdims=True)

    yield Case("one key", np.ones((1, 1)), draw.array(1, 1))
    yield Case("one query", weights(1, 3), draw.array(1, 3))
    yield Case("a hidden key", np.array([[0.25, 0.0, 0.75]]), draw.array(1, 3))
    yield Case("all the same gradient", weights(2, 4), np.ones((2, 4)))
    yield Case("a matrix", weights(4, 6), draw.array(4, 6))


@exercise(
    title="Through the softmax, backwards",
    minutes=30,
    statement=r"""
    The forward pass computed `weights = softmax(scores)`, rows of shape $(T_q, T_k)$. Given the
    gradient of the loss with respect to the weights, compute the gradient with respect to the
    scores. No loops over rows are needed.
    """,
    hints=[
        r"Write one row of the softmax as $w_i = e^{s_i}/Z$, with $Z = \sum_k e^{s_k}$, and "
        r"differentiate: $\partial w_i / \partial s_j = w_i(\delta_{ij} - w_j)$.",
        r"Sum over $i$: $\sum_i \bar w_i\, w_i (\delta_{ij} - w_j)$, where $\bar w$ is a row of "
        "`d_weights`. One of the two terms holds the same sum for every $j$.",
    ],
    cases=_weights_and_gradients,
    returns="Tq Tk",
    equivalent={
        "`(weights * d_weights).sum(axis=-1, keepdims=True)` → "
        "`(weights * d_weights).sum(axis=1, keepdims=True)`": _SAME_AXIS
    },
    mistakes=[
        Mistake(
            "You multiply by the weights only: the scores of a row are tied together by the sum "
            "in the softmax, and that is the second term, the weighted average.",
            " - average",
            "",
        ),
        Mistake(
            "You treat each weight as a sigmoid, w(1 − w): a score also moves the *other* "
            "weights of its row.",
            "d_weights - average",
            "d_weights * (1 - weights)",
        ),
        Mistake(
            "You subtract the plain mean of the gradient; it is the mean *weighted* by the "
            "attention.",
            "(weights * d_weights).sum(axis=-1, keepdims=True)",
            "d_weights.mean(axis=-1, keepdims=True)",
        ),
        Mistake(
            "Your average runs over the whole matrix; each row has its own softmax.",
            "sum(axis=-1, keepdims=True)",
            "sum()",
        ),
        Mistake(
            "Your average runs over the queries (down the columns); each query has its own.",
            "sum(axis=-1, keepdims=True)",
            "sum(axis=0, keepdims=True)",
        ),
        Mistake(
            "You forgot to multiply by the weights themselves: a key that got no weight gets no "
            "gradient.",
            "weights * (d_weights - average)",
            "d_weights - average",
        ),
    ],
)
def softmax_backward(weights: np.ndarray, d_weights: np.ndarray) -> np.ndarray:
    """Gradient of the loss with respect to the scores, (Tq, Tk).

    weights: what the softmax gave, (Tq, Tk).
    d_weights: the gradient of the loss with respect to the weights, (Tq, Tk).
    """
    average = (weights * d_weights).sum(axis=-1, keepdims=True)  # (Tq, 1)
    return weights * (d_weights - average)


# ----------------------------------------------------------------------------------- block by block


_FORGOTTEN = "the first block multiplies what was there by exp(-inf) = 0"


def _blocks(draw):
    def blocks(D, Dv, *lengths, scale=1.0):
        return [(draw.array(n, D, scale=scale), draw.array(n, Dv)) for n in lengths]

    yield Case("one key", draw.array(1, 2), blocks(2, 2, 1))
    yield Case("one block", draw.array(2, 3), blocks(3, 2, 4))
    yield Case("two blocks of one key", draw.array(1, 2), blocks(2, 1, 1, 1))
    yield Case("blocks of different lengths", draw.array(3, 4), blocks(4, 5, 3, 1, 4, 2))
    rising = [(np.full((1, 1), 400.0 * n), draw.array(1, 2)) for n in (1, 2, 3)]
    yield Case("huge scores that rise", np.ones((2, 1)), rising)
    yield Case("huge scores that fall", np.ones((2, 1)), rising[::-1])
    apart = [(np.array([[0.0], [800.0]]), draw.array(2, 2)), (np.zeros((1, 1)), draw.array(1, 2))]
    yield Case("scores far apart in one block", np.ones((1, 1)), apart)
    low = [(np.full((1, 1), -3000.0), draw.array(1, 2)), (np.array([[-3001.0]]), draw.array(1, 2))]
    yield Case("all scores far below 0", np.ones((1, 1)), low)
    high = [(np.array([[1000.0], [1001.0]]), draw.array(2, 2))]
    yield Case("queries of opposite sign", np.array([[1.0], [-1.0]]), high)


@exercise(
    title="Attention that reads its keys once",
    minutes=60,
    statement=r"""
    FlashAttention never holds the whole row of scores. Do the same for one head and its
    $\operatorname{softmax}(QK^\top/\sqrt{D})\,V$: `blocks` is a list of pairs (keys, values) of
    shapes $(n, D)$ and $(n, D_v)$, float64. There is at least one pair, and $n \ge 1$ may differ
    from pair to pair. Go through it *once*, in one loop, from left to right. For each query keep
    the largest score so far, the sum of exponentials and the weighted sum of values. (The check
    compares numbers; that you keep no more than that is between you and your memory.)
    """,
    hints=[
        "Let m be the largest score so far. Keep the total of $e^{s - m}$ and the sum of "
        "$e^{s - m} v$. What must happen to the two when a block brings a larger m'?",
        "Both are multiplied by $e^{m - m'}$ before the block's own share is added.",
        r"Start with m = −∞ and zeros: then the first factor is $e^{-\infty} = 0$, which is right. "
        "Divide once, at the very end.",
    ],
    cases=_blocks,
    returns="Tq Dv",
    equivalent={
        "`blocks[0][1].shape[-1]` → `blocks[0][1].shape[1]`": _SAME_AXIS,
        "`q.shape[-1]` → `q.shape[1]`": _SAME_AXIS,
        "`exponentials.sum(axis=-1, keepdims=True)` → `exponentials.sum(axis=1, keepdims=True)`": (
            _SAME_AXIS
        ),
        "`scores.max(axis=-1, keepdims=True)` → `scores.max(axis=1, keepdims=True)`": _SAME_AXIS,
        "`blocks[0]` → `blocks[-1]`": "all blocks have values of the same width",
        "`np.zeros((len(q), 1))` → `np.ones((len(q), 1))`": _FORGOTTEN,
        "`np.zeros((len(q), blocks[0][1].shape[-1]))` → "
        "`np.ones((len(q), blocks[0][1].shape[-1]))`": _FORGOTTEN,
    },
    mistakes=[
        Mistake(
            "You rescale the weighted values but not the sum of exponentials when a larger score "
            "turns up.",
            "total = total * shrink",
            "total = total",
        ),
        Mistake(
            "You rescale the sum of exponentials but not the weighted values when a larger score "
            "turns up.",
            "summed = summed * shrink",
            "summed = summed",
        ),
        Mistake(
            "You measure each block against its own maximum and forget what came before: blocks "
            "with small scores count too much.",
            "np.maximum(largest, scores.max(axis=-1, keepdims=True))",
            "scores.max(axis=-1, keepdims=True)",
            " * shrink + exponentials.sum",
            " + exponentials.sum",
            " * shrink + exponentials @",
            " + exponentials @",
        ),
        Mistake(
            "You work without a running maximum: exp overflows for large scores.",
            "np.maximum(largest, scores.max(axis=-1, keepdims=True))",
            "np.zeros_like(largest)",
            "np.exp(largest - new_largest)",
            "1.0",
        ),
        Mistake(
            "You start the maximum at 0: where all scores are far below 0, every exponential is 0, "
            "and so is their sum.",
            "-np.inf",
            "0.0",
        ),
        Mistake(
            "You keep one maximum for all queries: a query whose scores are all far below it ends "
            "with 0/0. Each query needs its own.",
            "scores.max(axis=-1, keepdims=True)",
            "scores.max()",
        ),
        Mistake(
            "You never store the new maximum, so every block is measured against the start.",
            "        largest = new_largest\n",
            "",
        ),
        Mistake("You did not divide the scores by √D.", " / math.sqrt(q.shape[-1])", ""),
        Mistake(
            "You divided by the root of the number of keys in the block, not by √D.",
            "math.sqrt(q.shape[-1])",
            "math.sqrt(len(k))",
        ),
        Mistake(
            "You average the blocks' own results: a block that matches badly must count less.",
            "    return summed / total",
            "    return np.mean([_one_block(q, k, v) for k, v in blocks], axis=0)",
        ),
    ],
)
def attend_in_one_pass(q: np.ndarray, blocks: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Attention of q (Tq, D) to keys (n, D) and values (n, Dv) in all blocks.

    Returns (Tq, Dv).
    """
    largest = np.full((len(q), 1), -np.inf)
    total = np.zeros((len(q), 1))
    summed = np.zeros((len(q), blocks[0][1].shape[-1]))
    for k, v in blocks:
        scores = q @ k.T / math.sqrt(q.shape[-1])  # (Tq, n)
        new_largest = np.maximum(largest, scores.max(axis=-1, keepdims=True))
        exponentials = np.exp(scores - new_largest)
        shrink = np.exp(largest - new_largest)  # 1 where no larger score came
        total = total * shrink + exponentials.sum(axis=-1, keepdims=True)
        summed = summed * shrink + exponentials @ v
        largest = new_largest
    return summed / total


def _one_block(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    scores = q @ k.T / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


# -------------------------------------------------------------------------------------- in words

temperature = question(
    "temperature",
    title="Hot and cold queries",
    minutes=10,
    has_one_answer=True,
    statement=r"""
    What happens to the output of attention when all queries are multiplied by a number $c$, for
    $c \to 0$ and for $c \to \infty$? What is the gradient with respect to the keys in both limits?
    """,
    answer=r"""
    For $c \to 0$ all scores go to 0 and the output to the mean of the visible values. For
    $c \to \infty$, if one key is best for a query, its weight goes to 1 and the output is its
    value, as in an exact dictionary. The gradient with respect to the keys is
    $\bar S^\top (cQ)/\sqrt D$: at $c = 0$ it vanishes because the queries do, and for
    $c \to \infty$ because $\bar S$ does, faster than $c$ grows (the softmax saturates). Learning
    happens in between, and that is what $\sqrt D$ secures. (Two keys that are best by an exact tie
    share the weight for ever, and the gradient that would part them grows with $c$.)
    """,
)

blocks_computed = question(
    "blocks_computed",
    title="How much a causal mask saves",
    minutes=10,
    has_one_answer=True,
    statement=r"""
    With `causal=True`, `attend_blockwise` stops early for every block of queries but the last. What
    share of all blocks does it compute, for $T_q = T_k = T$ and a block size $b$ that divides $T$?
    Check your formula: the function calls `np.maximum` once per block, and
    `unittest.mock.patch("numpy.maximum", wraps=np.maximum)` counts calls.
    """,
    answer=r"""
    With $n = T/b$ blocks per side it computes $1 + 2 + \dots + n = n(n+1)/2$ of $n^2$ blocks, a
    share of $(n+1)/(2n)$: about half of the work for large $n$. The blocks on the diagonal are
    computed in full, and nearly half of each is masked away. To check it:

    ```python
    from unittest.mock import patch

    from aigc_lab.models.attention_numpy import attend_blockwise

    q = np.zeros((640, 8))
    with patch("numpy.maximum", wraps=np.maximum) as counter:
        attend_blockwise(q, q, q, block=64, causal=True)
    print(counter.call_count)  # n = 10: 55 of 100
    ```
    """,
)

a_head_that_does_nothing = question(
    "a_head_that_does_nothing",
    title="A head that does nothing",
    minutes=15,
    statement=r"""
    The weights of a softmax sum to 1, so a head cannot choose to add nothing. How could a trained
    model get the same effect? What would you look for in its attention maps?
    """,
    answer=r"""
    A common way: a token that is always visible (the first one, or a separator) gets a key that
    all queries like and a value near zero; heads with nothing to say put their weight there. In
    attention maps it shows as a bright first column, called an *attention sink* (Xiao et al. 2024).
    Other ways: values that the output projection maps to almost nothing, or heads that cancel each
    other. Giving the softmax one extra, silent entry can remove the need for it.
    """,
)
