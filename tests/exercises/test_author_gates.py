"""What every exercise of the book must be: solvable, telling, fair, and safe to run."""

from __future__ import annotations

import ast
import copy
import statistics
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from aigc_lab.exercises import catalog, checking, running, verdict
from aigc_lab.exercises.calling import same
from aigc_lab.exercises.declaring import Case, Exercise, Question
from aigc_lab.exercises.values import is_tensor, to_numpy

EVERYTHING = catalog.all_exercises()
EXERCISES = [item for item in EVERYTHING if isinstance(item, Exercise)]
QUESTIONS = [item for item in EVERYTHING if isinstance(item, Question)]
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]
# Chapters that have all the exercises they should have.
FULL_CHAPTERS = [
    "tokens",
    "positional_encoding",
    "attention",
    "transformer",
    "language_models",
    "training",
    "decoding",
    "bert",
    "fine_tuning",
    "instruction_tuning",
    "prompting",
    "reward_models",
    "rlhf_ppo",
    "dpo_grpo",
]


def every(items: list) -> Any:
    return pytest.mark.parametrize("exercise", items, ids=lambda item: item.id)


@cache
def _solved(exercise_id: str) -> list[tuple[Case, Any]]:
    exercise = catalog.find(exercise_id)
    return [(case, running.solve(exercise, case)) for case in exercise.drawn_cases()]


def solved(exercise: Exercise) -> list[tuple[Case, Any]]:
    """Every case with the right answer, worked out once."""
    return _solved(exercise.id)


def tells_apart(exercise: Exercise, answer: Callable[[int, Any], Any]) -> bool:
    """Say whether some case rejects the answers `answer(number of the case, right answer)`."""
    return any(
        running.difference(exercise, case, answer(number, expected))
        for number, (case, expected) in enumerate(solved(exercise))
    )


# -------------------------------------------------------------------------------------- the book


def test_the_book_has_exercises():
    assert EXERCISES
    assert QUESTIONS


def test_no_two_exercises_have_the_same_id():
    assert [one for one, n in Counter(item.id for item in EVERYTHING).items() if n > 1] == []


def test_no_two_exercises_have_the_same_name():
    # A notebook may hold the functions of several; `swap` and the pages go by name.
    assert [one for one, n in Counter(item.name for item in EVERYTHING).items() if n > 1] == []


@pytest.mark.parametrize("chapter", FULL_CHAPTERS)
def test_a_chapter_has_exercises_of_every_sort(chapter):
    assert chapter in catalog.chapters()
    items = catalog.exercises_of(chapter)
    minutes = [item.minutes for item in items]
    pipelines = [item.pipeline for item in items if isinstance(item, Exercise)]
    assert sum(isinstance(item, Exercise) for item in items) >= 5
    assert any("swap(" in code for code in pipelines), "none is put into the model"
    assert any(isinstance(item, Question) and not item.has_one_answer for item in items)
    assert min(minutes) <= 5
    assert max(minutes) >= 60


@every(EVERYTHING)
def test_it_says_what_to_do_and_how_long_it_takes(exercise):
    assert exercise.title.strip()
    assert exercise.statement.strip()
    assert 1 <= exercise.minutes <= 90
    assert catalog.find(exercise.id) is exercise


# ------------------------------------------------------------------------------------- questions


@every(QUESTIONS)
def test_a_question_gives_its_answer_only_for_an_answer(exercise):
    assert exercise.answer.strip()
    for blank in ("", "   \n", None, "?"):
        found = checking.judge_words(exercise, blank)
        assert found.status == verdict.NOT_YET
        assert exercise.answer not in str(found)
    found = checking.judge_words(exercise, "I think that it depends on the size.")
    assert found.status == verdict.PASSED
    assert exercise.answer in str(found)


# -------------------------------------------------------------------------------------- functions


@every(EXERCISES)
def test_it_has_a_hint_and_three_mistakes(exercise):
    assert exercise.hints
    assert all(hint.strip() for hint in exercise.hints)
    says = [mistake.says for mistake in exercise.mistakes]
    assert len(says) >= 3
    assert len(set(says)) == len(says)
    assert all(len(sentence) > 20 for sentence in says)


@every(EXERCISES)
def test_the_stub_is_not_done_yet(exercise):
    answer = exercise.compiled(exercise.stub)
    assert checking.judge(exercise, answer).status == verdict.NOT_YET


@every(EXERCISES)
def test_the_stub_says_what_to_write(exercise):
    node = ast.parse(exercise.stub).body[0]
    assert ast.get_docstring(node)
    assert node.name == exercise.name


@every(EXERCISES)
def test_the_solution_passes(exercise):
    found = checking.judge(exercise, exercise.solution)
    assert found.status == verdict.PASSED, str(found)
    copied = checking.judge(exercise, exercise.compiled(exercise.source))
    assert copied.status == verdict.PASSED, str(copied)


@pytest.mark.parametrize(
    ("exercise", "mistake"),
    [
        pytest.param(exercise, mistake, id=f"{exercise.id}-{number}")
        for exercise in EXERCISES
        for number, mistake in enumerate(exercise.mistakes)
    ],
)
def test_a_known_mistake_is_recognised(exercise, mistake):
    found = checking.judge(exercise, exercise.wrong_implementation(mistake))
    assert found.status == verdict.WRONG
    assert found.mistake == mistake.says, str(found)
    assert found.lines[0] == mistake.says, f"recognised on some inputs only:\n{found}"


@every(EXERCISES)
def test_a_constant_answer_fails(exercise):
    answers = [expected for _, expected in solved(exercise)]
    for constant in (answers[0], answers[-1]):
        assert tells_apart(exercise, lambda _number, _expected, same=constant: same)


@every(EXERCISES)
def test_a_zero_answer_fails(exercise):
    assert tells_apart(exercise, lambda _, expected: zero(expected))


@every(EXERCISES)
def test_an_answer_that_only_has_the_right_form_fails(exercise):
    rng = np.random.default_rng(7)
    assert tells_apart(exercise, lambda _, expected: random_like(expected, rng))


@every(EXERCISES)
def test_the_tolerance_is_small_beside_the_answer(exercise):
    for case, expected in solved(exercise):
        inputs = [to_numpy(value) for value in (*case.args, *case.kwargs.values())]
        of_inputs = max((largest(a) for a in inputs if a is not None), default=0.0) or 1.0
        tolerances = running.tolerance(exercise, case, expected)
        for allowed, leaf in leaves(tolerances, expected):
            values = to_numpy(leaf)
            scale = largest(values)
            if allowed and scale <= 1e3 * np.finfo(values.dtype).eps * of_inputs:
                scale = of_inputs  # zero but for rounding
            assert allowed <= 1e-3 * scale, f"{case.label}: {allowed:.2g} for {scale:.2g}"


@every(EXERCISES)
def test_the_solution_leaves_its_inputs_alone(exercise):
    for case in exercise.drawn_cases():
        args, kwargs = copy.deepcopy((case.args, case.kwargs))
        outcome = running.run(exercise, exercise.solution, case)
        assert outcome.changed == []
        assert same(args, case.args)
        assert same(kwargs, case.kwargs)


@every(EXERCISES)
def test_drawing_twice_gives_the_same_cases(exercise):
    first, second = exercise.drawn_cases(), exercise.drawn_cases()
    assert [case.label for case in first] == [case.label for case in second]
    for a, b in zip(first, second, strict=True):
        assert same(a.args, b.args), a.label
        assert same(a.kwargs, b.kwargs), a.label


@every(EXERCISES)
def test_there_are_random_cases_and_edge_cases(exercise):
    cases = exercise.drawn_cases()
    sizes = [(case.size, sum_of_integers(case.args)) for case in cases]
    assert min(sizes) < statistics.median_low(sizes), "no case is smaller than most"
    assert len({repr((case.label, case.args, case.kwargs)) for case in cases}) > len(cases) / 3, (
        "nothing is random"
    )
    assert all(case.label.strip() for case in cases)


@every([exercise for exercise in EXERCISES if exercise.gradients])
def test_gradients_are_asked_of_tensors(exercise):
    reached = set()
    for case in exercise.drawn_cases():
        named = dict(zip(exercise.parameters, case.args, strict=False)) | case.kwargs
        for name in exercise.gradients:
            assert is_tensor(named[name])
            assert named[name].is_floating_point()
        found = running.run_with_gradients(exercise, exercise.solution, case)
        assert not found.problem, found.message
        assert all(grad is None or grad.isfinite().all() for grad in found.value.values())
        reached |= {name for name, grad in found.value.items() if grad is not None}
    assert reached == set(exercise.gradients), "no gradient ever reaches some of them"


@pytest.mark.slow
@every([exercise for exercise in EXERCISES if exercise.pipeline])
def test_the_pipeline_runs_with_the_solution(exercise, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: None)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("from aigc_lab.exercises import check, hint, swap", names)
    exec("\n".join(catalog.imports_of(exercise.chapter)), names)
    names[exercise.name] = exercise.compiled(exercise.source)
    try:
        exec(compile(textwrap.dedent(exercise.pipeline), f"<{exercise.id}>", "exec"), names)
    finally:
        plt.close("all")


# ---------------------------------------------------------------------------------------- helpers


def leaves(tolerances: Any, expected: Any) -> Iterator[tuple[float, Any]]:
    """Yield each tolerance with the array or number of the answer that it is for."""
    if isinstance(expected, list | tuple):
        for a, b in zip(tolerances, expected, strict=True):
            yield from leaves(a, b)
    elif isinstance(expected, dict):
        for key, value in expected.items():
            yield from leaves(tolerances[key], value)
    else:
        yield tolerances, expected


def sum_of_integers(args: tuple) -> int:
    """Return what tells small from large where the arguments are whole numbers."""
    return sum(abs(value) for value in args if isinstance(value, int))


def largest(array: np.ndarray | None) -> float:
    """Return the size of the largest finite number."""
    if array is None or array.dtype.kind not in "fciu":
        return 0.0
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def zero(value: Any) -> Any:
    """Return zeros, empty text, empty lists in the form of a value."""
    if is_tensor(value):
        return value.new_zeros(value.shape)
    if isinstance(value, np.ndarray):
        return np.zeros_like(value)
    if isinstance(value, tuple):
        return tuple(zero(item) for item in value)
    return None if value is None else type(value)()


def random_like(value: Any, rng: np.random.Generator) -> Any:
    """Return random content in the form of a value: its type, shape, length and keys."""
    if is_tensor(value):
        import torch

        return torch.from_numpy(np.asarray(random_like(to_numpy(value), rng))).to(value.dtype)
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "b":
            return rng.random(value.shape) < 0.5
        if value.dtype.kind in "iu":
            return rng.integers(0, 9, value.shape).astype(value.dtype)
        return rng.normal(size=value.shape).astype(value.dtype)
    if isinstance(value, dict):
        return {key: random_like(item, rng) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(random_like(item, rng) for item in value)
    if isinstance(value, bool):
        return bool(rng.random() < 0.5)
    if isinstance(value, int):
        return int(rng.integers(0, 9))
    if isinstance(value, float):
        return float(rng.normal())
    if isinstance(value, bytes):
        return rng.bytes(len(value))
    if isinstance(value, str):
        return "".join(rng.choice(list("abcdef "), len(value)))
    return value
