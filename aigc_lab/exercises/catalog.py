"""Which exercises there are, and finding one by its id."""

import ast
import difflib
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType

from aigc_lab.exercises.declaring import Exercise, Question

OWN = "aigc_lab.exercises"
MODULE = re.compile(r"ch(\d\d)_(\w+)")


@cache
def chapters() -> dict[str, str]:
    """Names of the chapters that have exercises: `{"attention": "ch04_attention", ...}`."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return {match[2]: name for name in names if (match := MODULE.fullmatch(name))}


def module_of(chapter: str) -> ModuleType:
    """Return the module that declares a chapter's exercises."""
    return importlib.import_module(f"{OWN}.{chapters()[chapter]}")


def exercises_of(chapter: str) -> list[Exercise | Question]:
    """Return a chapter's exercises and questions in the order of their declaration."""
    return [x for x in vars(module_of(chapter)).values() if isinstance(x, Exercise | Question)]


def all_exercises() -> list[Exercise | Question]:
    """Return all exercises and questions of the book in order."""
    return [item for chapter in chapters() for item in exercises_of(chapter)]


def imports_of(chapter: str) -> list[str]:
    """Return the lines that a reader's notebook or file starts from: what the solutions import."""
    source = inspect.getsource(module_of(chapter))
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    return [
        ast.unparse(node)
        for node in nodes
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OWN))
    ]


def find(exercise_id: str) -> Exercise | Question:
    """Return the exercise with this id, or with this name.

    Raises:
        ValueError: there is none; names those with similar ids.
    """
    chapter, _, name = str(exercise_id).partition("/")
    if chapter in chapters():
        for item in exercises_of(chapter):
            if item.name == name:
                return item
    everything = all_exercises()
    for item in everything:
        if item.name == exercise_id:  # no two have the same name
            return item
    ids = [item.id for item in everything]
    near = difflib.get_close_matches(str(exercise_id), ids, n=3, cutoff=0.4)
    meant = " or ".join(repr(one) for one in near)
    raise ValueError(
        f"there is no exercise {exercise_id!r}"
        + (f"; did you mean {meant}?" if near else ";")
        + " `python -m aigc_lab exercises` lists them all"
    )
