"""GPT in one file: a stack of Transformer blocks that predicts the next token.

    tokens (B, T) → embeddings (B, T, C) → n_layers × block → norm → logits (B, T, V)

A block is pre-norm: normalise, transform, add to what came in; first attention, then the
feed-forward network. What differs between GPT-2 and today's models is a setting of `GPTConfig`;
`GPTConfig.gpt2` and `GPTConfig.llama` name the two customary combinations.

Shapes: B sequences, T tokens, C = d_model, H = n_heads, H_kv = n_kv_heads, D = head_dim = C/H,
V = vocab_size.

Sources: Radford et al. 2019 (GPT-2: pre-norm, learned positions, tied weights), Touvron et al.
2023 (LLaMA: RMSNorm, RoPE, SwiGLU, no biases), Ainslie et al. 2023 (grouped queries).
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.models.attention import causal_mask
from aigc_lab.models.attention_starts import start_attention
from aigc_lab.models.positional import HALF_SPLIT, LearnedPositions, apply_rope, rope_angles

CHOICES = {
    "positions": ("rope", "learned"),
    "norm": ("rms", "layer"),
    "activation": ("swiglu", "gelu"),
}


@dataclass(frozen=True)
class GPTConfig:
    """What a GPT is made of.

    Args:
        vocab_size: number of token ids V.
        context_length: longest sequence, in tokens.
        d_model, n_layers, n_heads: width C, number of blocks, number of query heads H.
        n_kv_heads: number of key and value heads; fewer than H make the cache of a writing model
            smaller (grouped queries). By default H.
        d_ff: width inside the feed-forward network; by default 4·C for GELU, and for SwiGLU,
            which has three matrices in place of two, 8/3·C rounded up to a multiple of 8.
        positions: "rope" turns queries and keys and has no parameters; "learned" adds a vector
            per position and ends at `context_length`.
        norm: "rms" divides by the root mean square; "layer" also subtracts the mean.
        activation: "swiglu" lets one half of the network gate the other; "gelu" is GPT-2's.
        bias: whether linear layers (and LayerNorm) have biases.
        tie_weights: whether the embedding table is also the output layer, which saves V·C
            parameters: most of a small model.
        rope_base, norm_eps: constants of RoPE and of the norm.
        dropout: share of numbers set to 0 in training, after attention, feed-forward and
            embedding.
        copy_init, look_back_init, match_init: a head start for attention, see
            `aigc_lab.models.attention_starts`; 0 means GPT-2's small random weights.

    Raises:
        ValueError: sizes that do not divide, a size below 1, an unknown choice, or a start that
            the architecture cannot have.
    """

    vocab_size: int
    context_length: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_ff: int | None = None
    positions: str = "rope"
    norm: str = "rms"
    activation: str = "swiglu"
    bias: bool = False
    tie_weights: bool = True
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    dropout: float = 0.0
    copy_init: float = 0.0
    look_back_init: float = 0.0
    match_init: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_layers", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {choices}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} is not divisible by n_heads={self.n_heads}")
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(f"rope needs an even head_dim, not d_model/n_heads={self.head_dim}")
        if self.n_kv_heads is not None and (self.n_kv_heads < 1 or self.n_heads % self.n_kv_heads):
            raise ValueError(
                f"n_heads={self.n_heads} is not divisible by n_kv_heads={self.n_kv_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and less than 1")
        if self.copy_init < 0:
            raise ValueError(f"copy_init={self.copy_init} must be 0 (off) or more, such as 0.1")
        if self.look_back_init and (self.positions != "rope" or not self.bias):
            raise ValueError(
                f"look_back_init={self.look_back_init} needs positions='rope' and bias=True, not "
                f"{self.positions!r} and {self.bias}: it is a start of biases that RoPE turns"
            )
        if self.match_init and self.positions != "rope":
            raise ValueError(
                f"match_init={self.match_init} needs positions='rope', not {self.positions!r}"
            )

    @classmethod
    def gpt2(cls, **settings) -> "GPTConfig":
        """The architecture of GPT-2; without `settings` the sizes of its smallest model."""
        sizes = {
            "vocab_size": 50_257,
            "context_length": 1024,
            "d_model": 768,
            "n_layers": 12,
            "n_heads": 12,
        }
        architecture = {"positions": "learned", "norm": "layer", "activation": "gelu", "bias": True}
        return cls(**{**sizes, **architecture, **settings})

    @classmethod
    def llama(cls, vocab_size: int, **settings) -> "GPTConfig":
        """The architecture of LLaMA: RoPE, RMSNorm, SwiGLU, no biases; sizes as `settings`."""
        return cls(vocab_size, **settings)

    @property
    def head_dim(self) -> int:
        """Width D of one head."""
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads H_kv."""
        return self.n_kv_heads or self.n_heads

    @property
    def ff_width(self) -> int:
        """Width inside the feed-forward network."""
        if self.d_ff is not None:
            return self.d_ff
        return 4 * self.d_model if self.activation == "gelu" else -(-self.d_model // 3) * 8


class KVCache:
    """The keys and values of the tokens seen so far, so that each is computed only once.

    Args:
        config: of the model that fills it.
        batch_size: number of sequences B.
        max_length: number of tokens there is room for; by default the context length.
        dtype, device: of the keys and values.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int = 1,
        max_length: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.max_length = max_length or config.context_length
        shape = (config.n_layers, batch_size, config.kv_heads, self.max_length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0  # tokens that all layers have stored

    def store(
        self, layer: int, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add k and v `(B, H_kv, T, D)` of new tokens; return those of all tokens so far.

        Raises:
            ValueError: gradients are wanted, which cannot pass through the cache.
        """
        if k.requires_grad:
            raise ValueError("a cache is for writing: use it under torch.no_grad()")
        end = self.length + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]


class GPT(nn.Module):
    """The model; see the module's text for its shape and `GPTConfig` for its settings."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.learned = LearnedPositions(config.context_length, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.embedding.weight
        self._initialise()

    def _initialise(self) -> None:
        """As in GPT-2: std 0.02, and less where blocks add to the residual stream.

        Each of the 2·n_layers additions makes the stream's variance grow; scaled by
        1/√(2·n_layers) they add up to about what one of them would add.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                is_last = name.endswith(("out.weight", "down.weight"))
                std = 0.02 / (2 * self.config.n_layers) ** 0.5 if is_last else 0.02
                nn.init.normal_(parameter, std=std)
        start_attention([block.attention for block in self.blocks])

    def forward(self, tokens: torch.Tensor, *, last_only: bool = False, **settings) -> torch.Tensor:
        """Logits of the next token at each position.

        Args:
            tokens: ids `(B, T)`; with a cache only the new ones.
            last_only: compute the logits of the last position only, as when writing.
            settings: attention_mask, documents and cache, as in `vectors`.

        Returns:
            `(B, T, V)`, or `(B, 1, V)` with `last_only`.

        Raises:
            ValueError: as `vectors`.
        """
        return self.head(self.vectors(tokens, last_only=last_only, **settings))

    def vectors(
        self,
        tokens: torch.Tensor,
        *,
        attention_mask: torch.Tensor | None = None,
        documents: torch.Tensor | None = None,
        cache: KVCache | None = None,
        last_only: bool = False,
    ) -> torch.Tensor:
        """What the output layer reads: the vector of each token after the last norm.

        Args:
            tokens: ids `(B, T)`; with a cache only the new ones.
            attention_mask: boolean `(B, T_all)`, False for padding (on either side), over cached
                and new tokens together. Positions count the real tokens.
            documents: integers `(B, T)` for rows of several documents: neighbours with the same
                number are one document. A token sees only its own document, whose positions
                count from 0, so the logits are those of each document alone.
            cache: keys and values of earlier tokens; gets those of the new ones.
            last_only: of the last position only.

        Returns:
            `(B, T, C)`, or `(B, 1, C)` with `last_only`.

        Raises:
            ValueError: no token, more tokens than the context (or the cache) holds, ids outside
                the vocabulary, an attention mask or documents of another shape, or documents
                together with a mask or a cache.
        """
        past = 0 if cache is None else cache.length
        self._check(tokens, attention_mask, documents, cache, past)
        n_new = tokens.shape[1]
        starts = None if documents is None else document_starts(documents)  # (B, T)
        if starts is not None:
            positions = torch.arange(n_new, device=tokens.device) - starts  # (B, T)
        elif attention_mask is None:
            positions = torch.arange(past, past + n_new, device=tokens.device)  # (T,)
        else:
            counted = attention_mask.long().cumsum(1) - 1
            positions = counted.clamp(min=0)[:, past:]  # (B, T)
        x = self.embedding(tokens)  # (B, T, C)
        rope = None
        if self.config.positions == "learned":
            x = x + self.learned.table(positions)
        else:
            rope = rope_angles(positions, self.config.head_dim, self.config.rope_base)
            rope = tuple(part.to(x.dtype) for part in rope)
        x = self.dropout(x)
        if starts is not None:
            mask = document_mask(starts)
        else:
            mask = attention_masks(past, n_new, attention_mask, tokens.device)
        for block in self.blocks:
            x = block(x, rope, mask, cache)
        if cache is not None:
            cache.length += n_new
        return self.norm(x[:, -1:] if last_only else x)

    def _check(self, tokens, attention_mask, documents, cache, past: int) -> None:
        if tokens.dim() != 2 or 0 in tokens.shape:
            raise ValueError(
                f"tokens must have shape (B, T) with at least one token, not {tuple(tokens.shape)}"
                "; an empty prompt needs a start token"
            )
        total = past + tokens.shape[1]
        room = self.config.context_length
        if cache is not None:
            room = min(room, cache.max_length)
        if total > room:
            raise ValueError(
                f"{past} + {tokens.shape[1]} tokens do not fit into {room}: shorten the prompt or "
                "ask for fewer new tokens"
            )
        if attention_mask is not None and attention_mask.shape != (tokens.shape[0], total):
            raise ValueError(
                f"attention_mask must have shape (B, cached + new) = {(tokens.shape[0], total)}, "
                f"not {tuple(attention_mask.shape)}"
            )
        if documents is not None and documents.shape != tokens.shape:
            raise ValueError(
                f"documents must have the shape of tokens, {tuple(tokens.shape)}, not "
                f"{tuple(documents.shape)}"
            )
        if documents is not None and (attention_mask is not None or cache is not None):
            raise ValueError(
                "documents cannot go with an attention_mask or a cache: padding is a document of "
                "its own, and writing is done in one document at a time"
            )
        if tokens.device.type == "cpu":  # on a GPU the check would wait for all earlier work
            for token in (tokens.min().item(), tokens.max().item()):
                if not 0 <= token < self.config.vocab_size:
                    raise ValueError(
                        f"token id {token} is outside the vocabulary of {self.config.vocab_size}: "
                        "was the text encoded by another tokenizer, or are these targets?"
                    )


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = CausalSelfAttention(config, layer)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = SwiGLU(config) if config.activation == "swiglu" else FeedForward(config)
        self.dropout = config.dropout

    def forward(self, x, rope, mask, cache) -> torch.Tensor:
        """`(B, T, C)` to `(B, T, C)`."""
        x = x + self._drop(self.attention(self.attention_norm(x), rope, mask, cache))
        return x + self._drop(self.feed_forward(self.feed_forward_norm(x)))

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class CausalSelfAttention(nn.Module):
    """Attention as in `aigc_lab.models.attention`, with torch's fused kernel and a cache.

    One matrix makes queries, keys and values: one large product is faster than three small ones.
    """

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        width = (config.n_heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.d_model, width, bias=config.bias)
        n_rows = config.kv_heads * config.head_dim
        self.qkv.parts = (config.d_model, n_rows, n_rows)  # three matrices, for the optimizer
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)

    def forward(self, x, rope, mask, cache) -> torch.Tensor:
        """`(B, T, C)` to `(B, T, C)`."""
        B, T, C = x.shape
        n_heads, n_kv = self.config.n_heads, self.config.kv_heads
        heads = self.qkv(x).view(B, T, -1, C // n_heads).transpose(1, 2)
        q, k, v = heads.split([n_heads, n_kv, n_kv], dim=1)  # (B, H or H_kv, T, D)
        if rope is not None:
            q, k = apply_rope(q, *rope, HALF_SPLIT), apply_rope(k, *rope, HALF_SPLIT)
        if cache is not None:
            k, v = cache.store(self.layer, k, v)  # (B, H_kv, T_all, D)
        if n_kv != n_heads:
            k, v = (part.repeat_interleave(n_heads // n_kv, dim=1) for part in (k, v))
        is_causal = mask is None and q.shape[2] > 1
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return self.out(out.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    """GPT-2's: widen, GELU (its approximation by tanh), narrow."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.up = nn.Linear(config.d_model, config.ff_width, bias=config.bias)
        self.down = nn.Linear(config.ff_width, config.d_model, bias=config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, T, C)` to `(B, T, C)`."""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """LLaMA's: one half of the widened vector, through SiLU, gates the other half.

    Source: Shazeer 2020.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.ff_width, bias=config.bias)
        self.gate_up.parts = (config.ff_width, config.ff_width)  # two matrices
        self.down = nn.Linear(config.ff_width, config.d_model, bias=config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, T, C)` to `(B, T, C)`."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


def make_norm(config: GPTConfig) -> nn.Module:
    """Return the norm that the configuration asks for."""
    if config.norm == "rms":
        return nn.RMSNorm(config.d_model, eps=config.norm_eps)
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.bias)


def attention_masks(
    past: int, n_new: int, attention_mask: torch.Tensor | None, device: torch.device
) -> torch.Tensor | None:
    """What each new token may look at: boolean `(B or 1, 1, T, T_all)`; None for "all before".

    A padding token may see nothing at all; torch's kernel (since 2.5) then gives 0, not 0/0.
    """
    if attention_mask is None:
        if past == 0 or n_new == 1:  # the whole triangle, or one token that sees everything
            return None
        return causal_mask(n_new, past + n_new, device)[None, None]
    return causal_mask(n_new, past + n_new, device) & attention_mask[:, None, None, :]


def document_starts(documents: torch.Tensor) -> torch.Tensor:
    """For each token the index in its row at which its document begins: `(B, T)`."""
    index = torch.arange(documents.shape[1], device=documents.device)
    is_first = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return torch.where(is_first, index, 0).cummax(dim=1).values


def document_mask(starts: torch.Tensor) -> torch.Tensor:
    """Causal and within the document: boolean `(B, 1, T, T)`, from the starts `(B, T)`."""
    same = starts[:, :, None] == starts[:, None, :]
    return (same & causal_mask(starts.shape[1], device=starts.device))[:, None]


# ----------------------------------------------------------------------------------- what it costs


def n_parameters(config: GPTConfig) -> int:
    """Number of parameters by formula; a tied output layer counts once.

    Source: the shapes above.
    """
    width, bias = config.d_model, int(config.bias)
    qkv = (config.n_heads + 2 * config.kv_heads) * config.head_dim
    attention = (width + bias) * qkv + (width + bias) * width
    into = 2 * config.ff_width if config.activation == "swiglu" else config.ff_width
    feed_forward = (width + bias) * into + (config.ff_width + bias) * width
    norm = width * (1 + (bias if config.norm == "layer" else 0))
    embeddings = config.vocab_size * width * (1 if config.tie_weights else 2)
    if config.positions == "learned":
        embeddings += config.context_length * width
    return embeddings + config.n_layers * (attention + feed_forward + 2 * norm) + norm


def forward_flops(config: GPTConfig, n_tokens: int) -> int:
    """Floating-point operations of the matrix products of one forward pass of one sequence.

    Each weight that is multiplied counts twice for each token (a multiplication and an addition),
    and the scores and the average of values count 2·T·C each for each token and layer. (A causal
    kernel may leave out the half that is masked.) The backward pass costs twice as much again, so
    training costs about 6 operations for each parameter and token.

    Source: Kaplan et al. 2020, section 2.1.
    """
    plain = dataclasses.replace(config, bias=False, tie_weights=True, positions="rope")
    norms = (2 * config.n_layers + 1) * config.d_model
    weights = n_parameters(plain) - norms  # the table counts once, as the output layer
    attention = 4 * n_tokens * config.d_model * config.n_layers
    return n_tokens * (2 * weights + attention)
