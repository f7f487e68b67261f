"""The encoder–decoder Transformer of 2017.

    source ─ embedding·√C + positions ─ encoder layers ──── memory ────┐
    target ─ embedding·√C + positions ─ decoder layers (look into memory) ─ linear ─ logits

Shapes: B sentence pairs, S source tokens, T target tokens, C = d_model, H heads, V target words.
Each layer is a chain of sub-layers: self-attention, in the decoder cross-attention, and a
feed-forward network. Around each stands a residual connection, with its layer norm either after
the addition (post-norm: norm(x + f(x)), as published) or before the function (pre-norm:
x + f(norm(x)), as in nearly everything since GPT-2).

Sources: Vaswani et al. 2017; Xiong et al. 2020 for the two places of the norm.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from aigc_lab.models.attention import MultiHeadAttention, causal_mask
from aigc_lab.models.positional import sinusoidal

NORMS = ("pre", "post")


@dataclass(frozen=True)
class TransformerConfig:
    """The architecture.

    Args:
        source_vocab_size, target_vocab_size: number of token ids of each language.
        d_model: width C.
        n_heads: heads H of each attention.
        n_layers: layers of the encoder, and as many of the decoder.
        ff_width: of the feed-forward networks; by default 4·C.
        norm: "pre" or "post".
        dropout: share of each sub-layer's output, and of the embeddings, that is dropped in
            training.
        max_length: most tokens of a sentence, source or target.
        pad_token: id that fills short rows, in both languages; nobody looks at it.
        start_token: id with which the decoder's input begins; a target without it is refused.
            None leaves that unchecked.
        norm_eps: added to the variance in the layer norms.

    Raises:
        ValueError: an unknown norm, sizes below 1, an odd width (positions come as pairs of sine
            and cosine), or a padding id outside a vocabulary.
    """

    source_vocab_size: int
    target_vocab_size: int
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 2
    ff_width: int | None = None
    norm: str = "pre"
    dropout: float = 0.0
    max_length: int = 128
    pad_token: int = 0
    start_token: int | None = None
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm={self.norm!r} is not one of {NORMS}")
        for name in ("d_model", "n_layers", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} must be even: positions are pairs")
        if not 0 <= self.pad_token < min(self.source_vocab_size, self.target_vocab_size):
            raise ValueError(
                f"pad_token={self.pad_token} must be an id of both vocabularies, of "
                f"{self.source_vocab_size} and {self.target_vocab_size} tokens"
            )


class Transformer(nn.Module):
    """The model; see the module's text for its shape and `TransformerConfig` for its settings."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.source_embedding = nn.Embedding(config.source_vocab_size, config.d_model)
        self.target_embedding = nn.Embedding(config.target_vocab_size, config.d_model)
        positions = sinusoidal(config.max_length, config.d_model)
        self.register_buffer("positions", positions, persistent=False)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        # With pre-norm nothing has normalised the sum of all layers yet.
        is_pre = config.norm == "pre"
        self.encoder_norm = make_norm(config) if is_pre else nn.Identity()
        self.decoder_norm = make_norm(config) if is_pre else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, config.target_vocab_size, bias=False)
        self.head.weight = self.target_embedding.weight
        self._initialise()

    def _initialise(self) -> None:
        """Xavier's uniform distribution for the layers; embeddings of length about 1."""
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=self.config.d_model**-0.5)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits of each next target token, `(B, T, V)`.

        Args:
            source: ids `(B, S)`, padded on the right.
            target: ids `(B, T)` that begin with the start token: what the decoder reads. To be
                predicted is the same row moved one place to the left.

        Raises:
            ValueError: see `encode` and `decode`.
        """
        memory, source_mask = self.encode(source)
        return self.decode(target, memory, source_mask)[0]

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder looks into: the memory `(B, S, C)` and its mask `(B, 1, 1, S)`.

        Raises:
            ValueError: no token, more than `max_length`, or an id outside the vocabulary.
        """
        x = self._embed(source, self.source_embedding, "source")
        mask = (source != self.config.pad_token)[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x), mask

    def decode(
        self, target: torch.Tensor, memory: torch.Tensor, source_mask: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits `(B, T, V)`, and of each layer the cross-attention's weights `(B, H, T, S)`.

        Raises:
            ValueError: as `encode`, `memory` and mask of other shapes, or a target that does not
                begin with the start token.
        """
        B, T = target.shape
        if memory.shape[0] != B or source_mask.shape != (B, 1, 1, memory.shape[1]):
            raise ValueError(
                f"memory {tuple(memory.shape)} must be (B, S, C) and its mask "
                f"{tuple(source_mask.shape)} be (B, 1, 1, S), with B={B} as target has: take both "
                "from encode"
            )
        x = self._embed(target, self.target_embedding, "target")
        check_start(target, self.config.start_token)
        mask = causal_mask(T, device=target.device)
        maps = []
        for layer in self.decoder:
            x, weights = layer(x, memory, mask, source_mask)
            maps.append(weights)
        return self.head(self.decoder_norm(x)), maps

    def _embed(self, tokens: torch.Tensor, embedding: nn.Embedding, name: str) -> torch.Tensor:
        check_tokens(tokens, embedding.num_embeddings, self.config.max_length, name)
        # Rows of length about 1, times √C: numbers of size 1, like the positions' sines.
        x = embedding(tokens) * math.sqrt(self.config.d_model)
        return self.dropout(x + self.positions[: tokens.shape[1]])


class SubLayer(nn.Module):
    """A residual connection with its norm, around any function of a stream `(B, T, C)`."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norm = make_norm(config)
        self.is_pre = config.norm == "pre"
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """`(B, T, C)` to `(B, T, C)`."""
        if self.is_pre:
            return x + self.dropout(function(self.norm(x)))
        return self.norm(x + self.dropout(function(x)))


class EncoderLayer(nn.Module):
    """Self-attention over the source, then feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.n_heads, bias=True)
        self.feed_forward = feed_forward(config)
        self.around_attention, self.around_feed_forward = SubLayer(config), SubLayer(config)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(B, S, C)` to `(B, S, C)`; `mask` `(B, 1, 1, S)`, False for padding."""
        x = self.around_attention(x, lambda y: self.self_attention(y, mask=mask)[0])
        return self.around_feed_forward(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Masked self-attention over the target so far, cross-attention, then feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.n_heads, bias=True)
        self.cross_attention = MultiHeadAttention(config.d_model, config.n_heads, bias=True)
        self.feed_forward = feed_forward(config)
        self.around_self, self.around_cross = SubLayer(config), SubLayer(config)
        self.around_feed_forward = SubLayer(config)

    def forward(
        self, x: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor, source_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, T, C)` to `(B, T, C)`, and the cross-attention's weights `(B, H, T, S)`.

        Args:
            x: the stream `(B, T, C)`.
            memory: of the encoder, `(B, S, C)`.
            mask: `(T, T)`, where a target token may look among the target tokens.
            source_mask: `(B, 1, 1, S)`, False for padding.
        """
        seen: list[torch.Tensor] = []

        def look_into_memory(y: torch.Tensor) -> torch.Tensor:
            out, weights = self.cross_attention(y, memory, mask=source_mask)
            seen.append(weights)
            return out

        x = self.around_self(x, lambda y: self.self_attention(y, mask=mask)[0])
        x = self.around_cross(x, look_into_memory)
        return self.around_feed_forward(x, self.feed_forward), seen[0]


def feed_forward(config: TransformerConfig) -> nn.Sequential:
    """Widen, ReLU, narrow; each token for itself."""
    width = config.ff_width or 4 * config.d_model
    return nn.Sequential(
        nn.Linear(config.d_model, width), nn.ReLU(), nn.Linear(width, config.d_model)
    )


def make_norm(config: TransformerConfig) -> nn.LayerNorm:
    """A layer norm over the width."""
    return nn.LayerNorm(config.d_model, eps=config.norm_eps)


def check_start(target: torch.Tensor, start_token: int | None) -> None:
    """Raise ValueError unless each row of a target `(B, T)` begins with the start token."""
    if start_token is None or bool((target[:, 0] == start_token).all()):
        return
    row = int((target[:, 0] != start_token).nonzero()[0, 0])
    raise ValueError(
        f"target row {row} begins with the id {int(target[row, 0])} and not with "
        f"start_token={start_token}: the decoder reads what it is to predict moved one place to "
        "the right, behind the start token"
    )


def check_tokens(tokens: torch.Tensor, vocab_size: int, max_length: int, name: str) -> None:
    """Raise ValueError unless `tokens` are ids `(B, T)` that a model can read."""
    if tokens.dim() != 2 or 0 in tokens.shape:
        raise ValueError(
            f"{name} must have shape (B, T) with at least one token, not {tuple(tokens.shape)}"
        )
    if tokens.shape[1] > max_length:
        raise ValueError(
            f"{name} has {tokens.shape[1]} tokens, more than max_length={max_length}: shorten the "
            "sentence or make a model with a larger max_length"
        )
    low, high = tokens.min().item(), tokens.max().item()
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"{name} holds the id {low if low < 0 else high}, outside its vocabulary of "
            f"{vocab_size}: are source and target swapped?"
        )
