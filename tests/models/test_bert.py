"""BERT against transformers' BertForPreTraining, and what holds for any bidirectional encoder."""

import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from aigc_lab.data.masking import MaskedBatch
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.models.bert import BERT, BERTConfig
from aigc_lab.models.bert_pretraining import (
    BERTForPretraining,
    masked_loss,
    pretraining_loss,
)
from aigc_lab.models.bert_transformers import load_transformers, to_transformers

B, T, V, PAD = 3, 7, 19, 0


def config(**changes):
    settings = {"vocab_size": V, "pad_token": PAD, "max_length": 10, "d_model": 16, "n_layers": 2}
    return BERTConfig(**settings | {"n_heads": 4, "d_ff": 24} | changes)


@torch.no_grad()
def randomise(model, seed=0):
    """Random values everywhere: biases and norms too, which start at 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def theirs():
    settings = BertConfig(
        vocab_size=V,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=10,
        pad_token_id=PAD,
        attn_implementation="eager",
    )
    return randomise(BertForPreTraining(settings), seed=1)


def inputs(seed=0):
    """Tokens, mask and segments; row 0 is full, row 1 padded, row 2 has two tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, V, (B, T), generator=generator)
    lengths = torch.tensor([T, 5, 2])
    mask = torch.arange(T) < lengths[:, None]
    segments = (torch.arange(T) >= 3).long().expand(B, T) * mask
    return torch.where(mask, tokens, PAD), mask, segments


def compare(ours, other, tokens, mask, segments):
    with torch.no_grad():
        a = ours(tokens, mask, segments)
        b = other(tokens, attention_mask=mask.long(), token_type_ids=segments)
    shown = mask if mask is not None else torch.ones_like(tokens, dtype=torch.bool)
    difference = (a.prediction_logits - b.prediction_logits)[shown].abs().max()
    assert difference < 1e-5, difference
    torch.testing.assert_close(
        a.seq_relationship_logits, b.seq_relationship_logits, atol=1e-5, rtol=1e-5
    )


def test_equals_transformers_with_padding_and_segments():
    other = theirs()
    ours = randomise(BERTForPretraining(config()))
    load_transformers(ours, other.state_dict())
    tokens, mask, segments = inputs()
    compare(ours, other, tokens, mask, segments)
    compare(ours, other, tokens, torch.ones_like(mask), torch.zeros_like(segments))


def test_encoder_equals_transformers():
    other = theirs()
    ours = randomise(BERTForPretraining(config()))
    load_transformers(ours, other.state_dict())
    tokens, mask, segments = inputs()
    with torch.no_grad():
        a = ours.bert(tokens, mask, segments)
        b = other.bert(
            tokens, attention_mask=mask.long(), token_type_ids=segments, output_attentions=True
        )
    torch.testing.assert_close(
        a.last_hidden_state[mask], b.last_hidden_state[mask], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(a.pooler_output, b.pooler_output, atol=1e-5, rtol=1e-5)
    for mine, other_map in zip(a.attentions, b.attentions, strict=True):
        torch.testing.assert_close(mine[0], other_map[0], atol=1e-5, rtol=1e-5)


def test_weights_go_back_to_transformers():
    ours, other = randomise(BERTForPretraining(config()), seed=3), theirs()
    other.load_state_dict(to_transformers(ours))
    compare(ours, other, *inputs())


def test_weights_that_do_not_fit():
    weights = theirs().state_dict()
    with pytest.raises(ValueError, match=r"has shape \(10, 16\)"):
        load_transformers(BERTForPretraining(config(max_length=11)), weights)
    with pytest.raises(ValueError, match=r"lacks 'bert\.encoder\.layer\.2"):
        load_transformers(BERTForPretraining(config(n_layers=3)), weights)
    with pytest.raises(ValueError, match=r"more than model\.config\.n_layers=1"):
        load_transformers(BERTForPretraining(config(n_layers=1)), weights)
    untied = dict(weights)
    untied["cls.predictions.decoder.weight"] = weights["cls.predictions.decoder.weight"] + 1
    with pytest.raises(ValueError, match="here the two are one tensor"):
        load_transformers(BERTForPretraining(config()), untied)


def test_padding_changes_nothing():
    model = randomise(BERTForPretraining(config()))
    tokens, mask, segments = inputs()
    with torch.no_grad():
        padded = model(tokens, segments=segments)  # the mask by default: all but the padding
        given = model(tokens, mask, segments)
        junk = model(torch.where(mask, tokens, 5), mask, segments)
        alone = model(tokens[1:2, :5], segments=segments[1:2, :5])
    assert torch.equal(padded.prediction_logits, given.prediction_logits)
    assert torch.equal(given.prediction_logits[mask], junk.prediction_logits[mask])
    for short, long in zip(alone, padded, strict=True):
        torch.testing.assert_close(short[0], long[1, :5] if long.dim() == 3 else long[1])


def test_every_token_sees_every_other():
    model = randomise(BERTForPretraining(config()))
    tokens = inputs()[0][:1]
    states = model.bert.token_embedding(tokens).detach().requires_grad_()
    model.bert.token_embedding.forward = lambda _: states
    for place in range(T):
        (gradient,) = torch.autograd.grad(
            model.bert(tokens).last_hidden_state[0, place].sum(), states
        )
        assert (gradient[0].abs().sum(-1) > 0).all()


def test_order_and_segments_matter():
    model = randomise(BERT(config()))
    tokens, _, segments = inputs()
    with torch.no_grad():
        plain = model(tokens[:1]).pooler_output
        turned = model(tokens[:1].roll(1, dims=1)[:, [1, 0, *range(2, T)]]).pooler_output
        other = model(tokens[:1], segments=segments[:1]).pooler_output
    assert (plain - turned).abs().max() > 1e-3 and (plain - other).abs().max() > 1e-3


def test_the_embedding_decodes():
    """Training the decoder trains the table: one tensor, one gradient."""
    model = BERTForPretraining(config())
    assert sum(p.shape == (V, 16) for p in model.parameters()) == 1
    model.predict(torch.randn(2, 16)).sum().backward()
    assert model.bert.token_embedding.weight.grad.abs().sum() > 0


def test_dropout_only_in_training():
    model = BERT(config(dropout=0.5))
    tokens = inputs()[0]
    model.train()
    assert not torch.equal(model(tokens).pooler_output, model(tokens).pooler_output)
    model.eval()
    assert torch.equal(model(tokens).pooler_output, model(tokens).pooler_output)


def test_initial_weights():
    torch.manual_seed(0)
    model = BERTForPretraining(config(d_model=64, vocab_size=500, init_std=0.05))
    assert model.bert.token_embedding.weight.std().item() == pytest.approx(0.05, rel=0.05)
    assert model.bert.blocks[1].up.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith("proj.bias"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"n_heads": 3}, "d_model=16 is not divisible by n_heads=3"),
        ({"pad_token": None}, "pad_token=None must be an id of the vocabulary of 19"),
        ({"pad_token": 19}, "pad_token=19 must be an id of the vocabulary of 19"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and less than 1"),
        ({"d_ff": 0}, "d_ff=0 must be at least 1"),
        ({"copy_init": -1.0}, "copy_init=-1.0 must be at least 0"),
    ],
)
def test_clear_errors_of_the_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_clear_errors_of_the_model():
    model = BERT(config())
    tokens = torch.ones(2, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="11 tokens in a row, more than max_length=10"):
        model(torch.ones(1, 11, dtype=torch.long))
    with pytest.raises(ValueError, match=r"tokens must have shape \(B, T\)"):
        model(tokens[0])
    with pytest.raises(ValueError, match=r"tokens .* holds 19: it must hold whole numbers"):
        model(tokens + 18)
    with pytest.raises(ValueError, match=r"attention_mask has shape \(2, 1, 1, 4\)"):
        model(tokens, torch.ones(2, 1, 1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"attention_mask .* whole numbers from 0 to 1"):
        model(tokens, torch.zeros(2, 4))  # an additive mask
    with pytest.raises(ValueError, match=r"segments .* holds 2"):
        model(tokens, segments=2 * tokens)
    with pytest.raises(ValueError, match="attention_mask hides all of row 1"):
        model(torch.tensor([[1, 2], [PAD, PAD]]))


# ---------------------------------------------------------------------------------- the two losses


def a_batch():
    tokens, mask, segments = inputs()
    targets = torch.full((B, T), NO_TARGET)
    targets[0, 2], targets[0, 6], targets[1, 1] = 3, 4, 5
    return MaskedBatch(tokens, targets, mask, segments, torch.tensor([0, 1, 1]))


def test_pretraining_loss_equals_transformers():
    other = theirs()
    ours = randomise(BERTForPretraining(config()))
    load_transformers(ours, other.state_dict())
    batch = a_batch()
    with torch.no_grad():
        loss = pretraining_loss(ours, batch) / batch.n_targets
        expected = other(
            batch.tokens,
            attention_mask=batch.attention_mask.long(),
            token_type_ids=batch.segments,
            labels=batch.targets,  # -100 is left out there, too
            next_sentence_label=batch.labels,
        ).loss
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_the_loss_counts_chosen_places_only():
    """A place that was not chosen has no gradient, except through what looks at it."""
    model, batch = randomise(BERTForPretraining(config())), a_batch()
    logits = model(batch.tokens, batch.attention_mask, batch.segments).prediction_logits
    picked = logits.log_softmax(-1)
    by_hand = -(picked[0, 2, 3] + picked[0, 6, 4] + picked[1, 1, 5])
    torch.testing.assert_close(masked_loss(model, batch), by_hand)


def test_masked_loss_leaves_the_pair_head_alone():
    model, batch = randomise(BERTForPretraining(config())), a_batch()
    masked_loss(model, batch).backward()
    assert model.seq_relationship.weight.grad is None
    pretraining_loss(model, batch).backward()
    assert model.seq_relationship.weight.grad.abs().sum() > 0


# -------------------------------------------------------------------------------- the head start


def test_a_start_at_copying_hands_on_what_is_seen():
    torch.manual_seed(0)
    attention = BERT(config(copy_init=0.5)).blocks[1].attention
    x = torch.randn(1, 1, 16)
    torch.testing.assert_close(attention(x)[0], 0.5 * x, atol=1e-5, rtol=1e-5)


def test_a_start_at_matching_looks_at_tokens_alike():
    """In the upper half a token's twin gets more weight than any other token."""
    torch.manual_seed(0)
    settings = config(copy_init=1.0, match_init=2.0, d_model=64, n_layers=3)
    blocks = BERT(settings).blocks
    x = torch.randn(1, 6, 64)
    x[0, 4] = x[0, 1]
    for layer, block in enumerate(blocks):
        weights = block.attention(x)[1][0].mean(0)  # (T, T)
        is_alike = weights[1, 4] > weights[1, [0, 2, 3, 5]].max()
        assert is_alike == (layer >= 1)
        same = torch.equal(block.attention.q_proj.weight, block.attention.k_proj.weight)
        assert same == (layer >= 1)


def test_no_start_by_default():
    torch.manual_seed(0)
    attention = BERT(config()).blocks[1].attention
    assert attention.v_proj.weight.std() < 0.03 and attention.q_proj.weight.std() < 0.03
