"""Small exercises for the tests of the engine."""

from __future__ import annotations

import numpy as np
import torch

from aigc_lab.exercises.declaring import Case, Exercise, Mistake, exercise


def _numbers(draw):
    yield Case("one number", draw.array(1))
    yield Case("a row", draw.array(1, 3))
    yield Case("a matrix", draw.array(draw.integer(2, 5), 6))


@exercise(
    title="Centre rows",
    minutes=5,
    statement="Subtract the mean and double.",
    hints=["First.", "Second.", "Third."],
    cases=_numbers,
    returns="row column",
    mistakes=[
        Mistake("You forgot to double.", "2 * ", ""),
        Mistake("You add the mean.", "x - mean", "x + mean"),
        Mistake("Your mean is over everything.", "axis=-1, keepdims=True", ""),
    ],
)
def centre(x: np.ndarray) -> np.ndarray:
    """Rows minus their means, doubled."""
    mean = x.mean(axis=-1, keepdims=True)
    return 2 * (x - mean)


def _vectors(draw):
    yield Case("one number", draw.tensor(1), draw.tensor(1))
    yield Case("vectors", draw.tensor(4), draw.tensor(4))
    yield Case("matrices", draw.tensor(2, 5), draw.tensor(2, 5))


@exercise(
    title="Product",
    minutes=5,
    statement="Multiply.",
    hints=["`*`"],
    cases=_vectors,
    gradients="a b",
    mistakes=[
        Mistake("You add.", "a * b", "a + b"),
        Mistake("You detach a.", "a * b", "a.detach() * b"),
        Mistake("You square.", "a * b", "a * a"),
    ],
)
def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Each times each."""
    return a * b


def _words(draw):
    yield Case("nothing", "")
    yield Case("one word", "a")
    yield Case("words", " ".join("abc"[n] for n in draw.integers(0, 3, 8)))


@exercise(
    title="Count words",
    minutes=5,
    statement="Count.",
    hints=["Split."],
    cases=_words,
    mistakes=[
        Mistake("You count letters.", "text.split()", "text"),
        Mistake("You count one too many.", "get(word, 0) + 1", "get(word, 0) + 2"),
        Mistake("You count each word once.", "counts.get(word, 0) + 1", "1"),
    ],
)
def count_words(text: str) -> dict[str, int]:
    """How often each word occurs."""
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts


def _numbers_to_push(draw):
    yield Case("nothing pushed", [])
    yield Case("one", [1])
    yield Case("several", draw.integers(0, 99, 5))


def _run_stack(stack: type, numbers: list[int]) -> list[int]:
    made = stack(limit=100)
    for number in numbers:
        made.push(number)
    return [made.pop() for _ in numbers]


@exercise(
    title="A stack",
    minutes=5,
    statement="Last in, first out.",
    hints=["A list."],
    cases=_numbers_to_push,
    call=_run_stack,
    mistakes=[
        Mistake("First in, first out: that is a queue.", "self.items.pop()", "self.items.pop(0)"),
        Mistake("You push everything twice.", "append(item)", "extend([item, item])"),
        Mistake("You push to the bottom.", "append(item)", "insert(0, item)"),
    ],
)
class Stack:
    """Last in, first out."""

    def __init__(self, limit: int):
        self.limit = limit
        self.items: list[int] = []

    def push(self, item: int) -> None:
        """Put on top."""
        self.items.append(item)

    def pop(self) -> int:
        """Take from the top."""
        return self.items.pop()


def _sums(draw):
    yield Case("zero", 0)
    yield Case("small", draw.integer(1, 9))
    yield Case("large", draw.integer(10, 99))


def _adds_up(answer: list[int], total: int) -> str | None:
    if sum(answer) != total:
        return f"Your numbers add up to {sum(answer)}, not {total}."
    return None


@exercise(
    title="Numbers with a sum",
    minutes=5,
    statement="Any list with this sum.",
    hints=["One number is enough."],
    cases=_sums,
    verify=_adds_up,
    mistakes=[
        Mistake("You add one.", "[total]", "[total + 1]"),
        Mistake("You give it twice.", "[total]", "[total, total, 1]"),
        Mistake("You give nothing.", "[total]", "[7, 7, 7, 7, 7]"),
    ],
)
def numbers_with_sum(total: int) -> list[int]:
    """Numbers that add up to total."""
    return [total]


ALL: list[Exercise] = [centre, product, count_words, Stack, numbers_with_sum]
