"""Heads that begin with something useful to do: copy, look back, match."""

import pytest
import torch

from aigc_lab.models.attention import attend, causal_mask
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.positional import HALF_SPLIT, apply_rope, rope_angles

SMALL = {"context_length": 32, "d_model": 24, "n_layers": 2, "n_heads": 4}
LARGER = {"context_length": 256, "d_model": 128, "n_heads": 4, "copy_init": 0.5}


def weights_of(model, layer, x):
    """Attention weights (H, T, T) for x (1, T, C), by the plain attention of chapter 04."""
    config, T = model.config, x.shape[1]
    heads = model.blocks[layer].attention.qkv(x).view(1, T, -1, config.head_dim).transpose(1, 2)
    q, k, v = heads.split([config.n_heads, config.kv_heads, config.kv_heads], dim=1)
    rope = rope_angles(torch.arange(T), config.head_dim, config.rope_base)
    q, k = (apply_rope(part, *rope, HALF_SPLIT) for part in (q, k))
    return attend(q, k, v, mask=causal_mask(T))[1][0]


def test_a_copying_attention_hands_on_the_average_of_what_it_saw():
    config = GPTConfig(50, **SMALL, copy_init=0.1)
    attention = GPT(config).blocks[1].attention
    with torch.no_grad():
        attention.qkv.weight[: config.d_model] = 0  # no query: all earlier tokens weigh alike
    x = torch.randn(2, 6, config.d_model)
    average = x.cumsum(1) / torch.arange(1, 7)[:, None]
    out = attention(x, rope=None, mask=None, cache=None)
    torch.testing.assert_close(out, 0.1 * average, atol=1e-6, rtol=1e-5)


def test_a_copying_attention_starts_with_scores_of_standard_deviation_one():
    config = GPTConfig(50, context_length=64, d_model=256, n_heads=8, copy_init=0.1)
    attention = GPT(config).blocks[0].attention
    x = torch.randn(1, 200, 256)
    q, k, _ = attention.qkv(x).view(200, 24, 32).split(8, dim=1)
    scores = torch.einsum("thd,shd->hts", q, k) / 32**0.5
    assert 0.9 < scores.std().item() < 1.1


def test_grouped_queries_copy_what_fits_into_their_values():
    config = GPTConfig(50, **SMALL, copy_init=0.5, n_kv_heads=2)
    attention = GPT(config).blocks[0].attention
    with torch.no_grad():
        attention.qkv.weight[: config.d_model] = 0
    # What one token hands on, as a matrix: half of a projection onto 12 of the 24 dimensions.
    once = attention(torch.eye(24)[:, None], rope=None, mask=None, cache=None)[:, 0] / 0.5
    torch.testing.assert_close(once @ once, once, atol=1e-6, rtol=1e-5)
    assert round(once.trace().item(), 4) == 12


@pytest.mark.parametrize("n_kv_heads", [4, 2])
@pytest.mark.parametrize(("n_layers", "n_lower"), [(4, 2), (5, 3)])
def test_heads_that_look_back_weigh_the_token_so_far_back_most(n_kv_heads, n_layers, n_lower):
    torch.manual_seed(0)
    model = GPT(
        GPTConfig(
            50, **LARGER, n_layers=n_layers, n_kv_heads=n_kv_heads, bias=True, look_back_init=5
        )
    )
    for layer in range(n_layers):
        weights = weights_of(model, layer, torch.randn(1, 40, 128))
        for head in range(4):
            # Of all queries with so long a past; without the start a tenth or less.
            by_distance = [weights[head].diagonal(-back).mean().item() for back in range(12)]
            assert (by_distance[head + 1] > 0.4) == (layer < n_lower), (layer, head)
            if layer < n_lower:
                assert max(by_distance) == by_distance[head + 1]


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_heads_that_match_weigh_tokens_like_themselves_most(n_kv_heads):
    """Each token comes twice: the second looks at the first far more than at the others."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(50, **LARGER, n_layers=4, n_kv_heads=n_kv_heads, match_init=1))
    T = 128
    once = torch.randn(1, T, 128)
    for layer in range(4):
        weights = weights_of(model, layer, torch.cat([once, once], dim=1))
        same = weights.diagonal(-T, dim1=1, dim2=2).mean().item()  # blind heads: about 0.005
        assert (same > 0.1) == (layer >= 2), (layer, same)


def test_a_start_that_the_architecture_cannot_have_is_refused():
    with pytest.raises(ValueError, match=r"copy_init=-0\.1 must be 0 .* or more"):
        GPTConfig(50, copy_init=-0.1)
    for settings in ({"bias": False}, {"bias": True, "positions": "learned"}):
        with pytest.raises(ValueError, match="look_back_init=5 needs positions='rope' and bias"):
            GPTConfig(50, look_back_init=5, **settings)
    with pytest.raises(ValueError, match="match_init=1 needs positions='rope', not 'learned'"):
        GPTConfig(50, match_init=1, positions="learned")
