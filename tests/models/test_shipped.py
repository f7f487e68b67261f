"""Shipped models: what is written is read, and whatever is missing or damaged is noticed."""

import dataclasses
import json
import os
import warnings

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.shipped import ShippedModelError, load_shipped, save_shipped, shipped_notes
from aigc_lab.training.recipes import RECIPES, get_recipe

FILES = ["config.json", "log.jsonl", "model.safetensors", "scores.json", "tokenizer.json"]
COMMAND = "python -m aigc_lab train toy --preset full"
NOTES = {"log": [{"step": 1, "loss": 2.5}], "scores": {"grammatical": 0.9}, "seconds": 12}
every_tie = pytest.mark.parametrize("tie", [True, False])


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe("the cat and the hat " * 9, 264, special_tokens=["<|endoftext|>"])


def make(tokenizer, tie=True, seed=0):
    torch.manual_seed(seed)
    small = {"context_length": 8, "d_model": 16, "n_layers": 1, "n_heads": 2, "tie_weights": tie}
    return GPT(GPTConfig.llama(tokenizer.vocab_size, **small))


@pytest.fixture
def shipped(tmp_path, tokenizer):
    model = make(tokenizer)
    save_shipped(tmp_path / "toy", model, tokenizer, "abc", NOTES)
    return model


@every_tie
def test_what_is_written_is_read(tmp_path, tokenizer, tie):
    model = make(tokenizer, tie)
    save_shipped(tmp_path / "toy", model, tokenizer, "abc", NOTES)
    assert sorted(os.listdir(tmp_path / "toy")) == FILES
    loaded, read = load_shipped("toy", tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    assert (loaded.head.weight is loaded.embedding.weight) == tie
    for name, value in model.state_dict().items():
        stored = loaded.state_dict()[name]
        assert stored.dtype == torch.float32
        assert torch.equal(stored, value.half().float())
    text = "the cat and 17 hats\n"
    assert read.encode(text) == tokenizer.encode(text)
    assert read.special_tokens == tokenizer.special_tokens
    tokens = torch.tensor([read.encode(text)[:8]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens), model.eval()(tokens), atol=1e-3, rtol=1e-3)


def test_notes_scores_and_log_come_back(tmp_path, shipped):
    notes = shipped_notes("toy", tmp_path)
    assert notes == {**NOTES, "recipe": "abc"}
    assert (tmp_path / "toy" / "log.jsonl").read_text() == '{"step": 1, "loss": 2.5}\n'
    assert NOTES.keys() == {"log", "scores", "seconds"}  # what was given is unchanged


def test_a_float16_model_takes_two_bytes_a_weight(tmp_path, shipped):
    size = (tmp_path / "toy" / "model.safetensors").stat().st_size
    n = sum(p.numel() for p in shipped.parameters())
    assert 2 * n < size < 2 * n + 2000


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_names_the_command(tmp_path, shipped, file):
    (tmp_path / "toy" / file).unlink()
    with pytest.raises(ShippedModelError, match=COMMAND):
        load_shipped("toy", tmp_path)


def test_a_model_that_does_not_exist_names_the_command(tmp_path):
    with pytest.raises(ShippedModelError, match=r"no model in .* train base --preset full"):
        load_shipped("base", tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("where", [0, 9, 0.5, -1])
def test_one_changed_byte_is_noticed(tmp_path, shipped, file, where):
    path = tmp_path / "toy" / file
    data = bytearray(path.read_bytes())
    data[int(where * len(data)) if isinstance(where, float) else where] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShippedModelError, match=rf"checksum differs.*{COMMAND}"):
        load_shipped("toy", tmp_path)


def test_a_file_cut_short_is_noticed(tmp_path, shipped):
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        path = tmp_path / "toy" / file
        whole = path.read_bytes()
        path.write_bytes(whole[:-7])
        with pytest.raises(ShippedModelError, match=COMMAND):
            load_shipped("toy", tmp_path)
        path.write_bytes(whole)
    load_shipped("toy", tmp_path)


def test_a_configuration_of_another_model_is_noticed(tmp_path, shipped):
    path = tmp_path / "toy" / "config.json"
    config = json.loads(path.read_bytes())
    for change in ({"d_model": 18}, {"n_layers": 2}, {"d_modle": 16}):
        path.write_text(json.dumps({**config, "model": {**config["model"], **change}}))
        with pytest.raises(ShippedModelError, match=rf"do not belong together.*{COMMAND}"):
            load_shipped("toy", tmp_path)
    del config["weights"]
    path.write_text(json.dumps(config))
    with pytest.raises(ShippedModelError, match=rf"lacks weights: .*{COMMAND}"):
        load_shipped("toy", tmp_path)


def test_damaged_scores_or_log_are_noticed(tmp_path, shipped):
    (tmp_path / "toy" / "scores.json").write_text("{")
    load_shipped("toy", tmp_path)  # the model itself is whole
    with pytest.raises(ShippedModelError, match=COMMAND):
        shipped_notes("toy", tmp_path)


def test_the_hash_of_the_recipe_is_compared(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setitem(RECIPES, "toy", RECIPES["base"])
    save_shipped(tmp_path / "toy", make(tokenizer), tokenizer, "another", NOTES)
    with pytest.warns(UserWarning, match=rf"made by another recipe than 'toy'.*{COMMAND}"):
        load_shipped("toy", tmp_path)
    file = (tmp_path / "toy" / "tokenizer.json").read_bytes()
    save_shipped(
        tmp_path / "toy", make(tokenizer), tokenizer, get_recipe("toy").sha256(file), NOTES
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_shipped("toy", tmp_path)
    changed = dataclasses.replace(get_recipe("base"), lr=0.5)
    monkeypatch.setitem(RECIPES, "toy", lambda preset: changed)
    with pytest.warns(UserWarning, match="made by another recipe"):
        load_shipped("toy", tmp_path)


@pytest.mark.parametrize("n_written", range(5))
def test_a_crash_between_two_files_is_noticed_or_harmless(
    tmp_path, tokenizer, shipped, n_written, monkeypatch
):
    """Whatever is there afterwards is the old model or an error, never a mixture."""
    written = []
    replace = os.replace

    def crash(*paths):
        if len(written) == n_written:
            raise KeyboardInterrupt
        written.append(paths)
        replace(*paths)

    other = make(tokenizer, seed=5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", crash)
        save_shipped(tmp_path / "toy", other, tokenizer, "def", {**NOTES, "seconds": 13})
    assert sorted(os.listdir(tmp_path / "toy")) == FILES
    if n_written == 0:
        loaded, _ = load_shipped("toy", tmp_path)
        assert torch.equal(loaded.embedding.weight, shipped.embedding.weight.half().float())
    else:
        with pytest.raises(ShippedModelError, match="checksum differs"):
            load_shipped("toy", tmp_path)


def test_what_cannot_be_shipped_is_refused(tmp_path, tokenizer):
    model = make(tokenizer)
    wrong = GPT(dataclasses.replace(model.config, vocab_size=tokenizer.vocab_size + 1))
    with pytest.raises(ValueError, match="not the one that it was trained with"):
        save_shipped(tmp_path / "toy", wrong, tokenizer, "abc", {})
    with torch.no_grad():
        model.norm.weight[0] = 1e6
    with pytest.raises(ValueError, match=r"norm\.weight holds numbers beyond float16"):
        save_shipped(tmp_path / "toy", model, tokenizer, "abc", {})
    assert not (tmp_path / "toy").exists()
