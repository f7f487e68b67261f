"""Four ways to tell attention about order: sinusoidal, learned, rotary (RoPE) and ALiBi.

Sinusoidal and learned encodings are vectors added to the token embeddings. RoPE turns queries
and keys by an angle that grows with the position. ALiBi adds to the scores a penalty that grows
with the distance.

Sources: Vaswani et al. 2017 (sinusoidal), Su et al. 2021 (RoPE), Press, Smith and Lewis 2022
(ALiBi).
"""

import math

import torch
from torch import nn

INTERLEAVED = "interleaved"  # pairs (0, 1), (2, 3), ...: the RoPE paper, Meta's LLaMA files
HALF_SPLIT = "half_split"  # pairs (0, D/2), (1, D/2 + 1), ...: GPT-NeoX, transformers


def frequencies(n_dims: int, base: float = 10_000.0) -> torch.Tensor:
    """Angle in radians by which each pair of dimensions turns from one position to the next.

    Args:
        n_dims: number of dimensions D; two make a pair.
        base: the wider the model, the nearer the slowest pair's angle comes to 1/base.

    Returns:
        `(D/2,)`, float64: base^(-2i/D) for i = 0 .. D/2 - 1.

    Raises:
        ValueError: `n_dims` is odd or not positive.
    """
    if n_dims <= 0 or n_dims % 2:
        raise ValueError(
            f"{n_dims} dimensions cannot be cut into pairs: a positional rotation needs an even, "
            "positive d_model or head_dim"
        )
    return base ** (-torch.arange(0, n_dims, 2, dtype=torch.float64) / n_dims)


def sinusoidal(n_positions: int, d_model: int, base: float = 10_000.0) -> torch.Tensor:
    """Sinusoidal encodings: sine in the even dimensions, cosine in the odd ones.

    Returns:
        `(T, C)` float32 with T = `n_positions`, C = `d_model`; row t encodes position t.

    Raises:
        ValueError: `d_model` is odd.
    """
    positions = torch.arange(n_positions, dtype=torch.float64)
    angles = positions[:, None] * frequencies(d_model, base)  # (T, C/2)
    encoding = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (T, C/2, 2)
    return encoding.flatten(1).float()  # (T, C): sin, cos, sin, cos, ...


class LearnedPositions(nn.Module):
    """One trainable vector for each position up to `context_length`, as in GPT-2 and BERT."""

    def __init__(self, context_length: int, d_model: int):
        super().__init__()
        self.context_length = context_length
        self.table = nn.Embedding(context_length, d_model)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, n_positions: int) -> torch.Tensor:
        """Encodings `(T, C)` of positions 0 .. T-1.

        Raises:
            ValueError: T exceeds the context length: such positions were never trained.
        """
        if n_positions > self.context_length:
            raise ValueError(
                f"a sequence of {n_positions} tokens does not fit context_length="
                f"{self.context_length}: there is no vector for position {self.context_length}; "
                "shorten the sequence or train with a longer context"
            )
        return self.table.weight[:n_positions]


def rope_angles(
    positions: torch.Tensor, head_dim: int, base: float = 10_000.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the rotary angles.

    Args:
        positions: `(T,)` or `(B, T)`, the position of each token.
        head_dim: number of dimensions D of a head.
        base: see `frequencies`.

    Returns:
        `cos, sin`, each float32 of `positions.shape + (D/2,)`.

    Raises:
        ValueError: `head_dim` is odd.
    """
    angles = positions[..., None].double() * frequencies(head_dim, base).to(positions.device)
    return angles.cos().float(), angles.sin().float()


def apply_rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, pairing: str) -> torch.Tensor:
    """Turn each pair of dimensions of `x` by its angle.

    Args:
        x: queries or keys, `(B, H, T, D)`.
        cos, sin: from `rope_angles`, `(T, D/2)` or `(B, T, D/2)`.
        pairing: which two dimensions form a pair, `INTERLEAVED` or `HALF_SPLIT`. The weights of
            a trained model fit only the one that it was trained with.

    Returns:
        `(B, H, T, D)`, the same dtype as `x`.

    Raises:
        ValueError: an unknown pairing, or angles made for another head_dim or length.
    """
    *_, n_tokens, head_dim = x.shape
    if cos.shape[-2:] != (n_tokens, head_dim // 2) or head_dim % 2:
        raise ValueError(
            f"x of shape {tuple(x.shape)} needs cos and sin of shape (..., {n_tokens}, "
            f"{head_dim / 2:g}), not {tuple(cos.shape)}"
        )
    if cos.dim() == 3:  # one row of positions per sequence: leave room for the heads
        cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, D/2)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if pairing == INTERLEAVED:
        first, second = x[..., 0::2], x[..., 1::2]
    elif pairing == HALF_SPLIT:
        first, second = x.chunk(2, dim=-1)
    else:
        raise ValueError(f"pairing={pairing!r} is neither {INTERLEAVED!r} nor {HALF_SPLIT!r}")
    turned = (first * cos - second * sin, first * sin + second * cos)
    if pairing == INTERLEAVED:
        return torch.stack(turned, dim=-1).flatten(-2)
    return torch.cat(turned, dim=-1)


def interleaved_to_half_split(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Reorder a query or key projection trained with interleaved pairs for half-split RoPE.

    Args:
        weight: `(H·D, C)` weight, or `(H·D,)` bias, of the projection.
        n_heads: number of heads H in this projection (for keys, the number of key heads).

    Returns:
        The same rows in another order: within each head the even ones first, then the odd ones.

    Raises:
        ValueError: the rows cannot be cut into `n_heads` heads of even size.
    """
    n_rows = weight.shape[0]
    if n_rows % (2 * n_heads):
        raise ValueError(f"{n_rows} rows cannot be cut into n_heads={n_heads} heads of even size")
    pairs = weight.reshape(n_heads, n_rows // n_heads // 2, 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)


def alibi_slopes(n_heads: int) -> torch.Tensor:
    """ALiBi's slope for each head, steepest first, `(H,)` float32.

    For H a power of two: 2^(-8/H), 2^(-16/H), ..., 2^(-8). Otherwise, as in the authors' code,
    the slopes for the power of two below H, then every second slope of the one above.

    Raises:
        ValueError: `n_heads` is not positive.
    """
    if n_heads < 1:
        raise ValueError(f"n_heads={n_heads} must be at least 1")

    def powers(n: int) -> list[float]:
        return [2 ** (-8 * (head + 1) / n) for head in range(n)]

    below = 2 ** math.floor(math.log2(n_heads))
    return torch.tensor(powers(below) + powers(2 * below)[0::2][: n_heads - below])


def alibi_bias(n_heads: int, n_queries: int, n_keys: int | None = None) -> torch.Tensor:
    """ALiBi's penalty on attention scores: -slope · distance, `(H, Tq, Tk)` float32.

    The queries are the last `n_queries` of the `n_keys` positions, as when generating with a
    cache. The distance is absolute; with a causal mask only the past counts.

    Raises:
        ValueError: more queries than keys.
    """
    n_keys = n_queries if n_keys is None else n_keys
    if n_queries > n_keys:
        raise ValueError(f"n_queries={n_queries} exceeds n_keys={n_keys}")
    keys = torch.arange(n_keys)
    queries = keys[n_keys - n_queries :]
    distance = (queries[:, None] - keys).abs()  # (Tq, Tk)
    return -alibi_slopes(n_heads)[:, None, None] * distance
