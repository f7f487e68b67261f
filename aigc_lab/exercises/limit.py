"""A limit of time for a reader's code, which may swallow exceptions or sleep."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import functools
import random
import signal
import sys
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

# A function that is stopped may tidy up (`finally`, `with`). One that swallows `TimeIsUp` by a bare
# `except:` inside a loop gets at this try one that comes back at once: into the handler itself,
# from where it gets out, and so on through all handlers around it. What brings it back is asked for
# by a subscript (of a defaultdict that calls C): Python looks for signals after calls and jumps,
# and would deliver it here instead of in the handler.
PATIENCE = 3


class TimeIsUp(BaseException):
    """The limit has passed. No Exception, so that `except Exception` does not swallow it."""


def readers_turn(run: Callable, function: Any, args: tuple, kwargs: dict) -> Any:
    """Run the reader's code. `TimeIsUp` is raised only while this frame is on the stack."""
    return run(function, *args, **kwargs)


def _is_readers_turn(frame: types.FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is readers_turn.__code__:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUp` in the reader's code when the time has passed, again if it is swallowed."""
    seconds = min(max(seconds, 0.01), threading.TIMEOUT_MAX)  # 0 would mean: no limit at all
    in_main_thread = threading.current_thread() is threading.main_thread()
    limit = _by_signal if in_main_thread and hasattr(signal, "setitimer") else _by_thread
    with limit(seconds):
        yield


@contextlib.contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    """Use the process's alarm clock, which also wakes a function that sleeps."""
    rings = 0
    coin = random.Random(0)
    back = defaultdict(functools.partial(_thread.interrupt_main, signal.SIGALRM))

    def ring(number: int, frame: types.FrameType | None) -> None:
        nonlocal rings
        if _is_readers_turn(frame):
            rings += 1
            # Python 3.12 counts the jump out of a handler among the lines that it guards. Waiting
            # for the next jump, now and then, gets past that one.
            waits = rings > PATIENCE and coin.random() < 0.5
            if rings >= PATIENCE:
                back[rings]
            if not waits:
                raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    """Let a second thread raise it in this one (where there is no alarm clock, as on Windows)."""
    this = ctypes.c_ulong(threading.get_ident())
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    finished = threading.Event()

    class Back(TimeIsUp):
        def __init__(self) -> None:
            if _is_readers_turn(sys._getframe()):
                back[self]

    back = defaultdict(functools.partial(raise_in, this, ctypes.py_object(Back)))

    def watch() -> None:
        wait, rings = seconds, 0
        while not finished.wait(wait):
            if _is_readers_turn(sys._current_frames().get(this.value)):
                rings += 1
                raise_in(this, ctypes.py_object(TimeIsUp if rings < PATIENCE else Back))
            wait = 0.2

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        while watcher.is_alive():
            with contextlib.suppress(TimeIsUp):  # one that comes too late
                finished.set()
                watcher.join()
        raise_in(this, None)  # one that has not come yet
