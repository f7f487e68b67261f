"""Models that come with the book: `aigc_lab/weights/NAME/`, written and read with every check.

A folder holds model.safetensors (float16), config.json (the architecture, the recipe's hash, the
weights' sha256), tokenizer.json, the training's log.jsonl, and scores.json. A model that was made
from another by LoRA has adapter.safetensors in place of the weights and the tokenizer.

Why float16: it halves the file, and rounding a trained model of the tiny world to it changed the
held-out loss by 0.0000002 nats per token (bfloat16: 0.000009).
"""

import dataclasses
import hashlib
import importlib
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from aigc_lab.data.sentence_batches import Vocabularies
from aigc_lab.data.tokenizer import Tokenizer, TokenizerFileError
from aigc_lab.files import write_atomically
from aigc_lab.models.kinds import build_model, config_of, has_vocabulary_of, load_tokenizer
from aigc_lab.models.lora import (
    ADAPTER,
    AdapterError,
    load_adapter,
    merge_lora,
    remove_lora,
)

FOLDER = Path(__file__).resolve().parents[1] / "weights"
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
LOG, SCORES = "log.jsonl", "scores.json"
ADAPTED = "Adapter"  # the kind of what was made by LoRA


class ShippedModelError(RuntimeError):
    """A shipped model that is missing or damaged; the message names the command to train it."""


def save_shipped(
    folder: str | Path,
    model: nn.Module,
    tokenizer: Tokenizer | Vocabularies,
    recipe: str,
    notes: dict[str, Any],
) -> None:
    """Write a trained model, each file whole or not at all.

    The configuration comes last and holds the sha256 of the rest: what a crash leaves half done
    is noticed by `load_shipped`.

    Args:
        folder: made if it does not exist.
        model: the model.
        tokenizer: its tokenizer, or vocabularies.
        recipe: hash of the recipe by which it was trained (`Recipe.sha256`).
        notes: what JSON can hold. "log" (the lines of the training's log) and "scores" become
            files of their own; the rest goes into the configuration.

    Raises:
        ValueError: a weight that float16 cannot hold, or another vocabulary than the tokenizer's.
    """
    if not has_vocabulary_of(model.config, tokenizer):
        raise ValueError(
            f"{model.config} has not as many tokens as the tokenizer: this is not the one that it "
            "was trained with"
        )
    # A tied table is stored once, under the first of its names.
    tensors = {name: p.detach().cpu().half().contiguous() for name, p in model.named_parameters()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers beyond float16 (65,504), or NaN")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    notes = dict(notes)
    weights = save_tensors(tensors)
    write_atomically(folder / WEIGHTS, weights)
    tokenizer.save(folder / TOKENIZER)
    write_notes(folder, notes)
    config = {
        "kind": type(model.config).__name__,
        "model": dataclasses.asdict(model.config),
        "recipe": recipe,
        "weights": hashlib.sha256(weights).hexdigest(),
        "tokenizer": hashlib.sha256((folder / TOKENIZER).read_bytes()).hexdigest(),
        "notes": notes,
    }
    write_atomically(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())


def write_notes(folder: Path, notes: dict[str, Any]) -> None:
    """Write "log" and "scores" of a model's notes as files of their own, and take them out."""
    log = "".join(json.dumps(line) + "\n" for line in notes.pop("log", []))
    write_atomically(folder / LOG, log.encode())
    scores = json.dumps(notes.pop("scores", {}), indent=1) + "\n"
    write_atomically(folder / SCORES, scores.encode())


def load_shipped(
    name: str, folder: str | Path = FOLDER
) -> tuple[nn.Module, Tokenizer | Vocabularies]:
    """Read a model that comes with the book.

    A warning says so if the recipe of this name has changed since the model was made.

    Args:
        name: of the model and its recipe, such as "base".
        folder: in which the models' folders lie.

    Returns:
        The model, in float32 and evaluation mode, and its tokenizer (or vocabularies).

    Raises:
        ShippedModelError: it is missing or damaged; names the command that trains it.
    """
    place = Path(folder) / name
    config = _read_config(place)
    if config["kind"] == ADAPTED:
        return _load_adapted(name, place, config)
    weights = _read_checked(place / WEIGHTS, config["weights"])
    tokenizer_bytes = _read_checked(place / TOKENIZER, config["tokenizer"])
    try:
        model = build_model(config_of(config["kind"], config["model"]))
        tokenizer = load_tokenizer(model.config, place / TOKENIZER)
        _fill(model, load_tensors(weights))
    except (TokenizerFileError, TypeError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ShippedModelError(
            f"the files in {place} do not belong together ({reason}): {_remedy(name)}"
        ) from None
    _warn_if_stale(name, place, config, tokenizer_bytes)
    return model.eval(), tokenizer


def _load_adapted(
    name: str, place: Path, config: dict[str, Any]
) -> tuple[nn.Module, Tokenizer | Vocabularies]:
    """The base with its paths added to its matrices: a model like any other."""
    _read_checked(place / ADAPTER, config["weights"])
    model, tokenizer = load_shipped(config["model"]["base"], place.parent)
    try:
        load_adapter(model, place)
    except AdapterError as error:
        raise ShippedModelError(f"{error}: {_remedy(name)}") from None
    _warn_if_stale(name, place, config)
    merge_lora(model)
    return remove_lora(model).eval(), tokenizer


def _warn_if_stale(name: str, place: Path, config: dict[str, Any], tokenizer: bytes = b"") -> None:
    if config["recipe"] != (_recipes_now().hash_now(name, tokenizer) or config["recipe"]):
        warnings.warn(
            f"the model in {place} was made by another recipe than {name!r} is now, so what it "
            f"says may differ from the text. To make it anew: {_command(name)}",
            stacklevel=3,
        )


def shipped_notes(name: str, folder: str | Path = FOLDER) -> dict[str, Any]:
    """The notes of a shipped model, with "recipe", "scores" and "log" (a list of lines) in them.

    Raises:
        ShippedModelError: it is missing or damaged.
    """
    place = Path(folder) / name
    config = _read_config(place)
    try:
        scores = json.loads((place / SCORES).read_bytes())
        log = [json.loads(line) for line in (place / LOG).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ShippedModelError(f"{place} is not whole ({error}): {_remedy(name)}") from None
    return {**config["notes"], "recipe": config["recipe"], "scores": scores, "log": log}


def weights_hash(name: str, folder: str | Path = FOLDER) -> str:
    """sha256 of a shipped model's weights, as its configuration has it.

    Raises:
        ShippedModelError: it is missing or damaged.
    """
    return _read_config(Path(folder) / name)["weights"]


def _fill(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Give a model its weights; a tied table is stored under the first of its names."""
    wanted = dict(model.named_parameters())  # each once
    if wrong := set(wanted) ^ set(tensors):
        raise KeyError(f"weights without a place or places without weights: {sorted(wrong)[:3]}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if parameter.shape != tensors[name].shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}")
            parameter.copy_(tensors[name])


def _recipes_now() -> ModuleType:
    """What knows the recipes; models know nothing of training but for this.

    Imported by its name, late: what a model answers does not depend on it, so a new recipe makes
    no chapter run again that only uses models (`tools.notebooks` follows plain imports).
    """
    return importlib.import_module("aigc_lab.recipes_now")


def _read_config(place: Path) -> dict[str, Any]:
    try:
        config = json.loads((place / CONFIG).read_bytes())
    except FileNotFoundError:
        raise ShippedModelError(
            f"there is no model in {place}. Train it with: {_command(place.name)}"
        ) from None
    except ValueError as error:
        raise ShippedModelError(
            f"{place / CONFIG} is damaged ({error}): {_remedy(place.name)}"
        ) from None
    missing = {"kind", "model", "recipe", "weights", "tokenizer", "notes"} - set(config)
    if missing:
        raise ShippedModelError(
            f"{place / CONFIG} lacks {', '.join(sorted(missing))}: {_remedy(place.name)}"
        )
    return config


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ShippedModelError(f"{path} is missing: {_remedy(path.parent.name)}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShippedModelError(
            f"{path} is damaged (its checksum differs): {_remedy(path.parent.name)}"
        )
    return data


def _command(name: str) -> str:
    return _recipes_now().command_of(name)


def _remedy(name: str) -> str:
    return f"get the file again from the repository, or train anew with: {_command(name)}"
