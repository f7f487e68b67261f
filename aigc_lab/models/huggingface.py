"""Models on disk in the format of the `transformers` library: config.json and model.safetensors.

Two settings of `GPTConfig` have a counterpart there: GPT-2 and LLaMA.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from aigc_lab.files import write_atomically
from aigc_lab.models.gpt import GPT, GPTConfig

Tensors = dict[str, torch.Tensor]
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class ModelFileError(ValueError):
    """Files from which no model can be made; the message says what is wrong and what to do."""


def to_huggingface(model: GPT, path: str | Path, end_token: int | None = None) -> None:
    """Write a model so that `AutoModelForCausalLM.from_pretrained(path)` loads it.

    Args:
        model: one with the architecture of GPT-2 or of LLaMA.
        path: a folder, made if it does not exist.
        end_token: id of the token that begins and ends a document; their `generate` stops at it.

    Raises:
        ValueError: an architecture that `transformers` has no name for, or an `end_token` outside
            the vocabulary.
    """
    kind = kind_of(model.config)
    if end_token is not None and not 0 <= end_token < model.config.vocab_size:
        raise ValueError(
            f"end_token={end_token} is outside the vocabulary of {model.config.vocab_size}"
        )
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    convert = _to_gpt2 if kind == "gpt2" else _to_llama
    theirs = {name: tensor.contiguous() for name, tensor in convert(ours, model.config).items()}
    settings = _config_of(model.config, kind, end_token)
    write_atomically(folder / WEIGHTS_FILE, save_tensors(theirs, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG_FILE, json.dumps(settings, indent=1).encode())


def from_huggingface(path: str | Path) -> GPT:
    """Read a GPT-2 or LLaMA model that `transformers` or `to_huggingface` has written.

    Raises:
        ModelFileError: a file is missing or damaged, or the model is of another kind.
    """
    folder = Path(path)
    settings = _read_config(folder)
    config = _config_from(settings, folder)
    weights = folder / WEIGHTS_FILE
    if not weights.exists():
        raise ModelFileError(
            f"{folder} has no {WEIGHTS_FILE}; a model in several files or in another format must "
            "first be saved with save_pretrained(..., max_shard_size='100GB')"
        )
    try:
        theirs = load_tensors(weights.read_bytes())
    except SafetensorError as error:
        raise ModelFileError(f"{weights} is damaged ({error}): copy or write it again") from None
    convert = _from_gpt2 if settings["model_type"] == "gpt2" else _from_llama
    try:
        ours = convert(theirs, config)
    except KeyError as error:
        raise ModelFileError(f"{weights} lacks the weights {error}") from None
    model = GPT(config)
    try:
        model.load_state_dict(ours)
    except RuntimeError as error:
        raise ModelFileError(f"{weights} does not fit {CONFIG_FILE}: {error}") from None
    return model.eval()


def kind_of(config: GPTConfig) -> str:
    """Return "gpt2" or "llama".

    Raises:
        ValueError: the architecture is neither.
    """
    parts = (config.positions, config.norm, config.activation, config.bias)
    if parts == ("learned", "layer", "gelu", True) and config.kv_heads == config.n_heads:
        return "gpt2"
    if parts[:3] == ("rope", "rms", "swiglu"):
        return "llama"
    raise ValueError(
        f"transformers has no model with positions={config.positions!r}, norm={config.norm!r}, "
        f"activation={config.activation!r}, bias={config.bias}, n_kv_heads={config.n_kv_heads}; "
        "use the architecture of GPTConfig.gpt2 or GPTConfig.llama"
    )


# ------------------------------------------------------------------------------------------- config


def _config_of(config: GPTConfig, kind: str, end_token: int | None) -> dict[str, Any]:
    common = {
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_weights,
        "dtype": "float32",
        # Without these entries GPT-2's own, 50256, would hold, whatever the vocabulary.
        "bos_token_id": end_token,
        "eos_token_id": end_token,
    }
    if kind == "gpt2":
        return common | {
            "architectures": ["GPT2LMHeadModel"],
            "n_positions": config.context_length,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.ff_width,
            "layer_norm_epsilon": config.norm_eps,
            "activation_function": "gelu_new",
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout),
        }
    return common | {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ff_width,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,
        "hidden_act": "silu",
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
    }


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG_FILE
    try:
        settings = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"{folder} has no {CONFIG_FILE}: is it a model's folder?") from None
    except ValueError as error:
        raise ModelFileError(f"{file} is damaged ({error})") from None
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in ("gpt2", "llama"):
        raise ModelFileError(f"{file} is of a model of type {kind!r}; this reads gpt2 and llama")
    return settings


def _config_from(settings: dict[str, Any], folder: Path) -> GPTConfig:
    def need(name: str, wanted: Any, default: Any) -> None:
        if settings.get(name, default) != wanted:
            raise ModelFileError(
                f"{folder / CONFIG_FILE} has {name}={settings[name]!r}; only {wanted!r} can be read"
            )

    try:
        if settings["model_type"] == "gpt2":
            need("activation_function", "gelu_new", "gelu_new")
            return GPTConfig.gpt2(
                vocab_size=settings["vocab_size"],
                context_length=settings["n_positions"],
                d_model=settings["n_embd"],
                n_layers=settings["n_layer"],
                n_heads=settings["n_head"],
                d_ff=settings.get("n_inner"),
                norm_eps=settings.get("layer_norm_epsilon", 1e-5),
                tie_weights=settings.get("tie_word_embeddings", True),
            )
        need("hidden_act", "silu", "silu")
        bias = settings.get("attention_bias", False)
        need("mlp_bias", bias, False)  # both or neither
        rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
        if rope.get("rope_type", "default") != "default":
            raise ModelFileError(f"{folder / CONFIG_FILE} stretches RoPE ({rope}); not supported")
        return GPTConfig.llama(
            settings["vocab_size"],
            context_length=settings["max_position_embeddings"],
            d_model=settings["hidden_size"],
            n_layers=settings["num_hidden_layers"],
            n_heads=settings["num_attention_heads"],
            n_kv_heads=settings.get("num_key_value_heads"),
            d_ff=settings["intermediate_size"],
            norm_eps=settings.get("rms_norm_eps", 1e-6),
            rope_base=rope.get("rope_theta", settings.get("rope_theta", 10_000.0)),
            tie_weights=settings.get("tie_word_embeddings", False),
            bias=bias,
        )
    except KeyError as error:
        raise ModelFileError(f"{folder / CONFIG_FILE} has no entry {error}") from None


# ------------------------------------------------------------------------------------------ weights

GPT2_NAMES = {  # ours: theirs, whose linear layers are stored transposed
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def _to_gpt2(ours: Tensors, config: GPTConfig) -> Tensors:
    return {theirs: _turned(name, ours[name]) for name, theirs in _gpt2_pairs(config)}


def _from_gpt2(theirs: Tensors, config: GPTConfig) -> Tensors:
    # Files of the bare model lack the prefix.
    prefix = "" if any(name.startswith("transformer.") for name in theirs) else "transformer."
    theirs = {f"{prefix}{name}": tensor for name, tensor in theirs.items()}
    theirs.setdefault("lm_head.weight", theirs["transformer.wte.weight"])
    pairs = [*_gpt2_pairs(config), ("head.weight", "lm_head.weight")]
    return {name: _turned(name, theirs[other]) for name, other in pairs}


def _gpt2_pairs(config: GPTConfig) -> list[tuple[str, str]]:
    pairs = [
        ("embedding.weight", "transformer.wte.weight"),
        ("learned.table.weight", "transformer.wpe.weight"),
        ("norm.weight", "transformer.ln_f.weight"),
        ("norm.bias", "transformer.ln_f.bias"),
    ]
    for layer in range(config.n_layers):
        for ours, theirs in GPT2_NAMES.items():
            for part in ("weight", "bias"):
                pairs.append(
                    (f"blocks.{layer}.{ours}.{part}", f"transformer.h.{layer}.{theirs}.{part}")
                )
    if not config.tie_weights:
        pairs.append(("head.weight", "lm_head.weight"))
    return pairs


def _turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    is_linear = re.search(r"\.(qkv|out|up|down)\.weight$", name)
    return tensor.T if is_linear else tensor


LLAMA_NAMES = {  # ours: theirs, one after the other in one matrix of ours
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "feed_forward.down": ("mlp.down_proj",),
}
LLAMA_NORMS = {
    "attention_norm": "input_layernorm",
    "feed_forward_norm": "post_attention_layernorm",
}


def _to_llama(ours: Tensors, config: GPTConfig) -> Tensors:
    theirs = {
        "model.embed_tokens.weight": ours["embedding.weight"],
        "model.norm.weight": ours["norm.weight"],
    }
    sizes = {
        "attention.qkv": [n * config.head_dim for n in (config.n_heads, *[config.kv_heads] * 2)],
        "feed_forward.gate_up": [config.ff_width] * 2,
    }
    for mine, other in _llama_layers(config):
        for name, names in LLAMA_NAMES.items():
            for kind in _kinds(config):
                whole = ours[f"{mine}{name}.{kind}"]
                parts = whole.split(sizes.get(name, len(whole)))
                for part_name, part in zip(names, parts, strict=True):
                    theirs[f"{other}{part_name}.{kind}"] = part
        for name, other_name in LLAMA_NORMS.items():
            theirs[f"{other}{other_name}.weight"] = ours[f"{mine}{name}.weight"]
    if not config.tie_weights:
        theirs["lm_head.weight"] = ours["head.weight"]
    return theirs


def _from_llama(theirs: Tensors, config: GPTConfig) -> Tensors:
    embedding = theirs["model.embed_tokens.weight"]
    ours = {
        "embedding.weight": embedding,
        "norm.weight": theirs["model.norm.weight"],
        "head.weight": embedding if config.tie_weights else theirs["lm_head.weight"],
    }
    for mine, other in _llama_layers(config):
        for name, names in LLAMA_NAMES.items():
            for kind in _kinds(config):
                parts = [theirs[f"{other}{part_name}.{kind}"] for part_name in names]
                ours[f"{mine}{name}.{kind}"] = torch.cat(parts)
        for name, other_name in LLAMA_NORMS.items():
            ours[f"{mine}{name}.weight"] = theirs[f"{other}{other_name}.weight"]
    return ours


def _llama_layers(config: GPTConfig) -> list[tuple[str, str]]:
    return [(f"blocks.{i}.", f"model.layers.{i}.") for i in range(config.n_layers)]


def _kinds(config: GPTConfig) -> tuple[str, ...]:
    return ("weight", "bias") if config.bias else ("weight",)
