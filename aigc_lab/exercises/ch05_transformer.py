"""Exercises of chapter 05, the Transformer and what came before it."""

from collections import Counter

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

_SAME_AXIS = "of two axes the last is number 1"
_SAME_SOFTMAX = "a softmax does not see what is added to all; small scores do not overflow"

# ------------------------------------------------------------------------------------- one step


def _cells(draw):
    yield Case("one unit", *(draw.array(n) for n in (1, 1, 1)), *_weights(draw, 1, 1))
    yield Case("an empty state", draw.array(3), np.zeros(2), np.zeros(2), *_weights(draw, 3, 2))
    C_in, C = draw.integer(2, 5), draw.integer(3, 6)
    yield Case(
        "random numbers", draw.array(C_in), draw.array(C), draw.array(C), *_weights(draw, C_in, C)
    )


def _weights(draw, C_in, C):
    return draw.array(4 * C, C_in), draw.array(4 * C, C), draw.array(4 * C)


@exercise(
    title="One step of an LSTM",
    minutes=15,
    statement=r"""
    Compute the next state $(h', c')$ of an LSTM from the input $x$ and the state $(h, c)$. The rows
    of $W$, $U$ and $b$ are four blocks of $C$, in the order $i, f, g, o$.
    """,
    hints=[
        "All four at once: `W @ x + U @ h + b`, then `np.split(..., 4)`.",
        "The gates $i, f, o$ go through a sigmoid, $g$ through a tanh.",
        "$c' = f \\odot c + i \\odot g$, and what is shown is $h' = o \\odot \\tanh(c')$.",
    ],
    cases=_cells,
    returns=("h: C", "c: C"),
    mistakes=[
        Mistake(
            "You show $c'$ itself; it goes through a tanh first.",
            "sigmoid(o) * np.tanh(c)",
            "sigmoid(o) * c",
        ),
        Mistake(
            "You exchanged the gates $i$ and $f$: what to keep is $f$, what to write is $i$.",
            "sigmoid(f) * c + sigmoid(i) * np.tanh(g)",
            "sigmoid(i) * c + sigmoid(f) * np.tanh(g)",
        ),
        Mistake(
            "You sent $g$ through a sigmoid; it says what to write, and may be negative: tanh.",
            "sigmoid(i) * np.tanh(g)",
            "sigmoid(i) * sigmoid(g)",
        ),
        Mistake(
            "You replace what was kept instead of adding to it: $f \\odot c$ is missing.",
            "sigmoid(f) * c + ",
            "",
        ),
        Mistake("You left out the state: $U h$ is missing.", " + U @ h", ""),
        Mistake(
            "Your quarters are in the order i, f, o, g; here it is i, f, g, o.",
            "i, f, g, o = np",
            "i, f, o, g = np",
        ),
    ],
)
def lstm_step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x (C_in,), h, c (C,), W (4C, C_in), U (4C, C), b (4C,) to h', c' (C,)."""
    i, f, g, o = np.split(W @ x + U @ h + b, 4)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


# ----------------------------------------------------------------------------- additive attention


def _queries(draw):
    yield Case(
        "one word",
        *(draw.array(*shape) for shape in ((3,), (1, 3), (3, 3), (3, 3), (3,))),
        np.array([True]),
    )
    C, S = draw.integer(2, 5), draw.integer(4, 7)
    arrays = [draw.array(*shape) for shape in ((C,), (S, C), (C, C), (C, C), (C,))]
    yield Case("no padding", *arrays, np.ones(S, dtype=bool))
    yield Case("two words of padding", *arrays, np.arange(S) < S - 2)
    yield Case("all but one is padding", *arrays, np.arange(S) < 1)


@exercise(
    title="Additive attention",
    minutes=15,
    statement=r"""
    Give the weights with which a query $q$ looks at the memory $m_1, \dots, m_S$: the softmax of
    the scores $e_s = v^\top \tanh(W q + U m_s)$. `mask` is False for padding, which gets weight 0.
    """,
    hints=[
        "`memory @ U.T` has a row for each word; `W @ q` is added to all of them.",
        "Set the scores of padding to `-np.inf` before the softmax.",
    ],
    cases=_queries,
    returns="S",
    equivalent={
        "`scores - scores.max()` → `scores + scores.max()`": _SAME_SOFTMAX,
    },
    mistakes=[
        Mistake(
            "You set weights of padding to 0 after the softmax: the others no longer sum to 1.",
            "scores = np.where(mask, scores, -np.inf)\n    weights",
            "weights",
            "return weights",
            "return mask * weights",
        ),
        Mistake(
            "You gave padding the *score* 0; then its weight is $e^0$ and not 0.",
            "-np.inf",
            "0.0",
        ),
        Mistake(
            "Without the tanh the query shifts all scores alike, and the softmax forgets it.",
            "np.tanh(memory @ U.T + W @ q)",
            "(memory @ U.T + W @ q)",
        ),
        Mistake("You exchanged $W$ and $U$.", "memory @ U.T + W @ q", "memory @ W.T + U @ q"),
        Mistake("You used $U^\\top$ in place of $U$.", "memory @ U.T", "memory @ U"),
    ],
)
def additive_weights(
    q: np.ndarray, memory: np.ndarray, W: np.ndarray, U: np.ndarray, v: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """q (C,), memory (S, C), W, U (C, C), v (C,), mask (S,) to weights (S,)."""
    scores = np.tanh(memory @ U.T + W @ q) @ v
    scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


# ----------------------------------------------------------------------------------------- BLEU


def _translations(draw):
    yield Case("all right", list("abcd"), list("abcd"), 2)
    yield Case("the same word again and again", list("aaaa"), list("ab"), 1)
    yield Case("too short for n", list("ab"), list("abcd"), 3)
    yield Case("nothing is right", list("xyz"), list("abc"), 1)
    yield Case("a pair twice", list("ababx"), list("abcab"), 2)
    letters = "abc"
    made, wanted = ([letters[i] for i in draw.integers(0, 3, 9)] for _ in range(2))
    yield Case("random letters", made, wanted, draw.integer(1, 4))


@exercise(
    title="Counting n-grams for BLEU",
    minutes=10,
    statement=r"""
    Count for BLEU's $p_n$: how many n-grams of the translation are right, and how many it has. An
    n-gram that occurs $a$ times in the translation and $b$ times in the reference is right
    $\min(a, b)$ times.
    """,
    hints=[
        "`tuple(words[i : i + n])` can be counted with `Counter`.",
        "A text of $N$ words has $N - n + 1$ n-grams, or none.",
        "The intersection `a & b` of two counters has the smaller count of each.",
    ],
    cases=_translations,
    returns=("right: ", "made: "),
    mistakes=[
        Mistake(
            "You count an n-gram as often as the translation says it: 的的的的 would be all right.",
            "(made & wanted).total()",
            "sum(n for gram, n in made.items() if gram in wanted)",
        ),
        Mistake(
            "You count each kind of n-gram once; they count as often as they occur.",
            "(made & wanted).total(), made.total()",
            "len(made & wanted), len(made)",
        ),
        Mistake(
            "You divide by the n-grams of the reference: that measures recall, BLEU precision.",
            ", made.total()",
            ", wanted.total()",
        ),
        Mistake(
            "You lost the last n-gram: there are N - n + 1 of them.",
            "len(words) - n + 1",
            "len(words) - n",
        ),
    ],
)
def count_ngrams_for_bleu(translation: list, reference: list, n: int) -> tuple[int, int]:
    """Number of the translation's n-grams that are right, and of all."""
    made, wanted = (
        Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        for words in (translation, reference)
    )
    return (made & wanted).total(), made.total()


# -------------------------------------------------------------------------------- teacher forcing


def _targets(draw):
    yield Case("only the end", torch.tensor([[2]]), 1, 2, 0)
    yield Case("one sentence", torch.tensor([[7, 8, 9, 2]]), 1, 2, 0)
    yield Case("two lengths", torch.tensor([[7, 8, 9, 2], [5, 2, 0, 0]]), 1, 2, 0)
    yield Case("other special tokens", torch.tensor([[4, 6, 9, 8], [6, 8, 3, 3]]), 5, 8, 3)
    ids = torch.tensor(draw.integers(3, 30, 12)).reshape(3, 4)
    ends = torch.full((3, 1), 2)
    yield Case("random words", torch.cat([ids, ends], dim=1), 1, 2, 0)


@exercise(
    title="What the decoder reads",
    minutes=10,
    statement=r"""
    `targets` holds rows of token ids, each a sentence, the end token, then padding. Give what the
    decoder reads in training: the start token, then the sentence, then padding. The end token is
    never read.
    """,
    hints=[
        "Move everything one place to the right; the last column falls out.",
        "In short rows the end token is still there after the move: make it padding.",
    ],
    cases=_targets,
    returns="B T",
    mistakes=[
        Mistake(
            "You did not move the targets: the decoder reads what it is to predict.",
            "torch.cat([first, targets[:, :-1]], dim=1)",
            "targets",
        ),
        Mistake(
            "`roll` carries the last column round to the front; the start token belongs there.",
            "torch.cat([first, targets[:, :-1]], dim=1)",
            "targets.roll(1, dims=1)",
        ),
        Mistake(
            "You moved to the left: the decoder would read what comes after its target.",
            "torch.cat([first, targets[:, :-1]], dim=1)",
            "torch.cat([targets[:, 1:], first], dim=1)",
        ),
        Mistake(
            "You left the end token in short rows.",
            "read.masked_fill(read == end, pad)",
            "read",
        ),
    ],
)
def decoder_reads(targets: torch.Tensor, start: int, end: int, pad: int) -> torch.Tensor:
    """Targets (B, T) to what the decoder reads (B, T)."""
    first = torch.full_like(targets[:, :1], start)
    read = torch.cat([first, targets[:, :-1]], dim=1)
    return read.masked_fill(read == end, pad)


# ------------------------------------------------------------------------------------------ masks


def _padded(draw):
    yield Case("one word each", torch.tensor([[5]]), 1, 0)
    yield Case("no padding", torch.tensor([[5, 6, 7]]), 2, 0)
    yield Case("some padding", torch.tensor([[5, 6, 7], [5, 0, 0]]), 3, 0)
    yield Case("padding has another id", torch.tensor([[9, 0, 4, 9]]), 2, 9)
    ids = torch.tensor(draw.integers(1, 9, 8)).reshape(2, 4)
    ids[1, 2:] = 0
    yield Case("random words", ids, draw.integer(4, 7), 0)


@exercise(
    title="The masks of the encoder–decoder",
    minutes=10,
    statement=r"""
    Give the masks of the three attentions, True where a query may look, in shapes that broadcast
    to $(B, H, T_q, T_k)$: of the encoder, $(B, 1, 1, S)$; of the decoder's self-attention,
    $(1, 1, T, T)$; of the cross-attention, $(B, 1, 1, S)$. `source` is $(B, S)$, padded with `pad`;
    the target has $T$ tokens.
    """,
    hints=[
        "`source != pad` is (B, S); `[:, None, None, :]` makes it (B, 1, 1, S).",
        "`torch.ones(T, T, dtype=torch.bool).tril()` lets place t look at places 0 .. t.",
        "The keys of the cross-attention are the source's.",
    ],
    cases=_padded,
    returns=("encoder: B 1 1 S", "decoder: 1 1 T T", "cross: B 1 1 S"),
    pipeline="""
    from aigc_lab.data.tiny_world.translation import SentencePairs
    from aigc_lab.evaluation.translation import translate_pairs
    from aigc_lab.models.shipped import load_shipped

    model, vocabularies = load_shipped("translator")
    pairs = list(SentencePairs(seed=5, split="new_pairs").pairs(5))

    def my_mask(n_tokens, device=None):
        return three_masks(torch.ones(1, 1), n_tokens, 0)[1][0, 0]

    with swap("aigc_lab.models.attention.causal_mask", my_mask) as swapped:
        yours = translate_pairs(model, vocabularies, pairs)
    for pair, found in zip(pairs, yours):
        print(pair.english_text, "".join(found))

    print(f"your mask was used {swapped.calls} times: the five are written side by side, and the")
    print("longest decides when it ends")
    assert yours == translate_pairs(model, vocabularies, pairs)
    """,
    mistakes=[
        Mistake(
            "Your masks are True where a query may *not* look.",
            "source != pad",
            "source == pad",
            "return real, causal, real",
            "return real, ~causal, real",
        ),
        Mistake(
            "Your decoder looks ahead and not back: take the lower triangle.",
            ".tril()",
            ".triu()",
        ),
        Mistake(
            "Your decoder may not look at its own place; it must, or the first has nothing.",
            ".tril()",
            ".tril(-1)",
        ),
        Mistake(
            "Your decoder sees everything: the leak of this chapter.",
            ".tril()",
            "",
        ),
    ],
)
def three_masks(
    source: torch.Tensor, T: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Masks of encoder, decoder (self-attention) and cross-attention."""
    real = (source != pad)[:, None, None, :]
    causal = torch.ones(T, T, dtype=torch.bool).tril()[None, None]
    return real, causal, real


# ---------------------------------------------------------------------------------------- norms


def _streams(draw):
    yield Case("the identity", draw.array(2, 3), np.eye(3), True)
    yield Case("the identity, post-norm", draw.array(2, 3), np.eye(3), False)
    x, W = draw.array(3, 5, scale=3) + 1, draw.array(5, 5)
    yield Case("pre-norm", x, W, True)
    yield Case("post-norm", x, W, False)


@exercise(
    title="The norm in two places",
    minutes=10,
    statement=r"""
    Let the sub-layer be $f(x) = \max(0, x W)$. Put residual and layer norm around it: in pre-norm
    form if `is_pre`, else in post-norm form. The layer norm $N$ subtracts each row's mean and then
    divides by $\sqrt{v + 10^{-5}}$, $v$ being the mean square of what is left. It has no scale and
    no shift.
    """,
    hints=[
        "Pre-norm: $x + f(N(x))$. Post-norm: $N(x + f(x))$.",
        "`keepdims=True` keeps an axis of size 1 to divide by.",
    ],
    cases=_streams,
    returns="S C",
    equivalent={
        "`(x ** 2).mean(axis=-1, keepdims=True)` → `(x ** 2).mean(axis=1, keepdims=True)`": (
            _SAME_AXIS
        ),
        "`x.mean(axis=-1, keepdims=True)` → `x.mean(axis=1, keepdims=True)`": _SAME_AXIS,
    },
    mistakes=[
        Mistake(
            "You exchanged the two: pre-norm has the norm *before* the function.",
            "if is_pre",
            "if not is_pre",
        ),
        Mistake(
            "In pre-norm you add to the *normalised* stream; the stream itself must go past.",
            "x + f(norm(x))",
            "norm(x) + f(norm(x))",
        ),
        Mistake(
            "In post-norm you normalise what the function gives, not the sum.",
            "norm(x + f(x))",
            "x + norm(f(x))",
        ),
        Mistake(
            "You left out the residual connection of post-norm.", "norm(x + f(x))", "norm(f(x))"
        ),
    ],
)
def sub_layer(x: np.ndarray, W: np.ndarray, is_pre: bool) -> np.ndarray:
    """x (S, C), W (C, C) to (S, C)."""
    epsilon = 1e-5

    def f(x):
        return np.maximum(0, x @ W)

    def norm(x):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)

    return x + f(norm(x)) if is_pre else norm(x + f(x))


# -------------------------------------------------------------------------------------- schedule


def _steps(draw):
    yield Case("the first step", 1, 64, 100)
    yield Case("the last step of the warm-up", 100, 64, 100)
    yield Case("later", 400, 64, 100)
    yield Case("any step", draw.integer(2, 999), draw.integer(8, 600), draw.integer(10, 500))


@exercise(
    title="The schedule of 2017",
    minutes=5,
    statement=r"""
    Give the learning rate at step $t \ge 1$:
    $C^{-1/2} \cdot \min(t^{-1/2},\; t \cdot w^{-3/2})$, with $C$ = `d_model` and $w$ = `n_warmup`.
    """,
    hints=["At $t = w$ both terms are $w^{-1/2}$: check that yours agree there."],
    cases=_steps,
    returns="rate: ",
    mistakes=[
        Mistake(
            "You took the larger of the two: the rate falls until step w, then rises without end.",
            "min(",
            "max(",
        ),
        Mistake("You wrote $w^{-1/2}$; it is $w^{-3/2}$.", "n_warmup**-1.5", "n_warmup**-0.5"),
        Mistake("You left out the width: $C^{-1/2}$.", "d_model**-0.5 * ", ""),
        Mistake("You multiply by √C instead of dividing.", "d_model**-0.5", "d_model**0.5"),
    ],
)
def rate_of_2017(t: int, d_model: int, n_warmup: int) -> float:
    """The learning rate at step t, counted from 1."""
    return d_model**-0.5 * min(t**-0.5, t * n_warmup**-1.5)


# ------------------------------------------------------------------------------- label smoothing


def _predictions(draw):
    yield Case("one word, no smoothing", torch.zeros(1, 3), torch.tensor([1]), 0.0, 0)
    yield Case("one word", torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([1]), 0.1, 0)
    logits = torch.tensor(draw.array(5, 6, scale=2))
    yield Case("five words", logits, torch.tensor([3, 4, 1, 5, 2]), 0.1, 0)
    yield Case("with padding", logits, torch.tensor([3, 4, 2, 0, 0]), 0.2, 0)
    yield Case("padding has another id", logits, torch.tensor([3, 0, 5, 5, 5]), 0.3, 5)


@exercise(
    title="Label smoothing",
    minutes=15,
    statement=r"""
    Give the mean cross-entropy, in nats, with smoothed targets: the right word has the probability
    $1 - \varepsilon + \varepsilon / V$, every other word $\varepsilon / V$. Places whose target is
    `pad` do not count.
    """,
    hints=[
        "`logits.log_softmax(-1)` is (T, V).",
        "The sum over words splits: $(1 - \\varepsilon)$ times the right word's log-probability, "
        "plus $\\varepsilon$ times the mean over all words.",
        "Divide by the number of real targets, not by T.",
    ],
    cases=_predictions,
    returns="loss: ",
    gradients="logits",
    equivalent={
        "`log_p.gather(-1, targets[:, None])[:, 0]` → "
        "`log_p.gather(-1, targets[:, None])[:, -1]`": "the only column is first and last",
        "`log_p.gather(-1, targets[:, None])` → `log_p.gather(1, targets[:, None])`": _SAME_AXIS,
        "`log_p.mean(dim=-1)` → `log_p.mean(dim=1)`": _SAME_AXIS,
        "`logits.log_softmax(dim=-1)` → `logits.log_softmax(dim=1)`": _SAME_AXIS,
    },
    mistakes=[
        Mistake(
            "You average over padding, too.",
            "losses[real].mean()",
            "losses.mean()",
        ),
        Mistake(
            "You counted padding as a loss of 0: divide by the number of real targets.",
            "losses[real].mean()",
            "(losses * real).mean()",
        ),
        Mistake(
            "You spread ε over the other words only; here all V words share it.",
            "log_p.mean(dim=-1)",
            "(log_p.sum(dim=-1) - right) / (log_p.shape[-1] - 1)",
        ),
        Mistake(
            "You *sum* over the words; ε is shared, so it is their mean.",
            "log_p.mean(dim=-1)",
            "log_p.sum(dim=-1)",
        ),
        Mistake(
            "You left the whole probability with the right word and added ε on top.",
            "(1 - epsilon) * right",
            "right",
        ),
    ],
)
def smoothed_loss(
    logits: torch.Tensor, targets: torch.Tensor, epsilon: float, pad: int
) -> torch.Tensor:
    """Logits (T, V), targets (T,) to the mean loss, a scalar."""
    log_p = logits.log_softmax(dim=-1)
    right = log_p.gather(-1, targets[:, None])[:, 0]
    losses = -((1 - epsilon) * right + epsilon * log_p.mean(dim=-1))
    real = targets != pad
    return losses[real].mean()


# --------------------------------------------------------------------------------- a whole layer


def _layers(draw):
    yield Case("one token, one head", *_layer(draw, 1, 1, 2), 1)
    yield Case("one head", *_layer(draw, 3, 4, 4), 1)
    yield Case("two heads", *_layer(draw, 4, 3, 6), 2)
    yield Case("long source", *_layer(draw, 2, draw.integer(5, 8), 8), 4)


def _layer(draw, T, S, C):
    names = [f"{kind}_{name}" for kind in ("self", "cross") for name in "qkvo"]
    weights = {name: draw.array(C, C, scale=0.5) for name in names}
    weights |= {"up": draw.array(C, 2 * C, scale=0.5), "down": draw.array(2 * C, C, scale=0.5)}
    return draw.array(T, C), draw.array(S, C), weights


@exercise(
    title="A decoder layer from nothing",
    minutes=60,
    statement=r"""
    Write the whole decoder layer in numpy, pre-norm, for one sentence: masked self-attention, then
    cross-attention into `memory`, then the feed-forward network $\max(0, x W_{up}) W_{down}$, each
    as $x + f(N(x))$. The layer norm $N$ has no scale and shift, and $10^{-5}$ under the root; the
    memory is not normalised. There are no biases: a projection is `x @ w["self_q"]`. `w` holds
    "self_q", "self_k", "self_v", "self_o" and the same with "cross_", each $(C, C)$, and "up" and
    "down", $(C, F)$ and $(F, C)$. The columns of a query, key or value belong to the heads in
    order, $D = C/H$ to each; scores are divided by $\sqrt D$.
    """,
    hints=[
        "One function `attention(x, context, name, mask)` serves both attentions.",
        "`x.reshape(T, H, D).transpose(1, 0, 2)` is (H, T, D).",
        "`np.tril(np.ones((T, T), dtype=bool))` for the self-attention; no mask for the other.",
        "Side by side again: `.transpose(1, 0, 2).reshape(T, C)`, then times `o`.",
    ],
    cases=_layers,
    returns="T C",
    equivalent={
        "`scores - scores.max(axis=-1, keepdims=True)` → "
        "`scores + scores.max(axis=-1, keepdims=True)`": _SAME_SOFTMAX,
        "`y.reshape(len(y), n_heads, -1)` → `y.reshape(len(y), n_heads, -2)`": (
            "numpy takes any negative length as the one to be found"
        ),
        "`(x ** 2).mean(axis=-1, keepdims=True)` → `(x ** 2).mean(axis=1, keepdims=True)`": (
            _SAME_AXIS
        ),
        "`x.mean(axis=-1, keepdims=True)` → `x.mean(axis=1, keepdims=True)`": _SAME_AXIS,
    },
    mistakes=[
        Mistake(
            "Your decoder looks ahead: the self-attention needs a mask.",
            "np.tril(np.ones((T, T), dtype=bool))",
            "np.ones((T, T), dtype=bool)",
        ),
        Mistake(
            "Your cross-attention takes keys and values from the target, not from the memory.",
            "attention(norm(x), memory, ",
            "attention(norm(x), norm(x), ",
        ),
        Mistake("You forgot to divide the scores by √D.", " / np.sqrt(q.shape[-1])", ""),
        Mistake(
            "You divided by √C; each head has D = C/H numbers.",
            "np.sqrt(q.shape[-1])",
            "np.sqrt(x.shape[-1])",
        ),
        Mistake(
            "You cut the heads by `reshape` alone, without `transpose`: that mixes tokens.",
            "y.reshape(len(y), n_heads, -1).transpose(1, 0, 2)",
            "y.reshape(n_heads, len(y), -1)",
        ),
        Mistake(
            "You put the heads back by `reshape` alone: `transpose` them back first.",
            "(weights @ v).transpose(1, 0, 2).reshape",
            "(weights @ v).reshape",
        ),
        Mistake(
            "You left out the residual connection of the cross-attention.",
            "x = x + attention(norm(x), memory",
            "x = attention(norm(x), memory",
        ),
        Mistake(
            "At the end you add to the *normalised* stream; the stream itself must go past.",
            "return x + np.maximum(0, norm(x) @",
            "return norm(x) + np.maximum(0, norm(x) @",
        ),
    ],
)
def decoder_layer(
    x: np.ndarray, memory: np.ndarray, w: dict[str, np.ndarray], n_heads: int
) -> np.ndarray:
    """x (T, C), memory (S, C) to (T, C)."""
    T, C = x.shape

    def norm(x):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)

    def heads(y):
        return y.reshape(len(y), n_heads, -1).transpose(1, 0, 2)

    def attention(x, context, name, mask):
        q = heads(x @ w[f"{name}_q"])
        k, v = heads(context @ w[f"{name}_k"]), heads(context @ w[f"{name}_v"])
        scores = np.where(mask, q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]), -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return (weights @ v).transpose(1, 0, 2).reshape(T, C) @ w[f"{name}_o"]

    x = x + attention(norm(x), norm(x), "self", np.tril(np.ones((T, T), dtype=bool)))
    x = x + attention(norm(x), memory, "cross", True)
    return x + np.maximum(0, norm(x) @ w["up"]) @ w["down"]


# -------------------------------------------------------------------------------------- questions

too_good = question(
    "too_good",
    title="Too good to be true",
    minutes=10,
    statement=r"""
    A colleague trains a translator. Its loss is far below that of your correct model, and every
    translation that it writes is nonsense. Which two mistakes of this chapter look like this?
    How do you find out which one it is, without training anything?
    """,
    answer=r"""
    The decoder knows its target: either it reads the target unshifted, or its mask lets it see what
    comes later, which at place $t$ includes the target of place $t$. Both make training a matter of
    copying, and when the model writes there is nothing to copy. For the shift print one row of what
    the decoder reads beside one row of targets: the first must begin with the start token and be
    one place behind. For the mask change a late token of what the decoder reads: no earlier logit
    may move.
    """,
)

one_vector = question(
    "one_vector",
    title="How much fits into one vector?",
    minutes=10,
    statement=r"""
    The state $h$ and $c$ of the quick model, 128 numbers in float32, has 4,096 bits. Choose a
    sentence of this chapter and estimate how many bits it carries: the logarithm, to base 2, of
    the number of sentences that might have stood there. Why then is the state a bottleneck?
    """,
    answer=r"""
    A sentence of two clauses has perhaps ten choices among two to twenty words: some 30 to 40 bits,
    a hundredth of what the state has. But what could be stored is not what a network can write,
    keep and read. The state is rewritten at every word by one smooth function, which has to place
    each new word so that it does not disturb the others, for all orders of words; and the decoder
    has to find, again by a smooth function, just the part that it needs next. What is told apart
    by the last bits of a number cannot be read in this way: it would take weights so large that
    training cannot find them. Attention needs none of this: what was said stays where it was said,
    and reading is a comparison.
    """,
)
