"""LoRA against peft: outputs, gradients, merged weights; and what its files refuse."""

import copy
import json
import warnings

import pytest
import torch

from aigc_lab.models.bert import BERT, BERTConfig
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.lora import (
    AdapterError,
    LoRALinear,
    add_lora,
    base_hash,
    load_adapter,
    lora_layers,
    lora_parameters,
    merge_lora,
    remove_lora,
    save_adapter,
    unmerge_lora,
    without_lora,
)
from aigc_lab.training.optimizers import make_optimizers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import peft

TOKENS = torch.tensor([[1, 5, 2, 7, 3], [4, 4, 9, 0, 6]])


def gpt(seed=0):
    torch.manual_seed(seed)
    return GPT(GPTConfig(11, context_length=8, d_model=16, n_layers=2, n_heads=2, bias=True)).eval()


@torch.no_grad()
def randomise(model, seed=1):
    """A and B away from their start."""
    generator = torch.Generator().manual_seed(seed)
    for p in lora_parameters(model).values():
        p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return model


def adapted(seed=1, **settings):
    model = gpt()
    add_lora(model, **{"rank": 3, "alpha": 5.0, **settings})
    return randomise(model, seed)


def test_equal_to_peft_forward_gradients_and_merged_weights():
    ours = adapted(targets=("qkv", "down"))
    settings = peft.LoraConfig(r=3, lora_alpha=5.0, target_modules=["qkv", "down"])
    theirs = peft.inject_adapter_in_model(settings, gpt())
    numbers = lora_parameters(ours)
    theirs_by_name = {
        name.replace(".default", ""): p for name, p in theirs.named_parameters() if "lora_" in name
    }
    assert set(theirs_by_name) == set(numbers) and len(numbers) == 2 * 2 * 2
    with torch.no_grad():
        for name, p in theirs_by_name.items():
            p.copy_(numbers[name])
    outputs = [model(TOKENS) for model in (ours, theirs)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().mean().backward()
    for name, p in numbers.items():
        assert p.grad.abs().max() > 0
        torch.testing.assert_close(p.grad, theirs_by_name[name].grad)
    learning = {name for name, p in theirs.named_parameters() if p.requires_grad}
    assert {name.replace(".default", "") for name in learning} == {
        name for name, p in ours.named_parameters() if p.requires_grad
    }
    merge_lora(ours)
    for name, layer in lora_layers(ours).items():
        other = theirs.get_submodule(name)
        other.merge()
        torch.testing.assert_close(layer.base.weight, other.base_layer.weight)


def test_nothing_changes_before_the_first_step_and_only_a_and_b_learn():
    model, plain = gpt(), gpt()
    names = add_lora(model, rank=4, alpha=8)
    assert names == sorted(names) and len(names) == 2 * 4
    assert all("blocks." in name for name in names)
    assert torch.equal(model(TOKENS), plain(TOKENS))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == set(lora_parameters(model)) and len(learning) == 2 * len(names)
    before = {name: p.clone() for name, p in model.named_parameters()}
    (optimizer,) = make_optimizers(model, 0.1)
    for _ in range(2):  # at first only B has a gradient
        model.zero_grad()
        model(TOKENS).square().mean().backward()
        optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == learning


def test_the_optimizers_take_a_model_with_lora_also_with_muon():
    model = adapted()
    model(TOKENS).square().mean().backward()
    frozen = model.embedding.weight.clone()
    for optimizer in make_optimizers(model, 0.01, muon=True):
        optimizer.step()
    assert torch.equal(model.embedding.weight, frozen)


def test_merging_changes_no_output_and_can_be_taken_back():
    model = adapted()
    before, base = model(TOKENS), base_hash(model)
    weights = {name: layer.base.weight.clone() for name, layer in lora_layers(model).items()}
    for _ in range(2):  # a second time does nothing
        merge_lora(model)
        torch.testing.assert_close(model(TOKENS), before)
    for name, layer in lora_layers(model).items():
        torch.testing.assert_close(layer.base.weight, weights[name] + layer.change())
        assert not torch.allclose(layer.base.weight, weights[name])
    for call in (base_hash, without_lora(model).__enter__):
        with pytest.raises(ValueError, match="unmerge_lora"):
            call(model) if call is base_hash else call()
    for _ in range(2):
        unmerge_lora(model)
        assert torch.equal(model(TOKENS), before)
        assert base_hash(model) == base  # so that the adapter can still be saved
    merge_lora(model)
    plain = remove_lora(model)
    assert not lora_layers(plain) and set(plain.state_dict()) == set(gpt().state_dict())
    torch.testing.assert_close(plain(TOKENS), before)
    assert all(p.requires_grad for p in plain.parameters())


def test_the_base_alone_is_there_for_a_block_also_after_an_error():
    model, plain = adapted(), gpt()
    with without_lora(model) as base:
        assert base is model and torch.equal(model(TOKENS), plain(TOKENS))
    with pytest.raises(KeyError), without_lora(model):
        raise KeyError
    assert not torch.allclose(model(TOKENS), plain(TOKENS))


def test_the_path_is_scaled_by_alpha_over_rank():
    base = torch.nn.Linear(4, 6)
    layer = LoRALinear(copy.deepcopy(base), rank=2, alpha=7.0)
    randomise(torch.nn.ModuleDict({"one": layer}))
    A, B = layer.lora_A.weight, layer.lora_B.weight
    assert A.shape == (2, 4) and B.shape == (6, 2)
    x = torch.randn(3, 5, 4)
    torch.testing.assert_close(layer(x), base(x) + 3.5 * (x @ A.T @ B.T))


def test_bert_takes_lora_too():
    torch.manual_seed(0)
    model = BERT(BERTConfig(11, pad_token=0, max_length=8, d_model=16, n_layers=2))
    before = model(TOKENS).last_hidden_state
    names = add_lora(model, rank=2, alpha=2)
    assert {name.rpartition(".")[2] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "up", "down",
    }  # fmt: skip
    assert torch.equal(model(TOKENS).last_hidden_state, before)


# ------------------------------------------------------------------------------------------- files


def test_a_saved_adapter_is_a_few_kilobytes_and_comes_back(tmp_path):
    model = adapted()
    n_bytes = save_adapter(model, tmp_path / "new" / "one")
    files = sorted((tmp_path / "new" / "one").iterdir())
    assert [file.name for file in files] == ["adapter.json", "adapter.safetensors"]
    assert n_bytes == sum(file.stat().st_size for file in files)
    fresh = gpt()
    load_adapter(fresh, tmp_path / "new" / "one")
    assert torch.equal(fresh(TOKENS), model(TOKENS))
    assert {n for n, p in fresh.named_parameters() if p.requires_grad} == set(
        lora_parameters(fresh)
    )
    half = save_adapter(model, tmp_path / "half", torch.float16)
    assert half < n_bytes
    load_adapter(fresh, tmp_path / "half")
    torch.testing.assert_close(fresh(TOKENS), model(TOKENS), rtol=1e-2, atol=1e-2)


def test_several_adapters_take_turns_on_one_base(tmp_path):
    one, two = adapted(1), adapted(2, rank=1, targets=("out",))
    save_adapter(one, tmp_path / "one")
    save_adapter(two, tmp_path / "two")
    model = gpt()
    for _ in range(2):
        for name, other in (("one", one), ("two", two)):
            load_adapter(model, tmp_path / name)
            assert torch.equal(model(TOKENS), other(TOKENS))
    assert torch.equal(remove_lora(model)(TOKENS), gpt()(TOKENS))


def test_another_base_is_refused(tmp_path):
    save_adapter(adapted(), tmp_path)
    other = gpt()
    with torch.no_grad():
        other.norm.weight[0] += 1e-3
    with pytest.raises(AdapterError, match=r"trained on another base: weights [0-9a-f]{12}…"):
        load_adapter(other, tmp_path)
    assert not lora_layers(other)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(AdapterError, match="there is no whole adapter in"):
        load_adapter(gpt(), tmp_path)
    save_adapter(adapted(), tmp_path)
    weights = tmp_path / "adapter.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(AdapterError, match="its checksum differs"):
        load_adapter(gpt(), tmp_path)
    for text in ("{", "{}", "[]", "3", '{"base": "", "weights": "", "rank": 1, "alpha": 1}'):
        (tmp_path / "adapter.json").write_text(text)
        with pytest.raises(AdapterError, match="no whole adapter"):
            load_adapter(gpt(), tmp_path)


def test_the_file_says_what_it_is(tmp_path):
    model = adapted()
    save_adapter(model, tmp_path)
    told = json.loads((tmp_path / "adapter.json").read_text())
    assert told["base"] == base_hash(gpt()) == base_hash(model)
    assert (told["rank"], told["alpha"], told["layers"]) == (3, 5.0, sorted(lora_layers(model)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="rank=0 must be at least 1"):
        add_lora(gpt(), 0, 1)
    with pytest.raises(ValueError, match="alpha=0 above 0"):
        add_lora(gpt(), 1, 0)
    with pytest.raises(ValueError, match=r"targets \['q_proj'\] are no linear layers; there are"):
        add_lora(gpt(), 1, 1, targets=("q_proj",))
    with pytest.raises(ValueError, match=r"call remove_lora\(model\) first"):
        add_lora(adapted(), 1, 1)
    with pytest.raises(ValueError, match="no linear layer in a block"):
        add_lora(torch.nn.Linear(2, 2), 1, 1)
    with pytest.raises(ValueError, match="no LoRA paths"):
        save_adapter(gpt(), "nowhere")
