"""Reading one token at a time, without the way through the modules.

A small model on a processor spends more time on Python's way to the arithmetic than on the
arithmetic itself: to call a module and to look up its weights costs some microseconds, about a
hundred times for each token. So the weights are looked up once, and one function does for a single
token of each sequence what `GPT.forward` does for any number. The logits are the same.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from aigc_lab.models.gpt import GPT, Block, CausalSelfAttention, FeedForward, KVCache, SwiGLU
from aigc_lab.models.positional import HALF_SPLIT, LearnedPositions, apply_rope, rope_angles

KNOWN = (
    GPT, Block, CausalSelfAttention, FeedForward, SwiGLU, LearnedPositions,
    nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.Linear, nn.Dropout, nn.ModuleList,
)  # fmt: skip


def single_step(model: GPT, cache: KVCache) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from the newest tokens, `(B, 1)`, to the logits of the next, `(B, V)`.

    It is for sequences without padding, uses and fills `cache`, and leaves out dropout. A model
    with parts that it does not know, or with hooks, is called as it is.
    """
    for part in model.modules():
        if type(part) not in KNOWN or part._forward_hooks or part._forward_pre_hooks:
            return lambda tokens: model(tokens, cache=cache, last_only=True)[:, -1]
    config = model.config
    width, head_dim = config.d_model, config.head_dim
    n_heads, n_kv = config.n_heads, config.kv_heads
    norm = _norm(config)
    layers = [_weights(block) for block in model.blocks]
    last_norm, table, head = _of_norm(model.norm), model.embedding.weight, model.head.weight
    is_gated = config.activation == "swiglu"
    if config.positions == "learned":
        learned, rope = model.learned.table.weight, None
    else:
        positions = torch.arange(cache.max_length, device=table.device)
        rope = [part.to(table.dtype) for part in rope_angles(positions, head_dim, config.rope_base)]

    def step(tokens: torch.Tensor) -> torch.Tensor:
        at, batch = cache.length, len(tokens)
        x = F.embedding(tokens[:, 0], table)  # (B, C)
        if rope is None:
            x = x + learned[at]
        for layer, (norm1, qkv, out, norm2, up, down) in enumerate(layers):
            heads = F.linear(norm(x, *norm1), *qkv).view(batch, -1, 1, head_dim)
            qk, v = heads.split([n_heads + n_kv, n_kv], dim=1)  # (B, H + H_kv or H_kv, 1, D)
            if rope is not None:
                qk = apply_rope(qk, *(part[at : at + 1] for part in rope), HALF_SPLIT)
            q, k = qk.split([n_heads, n_kv], dim=1)
            k, v = cache.store(layer, k, v)  # (B, H_kv, T_all, D)
            if n_kv != n_heads:
                k, v = (part.repeat_interleave(n_heads // n_kv, dim=1) for part in (k, v))
            mixed = F.scaled_dot_product_attention(q, k, v)  # (B, H, 1, D)
            x = x + F.linear(mixed.view(batch, width), *out)
            wide = F.linear(norm(x, *norm2), *up)
            if is_gated:
                gate, wide = wide.chunk(2, dim=-1)
                wide = F.silu(gate) * wide
            else:
                wide = F.gelu(wide, approximate="tanh")
            x = x + F.linear(wide, *down)
        cache.length += 1
        return F.linear(norm(x, *last_norm), head)

    return step


def _norm(config) -> Callable[..., torch.Tensor]:
    """The norm as a function of x and its weights."""
    shape, eps = (config.d_model,), config.norm_eps
    if config.norm == "rms":
        return lambda x, weight: F.rms_norm(x, shape, weight, eps)
    return lambda x, weight, bias: F.layer_norm(x, shape, weight, bias, eps)


def _of_norm(norm: nn.Module) -> tuple:
    return (norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else (norm.weight,)


def _weights(block: Block) -> tuple:
    """Of one block, in the order in which `step` uses them."""
    first = block.feed_forward.gate_up if hasattr(block.feed_forward, "gate_up") else None
    linears = [block.attention.qkv, block.attention.out, first or block.feed_forward.up]
    qkv, out, up, down = ((x.weight, x.bias) for x in (*linears, block.feed_forward.down))
    return _of_norm(block.attention_norm), qkv, out, _of_norm(block.feed_forward_norm), up, down
