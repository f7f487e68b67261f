"""Where heads look, and models without some of them."""

import pytest
import torch

from aigc_lab.evaluation.induction import attention_maps, look_back, prefix_matching, without_heads
from aigc_lab.models.gpt import GPT, GPTConfig


def model_of(**settings) -> GPT:
    torch.manual_seed(0)
    sizes = {"context_length": 16, "d_model": 16, "n_layers": 2, "n_heads": 4, **settings}
    model = GPT(GPTConfig(12, **sizes))
    with torch.no_grad():  # GPT-2's small start attends almost evenly
        for block in model.blocks:
            block.attention.qkv.weight.mul_(20)
    return model.eval()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_kv_heads": 2},
        {"positions": "learned", "norm": "layer", "activation": "gelu", "bias": True},
    ],
)
def test_the_weights_are_those_that_the_model_uses(settings):
    """Weights times values, through the output matrix, is what the fused kernel gives."""
    model = model_of(**settings)
    tokens = torch.randint(12, (3, 9), generator=torch.Generator().manual_seed(1))
    seen = []
    for block in model.blocks:
        block.attention.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        model(tokens)
    count = len(seen)
    maps = attention_maps(model, tokens)
    assert len(maps) == 2
    for block, weights, (x, out) in zip(model.blocks, maps, seen[:count], strict=True):
        config, attention = model.config, block.attention
        assert weights.shape == (3, 4, 9, 9)
        assert (weights.triu(1) == 0).all() and weights.max() > 0.5
        n_kv, D = config.kv_heads, config.head_dim
        values = attention.qkv(x)[..., -n_kv * D :].unflatten(-1, (n_kv, D)).transpose(1, 2)
        values = values.repeat_interleave(4 // n_kv, dim=1)
        mixed = (weights @ values).transpose(1, 2).flatten(2)
        assert torch.allclose(attention.out(mixed), out, atol=1e-5)
    assert all(not block.attention._forward_pre_hooks for block in model.blocks)


def test_prefix_matching_counts_what_stood_behind_earlier_occurrences():
    """Compared with plain loops."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, (5, 10), generator=generator)
    weights = torch.rand(5, 3, 10, 10, generator=generator).tril()
    weights = weights / weights.sum(-1, keepdim=True)
    for places in (slice(None), slice(0, None, 2), slice(1, None, 2)):
        expected = []
        for head in range(3):
            found = []
            for row in range(5):
                for i in range(10)[places]:
                    before = [j for j in range(i) if tokens[row, j] == tokens[row, i]]
                    if before:
                        found.append(sum(weights[row, head, i, j + 1].item() for j in before))
            expected.append(sum(found) / len(found))
        got = prefix_matching(weights, tokens, places)
        assert torch.allclose(got, torch.tensor(expected), atol=1e-5)
    with pytest.raises(ValueError, match="has occurred before"):
        prefix_matching(weights[..., :4, :4], torch.arange(4).expand(5, 4))


def test_a_perfect_induction_head_scores_one_and_a_shifted_one_does_not():
    tokens = torch.tensor([[1, 2, 3, 1, 2, 3, 1]])
    weights = torch.zeros(1, 2, 7, 7)
    for i in range(7):
        weights[0, 0, i, i - 2 if i > 2 else 0] = 1  # behind the last occurrence, 3 places back
        weights[0, 1, i, i - 3 if i > 2 else 0] = 1  # the occurrence itself
    assert prefix_matching(weights, tokens).tolist() == [1, 0]


def test_look_back_is_the_attention_to_the_token_before():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 3, 8, 8, generator=generator)
    for places in (slice(1, None), slice(1, None, 2), slice(4, 6)):
        expected = [
            torch.stack([weights[:, head, i, i - 1] for i in range(8)[places]]).mean()
            for head in range(3)
        ]
        assert torch.allclose(look_back(weights, places), torch.stack(expected))
    with pytest.raises(ValueError, match="the first token"):
        look_back(weights, slice(0, None, 2))


def test_a_head_is_removed_as_if_its_columns_of_the_output_matrix_were_zero():
    model = model_of()
    tokens = torch.randint(12, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(tokens)
        with without_heads(model, [(1, 2), (0, 0), (1, 3)]):
            removed = model(tokens)
        assert torch.equal(model(tokens), whole)
        model.blocks[1].attention.out.weight[:, 8:16] = 0
        model.blocks[0].attention.out.weight[:, :4] = 0
        expected = model(tokens)
    assert torch.allclose(removed, expected, atol=1e-6)
    assert not torch.allclose(removed, whole, atol=1e-3)
    for head in ((2, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match="2 layers of 4 heads"), without_heads(model, [head]):
            pass


def test_heads_come_back_after_an_error():
    model = model_of()
    with pytest.raises(ZeroDivisionError), without_heads(model, [(0, 1)]):
        1 / 0  # noqa: B018
    assert not model.blocks[0].attention.out._forward_pre_hooks
