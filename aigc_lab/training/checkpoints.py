"""Checkpoints: everything a training run needs to go on as if it had never stopped.

One file holds the model, the optimizers, the step, and the state of every source of chance. It is
a safetensors file, so that reading it can run no code, with a checksum of its tensors.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from aigc_lab.files import write_atomically

FORMAT = "aigc_lab.checkpoint.1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    generators: Sequence[torch.Generator] = (),
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file; its folder must exist.
        model, optimizers: what is being trained.
        step: number of steps done.
        generators: the run's own sources of chance; the global ones of Python, numpy and torch
            are saved as well.
        notes: anything else that JSON can hold, such as the recipe.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    plain: list[dict] = []
    for number, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        numbers: dict[str, dict] = {}
        for index, entries in state["state"].items():
            for name, value in entries.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{number}.{index}.{name}"] = value
                else:
                    numbers.setdefault(str(index), {})[name] = value
        groups = [
            {k: str(v) if isinstance(v, torch.dtype) else v for k, v in group.items()}
            for group in state["param_groups"]
        ]
        plain.append({"groups": groups, "numbers": numbers})
    tensors["chance.torch"] = torch.get_rng_state()
    for number, generator in enumerate(generators):
        tensors[f"chance.{number}"] = generator.get_state()
    kind, keys, *rest = np.random.get_state()
    tensors["chance.numpy"] = torch.from_numpy(keys.astype(np.int64))
    # A tied table is one tensor under two names; safetensors wants each to stand alone.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    content = {
        "format": FORMAT,
        "sha256": _checksum(tensors),
        "step": step,
        "optimizers": plain,
        "chance": {"python": random.getstate(), "numpy": [kind, *rest]},
        "notes": notes or {},
    }
    metadata = {"aigc_lab": json.dumps(content)}
    write_atomically(path, save_tensors(tensors, metadata=metadata))


def load_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    generators: Sequence[torch.Generator] = (),
) -> tuple[int, dict[str, Any]]:
    """Put everything back as it was; nothing is changed if the checkpoint does not fit.

    Without `optimizers` only the model is read, as for using it.

    Returns:
        The number of steps done, and the notes.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: damaged, no checkpoint, or one of another model or other optimizers.
    """
    tensors, content = _read(Path(path))
    weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if own != {name: tensor.shape for name, tensor in weights.items()}:
        other = sorted(set(own.items()) ^ {(n, t.shape) for n, t in weights.items()}, key=str)
        raise CheckpointError(
            f"{path} is of another model: {other[0][0]} differs; check the recipe's settings"
        )
    if optimizers:
        states = _optimizer_states(path, tensors, content, optimizers)
        if sum(name.removeprefix("chance.").isdigit() for name in tensors) != len(generators):
            raise CheckpointError(f"{path} was saved with another number of generators")
        for optimizer, state in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        for number, generator in enumerate(generators):
            generator.set_state(tensors[f"chance.{number}"])
        torch.set_rng_state(tensors["chance.torch"])
        kind, *rest = content["chance"]["numpy"]
        np.random.set_state((kind, tensors["chance.numpy"].numpy().astype(np.uint32), *rest))
        version, numbers, gauss = content["chance"]["python"]
        random.setstate((version, tuple(numbers), gauss))
    model.load_state_dict(weights)
    return content["step"], content["notes"]


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        data = path.read_bytes()
        tensors = load_tensors(data)
        # A safetensors file begins with the length of its header, which holds the metadata.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        content = json.loads(header.get("__metadata__", {}).get("aigc_lab", "{}"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}): delete it and go on from an earlier one"
        ) from None
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this book (or of another version)")
    if content["sha256"] != _checksum(tensors):
        raise CheckpointError(
            f"{path} is damaged (its checksum differs): delete it and go on from an earlier one"
        )
    return tensors, content


def _optimizer_states(path, tensors, content, optimizers) -> list[dict]:
    """Return what each optimizer's `load_state_dict` wants."""
    if len(content["optimizers"]) != len(optimizers):
        raise CheckpointError(
            f"{path} was saved with {len(content['optimizers'])} optimizers, not {len(optimizers)}"
        )
    states = []
    for number, (plain, optimizer) in enumerate(
        zip(content["optimizers"], optimizers, strict=True)
    ):
        own = optimizer.state_dict()["param_groups"]
        if [len(g["params"]) for g in own] != [len(g["params"]) for g in plain["groups"]]:
            raise CheckpointError(f"{path}: optimizer {number} has other groups of parameters")
        groups = [
            {**theirs, **{k: v for k, v in ours.items() if isinstance(v, torch.dtype)}}
            for ours, theirs in zip(own, plain["groups"], strict=True)
        ]
        state: dict[int, dict] = {int(i): dict(e) for i, e in plain["numbers"].items()}
        start = f"optimizer.{number}."
        for name, tensor in tensors.items():
            if name.startswith(start):
                index, _, entry = name.removeprefix(start).partition(".")
                state.setdefault(int(index), {})[entry] = tensor
        states.append({"state": state, "param_groups": groups})
    return states


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
