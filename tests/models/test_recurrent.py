"""The LSTM against torch's, and the encoder–decoder made of it."""

import pytest
import torch
from torch import nn

from aigc_lab.models.recurrent import (
    LSTM,
    AdditiveAttention,
    RecurrentConfig,
    RecurrentTranslator,
)


def config(**changes):
    return RecurrentConfig(
        **{"source_vocab_size": 11, "target_vocab_size": 13, "d_model": 8} | changes
    )


def of_torch(ours: LSTM) -> nn.LSTM:
    """torch's LSTM with our weights; it has two biases, of which one is 0 here."""
    cell = ours.cell
    theirs = nn.LSTM(cell.inputs.in_features, cell.n_units, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(cell.inputs.weight)
        theirs.weight_hh_l0.copy_(cell.recurrent.weight)
        theirs.bias_ih_l0.copy_(cell.inputs.bias)
        theirs.bias_hh_l0.zero_()
    return theirs


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_equals_torch_in_values_and_gradients(reverse):
    torch.manual_seed(0)
    ours = LSTM(5, 7, reverse=reverse)
    nn.init.normal_(ours.cell.inputs.bias)
    theirs = of_torch(ours)
    x = torch.randn(3, 6, 5)
    found, (h, c) = ours(x)
    expected, (other_h, other_c) = theirs(x.flip(1) if reverse else x)
    expected = expected.flip(1) if reverse else expected
    for one, two in ((found, expected), (h, other_h[0]), (c, other_c[0])):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    found.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    torch.testing.assert_close(ours.cell.recurrent.weight.grad, theirs.weight_hh_l0.grad)
    torch.testing.assert_close(ours.cell.inputs.bias.grad, theirs.bias_ih_l0.grad)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_leaves_the_state_as_torch_packs_it(reverse):
    """torch's packed sequences are the oracle: rows of different lengths in one batch."""
    torch.manual_seed(0)
    ours = LSTM(5, 7, reverse=reverse)
    x, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 4])
    mask = torch.arange(6) < lengths[:, None]
    _, (h, c) = ours(x, mask)
    for row, length in enumerate(lengths):
        real = x[row : row + 1, :length]
        _, (other_h, other_c) = of_torch(ours)(real.flip(1) if reverse else real)
        torch.testing.assert_close(h[row], other_h[0, 0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(c[row], other_c[0, 0], rtol=1e-5, atol=1e-6)


def test_a_state_carries_a_sequence_on():
    torch.manual_seed(0)
    ours = LSTM(5, 7)
    x = torch.randn(2, 6, 5)
    whole, _ = ours(x)
    first, state = ours(x[:, :4])
    second, _ = ours(x[:, 4:], state=state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_additive_attention_equals_the_formula():
    torch.manual_seed(0)
    attention = AdditiveAttention(4)
    q, memory = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    mask = torch.arange(5) < torch.tensor([5, 2])[:, None]
    found, weights = attention(q, memory, mask)
    W, U, v = (layer.weight for layer in (attention.query, attention.key, attention.score))
    for b in range(2):
        for t in range(3):
            real = memory[b, : mask[b].sum()]
            scores = torch.stack([v[0] @ torch.tanh(W @ q[b, t] + U @ k) for k in real])
            p = scores.exp() / scores.exp().sum()
            torch.testing.assert_close(weights[b, t, : len(p)], p)
            assert weights[b, t, len(p) :].abs().sum() == 0
            torch.testing.assert_close(found[b, t], p @ real)


@pytest.mark.parametrize("attention", [False, True])
def test_no_target_token_sees_a_later_one_and_padding_changes_nothing(attention):
    torch.manual_seed(0)
    model = RecurrentTranslator(config(attention=attention))
    source, target = torch.tensor([[3, 5, 7]]), torch.tensor([[1, 2, 3, 4]])
    changed = torch.tensor([[1, 2, 9, 4]])
    with torch.no_grad():
        one, two = model(source, target), model(source, changed)
        padded = model(torch.tensor([[3, 5, 7, 0, 0]]), target)
    assert torch.equal(one[:, :2], two[:, :2]) and not torch.equal(one[:, 2:], two[:, 2:])
    torch.testing.assert_close(one, padded, rtol=1e-5, atol=1e-6)


def test_without_attention_all_goes_through_one_vector():
    """The bottleneck: the decoder never touches the encoder's states."""
    torch.manual_seed(0)
    source, target = torch.tensor([[3, 5, 7]]), torch.tensor([[1, 2]])
    for attention in (False, True):
        model = RecurrentTranslator(config(attention=attention))
        (states, first), mask = model.encode(source)
        logits, maps = model.decode(target, (states, first), mask)
        other, _ = model.decode(target, (states + 1.0, first), mask)
        assert torch.equal(logits, other) != attention
        assert [m.shape for m in maps] == ([(1, 1, 2, 3)] if attention else [])


def test_clear_errors():
    with pytest.raises(ValueError, match="d_model=7 must be even"):
        config(d_model=7)
    with pytest.raises(ValueError, match="pad_token=-1 must be an id of both"):
        config(pad_token=-1)
    model = RecurrentTranslator(config(max_length=4))
    with pytest.raises(ValueError, match="source holds the id 12, outside its vocabulary of 11"):
        model(torch.tensor([[12]]), torch.tensor([[1]]))
    with pytest.raises(ValueError, match="target has 5 tokens, more than max_length=4"):
        model(torch.tensor([[1]]), torch.ones(1, 5, dtype=torch.long))
