"""Results that were recorded once, because making them takes longer than a chapter may."""

import json
from pathlib import Path
from typing import Any

from aigc_lab.files import write_atomically


def read_results(path: Path, command: str) -> dict[str, Any]:
    """Recorded results.

    Args:
        path: of the file, JSON.
        command: that makes it, for the error.

    Raises:
        FileNotFoundError: there are none; names the command.
    """
    if not path.exists():
        raise FileNotFoundError(f"there are no results in {path}: make them with `{command}`")
    return json.loads(path.read_text(encoding="utf-8"))


def write_results(path: Path, found: dict[str, Any]) -> None:
    """Write results, whole or not at all; the folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found, indent=1).encode())
