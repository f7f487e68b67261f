"""A head start for attention: initial weights with which heads can look things up.

With small random weights an untrained head hands on a scrambled average of all earlier tokens. To
look something up it needs three parts at once, and while one is missing the others bring nothing.
Each part is a setting of `GPTConfig`, and changes nothing but the initial weights:

- `copy_init`: values times output matrix are so much times the identity, so a head hands on what
  it sees. About 0.5.
- `look_back_init`: in the lower half of the blocks, head h = 1, 2, ... looks h tokens back,
  whatever the tokens are; this is the size of the biases that do it. About 5. Needs RoPE and
  biases.
- `match_init`: in the upper half, a token looks at tokens like itself, near or far; this is the
  size of queries and keys. About 1. Needs RoPE.

Lower and upper together are what is called induction heads: "ring" in a question finds "ring" in
the story, which has been told that "black" stands before it.

Shapes as in `aigc_lab.models.gpt`: C = d_model, H heads, H_kv key and value heads, D = C/H.

Sources: Trockman and Kolter 2023 (values and outputs that undo each other; their product is minus
the identity, as they found it in trained vision models, and to copy the sign must be plus), Olsson
et al. 2022 (induction heads).
"""

from collections.abc import Sequence

import torch
from torch import nn

from aigc_lab.models.positional import frequencies

# The start that lets a GPT of a handful of blocks look things up: chapter 07 compares it.
LOOKING_UP = {"copy_init": 0.5, "look_back_init": 5.0, "match_init": 1.0}
N_PAIRS = 6  # so many of the pairs that RoPE turns, the fastest or the slowest


def start_attention(attentions: Sequence[nn.Module]) -> None:
    """Give the attention of each block the start that its settings ask for.

    Args:
        attentions: every `CausalSelfAttention` of a model, in order, with random weights.
    """
    n_lower = -(-len(attentions) // 2)
    for attention in attentions:
        if attention.config.copy_init:
            start_copying(attention, attention.config.copy_init)
    for layer, attention in enumerate(attentions):
        if attention.config.look_back_init and layer < n_lower:
            start_looking_back(attention, attention.config.look_back_init)
        if attention.config.match_init and layer >= n_lower:
            start_matching(attention, attention.config.match_init)


@torch.no_grad()
def start_copying(attention: nn.Module, amount: float) -> None:
    """Set values and output so that one undoes the other, but for the factor `amount`.

    The values are a random rotation R of the input, the output matrix amount·Rᵀ. Grouped queries
    have fewer values than C: then R keeps a random subspace, which each of the heads of a group
    hands back in part. Queries and keys are drawn so large that scores have a standard deviation
    of about 1: with std 0.02 all earlier tokens would weigh alike.
    """
    config, qkv = attention.config, attention.qkv
    C, n_values = config.d_model, config.kv_heads * config.head_dim
    nn.init.normal_(qkv.weight[:-n_values], std=C**-0.5)
    rotation = nn.init.orthogonal_(torch.empty(n_values, C))
    qkv.weight[-n_values:] = rotation
    n_shared = config.n_heads // config.kv_heads
    by_head = rotation.view(config.kv_heads, -1, C).repeat_interleave(n_shared, dim=0)  # (H, D, C)
    attention.out.weight.copy_(amount / n_shared * by_head.flatten(0, 1).T)


@torch.no_grad()
def start_looking_back(attention: nn.Module, size: float) -> None:
    """Set the biases of queries and keys so that head h = 1, 2, ... looks h tokens back.

    RoPE turns the key of position p by p steps, and the query likewise. Let both biases be the
    same vector, but that of the query turned back by h steps: then the two point in the same
    direction where the key is h tokens before the query. Only pairs that turn fast tell
    neighbours apart; the others stay with the tokens.
    """
    config = attention.config
    D, n_fast = config.head_dim, min(N_PAIRS, config.head_dim // 2)
    angles = frequencies(D, config.rope_base)[:n_fast]
    n_rows = (config.n_heads + config.kv_heads) * D
    bias = attention.qkv.bias[:n_rows].view(-1, 2, D // 2)  # (H + H_kv, halves of pairs, pairs)
    bias[config.n_heads :, 0, :n_fast] = size
    for head in range(config.n_heads):
        bias[head, 0, :n_fast] = size * (-(head + 1) * angles).cos().float()
        bias[head, 1, :n_fast] = size * (-(head + 1) * angles).sin().float()


@torch.no_grad()
def start_matching(attention: nn.Module, size: float) -> None:
    """Set queries equal to keys, so that a token looks at tokens like itself.

    A query and a key that RoPE has turned by different angles no longer match. So most of their
    length goes to the pairs that turn slowest: at D = 32, by less than a radian in 300 tokens. The
    others, which tell distances, get a tenth of the usual.
    """
    config = attention.config
    D, C, n_slow = config.head_dim, config.d_model, min(N_PAIRS, config.head_dim // 2)
    keys = torch.randn(config.kv_heads, 2, D // 2, C) * (size / C**0.5)
    keys[:, :, :-n_slow] *= 0.1
    keys[:, :, -n_slow:] *= (D / 2 / n_slow) ** 0.5  # as long as if all pairs were equal
    queries = keys.repeat_interleave(config.n_heads // config.kv_heads, dim=0)
    n_rows = (config.n_heads + config.kv_heads) * D
    attention.qkv.weight[:n_rows] = torch.cat([queries, keys]).view(-1, C)
