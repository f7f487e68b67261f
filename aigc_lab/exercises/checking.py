"""`check` tells a reader whether their function is right and, if not, what they did."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aigc_lab.exercises import catalog, progress
from aigc_lab.exercises.calling import (
    Outcome,
    arguments_that_do_not_fit,
    described,
    signature_text,
)
from aigc_lab.exercises.comparing import KINDS, Difference, compare
from aigc_lab.exercises.declaring import Case, Exercise, Mistake, Question
from aigc_lab.exercises.running import SECONDS, difference, gradient_difference, run, tolerance
from aigc_lab.exercises.values import flat, is_tensor
from aigc_lab.exercises.verdict import NOT_YET, PASSED, WRONG, Verdict, show_text
from aigc_lab.exercises.wording import short

LINES_OF_PRINT = 4
MOST_ITEMS = 4  # of a list of arrays, in the description of an input


@dataclass(eq=False)  # one is another only if it is the same
class _Result:
    """What the reader's function did with one case."""

    case: Case
    outcome: Outcome
    difference: Difference | None


def check(exercise_id: str, answer: Any, *, seconds: float = SECONDS) -> Verdict:
    """Run your function on many inputs, show what came of it, and remember it.

    Args:
        exercise_id: such as `"attention/scaled_dot_product"`.
        answer: your function itself, without parentheses; for a question in words, your text.
        seconds: how long your function may run, all calls together.

    Returns:
        The verdict, which is true if you passed.

    Raises:
        ValueError: there is no such exercise.
    """
    if callable(exercise_id) and isinstance(answer, str):
        exercise_id, answer = answer, exercise_id
    exercise = catalog.find(exercise_id)
    if isinstance(exercise, Question):
        verdict = judge_words(exercise, answer)
    else:
        verdict = judge(exercise, answer, seconds)
    if verdict.status != NOT_YET:
        progress.record(exercise.id, progress.DONE if verdict else progress.TRIED)
    verdict.show()
    return verdict


def hint(exercise_id: str, number: int | None = None) -> None:
    """Show the next hint, or hint `number`, counted from 1.

    Raises:
        ValueError: there is no such exercise, or no hint of that number.
    """
    exercise = catalog.find(exercise_id)
    if isinstance(exercise, Question):
        show_text(f"{exercise.id} has no hints: write down what you think, in a sentence or two.")
        return
    n = len(exercise.hints)
    if number is None:
        number = progress.next_hint(exercise.id, n)
    elif not 1 <= number <= n:
        raise ValueError(f"{exercise.id} has the hints 1 to {n}, not {number}")
    last = " (This was the last hint; `solution` shows a solution.)" if number == n else ""
    show_text(f"**Hint {number} of {n}.** {exercise.hints[number - 1]}{last}")


def solution(exercise_id: str) -> None:
    """Show a solution, or our answer to a question.

    Raises:
        ValueError: there is no such exercise.
    """
    exercise = catalog.find(exercise_id)
    if isinstance(exercise, Question):
        show_text(exercise.answer)
    else:
        show_text(f"```python\n{exercise.source}```")


# ------------------------------------------------------------------------------------- in words


def judge_words(exercise: Question, answer: Any) -> Verdict:
    """Show our answer once the reader has written one."""
    if not isinstance(answer, str) or len(re.findall(r"\w", answer)) < 10:
        line = "Write your answer between the quotes, in a sentence or two; then you see ours."
        return Verdict(exercise.id, NOT_YET, (line,))
    ours = "There is no single right answer. This is ours:"
    if exercise.has_one_answer:
        ours = "Compare yours with ours:"
    return Verdict(exercise.id, PASSED, (ours,), answer=exercise.answer)


# ------------------------------------------------------------------------------------- functions


def judge(exercise: Exercise, function: Any, seconds: float = SECONDS) -> Verdict:
    """Return the verdict on a function; shows and remembers nothing."""
    if not callable(function):
        line = (
            f"The second argument must be your function itself: "
            f"`check({exercise.id!r}, {exercise.name})`, without parentheses behind the name."
        )
        return Verdict(exercise.id, WRONG, (line,), "raised")
    cases = exercise.drawn_cases()
    if exercise.call is None:
        misfits = (arguments_that_do_not_fit(function, c.args, c.kwargs) for c in cases)
        if misfit := next(filter(None, misfits), ""):
            asked = signature_text(inspect.signature(exercise.solution))
            line = f"It should take {asked}. {misfit}."
            return Verdict(exercise.id, WRONG, (line,), "raised")
    results = _run_cases(exercise, function, cases, seconds)
    problems = [result.outcome.problem for result in results]
    if "not yet" in problems:
        line = "Replace `raise NotImplementedError` by your code, then run this again."
        return Verdict(exercise.id, NOT_YET, (line,))
    failed = [result for result in results if result.outcome.problem or result.difference]
    if failed:
        return _wrong(exercise, results, failed)
    changing = next((result for result in results if result.outcome.changed), None)
    if changing:
        names = " and ".join(f"`{name}`" for name in changing.outcome.changed)
        line = (
            f"The answers are right, but it changes its argument {names}, which the caller may "
            "still need. Work on a copy, or avoid what changes in place: `+=`, `x[...] =`, "
            "`.sort()`, methods that end in `_`."
        )
        return Verdict(exercise.id, WRONG, (line, _input(exercise, changing.case)), "changed")
    lines = [f"Right on {len(cases)} inputs, edge cases among them."]
    if exercise.gradients:
        lines.append("The gradients are right, too.")
    if any(result.outcome.printed for result in results):
        lines.append("It prints; that was kept back here.")
    return Verdict(exercise.id, PASSED, tuple(lines))


def _run_cases(
    exercise: Exercise, function: Any, cases: list[Case], seconds: float
) -> list[_Result]:
    """Run all cases, or up to the one where time is up or nothing is written yet."""
    results = []
    left = seconds  # of the reader's time; ours does not count
    for case in cases:
        started = monotonic()
        outcome = run(exercise, function, case, left)
        left = max(left - (monotonic() - started), 0.05)
        differs = None if outcome.problem else difference(exercise, case, outcome.value)
        results.append(_Result(case, outcome, differs))
        if outcome.problem in ("time", "not yet"):
            return results
    if exercise.gradients and not any(r.outcome.problem or r.difference for r in results):
        for result in results:
            result.difference = gradient_difference(exercise, function, result.case, seconds)
    return results


# -------------------------------------------------------------------------------- what was wrong


def _wrong(exercise: Exercise, results: list[_Result], failed: list[_Result]) -> Verdict:
    """Describe the most basic failure on the smallest input, and the mistake behind it."""

    def rank(result: _Result) -> int:
        return -1 if result.outcome.problem else KINDS.index(result.difference.kind)

    worst = min(failed, key=rank)  # the first of equals, and the smallest come first
    outcome = worst.outcome
    kind = outcome.problem or worst.difference.kind
    lines = [outcome.message or worst.difference.message, _input(exercise, worst.case)]
    mistake, everywhere = _recognise(exercise, results, failed, worst)
    if mistake:
        says = mistake.says
        lines.insert(0, says if everywhere else f"On this input, it looks like this: {says}")
    if outcome.changed and kind in ("value", "nan"):
        names = " and ".join(f"`{name}`" for name in outcome.changed)
        lines.append(f"It also changes its argument {names} in place.")
    if outcome.printed.strip():
        shown = outcome.printed.strip().splitlines()[:LINES_OF_PRINT]
        lines.append("Printed on this input:\n" + "\n".join(shown))
    return Verdict(exercise.id, WRONG, tuple(lines), kind, mistake.says if mistake else "")


def _input(exercise: Exercise, case: Case) -> str:
    """Describe the input in one line: its label, sizes of arrays, small values themselves."""
    named = [*zip(exercise.parameters, case.args, strict=False), *case.kwargs.items()]
    return f"Input ({case.label}): " + ", ".join(f"{n} = {_show(v)}" for n, v in named)


def _show(value: Any) -> str:
    if isinstance(value, list | tuple) and any(hasattr(item, "shape") for item in flat(value)):
        shown = [_show(item) for item in value[:MOST_ITEMS]]
        more = [f"... ({len(value)} in all)"] if len(value) > MOST_ITEMS else []
        left, right = "[]" if isinstance(value, list) else "()"
        return left + ", ".join(shown + more) + right
    if hasattr(value, "shape") and getattr(value, "ndim", 0):
        shape = "×".join(str(n) for n in value.shape)
        kind = "tensor" if is_tensor(value) else "array"
        return f"{kind} {shape}"
    return getattr(value, "__name__", "") or short(value)


def _recognise(
    exercise: Exercise, results: list[_Result], failed: list[_Result], worst: _Result
) -> tuple[Mistake | None, bool]:
    """Return the known mistake that acts as the reader's function, and whether it does so always.

    A function with two mistakes acts as neither of them everywhere. Then the one that fits most
    failures is named, if that is more than half of them: on small inputs much looks alike.
    """
    passed = [result for result in results if result not in failed]
    best, share = None, 0.5
    for mistake in exercise.mistakes:
        function = exercise.wrong_implementation(mistake)
        if not _alike(exercise, function, worst):
            continue
        fits = sum(_alike(exercise, function, result) for result in failed) / len(failed)
        if fits == 1 and all(_alike(exercise, function, result) for result in passed):
            return mistake, True
        if fits > share:
            best, share = mistake, fits
    return best, False


def _alike(exercise: Exercise, wrong: Callable, result: _Result) -> bool:
    """Say whether a known mistake gives the same as the reader's function on one case."""
    ours, theirs = run(exercise, wrong, result.case), result.outcome
    if ours.problem or theirs.problem:
        return ours.problem == theirs.problem and described(ours.error) == described(theirs.error)
    allowed = tolerance(exercise, result.case, ours.value, wrong)
    if compare(ours.value, theirs.value, allowed) is not None:
        return False
    if result.difference and result.difference.kind == "gradient":
        return gradient_difference(exercise, wrong, result.case) == result.difference
    return True
