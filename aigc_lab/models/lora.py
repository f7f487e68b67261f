"""LoRA: learning a small change of large matrices, and keeping it in a small file.

A linear layer y = W x + b gets a second path beside it, y = W x + b + (α/r) · B A x. W and b stay;
A `(r, in)` and B `(out, r)` learn. B begins at 0: nothing changes before the first step. At the end
the path can be merged into the matrix, W + (α/r) · B A, and costs nothing any more.

Source: Hu et al. 2021.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from aigc_lab.files import write_atomically

ADAPTER, ADAPTER_CONFIG = "adapter.safetensors", "adapter.json"


class AdapterError(RuntimeError):
    """An adapter that is missing or damaged, or belongs to another base."""


class LoRALinear(nn.Module):
    """A frozen linear layer with a path of low rank beside it.

    Args:
        base: the layer.
        rank: r, at least 1.
        alpha: α; the path is scaled by α/r: with α fixed, its size hardly depends on the rank.

    Raises:
        ValueError: a rank below 1, or α not above 0.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        if rank < 1 or alpha <= 0:
            raise ValueError(f"rank={rank} must be at least 1 and alpha={alpha} above 0")
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))  # as nn.Linear's own
        nn.init.zeros_(self.lora_B.weight)
        self.to(base.weight.device, base.weight.dtype)
        self.rank, self.alpha = rank, alpha
        self.enabled = True
        self.kept: torch.Tensor | None = None  # the frozen matrix, while the path is merged

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(..., in)` to `(..., out)`."""
        y = self.base(x)
        if self.merged or not self.enabled:
            return y
        return y + self.alpha / self.rank * self.lora_B(self.lora_A(x))

    def change(self) -> torch.Tensor:
        """What the path adds to the matrix, (α/r) · B A: `(out, in)`."""
        return self.alpha / self.rank * self.lora_B.weight @ self.lora_A.weight

    @property
    def merged(self) -> bool:
        """Whether the path is in the matrix."""
        return self.kept is not None

    @torch.no_grad()
    def merge(self) -> None:
        """Add the path to the matrix, once."""
        if not self.merged:
            self.kept = self.base.weight.clone()
            self.base.weight += self.change()

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the frozen matrix back, bit for bit: a subtraction would leave rounding errors."""
        if self.kept is not None:
            self.base.weight.copy_(self.kept)
            self.kept = None


def add_lora(
    model: nn.Module, rank: int, alpha: float, targets: Sequence[str] | None = None
) -> list[str]:
    """Freeze a model and give its linear layers paths of low rank, in place.

    Args:
        model: the model.
        rank, alpha: of every path.
        targets: last parts of the layers' names, such as `("qkv", "out")`; by default every
            linear layer in a block: attention and feed-forward.

    Returns:
        The full names of the layers.

    Raises:
        ValueError: a model that has paths already, a target that it does not have, or as
            `LoRALinear`.
    """
    if lora_layers(model):
        raise ValueError("the model has LoRA paths already: call remove_lora(model) first")
    linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    if targets is None:
        chosen = sorted(name for name in linear if "blocks." in name)
    else:
        ends = {name.rpartition(".")[2] for name in linear}
        if missing := sorted(set(targets) - ends):
            raise ValueError(f"targets {missing} are no linear layers; there are {sorted(ends)}")
        chosen = sorted(name for name in linear if name.rpartition(".")[2] in targets)
    if not chosen:
        raise ValueError("the model has no linear layer in a block: name its layers as targets")
    model.requires_grad_(False)
    for name in chosen:
        _replace(model, name, LoRALinear(model.get_submodule(name), rank, alpha))
    return chosen


def remove_lora(model: nn.Module) -> nn.Module:
    """Put the plain layers back; what was merged stays in them. All parameters learn again."""
    for name, layer in lora_layers(model).items():
        _replace(model, name, layer.base)
    return model.requires_grad_(True)


def merge_lora(model: nn.Module) -> None:
    """Add every path to its matrix: the same numbers, as fast as the base."""
    for layer in lora_layers(model).values():
        layer.merge()


def unmerge_lora(model: nn.Module) -> None:
    """Take every path out of its matrix again, to go on training or to save it."""
    for layer in lora_layers(model).values():
        layer.unmerge()


@contextlib.contextmanager
def merged_lora(model: nn.Module) -> Iterator[None]:
    """The paths added to their matrices for a `with` block, in which writing is faster.

    What was merged before stays so; a model without paths does not change.
    """
    apart = [layer for layer in lora_layers(model).values() if not layer.merged]
    for layer in apart:
        layer.merge()
    try:
        yield
    finally:
        for layer in apart:
            layer.unmerge()


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The layers with a path, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """A and B of every path, by name: what is trained and saved."""
    return {
        f"{name}.{part}.weight": getattr(layer, part).weight
        for name, layer in lora_layers(model).items()
        for part in ("lora_A", "lora_B")
    }


@contextlib.contextmanager
def without_lora(model: nn.Module) -> Iterator[nn.Module]:
    """The base alone, for a `with` block: a reference model that needs no second copy.

    Raises:
        ValueError: paths are merged, so that the base is not there.
    """
    layers = _unmerged_layers(model)
    before = [layer.enabled for layer in layers]
    try:
        for layer in layers:
            layer.enabled = False
        yield model
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled


def _unmerged_layers(model: nn.Module) -> list[LoRALinear]:
    layers = list(lora_layers(model).values())
    if any(layer.merged for layer in layers):
        raise ValueError("the paths are merged into the base: call unmerge_lora(model) first")
    return layers


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    holder, _, last = name.rpartition(".")
    setattr(model.get_submodule(holder), last, layer)


def base_hash(model: nn.Module) -> str:
    """sha256 over the names and numbers of all parameters but A and B.

    Raises:
        ValueError: paths are merged, so that the base is not there.
    """
    _unmerged_layers(model)
    mine, digest = lora_parameters(model), hashlib.sha256()
    plain = {
        name.replace(".base.", "."): p for name, p in model.named_parameters() if name not in mine
    }
    for name in sorted(plain):
        digest.update(name.encode() + plain[name].detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def save_adapter(model: nn.Module, folder: str | Path, dtype: torch.dtype = torch.float32) -> int:
    """Write A and B of a model, each file whole or not at all.

    Args:
        model: with paths that are not merged.
        folder: made if it does not exist.
        dtype: in which the numbers are kept; float16 halves the file.

    Returns:
        Bytes written.

    Raises:
        ValueError: a model without paths, or with merged ones.
    """
    if not (layers := lora_layers(model)):
        raise ValueError("the model has no LoRA paths: there is no adapter to save")
    mine = lora_parameters(model)
    weights = save_tensors({name: p.detach().to("cpu", dtype) for name, p in mine.items()})
    first = next(iter(layers.values()))
    config = {
        "base": base_hash(model),
        "rank": first.rank,
        "alpha": first.alpha,
        "layers": sorted(layers),
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(config, indent=1).encode()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / ADAPTER, weights)
    write_atomically(folder / ADAPTER_CONFIG, text)
    return len(weights) + len(text)


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """Give a base the adapter of a folder, in place of one that it may have.

    Raises:
        AdapterError: there is none, it is damaged, or it was trained on another base.
        ValueError: the model's own paths are merged.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
        belongs_to, checksum = str(config["base"]), config["weights"]
        rank, alpha, layers = config["rank"], config["alpha"], list(config["layers"])
        weights = (folder / ADAPTER).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"there is no whole adapter in {folder}: {error!r}") from None
    if hashlib.sha256(weights).hexdigest() != checksum:
        raise AdapterError(f"{folder / ADAPTER} is damaged: its checksum differs")
    if (found := base_hash(model)) != belongs_to:
        raise AdapterError(
            f"the adapter in {folder} was trained on another base: weights {belongs_to[:12]}…, "
            f"and this model has {found[:12]}…; load the base that it belongs to"
        )
    remove_lora(model).requires_grad_(False)
    for name in layers:
        _replace(model, name, LoRALinear(model.get_submodule(name), rank, alpha))
    tensors = load_tensors(weights)
    with torch.no_grad():
        for name, parameter in lora_parameters(model).items():
            parameter.copy_(tensors[name])
