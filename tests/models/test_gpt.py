"""GPT: sizes by formula, causality, cache and padding; bad input gets a clear error."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aigc_lab.models.attention import attend, causal_mask
from aigc_lab.models.gpt import GPT, GPTConfig, KVCache, forward_flops, n_parameters

SMALL = {"context_length": 32, "d_model": 24, "n_layers": 2, "n_heads": 4}
CONFIGS = {
    "gpt2": GPTConfig.gpt2(vocab_size=50, **SMALL),
    "llama": GPTConfig.llama(50, **SMALL),
    "llama with biases": GPTConfig.llama(50, **SMALL, n_kv_heads=2, bias=True),
    "grouped": GPTConfig.llama(50, **SMALL, n_kv_heads=2, tie_weights=False),
    "multi-query, odd": GPTConfig(
        50, **SMALL, n_kv_heads=1, norm="layer", activation="gelu", bias=True, d_ff=17
    ),
    "no bias, learned": GPTConfig(50, **SMALL, positions="learned", norm="layer"),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def make(config: GPTConfig, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # large enough for every part to matter
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def draw(n=3, length=10, seed=1):
    return torch.randint(50, (n, length), generator=torch.Generator().manual_seed(seed))


@every_config
def test_number_of_parameters_is_as_the_formula_says(config):
    assert n_parameters(config) == sum(p.numel() for p in GPT(config).parameters())


def test_gpt2_has_124_million_parameters():
    assert n_parameters(GPTConfig.gpt2()) == 124_439_808


@every_config
@pytest.mark.parametrize("length", [1, 9, 32])
def test_operations_are_as_torch_counts_them(config, length):
    model, tokens = make(config), draw(1, length)
    # The kernel that torch counts is the plain one.
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with plain, FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens)
    assert counter.get_total_flops() == forward_flops(config, length)


@every_config
def test_changing_a_token_changes_nothing_before_it(config):
    model, tokens = make(config), draw()
    with torch.no_grad():
        before = model(tokens)
        for t in range(tokens.shape[1]):
            other = tokens.clone()
            other[:, t] = (other[:, t] + 1) % 50
            after = model(other)
            assert torch.equal(before[:, :t], after[:, :t])
            assert not torch.allclose(before[:, t], after[:, t])


@every_config
def test_a_cache_gives_the_same_logits_however_the_tokens_are_cut(config):
    model, tokens = make(config), draw(2, 12)
    with torch.no_grad():
        whole = model(tokens)
        for cuts in ([1] * 12, [5, 1, 6], [11, 1], [12]):
            cache, parts = KVCache(config, batch_size=2), []
            for part in tokens.split(cuts, dim=1):
                parts.append(model(part, cache=cache))
            torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
            assert cache.length == 12


@every_config
def test_padding_on_either_side_changes_nothing(config):
    model, tokens = make(config), draw(2, 8)
    lengths = [8, 5]
    for side in ("left", "right"):
        padded = torch.randint(50, (2, 8))  # junk where the padding is
        mask = torch.zeros(2, 8, dtype=torch.bool)
        for row, n in enumerate(lengths):
            where = slice(8 - n, 8) if side == "left" else slice(0, n)
            padded[row, where], mask[row, where] = tokens[row, :n], True
        with torch.no_grad():
            out = model(padded, attention_mask=mask)
            assert out.isfinite().all()
            for row, n in enumerate(lengths):
                alone = model(tokens[row : row + 1, :n])
                torch.testing.assert_close(out[row][mask[row]], alone[0], atol=1e-5, rtol=1e-5)


@every_config
def test_a_padded_batch_can_be_continued_with_the_cache(config):
    model, tokens = make(config), draw(2, 9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, :4] = False
    with torch.no_grad():
        whole = model(tokens, attention_mask=mask)
        cache = KVCache(config, 2)
        model(tokens[:, :6], attention_mask=mask[:, :6], cache=cache)
        for t in range(6, 9):
            last = model(tokens[:, t : t + 1], attention_mask=mask[:, : t + 1], cache=cache)
            torch.testing.assert_close(last[:, 0], whole[:, t], atol=1e-5, rtol=1e-5)


def test_a_row_that_is_all_padding_gives_no_nan_and_no_nan_gradient():
    model = make(CONFIGS["llama"]).train()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0] = True
    out = model(draw(2, 6), attention_mask=mask)
    out[0].sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_config
def test_a_packed_row_gives_each_document_what_it_gets_alone(config):
    """Logits and gradients; the numbers of documents may come in any order, and again later."""
    tokens = draw(2, 14)
    numbers = torch.tensor([[7] * 5 + [3] * 1 + [7] * 8, [0] * 2 + [1] * 9 + [2] * 3])
    pieces = [(0, 0, 5), (0, 5, 6), (0, 6, 14), (1, 0, 2), (1, 2, 11), (1, 11, 14)]
    weight = torch.randn(2, 14, 50, generator=torch.Generator().manual_seed(2))
    packed, alone = make(config), make(config)
    out = packed(tokens, documents=numbers)
    (out * weight).sum().backward()
    for row, start, end in pieces:
        each = alone(tokens[row : row + 1, start:end])
        torch.testing.assert_close(out[row, start:end], each[0], atol=1e-5, rtol=1e-5)
        (each[0] * weight[row, start:end]).sum().backward()
    for name, parameter in packed.named_parameters():
        expected = alone.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad, expected, atol=1e-4, rtol=1e-4)


@every_config
def test_one_document_in_each_row_is_a_plain_row(config):
    model, tokens = make(config), draw(2, 8)
    with torch.no_grad():
        out = model(tokens, documents=torch.tensor([[4] * 8, [9] * 8]))
        torch.testing.assert_close(out, model(tokens), atol=1e-5, rtol=1e-5)


def test_documents_that_cannot_work_are_refused():
    model, tokens = make(CONFIGS["llama"]), draw(2, 8)
    numbers, mask = torch.zeros(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"shape of tokens, \(2, 8\), not \(2, 7\)"):
        model(tokens, documents=numbers[:, 1:])
    with pytest.raises(ValueError, match="documents cannot go with an attention_mask or a cache"):
        model(tokens, documents=numbers, attention_mask=mask)
    with torch.no_grad(), pytest.raises(ValueError, match="documents cannot go with"):
        model(tokens, documents=numbers, cache=KVCache(model.config, 2))


@every_config
@pytest.mark.parametrize("length", [1, 6])
def test_a_batch_that_is_all_padding_gives_no_nan(config, length):
    model = make(config).train()
    out = model(draw(2, length), attention_mask=torch.zeros(2, length, dtype=torch.bool))
    out.sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_config
def test_padding_and_documents_let_nothing_through_from_later_tokens(config):
    model, tokens = make(config), draw(2, 8)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, :2], mask[1, 7:] = False, False
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2], [0] * 8])
    for settings in ({"attention_mask": mask}, {"documents": documents}):
        with torch.no_grad():
            before = model(tokens, **settings)
            for t in range(8):
                other = tokens.clone()
                other[:, t] = (other[:, t] + 1) % 50
                assert torch.equal(before[:, :t], model(other, **settings)[:, :t])


@every_config
def test_no_gradient_reaches_a_later_token(config):
    model, tokens = make(config), draw(1, 8)
    seen = []
    model.embedding.register_forward_hook(lambda m, args, out: seen.append(out))
    logits = model(tokens)
    for t in range(8):
        (gradient,) = torch.autograd.grad(logits[0, t].logsumexp(0), seen[0], retain_graph=True)
        reached = gradient[0].abs().amax(-1) > 0
        assert reached.tolist() == [s <= t for s in range(8)]


@every_config
def test_the_longest_text_fits_and_one_token_more_does_not(config):
    model = make(config)
    for settings in ({}, {"attention_mask": torch.ones(1, 33, dtype=torch.bool)}):
        with pytest.raises(ValueError, match=r"0 \+ 33 tokens do not fit into 32: shorten"):
            model(draw(1, 33), **settings)
    with torch.no_grad():
        assert model(draw(1, 32)).shape == (1, 32, 50)
        cache = KVCache(config)
        model(draw(1, 32), cache=cache)
        with pytest.raises(ValueError, match=r"32 \+ 1 tokens do not fit into 32"):
            model(draw(1, 1), cache=cache)


def test_last_only_gives_the_last_logits():
    model, tokens = make(CONFIGS["gpt2"]), draw()
    with torch.no_grad():
        torch.testing.assert_close(model(tokens, last_only=True), model(tokens)[:, -1:])


@every_config
def test_the_fused_attention_is_the_one_of_the_chapter(config):
    model, x = make(config), torch.randn(2, 7, config.d_model)
    layer = model.blocks[0].attention
    heads = layer.qkv(x).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
    q, k, v = heads.split([config.n_heads, config.kv_heads, config.kv_heads], dim=1)
    out, _ = attend(q, k, v, mask=causal_mask(7))
    expected = layer.out(out.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, None, None, None), expected, atol=1e-5, rtol=1e-5)


@every_config
def test_an_untrained_model_guesses(config):
    torch.manual_seed(0)
    model, tokens = GPT(config), draw(16, 32)
    loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - math.log(50)) < 0.1


def test_the_stream_does_not_grow_with_depth():
    tokens = draw(4, 32)
    sizes = []
    for n_layers in (2, 16):
        torch.manual_seed(0)
        model = GPT(dataclasses.replace(CONFIGS["llama"], n_layers=n_layers, d_model=64))
        seen = []
        model.norm.register_forward_hook(lambda m, args, out, seen=seen: seen.append(args[0]))
        model(tokens)
        sizes.append(seen[0].std().item())
    assert sizes[1] < 1.5 * sizes[0]


def test_tied_weights_are_one_table():
    tied, untied = GPT(CONFIGS["llama"]), GPT(CONFIGS["grouped"])
    assert tied.head.weight is tied.embedding.weight
    assert untied.head.weight is not untied.embedding.weight


def test_dropout_acts_in_training_only():
    model = GPT(dataclasses.replace(CONFIGS["gpt2"], dropout=0.5))
    tokens = draw()
    model.train()
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 130, "n_heads": 8}, "d_model=130 is not divisible by n_heads=8"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads=4 is not divisible by n_kv_heads=3"),
        ({"n_kv_heads": 0}, "n_kv_heads=0"),
        ({"d_model": 12, "n_heads": 4}, "even head_dim, not d_model/n_heads=3"),
        ({"vocab_size": 0}, "vocab_size=0 must be at least 1"),
        ({"n_layers": -1}, "n_layers=-1 must be at least 1"),
        ({"norm": "batch"}, "norm='batch' is not one of"),
        ({"positions": "alibi"}, "positions='alibi' is not one of"),
        ({"activation": "relu"}, "activation='relu' is not one of"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and less than 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**({"vocab_size": 50} | settings))


@pytest.mark.parametrize(
    ("tokens", "more", "message"),
    [
        (torch.zeros(1, 0, dtype=torch.long), {}, "an empty prompt needs a start token"),
        (torch.zeros(4, dtype=torch.long), {}, r"must have shape \(B, T\).*\(4,\)"),
        (torch.zeros(1, 33, dtype=torch.long), {}, r"0 \+ 33 tokens do not fit into 32"),
        (torch.full((1, 2), 50), {}, "token id 50 is outside the vocabulary of 50"),
        (torch.tensor([[3, -100]]), {}, "token id -100 is outside .*, or are these targets?"),
        (torch.full((1, 2), 2**40), {}, f"token id {2**40} is outside the vocabulary of 50"),
        (
            torch.zeros(2, 3, dtype=torch.long),
            {"attention_mask": torch.ones(2, 4, dtype=torch.bool)},
            r"\(2, 3\), not \(2, 4\)",
        ),
    ],
)
def test_input_that_cannot_work_is_refused(tokens, more, message):
    with pytest.raises(ValueError, match=message):
        make(CONFIGS["llama"])(tokens, **more)


def test_a_full_cache_says_so():
    model = make(CONFIGS["llama"])
    cache = KVCache(model.config, max_length=4)
    with torch.no_grad():
        model(draw(1, 3), cache=cache)
    with pytest.raises(ValueError, match=r"3 \+ 2 tokens do not fit into 4"):
        model(draw(1, 2), cache=cache)
    assert cache.length == 3


def test_a_cache_in_training_is_refused():
    model = make(CONFIGS["llama"])
    with pytest.raises(ValueError, match=r"under torch.no_grad\(\)"):
        model(draw(1, 3), cache=KVCache(model.config))
