"""Attention: every token asks all others a question and takes a weighted average of the answers.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V

Shapes: B sequences, H heads, Tq queries, Tk keys, D = head_dim = d_k, C = d_model = H·D.
A mask is boolean and True where a query MAY look at a key.

Sources: Vaswani et al. 2017 (scaled dot-product and multi-head attention), Shazeer 2019
(multi-query), Ainslie et al. 2023 (grouped-query).
"""

import math

import torch
from torch import nn

from aigc_lab.models.positional import HALF_SPLIT, apply_rope


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention.

    Args:
        q: queries `(B, H, Tq, D)`.
        k: keys `(B, H_kv, Tk, D)`, where H_kv divides H: each key head serves H/H_kv query heads.
        v: values `(B, H_kv, Tk, Dv)`.
        mask: boolean, broadcastable to `(B, H, Tq, Tk)`, True where a query may look.
        bias: added to the scores before the softmax, broadcastable to `(B, H, Tq, Tk)`; where it
            is -inf it hides the key, like a mask.
        scale: factor of the scores; by default 1/√D.

    Returns:
        The output `(B, H, Tq, Dv)` and the attention weights `(B, H, Tq, Tk)`. Each row of
        weights sums to 1, except that a query that may look nowhere has weights and output 0.

    Raises:
        ValueError: shapes that do not fit together, or a mask that is not boolean.
    """
    _check_shapes(q, k, v)
    if k.shape[1] != q.shape[1]:  # grouped queries: repeat each key head for its group
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q * scale) @ k.transpose(-2, -1)  # (B, H, Tq, Tk); scaled first: no overflow in fp16
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be boolean, True where a query may look, not {mask.dtype}; an additive "
                "mask of 0 and -inf goes into `bias`"
            )
        _check_broadcast("mask", mask, scores)
    if bias is not None:
        _check_broadcast("bias", bias, scores)
        shown = bias != -torch.inf  # a bias of -inf hides, like a mask
        mask = shown if mask is None else mask & shown
        scores = scores + bias.masked_fill(~shown, 0).to(scores.dtype)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # In a row without any True, softmax would be 0/0 = NaN. Such a row keeps its scores for
        # the softmax, and its weights are set to 0 afterwards.
        may_look_somewhere = mask.any(dim=-1, keepdim=True)
        scores = scores.masked_fill(~mask & may_look_somewhere, -torch.inf)
        weights = scores.softmax(dim=-1).masked_fill(~may_look_somewhere, 0.0)
    return weights @ v, weights


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """True where the key is not later than the query: `(Tq, Tk)`.

    The queries are the last `n_queries` of the `n_keys` positions.

    Raises:
        ValueError: more queries than keys.
    """
    n_keys = n_queries if n_keys is None else n_keys
    if n_queries > n_keys:
        raise ValueError(f"n_queries={n_queries} exceeds n_keys={n_keys}")
    everywhere = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    return everywhere.tril(diagonal=n_keys - n_queries)


def padding_mask(lengths: torch.Tensor, n_keys: int) -> torch.Tensor:
    """True for real tokens, False for the padding behind them: `(B, 1, 1, Tk)`.

    Args:
        lengths: `(B,)`, the number of real tokens of each sequence.
        n_keys: Tk, the padded length.

    Raises:
        ValueError: `lengths` is not a row of integers, or one is below 0 or above `n_keys`.
    """
    if lengths.dim() != 1 or lengths.is_floating_point():
        raise ValueError(
            f"lengths must be one integer per sequence, (B,), not {lengths.dtype} of shape "
            f"{tuple(lengths.shape)}"
        )
    if lengths.numel() and (lengths.min() < 0 or lengths.max() > n_keys):
        raise ValueError(f"lengths {lengths.tolist()} must lie between 0 and n_keys={n_keys}")
    positions = torch.arange(n_keys, device=lengths.device)
    return (positions < lengths[:, None])[:, None, None, :]


class MultiHeadAttention(nn.Module):
    """Multi-head attention; with fewer key heads grouped-query, with one multi-query attention.

    Args:
        d_model: width C of the input and output.
        n_heads: number of query heads H.
        n_kv_heads: number of key and value heads, a divisor of H; by default H.
        bias: whether the four projections have one.

    Raises:
        ValueError: `d_model` not divisible by `n_heads`, or `n_heads` not by `n_kv_heads`.
    """

    def __init__(
        self, d_model: int, n_heads: int, n_kv_heads: int | None = None, bias: bool = False
    ):
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not divisible by n_heads={n_heads}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_heads={n_heads} is not divisible by n_kv_heads={n_kv_heads}")
        self.d_model, self.n_heads, self.n_kv_heads = d_model, n_heads, n_kv_heads
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        rope: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend from `x` to `context` (cross-attention) or, without it, to `x` itself.

        Args:
            x: `(B, Tq, C)`, where the queries come from.
            context: `(B, Tk, C)`, where the keys and values come from.
            mask, bias: as in `attend`.
            rope: `cos, sin` from `positional.rope_angles`; turns queries and keys, in half-split
                pairs. Only without `context`: rotary positions compare places in one sequence.

        Returns:
            The output `(B, Tq, C)` and the weights `(B, H, Tq, Tk)`.

        Raises:
            ValueError: a last dimension other than C, or `rope` together with `context`.
        """
        source = x if context is None else context
        for name, tensor in (("x", x), ("context", source)):
            if tensor.dim() != 3 or tensor.shape[-1] != self.d_model:
                raise ValueError(
                    f"{name} must have shape (B, T, {self.d_model}), not {tuple(tensor.shape)}"
                )
        if rope is not None and context is not None:
            raise ValueError("rope compares places in one sequence: it cannot go with context")
        q = self._split(self.q_proj(x), self.n_heads)  # (B, H, Tq, D)
        k = self._split(self.k_proj(source), self.n_kv_heads)  # (B, H_kv, Tk, D)
        v = self._split(self.v_proj(source), self.n_kv_heads)
        if rope is not None:
            q, k = (apply_rope(x, *rope, HALF_SPLIT) for x in (q, k))
        out, weights = attend(q, k, v, mask=mask, bias=bias)
        return self.o_proj(out.transpose(1, 2).flatten(2)), weights  # heads side by side again

    def _split(self, x: torch.Tensor, n_heads: int) -> torch.Tensor:
        """`(B, T, H·D)` to `(B, H, T, D)`."""
        return x.unflatten(-1, (n_heads, self.head_dim)).transpose(1, 2)


def _check_shapes(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.dim() == k.dim() == v.dim() == 4:
        raise ValueError(f"q, k and v must have four dimensions (B, H, T, D): {shapes}")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"q and k must have the same head_dim: {shapes}")
    if k.shape[:3] != v.shape[:3]:
        raise ValueError(f"k and v must agree in B, H and T: {shapes}")
    if q.shape[0] != k.shape[0]:
        raise ValueError(f"q and k must have the same batch size: {shapes}")
    if 0 in (q.shape[-1], k.shape[1]):
        raise ValueError(f"there must be at least one head and head_dim at least 1: {shapes}")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"the number of query heads must be a multiple of the key heads: {shapes}")


def _check_broadcast(name: str, tensor: torch.Tensor, scores: torch.Tensor) -> None:
    try:
        fits = torch.broadcast_shapes(tensor.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} of shape {tuple(tensor.shape)} does not broadcast to the scores "
            f"(B, H, Tq, Tk) = {tuple(scores.shape)}; a mask per sequence (B, Tk) must be given "
            "as mask[:, None, None, :]"
        )
