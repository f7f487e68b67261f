"""The neural n-gram against a forward pass in numpy, and the contexts that it is given."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aigc_lab.models.neural_ngram import NeuralNGram, contexts_and_targets
from aigc_lab.training.fit import fit

START = 9


def make(n=3, **settings):
    torch.manual_seed(0)
    model = NeuralNGram(10, n, **{"d_model": 4, "hidden": 6, **settings})
    with torch.no_grad():
        for parameter in model.parameters():  # biases and head large enough to matter
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.double()


def draw(n_tokens=20, seed=1):
    return torch.randint(10, (n_tokens,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_forward_pass_in_numpy(n):
    model = make(n)
    w = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    contexts = draw(7 * (n - 1)).view(7, n - 1)
    for context, logits in zip(contexts.tolist(), model(contexts).detach().numpy(), strict=True):
        x = np.concatenate([w["embedding.weight"][token] for token in context])
        h = np.tanh(w["hidden.weight"] @ x + w["hidden.bias"])
        np.testing.assert_allclose(logits, w["head.weight"] @ h + w["head.bias"], atol=1e-12)


def test_the_order_of_the_context_matters():
    model = make(4)
    assert not torch.allclose(model(torch.tensor([[1, 2, 3]])), model(torch.tensor([[3, 2, 1]])))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (2, [[5], [6], [7]]),
        (3, [[START, 5], [5, 6], [6, 7]]),
        (5, [[START, START, START, 5], [START, START, 5, 6], [START, 5, 6, 7]]),
    ],
)
def test_contexts_end_just_before_their_targets(n, expected):
    contexts, targets = contexts_and_targets(torch.tensor([5, 6, 7, 8]), n, START)
    assert contexts.tolist() == expected
    assert targets.tolist() == [6, 7, 8]


def test_nats_are_those_of_each_token_alone():
    model, tokens = make(4), draw(5000)
    found = model.nats(tokens, START)
    assert found.shape == (4999,)
    for t in (1, 2, 3, 4, 4095, 4096, 4097, 4999):
        context = [START, START, *tokens[:t].tolist()][-3:]
        log_p = model(torch.tensor([context])).log_softmax(-1)[0, tokens[t]]
        assert found[t - 1].item() == pytest.approx(-log_p.item())


def test_it_starts_by_guessing():
    torch.manual_seed(0)
    model = NeuralNGram(500, 3)
    loss = model.nats(torch.randint(500, (2000,)), 0).mean()
    assert abs(loss.item() - math.log(500)) < 0.05


def test_it_learns_a_rule_that_needs_the_whole_context():
    torch.manual_seed(0)
    model = NeuralNGram(8, 3)
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    sums = pairs.sum(-1) % 8  # one token of the pair says nothing about it
    fit(model, lambda: F.cross_entropy(model(pairs), sums), 100, 2e-2)
    assert torch.equal(model(pairs).argmax(-1), sums)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: NeuralNGram(10, 1), "n=1 must be at least 2"),
        (lambda: NeuralNGram(0, 2), "vocab_size=0 must be at least 1"),
        (lambda: NeuralNGram(10, 2, hidden=0), "hidden=0 must be at least 1"),
        (lambda: make(3)(torch.zeros(2, 3, dtype=torch.long)), r"\(N, 2\), not \(2, 3\)"),
        (lambda: make(3)(torch.zeros(2, dtype=torch.long)), r"\(N, 2\), not \(2,\)"),
        (lambda: contexts_and_targets(torch.tensor([1]), 3, 0), r"T at least 2, not \(1,\)"),
    ],
)
def test_what_cannot_work_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
