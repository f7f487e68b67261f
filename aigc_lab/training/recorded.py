"""Results that were recorded once, because making them takes longer than a chapter may."""

import json
from pathlib import Path
from typing import Any


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
