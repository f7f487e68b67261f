"""Running another function, such as a reader's own, inside the reference model."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

PACKAGE = "aigc_lab"
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


@dataclass
class Swapped:
    """What `swap` gives: how often the function was called so far."""

    calls: int = 0
    is_inside: bool = False  # the function is running, so calls of the original mean the original


@contextlib.contextmanager
def swap(target: str, function: Callable) -> Iterator[Swapped]:
    """Let the book's code use `function` in place of its own, for the length of a `with` block.

        with swap("aigc_lab.models.attention.attend", my_attend) as swapped:
            model(tokens)
        print(swapped.calls)

    Every module of `aigc_lab` that uses the target sees yours; names imported into the notebook
    do not change. Arguments that yours does not take are left out where they have their default
    value. Yours may call the original. Afterwards everything is as it was, also after an error.

    Raises:
        ValueError: no such target in aigc_lab, or it is no function.
        TypeError: `function` cannot be called, or lacks an argument that the model gives.
    """
    holder, name, original = _resolve(target)
    if not callable(function):
        raise TypeError(f"swap needs a function to put in place of {target}, not {function!r}")
    swapped = Swapped()
    stand_in = _adapt(original, function, target, swapped)
    own = vars(holder).get(name)  # in a class perhaps a staticmethod, or inherited
    for module, attribute in _places(original):
        setattr(module, attribute, stand_in)
    setattr(holder, name, staticmethod(stand_in) if isinstance(own, staticmethod) else stand_in)
    try:
        yield swapped
    finally:
        for module, attribute in _places(stand_in):  # also those imported only in the block
            setattr(module, attribute, original)
        if own is None:
            delattr(holder, name)
        else:
            setattr(holder, name, own)
    if not swapped.calls:
        warnings.warn(
            f"{target} was swapped but never called: nothing in the block uses it", stacklevel=3
        )


def _resolve(target: str) -> tuple[Any, str, Callable]:
    """Return where the target lives (a module or a class), its name there, and the function."""
    parts = str(target).split(".")
    if parts[0] != PACKAGE or len(parts) < 3:
        raise ValueError(
            f"target {target!r} must be the full name of a function of the book, such as "
            "'aigc_lab.models.attention.attend'"
        )
    holder: Any = importlib.import_module(PACKAGE)
    for depth, part in enumerate(parts[1:], start=2):
        owner = holder
        if isinstance(owner, ModuleType) and not hasattr(owner, part):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(".".join(parts[:depth]))
        if not hasattr(owner, part):
            near = difflib.get_close_matches(part, dir(owner), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{target!r}: {'.'.join(parts[: depth - 1])} has no {part!r}{meant}")
        holder = getattr(owner, part)
    if not inspect.isfunction(holder):
        raise ValueError(f"{target!r} is a {type(holder).__name__}, not a function")
    if holder.__module__.split(".")[0] != PACKAGE:
        raise ValueError(f"{target!r} is a function of {holder.__module__}, not of the book")
    return owner, parts[-1], holder


def _places(function: Callable) -> list[tuple[ModuleType, str]]:
    """Return every attribute of a module of the book that is this function."""
    return [
        (module, name)
        for module_name, module in list(sys.modules.items())
        if module_name.split(".")[0] == PACKAGE and module is not None
        for name, value in vars(module).items()
        if value is function
    ]


def _adapt(original: Callable, function: Callable, target: str, swapped: Swapped) -> Callable:
    """Wrap the reader's function so that it can be called as the original is."""
    try:
        theirs = inspect.signature(function).parameters
    except ValueError:  # a builtin that does not say
        theirs = {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in theirs.values())
    signature = inspect.signature(original)

    @functools.wraps(original)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if swapped.is_inside:
            return original(*args, **kwargs)
        swapped.calls += 1
        bound = signature.bind(*args, **kwargs)
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for key, value in bound.arguments.items():
            parameter = signature.parameters[key]
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += value
            elif parameter.kind is parameter.VAR_KEYWORD:
                named |= value
            elif parameter.default is parameter.empty and parameter.kind is not KEYWORD_ONLY:
                positional.append(value)  # may have another name in the reader's function
            elif key in theirs or takes_any:
                named[key] = value
            elif not _is_default(value, parameter.default):
                raise TypeError(
                    f"the model calls {target} with {key}={_short(value)}, but your "
                    f"{getattr(function, '__name__', 'function')} has no argument {key!r}"
                )
        swapped.is_inside = True
        try:
            return function(*positional, **named)
        finally:
            swapped.is_inside = False

    return stand_in


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _short(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
