"""Running a reader's function so that nothing it does can hurt the notebook or the inputs."""

from __future__ import annotations

import builtins
import contextlib
import copy
import dis
import inspect
import io
import sys
import sysconfig
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np

from aigc_lab.exercises.limit import TimeIsUp, readers_turn, time_limit
from aigc_lab.exercises.values import is_tensor, to_numpy

# Where code lies that is not the reader's: Python, installed packages, aigc_lab itself.
LIBRARIES: tuple[str, ...] = (
    *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).resolve().parent.parent),
)
MOST_PRINTED = 2_000  # characters kept of what a function prints


@dataclass
class Outcome:
    """What came of one call.

    Either `value` holds the answer, or `problem` says in one word why there is none and
    `message` in a sentence. `printed` is what the function printed; `changed` names the
    arguments that it changed.
    """

    value: Any = None
    problem: str = ""
    message: str = ""
    error: BaseException | None = None
    printed: str = ""
    changed: list[str] = field(default_factory=list)


def call(
    run: Callable, function: Any, args: tuple, kwargs: dict, names: list[str], seconds: float
) -> Outcome:
    """Run `run(function, *args, **kwargs)` on copies of the arguments, for `seconds` at most."""
    given = (*args, *kwargs.values())
    copied_args, copied_kwargs = copy.deepcopy((args, kwargs))
    printed = _Bounded()
    outcome = Outcome()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(action="ignore"),
            no_exit(function),
            time_limit(seconds),
        ):
            outcome.value = readers_turn(run, function, copied_args, copied_kwargs)
    except TimeIsUp:
        outcome.problem = "time"
        outcome.message = (
            "It did not come to an end and was stopped. Is there a loop that never ends? (If it is "
            "only slow, give it more time: `check(..., seconds=60)`.)"
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome.error = error
        outcome.problem, outcome.message = _explain(error)
    outcome.printed = printed.getvalue()
    copies = (*copied_args, *copied_kwargs.values())
    outcome.changed = [n for n, a, b in zip(names, given, copies, strict=False) if not same(a, b)]
    return outcome


class _Bounded(io.StringIO):
    """Keeps the first characters only: an endless loop may print a lot."""

    def write(self, text: str) -> int:
        room = MOST_PRINTED - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)


@contextlib.contextmanager
def no_exit(function: Any) -> Iterator[None]:
    """Let `exit()` and `quit()` only raise SystemExit: theirs would end the kernel or the shell.

    IPython's are globals of the notebook, Python's own are builtins.
    """
    places = [vars(builtins), vars(sys.modules["__main__"]), getattr(function, "__globals__", {})]
    before = [
        (names, name, names[name]) for names in places for name in ("exit", "quit") if name in names
    ]
    for names, name, _ in before:
        names[name] = sys.exit
    try:
        yield
    finally:
        for names, name, value in reversed(before):
            names[name] = value


# ------------------------------------------------------------------------------- what went wrong


def _explain(error: BaseException) -> tuple[str, str]:
    """Return the kind of problem and a sentence with the reader's own line."""
    where = readers_line(error)
    if isinstance(error, SystemExit):
        return (
            "raised",
            f"It ends the program (sys.exit or exit); return the answer instead.{where}",
        )
    if isinstance(error, NotImplementedError) and _raised_by_reader(error):
        return "not yet", ""
    if isinstance(error, RecursionError):
        return "raised", f"It calls itself without end. Which case should stop it?{where}"
    return "raised", described(error) + where


def described(error: BaseException | None) -> str:
    """Return an error's class and the first line of what it says."""
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:  # an exception class of the reader's
        text = ""
    return f"{type(error).__name__}: {text or '(no message)'}"


def readers_line(error: BaseException) -> str:
    """Return where the reader's code raised: the innermost line that is not a library's or ours."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_library(frame.filename)]
    if not theirs:
        return ""
    frame = theirs[-1]
    line = (frame.line or "").strip()
    quoted = f": `{line}`" if line else ""
    return f"\nin line {frame.lineno} of {frame.name}{quoted}"


def _raised_by_reader(error: BaseException) -> bool:
    """Say whether a `raise` of the reader's raised it, not a library's function in C."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    is_raise = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return is_raise and not _is_library(code.co_filename)


def _is_library(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return True
    if filename.startswith("<"):
        return False
    return any(Path(filename).resolve().is_relative_to(folder) for folder in LIBRARIES)


def arguments_that_do_not_fit(function: Any, args: tuple, kwargs: dict) -> str:
    """Say how the function's signature and the call disagree; empty if they agree."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"Yours takes {signature_text(signature)}: {error}"
    return ""


def signature_text(signature: inspect.Signature) -> str:
    """Return the arguments without their types: `(q, k, *, mask=None)`."""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


_DATA = (str, bytes, bytearray, Number, set, deque)


def same(a: Any, b: Any, unknown: bool = True) -> bool:
    """Say whether two arguments hold the same; `unknown` is the answer for what is no data."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key], unknown) for key in a)
    if isinstance(a, list | tuple):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(x, y, unknown) for x, y in pairs)
    if is_tensor(a) or isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        a, b = to_numpy(a), to_numpy(b)
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Number) and a != a:  # NaN
        return bool(b != b)
    if a is None or isinstance(a, _DATA):
        return bool(a == b)
    return unknown
