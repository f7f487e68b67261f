"""A Transformer small enough to train in seconds, for experiments with one part at a time.

The chapters exchange its positions or its attention and look at what changes. The full models
have modules of their own.
"""

import torch
from torch import nn

from aigc_lab.models.attention import MultiHeadAttention, causal_mask
from aigc_lab.models.positional import LearnedPositions, alibi_bias, rope_angles, sinusoidal

POSITIONS = ("none", "sinusoidal", "learned", "rope", "alibi")


class TinyTransformer(nn.Module):
    """Token embeddings, pre-norm blocks of attention and feed-forward, and a linear head.

    Args:
        vocab_size: number of token ids V.
        positions: one of `POSITIONS`.
        d_model, n_heads, n_layers: width C, heads H, number of blocks.
        context_length: longest sequence; only learned positions need it.
        causal: whether a token sees only itself and what came before.

    Raises:
        ValueError: an unknown `positions`, or sizes that do not divide.
    """

    def __init__(
        self,
        vocab_size: int,
        positions: str,
        *,
        d_model: int = 64,
        n_heads: int = 4,
        n_layers: int = 2,
        context_length: int = 512,
        causal: bool = True,
    ):
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(f"positions={positions!r} is not one of {POSITIONS}")
        self.positions, self.n_heads, self.causal = positions, n_heads, causal
        self.embedding = nn.Embedding(vocab_size, d_model)
        # Rows of length about 1: neither sinusoidal nor learned positions drown the tokens.
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)
        if positions == "learned":
            self.learned = LearnedPositions(context_length, d_model)
        self.blocks = nn.ModuleList(_Block(d_model, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits `(B, T, V)` and one `(B, H, T, T)` of attention weights per block."""
        n_tokens = tokens.shape[1]
        x = self.embedding(tokens)  # (B, T, C)
        mask = causal_mask(n_tokens, device=tokens.device) if self.causal else None
        rope = bias = None
        if self.positions == "sinusoidal":
            # The formula's rows have length √(C/2); divided by it they match the embeddings.
            encoding = sinusoidal(n_tokens, x.shape[-1]) * (2 / x.shape[-1]) ** 0.5
            x = x + encoding.to(x.device)
        elif self.positions == "learned":
            x = x + self.learned(n_tokens)
        elif self.positions == "rope":
            head_dim = x.shape[-1] // self.n_heads
            rope = rope_angles(torch.arange(n_tokens, device=x.device), head_dim)
        elif self.positions == "alibi":
            bias = alibi_bias(self.n_heads, n_tokens).to(x.device)
        maps = []
        for block in self.blocks:
            x, weights = block(x, mask=mask, bias=bias, rope=rope)
            maps.append(weights)
        return self.head(self.norm(x)), maps


class _Block(nn.Module):
    """Pre-norm: normalise, transform, add to what came in; first attention, then feed-forward."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 4 * d_model),
            nn.GELU(),
            nn.Linear(4 * d_model, d_model),
        )

    def forward(self, x: torch.Tensor, **settings) -> tuple[torch.Tensor, torch.Tensor]:
        attended, weights = self.attention(self.attention_norm(x), **settings)
        x = x + attended
        return x + self.feed_forward(x), weights
