"""The encoder–decoder Transformer against torch's layers and transformers' Marian."""

import math

import pytest
import torch
from torch import nn

from aigc_lab.models.attention import MultiHeadAttention, causal_mask
from aigc_lab.models.recurrent import RecurrentConfig, RecurrentTranslator
from aigc_lab.models.transformer import (
    DecoderLayer,
    EncoderLayer,
    Transformer,
    TransformerConfig,
)

C, H = 16, 4


def config(**changes):
    settings = {"source_vocab_size": 11, "target_vocab_size": 13, "d_model": C, "n_heads": H}
    return TransformerConfig(**settings | changes)


@torch.no_grad()
def randomise(model, seed=0):
    """Random values everywhere: biases and norms too, which start at 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


@torch.no_grad()
def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention):
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
    theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    theirs.out_proj.load_state_dict(ours.o_proj.state_dict())


def copy_feed_forward(ours: nn.Sequential, theirs):
    theirs.linear1.load_state_dict(ours[0].state_dict())
    theirs.linear2.load_state_dict(ours[2].state_dict())


def torch_layer(kind, norm):
    """A layer of torch's with the same sizes and the same place of the norm."""
    is_pre = norm == "pre"
    return kind(C, H, 4 * C, dropout=0.0, batch_first=True, norm_first=is_pre).eval()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_encoder_layer_equals_torch(norm):
    ours = randomise(EncoderLayer(config(norm=norm)))
    theirs = torch_layer(nn.TransformerEncoderLayer, norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_feed_forward(ours.feed_forward, theirs)
    theirs.norm1.load_state_dict(ours.around_attention.norm.state_dict())
    theirs.norm2.load_state_dict(ours.around_feed_forward.norm.state_dict())
    x = torch.randn(3, 5, C, generator=torch.Generator().manual_seed(1))
    is_real = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    found = ours(x, is_real[:, None, None])
    expected = theirs(x, src_key_padding_mask=~is_real)
    torch.testing.assert_close(found[is_real], expected[is_real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_decoder_layer_equals_torch(norm):
    ours = randomise(DecoderLayer(config(norm=norm)))
    theirs = torch_layer(nn.TransformerDecoderLayer, norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_feed_forward(ours.feed_forward, theirs)
    for own, other in (
        (ours.around_self, theirs.norm1),
        (ours.around_cross, theirs.norm2),
        (ours.around_feed_forward, theirs.norm3),
    ):
        other.load_state_dict(own.norm.state_dict())
    generator = torch.Generator().manual_seed(1)
    x, memory = (torch.randn(2, n, C, generator=generator) for n in (4, 6))
    is_real = torch.arange(6) < torch.tensor([6, 2])[:, None]
    found, weights = ours(x, memory, causal_mask(4), is_real[:, None, None])
    expected = theirs(x, memory, tgt_mask=~causal_mask(4), memory_key_padding_mask=~is_real)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert weights.shape == (2, H, 4, 6)
    assert weights[1, :, :, 2:].abs().max() == 0


def test_logits_equal_transformers_marian():
    """Marian is the post-norm Transformer; its positions list all sines before all cosines."""
    transformers = pytest.importorskip("transformers")
    marian = transformers.MarianMTModel(
        transformers.MarianConfig(
            vocab_size=13,
            decoder_vocab_size=13,
            d_model=C,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=H,
            decoder_attention_heads=H,
            encoder_ffn_dim=4 * C,
            decoder_ffn_dim=4 * C,
            activation_function="relu",
            scale_embedding=True,
            max_position_embeddings=32,
            dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            forced_eos_token_id=1,
        )
    )
    # Random values, except for the tables of positions, which are computed.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in marian.named_parameters():
            if "embed_positions" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    marian.eval()
    ours = Transformer(config(source_vocab_size=13, norm="post", max_length=32)).eval()
    # Channel 2i of ours (a sine) is channel i of theirs, 2i + 1 (its cosine) is C/2 + i.
    order = torch.arange(C).view(2, C // 2).T.flatten()
    own = translated(marian.model.state_dict(), order)
    missing = ours.load_state_dict(own, strict=False).missing_keys
    assert missing == []
    torch.testing.assert_close(
        ours.positions, marian.model.encoder.embed_positions.weight[:32, order], atol=1e-5, rtol=0
    )
    source = torch.tensor([[3, 5, 7, 2, 9], [4, 6, 1, 0, 0]])
    target = torch.tensor([[1, 8, 3, 4], [1, 12, 2, 5]])
    with torch.no_grad():
        expected = marian(
            input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=target
        ).logits
        found = ours(source, target)
    bias = marian.final_logits_bias[0]
    torch.testing.assert_close(found + bias, expected, rtol=1e-4, atol=1e-4)


def translated(theirs: dict[str, torch.Tensor], order: torch.Tensor) -> dict[str, torch.Tensor]:
    """Marian's weights under our names, with the stream's channels in our order."""
    parts = {
        "encoder": {
            "self_attn": "self_attention",
            "self_attn_layer_norm": "around_attention.norm",
            "final_layer_norm": "around_feed_forward.norm",
        },
        "decoder": {
            "self_attn": "self_attention",
            "self_attn_layer_norm": "around_self.norm",
            "encoder_attn": "cross_attention",
            "encoder_attn_layer_norm": "around_cross.norm",
            "final_layer_norm": "around_feed_forward.norm",
        },
    }
    projections = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "out_proj": "o_proj"}
    found = {
        "source_embedding.weight": theirs["encoder.embed_tokens.weight"][:, order],
        "target_embedding.weight": theirs["decoder.embed_tokens.weight"][:, order],
        "head.weight": theirs["decoder.embed_tokens.weight"][:, order],
    }
    for side, names in parts.items():
        for layer in range(2):
            here, there = f"{side}.{layer}", f"{side}.layers.{layer}"
            for name, own in names.items():
                if "norm" in name:
                    for kind in ("weight", "bias"):
                        found[f"{here}.{own}.{kind}"] = theirs[f"{there}.{name}.{kind}"][order]
                    continue
                for projection, own_projection in projections.items():
                    weight = theirs[f"{there}.{name}.{projection}.weight"]
                    bias = theirs[f"{there}.{name}.{projection}.bias"]
                    if projection == "out_proj":
                        weight, bias = weight[order], bias[order]
                    else:
                        weight = weight[:, order]
                    found[f"{here}.{own}.{own_projection}.weight"] = weight
                    found[f"{here}.{own}.{own_projection}.bias"] = bias
            for number, name in ((0, "fc1"), (2, "fc2")):
                weight, bias = theirs[f"{there}.{name}.weight"], theirs[f"{there}.{name}.bias"]
                weight, bias = (
                    (weight[:, order], bias) if number == 0 else (weight[order], bias[order])
                )
                found[f"{here}.feed_forward.{number}.weight"] = weight
                found[f"{here}.feed_forward.{number}.bias"] = bias
    return found


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_later_target_token_changes_nothing_before_it(norm):
    model = randomise(Transformer(config(norm=norm)))
    source = torch.tensor([[3, 5, 7, 2]])
    target = torch.tensor([[1, 2, 3, 4, 5]])
    changed = target.clone()
    changed[0, 3] = 9
    with torch.no_grad():
        one, two = model(source, target), model(source, changed)
    assert torch.equal(one[:, :3], two[:, :3])
    assert (one[:, 3:] - two[:, 3:]).abs().max() > 1e-3


def test_padding_changes_nothing():
    model = randomise(Transformer(config()))
    target = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        short = model(torch.tensor([[3, 5]]), target)
        long = model(torch.tensor([[3, 5, 0, 0, 0]]), target)
    torch.testing.assert_close(short, long, rtol=1e-5, atol=1e-6)


def test_every_source_token_is_seen_by_every_target_token():
    model = randomise(Transformer(config()))
    target = torch.tensor([[1, 2]])
    with torch.no_grad():
        one = model(torch.tensor([[3, 5, 7]]), target)
        for place in range(3):
            source = torch.tensor([[3, 5, 7]])
            source[0, place] = 8
            assert (model(source, target) - one).abs().amax(-1).min() > 1e-4


def test_embeddings_are_scaled_to_the_size_of_the_positions():
    torch.manual_seed(0)
    model = Transformer(config(source_vocab_size=500, d_model=64, n_heads=4))
    tokens = torch.arange(1, 100)[None]
    embedded = model.source_embedding(tokens) * math.sqrt(64)
    assert 0.9 < embedded.std() < 1.1
    torch.testing.assert_close(
        model._embed(tokens, model.source_embedding, "source"), embedded + model.positions[:99]
    )


def test_a_source_of_padding_only_gives_finite_numbers():
    model = randomise(Transformer(config()))
    logits = model(torch.tensor([[0, 0], [3, 4]]), torch.tensor([[1, 2], [1, 2]]))
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "sandwich"}, "norm='sandwich' is not one of"),
        ({"d_model": 15, "n_heads": 3}, "d_model=15 must be even"),
        ({"pad_token": 11}, "pad_token=11 must be an id of both vocabularies"),
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"max_length": 0}, "max_length=0 must be at least 1"),
    ],
)
def test_clear_errors_of_the_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_clear_errors_of_the_model():
    with pytest.raises(ValueError, match="d_model=16 is not divisible by n_heads=3"):
        Transformer(config(n_heads=3))
    model = Transformer(config(max_length=4))
    fine = torch.tensor([[1, 2]])
    with pytest.raises(ValueError, match="source has 5 tokens, more than max_length=4"):
        model(torch.ones(1, 5, dtype=torch.long), fine)
    with pytest.raises(ValueError, match="target holds the id 13, outside its vocabulary of 13"):
        model(fine, torch.tensor([[13]]))
    with pytest.raises(ValueError, match="target must have shape"):
        model(fine, torch.empty(1, 0, dtype=torch.long))
    memory, mask = model.encode(fine)
    with pytest.raises(ValueError, match="take both from encode"):
        model.decode(torch.tensor([[1], [1]]), memory, mask)


@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_a_target_without_its_start_token_is_refused(kind):
    settings = {"d_model": 8, "start_token": 1}
    if kind == "transformer":
        model = Transformer(TransformerConfig(9, 9, n_heads=2, **settings))
    else:
        model = RecurrentTranslator(RecurrentConfig(9, 9, **settings))
    source = torch.tensor([[3, 4], [5, 6]])
    model(source, torch.tensor([[1, 4], [1, 0]]))
    with pytest.raises(ValueError, match=r"row 1 begins with the id 4 and not with start_token=1"):
        model(source, torch.tensor([[1, 4], [4, 2]]))
