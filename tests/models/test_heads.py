"""Heads on BERT and GPT against transformers, and what is frozen."""

import copy

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification

from aigc_lab.models.bert import BERT, BERTConfig
from aigc_lab.models.bert_pretraining import BERTForPretraining
from aigc_lab.models.bert_transformers import to_transformers
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.heads import (
    PARTS,
    BERTClassifier,
    GPTClassifier,
    ReaderConfig,
    SpanReader,
    last_real,
    n_trainable,
    set_dropout,
    train_only,
)
from aigc_lab.models.positional import rope_angles

V, PAD = 19, 0
BERT_CONFIG = BERTConfig(V, PAD, max_length=10, d_model=16, n_layers=2, d_ff=24)
GPT_CONFIG = GPTConfig(V, context_length=10, d_model=16, n_layers=2, n_heads=2, bias=True)
TOKENS = torch.tensor([[3, 5, 2, 7, 4], [3, 4, 9, PAD, PAD]])
MASK = TOKENS != PAD


@torch.no_grad()
def randomise(model):
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return model.eval()


def published(kind, **settings):
    config = BertConfig(
        vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=24, max_position_embeddings=10, pad_token_id=PAD, **settings,
    )  # fmt: skip
    return kind(config).eval()


def body_weights(bert):
    """The encoder's weights by their names in transformers."""
    whole = BERTForPretraining(bert.config)
    whole.bert = bert
    return {n: p for n, p in to_transformers(whole).items() if n.startswith("bert.")}


def test_the_classifier_is_that_of_transformers():
    ours = randomise(BERTClassifier(BERT(BERT_CONFIG), 3))
    theirs = published(BertForSequenceClassification, num_labels=3)
    head = {"classifier.weight": ours.head.weight, "classifier.bias": ours.head.bias}
    wrong = theirs.load_state_dict(body_weights(ours.body) | head, strict=False)
    assert not wrong.missing_keys
    with torch.no_grad():
        got, wanted = ours(TOKENS, MASK), theirs(TOKENS, MASK.long()).logits
    assert got.shape == (2, 3)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_the_reader_is_that_of_transformers():
    ours = randomise(SpanReader(ReaderConfig(V, PAD, max_length=10, d_model=16, d_ff=24)))
    theirs = published(BertForQuestionAnswering)
    head = {"qa_outputs.weight": ours.spans.weight, "qa_outputs.bias": ours.spans.bias}
    wrong = theirs.load_state_dict(body_weights(ours.bert) | head, strict=False)
    assert not [name for name in wrong.missing_keys if "pooler" not in name]
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
    with torch.no_grad():
        starts, ends = ours(TOKENS, MASK, segments)
        wanted = theirs(TOKENS, MASK.long(), segments)
    assert starts.shape == (2, 5)
    torch.testing.assert_close(starts[MASK], wanted.start_logits[MASK], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ends[MASK], wanted.end_logits[MASK], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        only, _ = ours(TOKENS, MASK, segments, allowed=segments == 1)
    assert torch.equal(only[segments == 1], starts[segments == 1])
    assert (only[segments == 0] == -torch.inf).all()


def test_gpts_logits_are_those_of_the_text_alone_whatever_the_padding():
    gpt = randomise(GPT(GPT_CONFIG))
    model = randomise(GPTClassifier(copy.deepcopy(gpt), 2))
    text = torch.tensor([[3, 4, 9]])
    with torch.no_grad():
        alone = model(text)
        right = model(torch.tensor([[3, 4, 9, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]]).bool())
        left = model(torch.tensor([[0, 0, 3, 4, 9]]), torch.tensor([[0, 0, 1, 1, 1]]).bool())
        vectors = model.body(text)
        expected = vectors[:, 2] @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(right, alone)
    torch.testing.assert_close(left, alone)
    torch.testing.assert_close(alone, expected)
    assert vectors.shape == (1, 3, 16)


def test_last_real():
    vectors = torch.arange(24.0).view(3, 4, 2)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]]).bool()
    found = last_real(vectors, mask)
    assert torch.equal(found, torch.stack([vectors[0, 1], vectors[1, 3], vectors[2, 1]]))
    with pytest.raises(ValueError, match="row 1 is padding only"):
        last_real(vectors[:2], torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]).bool())
    with pytest.raises(ValueError, match="has shape"):
        last_real(vectors, mask[:, :3])


@pytest.mark.parametrize("kind", ["bert", "gpt"])
def test_what_learns_and_what_is_frozen(kind):
    if kind == "bert":
        make, extra = (lambda: BERTClassifier(BERT(BERT_CONFIG), 2)), "body.pooler."
    else:
        make, extra = (lambda: GPTClassifier(GPT(GPT_CONFIG), 2)), "body.norm."
    beginnings = {
        "head": ("head.",),
        "last block": ("head.", "body.blocks.1.", extra),
        "all": ("head.", "body."),
    }
    assert tuple(beginnings) == PARTS
    for part, allowed in beginnings.items():
        model = make()
        train_only(model, "head")  # what was frozen before learns again
        n = train_only(model, part)
        assert n == n_trainable(model)
        before = {name: p.clone() for name, p in model.named_parameters()}
        assert n == sum(p.numel() for name, p in before.items() if name.startswith(allowed))
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1.0)
        model(TOKENS, MASK)[:, 0].sum().backward()
        optimizer.step()
        changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert changed and all(name.startswith(allowed) for name in changed)
        groups = {next(a for a in allowed if name.startswith(a)) for name in changed}
        assert groups == set(allowed)
    with pytest.raises(ValueError, match=r"part='tail' is not one of \('head'"):
        train_only(model, "tail")


@pytest.mark.parametrize("kind", ["bert", "gpt"])
def test_dropout_can_be_changed_everywhere(kind):
    model = (
        BERTClassifier(BERT(BERT_CONFIG), 2)
        if kind == "bert"
        else GPTClassifier(GPT(GPT_CONFIG), 2)
    )
    model.train()
    assert torch.equal(model(TOKENS, MASK), model(TOKENS, MASK))
    set_dropout(model, 0.5)
    assert not torch.equal(model(TOKENS, MASK), model(TOKENS, MASK))
    assert torch.equal(model.eval()(TOKENS, MASK), model(TOKENS, MASK))
    model.train()
    x = torch.ones(2, 5, 16)
    block = model.body.blocks[0]
    if kind == "bert":
        arguments = (x, torch.ones(1, 1, 1, 5).bool())
    else:
        arguments = (x, rope_angles(torch.arange(5), 8), None, None)
    outputs = [block(*arguments) for _ in range(2)]
    outputs = [out[0] if isinstance(out, tuple) else out for out in outputs]
    assert not torch.equal(*outputs)
    with pytest.raises(ValueError, match="share=1"):
        set_dropout(model, 1)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match="n_classes=1 must be at least 2"):
        BERTClassifier(BERT(BERT_CONFIG), 1)
