"""The sentences that say how an answer differs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np

from aigc_lab.exercises.values import is_tensor, to_numpy, wide

KINDS_OF_BASES = {  # a Counter is a dict, and a tensor's shape a tuple
    str: "text (str)",
    bytes: "bytes",
    list: "a list",
    tuple: "a tuple",
    dict: "a dict",
    set: "a set",
}
INTEGER, FLOAT = "a whole number (int)", "a number (float)"
MOST_SHOWN = 60  # characters of a value of the reader's


def type_difference(expected: Any, got: Any, name: str) -> str:
    """Say that the type is another one, and what to do about it."""
    wanted, found = kind_of(expected), kind_of(got)
    if wanted == found or {wanted, found} <= {"a list", "a tuple"}:
        if isinstance(expected, tuple) and len(expected) != len(got):
            return f"{begin(name)} should have {len(expected)} parts, but has {len(got)}."
        return ""
    if isinstance(expected, Number) and (inner := to_numpy(got)) is not None and inner.shape == ():
        found = kind_of(inner.item())
        if found == wanted or (wanted, found) == (FLOAT, INTEGER):
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
        (INTEGER, FLOAT): "// divides whole numbers without a remainder.",
    }
    remedy = remedies.get((wanted, found), "")
    if got is None and name == "the answer":
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
    return f"{begin(name)} should be {wanted}, but is {found}. {remedy}".rstrip()


def kind_of(value: Any) -> str:
    """Return the kind of a value in words: `a tensor`, `a whole number`."""
    if is_tensor(value):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "a numpy array"
    if isinstance(value, bool | np.bool_):
        return "True or False"
    if isinstance(value, int | np.integer):
        return INTEGER
    if isinstance(value, float | np.floating):
        return FLOAT
    if value is None:
        return "None"
    for base, kind in KINDS_OF_BASES.items():
        if isinstance(value, base):
            return kind
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def begin(name: str) -> str:
    """Return a name as the beginning of a sentence."""
    return name[0].upper() + name[1:]


def with_names(shape: tuple[int, ...], axes: str) -> str:
    """Return `(B=2, T=5)`; without names, or with another number of them, `(2, 5)`."""
    names = axes.split()
    if len(names) != len(shape):
        return str(tuple(shape))
    return "(" + ", ".join(f"{name}={n}" for name, n in zip(names, shape, strict=True)) + ")"


def shape_message(expected: tuple, got: tuple, axes: str, name: str) -> str:
    """Say what the shape should be, with the axes' names, and what is wrong with it."""
    text = f"{begin(name)} should have shape {with_names(expected, axes)}, but has {got}."
    if len(got) == len(expected):
        if sorted(got) == sorted(expected):
            text += " The sizes are right, their order is not: a transpose?"
    elif _without_ones(got) == _without_ones(expected) and abs(len(got) - len(expected)) == 1:
        text += " An axis of size 1 is missing or too many."
    elif len(got) < len(expected):
        text += " Axes are missing: was something summed that should stay?"
    return text


def _without_ones(shape: tuple) -> list[int]:
    return [n for n in shape if n != 1]


def dtype_message(expected: Any, got: Any, name: str) -> str:
    """Say what the dtype should be."""
    text = f"{begin(name)} should be of dtype {expected}, but is {got}."
    if "float64" in str(got) and "float32" in str(expected):
        text += " Something double came in: a numpy array, or .double()?"
    return text


def nan_message(got: np.ndarray, strange: np.ndarray, axes: str, name: str) -> str:
    """Say where NaN or infinity stands."""
    values = got[strange]
    what = "NaN" if np.isnan(values).all() else "infinite" if not np.isnan(values).any() else ""
    return (
        f"{begin(name)} is {what or 'NaN or infinite'} in {strange.sum()} of {strange.size} places"
        f"{_only_where(strange, axes)}, first at {_place(strange, axes)}."
    )


def value_message(a, b, bad: np.ndarray, tolerance: float, axes: str, name: str) -> str:
    """Say where and how much numbers differ, `a` being the right ones."""
    entries = "numbers" if a.dtype.kind in "fciu" else "entries"
    text = (
        f"{begin(name)} has the right shape; {bad.sum()} of {bad.size} {entries} differ"
        f"{_only_where(bad, axes)}."
    )
    if a.dtype.kind == "b":
        swapped = ""
        if bad.all() and bad.size > 1:
            swapped = " Every one does: True and False the other way round?"
        return text + swapped + f" The first is at {_place(bad, axes)}."
    if a.dtype.kind not in "fciu":
        return text + f" The first is at {_place(bad, axes)}."
    finite = np.isfinite(a) & np.isfinite(b)
    if not (bad & finite).any():
        return text + f" The first is at {_place(bad, axes)}: one of the two is infinite."
    distance = np.where(finite, np.abs(wide(a) - wide(b)), 0)
    worst = np.unravel_index(distance.argmax(), distance.shape)
    scale = np.abs(wide(a[finite])).max(initial=0)
    text += (
        f" The largest difference is {distance.max():.2g}, at {_at(worst, axes)}, where yours is "
        f"{b[worst]:{'.4g' if distance.max() > 1e-3 * abs(b[worst]) else '.10g'}}"
    )
    # One digit: enough to judge the difference by, and gives no number away.
    if scale and a.dtype.kind in "fc":
        text += f"; the right numbers go up to about {float(f'{scale:.0e}'):g}"
    return text + "." + _pattern(wide(a[finite]), wide(b[finite]), tolerance)


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
        return f" All of yours are {written(factor)} times the right ones."
    offset = (b - a).mean()
    if np.abs(b - a - offset).max() <= tolerance:
        return f" All of yours are off by the same {offset:+.4g}."
    if np.abs(np.sort(b, axis=None) - np.sort(a, axis=None)).max() <= tolerance:
        return " They are the right numbers in another order."
    return ""


def written(factor: float) -> str:
    """Write a factor with so many digits that one beside 1 does not read as 1."""
    return f"{factor:.4g}" if abs(factor - 1) > 1e-3 else f"{factor:.10g}"


def number_text(number: Any) -> str:
    """Write a number of the reader's."""
    return f"{number:.6g}" if isinstance(number, float | complex) else short(number)


def short(value: Any) -> str:
    """Show a value of the reader's, if that is not too long."""
    try:
        text = repr(value)
    except Exception:  # an int of thousands of digits, or a class with a bad __repr__
        return f"{kind_of(value)}, too long to be shown"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


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


def sequence_message(expected, got, unit: str, name: str, index: int | None = None) -> str:
    """Say at which character, byte or entry two sequences part."""
    if index is None:
        pairs = enumerate(zip(expected, got, strict=False))
        index = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(got)))
    parts = []
    if len(expected) != len(got):
        parts.append(f"should have {_count(len(expected), unit)}, but has {len(got) or 'none'}")
    if index < min(len(expected), len(got)):
        mine = got[index : index + 1] if isinstance(got, str | bytes) else got[index]
        parts.append(
            f"differs from {unit} {index} on (counted from 0), where yours is {short(mine)}"
        )
    elif 0 < len(got) < len(expected):
        parts.append("what is there is right: the end is missing")
    elif 0 < len(expected) < len(got):
        parts.append(f"is right up to {unit} {index}: something follows that should not")
    return f"{begin(name)} " + "; ".join(parts) + "."


def _count(n: int, unit: str) -> str:
    plural = "entries" if unit == "entry" else f"{unit}s"
    return f"{n or 'no'} {unit if n == 1 else plural}"
