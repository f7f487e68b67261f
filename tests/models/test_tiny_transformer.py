"""aigc_lab.models.tiny_transformer: what each kind of positions may and may not see."""

import math

import pytest
import torch
from torch.nn import functional as F

from aigc_lab.models.positional import alibi_bias, rope_angles, sinusoidal
from aigc_lab.models.tiny_transformer import POSITIONS, TinyTransformer
from aigc_lab.training.fit import fit


def build(positions: str, **settings) -> TinyTransformer:
    torch.manual_seed(0)
    settings = {"d_model": 16, "n_heads": 4, "n_layers": 2, "context_length": 20, **settings}
    return TinyTransformer(11, positions, **settings).double()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("positions", POSITIONS)
def test_shapes_and_weights(positions):
    logits, maps = build(positions, n_layers=3)(tokens(2, 9))
    assert logits.shape == (2, 9, 11)
    assert [tuple(weights.shape) for weights in maps] == [(2, 4, 9, 9)] * 3
    for weights in maps:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 9).double())
        assert weights.triu(1).eq(0).all()


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_token_sees_a_later_one(positions):
    model, before = build(positions), tokens(1, 9)
    expected = model(before)[0]
    for t in range(9):
        changed = before.clone()
        changed[0, t] = (changed[0, t] + 1) % 11
        logits = model(changed)[0]
        torch.testing.assert_close(logits[:, :t], expected[:, :t], atol=0, rtol=0)
        assert (logits[:, t:] - expected[:, t:]).abs().amax(-1).gt(1e-9).all()
    gradient = torch.autograd.grad(expected[0, 4].sum(), model.embedding.weight, retain_graph=True)[
        0
    ]
    unseen = sorted(set(before[0, 5:].tolist()) - set(before[0, :5].tolist()))
    assert unseen
    assert gradient[unseen].eq(0).all()


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_prefix_gives_the_same_logits(positions):
    model, whole = build(positions), tokens(2, 12)
    torch.testing.assert_close(model(whole[:, :5])[0], model(whole)[0][:, :5], atol=1e-12, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS)
def test_only_positions_break_the_symmetry(positions):
    """Without a mask, attention treats a sequence as a set unless positions tell the order."""
    model, x = build(positions, causal=False), tokens(2, 8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    difference = (model(x[:, order])[0] - model(x)[0][:, order]).abs().max().item()
    if positions == "none":
        assert difference < 1e-13
    else:
        assert difference > 1e-6
    assert model(x)[1][0].gt(0).all()  # nothing is masked


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_the_whole_forward_pass_by_hand(positions, causal):
    model, x = build(positions, causal=causal), tokens(2, 7)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}

    def norm(h, name):
        return F.layer_norm(h, (16,), state[f"{name}.weight"], state[f"{name}.bias"])

    h = F.embedding(x, state["embedding.weight"])
    if positions == "sinusoidal":
        h = h + (sinusoidal(7, 16) * math.sqrt(2 / 16)).double()
    elif positions == "learned":
        h = h + state["learned.table.weight"][:7]
    bias = torch.zeros(4, 7, 7).double()
    if positions == "alibi":
        bias = alibi_bias(4, 7).double()
    if causal:
        bias = bias.masked_fill(~torch.ones(7, 7).bool().tril(), -torch.inf)
    cos, sin = (angle.double() for angle in rope_angles(torch.arange(7), 4))
    for n in range(2):
        normed = norm(h, f"blocks.{n}.attention_norm")
        q, k, v = (
            (normed @ state[f"blocks.{n}.attention.{p}_proj.weight"].T)
            .view(2, 7, 4, 4)
            .transpose(1, 2)
            for p in "qkv"
        )
        if positions == "rope":
            q, k = (
                torch.cat(
                    [y[..., :2] * cos - y[..., 2:] * sin, y[..., :2] * sin + y[..., 2:] * cos], -1
                )
                for y in (q, k)
            )
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        mixed = heads.transpose(1, 2).reshape(2, 7, 16)
        h = h + mixed @ state[f"blocks.{n}.attention.o_proj.weight"].T
        inner = norm(h, f"blocks.{n}.feed_forward.0")
        first, second = (f"blocks.{n}.feed_forward.{i}" for i in (1, 3))
        inner = F.gelu(F.linear(inner, state[f"{first}.weight"], state[f"{first}.bias"]))
        h = h + F.linear(inner, state[f"{second}.weight"], state[f"{second}.bias"])
    expected = F.linear(norm(h, "norm"), state["head.weight"], state["head.bias"])
    torch.testing.assert_close(model(x)[0], expected, atol=1e-12, rtol=0)


def test_embeddings_start_with_length_about_one():
    torch.manual_seed(0)
    model = TinyTransformer(1000, "sinusoidal", d_model=64)
    lengths = model.embedding.weight.norm(dim=-1)
    assert lengths.mean().item() == pytest.approx(1, abs=0.02)


def test_default_sizes():
    model = TinyTransformer(5, "learned")
    assert len(model.blocks) == 2
    assert model.n_heads == 4
    assert model.causal is True
    assert model.learned.table.weight.shape == (512, 64)
    assert model.blocks[0].feed_forward[1].weight.shape == (256, 64)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"positions='rotary' is not one of \('none', .*'alibi'\)"):
        TinyTransformer(5, "rotary")
    with pytest.raises(ValueError, match="d_model=10 is not divisible by n_heads=4"):
        TinyTransformer(5, "none", d_model=10)
    with pytest.raises(ValueError, match=r"21 tokens does not fit context_length=20"):
        build("learned")(tokens(1, 21))
    assert build("sinusoidal")(tokens(1, 21))[0].shape == (1, 21, 11)  # only learned ones are bound
    with pytest.raises(ValueError, match="even, positive"):
        build("rope", d_model=12)(tokens(1, 3))  # head_dim 3


def loss_after_training_on_noise(**settings):
    """Loss on random tokens at the end of training: no honest model gets below log V."""
    torch.manual_seed(0)
    model = TinyTransformer(8, "learned", d_model=32, context_length=16, **settings)

    def batch_loss():
        x = torch.randint(8, (32, 17))
        return F.cross_entropy(model(x[:, :-1])[0].flatten(0, 1), x[:, 1:].flatten())

    return sum(fit(model, batch_loss, 120, 5e-3)[-20:]) / 20


def test_there_is_nothing_to_learn_in_noise():
    assert abs(loss_after_training_on_noise() - math.log(8)) < 0.03


def test_a_model_that_sees_the_future_is_found_by_training_on_noise():
    assert loss_after_training_on_noise(causal=False) < math.log(8) - 0.1
