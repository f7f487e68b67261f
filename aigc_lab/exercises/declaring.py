"""What an exercise is: one declaration, from which page, notebook and checks are made.

    @exercise(title=..., minutes=..., statement=..., hints=[...], cases=..., mistakes=[...])
    def scaled_dot_product(q: torch.Tensor, ...) -> torch.Tensor:
        '''What to write, with shapes.'''
        return ...                            # the solution

The decorated function is the solution; its signature and docstring are the stub.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from aigc_lab.exercises.calling import same

NOT_YET = 'raise NotImplementedError("your code here")'
# How many times the cases are drawn, each time with another seed.
N_DRAWS = 3


class DeclarationError(ValueError):
    """A declaration that cannot work; the message names the exercise and the remedy."""


class Draw:
    """Draws the inputs of one check; the same seed gives the same inputs."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def array(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Normally distributed float64 numbers of the given shape."""
        return scale * self.rng.normal(size=shape)

    def tensor(self, *shape: int, scale: float = 1.0):
        """Normally distributed float32 numbers in a torch tensor of the given shape."""
        import torch  # the exercises on tokens do not need it

        return torch.from_numpy(self.array(*shape, scale=scale)).float()

    def integer(self, low: int, high: int) -> int:
        """One whole number, low <= number < high."""
        return int(self.rng.integers(low, high))

    def integers(self, low: int, high: int, n: int) -> list[int]:
        """A list of n whole numbers, low <= number < high."""
        return self.rng.integers(low, high, n).tolist()


class Case:
    """One set of arguments for the reader's function, with a label for the verdict."""

    def __init__(self, label: str, *args: Any, **kwargs: Any):
        self.label, self.args, self.kwargs = label, args, kwargs

    @property
    def size(self) -> int:
        """How much there is to look at: the number of numbers and characters in the arguments."""
        return sum(size_of(value) for value in (*self.args, *self.kwargs.values()))


def size_of(value: Any) -> int:
    """Return the number of numbers or characters in a value, nested ones included."""
    if isinstance(value, dict):
        return sum(size_of(key) + size_of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(size_of(item) for item in value)
    if hasattr(value, "shape"):
        return int(np.prod(value.shape))
    return len(value) if isinstance(value, str | bytes) else 1


class Mistake:
    """A known wrong implementation and the sentence that tells the reader what they did.

    Args:
        says: the sentence, addressed to the reader.
        how: either a function, or changes to the solution's source: a piece that stands there
            exactly once, what takes its place, and so on in pairs.
    """

    def __init__(self, says: str, *how: Callable | str):
        self.says = says
        self.function = how[0] if len(how) == 1 and callable(how[0]) else None
        self.changes = () if self.function else tuple(zip(how[::2], how[1::2], strict=True))
        if not how:
            raise DeclarationError(f"the mistake {says!r} needs a function or changes")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to be answered in words; the reader sees our answer after writing their own."""

    name: str
    title: str
    minutes: int
    statement: str
    answer: str
    chapter: str
    has_one_answer: bool = False

    @property
    def id(self) -> str:
        """Chapter and name, as given to `check`."""
        return f"{self.chapter}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise whose answer is a function (or a class) that is checked by running it.

    Args:
        chapter, name: together the id, such as `"attention/scaled_dot_product"`.
        title, minutes, statement, hints: for the reader; `statement` and `hints` in markdown.
        solution: the right implementation.
        cases: yields the cases for one draw, edge cases among them.
        mistakes: known mistakes, at least three.
        returns: names of the answer's axes such as `"B H T D"`; for a tuple a tuple of
            `"name: B H T D"`.
        gradients: names of arguments whose gradients are compared too.
        call: how the answer is run, `call(answer, *args, **kwargs)`; by default it is called.
        verify: for exercises with many right answers: takes the answer and the arguments and
            says what is wrong, or returns None.
        pipeline: code that puts the reader's function to use; runs once the check has passed.
        equivalent: changes of one operator in the solution that are no mistakes, each with its
            reason, as the mutation tests name them.
        rtol: tolerance relative to the largest number of the answer, for the rare case where
            rounding is not the only difference between right answers.
    """

    chapter: str
    name: str
    title: str
    minutes: int
    statement: str
    hints: tuple[str, ...]
    solution: Callable
    cases: Callable[[Draw], Iterable[Case]]
    mistakes: tuple[Mistake, ...]
    returns: str | tuple[str, ...] = ""
    gradients: tuple[str, ...] = ()
    call: Callable | None = None
    verify: Callable[..., str | None] | None = None
    pipeline: str = ""
    equivalent: dict[str, str] = field(default_factory=dict)
    rtol: float = 0.0

    @property
    def id(self) -> str:
        """Chapter and name, as given to `check`."""
        return f"{self.chapter}/{self.name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the solution, which stands under this name for others and for itself (recursion)."""
        return self.solution(*args, **kwargs)

    @cached_property
    def source(self) -> str:
        """Source of the solution, without the declaration above it."""
        text = textwrap.dedent(inspect.getsource(self.solution))
        node = ast.parse(text).body[0]
        return "\n".join(text.splitlines()[node.lineno - 1 :]) + "\n"

    @cached_property
    def stub(self) -> str:
        """What the reader starts from: the solution without its code."""
        return _stub(self.source)

    @cached_property
    def parameters(self) -> list[str]:
        """Names of the arguments."""
        return list(inspect.signature(self.call or self.solution).parameters)[bool(self.call) :]

    def drawn_cases(self) -> list[Case]:
        """All cases of all draws, smallest first; those that come out the same are taken once."""
        drawn = [case for seed in range(N_DRAWS) for case in self.cases(Draw(seed))]
        found: list[Case] = []
        for case in sorted(drawn, key=lambda case: case.size):
            content = (case.args, case.kwargs)
            if not any(same(content, (o.args, o.kwargs), unknown=False) for o in found):
                found.append(case)
        return found

    def wrong_implementation(self, mistake: Mistake) -> Callable:
        """Return the function that makes this mistake."""
        if mistake.function:
            return mistake.function
        source = self.source
        for old, new in mistake.changes:
            if source.count(old) != 1:
                raise DeclarationError(
                    f"{self.id}: {old!r} must stand in the solution exactly once to be changed, "
                    f"but does so {source.count(old)} times"
                )
            source = source.replace(old, new)
        return self.compiled(source)

    def compiled(self, source: str) -> Callable:
        """Return what a variant of the solution's source defines, in the same surroundings."""
        names = dict(vars(sys.modules[self.solution.__module__]))
        exec(compile(source, f"<{self.id}>", "exec"), names)
        return names[self.solution.__name__]


def exercise(
    *,
    title: str,
    minutes: int,
    statement: str,
    hints: Iterable[str],
    cases: Callable[[Draw], Iterable[Case]],
    mistakes: Iterable[Mistake],
    gradients: str = "",
    **more: Any,
) -> Callable[[Callable], Exercise]:
    """Declare an exercise; the decorated function is the solution. See `Exercise`."""

    def declare(solution: Callable) -> Exercise:
        return Exercise(
            chapter=chapter_of(solution.__module__),
            name=solution.__name__,
            title=title,
            minutes=minutes,
            statement=inspect.cleandoc(statement),
            hints=tuple(inspect.cleandoc(text) for text in hints),
            solution=solution,
            cases=cases,
            mistakes=tuple(mistakes),
            gradients=tuple(gradients.split()),
            **more,
        )

    return declare


def question(
    name: str, *, title: str, minutes: int, statement: str, answer: str, has_one_answer=False
) -> Question:
    """Declare a question to be answered in words."""
    return Question(
        chapter=chapter_of(sys._getframe(1).f_globals["__name__"]),
        name=name,
        title=title,
        minutes=minutes,
        statement=inspect.cleandoc(statement),
        answer=inspect.cleandoc(answer),
        has_one_answer=has_one_answer,
    )


def chapter_of(module: str) -> str:
    """Return `attention` for `aigc_lab.exercises.ch04_attention`."""
    return re.sub(r"^ch\d\d_", "", module.rpartition(".")[2])


def _stub(source: str) -> str:
    """Keep signatures and docstrings; in a class also `__init__`, which says what is given."""
    lines = source.splitlines()
    tree = ast.parse(source).body[0]
    for node in reversed(list(_functions(tree))):
        has_docstring = ast.get_docstring(node) is not None
        first = node.body[0]
        start = first.end_lineno if has_docstring else first.lineno - 1
        indent = " " * first.col_offset
        lines[start : node.end_lineno] = [indent + NOT_YET]
    return "\n".join(lines) + "\n"


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    if isinstance(node, ast.FunctionDef):
        yield node
    elif isinstance(node, ast.ClassDef):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name != "__init__":
                yield item
