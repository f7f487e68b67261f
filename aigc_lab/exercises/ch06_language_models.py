"""Exercises of chapter 06, language models and GPT."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

_SAME_AXIS = "the same axis, counted from the other end"

# ---------------------------------------------------------------------------------------- measures


def _probabilities(draw):
    yield Case("one token, sure", np.array([1.0]), 1)
    yield Case("a fair coin, three times", np.array([0.5, 0.5, 0.5]), 3)
    yield Case("four letters to a token", np.array([0.25, 1 / 16]), 8)
    n = draw.integer(3, 9)
    yield Case("a longer text", np.exp(-np.abs(draw.array(n, scale=3))), n * draw.integer(2, 6))


@exercise(
    title="One text, three numbers",
    minutes=5,
    statement=r"""
    A model gave these probabilities to the tokens of a text as they came; the text has `n_bytes`
    bytes. Report the loss in nats per token, the perplexity, and bits per *byte*.
    """,
    hints=[
        "The loss is the mean of minus the logarithms, and the perplexity its exponential.",
        "For bits per byte take the *sum* over the text. One nat is 1/log 2 bits.",
    ],
    cases=_probabilities,
    returns=("nats_per_token: ", "perplexity: ", "bits_per_byte: "),
    mistakes=[
        Mistake(
            "You divided the nats per *token* by the bytes of the whole text; the sum belongs "
            "there.",
            "nats.sum() / math.log(2)",
            "nats.mean() / math.log(2)",
        ),
        Mistake(
            "You report nats per byte; one nat is 1.44 bits.",
            "nats.sum() / math.log(2) / n_bytes",
            "nats.sum() / n_bytes",
        ),
        Mistake(
            "You multiplied by log 2 where nats become bits; a bit is the smaller unit, so there "
            "are more of them.",
            "/ math.log(2)",
            "* math.log(2)",
        ),
        Mistake(
            "You took the perplexity as 2 to the power of the loss, but the loss is in nats.",
            "math.exp(nats.mean())",
            "2 ** float(nats.mean())",
        ),
        Mistake(
            "You averaged 1/p. The perplexity is the *geometric* mean of 1/p, the exponential of "
            "the mean loss.",
            "math.exp(nats.mean())",
            "float((1 / probabilities).mean())",
        ),
    ],
)
def three_measures(probabilities: np.ndarray, n_bytes: int) -> tuple[float, float, float]:
    """Loss in nats per token, perplexity, and bits per byte.

    probabilities: of the tokens of the text, (N,), float64.
    n_bytes: length of the same text in bytes.
    """
    nats = -np.log(probabilities)
    bits = nats.sum() / math.log(2) / n_bytes
    return float(nats.mean()), math.exp(nats.mean()), float(bits)


# ------------------------------------------------------------------------------------------ shifts


def _rows(draw):
    yield Case("one pair", np.array([[3, 5]]), 0)
    yield Case("nothing to predict", np.array([[4, 0, 0]]), 0)
    yield Case("no padding", np.array([draw.integers(1, 9, 6)]), 0)
    yield Case("padding with another id", np.array([[7, 2, 9, 9], [0, 1, 0, 9]]), 9)
    rows = np.array([draw.integers(1, 9, 7) for _ in range(3)])
    for row, n in zip(rows, (7, 4, 2), strict=True):
        row[n:] = 0
    yield Case("three rows of different length", rows, 0)


@exercise(
    title="Input here, target there",
    minutes=10,
    statement=r"""
    Make inputs and targets from rows of token ids that are padded on the right. At each position
    the target is the *next* token of the row. A target that is padding must not count: it becomes
    −100, which torch's `cross_entropy` leaves out. Leave the rows that you are given as they are.
    """,
    hints=[
        "Both have one column less than the rows. Which column of the rows is never an input, and "
        "which is never a target?",
        "`np.where(condition, a, b)` makes a new array and leaves the old one alone.",
    ],
    cases=_rows,
    returns=("inputs: B T", "targets: B T"),
    mistakes=[
        Mistake(
            "Your targets are the inputs themselves: the model is asked for the token that it "
            "sees.",
            "np.where(rows == padding, -100, rows)[:, 1:]",
            "np.where(rows == padding, -100, rows)[:, :-1]",
        ),
        Mistake(
            "You shifted in the wrong direction: the model is asked for the token *before*.",
            "rows[:, :-1], np.where(rows == padding, -100, rows)[:, 1:]",
            "rows[:, 1:], np.where(rows == padding, -100, rows)[:, :-1]",
        ),
        Mistake(
            "The padding counts as a target.",
            "np.where(rows == padding, -100, rows)[:, 1:]",
            "rows[:, 1:]",
        ),
        Mistake(
            "You leave out targets whose *input* is padding; it is the target that must not be. "
            "The first padding after a text would still count.",
            "np.where(rows == padding, -100, rows)[:, 1:]",
            "np.where(rows[:, :-1] == padding, -100, rows[:, 1:])",
        ),
        Mistake(
            "You put −100 into the inputs too; there is no such row in the embedding table.",
            "return rows[:, :-1],",
            "return np.where(rows == padding, -100, rows)[:, :-1],",
        ),
        Mistake(
            "You took 0 for the padding; which id it is, the second argument says.",
            "rows == padding",
            "rows == 0",
        ),
    ],
)
def next_token_targets(rows: np.ndarray, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids (B, T + 1) to inputs (B, T) and targets (B, T)."""
    return rows[:, :-1], np.where(rows == padding, -100, rows)[:, 1:]


# ------------------------------------------------------------------------------------- kneser-ney


def _texts(draw):
    yield Case("one pair", [0, 1], 0, 2, 0.5)
    yield Case("a context never seen", [0, 1, 0, 1], 2, 3, 0.5)
    yield Case("the text's last token, seen once", [0, 1, 0, 2], 2, 3, 0.75)
    yield Case("the text of the chapter", [0, 1, 0, 2, 0, 1, 2, 0], 0, 3, 0.5)
    yield Case("frequent, but after one token only", [1, 2] * 6 + [0, 3, 4, 3, 1, 3, 0], 4, 5, 0.75)
    n, vocab = draw.integer(15, 40), draw.integer(4, 7)
    text = draw.integers(0, vocab, n)
    yield Case("a random text", text, text[draw.integer(0, n - 1)], vocab, 0.6)


@exercise(
    title="Kneser–Ney from the formula",
    minutes=30,
    statement=r"""
    Write the interpolated Kneser–Ney model for $n = 2$: the probabilities of all $V$ tokens after
    one token $h$.

    $$
    p(w \mid h) = \frac{\max(c(hw) - d, 0)}{c(h\,\cdot)} + \frac{d\,N(h\,\cdot)}{c(h\,\cdot)}\,
    p(w), \qquad
    p(w) = \frac{\max(N(\cdot\,w) - d, 0)}{\sum_v N(\cdot\,v)} +
    \frac{d\,N_+}{\sum_v N(\cdot\,v)} \cdot \frac1V .
    $$

    $c(hw)$ counts how often $w$ followed $h$, and $c(h\,\cdot)$ how often anything did;
    $N(h\,\cdot)$ is the number of different tokens after $h$, $N(\cdot\,w)$ of different tokens
    before $w$, and $N_+$ the number of tokens with $N(\cdot\,w) > 0$. After an $h$ that nothing
    followed, $p(w \mid h) = p(w)$.
    """,
    hints=[
        "A matrix of counts, one row per first token, holds everything: `counts[h, w]`.",
        "`(counts > 0)` counts *different* tokens: its sum over a row is $N(h\\,\\cdot)$, its sum "
        "over a column $N(\\cdot\\,w)$.",
        "The same function, applied to the row of h and to the sums of the columns, gives both "
        "lines: from each count take d, share out what was taken.",
    ],
    cases=_texts,
    returns="V",
    mistakes=[
        Mistake(
            "Your p(w) counts how often w occurred; it should count the different tokens before w.",
            "(counts > 0).sum(axis=0)",
            "counts.sum(axis=0)",
        ),
        Mistake(
            "You count the different tokens *after* w, not before it.",
            "(counts > 0).sum(axis=0)",
            "(counts > 0).sum(axis=1)",
        ),
        Mistake(
            "Probabilities do not sum to 1: you discount, but you do not hand on what was taken.",
            " + given_away * shorter",
            "",
        ),
        Mistake(
            "You hand on d / c(h·) only; d was taken from each of N(h·) counts.",
            "discount * (row > 0).sum() / row.sum()",
            "discount / row.sum()",
        ),
        Mistake(
            "You hand on d for every token of the vocabulary; those with a count of 0 gave nothing "
            "away.",
            "discount * (row > 0).sum()",
            "discount * len(row)",
        ),
        Mistake(
            "A count of 0 minus d is negative, and so are your probabilities; cut off at 0.",
            "np.maximum(row - discount, 0)",
            "(row - discount)",
        ),
        Mistake(
            "You divide by 0 after a token that nothing followed; there p(w) must do.",
            "    if not counts[context].any():\n        return shorter\n",
            "",
        ),
        Mistake(
            "After a token that nothing followed you give every token the same; p(w) knows more.",
            "        return shorter\n",
            "        return np.full(vocab_size, 1 / vocab_size)\n",
        ),
        Mistake(
            "Your p(w) is not smoothed: tokens that never occurred get probability 0.",
            "mix((counts > 0).sum(axis=0), np.full(vocab_size, 1 / vocab_size))",
            "(counts > 0).sum(axis=0) / (counts > 0).sum()",
        ),
    ],
)
def kneser_ney_after(
    tokens: list[int], context: int, vocab_size: int, discount: float
) -> np.ndarray:
    """Probabilities (V,) of the next token after the token `context`."""
    counts = np.zeros((vocab_size, vocab_size))
    for first, second in zip(tokens, tokens[1:], strict=False):
        counts[first, second] += 1

    def mix(row, shorter):
        kept = np.maximum(row - discount, 0) / row.sum()
        given_away = discount * (row > 0).sum() / row.sum()
        return kept + given_away * shorter

    shorter = mix((counts > 0).sum(axis=0), np.full(vocab_size, 1 / vocab_size))
    if not counts[context].any():
        return shorter
    return mix(counts[context], shorter)


# --------------------------------------------------------------------------------- parts of a block


def _activations(draw):
    yield Case("one number", draw.tensor(1, 1, 1), draw.tensor(1), 1e-5)
    yield Case("one token", draw.tensor(1, 1, 4), torch.ones(4), 1e-5)
    yield Case("a large eps", draw.tensor(1, 2, 4), draw.tensor(4), 0.5)
    yield Case("not centred", 3 + draw.tensor(2, 3, 5), draw.tensor(5), 1e-5)
    yield Case("random numbers", draw.tensor(2, 3, 6, scale=4), draw.tensor(6), 1e-3)


@exercise(
    title="RMSNorm",
    minutes=5,
    statement=r"""
    Divide each vector by the root of its mean square and multiply by the weights:
    $x_i \, w_i \big/ \sqrt{\tfrac1C \sum_j x_j^2 + \epsilon}$.
    """,
    hints=["`x.pow(2).mean(dim=-1, keepdim=True)` keeps an axis of size 1 to divide by."],
    cases=_activations,
    returns="B T C",
    gradients="x weight",
    mistakes=[
        Mistake(
            "You subtract the mean first; that is LayerNorm. RMSNorm only divides.",
            "x.pow(2)",
            "(x - x.mean(dim=-1, keepdim=True)).pow(2)",
            "return x /",
            "return (x - x.mean(dim=-1, keepdim=True)) /",
        ),
        Mistake(
            "You divide by the norm: the root of the *sum* of squares, too much by √C.",
            ".mean(dim=-1, keepdim=True)",
            ".sum(dim=-1, keepdim=True)",
        ),
        Mistake(
            "You divide by the mean square, not by its root.", "(square + eps).sqrt()", "square"
        ),
        Mistake(
            "You add eps to the root; it belongs under the root.",
            "(square + eps).sqrt()",
            "(square.sqrt() + eps)",
        ),
        Mistake("You forgot the weights.", " * weight", ""),
        Mistake(
            "You take the mean over all tokens; each vector has its own.",
            ".mean(dim=-1, keepdim=True)",
            ".mean()",
        ),
    ],
)
def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """(B, T, C) to (B, T, C); weight is (C,)."""
    square = x.pow(2).mean(dim=-1, keepdim=True)  # (B, T, 1)
    return x / (square + eps).sqrt() * weight


def _swiglu_inputs(draw):
    yield Case("one token, one number", draw.tensor(1, 1, 1), draw.tensor(2, 1), draw.tensor(1, 1))
    yield Case("large gates", draw.tensor(1, 2, 3, scale=9), draw.tensor(8, 3), draw.tensor(3, 4))
    yield Case("as wide as the model", draw.tensor(2, 2, 4), draw.tensor(8, 4), draw.tensor(4, 4))
    f, c = draw.integer(2, 7), draw.integer(2, 6)
    yield Case("a batch", draw.tensor(2, 3, c), draw.tensor(2 * f, c), draw.tensor(c, f))


@exercise(
    title="SwiGLU",
    minutes=10,
    statement=r"""
    Write the feed-forward network of LLaMA. `gate_up` holds two matrices on top of each other: the
    first $F$ rows make the gate $g$, the last $F$ rows make $u$. The output is
    $W_{\text{down}}\,(\operatorname{silu}(g) \odot u)$ with
    $\operatorname{silu}(g) = g / (1 + e^{-g})$ and $\odot$ the product number by number. Matrices
    have the shapes of `nn.Linear.weight`: outputs by inputs.
    """,
    hints=[
        "`x @ gate_up.T` gives (B, T, 2F); `chunk(2, dim=-1)` cuts it in halves.",
        "`F.silu` has it all; by hand it is `g * torch.sigmoid(g)`.",
    ],
    cases=_swiglu_inputs,
    returns="B T C",
    gradients="x gate_up down",
    pipeline='''
    from aigc_lab.models.gpt import GPT, GPTConfig


    def in_the_model(self, x):
        """The model's own weights, and your function."""
        return swiglu(x, self.gate_up.weight, self.down.weight)


    torch.manual_seed(0)
    model = GPT(GPTConfig(50, context_length=16, d_model=32, n_layers=3))
    tokens = torch.randint(50, (2, 16))
    with torch.no_grad():
        book = model(tokens)
        with swap("aigc_lab.models.gpt.SwiGLU.forward", in_the_model) as swapped:
            yours = model(tokens)
    difference = (book - yours).abs().max().item()
    print(f"your function ran {swapped.calls} times, once a block;")
    print(f"the logits differ by {difference:.0e} at most")
    assert swapped.calls == 3 and difference < 1e-5
    ''',
    mistakes=[
        Mistake(
            "You put SiLU on the other half: the first F rows make the gate.",
            "gate, up = ",
            "up, gate = ",
        ),
        Mistake(
            "Your gate is a sigmoid (that is GLU); SiLU multiplies it by the gate once more.",
            "F.silu(gate)",
            "torch.sigmoid(gate)",
        ),
        Mistake("You forgot the SiLU: both halves are linear.", "F.silu(gate)", "gate"),
        Mistake("You put SiLU on both halves.", " * up)", " * F.silu(up))"),
        Mistake("Your gate goes through GELU; that is GEGLU.", "F.silu(gate)", "F.gelu(gate)"),
        Mistake("You add the two halves; one multiplies the other.", " * up)", " + up)"),
        Mistake(
            "You took every second row for the gate; the two matrices stand on top of each other.",
            "(x @ gate_up.T).chunk(2, dim=-1)",
            "(x @ gate_up.T).unflatten(-1, (-1, 2)).unbind(-1)",
        ),
    ],
)
def swiglu(x: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """(B, T, C) to (B, T, C); gate_up is (2F, C), down is (C, F)."""
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T


# ------------------------------------------------------------------------------------------- sizes


def _architectures(draw):
    yield Case("the smallest", 2, 2, 1, 1, 1, 1, True)
    yield Case("the smallest, untied", 2, 2, 1, 1, 1, 1, False)
    yield Case("one key head", 10, 8, 2, 4, 1, 3, True)
    yield Case("LLaMA 7B", 32_000, 4096, 32, 32, 32, 11_008, False)
    yield Case("no blocks", 100, 16, 0, 4, 4, 40, True)
    group, n_kv = draw.integer(2, 5), draw.integer(1, 4)
    heads = group * n_kv
    width, layers = heads * 2 * draw.integer(1, 9), draw.integer(2, 9)
    yield Case("another", draw.integer(50, 900), width, layers, heads, n_kv, 3 * width, False)


@exercise(
    title="Parameters on paper",
    minutes=15,
    statement=r"""
    How many parameters does a LLaMA have? Its parts are: an embedding table; in each block two
    RMSNorms, an attention whose $H_{kv}$ key and value heads may be fewer than its $H$ query heads,
    and a SwiGLU that is `d_ff` wide inside; a last RMSNorm; and an output layer, which is the
    embedding table itself if the weights are tied. There are no biases, and RoPE has no parameters.
    """,
    hints=[
        "An RMSNorm has one number per entry of the vector. SwiGLU has three matrices.",
        "A head is C / H wide, for keys and values too. Which two of the four projections of "
        "attention are C × C?",
    ],
    cases=_architectures,
    mistakes=[
        Mistake(
            "You counted two matrices for SwiGLU, as for GELU; it has three.",
            "3 * d_model * d_ff",
            "2 * d_model * d_ff",
        ),
        Mistake(
            "You gave keys and values C × C parameters; they have only H_kv heads.",
            "2 * d_model * n_kv_heads * head_dim",
            "2 * d_model * d_model",
        ),
        Mistake(
            "You forgot the matrix that mixes the heads after attention.",
            "2 * d_model * d_model +",
            "d_model * d_model +",
        ),
        Mistake(
            "You forgot the last norm, which stands before the output.",
            " + d_model + tables",
            " + tables",
        ),
        Mistake("You forgot the norms in the blocks.", " + 2 * d_model)", ")"),
        Mistake(
            "You counted the table twice although it is shared.",
            "(1 if tied else 2)",
            "2",
        ),
        Mistake(
            "You counted the table once although the output layer has one of its own.",
            "(1 if tied else 2)",
            "1",
        ),
    ],
)
def llama_parameters(
    vocab_size: int,
    d_model: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int,
    tied: bool,
) -> int:
    """Number of parameters of a LLaMA."""
    head_dim = d_model // n_heads
    attention = 2 * d_model * d_model + 2 * d_model * n_kv_heads * head_dim
    feed_forward = 3 * d_model * d_ff
    tables = vocab_size * d_model * (1 if tied else 2)
    return n_layers * (attention + feed_forward + 2 * d_model) + d_model + tables


# ------------------------------------------------------------------------------------------- leaks


class _Mixer:
    """A stand-in for a language model: each position mixes the vectors of some tokens."""

    def __init__(self, mix: torch.Tensor, table: torch.Tensor):
        self.mix, self.table = mix, table  # (T, T), (V, V)

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (1, T) to logits (1, T, V)."""
        if tokens.min() < 0 or tokens.max() >= len(self.table):
            raise ValueError(f"an id of {tokens.tolist()} is outside 0 .. {len(self.table) - 1}")
        return self.mix @ self.table[tokens]

    def __repr__(self) -> str:
        return f"<a model with {len(self.table)} ids>"


def _models(draw):
    def model(length, vocab, leaks=()):
        mix = draw.tensor(length, length).tril() + torch.eye(length)
        for position, seen in leaks:
            mix[position, seen] = 0.01
        tokens = torch.tensor([draw.integers(0, vocab, length)])
        tokens[0, -1] = vocab - 1  # the largest id there is
        return _Mixer(mix, draw.tensor(vocab, vocab)), tokens, vocab

    yield Case("no leak", *model(4, 3))
    yield Case("two tokens, one leak", *model(2, 2, [(0, 1)]))
    yield Case("the first position sees the last token", *model(5, 6, [(0, 4)]))
    yield Case("one position sees its own target", *model(6, 4, [(2, 3)]))
    every = [(t, t + 1) for t in range(6)]
    yield Case("every position sees its own target", *model(7, 5, every))
    quiet, tokens, vocab = model(4, 5, [(0, 2)])
    quiet.table[:, 0] = 0  # one logit never moves,
    quiet.table[:, -1] = -quiet.table[:, :-1].sum(-1)  # and the changes cancel
    yield Case("a leak whose changes sum to 0", quiet, tokens, vocab)
    for name, amount in [("only a rounding error", 1e-7), ("a faint leak", 3e-5)]:
        faint, tokens, vocab = model(4, 5)
        faint.mix[0, 2] = amount
        yield Case(name, faint, tokens, vocab)
    far = [(draw.integer(0, 3), draw.integer(3, 8)) for _ in range(2)]
    yield Case("a few leaks", *model(8, 5, far))


@exercise(
    title="Catch a leak",
    minutes=20,
    statement=r"""
    Write the test that every causal model must pass. For each position $t$, put another token there
    and leave the rest as it is. List the positions $t$ whose token changed any logit *before* $t$,
    by more than 0.00001. An honest model gives an empty list. `model(tokens)` takes ids of shape
    $(1, T)$, all smaller than `vocab_size` (which is at least 2), and gives logits of shape
    $(1, T, V)$.
    """,
    hints=[
        "Change a copy, `tokens.clone()`, or the changes pile up.",
        "`(token + 1) % vocab_size` is another token, and never outside the vocabulary.",
        "Compare `[:, :t]`: the logits at t itself may change, and should.",
    ],
    cases=_models,
    equivalent={
        "`tokens[:, t] + 1` → `tokens[:, t] - 1`": "that is another token too",
        "`(model(changed) - before).abs() > 1e-05` → `(model(changed) - before).abs() >= 1e-05`": (
            "no change is exactly 0.00001"
        ),
    },
    pipeline='''
    from aigc_lab.models.gpt import GPT, GPTConfig


    def centres_over_time(self, x, rope, mask, cache):
        """Bug: a "normalisation" that takes the mean over the tokens, later ones included."""
        return x - x.mean(dim=1, keepdim=True)


    torch.manual_seed(0)
    model = GPT(GPTConfig(50, context_length=12, d_model=32, n_layers=2))
    tokens = torch.randint(50, (1, 12))
    with torch.no_grad():
        honest = leaking_positions(model, tokens, 50)
        with swap("aigc_lab.models.gpt.Block.forward", centres_over_time):
            leaky = leaking_positions(model, tokens, 50)
    print("the book's GPT:           ", honest)
    print("with a mean over the text:", leaky)
    assert honest == [] and leaky == list(range(1, 12))
    ''',
    mistakes=[
        Mistake(
            "You also compare the logits at t itself; they may see token t, so they do change.",
            "[:, :t]",
            "[:, : t + 1]",
        ),
        Mistake(
            "You do not start from the original tokens each time: the changes pile up, and a leak "
            "is blamed on later positions too.",
            "changed = tokens.clone()",
            "changed = tokens if t == 0 else changed",
        ),
        Mistake(
            "You look at the position just before t only; a leak may reach further back.",
            "[:, :t]",
            "[:, max(t - 1, 0) : t]",
        ),
        Mistake(
            "You change the last position only; another token may leak.",
            "range(tokens.shape[1])",
            "[tokens.shape[1] - 1]",
        ),
        Mistake(
            "You put token 0 everywhere: where it stood already, nothing changes.",
            "(tokens[:, t] + 1) % vocab_size",
            "0",
        ),
        Mistake(
            "You report the positions that were *reached*; those are asked for that leaked.",
            "found.append(t)",
            "found += [s for s in range(t) if moved[0, s].any()]",
        ),
    ],
)
def leaking_positions(
    model: Callable[[torch.Tensor], torch.Tensor], tokens: torch.Tensor, vocab_size: int
) -> list[int]:
    """Positions whose token changes logits before them, in rising order.

    model: takes tokens (1, T), gives logits (1, T, V).
    tokens: (1, T).
    """
    before = model(tokens)
    found = []
    for t in range(tokens.shape[1]):
        changed = tokens.clone()
        changed[:, t] = (tokens[:, t] + 1) % vocab_size
        moved = (model(changed) - before).abs() > 1e-5  # (1, T, V)
        if moved[:, :t].any():
            found.append(t)
    return found


# ------------------------------------------------------------------------------------ a whole block


def _blocks(draw):
    def weights(C, F):
        shapes = {"attention.qkv": (3 * C, C), "attention.out": (C, C)}
        shapes |= {"feed_forward.up": (F, C), "feed_forward.down": (C, F)}
        made = {}
        for name, shape in shapes.items():
            made[f"{name}.weight"] = draw.array(*shape, scale=shape[1] ** -0.5)
            made[f"{name}.bias"] = draw.array(shape[0], scale=0.3)
        for name in ("attention_norm", "feed_forward_norm"):
            made[f"{name}.weight"] = 1 + draw.array(C, scale=0.3)
            made[f"{name}.bias"] = draw.array(C, scale=0.3)
        return made

    yield Case("one token", draw.array(1, 4), weights(4, 6), 2)
    yield Case("one head", draw.array(3, 2), weights(2, 4), 1)
    yield Case("three tokens, two heads", draw.array(3, 4), weights(4, 5), 2)
    T, D, H = draw.integer(4, 7), draw.integer(2, 4), draw.integer(2, 4)
    sharp = weights(4, 4)
    sharp["attention.qkv.weight"] *= 30
    yield Case("large scores", draw.array(3, 4), sharp, 2)
    yield Case("larger", 1 + draw.array(T, H * D, scale=2), weights(H * D, 4 * H * D), H)


@exercise(
    title="A block of GPT-2, in numpy",
    minutes=60,
    statement=r"""
    Write one whole block: $x + \operatorname{attention}(\operatorname{norm}(x))$, and then the same
    with the feed-forward network. `weights_of` has the names of the model in the book:
    `attention_norm`, `attention.qkv`, `attention.out`, `feed_forward_norm`, `feed_forward.up` and
    `feed_forward.down`, each with `.weight` and `.bias`.

    - The norm is LayerNorm with $\epsilon = 10^{-5}$ under the root.
    - Matrices have the shapes of `nn.Linear.weight`, outputs by inputs. The rows of `qkv` make all
      queries, then all keys, then all values; the heads stand side by side in each.
    - Attention is causal, and scores are divided by the root of the head's width.
    - GELU is $\tfrac12 x \bigl(1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\,x^3))\bigr)$.

    The pipeline then puts your block into GPT-2 and compares the logits with those of
    `transformers`.
    """,
    hints=[
        "Write small functions inside yours: `linear(name, x)`, `norm(name, x)`, and keep each "
        "shape in a comment.",
        "`np.split(linear('attention.qkv', x), 3, axis=1)` gives q, k and v of shape (T, C). To "
        "heads: `.reshape(T, n_heads, D).transpose(1, 0, 2)`.",
        "To hide the future: `np.triu(np.ones((T, T), bool), 1)` marks it; set these scores to −∞ "
        "before the softmax.",
    ],
    cases=_blocks,
    returns="T C",
    equivalent={
        "`x.mean(axis=-1, keepdims=True)` → `x.mean(axis=1, keepdims=True)`": _SAME_AXIS,
        "`x.var(axis=-1, keepdims=True)` → `x.var(axis=1, keepdims=True)`": _SAME_AXIS,
    },
    pipeline='''
    import tempfile

    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    from aigc_lab.models.gpt import GPT, GPTConfig
    from aigc_lab.models.huggingface import to_huggingface

    transformers_logging.set_verbosity_error()


    def in_the_model(self, x, rope, mask, cache):
        """Your block with the model's weights, one sequence after the other."""
        weights = {name: p.double().numpy() for name, p in self.state_dict().items()}
        n_heads = self.attention.config.n_heads
        rows = [gpt2_block(row.double().numpy(), weights, n_heads) for row in x]
        return torch.tensor(np.array(rows)).float()


    torch.manual_seed(0)
    model = GPT(GPTConfig.gpt2(vocab_size=80, context_length=16, d_model=32, n_layers=3, n_heads=4))
    tokens = torch.randint(80, (2, 16))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        to_huggingface(model, folder)
        theirs = AutoModelForCausalLM.from_pretrained(folder).eval()(tokens).logits
        with swap("aigc_lab.models.gpt.Block.forward", in_the_model) as swapped:
            yours = model(tokens)
    difference = (theirs - yours).abs().max().item()
    print(f"GPT-2 of transformers and GPT-2 with your block ({swapped.calls} blocks):")
    print(f"the logits differ by {difference:.0e} at most")
    assert difference < 1e-4
    ''',
    mistakes=[
        Mistake(
            "You normalise after adding (post-norm); GPT-2 normalises what goes into each part, "
            "and the stream itself stays as it is.",
            'x = x + attention(norm("attention_norm", x))',
            'x = norm("attention_norm", x + attention(x))',
            'linear("feed_forward.up", norm("feed_forward_norm", x))',
            'linear("feed_forward.up", x)',
            'return x + linear("feed_forward.down", hidden)',
            'return norm("feed_forward_norm", x + linear("feed_forward.down", hidden))',
        ),
        Mistake(
            "You do not add what came in to what attention gives.",
            "x = x + attention(",
            "x = attention(",
        ),
        Mistake(
            "Your feed-forward network does not add to the stream, it replaces it.",
            "return x + linear(",
            "return linear(",
        ),
        Mistake(
            "You feed both parts from the same input, side by side; the second one should see what "
            "attention has added.",
            'x = x + attention(norm("attention_norm", x))',
            'x, first = x + attention(norm("attention_norm", x)), x',
            'norm("feed_forward_norm", x)',
            'norm("feed_forward_norm", first)',
        ),
        Mistake(
            "Nothing hides the future: your attention is not causal.",
            "        scores[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf\n",
            "",
        ),
        Mistake(
            "You hide the future after the softmax, so it still counts in the sum.",
            "        scores[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf\n",
            "",
            "        weights /= weights.sum(axis=-1, keepdims=True)\n",
            "        weights /= weights.sum(axis=-1, keepdims=True)\n"
            "        weights = weights * np.tril(np.ones((T, T)))\n",
        ),
        Mistake(
            "You divide the scores by the root of the model's width; each head is D wide.",
            "math.sqrt(D)",
            "math.sqrt(C)",
        ),
        Mistake(
            "You put the heads next to each other without moving them in front of the tokens: "
            "each row of the result mixes several tokens.",
            "(weights @ v).transpose(1, 0, 2).reshape(T, C)",
            "(weights @ v).reshape(T, C)",
        ),
        Mistake(
            "You cut the heads without moving them in front of the tokens: "
            "`.reshape(T, H, D).transpose(1, 0, 2)`.",
            "part.reshape(T, n_heads, D).transpose(1, 0, 2)",
            "part.reshape(n_heads, T, D)",
        ),
        Mistake(
            "You left out the biases of the linear layers.",
            ' + weights_of[f"{name}.bias"]\n\n    def norm',
            "\n\n    def norm",
        ),
        Mistake(
            "You divide by the mean square without subtracting the mean; that is RMSNorm.",
            "mean = x.mean(axis=-1, keepdims=True)",
            "mean = 0.0",
            "x.var(axis=-1, keepdims=True)",
            "(x**2).mean(axis=-1, keepdims=True)",
        ),
        Mistake(
            "You forgot the last matrix of attention, which mixes the heads.",
            'return linear("attention.out", mixed)',
            "return mixed",
        ),
        Mistake(
            "Your network uses ReLU in place of GELU.",
            "x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
            "np.maximum(x, 0)",
        ),
    ],
)
def gpt2_block(x: np.ndarray, weights_of: dict[str, np.ndarray], n_heads: int) -> np.ndarray:
    """One block of GPT-2 for one sequence: (T, C) to (T, C).

    weights_of: by name, such as "attention.qkv.weight" (3C, C) and
    "attention.qkv.bias" (3C,).
    """
    T, C = x.shape
    D = C // n_heads

    def linear(name, x):
        return x @ weights_of[f"{name}.weight"].T + weights_of[f"{name}.bias"]

    def norm(name, x):
        mean = x.mean(axis=-1, keepdims=True)
        root = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        return (x - mean) / root * weights_of[f"{name}.weight"] + weights_of[f"{name}.bias"]

    def gelu(x):
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def attention(x):
        parts = np.split(linear("attention.qkv", x), 3, axis=1)
        q, k, v = (part.reshape(T, n_heads, D).transpose(1, 0, 2) for part in parts)  # (H, T, D)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(D)
        scores[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ v).transpose(1, 0, 2).reshape(T, C)
        return linear("attention.out", mixed)

    x = x + attention(norm("attention_norm", x))
    hidden = gelu(linear("feed_forward.up", norm("feed_forward_norm", x)))
    return x + linear("feed_forward.down", hidden)


# -------------------------------------------------------------------------------------- in words

one_impossible_token = question(
    "one_impossible_token",
    title="One impossible token",
    minutes=5,
    has_one_answer=True,
    statement=r"""
    A model predicts 999 of 1,000 tokens with probability 1 and gives the last one probability 0.
    What is its perplexity? Now the model keeps a share $\epsilon$ of all probability and spreads it
    evenly over the $V$ tokens. What is its perplexity then, roughly, for $V = 1000$ and
    $\epsilon = 0.001$?
    """,
    answer=r"""
    Infinite: $-\log 0 = \infty$, and no average brings it back. With the share kept, the 999 tokens
    get $1 - \epsilon + \epsilon/V$ and cost about $\epsilon = 0.001$ nats each, together 1 nat. The
    last one gets $\epsilon / V = 10^{-6}$ and costs $13.8$ nats. The mean is
    $14.8/1000 \approx 0.015$ nats, and the perplexity $e^{0.015} \approx 1.015$. Humility costs
    almost nothing; certainty costs everything. That is why every language model is smoothed, and
    why a softmax, which never gives 0, needs no smoothing of its own.
    """,
)

the_longest_ngram = question(
    "the_longest_ngram",
    title="An n-gram of everything",
    minutes=10,
    statement=r"""
    Suppose you could store all n-grams with $n = 50$ of all text that was ever written. What would
    such a model be good at, and what would it never learn? How would you find out, from outside,
    whether a large language model does nothing else?
    """,
    answer=r"""
    It would continue any known text perfectly, and would know nothing about nearly every new
    sentence: a context of 49 tokens that is new in a single token is an unseen context, and the
    model falls back on shorter ones. It could not add two numbers that were never added before, nor
    use a word that was defined on the page before. To find out, ask for what cannot have been
    written: sums of random long numbers, a story with made-up names, a text with a new word.
    Chapter 07 does this with a world in which whole combinations are held out. (Large models do
    memorise as well: text that stands often in the training data comes out word for word.)
    """,
)
