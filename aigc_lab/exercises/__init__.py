"""Exercises that answer back: `check` what you wrote, ask for a `hint`, `swap` it into the model.

Each chapter's exercises are declared in a module `chNN_name`; CONTRIBUTING.md shows how.
"""

from aigc_lab.exercises.checking import check, hint, solution
from aigc_lab.swapping import swap

__all__ = ["check", "hint", "solution", "swap"]
