"""One token at a time without modules: the logits of the model itself, for every setting."""

import dataclasses

import pytest
import torch
from torch import nn

from aigc_lab.generation.generate import generate
from aigc_lab.generation.sampling import Sampling
from aigc_lab.generation.single_step import single_step
from aigc_lab.models.gpt import GPT, GPTConfig, KVCache

SMALL = {"context_length": 20, "d_model": 24, "n_layers": 2, "n_heads": 4}
CONFIGS = {
    "gpt2": GPTConfig.gpt2(vocab_size=50, **SMALL),
    "llama": GPTConfig.llama(50, **SMALL, norm_eps=0.1, rope_base=100.0),
    "grouped": GPTConfig.llama(50, **SMALL, n_kv_heads=2, tie_weights=False),
    "multi-query, odd": GPTConfig(
        50, **SMALL, n_kv_heads=1, norm="layer", activation="gelu", bias=True, d_ff=17
    ),
    "no bias, learned": GPTConfig(50, **SMALL, positions="learned", norm="layer", norm_eps=0.1),
    "dropout": GPTConfig.llama(50, **SMALL, dropout=0.5),
}


def make(config):
    torch.manual_seed(0)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logits_and_the_cache_are_those_of_the_model(config, dtype):
    model = make(config).to(dtype)
    tokens = torch.randint(50, (3, 20), generator=torch.Generator().manual_seed(1))
    caches = [KVCache(config, 3, dtype=dtype) for _ in range(2)]
    step = single_step(model, caches[0])
    assert step.__name__ == "step"
    with torch.no_grad():
        whole = model(tokens)
        for cache in caches:
            model(tokens[:, :4], cache=cache)
        for t in range(4, 20):
            torch.testing.assert_close(step(tokens[:, t : t + 1]), whole[:, t])
            model(tokens[:, t : t + 1], cache=caches[1])
    assert caches[0].length == 20
    torch.testing.assert_close(caches[0].keys, caches[1].keys)
    torch.testing.assert_close(caches[0].values, caches[1].values)


class Scaled(nn.Linear):
    """A part that the step does not know."""

    def forward(self, x):
        return 3 * super().forward(x)


def test_a_model_with_other_parts_or_with_hooks_is_called_as_it_is():
    model, prompt = make(CONFIGS["llama"]), torch.tensor([[1, 2, 3]])
    greedy = Sampling(temperature=0)
    before = generate(model, prompt, 15, greedy)
    down = model.blocks[0].feed_forward.down
    changed = Scaled(down.in_features, down.out_features, bias=False)
    changed.load_state_dict(down.state_dict())
    model.blocks[0].feed_forward.down = changed
    found = generate(model, prompt, 15, greedy)
    assert not torch.equal(found, before)
    assert torch.equal(found, generate(model, prompt, 15, greedy, use_cache=False))

    model = make(dataclasses.replace(CONFIGS["llama"]))
    seen = []
    model.blocks[1].register_forward_hook(lambda module, inputs, output: seen.append(1))
    assert torch.equal(generate(model, prompt, 15, greedy), before)
    assert len(seen) == 15


def test_what_was_written_can_be_trained_on():
    model = make(CONFIGS["llama"])
    written = generate(model, torch.tensor([[1, 2, 3]]), 10)
    model(written).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
