"""Numbers, arrays and tensors alike."""

from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np


def to_numpy(value: Any) -> np.ndarray | None:
    """Return tensors, arrays and numbers as an array, None for everything else."""
    if is_tensor(value):
        import torch

        dense = value if value.layout == torch.strided else value.to_dense()
        if dense.is_floating_point() and dense.dtype not in (torch.float32, torch.float64):
            dense = dense.float()  # numpy has no bfloat16
        return dense.numpy(force=True)
    if isinstance(value, np.ndarray | Number | np.bool_):
        return np.asarray(value)
    return None


def eps_of(value: Any) -> float:
    """Return how far apart floating-point numbers of this value's dtype lie, relative to them."""
    if is_tensor(value):
        import torch

        return torch.finfo(value.dtype).eps
    return float(np.finfo(np.asarray(value).dtype).eps)


def is_tensor(value: Any) -> bool:
    """Say whether this is a torch tensor, without importing torch."""
    return type(value).__module__.startswith("torch") and hasattr(value, "detach")


def wide(array: np.ndarray) -> np.ndarray:
    """Return numbers with so many bits that their differences are exact, or nearly."""
    return array.astype(complex if array.dtype.kind == "c" else float)


def flat(value: Any) -> Iterator[Any]:
    """Yield what is in lists, tuples and dicts, however deep."""
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from flat(item)
    else:
        yield value
