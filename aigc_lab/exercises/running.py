"""An answer beside the solution, on one case: values, tolerance, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from aigc_lab.exercises.calling import Outcome, call
from aigc_lab.exercises.comparing import Difference, compare, tolerance_of
from aigc_lab.exercises.declaring import Case, Exercise
from aigc_lab.exercises.values import eps_of, flat, is_tensor, to_numpy

SECONDS = 5.0  # for all calls of the reader's function together
N_NUDGES = 3
SECONDS_OF_OURS = 60.0  # for the solution and the known mistakes, which do end


def run(
    exercise: Exercise, function: Callable, case: Case, seconds: float = SECONDS_OF_OURS
) -> Outcome:
    """Call an answer on one case."""
    how = exercise.call or _plain
    return call(how, function, case.args, case.kwargs, exercise.parameters, seconds)


def _plain(function: Callable, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def solve(exercise: Exercise, case: Case) -> Any:
    """Return the solution's answer."""
    outcome = run(exercise, exercise.solution, case)
    if outcome.problem:
        raise RuntimeError(
            f"the solution of {exercise.id} failed on {case.label!r}: {outcome.message}"
        ) from outcome.error
    return outcome.value


def difference(exercise: Exercise, case: Case, value: Any) -> Difference | None:
    """Return how an answer's value differs from the right one, or None."""
    expected = solve(exercise, case)
    if exercise.verify is None:
        return compare(expected, value, tolerance(exercise, case, expected), exercise.returns)
    # Many values are right: only the type is compared, the rest the exercise itself must say.
    found = compare(expected, value, tolerance_of(expected, expected, 1.0, 0.0))
    if found and found.kind == "type":
        return found
    message = exercise.verify(value, *case.args, **case.kwargs)
    return Difference("value", message) if message else None


# -------------------------------------------------------------------------------------- tolerance


def tolerance(
    exercise: Exercise, case: Case, expected: Any, function: Callable | None = None
) -> Any:
    """Return the tolerance that the data of this case ask for, see `tolerance_of`.

    Args:
        exercise, case: what is asked.
        expected: the answer around which the tolerance is wanted.
        function: what gave that answer; by default the solution.
    """
    allowed = None
    for other in nudged(case):
        outcome = run(exercise, function or exercise.solution, other)
        value = expected if outcome.problem else outcome.value
        one = tolerance_of(expected, value, _largest(case), exercise.rtol)
        allowed = one if allowed is None else _larger(allowed, one)
    return allowed


def _larger(a: Any, b: Any) -> Any:
    """Return the larger of two tolerances, for each part of an answer."""
    if isinstance(a, dict):
        return {key: _larger(a[key], b[key]) for key in a}
    if isinstance(a, list):
        return [_larger(x, y) for x, y in zip(a, b, strict=True)]
    return max(a, b)


def nudged(case: Case) -> list[Case]:
    """Return the case with each floating-point number rounded differently, a few times.

    Once would not do: the changes may cancel by chance.
    """
    found = []
    for seed in range(N_NUDGES):
        rng = np.random.default_rng(seed)
        found.append(Case(case.label, *_nudge(case.args, rng), **_nudge(case.kwargs, rng)))
    return found


def _nudge(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, dict):
        changed = copy.copy(value)  # a Counter stays a Counter
        for key, item in value.items():
            changed[key] = _nudge(item, rng)
        return changed
    if isinstance(value, list | tuple):
        items = [_nudge(item, rng) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    array = to_numpy(value)
    if not _is_float(array):
        return value
    signs = rng.choice([-1.0, 1.0], array.shape)
    moved = array * (1 + signs.astype(array.dtype) * array.dtype.type(eps_of(value)))
    if is_tensor(value):
        import torch

        return torch.as_tensor(moved, dtype=value.dtype)
    return moved if isinstance(value, np.ndarray) else type(value)(moved)


def _largest(case: Case) -> float:
    """Return the largest number among the floating-point arguments."""
    arrays = [to_numpy(value) for value in flat((*case.args, *case.kwargs.values()))]
    sizes = [np.abs(a[np.isfinite(a)]).max(initial=0) for a in arrays if _is_float(a)]
    return float(max(sizes, default=0.0)) or 1.0


def _is_float(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind == "f"


# -------------------------------------------------------------------------------------- gradients


def gradient_difference(
    exercise: Exercise, function: Callable, case: Case, seconds: float = SECONDS_OF_OURS
) -> Difference | None:
    """Compare the gradients of a weighted sum of the answer with respect to the arguments."""
    theirs = run_with_gradients(exercise, function, case, seconds)
    if theirs.problem:
        return Difference("gradient", f"With gradients switched on: {theirs.message}")
    ours = run_with_gradients(exercise, exercise.solution, case).value
    moved = [run_with_gradients(exercise, exercise.solution, other) for other in nudged(case)]
    scales = [float(g.abs().max()) for g in ours.values() if g is not None and g.numel()]
    among = max([_largest(case), *scales])
    for name, expected in ours.items():
        got = theirs.value[name]
        if expected is None:
            continue  # this case's answer does not depend on it
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        allowed = max(
            tolerance_of(expected, outcome.value[name], among, exercise.rtol) for outcome in moved
        )
        if got is None:
            if scale <= allowed:
                continue  # autograd says None where it could say zero
            return Difference(
                "gradient",
                f"The answer is right, but no gradient reaches `{name}`: training would change "
                "nothing. `.detach()`, `.item()`, `.numpy()` and `torch.no_grad()` cut the graph.",
            )
        found = compare(expected, got, allowed, name=f"the gradient of `{name}`")
        if found:
            return Difference("gradient", f"The answer is right. {found.message}")
    return None


def run_with_gradients(
    exercise: Exercise, function: Callable, case: Case, seconds: float = SECONDS_OF_OURS
) -> Outcome:
    """Call an answer; the value is the gradient by name of the argument, None where none comes."""
    import torch

    def how(function: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
        named = dict(zip(exercise.parameters, args, strict=False)) | kwargs
        leaves = {name: named[name].requires_grad_() for name in exercise.gradients}
        with torch.enable_grad():
            value = (exercise.call or _plain)(function, *args, **kwargs)
            total = torch.zeros(())
            for number, part in enumerate(value if isinstance(value, tuple | list) else (value,)):
                if is_tensor(part) and part.requires_grad:
                    generator = torch.Generator().manual_seed(number)
                    weights = torch.randn(part.shape, generator=generator).to(part.dtype)
                    total = total + (part * weights).sum()
        if not total.requires_grad:
            return dict.fromkeys(leaves)
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return dict(zip(leaves, grads, strict=True))

    return call(how, function, case.args, case.kwargs, exercise.parameters, seconds)
