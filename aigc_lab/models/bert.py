"""BERT: a Transformer encoder that reads in both directions.

    tokens + positions + segments ─ norm ─ n_layers × block ─┬─ last_hidden_state (B, T, C)
                                                             └─ [CLS], dense, tanh ─ pooler_output

A block is post-norm: x = norm(x + attention(x)), then x = norm(x + feed_forward(x)). Every token
looks at every token that is not padding.

Shapes: B sequences, T tokens, C = d_model, H heads, V = vocab_size. Names of inputs and outputs
(`attention_mask`, `last_hidden_state`, `pooler_output`) are those of the `transformers` library;
its `token_type_ids` are called `segments` here, as in the paper.

Source: Devlin et al. 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.models.attention import MultiHeadAttention


@dataclass(frozen=True)
class BERTConfig:
    """What a BERT is made of.

    Args:
        vocab_size: number of token ids V.
        pad_token: id that fills short rows; nobody looks at it.
        max_length: longest sequence, in tokens; there is one learned vector for each position.
        d_model, n_layers, n_heads: width C, number of blocks, heads H of each attention.
        d_ff: width inside the feed-forward network; by default 4·C.
        n_segments: kinds of segment, 2 for pairs of texts.
        dropout: share of numbers set to 0 in training, after the embeddings and each sub-layer.
            (The published model also drops attention weights.)
        norm_eps: added to the variance in the layer norms.
        init_std: standard deviation of the initial weights. BERT's is 0.02 at a width of 768; to
            grow as fast through a layer, a narrower model needs more, about 1/√C.
        copy_init, match_init: a head start for attention, see `start_attention`; 0 means random
            weights, as published.

    Raises:
        ValueError: a size below 1, a width that the heads do not divide, no valid padding id, or
            a negative start.
    """

    vocab_size: int
    pad_token: int
    max_length: int = 128
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_ff: int | None = None
    n_segments: int = 2
    dropout: float = 0.0
    norm_eps: float = 1e-12
    init_std: float = 0.02
    copy_init: float = 0.0
    match_init: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "max_length", "d_model", "n_layers", "n_heads", "n_segments"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} is not divisible by n_heads={self.n_heads}")
        if self.d_ff is not None and self.d_ff < 1:
            raise ValueError(f"d_ff={self.d_ff} must be at least 1; None means 4·d_model")
        if not isinstance(self.pad_token, int) or not 0 <= self.pad_token < self.vocab_size:
            raise ValueError(
                f"pad_token={self.pad_token} must be an id of the vocabulary of {self.vocab_size}: "
                "rows of a batch differ in length, so BERT needs a token to fill them; reserve "
                "one, such as '[PAD]', among the tokenizer's special_tokens"
            )
        for name in ("init_std", "copy_init", "match_init"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and less than 1")

    @property
    def ff_width(self) -> int:
        """Width inside the feed-forward network."""
        return self.d_ff or 4 * self.d_model


class BERTOutput(NamedTuple):
    """What BERT makes of a batch.

    Attributes:
        last_hidden_state: one vector per token, `(B, T, C)`.
        pooler_output: one vector per sequence, from its first token, `(B, C)`.
        attentions: of each block the attention weights, `(B, H, T, T)`.
    """

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    attentions: tuple[torch.Tensor, ...]


class BERT(nn.Module):
    """The encoder; see the module's text for its shape and `BERTConfig` for its settings."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.max_length, config.d_model)
        self.segment_embedding = nn.Embedding(config.n_segments, config.d_model)
        self.norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.apply(lambda module: initialise(module, config.init_std))
        start_attention([block.attention for block in self.blocks], config)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
    ) -> BERTOutput:
        """Read sequences.

        Args:
            tokens: ids `(B, T)`; the first of each row is [CLS].
            attention_mask: `(B, T)`, True (or 1) for tokens, False (or 0) for padding; by default
                everything that is not `pad_token`.
            segments: `(B, T)`, 0 for the first text of a pair and 1 for the second; by default 0.

        Raises:
            ValueError: shapes that differ, too many tokens, ids or segments that do not exist, or
                a row without any token.
        """
        tokens, mask, segments = self._check(tokens, attention_mask, segments)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token_embedding(tokens) + self.segment_embedding(segments)
        x = self.dropout(self.norm(x + self.position_embedding(positions)))
        maps = []
        for block in self.blocks:
            x, weights = block(x, mask[:, None, None, :])
            maps.append(weights)
        return BERTOutput(x, self.pooler(x[:, 0]).tanh(), tuple(maps))

    def _check(self, tokens, attention_mask, segments) -> tuple[torch.Tensor, ...]:
        """The three inputs, with defaults filled in; the mask as boolean."""
        config = self.config
        if tokens.dim() != 2 or 0 in tokens.shape:
            raise ValueError(
                f"tokens must have shape (B, T), at least (1, 1), not {tuple(tokens.shape)}; for "
                "one sequence: tokens[None]"
            )
        if tokens.shape[1] > config.max_length:
            raise ValueError(
                f"tokens has {tokens.shape[1]} tokens in a row, more than "
                f"max_length={config.max_length}: shorten the text, or read it in several windows"
            )
        if attention_mask is None:
            attention_mask = tokens != config.pad_token
        if segments is None:
            segments = torch.zeros_like(tokens)
        for name, tensor, n in (
            ("tokens", tokens, config.vocab_size),
            ("attention_mask", attention_mask, 2),
            ("segments", segments, config.n_segments),
        ):
            if tensor.shape != tokens.shape:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, but tokens has "
                    f"{tuple(tokens.shape)}: give one number for each token"
                )
            low, high = int(tensor.min()), int(tensor.max())
            if tensor.is_floating_point() or low < 0 or high >= n:
                raise ValueError(
                    f"{name} ({tensor.dtype}) holds {low if low < 0 else high}: it must hold "
                    f"whole numbers from 0 to {n - 1}"
                )
        if not (mask := attention_mask.bool()).any(dim=1).all():
            row = int((~mask.any(dim=1)).nonzero()[0, 0])
            raise ValueError(f"attention_mask hides all of row {row}: leave empty rows out")
        return tokens, mask, segments


class Block(nn.Module):
    """Self-attention and a feed-forward network, each followed by addition and norm."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.attention = MultiHeadAttention(config.d_model, config.n_heads, bias=True)
        self.attention_norm = make_norm(config)
        self.up = nn.Linear(config.d_model, config.ff_width)
        self.down = nn.Linear(config.ff_width, config.d_model)
        self.feed_forward_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, T, C)` to the same and the weights `(B, H, T, T)`; `mask` is `(B, 1, 1, T)`."""
        seen, weights = self.attention(x, mask=mask)
        x = self.attention_norm(x + self.dropout(seen))
        changed = self.down(F.gelu(self.up(x)))
        return self.feed_forward_norm(x + self.dropout(changed)), weights


def make_norm(config: BERTConfig) -> nn.LayerNorm:
    """A layer norm over the width."""
    return nn.LayerNorm(config.d_model, eps=config.norm_eps)


def initialise(module: nn.Module, std: float) -> None:
    """Small normal weights, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def start_attention(attentions: Sequence[MultiHeadAttention], config: BERTConfig) -> None:
    """Give attention a head start at looking words up; without it a small model learns it late.

    With `copy_init`, values are a random rotation R of the input and the output matrix is
    copy_init·Rᵀ, so a head hands on what it sees; queries and keys are drawn so large that scores
    differ. With `match_init`, keys equal queries in the upper half of the blocks, so a token looks
    at tokens like itself: a mask that stands for "some thing" looks at the things of the text.

    Source: as `aigc_lab.models.attention_starts`, which does the same for a GPT.
    """
    C = config.d_model
    for layer, attention in enumerate(attentions):
        if config.copy_init:
            rotation = nn.init.orthogonal_(torch.empty(C, C))
            attention.v_proj.weight.copy_(rotation)
            attention.o_proj.weight.copy_(config.copy_init * rotation.T)
            for projection in (attention.q_proj, attention.k_proj):
                nn.init.normal_(projection.weight, std=C**-0.5)
        if config.match_init and layer >= len(attentions) // 2:
            nn.init.normal_(attention.q_proj.weight, std=config.match_init * C**-0.5)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
