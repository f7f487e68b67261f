"""Beginning with the weights of another model."""

import pytest
import torch
from torch import nn

from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.starting import start_from

SIZES = {"context_length": 16, "d_model": 8, "n_layers": 1, "n_heads": 2}


def make(vocab_size, seed, **settings):
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size, **SIZES | settings)).eval()


def test_a_grown_model_gives_old_tokens_the_same_logits():
    old, grown = make(20, 0), make(23, 1)
    noise = grown.embedding.weight[20:].clone()
    assert start_from(grown, old) == []
    tokens = torch.randint(20, (2, 9))
    torch.testing.assert_close(grown(tokens)[..., :20], old(tokens))
    added = grown.embedding.weight[20:] - noise
    mean = old.embedding.weight.mean(dim=0)
    torch.testing.assert_close(added, mean.expand(3, -1), rtol=0, atol=1e-6)
    assert len({tuple(row.tolist()) for row in grown.embedding.weight}) == 23  # all different


def test_untied_heads_grow_too():
    old, grown = make(20, 0, tie_weights=False), make(21, 1, tie_weights=False)
    start_from(grown, old)
    tokens = torch.randint(20, (1, 5))
    torch.testing.assert_close(grown(tokens)[..., :20], old(tokens))


def test_parts_that_the_other_lacks_stay_new():
    class Judge(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(20, 8)
            self.verdict = nn.Linear(8, 2)

    judge, old = Judge(), make(20, 0)
    before = judge.verdict.weight.clone()
    assert start_from(judge, old) == ["verdict.weight", "verdict.bias"]
    assert torch.equal(judge.verdict.weight, before)
    assert torch.equal(judge.embedding.weight, old.embedding.weight)
    assert judge.embedding.weight is not old.embedding.weight


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: make(20, 1, d_model=16), "embedding.weight has shape .20, 16., but .20, 8."),
        (lambda: make(19, 1), "embedding.weight has shape .19, 8."),  # fewer tokens
        (lambda: nn.Linear(8, 2), "Linear is one of GPT"),
    ],
)
def test_what_does_not_fit_is_refused(model, words):
    with pytest.raises(ValueError, match=words):
        start_from(model(), make(20, 0))
