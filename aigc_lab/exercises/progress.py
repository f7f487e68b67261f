"""What the reader has done so far: one small JSON file in the user's data folder.

The environment variable AIGC_LAB_PROGRESS names another file. Whatever is wrong with the file, an
exercise can still be checked: the worst that happens is a warning.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from aigc_lab.files import write_atomically

VARIABLE = "AIGC_LAB_PROGRESS"
DONE, TRIED, OPEN = "done", "tried", "open"
VERSION = 1
SECONDS_TO_WAIT = 10  # for another notebook that is writing

State = dict[str, dict[str, Any]]  # exercise id -> {"state": ..., "tries": ..., "hints": ...}

_not_saved: State = {}  # where the file cannot be written


def path() -> Path:
    """Return where the state is kept."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("aigc_lab") / "progress.json"


def load() -> State:
    """Return the state; empty, with a warning, where the file is damaged."""
    state, problem = _read()
    if problem:
        _warn(problem)
    return _with_unsaved(state)


def update(change: Callable[[State], Any]) -> Any:
    """Let `change` alter the state, under a lock, and write it; return what `change` returns."""
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=SECONDS_TO_WAIT):
            state, problem = _read()
            if problem:
                _warn(problem)
                with contextlib.suppress(FileNotFoundError):
                    os.replace(file, f"{file}.damaged")  # nothing is thrown away
            state = _with_unsaved(state)
            result = change(state)
            content = {"version": VERSION, "exercises": state}
            write_atomically(file, json.dumps(content, indent=1).encode() + b"\n")
            _not_saved.clear()
            return result
    except (OSError, Timeout, NotImplementedError) as error:  # the last: no locks on this disk
        _warn(f"cannot be written ({error}): results are remembered in this session only")
        _not_saved.update(load())
        return change(_not_saved)


def _with_unsaved(state: State) -> State:
    """Add what could not be written earlier in this session; what is done stays done."""
    unsaved = {
        name: dict(entry)
        for name, entry in _not_saved.items()
        if state.get(name, {}).get("state") != DONE
    }
    return {**state, **unsaved}


def _read() -> tuple[State, str]:
    """Return the state in the file, and what is wrong with the file, if anything is."""
    try:
        content = json.loads(path().read_bytes())
        entries = content["exercises"]
        if content["version"] == VERSION and _is_state(entries):
            return entries, ""
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return {}, f"is damaged and is ignored; the next check keeps it as {path().name}.damaged"


def _entry(entries: State, exercise_id: str) -> dict[str, Any]:
    return entries.setdefault(exercise_id, {"state": OPEN, "tries": 0, "hints": 0})


def record(exercise_id: str, state: str) -> None:
    """Remember a try; what is done stays done."""

    def change(entries: State) -> None:
        entry = _entry(entries, exercise_id)
        entry["tries"] += 1
        if entry["state"] != DONE:
            entry["state"] = state
            if state == DONE:
                entry["done_at"] = datetime.now(UTC).isoformat(timespec="seconds")

    update(change)


def next_hint(exercise_id: str, n_hints: int) -> int:
    """Return the number of the next hint, counted from 1; after the last one always `n_hints`."""

    def change(entries: State) -> int:
        entry = _entry(entries, exercise_id)
        entry["hints"] = min(entry["hints"] + 1, n_hints)
        return entry["hints"]

    return update(change)


def _is_state(entries: Any) -> bool:
    return isinstance(entries, dict) and all(
        isinstance(entry, dict)
        and entry.get("state") in (DONE, TRIED, OPEN)
        and all(type(entry.get(name)) is int and entry[name] >= 0 for name in ("tries", "hints"))
        for entry in entries.values()
    )


def _warn(what: str) -> None:
    warnings.warn(f"the progress file {path()}: {what}", stacklevel=4)
