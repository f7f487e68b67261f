"""Measuring, and one line of the table."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One comparison: what was done, the numbers, and whether a promise about them is kept."""

    task: str
    ours: str
    peers: str
    ratio: str  # our time divided by the peer's
    promise: str = ""
    kept: bool | None = None  # None: nothing was promised


def median_seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median time of each function.

    They take turns, so that whatever else the machine does in the meantime hits all alike.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, own_times in zip(functions, times, strict=True):
            gc.collect()
            start = time.perf_counter()
            function()
            own_times.append(time.perf_counter() - start)
    return [statistics.median(own_times) for own_times in times]


def table(results: list[Result]) -> str:
    """The results as aligned text."""
    kept = {None: "", True: "kept", False: "BROKEN"}
    rows = [("task", "ours", "peer", "ours / peer", "promise", "")]
    rows += [(r.task, r.ours, r.peers, r.ratio, r.promise, kept[r.kept]) for r in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
