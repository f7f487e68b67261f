"""Exercises of chapter 09, BERT."""

import math

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ---------------------------------------------------------------------------------------- a pair


def _pairs(draw):
    yield Case("one token each", [5], [6], 5)
    yield Case("with padding", [5, 6], [7], 9)
    yield Case("an empty second part", [5, 6], [], 8)
    first, second = draw.integers(4, 50, 4), draw.integers(4, 50, 6)
    yield Case("longer", first, second, 13)
    yield Case("longer, with padding", first, second, 17)


@exercise(
    title="What BERT reads",
    minutes=10,
    statement=r"""
    Make one row of two texts, given as lists of ids: [CLS] first [SEP] second [SEP], filled up with
    [PAD] to `length`. The ids are 0 for [PAD], 1 for [CLS] and 2 for [SEP]. Return the tokens, the
    segments (0 up to and with the first [SEP], then 1, and 0 for padding) and the attention mask
    (1 for tokens, 0 for padding).
    """,
    hints=["Make the three lists without padding first, then add as many zeros to each."],
    cases=_pairs,
    returns=("tokens: ", "segments: ", "attention mask: "),
    mistakes=[
        Mistake("The second part ends with a [SEP], too.", "*second, 2]", "*second]"),
        Mistake(
            "The first [SEP] belongs to the first segment.",
            "(len(first) + 2)",
            "(len(first) + 1)",
        ),
        Mistake(
            "Your attention mask lets the model look at padding.",
            "[1] * len(tokens) + [0] * n_padding",
            "[1] * length",
        ),
        Mistake("The row begins with [CLS].", "[1, *first", "[*first"),
        Mistake(
            "You gave the padding to segment 1; that is harmless while it is masked, but here it "
            "belongs to 0.",
            "segments + [0] * n_padding",
            "segments + [1] * n_padding",
        ),
    ],
)
def pair_row(
    first: list[int], second: list[int], length: int
) -> tuple[list[int], list[int], list[int]]:
    """Tokens, segments and attention mask, each a list of `length` numbers."""
    tokens = [1, *first, 2, *second, 2]
    segments = [0] * (len(first) + 2)
    segments = segments + [1] * (len(tokens) - len(segments))
    n_padding = length - len(tokens)
    return (
        tokens + [0] * n_padding,
        segments + [0] * n_padding,
        [1] * len(tokens) + [0] * n_padding,
    )


# -------------------------------------------------------------------------------------- the rule


def _rows_to_hide(draw):
    def case(label, tokens, chosen, fate):
        tokens = np.array(tokens)
        random = np.array(draw.integers(500, 600, len(tokens)))
        return Case(label, tokens, np.array(chosen, bool), np.array(fate), random, 999)

    yield case("a mask", [7], [1], [0.3])
    yield case("a random token", [6, 7], [0, 1], [0.1, 0.85])
    yield case("a token that stays", [6, 7], [1, 1], [0.1, 0.95])
    yield case("a token that was not chosen", [6, 7, 8], [0, 0, 1], [0.3, 0.85, 0.2])
    yield case("the borders", [7, 8, 9, 10], [1, 1, 1, 1], [0.0, 0.8, 0.9, 0.7999])
    chosen = [lot < 4 for lot in draw.integers(0, 10, 60)]
    yield case("many", draw.integers(4, 500, 60), chosen, draw.rng.random(60))


@exercise(
    title="80, 10, 10",
    minutes=5,
    statement=r"""
    Apply BERT's rule at the places that are `chosen`. `fate` holds a lot between 0 and 1 for each
    token: below 0.8 the token becomes `mask_token`, from there to below 0.9 the token that stands
    ready in `random`, and otherwise it stays. Return what the model reads and the targets: the
    original at *every* chosen place, and −100 elsewhere.
    """,
    hints=["`np.where(condition, a, b)`, several times."],
    cases=_rows_to_hide,
    returns=("read: T", "targets: T"),
    equivalent={
        "`fate < 0.8` → `fate <= 0.8`": "where it is 0.8, the next line puts the random token",
    },
    pipeline="""
    from aigc_lab.data.masking import StoryPairs, make_masking_tokenizer
    from aigc_lab.data.tiny_world import TinyWorld, WorldSettings

    world = TinyWorld(WorldSettings(mix=(1, 0, 0, 0)))
    texts = [document.text for document in world.documents(50)]
    source = StoryPairs(world, make_masking_tokenizer(texts, 400), 8)
    book = source.batch(0)
    with swap("aigc_lab.data.masking.hide", hide) as swapped:
        yours = source.batch(0)

    print(f"your function ran {swapped.calls} time and hid {yours.n_targets} tokens")
    assert swapped.calls == 1
    assert torch.equal(book.tokens, yours.tokens)
    assert torch.equal(book.targets, yours.targets)
    """,
    mistakes=[
        Mistake(
            "You ask only for the tokens that are hidden; the model is asked for all that were "
            "chosen, also for those that it still sees.",
            "np.where(chosen, tokens, -100)",
            "np.where(read != tokens, tokens, -100)",
        ),
        Mistake(
            "You mask all that were chosen: 100/0/0.",
            "chosen & (fate < 0.8)",
            "chosen",
            "chosen & (fate >= 0.8) & (fate < 0.9)",
            "chosen & (fate > 2)",
        ),
        Mistake(
            "Your targets are what the model reads, so that it learns to repeat a mask.",
            "np.where(chosen, tokens, -100)",
            "np.where(chosen, read, -100)",
        ),
        Mistake(
            "You replace 20 % by random tokens: none stays.",
            " & (fate < 0.9)",
            "",
        ),
        Mistake(
            "You change tokens that were not chosen.",
            "chosen & (fate < 0.8)",
            "fate < 0.8",
        ),
        Mistake(
            "You ask for every token; then most of the loss is copying what the model sees.",
            "np.where(chosen, tokens, -100)",
            "tokens + 0",
        ),
    ],
)
def hide(
    tokens: np.ndarray, chosen: np.ndarray, fate: np.ndarray, random: np.ndarray, mask_token: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads, (T,), and its targets, (T,)."""
    read = np.where(chosen & (fate < 0.8), mask_token, tokens)
    read = np.where(chosen & (fate >= 0.8) & (fate < 0.9), random, read)
    return read, np.where(chosen, tokens, -100)


# -------------------------------------------------------------------------------------- the loss


def _logits_and_targets(draw):
    yield Case("one place", np.array([[2.0, 0.0]]), np.array([0]))
    yield Case("one of two", draw.array(2, 3), np.array([-100, 2]))
    yield Case("large logits", draw.array(3, 4, scale=2000), np.array([1, -100, 3]))
    targets = np.array(draw.integers(0, 6, 12))
    targets[np.array([0, 3, 4, 7, 11])] = -100
    yield Case("many", draw.array(12, 6, scale=2), targets)


@exercise(
    title="The loss at the chosen places",
    minutes=10,
    statement=r"""
    Give the mean of $-\log p(\text{target})$ over the places that have a target; the others have
    the target −100. `logits` has shape $(T, V)$.
    """,
    hints=[
        "Throw the other places away first: `logits[targets != -100]`.",
        "A log-softmax that does not overflow subtracts the largest logit of each row.",
    ],
    cases=_logits_and_targets,
    mistakes=[
        Mistake(
            "You divide by all places; a row with fewer targets then counts less.",
            ".mean()",
            ".sum() / len(targets)",
        ),
        Mistake("You took the sum, not the mean.", ".mean()", ".sum()"),
        Mistake(
            "You count −100 as an id: places without a target are part of your loss.",
            "is_target = targets != -100",
            "targets = np.where(targets == -100, 0, targets); is_target = targets >= 0",
        ),
        Mistake("The loss is the *negative* log-probability.", "return -", "return "),
        Mistake(
            "`exp` of a large logit overflows: subtract the largest one of each row first.",
            " - scores.max(axis=1, keepdims=True)",
            "",
        ),
    ],
)
def masked_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean loss in nats over the places that have a target.

    logits: (T, V).
    targets: (T,), −100 where there is none.
    """
    is_target = targets != -100
    scores = logits[is_target]
    scores = scores - scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(logs)), targets[is_target]].mean()


# --------------------------------------------------------------------------- the attention mask


def _attention_inputs(draw):
    def of(B, H, T, D, lengths):
        mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
        q, k, v = (draw.tensor(B, H, T, D) for _ in range(3))
        return q, k, v, mask

    yield Case("no padding", *of(1, 1, 2, 2, [2]))
    yield Case("one token of three", *of(1, 1, 3, 2, [1]))
    yield Case("rows of different lengths", *of(2, 2, 4, 3, [4, 2]))
    yield Case("many", *of(3, 2, 6, 4, [3, 6, 5]))


_LAST = "the same axis, counted from the other end"


@exercise(
    title="Everyone but the padding",
    minutes=15,
    statement=r"""
    Write BERT's attention, $\text{softmax}(QK^\top/\sqrt D)V$ for each head, without a causal mask:
    every token looks at every token of its row, before and after it, but not at padding.
    `attention_mask`, of shape $(B, T)$, holds 1 for tokens and 0 for padding.
    """,
    hints=[
        "Padding is a key that nobody may look at: the mask belongs to the *last* axis of the "
        "scores, of shape $(B, H, T, T)$.",
        "`attention_mask[:, None, None, :] == 0` is true for the keys to hide; set their scores "
        "to −∞.",
    ],
    cases=_attention_inputs,
    returns="B H T D",
    gradients="q k v",
    equivalent={
        "`k.transpose(-2, -1)` → `k.transpose(2, -1)`": _LAST,
    },
    mistakes=[
        Mistake(
            "You added the mask, 0 or 1, to the scores: padding is only a little less visible.",
            "scores.masked_fill(hidden, -torch.inf)",
            "scores + attention_mask[:, None, None, :]",
        ),
        Mistake(
            "Your tokens look at padding.",
            "scores.masked_fill(hidden, -torch.inf)",
            "scores",
        ),
        Mistake(
            "You kept the causal mask: tokens do not see what comes after them.",
            "attention_mask[:, None, None, :] == 0",
            "(attention_mask[:, None, None, :] == 0) | (torch.ones(q.shape[2], q.shape[2])"
            ".triu(1) > 0)",
        ),
        Mistake(
            "You hid the tokens and showed the padding: the mask is 1 for tokens.",
            "attention_mask[:, None, None, :] == 0",
            "(attention_mask[:, None, None, :] == 1) & (attention_mask.min() < 1)",
        ),
        Mistake(
            "You set the scores of padding to 0; e⁰ = 1 is a weight like any other.",
            "-torch.inf",
            "0.0",
        ),
        Mistake(
            "You set weights to 0 after the softmax; the rest then no longer sums to 1.",
            "scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)",
            "scores.softmax(dim=-1).masked_fill(hidden, 0.0)",
        ),
        Mistake("You forgot the factor 1/√D.", " / q.shape[-1] ** 0.5", ""),
    ],
)
def attend_to_all(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Queries, keys and values (B, H, T, D) to the output (B, H, T, D)."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    hidden = attention_mask[:, None, None, :] == 0
    weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
    return weights @ v


# ------------------------------------------------------------------------------ the best possible


def _log_probs(draw):
    yield Case("one word is possible", np.array([[-80.0, -np.inf]]))
    yield Case("two equal words", np.array([[-80.0, -80.0, -np.inf]]))
    yield Case("three to one", np.array([[-10.0 + np.log(3), -10.0]]))
    yield Case("a long story", np.array([[-3000.0, -3001.0, -3002.0]]))
    yield Case("several places", -60 + draw.array(7, 12, scale=2))


@exercise(
    title="The best that anyone can do",
    minutes=15,
    statement=r"""
    For each of $N$ masked places, `log_probs` holds the log-probability of the whole story with
    each of $W$ words in the place, −∞ for words that are impossible. Give the best accuracy that
    a model can have, on average over the places, in the world that these numbers describe.
    """,
    hints=[
        "The posterior of a word is the probability of the story with it, divided by the sum over "
        "all words.",
        "The best answer is the likeliest word, and it is right as often as its posterior says.",
        "Stories are so improbable that `exp` gives 0: subtract the largest of each row first.",
    ],
    cases=_log_probs,
    mistakes=[
        Mistake(
            "You take `exp` of numbers like −3000: that is 0, and 0/0 has no value.",
            "log_probs - log_probs.max(axis=1, keepdims=True)",
            "log_probs",
        ),
        Mistake(
            "You did not divide by the sum over the words.",
            " / weights.sum(axis=1, keepdims=True)",
            "",
        ),
        Mistake(
            "You average over the words; the best answer is the likeliest one.",
            "posterior.max(axis=1)",
            "posterior.mean(axis=1)",
        ),
        Mistake(
            "You normalised over the places; each place has a posterior of its own.",
            "weights.sum(axis=1, keepdims=True)",
            "weights.sum()",
        ),
    ],
)
def best_accuracy(log_probs: np.ndarray) -> float:
    """Best possible accuracy; log_probs: (N, W)."""
    weights = np.exp(log_probs - log_probs.max(axis=1, keepdims=True))
    posterior = weights / weights.sum(axis=1, keepdims=True)
    return posterior.max(axis=1).mean()


# ------------------------------------------------------------------------------- prefix and order


def _prefixes(draw):
    yield Case("one token, no prefix", 1, 0)
    yield Case("no prefix: causal", 3, 0)
    yield Case("all prefix: bidirectional", 3, 3)
    yield Case("a prefix of one", 3, 1)
    yield Case("a prefix of two", 4, 2)
    T = draw.integer(6, 9)
    yield Case("longer", T, draw.integer(2, T - 1))


@exercise(
    title="Prefix mask",
    minutes=10,
    statement=r"""
    Of $T$ tokens the first `n_prefix` are a question that is there as a whole: they see each other
    in both directions. The tokens after them are written one by one: each sees the prefix, itself
    and what was written before. Give the mask, $(T, T)$, true where a query (row) may look at a
    key (column).
    """,
    hints=["Begin with the causal mask. Which keys may be seen in addition?"],
    cases=_prefixes,
    returns="T T",
    mistakes=[
        Mistake(
            "You have the causal mask: the prefix does not see what comes after it.",
            "(key < n_prefix) | (key <= query)",
            "key <= query",
        ),
        Mistake(
            "Your prefix sees what is written after it.",
            "(key < n_prefix) | (key <= query)",
            "(key < n_prefix) | (key <= query) | (query < n_prefix)",
        ),
        Mistake(
            "A written token sees itself, too.",
            "key <= query",
            "key < query",
        ),
        Mistake(
            "You exchanged queries and keys: rows are queries.",
            "key, query =",
            "query, key =",
        ),
    ],
)
def prefix_mask(T: int, n_prefix: int) -> np.ndarray:
    """(T, T), boolean."""
    key, query = np.arange(T)[None, :], np.arange(T)[:, None]
    return (key < n_prefix) | (key <= query)


def _orders(draw):
    yield Case("one token", [0])
    yield Case("left to right: causal", [0, 1, 2])
    yield Case("right to left", [2, 1, 0])
    yield Case("an order that is not its own inverse", [2, 0, 1])
    yield Case("longer", draw.rng.permutation(7).tolist())


@exercise(
    title="XLNet's masks",
    minutes=20,
    statement=r"""
    `order` lists the places of a text in the order in which they are to be predicted: `[2, 0, 1]`
    means first place 2, then 0, then 1. Return two masks, $(T, T)$, true where the row's place may
    look at the column's. In the *content* mask a place sees itself and every place that came
    before it in the order; in the *query* mask, which predicts, it does not see itself.
    """,
    hints=[
        "What you need to compare is the *rank* of two places: at which turn each is predicted.",
        "`np.argsort(order)` gives the rank of each place.",
    ],
    cases=_orders,
    returns=("content: T T", "query: T T"),
    mistakes=[
        Mistake(
            "You used `order` as if it gave the rank of each place; it gives the place of each "
            "rank.",
            "np.argsort(order)",
            "np.array(order)",
        ),
        Mistake(
            "Your query mask lets a place see itself: it would predict what it reads.",
            "rank[None, :] < rank[:, None]",
            "rank[None, :] <= rank[:, None] + 0",
        ),
        Mistake(
            "Your content mask hides a place from itself.",
            "rank[None, :] <= rank[:, None]",
            "rank[None, :] < rank[:, None] - 0",
        ),
        Mistake(
            "Rows see what comes after them in the order, not before.",
            "rank = np.argsort(order)",
            "rank = -np.argsort(order)",
        ),
    ],
)
def permutation_masks(order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Content mask and query mask, (T, T) each, boolean."""
    rank = np.argsort(order)
    return rank[None, :] <= rank[:, None], rank[None, :] < rank[:, None]


# ------------------------------------------------------------------------------------- in words

# ---------------------------------------------------------------------------------- a whole block


def _blocks(draw):
    yield Case("one token, one head", *_block(draw, 1, 2), [1], 1)
    yield Case("one head", *_block(draw, 3, 4), [1, 1, 1], 1)
    yield Case("two heads, padding", *_block(draw, 5, 6), [1, 1, 1, 0, 0], 2)
    yield Case("four heads", *_block(draw, draw.integer(3, 6), 8), None, 4)


def _block(draw, T, C):
    weights = {name: draw.array(C, C, scale=0.5) for name in "qkvo"}
    weights |= {"up": draw.array(C, 2 * C, scale=0.5), "down": draw.array(2 * C, C, scale=0.5)}
    return draw.array(T, C), weights


@exercise(
    title="A block of BERT from nothing",
    minutes=60,
    statement=r"""
    Write a block of BERT in numpy, post-norm, for one row: self-attention in both directions, then
    the feed-forward network $\mathrm{gelu}(x W_{up}) W_{down}$, each as $N(x + f(x))$. Nobody looks
    at padding: `mask` has 1 for a token and 0 for padding, or is None if there is none. The layer
    norm $N$ has no scale and shift, and $10^{-12}$ under the root; gelu(x) is $x$ times the
    probability that a standard normal number is below $x$, $(1 + \mathrm{erf}(x/\sqrt 2))/2$.
    There are no biases: a projection is `x @ w["q"]`. `w` holds "q", "k", "v", "o", each $(C, C)$,
    and "up" and "down", $(C, F)$ and $(F, C)$. The columns of a query, key or value belong to the
    heads in order, $D = C/H$ to each; scores are divided by $\sqrt D$.
    """,
    hints=[
        "`x.reshape(T, H, D).transpose(1, 0, 2)` is (H, T, D).",
        "Set the scores of hidden *keys*, the columns, to `-np.inf` before the softmax.",
        "`np.vectorize(math.erf)` takes arrays.",
    ],
    cases=_blocks,
    returns="T C",
    equivalent={
        "`(x ** 2).mean(axis=-1, keepdims=True)` → `(x ** 2).mean(axis=1, keepdims=True)`": (
            "of two axes the last is number 1"
        ),
        "`x.mean(axis=-1, keepdims=True)` → `x.mean(axis=1, keepdims=True)`": (
            "of two axes the last is number 1"
        ),
        "`scores - scores.max(axis=-1, keepdims=True)` → "
        "`scores + scores.max(axis=-1, keepdims=True)`": (
            "a softmax does not see what is added to all; small scores do not overflow"
        ),
        "`C // n_heads` → `C / n_heads`": "the heads divide the width",
        "`y.reshape(T, n_heads, -1)` → `y.reshape(T, n_heads, -2)`": (
            "numpy takes any negative length as the one to be found"
        ),
    },
    mistakes=[
        Mistake("You did not hide the padding.", "np.where(real, scores, -np.inf)", "scores"),
        Mistake(
            "You hid what padding *asks* (rows), and not where others look (columns).",
            "np.where(real, scores, -np.inf)",
            "np.where(real[:, None], scores, -1e9)",
        ),
        Mistake(
            "You put in a causal mask; BERT looks in both directions.",
            "np.where(real, scores, -np.inf)",
            "np.where(real & np.tril(np.ones((T, T), dtype=bool)), scores, -np.inf)",
        ),
        Mistake(
            "You normalise before each part (pre-norm); BERT does it after the addition.",
            "x = norm(x + attention(x))\n    hidden = x @",
            "x = x + attention(norm(x))\n    hidden = norm(x) @",
            "return norm(x + gelu",
            "return (x + gelu",
        ),
        Mistake("You divided by √C; each head has D = C/H numbers.", "C // n_heads", "C"),
        Mistake(
            "You cut the heads by `reshape` alone, without `transpose`: that mixes tokens.",
            "y.reshape(T, n_heads, -1).transpose(1, 0, 2)",
            "y.reshape(n_heads, T, -1)",
        ),
        Mistake(
            "You used ReLU, as the Transformer of 2017; BERT has GELU.",
            "gelu @",
            "np.maximum(0, hidden) @",
        ),
        Mistake("You left out the second residual connection.", "norm(x + gelu", "norm(gelu"),
    ],
)
def bert_block(
    x: np.ndarray, w: dict[str, np.ndarray], mask: list[int] | None, n_heads: int
) -> np.ndarray:
    """x (T, C), mask (T,) to (T, C)."""
    T, C = x.shape
    real = np.ones(T, dtype=bool) if mask is None else np.array(mask, dtype=bool)

    def norm(x):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)

    def heads(y):
        return y.reshape(T, n_heads, -1).transpose(1, 0, 2)

    def attention(x):
        q, k, v = (heads(x @ w[name]) for name in "qkv")
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(C // n_heads)
        scores = np.where(real, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return (weights @ v).transpose(1, 0, 2).reshape(T, C) @ w["o"]

    x = norm(x + attention(x))
    hidden = x @ w["up"]
    gelu = hidden * (1 + np.vectorize(math.erf)(hidden / np.sqrt(2))) / 2
    return norm(x + gelu @ w["down"])


why_not_write = question(
    "why_not_write",
    title="Why does BERT not write?",
    minutes=10,
    statement=r"""
    A colleague wants to let BERT write a text: put a [MASK] at the end, take the likeliest word,
    put the next [MASK] behind it, and so on. Why is the result worse than that of a GPT of the
    same size, and why is it slower as well?
    """,
    answer=r"""
    BERT has seen masks with words on *both* sides, and a row that ends with [SEP]. A mask at the
    end, with nothing after it, is a question that it was hardly ever asked; it often takes the mask
    for the last word of a text. What it answers is p(word | words before it, *and the text ends
    here*). A writer needs p(word | words before it), whatever comes after.

    It is slower because every new word changes the vectors of *all* words: they look at it, too.
    So keys and values cannot be kept from step to step, and each word costs a pass over the whole
    text.
    """,
)
