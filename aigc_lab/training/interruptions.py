"""What may end a training too early: Ctrl-C, and memory that runs out."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import torch


class Stopped(Exception):
    """Ctrl-C ended the run; the message says how to go on."""


class CtrlC:
    """Whether Ctrl-C was pressed."""

    pressed = False


@contextlib.contextmanager
def watch_ctrl_c() -> Iterator[CtrlC]:
    """Let the first Ctrl-C only be noted; the second acts as always."""
    noted = CtrlC()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread gets signals
        return

    def note(number, frame) -> None:
        noted.pressed = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def advice_on_memory(shape: tuple[int, int]) -> Iterator[None]:
    """Say what to change when there is no memory for a batch of this shape (B, T).

    Raises:
        MemoryError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's error on a GPU is a RuntimeError
        text = str(error).lower()
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and (
            "can't allocate memory" not in text and "not enough memory" not in text
        ):
            raise
        raise MemoryError(
            f"no memory is left for a batch of {shape[0]} rows of {shape[1]} tokens: halve the "
            "batch (batch_size, or n_documents of packed documents) and double accumulate, which "
            "trains alike; if one row is too much, halve context_length or d_model"
        ) from error
