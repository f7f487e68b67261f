"""How an answer differs from the right one, said so that it helps and gives nothing away.

Differences come in an order: type, shape, dtype, NaN or infinity, value. An answer of the wrong
shape is not told about its values.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np

KINDS = ("type", "shape", "dtype", "nan", "gradient", "value")
# A right program may round differently than ours at each of a few dozen steps, ...
ROUNDING = 50
# ... which is no worse than rounding its inputs differently a few times.
CONDITION = 10
KINDS_OF_BASES = {  # a Counter is a dict, and a tensor's shape a tuple
    str: "text (str)",
    bytes: "bytes",
    list: "a list",
    tuple: "a tuple",
    dict: "a dict",
    set: "a set",
}
MOST_SHOWN = 60  # characters of a value of the reader's


@dataclass(frozen=True)
class Difference:
    """The first thing that differs: one of KINDS, and a sentence about it."""

    kind: str
    message: str


@np.errstate(all="ignore")  # infinities and NaN are among the things compared
def compare(
    expected: Any,
    got: Any,
    tolerance: Any,
    axes: str | Sequence[str] = "",
    name: str = "the answer",
) -> Difference | None:
    """Return the most basic difference between the right answer and the reader's, or None.

    Args:
        expected, got: numbers, text, arrays, tensors, or tuples, lists and dicts of them.
        tolerance: as made by `tolerance_of`, a number for each array or number of `expected`.
        axes: names of the axes, or `"name: axes"` for each entry of a tuple.
        name: what the sentences call the answer.
    """
    found = list(_differences(expected, got, tolerance, axes, name))
    return min(found, key=lambda difference: KINDS.index(difference.kind), default=None)


@np.errstate(all="ignore")
def tolerance_of(expected: Any, nudged: Any, input_scale: float, rtol: float) -> Any:
    """Return how far a right answer may be from `expected`, for each array or number in it.

    Derived from the data: the rounding error of the largest number in the answer, and what
    rounding the inputs differently does to the answer.

    Args:
        expected: the solution's answer.
        nudged: its answer to inputs that are changed by one part in 1/eps.
        input_scale: the largest number among the inputs, used where the answer is all zeros.
        rtol: the least tolerance, relative to the largest number in the answer.
    """
    if isinstance(expected, list | tuple):
        parts = nudged if _same_length(expected, nudged) else expected
        return [tolerance_of(a, b, input_scale, rtol) for a, b in zip(expected, parts, strict=True)]
    if isinstance(expected, dict):
        parts = nudged if isinstance(nudged, dict) else expected
        return {
            key: tolerance_of(value, parts.get(key, value), input_scale, rtol)
            for key, value in expected.items()
        }
    values = to_numpy(expected)
    if values is None or values.dtype.kind not in "fc" or not values.size:
        return 0.0
    finite = values[np.isfinite(values)]
    scale = float(np.abs(finite).max(initial=0.0)) or input_scale
    other = to_numpy(nudged)
    moved = 0.0
    if other is not None and other.shape == values.shape:
        both = np.isfinite(values) & np.isfinite(other)
        moved = float(np.abs(other[both] - values[both]).max(initial=0.0))
    if moved > scale / 100:
        scale = max(scale, input_scale)  # zero but for rounding, as in 0.1 + 0.2 - 0.3
    return max(ROUNDING * eps_of(expected) * scale + CONDITION * moved, rtol * scale)


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


# ------------------------------------------------------------------------------ by kind of answer


def _differences(expected: Any, got: Any, tolerance: Any, axes: Any, name: str):
    wrong_type = _type_difference(expected, got, name)
    if wrong_type:
        yield Difference("type", wrong_type)
    elif isinstance(expected, tuple) and isinstance(axes, tuple):
        for number, (a, b) in enumerate(zip(expected, got, strict=True)):
            part, _, names = axes[number].partition(":")
            yield from _differences(a, b, tolerance[number], names.strip(), f"`{part}`")
    elif isinstance(expected, dict):
        yield from _dict_differences(expected, got, tolerance, name)
    elif isinstance(expected, list | tuple):
        yield from _list_differences(expected, list(got), tolerance, name)
    elif isinstance(expected, str | bytes):
        yield from _text_differences(expected, got, name)
    elif is_tensor(expected) or isinstance(expected, np.ndarray):
        yield from _array_differences(expected, got, tolerance, axes, name)
    elif isinstance(expected, Number | np.bool_):
        yield from _number_differences(expected, got, tolerance, name)
    else:
        yield from _other_differences(expected, got, name)


def _type_difference(expected: Any, got: Any, name: str) -> str:
    """Say that the type is another one, and what to do about it."""
    wanted, found = kind_of(expected), kind_of(got)
    if wanted == found or {wanted, found} <= {"a list", "a tuple"}:
        if isinstance(expected, tuple) and len(expected) != len(got):
            return f"{_begin(name)} should have {len(expected)} parts, but has {len(got)}."
        return ""
    if wanted == "a number" and found == "a whole number":
        return ""
    if isinstance(expected, Number) and (inner := to_numpy(got)) is not None and inner.shape == ():
        found = kind_of(inner.item())
        if found == wanted or (wanted, found) == ("a number", "a whole number"):
            return ""
    remedies = {
        ("a tensor", "a numpy array"): "torch.from_numpy makes a tensor of an array.",
        ("a numpy array", "a tensor"): "A tensor's .numpy() is an array.",
        ("a numpy array", "a list"): "np.array makes an array of a list.",
        ("a tensor", "a list"): "torch.tensor or torch.stack makes a tensor of a list.",
        ("a list", "a numpy array"): "An array's .tolist() is a list.",
        ("a list", "a tensor"): "A tensor's .tolist() is a list.",
        ("text (str)", "bytes"): "bytes.decode() gives text.",
        ("bytes", "a list"): "bytes() makes bytes of a list of numbers.",
        ("a whole number", "a number"): "// divides whole numbers without a remainder.",
    }
    remedy = remedies.get((wanted, found), "")
    if got is None:
        remedy = "Does every way through the function end in a return?"
    elif inspect.isgenerator(got):
        remedy = "`yield` makes a generator; collect the results and return them."
    elif inspect.iscoroutine(got):
        got.close()
        remedy = "`async def` makes a coroutine; write plain `def`."
    elif callable(got):
        remedy = "Did you forget the parentheses of a call?"
    elif not remedy and wanted == "a list" and isinstance(got, Iterator | range | set):
        remedy = "list() makes a list of it."
    return f"{_begin(name)} should be {wanted}, but is {found}. {remedy}".rstrip()


def kind_of(value: Any) -> str:
    """Return the kind of a value in words: `a tensor`, `a whole number`."""
    if is_tensor(value):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "a numpy array"
    if isinstance(value, bool | np.bool_):
        return "True or False"
    if isinstance(value, int | np.integer):
        return "a whole number"
    if isinstance(value, float | np.floating):
        return "a number"
    if value is None:
        return "None"
    for base, kind in KINDS_OF_BASES.items():
        if isinstance(value, base):
            return kind
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _array_differences(expected: Any, got: Any, tolerance: float, axes: str, name: str):
    if tuple(expected.shape) != tuple(got.shape):
        yield Difference(
            "shape", _shape_message(tuple(expected.shape), tuple(got.shape), axes, name)
        )
        return
    if expected.dtype != got.dtype:
        yield Difference("dtype", _dtype_message(expected.dtype, got.dtype, name))
        return
    a, b = to_numpy(expected), to_numpy(got)
    if a.dtype.kind in "fc":
        strange = ~np.isfinite(b) & ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if strange.any():
            yield Difference("nan", _nan_message(b, strange, axes, name))
            return
        finite = np.isfinite(a) & np.isfinite(b)
        far = np.abs(_wide(a) - _wide(b)) > tolerance
        bad = np.where(finite, far, np.isfinite(a) != np.isfinite(b))
    else:
        bad = np.asarray(a != b, dtype=bool)
    if bad.any():
        yield Difference("value", _value_message(a, b, bad, tolerance, axes, name))


def _number_differences(expected: Any, got: Any, tolerance: float, name: str):
    a, b = to_numpy(expected).item(), to_numpy(got).item()
    if not isinstance(a, int | float | complex):
        yield from _other_differences(a, b, name)  # a Fraction, a Decimal
        return
    if isinstance(a, float) and isinstance(b, int):
        b = float(b) if abs(b) < sys.float_info.max else np.inf
    if a == b or (a != a and b != b):  # two NaN, which are not equal to themselves
        return
    if isinstance(a, bool):
        yield Difference("value", f"{_begin(name)} should not be {b} here.")
    elif isinstance(b, float) and not np.isfinite(b):
        yield Difference("nan", f"{_begin(name)} is {b}.")
    elif isinstance(a, float) and not np.isfinite(a):
        yield Difference("value", f"{_begin(name)} is {_number_text(b)}, which is not right.")
    elif isinstance(a, complex):
        if abs(a - b) > tolerance:
            yield Difference("value", f"{_begin(name)} is {_number_text(b)}, which is not right.")
    elif abs(a - b) > tolerance:
        direction = "large" if b > a else "small"
        factor = f", {_factor(b / a)} times the right one" if isinstance(a, float) and a else ""
        yield Difference("value", f"{_begin(name)} is {_number_text(b)}, too {direction}{factor}.")


def _other_differences(expected: Any, got: Any, name: str):
    if expected != got:
        yield Difference("value", f"{_begin(name)} is not the right one.")


def _text_differences(expected: str | bytes, got: str | bytes, name: str):
    if expected != got:
        unit = "character" if isinstance(expected, str) else "byte"
        yield Difference("value", _sequence_message(expected, got, unit, name))


def _list_differences(expected: Sequence, got: list, tolerance: Any, name: str):
    n = min(len(expected), len(got))
    for index in range(n):
        a, b = expected[index], got[index]
        inside = next(_differences(a, b, tolerance[index], "", f"entry {index}"), None)
        if inside and inside.kind != "value":
            yield inside
            return
        if inside:
            yield Difference("value", _sequence_message(expected, got, "entry", name, index))
            return
    if len(expected) != len(got):
        yield Difference("value", _sequence_message(expected, got, "entry", name, n))


def _dict_differences(expected: dict, got: dict, tolerance: dict, name: str):
    missing, extra = expected.keys() - got.keys(), got.keys() - expected.keys()
    if missing or extra:
        yield Difference(
            "value",
            f"{_begin(name)} lacks {len(missing)} of {len(expected)} keys and has "
            f"{len(extra)} that do not belong there"
            + (f", such as {min(extra, key=repr)!r}." if extra else "."),
        )
        return
    for key, value in expected.items():
        yield from _differences(value, got[key], tolerance[key], "", f"the entry {key!r}")


# ------------------------------------------------------------------------------------- sentences


def _begin(name: str) -> str:
    return name[0].upper() + name[1:]


def with_names(shape: tuple[int, ...], axes: str) -> str:
    """Return `(B=2, T=5)`; without names, or with another number of them, `(2, 5)`."""
    names = axes.split()
    if len(names) != len(shape):
        return str(tuple(shape))
    return "(" + ", ".join(f"{name}={n}" for name, n in zip(names, shape, strict=True)) + ")"


def _shape_message(expected: tuple, got: tuple, axes: str, name: str) -> str:
    text = f"{_begin(name)} should have shape {with_names(expected, axes)}, but has {got}."
    if len(got) == len(expected):
        if sorted(got) == sorted(expected):
            text += " The sizes are right, their order is not: a transpose?"
    elif [n for n in got if n != 1] == [n for n in expected if n != 1]:
        text += " Only an axis of size 1 is missing or too many."
    elif len(got) < len(expected):
        text += " Axes are missing: was something summed that should stay?"
    return text


def _dtype_message(expected: Any, got: Any, name: str) -> str:
    text = f"{_begin(name)} should be of dtype {expected}, but is {got}."
    if "float64" in str(got) and "float32" in str(expected):
        text += " Something double came in: a numpy array, or .double()?"
    return text


def _nan_message(got: np.ndarray, strange: np.ndarray, axes: str, name: str) -> str:
    values = got[strange]
    what = "NaN" if np.isnan(values).all() else "infinite" if not np.isnan(values).any() else ""
    return (
        f"{_begin(name)} is {what or 'NaN or infinite'} in {strange.sum()} of {strange.size} places"
        f"{_only_where(strange, axes)}, first at {_place(strange, axes)}."
    )


def _value_message(a, b, bad: np.ndarray, tolerance: float, axes: str, name: str) -> str:
    text = (
        f"{_begin(name)} has the right shape; {bad.sum()} of {bad.size} numbers differ"
        f"{_only_where(bad, axes)}."
    )
    if a.dtype.kind == "b":
        swapped = " Every one does: True and False the other way round?" if bad.all() else ""
        return text + swapped + f" The first is at {_place(bad, axes)}."
    if a.dtype.kind not in "fciu":
        return text + f" The first is at {_place(bad, axes)}."
    finite = np.isfinite(a) & np.isfinite(b)
    if not (bad & finite).any():
        return text + f" The first is at {_place(bad, axes)}: one of the two is infinite."
    distance = np.where(finite, np.abs(_wide(a) - _wide(b)), 0)
    worst = np.unravel_index(distance.argmax(), distance.shape)
    scale = np.abs(_wide(a[finite])).max(initial=0)
    text += (
        f" The largest difference is {distance.max():.2g}, at {_at(worst, axes)}, where yours is "
        f"{b[worst]:.4g}"
    )
    # One digit: enough to judge the difference by, and gives no number away.
    text += f"; the right numbers go up to about {float(f'{scale:.0e}'):g}" if scale else ""
    return text + "." + _pattern(_wide(a[finite]), _wide(b[finite]), tolerance)


def _pattern(a: np.ndarray, b: np.ndarray, tolerance: float) -> str:
    """Say if the wrong numbers follow from the right ones in a simple way."""
    if a.size < 2 or a.dtype.kind == "c" or np.ptp(a) <= tolerance or not (a * a).sum():
        return ""
    factor = (a * b).sum() / (a * a).sum()
    if np.abs(b).max() <= tolerance:
        return " All of yours are zero."
    if abs(factor) > 1e-6 and np.abs(b - factor * a).max() <= tolerance * max(1, abs(factor)):
        if abs(factor + 1) < 1e-4:
            return " All of yours have the wrong sign."
        return f" All of yours are {_factor(factor)} times the right ones."
    offset = (b - a).mean()
    if np.abs(b - a - offset).max() <= tolerance:
        return f" All of yours are off by the same {offset:+.4g}."
    if np.abs(np.sort(b, axis=None) - np.sort(a, axis=None)).max() <= tolerance:
        return " They are the right numbers in another order."
    return ""


def _factor(factor: float) -> str:
    """Write a factor with so many digits that one beside 1 does not read as 1."""
    return f"{factor:.4g}" if abs(factor - 1) > 1e-3 else f"{factor:.10g}"


def _number_text(number: Any) -> str:
    return f"{number:.6g}" if isinstance(number, float | complex) else _short(number)


def _short(value: Any) -> str:
    """Show a value of the reader's, if that is not too long."""
    try:
        text = repr(value)
    except Exception:  # an int of thousands of digits, or a class with a bad __repr__
        return f"{kind_of(value)}, too long to be shown"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _wide(array: np.ndarray) -> np.ndarray:
    """Return numbers with so many bits that their differences are exact, or nearly."""
    return array.astype(complex if array.dtype.kind == "c" else float)


def _only_where(bad: np.ndarray, axes: str) -> str:
    """Say if the wrong places all lie in one slice of one axis."""
    if bad.all() or bad.size < 2:
        return ""
    names = (
        axes.split() if len(axes.split()) == bad.ndim else [f"axis {i}" for i in range(bad.ndim)]
    )
    for axis, name in enumerate(names):
        others = tuple(other for other in range(bad.ndim) if other != axis)
        hit = np.flatnonzero(bad.any(axis=others))
        if len(hit) == 1 and bad.shape[axis] > 1:
            return f", all of them at {name}={hit[0]}"
    return ""


def _place(bad: np.ndarray, axes: str) -> str:
    return _at(np.unravel_index(bad.argmax(), bad.shape), axes)


def _at(index: tuple, axes: str) -> str:
    if not index:
        return "the only place"
    names = axes.split()
    if len(names) != len(index):
        return "[" + ", ".join(str(int(i)) for i in index) + "]"
    return ", ".join(f"{name}={int(i)}" for name, i in zip(names, index, strict=True))


def _sequence_message(expected, got, unit: str, name: str, index: int | None = None) -> str:
    if index is None:
        pairs = enumerate(zip(expected, got, strict=False))
        index = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(got)))
    parts = []
    if len(expected) != len(got):
        parts.append(f"should have {_count(len(expected), unit)}, but has {len(got) or 'none'}")
    if index < min(len(expected), len(got)):
        mine = got[index : index + 1] if isinstance(got, str | bytes) else got[index]
        parts.append(
            f"differs from {unit} {index} on (counted from 0), where yours is {_short(mine)}"
        )
    elif 0 < len(got) < len(expected):
        parts.append("what is there is right: the end is missing")
    elif 0 < len(expected) < len(got):
        parts.append(f"is right up to {unit} {index}: something follows that should not")
    return f"{_begin(name)} " + "; ".join(parts) + "."


def _count(n: int, unit: str) -> str:
    plural = "entries" if unit == "entry" else f"{unit}s"
    return f"{n or 'no'} {unit if n == 1 else plural}"


def _same_length(a: Any, b: Any) -> bool:
    return isinstance(b, list | tuple) and len(a) == len(b)
