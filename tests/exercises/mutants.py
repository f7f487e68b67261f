"""Programs one small change away from an exercise's solution, and a fast way to judge them.

Only what the reader has to write is changed: no signatures, docstrings, `__init__` (all of which
the stub gives away) and no messages of errors.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock

from aigc_lab.exercises import running
from aigc_lab.exercises.declaring import Case, Exercise, _functions

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
# A neighbour, and the negation.
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
PAIRS = (
    "min max, amin amax, argmin argmax, minimum maximum, floor ceil, sin cos, zeros ones, "
    "zeros_like ones_like, any all, tril triu, sum mean, find rfind, index rindex, "
    "partition rpartition, split rsplit, lstrip rstrip, startswith endswith, lower upper"
)
CALLS: dict[str, str] = {}
for _pair in PAIRS.split(", "):
    _a, _b = _pair.split()
    CALLS |= {_a: _b, _b: _a}


@dataclass(frozen=True)
class Mutant:
    """A changed program; `key` says what was changed, in words that outlive other edits."""

    key: str
    source: str


@dataclass(frozen=True)
class _Edit:
    """Put `new` where `owner.field` is, or `owner.field[index]` where that is a list."""

    owner: ast.AST
    field: str
    index: int | None
    new: Any

    def swap_in(self, value: Any) -> Any:
        """Put a value there and return what was there."""
        if self.index is None:
            before = getattr(self.owner, self.field)
            setattr(self.owner, self.field, value)
        else:
            items = getattr(self.owner, self.field)
            before, items[self.index] = items[self.index], value
        return before


def mutants(source: str) -> list[Mutant]:
    """Return all programs that are one change away from a solution, each with its own key."""
    tree = ast.parse(source).body[0]
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    seen = {ast.unparse(tree)}
    found = []  # key, line, source
    for function in _functions(tree):
        for statement in function.body[ast.get_docstring(function) is not None :]:
            for edit in _edits(statement):
                context, line = _context(edit.owner, parents)
                old_text, old_line = _first_line(context), _first_line(line)
                before = edit.swap_in(edit.new)
                text, new_text = ast.unparse(tree), _first_line(context)
                edit.swap_in(before)
                if text not in seen:
                    seen.add(text)
                    found.append((f"`{old_text}` → `{new_text}`", old_line, text))
    return list(_with_unique_keys(found))


def _with_unique_keys(found: list[tuple[str, str, str]]) -> Iterator[Mutant]:
    """Name the line where the change alone is ambiguous, and count where that is, too."""
    how_often = Counter(key for key, _, _ in found)
    counter: Counter[str] = Counter()
    for key, line, source in found:
        if how_often[key] > 1 and f"`{line}`" not in key:
            key = f"{key} in `{line}`"
        counter[key] += 1
        number = f" ({counter[key]})" if counter[key] > 1 else ""
        yield Mutant(key + number, source)


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]


def _context(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> tuple[ast.AST, ast.AST]:
    """Return the smallest piece of code around a change that can be read alone, and its line."""
    line = node
    while not isinstance(line, ast.stmt):
        line = parents[line]
    while not isinstance(node, ast.expr | ast.stmt) or _is_fragment(node, parents):
        node = parents[node]
    return node, line


def _is_fragment(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether this is a piece that means nothing alone: a slice, an index, a literal."""
    if isinstance(node, ast.Slice | ast.Constant | ast.FormattedValue):
        return True
    parent = parents.get(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return True  # `x.min` of `x.min()`
    is_index = isinstance(parent, ast.Subscript) and parent.slice is node
    return is_index or _number(node) is not None


# ----------------------------------------------------------------------------------- what to change


def _edits(root: ast.stmt) -> Iterator[_Edit]:
    """Yield every change of a statement and of what is in it."""
    if isinstance(root, ast.Raise):
        return
    yield from _edits_of(root)
    for field, index, child in _children(root):
        if field in ("annotation", "returns") or isinstance(child, ast.arguments):
            continue
        if isinstance(root, ast.Assert) and field == "msg":
            continue
        if isinstance(child, ast.expr):
            yield from (_Edit(root, field, index, new) for new in _instead_of(child))
            if _number(child) is not None:
                continue  # -1 is a number, not a minus and a number
        yield from _edits(child)


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    """Yield where each child hangs, and the child; strings that stand for themselves are none."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
                    continue
                if isinstance(item, ast.AST):
                    yield field, index, item
        elif isinstance(value, ast.AST) and not isinstance(value, ast.operator | ast.expr_context):
            yield field, None, value


def _edits_of(node: ast.AST) -> Iterator[_Edit]:
    """Yield the changes inside a node that leave its place as it is."""
    match node:
        case ast.BinOp() | ast.AugAssign():
            yield from (_Edit(node, "op", None, new()) for new in OPERATORS[type(node.op)])
        case ast.Compare():
            for index, op in enumerate(node.ops):
                yield from (_Edit(node, "ops", index, new()) for new in COMPARISONS[type(op)])
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _Edit(node, "op", None, other)
        case ast.Slice():
            for field, added in (("lower", ast.Constant(1)), ("upper", _literal(-1))):
                is_there = getattr(node, field) is not None
                yield _Edit(node, field, None, None if is_there else added)
            if node.step is not None:
                yield _Edit(node, "step", None, None)
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield _Edit(node.func, "id", None, CALLS[name])
        case ast.Call(func=ast.Attribute(attr="split" | "rsplit")) if _n_arguments(node) < 2:
            pass  # the same without a limit
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
            yield _Edit(node.func, "attr", None, CALLS[name])
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                yield _Edit(node, "test", None, ast.UnaryOp(ast.Not(), test))


def _n_arguments(call: ast.Call) -> int:
    return len(call.args) + len(call.keywords)


def _instead_of(node: ast.expr) -> list[ast.expr]:
    """Return what may stand in an expression's place."""
    number = _number(node)
    if number is not None:
        return [_literal(value) for value in _other_numbers(number)]
    match node:
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            return [operand]
        case ast.Constant(value=bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(value=str(value)):
            return [ast.Constant("" if value else "x")]
        case ast.Constant(value=bytes(value)):
            return [ast.Constant(b"" if value else b"x")]
    return []


def _number(node: ast.AST) -> int | float | None:
    """Return the value of a literal such as 2, 0.5 or -1."""
    match node:
        case ast.Constant(value=int(value) | float(value)) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _number(operand)
            return None if value is None else -value
    return None


def _other_numbers(value: int | float) -> list[int | float]:
    if isinstance(value, int):
        others = [value + 1, value - 1, -value] if value < 0 else [value + 1, value - 1]
        return list(dict.fromkeys(others))
    if abs(value) < 0.01:  # an epsilon: one more or less would be no small change
        return [0.0, 10 * value] if value else [1.0]
    if abs(value) > 1e6:  # a stand-in for infinity
        return [value / 1e6, -value]
    return [value + 1, value - 1]


def _literal(value: int | float) -> ast.expr:
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


# ------------------------------------------------------------------------------------------ judging


class FastJudge:
    """Says, as `judge` does, whether a function passes; solves every case once, not every time."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        self._answers: dict[tuple, Any] = {}
        self._kept: list[Case] = []  # so that no two cases have the same identity

    @cached_property
    def cases(self) -> list[Case]:
        """All cases, drawn once."""
        return self.exercise.drawn_cases()

    def fails(self, function: Callable, seconds: float = 1.0) -> str:
        """Return why a function does not pass, in a word or two; empty if it passes."""
        with self._remembering():
            changed = ""
            for case in self.cases:
                outcome = running.run(self.exercise, function, case, seconds)
                if outcome.problem:
                    return outcome.problem
                found = running.difference(self.exercise, case, outcome.value)
                if found:
                    return found.kind
                changed = changed or ("changed" if outcome.changed else "")
            for case in self.cases if self.exercise.gradients else ():
                if running.gradient_difference(self.exercise, function, case, seconds):
                    return "gradient"
            return changed

    def _remembering(self):
        """Let the engine's functions remember what they say about the solution."""
        return mock.patch.multiple(
            running,
            solve=self._remembered(running.solve),
            tolerance=self._remembered(running.tolerance),
            nudged=self._remembered(running.nudged),
            run_with_gradients=self._remembered(running.run_with_gradients),
        )

    def _remembered(self, function: Callable) -> Callable:
        def answer(*args: Any) -> Any:
            case = next(value for value in args if isinstance(value, Case))
            judged = any(callable(x) and x is not self.exercise.solution for x in args)
            if judged:
                return function(*args)
            key = (function.__name__, id(case))
            if key not in self._answers:
                self._kept.append(case)
                self._answers[key] = function(*args)
            return self._answers[key]

        return answer
