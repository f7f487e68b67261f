"""Exercises of chapter 03, positional encoding."""

import math
from collections.abc import Callable

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------------------ clock hands


def _hands(draw):
    yield Case("the only hand of a width of 2", 0, 2, 10_000.0)
    yield Case("the fastest hand", 0, 512, 10_000.0)
    yield Case("the second hand", 1, 8, 10_000.0)
    yield Case("the slowest hand", 255, 512, 10_000.0)
    yield Case("another base", 255, 512, 500_000.0)
    d_model = 2 * draw.integer(8, 65)
    yield Case("a hand in between", draw.integer(2, d_model // 2), d_model, 10_000.0)


@exercise(
    title="A full turn of the clock",
    minutes=5,
    statement=r"""
    Pair $i$ of an encoding of width $C$ is a clock hand that turns by
    $\omega_i = \text{base}^{-2i/C}$ radians from one token to the next. After how many tokens (a
    number, not rounded) has it gone round once? Once that works: what do base 10,000 and
    $C = 512$ mean for a text of a million tokens?
    """,
    hints=[
        "A full turn is an angle that you know in radians. How many steps of size $\\omega_i$ make "
        "up that angle?",
        "The fastest hand, $i = 0$, turns by 1 radian per token: it needs about 6.3 tokens.",
    ],
    cases=_hands,
    rtol=1e-6,  # float32 will do
    pipeline="""
    import matplotlib.pyplot as plt

    from aigc_lab.evaluation import plots
    from aigc_lab.models.positional import frequencies

    plots.use_book_style()
    figure, axes = plt.subplots()
    for base in (10_000.0, 500_000.0):
        yours = [tokens_per_turn(pair, 512, base) for pair in range(256)]
        axes.plot(yours, label=f"yours, base {base:,.0f}")
        print(f"base {base:7,.0f}: the slowest hand goes round once in {yours[-1]:,.0f} tokens,")
        print(f"              {1e6 / yours[-1]:.1f} times in a text of a million tokens")
        assert np.allclose(yours, 2 * np.pi / frequencies(512, base))
    print("A hand that has gone round no longer tells roughly where we are: models for long")
    print("texts take a larger base.")
    axes.axhline(1e6, ls="--", color=plots.BLACK, label="a million tokens")
    axes.set(xlabel="pair i", ylabel="tokens per turn", yscale="log")
    _ = axes.legend()
    """,
    mistakes=[
        Mistake(
            "You counted the tokens for an angle of 1 radian; a full turn is 2π of them.",
            "2 * math.pi / omega",
            "1 / omega",
        ),
        Mistake(
            "You took 360 degrees for a full turn; ω is in radians, and a full turn is 2π of "
            "those.",
            "2 * math.pi",
            "360",
        ),
        Mistake(
            "You took π for a full turn; that is half of one, 2π.",
            "2 * math.pi",
            "math.pi",
        ),
        Mistake(
            "You rounded to the nearest whole number; the exact number is asked for, such as 2π.",
            "return 2 * math.pi / omega",
            "return round(2 * math.pi / omega)",
        ),
        Mistake(
            "You rounded up to whole tokens; the exact number is asked for, such as 2π.",
            "return 2 * math.pi / omega",
            "return math.ceil(2 * math.pi / omega)",
        ),
        Mistake(
            "You rounded down to whole tokens; the exact number is asked for, such as 2π.",
            "return 2 * math.pi / omega",
            "return math.floor(2 * math.pi / omega)",
        ),
        Mistake(
            "You left out the 2 in the exponent, -2i/C. There are C/2 hands, and with i/C the "
            "slowest would still turn by more than 1/√base radians per token.",
            "-2 * pair / d_model",
            "-pair / d_model",
        ),
        Mistake(
            "You gave the turns per token; the tokens per turn are asked for, one divided by that.",
            "2 * math.pi / omega",
            "omega / (2 * math.pi)",
        ),
        Mistake(
            "You gave the angle per token, ω; how many of these make a full turn of 2π?",
            "2 * math.pi / omega",
            "omega",
        ),
        Mistake(
            "Your hands get faster with i: the exponent of ω is negative.",
            "-2 * pair / d_model",
            "2 * pair / d_model",
        ),
        Mistake(
            "You always use 10,000; models for long texts take another `base`.",
            "base **",
            "10_000 **",
        ),
        Mistake(
            "You divided by C - 2, so that the slowest hand turns by exactly 1/base. Some code "
            "does so; the paper's formula, and ours, divides by C.",
            "/ d_model",
            "/ (d_model - 2)",
        ),
    ],
)
def tokens_per_turn(pair: int, d_model: int, base: float) -> float:
    """Tokens in one round of hand `pair`, 0 .. C/2 - 1, where C = d_model."""
    omega = base ** (-2 * pair / d_model)  # radians per token
    return 2 * math.pi / omega


# ---------------------------------------------------------------------------------------- padding


def _padded(draw):
    yield Case("one token", torch.tensor([[True]]))
    yield Case("no padding", torch.ones(2, 3, dtype=torch.bool))
    yield Case("padded on the left", torch.tensor([[False, False, True, True, True]]))
    yield Case("padded on the right", torch.tensor([[True, True, True, False, False]]))
    yield Case("nothing but padding", torch.zeros(1, 6, dtype=torch.bool))
    both = torch.tensor([[False, False, True, True], [True, True, False, False]])
    yield Case("one row padded on the left, one on the right", both)
    T = draw.integer(5, 9)
    n_pads = torch.tensor(draw.integers(0, T - 1, 4))[:, None]
    on_the_left, on_the_right = torch.arange(T) >= n_pads, torch.arange(T) < T - n_pads
    yield Case("a batch, padded on the left", on_the_left)
    yield Case("a batch, padded on the right", on_the_right)
    is_left = torch.tensor([False, True, True, False])[:, None]
    yield Case("a batch of both kinds", torch.where(is_left, on_the_left, on_the_right))


def _one_side_for_all(is_real: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(is_real.shape[1]).expand(is_real.shape)
    if (~is_real[:, 0]).any():
        positions = positions - (~is_real).sum(dim=1, keepdim=True)
    return positions * is_real


def _from_the_first_real_token(is_real: torch.Tensor) -> torch.Tensor:
    first = is_real.int().argmax(dim=1, keepdim=True)
    return (torch.arange(is_real.shape[1]) - first).clamp(min=0)


@exercise(
    title="Count from the first real token",
    minutes=10,
    statement=r"""
    Texts of different lengths make a batch by padding the shorter ones: on the left or on the
    right, and a batch may hold both kinds of row. `is_real`, boolean of shape $(B, T)$, is False at
    the padding. Number the real tokens of each row 0, 1, 2, …, and put 0 at the padding. Nobody
    looks at the number there, but a table of learned positions must have a row for it.
    """,
    hints=[
        "How many real tokens stand at or before a place? Compare that with the number it needs.",
        "`cumsum` along a row counts them. What remains are the places of the padding, and "
        "`masked_fill` or `torch.where` sets these.",
    ],
    cases=_padded,
    returns="B T",
    mistakes=[
        Mistake(
            "You count from the start of the row: with five pads on the left the first real token "
            "gets position 5.",
            lambda is_real: torch.arange(is_real.shape[1]).expand(is_real.shape),
        ),
        Mistake("You count from 1; the first position is 0.", " - 1", ""),
        Mistake(
            "You left the padding as it came out: -1 on the left, which is no row of a table of "
            "learned positions, and on the right the last number once more. Both become 0.",
            "positions.masked_fill(~is_real, 0)",
            "positions",
        ),
        Mistake(
            "You only lifted the -1 on the left to 0: padding on the *right* repeats the last "
            "number.",
            "positions.masked_fill(~is_real, 0)",
            "positions.clamp(min=0)",
        ),
        Mistake(
            "You put -1 at the padding; a table of learned positions has no such row. Put 0 there.",
            "positions.masked_fill(~is_real, 0)",
            "positions.masked_fill(~is_real, -1)",
        ),
        Mistake(
            "You put 1 at the padding, as `transformers` does. That is a valid row, too, and the "
            "real tokens are right; but here put 0.",
            "positions.masked_fill(~is_real, 0)",
            "positions.masked_fill(~is_real, 1)",
        ),
        Mistake(
            "The real tokens are right, but padding on the *right* is numbered on after the text "
            "(and a row of nothing but padding from 0); put 0 at every pad.",
            _from_the_first_real_token,
        ),
        Mistake(
            "You counted down the batch; each row is a text of its own.",
            "cumsum(dim=1)",
            "cumsum(dim=0)",
        ),
        Mistake(
            "You subtracted all the padding of a row; padding on the *right* moves nothing.",
            lambda is_real: (
                torch.arange(is_real.shape[1]) - (~is_real).sum(dim=1, keepdim=True)
            ).clamp(min=0),
        ),
        Mistake(
            "You subtracted all the padding of a row. Padding on the *right* moves nothing: now "
            "the first tokens of such a row get negative positions.",
            "is_real.cumsum(dim=1) - 1",
            "torch.arange(is_real.shape[1]) - (~is_real).sum(dim=1, keepdim=True)",
        ),
        Mistake(
            "You chose the side of the padding once for the whole batch; each row has its own.",
            _one_side_for_all,
        ),
    ],
)
def positions_of_real_tokens(is_real: torch.Tensor) -> torch.Tensor:
    """Position of each token in its own text, 0 at padding.

    Boolean (B, T) to int64 (B, T).
    """
    positions = is_real.cumsum(dim=1) - 1
    return positions.masked_fill(~is_real, 0)


# ------------------------------------------------------------------------------------------ ALiBi


def _slopes(draw):
    def slopes(n_heads):
        return draw.tensor(n_heads).abs() + 0.1

    yield Case("two heads", slopes(2), 3)
    yield Case("one token", slopes(4), 1)
    yield Case("as many heads as tokens", slopes(3), 3)
    yield Case("several heads", slopes(draw.integer(2, 5)), draw.integer(5, 9))


@exercise(
    title="The penalty for distance",
    minutes=10,
    statement=r"""
    ALiBi adds $-m_h\,|t - s|$ to the score of query $t$ and key $s$ in head $h$. Compute what is
    added, shape $(H, T, T)$, for `slopes` $m$ of shape $(H,)$ and $T$ = `n_tokens`. Hide nothing:
    that is the mask's task.
    """,
    hints=[
        "First the distances, the same for all heads: a table of shape $(T, T)$, with the query in "
        "the row and the key in the column. A column of positions minus a row of positions.",
        "`slopes[:, None, None]` has shape $(H, 1, 1)$ and broadcasts over the table.",
    ],
    cases=_slopes,
    returns="H Tq Tk",
    mistakes=[
        Mistake(
            "You *reward* distance: far keys get a higher score. The sign is missing.",
            "-slopes[:, None, None]",
            "slopes[:, None, None]",
        ),
        Mistake(
            "Your distance has a sign: keys after the query are rewarded. A causal mask hides "
            "this, a model that looks both ways does not.",
            ".abs()",
            "",
        ),
        Mistake(
            "Your distance has a sign, and it rewards the keys *before* the query: subtract the "
            "other way round, and take the absolute value.",
            "(positions[:, None] - positions).abs()",
            "positions - positions[:, None]",
        ),
        Mistake(
            "Keys after the query get no penalty at all: you cut the distance off at 0. A causal "
            "mask hides this, a model that looks both ways does not.",
            ".abs()",
            ".clamp(min=0)",
        ),
        Mistake(
            "You give slope × *key position*. Within a causal row this differs from the penalty "
            "by a constant, so the softmax gives the same (some models compute it so), but it is "
            "no distance: without the mask the last key wins in every row.",
            "-slopes[:, None, None] * distance",
            "slopes[:, None, None] * positions.expand(n_tokens, n_tokens)",
        ),
        Mistake(
            "You also hid the future with −∞; leave that to the mask, so that the bias serves "
            "models that look both ways.",
            "return -slopes[:, None, None] * distance",
            "return (-slopes[:, None, None] * distance).masked_fill("
            "positions[:, None] < positions, -torch.inf)",
        ),
        Mistake(
            "You put the heads last, (T, T, H); in the scores they come first.",
            "-slopes[:, None, None] * distance",
            "-slopes * distance[:, :, None]",
        ),
    ],
)
def alibi_penalty(slopes: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """What ALiBi adds to the scores.

    slopes (H,) to (H, T, T), queries before keys.
    """
    positions = torch.arange(n_tokens)
    distance = (positions[:, None] - positions).abs()  # (T, T)
    return -slopes[:, None, None] * distance


# ------------------------------------------------------------------------- in words: wrong pairing

wrong_pairing_passes = question(
    "wrong_pairing_passes",
    title="A test that the wrong pairing passes",
    minutes=10,
    statement=r"""
    Write down two sanity checks for an implementation of RoPE that *both* pairings pass,
    interleaved and half-split, and one that tells them apart.
    """,
    answer=r"""
    Both pass: lengths are preserved; scores depend only on the distance; at distance 0 the score
    equals the plain dot product. All of these hold for any fixed way of pairing.

    To tell them apart you need outside knowledge: compare with the output of a trusted
    implementation on the same weights, or look at a vector with a single 1 in dimension 0. After a
    rotation at position 1 its second non-zero entry is in dimension 1 (interleaved) or in dimension
    $D/2$ (half-split):

    ```python
    from aigc_lab.models.positional import apply_rope, rope_angles

    x = torch.eye(8)[0].view(1, 1, 1, 8)  # B, H, T = 1, D = 8
    cos, sin = rope_angles(torch.tensor([1]), 8)
    for pairing in ("interleaved", "half_split"):
        turned = apply_rope(x, cos, sin, pairing).flatten()
        print(pairing, turned.nonzero().flatten().tolist())
    ```
    """,
)

# ------------------------------------------------------------------------------ moving encodings


def _encodings(draw):
    def encode(positions, C):
        angles = np.array(positions)[:, None] * 10_000 ** (-np.arange(0, C, 2) / C)
        return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(positions), C)

    yield Case("one clock at position 0", encode([0], 2), 1)
    yield Case("one clock", encode([5], 2), 2)
    yield Case("two clocks", encode([3], 4), 1)
    yield Case("staying where it is", encode([0, 7], 4), 0)
    yield Case("before the start", encode([-3, 6], 4), 5)
    yield Case("neighbours, moved back", encode([10, 11, 12], 6), -4)
    yield Case("from the start", encode(range(5), 8), 3)
    positions = draw.integers(0, 500, 6)
    yield Case("positions in any order", encode(positions, 16), draw.integer(5, 50))
    yield Case("far back", encode(positions, 32), -draw.integer(500, 1000))
    far_on = draw.integers(1_000_000, 9_000_000, 3)
    yield Case("millions of tokens on", encode(far_on, 10), draw.integer(5, 50))


def _add_the_shift(encoding: np.ndarray, k: int) -> np.ndarray:
    angles = k * 10_000 ** (-np.arange(0, encoding.shape[1], 2) / encoding.shape[1])
    return encoding + np.stack([np.sin(angles), np.cos(angles)], axis=-1).flatten()


def _from_angles(encoding: np.ndarray, k: int, angles_of: Callable) -> np.ndarray:
    T, C = encoding.shape
    angles = angles_of(encoding[:, 0::2], encoding[:, 1::2])
    angles = angles + k * 10_000 ** (-np.arange(0, C, 2) / C)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(T, C)


def _one_after_the_other(encoding: np.ndarray, k: int) -> np.ndarray:
    C = encoding.shape[1]
    angle = k * 10_000 ** (-np.arange(0, C, 2) / C)
    moved = encoding.copy()
    moved[:, 0::2] = moved[:, 0::2] * np.cos(angle) + moved[:, 1::2] * np.sin(angle)
    moved[:, 1::2] = moved[:, 1::2] * np.cos(angle) - moved[:, 0::2] * np.sin(angle)
    return moved


def _encode_row_numbers(encoding: np.ndarray, k: int) -> np.ndarray:
    T, C = encoding.shape
    angles = (np.arange(T)[:, None] + k) * 10_000 ** (-np.arange(0, C, 2) / C)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(T, C)


@exercise(
    title="Moving on without knowing the time",
    minutes=20,
    statement=r"""
    Each row of `encoding`, a float64 array of shape $(T, C)$, is the sinusoidal encoding of some
    position, with $\sin(t\omega_i)$ in dimension $2i$, $\cos(t\omega_i)$ in $2i + 1$ and
    $\omega_i = 10000^{-2i/C}$. You are not told the positions $t$: they come in any order and may
    be in the millions, or negative. Return the encodings of the positions $t + k$ all the same, in
    float64, for any whole number $k$: positive, 0, or negative.
    """,
    hints=[
        "Each pair (sine, cosine) is a clock hand, and a clock need not know the time to be put "
        "forward. By which angle does hand $i$ turn in $k$ steps?",
        r"$\sin(a + b) = \sin a \cos b + \cos a \sin b$, with $a = t\omega_i$ (its sine and cosine "
        r"are given) and $b = k\omega_i$. The cosine goes likewise.",
        "`encoding[:, 0::2]` holds all the sines. `np.stack([...], axis=-1).reshape(T, C)` lays "
        "sines and cosines alternately again.",
    ],
    cases=_encodings,
    returns="T C",
    rtol=1e-9,  # angles of a thousand radians
    equivalent={
        "`encoding[:, 0::2]` → `encoding[:, ::2]`": "a slice starts at 0 anyway",
        "`encoding[:, 0::2]` → `encoding[:, 0:-1:2]`": "the last dimension is a cosine",
    },
    mistakes=[
        Mistake(
            "You turned the hands back: yours are the encodings of t − k. Sine comes first, so "
            "moving on turns clockwise, opposite to the usual rotation matrix.",
            "angle = k *",
            "angle = -k *",
        ),
        Mistake(
            "You paired dimension i with i + C/2. That is the half-split convention; here "
            "neighbours, 2i and 2i + 1, belong together.",
            "sin, cos = encoding[:, 0::2], encoding[:, 1::2]",
            "sin, cos = np.split(encoding, 2, axis=1)",
            "np.stack(moved, axis=-1).reshape(encoding.shape)",
            "np.concatenate(moved, axis=1)",
        ),
        Mistake(
            "You turn all hands by the same angle, as if each were the fastest: hand i turns by k "
            "times its own ω.",
            " * 10_000 ** (-np.arange(0, C, 2) / C)",
            " * np.ones(C // 2)",
        ),
        Mistake(
            "You left out the 2 in the exponent, -2i/C: the hands after the first turn too fast.",
            "np.arange(0, C, 2)",
            "np.arange(C // 2)",
        ),
        Mistake(
            "You added the encoding of position k. To move on, angles are added, not sines.",
            _add_the_shift,
        ),
        Mistake(
            "You moved the rows. Row r + k holds position t + k only if the rows are consecutive "
            "positions, and even then the last k rows have nothing to take over.",
            lambda encoding, k: np.roll(encoding, -k, axis=0),
        ),
        Mistake(
            "You made new encodings for the row numbers plus k; row r need not be position r.",
            _encode_row_numbers,
        ),
        Mistake(
            "You took every cosine for positive, as arcsin and √(1 − sin²) do. The sine alone does "
            "not tell whether a hand points up or down; `encoding` holds the cosine, too.",
            lambda encoding, k: _from_angles(
                encoding, k, lambda sin, cos: np.arcsin(sin.clip(-1, 1))
            ),
        ),
        Mistake(
            "You took every sine for positive, as arccos and √(1 − cos²) do. The cosine alone does "
            "not tell whether a hand points left or right; `encoding` holds the sine, too.",
            lambda encoding, k: _from_angles(
                encoding, k, lambda sin, cos: np.arccos(cos.clip(-1, 1))
            ),
        ),
        Mistake(
            "Hands that point down come out reversed: arctan(sin/cos) cannot tell a hand from the "
            "opposite one, since the signs cancel. `np.arctan2` can; simpler still is to need no "
            "angle.",
            lambda encoding, k: _from_angles(encoding, k, lambda sin, cos: np.arctan(sin / cos)),
        ),
        Mistake(
            "You return `encoding` as it came: no hand has moved.",
            lambda encoding, k: encoding.copy(),
        ),
        Mistake(
            "You changed the sines first and made the cosines from the *new* sines; both need the "
            "old ones.",
            _one_after_the_other,
        ),
    ],
)
def move_on(encoding: np.ndarray, k: int) -> np.ndarray:
    """Encodings of the positions t + k, from those of unknown positions t.

    (T, C) to (T, C), both float64.
    """
    C = encoding.shape[1]
    angle = k * 10_000 ** (-np.arange(0, C, 2) / C)  # (C/2,)
    sin, cos = encoding[:, 0::2], encoding[:, 1::2]  # (T, C/2) each
    moved = [
        sin * np.cos(angle) + cos * np.sin(angle),
        cos * np.cos(angle) - sin * np.sin(angle),
    ]
    return np.stack(moved, axis=-1).reshape(encoding.shape)


# ---------------------------------------------------------------------- in words: ALiBi's averages

averages_to_a_distance = question(
    "averages_to_a_distance",
    title="From averages to a distance",
    minutes=20,
    has_one_answer=True,
    statement=r"""
    An ALiBi head whose content scores are all 0 gives the token at distance $d$ a weight in
    proportion to $e^{-md}$. Two heads with slopes $m_1 > m_2$ see the same tokens. Which linear
    combination of the two averages has no contribution from distance 0? Can two heads cancel the
    distances 0 *and* 1? What does that say about finding "exactly three back", and about steep and
    gentle slopes?
    """,
    answer=r"""
    Far from the start of the sequence the weights are $(1 - e^{-m})\,e^{-md}$. To cancel $d = 0$,
    subtract the second average times $(1-e^{-m_1})/(1-e^{-m_2})$ from the first. Two heads cannot
    cancel 0 and 1 without cancelling everything: that is two conditions on two coefficients, and
    the exponentials are linearly independent. Each further distance needs one more head.

    With four heads one can cancel 0, 1 and 2, but what is left does not end at distance 3. Solve
    the four equations and, with $x_h = e^{-m_h}$, distance 4 contributes $x_1 + x_2 + x_3 + x_4$
    times as much as distance 3. If all slopes are steep, this is small: the token three back
    dominates. If all are gentle, it is nearly 4.

    The coefficient of head $h$ is $1 / \bigl((1 - x_h) \prod_{j \ne h} (x_h - x_j)\bigr)$, which is
    large for all slopes, since the $x_h$ share the room between 0 and 1. Steep ones crowd near 0,
    gentle ones near 1, where $1 - x_h$ is small as well: theirs are by far the largest. Here are
    the usual slopes for four heads, those of the chapter's second try, and four that are all steep:

    ```python
    d = np.arange(7)
    usual = (1 / 4, 1 / 16, 1 / 64, 1 / 256)
    for slopes in [usual, (2, 1 / 2, 1 / 8, 1 / 32), (1.5, 2, 3, 4)]:
        m = np.array(slopes)[:, None]
        weights = (1 - np.exp(-m)) * np.exp(-m * d)  # (4 heads, 7 distances)
        c = np.linalg.solve(weights[:, :4].T, [0, 0, 0, 1])  # distances 0 to 3
        print(f"largest coefficient {abs(c).max():9,.0f},", end=" ")
        print("contributions", (c @ weights).round(2))
    ```

    So averages alone give "exactly three back" roughly at best, if all slopes are steep, and not at
    all with gentle ones. A trained model has more at hand: scores that depend on content, and a
    second layer.
    """,
)

# ------------------------------------------------------------------------------------------- RoPE


def _queries(draw):
    def positions(*values):
        return torch.tensor(values)

    yield Case("position 0", draw.tensor(1, 1, 1, 2), positions(0))
    yield Case("one pair", draw.tensor(1, 1, 3, 2), positions(1, 2, 5))
    yield Case("two pairs", draw.tensor(1, 2, 3, 4), positions(3, 0, 1))
    yield Case("a new token behind 20 old ones", draw.tensor(1, 3, 1, 4), positions(20))
    yield Case("far into a text", draw.tensor(1, 2, 3, 4), positions(257, 259, 400))
    yield Case("as many heads as tokens", draw.tensor(1, 3, 3, 6), positions(0, 1, 2))
    yield Case("another base", draw.tensor(1, 1, 2, 8), positions(4, 5), base=500.0)
    T = draw.integer(5, 8)
    shuffled = positions(*draw.integers(0, 50, T))
    yield Case("positions in any order", draw.tensor(2, 4, T, 8), shuffled)


def _angles_for_neighbours(
    x: torch.Tensor, positions: torch.Tensor, base: float = 10_000.0
) -> torch.Tensor:
    D = x.shape[-1]
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2) / D)
    angles = angles.repeat_interleave(2, dim=-1)  # (T, D)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()


@exercise(
    title="RoPE in half-split pairs",
    minutes=30,
    statement=r"""
    Write RoPE with the pairing of the Llama code in the `transformers` library, in torch
    throughout, so that gradients pass through to `x`. Dimensions $i$ and $i + D/2$ form pair $i$,
    for $i = 0, \dots, D/2 - 1$. In a token at position $t$, turn pair $(a, b)$ by the angle
    $\theta = t\,\omega_i$ with $\omega_i = \text{base}^{-2i/D}$, to
    $(a\cos\theta - b\sin\theta,\; a\sin\theta + b\cos\theta)$. `x` has shape
    $(B, H, T, D)$; `positions`, shape $(T,)$, says where each token stands, which need not be
    0, 1, 2, ….
    """,
    hints=[
        "The angles are a table of shape $(T, D/2)$: a column of positions times a row of "
        "frequencies. It broadcasts over sequences and heads.",
        "`x.chunk(2, dim=-1)` gives all the $a$ and all the $b$, each of shape $(B, H, T, D/2)$.",
        "Compute the new $a$ and the new $b$ for all pairs at once and put the halves side by side "
        "with `torch.cat`.",
    ],
    cases=_queries,
    returns="B H T D",
    gradients="x",
    pipeline='''
    from aigc_lab.exercises.pipelines import compare_curves, look_back_losses


    def in_the_model(x, cos, sin, pairing):
        """The model brings cosines and sines of its own; yours are used instead."""
        return rotate_half_split(x, torch.arange(x.shape[2]))


    book = look_back_losses()
    with swap("aigc_lab.models.positional.apply_rope", in_the_model) as swapped:
        yours = look_back_losses()

    print(f"your function ran {swapped.calls} times: queries and keys, two layers, 100 steps")
    assert swapped.calls == 400
    assert compare_curves(book, yours) < 1e-3, "the curves should lie on each other"
    ''',
    mistakes=[
        Mistake(
            "You pair neighbours, 2i and 2i + 1: the interleaved convention. Scores depend on the "
            "distance alone with either, but the weights of a trained model fit only one.",
            "x.chunk(2, dim=-1)",
            "x[..., 0::2], x[..., 1::2]",
            "torch.cat(turned, dim=-1)",
            "torch.stack(turned, dim=-1).flatten(-2)",
        ),
        Mistake(
            "You take neighbours for pairs but put them back as halves. Between two such vectors "
            "the scores are those of *interleaved* pairs.",
            "x.chunk(2, dim=-1)",
            "x[..., 0::2], x[..., 1::2]",
        ),
        Mistake(
            "You turn the pairs backwards. A test that scores depend on the distance alone passes "
            "all the same, for it does not see that the distance has changed its sign.",
            "cos, sin = angles.cos(), angles.sin()",
            "cos, sin = angles.cos(), -angles.sin()",
        ),
        Mistake(
            "Both sines have a plus. That is no rotation: lengths change. The first has a minus.",
            "first * cos - second * sin",
            "first * cos + second * sin",
        ),
        Mistake(
            "You number the tokens 0, 1, 2, … instead of using `positions`: while a model writes, "
            "each new token, alone in x, would stand at 0.",
            "positions[:, None]",
            "torch.arange(x.shape[2])[:, None]",
        ),
        Mistake(
            "You turn each token by one position too many. Scores between two such vectors do not "
            "show it, since only the difference of positions counts.",
            "positions[:, None]",
            "(positions[:, None] + 1)",
        ),
        Mistake(
            "You left out the 2 in the exponent, -2i/D: pairs after the first turn too fast.",
            "torch.arange(0, D, 2)",
            "torch.arange(D // 2)",
        ),
        Mistake(
            "You divided by H·D, the width of all heads together. The angles belong to one head, "
            "of width D.",
            "2) / D",
            "2) / (x.shape[1] * D)",
        ),
        Mistake(
            "You always use 10,000; models for long texts take another `base`.",
            "base **",
            "10_000.0 **",
        ),
        Mistake(
            "You rounded the angles to bfloat16. It keeps three digits at best; angles need "
            "float32.",
            "angles.cos(), angles.sin()",
            "angles.bfloat16().cos(), angles.bfloat16().sin()",
        ),
        Mistake(
            "Your angles went through bfloat16. Back in float32 they do not regain their digits.",
            "angles.cos(), angles.sin()",
            "angles.bfloat16().float().cos(), angles.bfloat16().float().sin()",
        ),
        Mistake(
            "You rounded the positions to bfloat16, which from 257 on cannot tell one whole number "
            "from the next. Leave them whole numbers, or use float32.",
            "positions[:, None]",
            "positions.bfloat16()[:, None]",
        ),
        Mistake("You return `x` as it came: nothing is turned.", lambda x, *_, **__: x.clone()),
        Mistake(
            "You put the positions on the axis of the heads: x is (B, H, T, D), so a table of "
            "angles (T, D/2) broadcasts as it is.",
            "positions[:, None]",
            "positions[:, None, None]",
        ),
        Mistake(
            "You turn halves, but each angle stands twice in a row (0 0 1 1 …), as for neighbours. "
            "For halves the row of angles is laid out twice (0 1 … 0 1 …).",
            _angles_for_neighbours,
        ),
        Mistake(
            "You changed the first half first and made the second from the *new* first half; both "
            "need the old one.",
            "first * cos - second * sin, first * sin",
            "first * cos - second * sin, (first * cos - second * sin) * sin",
        ),
    ],
)
def rotate_half_split(
    x: torch.Tensor, positions: torch.Tensor, base: float = 10_000.0
) -> torch.Tensor:
    """RoPE with pairs (i, i + D/2).

    x: queries or keys (B, H, T, D), float32; positions: (T,), int64.
    Returns (B, H, T, D), by torch operations alone: gradients are to reach x.
    """
    D = x.shape[-1]
    omega = base ** (-torch.arange(0, D, 2) / D)  # (D/2,)
    angles = positions[:, None] * omega  # (T, D/2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)  # (B, H, T, D/2) each
    turned = [first * cos - second * sin, first * sin + second * cos]
    return torch.cat(turned, dim=-1)


# ------------------------------------------------------------------------- in words: train longer

train_longer = question(
    "train_longer",
    title="Train longer",
    minutes=30,
    statement=r"""
    In the chapter's notebook, `notebooks/03_positional_encoding.ipynb`, repeat the experiment on
    the neighbours with four times as many steps: `train(neighbours, p, seed, n_steps=800)` for each
    `p` in `POSITIONS` and each seed in `SEEDS`, then `loss_by_position` and `summary`. It runs for
    a minute or two. Before you look: which of the statements that we read off will survive?
    """,
    answer=r"""
    In our runs the gaps among the four encodings within 24 nearly close, and all come close to the
    rule's own loss (0.50 to 0.54, and 0.50 for the rule). "None" improves (0.87 to 0.70) and stays
    behind. The collapse beyond 24 stays, and gets worse: longer training on short sequences makes
    the models surer, not more general. ALiBi's loss far out comes down (0.64 to 0.53).
    """,
)

# ------------------------------------------------------------------------------- reordering weights


def _projections(draw):
    yield Case("two heads of one pair", draw.tensor(4, 4), 2)
    yield Case("one pair", draw.tensor(2, 10), 1)
    yield Case("two heads of two pairs", draw.tensor(8, 4), 2)
    yield Case("two heads of three pairs", draw.tensor(12, 4), 2)
    # One head comes after several, so that a failure is not shown where heads cannot be mixed up.
    yield Case("one head of two pairs", draw.tensor(4, 16), 1)
    yield Case("one head of three pairs", draw.tensor(6, 12), 1)
    n_heads, head_dim = draw.integer(2, 5), 2 * draw.integer(3, 6)
    width = n_heads * head_dim
    yield Case("a query projection", draw.tensor(width, width), n_heads)
    yield Case("a key projection with fewer heads", draw.tensor(width, 2 * width), n_heads)


@exercise(
    title="A checkpoint for the other convention",
    minutes=40,
    statement=r"""
    A model was trained with interleaved pairs, and our code turns half-split ones. Row $r$ of
    `weight`, shape $(H \cdot D, C)$ with $H$ = `n_heads` and $D$ even, makes dimension $r$ of the
    queries of all heads side by side (or of the keys): the first $D$ rows belong to head 0. Put the
    rows into the order in which half-split RoPE, within each head, turns together what was trained
    together, in the same direction and at the same speed.
    """,
    hints=[
        "Take one head with $D = 6$. Which of its rows must be row 0 and row 3 of the result, the "
        "pair that turns fastest? Which are rows 1 and 4?",
        "Within a head: first the rows 0, 2, 4, …, then 1, 3, 5, …",
        "Cut the axis of the rows into $(H, D/2, 2)$: head, pair, member of the pair. Which two of "
        "these axes have to change places?",
    ],
    cases=_projections,
    returns="row column",
    pipeline='''
    import torch.nn.functional as F

    from aigc_lab.data.synthetic import exact_distance
    from aigc_lab.models.positional import INTERLEAVED, apply_rope
    from aigc_lab.models.tiny_transformer import TinyTransformer
    from aigc_lab.training.fit import fit


    def neighbours_paired(x, cos, sin, pairing):
        """The other convention, whatever the model asks for."""
        return apply_rope(x, cos, sin, INTERLEAVED)


    def loss_of(n, generator):
        """Loss on n sequences in which the token three places back is asked for."""
        tokens, targets = exact_distance(n, 24, generator)
        return F.cross_entropy(model(tokens)[0].transpose(1, 2), targets)


    def test_loss():
        """Loss on the same 200 new sequences."""
        with torch.no_grad():
            return loss_of(200, torch.Generator().manual_seed(1000)).item()


    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = TinyTransformer(8, "rope", d_model=32, n_heads=4)
    with swap("aigc_lab.models.positional.apply_rope", neighbours_paired):
        fit(model, lambda: loss_of(16, generator), n_steps=200, learning_rate=8e-3)
        as_trained = test_loss()
    as_they_are = test_loss()
    for block in model.blocks:
        for projection in (block.attention.q_proj, block.attention.k_proj):
            projection.weight.data = to_half_split(projection.weight.data, 4)
    reordered = test_loss()

    print(f"interleaved pairs, as trained:         loss {as_trained:.4f}")
    print(f"half-split pairs, weights as they are: loss {as_they_are:.4f}")
    print(f"half-split pairs, reordered by you:    loss {reordered:.4f}")
    assert abs(reordered - as_trained) < 1e-3 < as_they_are - as_trained
    ''',
    mistakes=[
        Mistake(
            "You gathered the even rows of *all* heads, then the odd ones: that mixes the heads. "
            "Reorder within each head.",
            "view(n_heads, -1, 2)",
            "view(1, -1, 2)",
        ),
        Mistake(
            "You went the other way, from half-split to interleaved. (For D = 4 the two orders "
            "happen to be the same.)",
            "view(n_heads, -1, 2)",
            "view(n_heads, 2, -1)",
        ),
        Mistake(
            "You reordered the columns, which belong to the input; the *rows* are the dimensions "
            "of queries and keys.",
            lambda weight, n_heads: weight[
                :, torch.arange(weight.shape[1]).view(n_heads, -1, 2).transpose(1, 2).flatten()
            ],
        ),
        Mistake(
            "You put the odd rows first. Then the two members of each pair change places, and "
            "half-split RoPE turns them the other way: a distance d looks like −d.",
            "rows.transpose(1, 2)",
            "rows.transpose(1, 2).flip(1)",
        ),
        Mistake(
            "You left the rows as they are: a reshape alone moves nothing.",
            "rows.transpose(1, 2)",
            "rows",
        ),
        Mistake(
            "You exchanged heads and pairs. Heads stay where they are; within each, exchange the "
            "axis of the pairs with the axis of their two members.",
            "rows.transpose(1, 2)",
            "rows.transpose(0, 1)",
        ),
        Mistake(
            "You took every H-th row for a head; the rows of a head stand together, D at a time.",
            "view(n_heads, -1, 2)",
            "view(-1, n_heads).T.reshape(n_heads, -1, 2)",
        ),
    ],
)
def to_half_split(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of a query or key projection, from interleaved to half-split.

    (H·D, C) to (H·D, C).
    """
    rows = torch.arange(len(weight)).view(n_heads, -1, 2)  # (H, D/2, 2)
    order = rows.transpose(1, 2).flatten()  # in each head even, then odd rows
    return weight[order]


# ------------------------------------------------------------------- in words: without positions

none_lives_on = question(
    "none_lives_on",
    title='What does "none" live on?',
    minutes=60,
    statement=r"""
    With one layer and no positions, the causal model cannot know any order beyond the last token.
    In the chapter's notebook, `notebooks/03_positional_encoding.ipynb`, train "none" with one, two
    and three layers on the neighbours, `train(neighbours, "none", seed, n_layers=1)` and so on, and
    compare the losses within 24, `loss_by_position(model, neighbours)[3:24].mean()`, for three
    seeds each. Which part of the success of "none" is order? What happens far beyond 24, at
    `[96:]`?

    Then ask the trained models a second way: in test sequences of 24 tokens, exchange the last
    token but one with an earlier one, and compare the loss at the last place. Predict for each
    number of layers what happens.
    """,
    answer=r"""
    One layer lives on the last token (known through the residual path) and on how often each token
    occurred. What two and three layers gain over it, they gain from order, which later layers
    derive from the causal mask. In our runs the loss within 24 falls with each layer (about 1.07,
    0.87, 0.82) and stays above that of every encoding. Far beyond 24 both deeper models are *worse*
    than the one with a single layer (about 1.45 against 1.37): the order that they have derived
    does not extend. The exact sizes depend on the training.

    The exchange changes nothing at all for one layer, as it must. It costs two layers 0.2 to 0.4
    nats and three layers 0.6 to 0.7: the more a model knows about order, the more it relies on it.

    ```python
    inputs, targets = neighbours(2000, 24, torch.Generator().manual_seed(1000))
    exchanged = inputs.clone()
    exchanged[:, [10, 22]] = inputs[:, [22, 10]]
    for n_layers in (1, 2, 3):
        for seed in SEEDS:
            model = train(neighbours, "none", seed, n_layers=n_layers)
            with torch.no_grad():
                before, after = (
                    F.cross_entropy(model(x)[0][:, -1], targets[:, -1]).item()
                    for x in (inputs, exchanged)
                )
            print(f"{n_layers} layers: {before:.2f}, exchanged {after:.2f}")
    ```
    """,
)
