"""Which heads look where, and what a model can do without them.

An induction head looks from a token to the token that stood behind an earlier occurrence of it.

Shapes: B sequences, H heads, T tokens, D = head_dim.

Source: Olsson et al. 2022.
"""

import contextlib
from collections.abc import Iterable, Iterator

import torch

from aigc_lab.models.attention import attend, causal_mask
from aigc_lab.models.gpt import GPT
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.models.positional import HALF_SPLIT, apply_rope


@torch.no_grad()
def attention_maps(model: GPT, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The attention weights of each layer, `(B, H, T, T)`.

    The model's fused kernel keeps no weights, so they are computed again from what goes into each
    attention.

    Args:
        model: the model.
        tokens: ids `(B, T)`, without padding.
    """
    inputs: list[tuple] = []
    hooks = [
        block.attention.register_forward_pre_hook(lambda _, given: inputs.append(given))
        for block in model.blocks
    ]
    try:
        with evaluation_mode(model):
            model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        _weights(block.attention, x, rope)
        for block, (x, rope, *_) in zip(model.blocks, inputs, strict=True)
    ]


def _weights(attention, x, rope) -> torch.Tensor:
    config, T = attention.config, x.shape[1]
    heads = attention.qkv(x).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
    q, k, v = heads.split([config.n_heads, config.kv_heads, config.kv_heads], dim=1)
    if rope is not None:
        q, k = apply_rope(q, *rope, HALF_SPLIT), apply_rope(k, *rope, HALF_SPLIT)
    return attend(q, k, v, mask=causal_mask(T, device=x.device))[1]


def prefix_matching(
    weights: torch.Tensor, tokens: torch.Tensor, places: slice = slice(None)
) -> torch.Tensor:
    """How much of its attention each head pays to what stood behind earlier occurrences: `(H,)`.

    Args:
        weights: of one layer, `(B, H, T, T)`.
        tokens: `(B, T)`.
        places: of the tokens that look; those without an earlier occurrence are left out.

    Returns:
        The mean over the tokens that look, between 0 and 1.

    Raises:
        ValueError: none of these tokens has occurred before.
    """
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)  # (B, T, T): j is the same, earlier
    behind = same.roll(1, dims=2)  # the token after j; j is never the last, so nothing wraps round
    found = (weights * behind[:, None]).sum(-1)  # (B, H, T)
    looks = same.any(-1)[:, places]  # (B, N)
    if not looks.any():
        raise ValueError("no token at these places has occurred before: take longer sequences")
    return found[:, :, places].transpose(0, 1)[:, looks].mean(1)


def look_back(weights: torch.Tensor, places: slice = slice(1, None)) -> torch.Tensor:
    """How much of its attention each head pays to the token before: `(H,)`.

    Args:
        weights: of one layer, `(B, H, T, T)`.
        places: of the tokens that look; not the first, which has none before it.
    """
    before = weights.diagonal(-1, dim1=2, dim2=3)  # (B, H, T - 1); entry i is for token i + 1
    index = torch.arange(weights.shape[-1], device=weights.device)[places]
    if (index < 1).any():
        raise ValueError(f"places={places} holds the first token, which has none before it")
    return before[:, :, index - 1].mean((0, 2))


@contextlib.contextmanager
def without_heads(model: GPT, heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Let a model run with the outputs of some heads set to 0.

    Args:
        model: the model.
        heads: pairs of layer and head, both from 0.

    Raises:
        ValueError: a layer or a head that the model does not have.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        if not (0 <= layer < model.config.n_layers and 0 <= head < model.config.n_heads):
            raise ValueError(
                f"there is no head {head} in layer {layer}: the model has "
                f"{model.config.n_layers} layers of {model.config.n_heads} heads, from 0"
            )
        by_layer.setdefault(layer, []).append(head)
    hooks = [
        model.blocks[layer].attention.out.register_forward_pre_hook(
            lambda _, given, removed=tuple(removed): (
                _zero_heads(given[0], removed, model.config.head_dim),
            )
        )
        for layer, removed in by_layer.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _zero_heads(x: torch.Tensor, heads: tuple[int, ...], head_dim: int) -> torch.Tensor:
    """`(B, T, C)` with the columns of some heads at 0."""
    keep = torch.ones(x.shape[-1] // head_dim, dtype=x.dtype, device=x.device)
    keep[list(heads)] = 0
    return x * keep.repeat_interleave(head_dim)
