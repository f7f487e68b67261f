"""How an answer differs from the right one, said so that it helps and gives nothing away.

Differences come in an order: type, shape, dtype, NaN or infinity, value. An answer of the wrong
shape is not told about its values.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np

from aigc_lab.exercises.values import eps_of, is_tensor, to_numpy, wide
from aigc_lab.exercises.wording import (
    begin,
    dtype_message,
    nan_message,
    number_text,
    sequence_message,
    shape_message,
    type_difference,
    value_message,
    written,
)

KINDS = ("type", "shape", "dtype", "nan", "gradient", "value")
# A right program may round differently than ours at each of a few dozen steps, ...
ROUNDING = 50
# ... which is no worse than rounding its inputs differently a few times.
CONDITION = 10


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


# ------------------------------------------------------------------------------ by kind of answer


def _differences(expected: Any, got: Any, tolerance: Any, axes: Any, name: str):
    wrong_type = type_difference(expected, got, name)
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


def _array_differences(expected: Any, got: Any, tolerance: float, axes: str, name: str):
    if tuple(expected.shape) != tuple(got.shape):
        yield Difference(
            "shape", shape_message(tuple(expected.shape), tuple(got.shape), axes, name)
        )
        return
    if expected.dtype != got.dtype:
        yield Difference("dtype", dtype_message(expected.dtype, got.dtype, name))
        return
    a, b = to_numpy(expected), to_numpy(got)
    if a.dtype.kind in "fc":
        strange = ~np.isfinite(b) & ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if strange.any():
            yield Difference("nan", nan_message(b, strange, axes, name))
            return
        finite = np.isfinite(a) & np.isfinite(b)
        far = np.abs(wide(a) - wide(b)) > tolerance
        bad = np.where(finite, far, np.isfinite(a) != np.isfinite(b))
    else:
        bad = np.asarray(a != b, dtype=bool)
    if bad.any():
        yield Difference("value", value_message(a, b, bad, tolerance, axes, name))


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
        yield Difference("value", f"{begin(name)} should not be {b} here.")
    elif isinstance(b, float) and not np.isfinite(b):
        yield Difference("nan", f"{begin(name)} is {b}.")
    elif isinstance(a, float) and not np.isfinite(a):
        yield Difference("value", f"{begin(name)} is {number_text(b)}, which is not right.")
    elif isinstance(a, complex):
        if abs(a - b) > tolerance:
            yield Difference("value", f"{begin(name)} is {number_text(b)}, which is not right.")
    elif abs(a - b) > tolerance:
        direction = "large" if b > a else "small"
        times = f", {written(b / a)} times the right one" if isinstance(a, float) and a else ""
        yield Difference("value", f"{begin(name)} is {number_text(b)}, too {direction}{times}.")


def _other_differences(expected: Any, got: Any, name: str):
    if expected != got:
        yield Difference("value", f"{begin(name)} is not the right one.")


def _text_differences(expected: str | bytes, got: str | bytes, name: str):
    if expected != got:
        unit = "character" if isinstance(expected, str) else "byte"
        yield Difference("value", sequence_message(expected, got, unit, name))


def _list_differences(expected: Sequence, got: list, tolerance: Any, name: str):
    n = min(len(expected), len(got))
    for index in range(n):
        a, b = expected[index], got[index]
        inside = next(_differences(a, b, tolerance[index], "", f"entry {index}"), None)
        if inside and inside.kind != "value":
            yield inside
            return
        if inside:
            yield Difference("value", sequence_message(expected, got, "entry", name, index))
            return
    if len(expected) != len(got):
        yield Difference("value", sequence_message(expected, got, "entry", name, n))


def _dict_differences(expected: dict, got: dict, tolerance: dict, name: str):
    missing, extra = expected.keys() - got.keys(), got.keys() - expected.keys()
    if missing or extra:
        yield Difference(
            "value",
            f"{begin(name)} lacks {len(missing)} of {len(expected)} keys and has "
            f"{len(extra)} that do not belong there"
            + (f", such as {min(extra, key=repr)!r}." if extra else "."),
        )
        return
    for key, value in expected.items():
        yield from _differences(value, got[key], tolerance[key], "", f"the entry {key!r}")


def _same_length(a: Any, b: Any) -> bool:
    return isinstance(b, list | tuple) and len(a) == len(b)
