"""Models in the format of transformers: the same logits there and back, and clear errors."""

import json

import pytest
import torch

from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.huggingface import ModelFileError, from_huggingface, kind_of, to_huggingface

transformers = pytest.importorskip("transformers")

SMALL = {"context_length": 32, "d_model": 24, "n_layers": 2, "n_heads": 4}
OURS = {
    "gpt2": GPTConfig.gpt2(vocab_size=50, **SMALL),
    "gpt2, untied, narrow": GPTConfig.gpt2(vocab_size=50, **SMALL, tie_weights=False, d_ff=40),
    "llama": GPTConfig.llama(50, **SMALL),
    "llama, grouped, untied": GPTConfig.llama(
        50, **SMALL, n_kv_heads=2, tie_weights=False, rope_base=500.0, norm_eps=1e-3
    ),
    "llama, with biases": GPTConfig.llama(50, **SMALL, n_kv_heads=2, bias=True),
}


def theirs(kind: str):
    """A random model of transformers."""
    torch.manual_seed(0)
    if kind.startswith("gpt2"):
        config = transformers.GPT2Config(
            vocab_size=50, n_positions=32, n_embd=24, n_layer=2, n_head=4
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=50,
            max_position_embeddings=32,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1 if "grouped" in kind else 4,
            intermediate_size=40,
            tie_word_embeddings="tied" in kind,
            attention_bias="biases" in kind,
            mlp_bias="biases" in kind,
        )
        model = transformers.LlamaForCausalLM(config)
    return shaken(model)


def shaken(model):
    """The model with weights far from where they start, norms and biases included."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def draw():
    return torch.randint(50, (3, 32), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "kind", ["gpt2", "llama", "llama, tied", "llama, grouped", "llama, biases"]
)
def test_their_model_gives_the_same_logits_here(kind, tmp_path):
    model = theirs(kind)
    model.save_pretrained(tmp_path)
    ours = from_huggingface(tmp_path)
    with torch.no_grad():
        expected = model(draw()).logits
        torch.testing.assert_close(ours(draw()), expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.5  # numbers that could differ


@pytest.mark.parametrize("config", OURS.values(), ids=OURS.keys())
def test_our_model_gives_the_same_logits_there_and_comes_back(config, tmp_path):
    torch.manual_seed(0)
    model = shaken(GPT(config))
    to_huggingface(model, tmp_path / "new" / "folder")
    there = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "folder")
    back = from_huggingface(tmp_path / "new" / "folder")
    with torch.no_grad():
        expected = model(draw())
        torch.testing.assert_close(there.eval()(draw()).logits, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(back(draw()), expected)
    assert back.config == model.config or back.config.ff_width == model.config.ff_width


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_their_generate_stops_at_the_end_token(kind, tmp_path, recwarn):
    torch.manual_seed(0)
    model = shaken(GPT(OURS[kind]))
    prompt = draw()[:1, :4]
    with torch.no_grad():
        end = int(model(prompt)[0, -1].argmax())  # what is written first
    to_huggingface(model, tmp_path / "with", end_token=end)
    to_huggingface(model, tmp_path / "without")
    lengths = []
    for name in ("with", "without"):
        there = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()
        with torch.no_grad():
            written = there.generate(prompt, max_new_tokens=5, do_sample=False, pad_token_id=0)
        lengths.append(written.shape[1] - prompt.shape[1])
    assert lengths == [1, 5]
    assert not [w for w in recwarn if "token_id" in str(w.message)]
    with pytest.raises(ValueError, match="end_token=50 is outside the vocabulary of 50"):
        to_huggingface(model, tmp_path / "other", end_token=50)
    assert not (tmp_path / "other").exists()


def test_the_bare_model_of_gpt2_is_read_too(tmp_path):
    model = theirs("gpt2")
    model.transformer.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(draw()).logits
        found = from_huggingface(tmp_path)(draw())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_an_architecture_without_a_name_is_refused(tmp_path):
    config = GPTConfig(50, **SMALL, norm="layer")
    with pytest.raises(ValueError, match="no model with positions='rope', norm='layer'"):
        to_huggingface(GPT(config), tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="n_kv_heads=2"):
        kind_of(GPTConfig.gpt2(n_heads=4, n_kv_heads=2))


@pytest.fixture
def folder(tmp_path):
    """A good model's folder."""
    to_huggingface(GPT(OURS["llama"]), tmp_path)
    return tmp_path


def change(folder, **entries):
    file = folder / "config.json"
    settings = {**json.loads(file.read_text()), **entries}
    file.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "model of type None"),
        (lambda f: change(f, model_type="bert"), "model of type 'bert'"),
        (lambda f: change(f, hidden_size=None), "no entry 'hidden_size'"),
        (lambda f: change(f, hidden_act="relu"), "has hidden_act='relu'; only 'silu'"),
        (lambda f: change(f, rope_scaling={"rope_type": "yarn"}), "stretches RoPE"),
        (lambda f: change(f, num_hidden_layers=3), "lacks the weights"),
        (lambda f: change(f, vocab_size=51), "does not fit config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-100]
            ),
            "is damaged",
        ),
    ],
)
def test_files_that_cannot_be_read_get_a_sentence(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ModelFileError, match=message):
        from_huggingface(folder)
