"""Shipping what LoRA has learned on a shipped model; `load_shipped` reads it like any other."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_lab.files import write_atomically
from aigc_lab.models.lora import ADAPTER, save_adapter
from aigc_lab.models.shipped import ADAPTED, CONFIG, write_notes


def save_shipped_adapter(
    folder: str | Path, model: nn.Module, base: str, recipe: str, notes: dict[str, Any]
) -> None:
    """Write what LoRA has learned on a shipped model; arguments as for `save_shipped`.

    Args:
        base: name of the shipped model that the paths were added to.

    Raises:
        ValueError: a model without paths.
    """
    folder = Path(folder)
    notes = dict(notes)
    save_adapter(model, folder, torch.float16)
    write_notes(folder, notes)
    config = {
        "kind": ADAPTED,
        "model": {"base": base},
        "recipe": recipe,
        "weights": hashlib.sha256((folder / ADAPTER).read_bytes()).hexdigest(),
        "tokenizer": "",
        "notes": notes,
    }
    write_atomically(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())
