"""No program one change away from a solution passes: the cases tell right from wrong."""

from __future__ import annotations

import ast

import pytest
from mutants import FastJudge, mutants

from aigc_lab.exercises import catalog
from aigc_lab.exercises.checking import judge
from aigc_lab.exercises.declaring import Exercise

EXERCISES = [item for item in catalog.all_exercises() if isinstance(item, Exercise)]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def keys(source: str) -> set[str]:
    return {mutant.key for mutant in mutants(source)}


@every_exercise
def test_every_mutant_fails_or_is_explained(exercise):
    bench = FastJudge(exercise)
    assert not bench.fails(exercise.solution), "the solution itself does not pass"
    found = {mutant.key: exercise.compiled(mutant.source) for mutant in mutants(exercise.source)}
    survivors = {key for key, function in found.items() if not bench.fails(function)}
    # On a busy machine a slow mutant may have run out of time; what is listed gets more of it.
    for key in exercise.equivalent.keys() - survivors:
        if key in found and not bench.fails(found[key], seconds=20):
            survivors.add(key)
    unexplained = sorted(survivors - exercise.equivalent.keys())
    stale = sorted(exercise.equivalent.keys() - survivors)
    lines = [f'    {key!r}: "why it is no mistake",' for key in unexplained]
    assert not unexplained, (
        f"{exercise.id}: {len(unexplained)} of {len(found)} mutants pass. Add cases that tell them "
        "from the solution; those that are no mistakes go into `equivalent`:\n" + "\n".join(lines)
    )
    assert not stale, f"{exercise.id}: `equivalent` lists what fails or no longer exists: {stale}"
    assert all(reason.strip() for reason in exercise.equivalent.values())


@every_exercise
def test_the_fast_judge_and_check_agree(exercise):
    bench = FastJudge(exercise)
    found = mutants(exercise.source)
    for mutant in found[:: max(1, len(found) // 4)]:
        function = exercise.compiled(mutant.source)
        assert bool(judge(exercise, function, seconds=1)) == (not bench.fails(function)), mutant.key


# ----------------------------------------------------------------------------------- the mutator


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a - b", {"`a - b` → `a + b`"}),
        ("return a // b", {"`a // b` → `a / b`", "`a // b` → `a % b`"}),
        ("a += b", {"`a += b` → `a -= b`"}),
        ("return a <= b", {"`a <= b` → `a < b`", "`a <= b` → `a > b`"}),
        ("return a is None", {"`a is None` → `a is not None`"}),
        ("return a and b", {"`a and b` → `a or b`"}),
        ("return f(~a)", {"`f(~a)` → `f(a)`"}),
        ("return -a", {"`return -a` → `return a`"}),
        ("return f(d=2)", {"`f(d=2)` → `f(d=3)`", "`f(d=2)` → `f(d=1)`"}),
        ("return f(-1)", {"`f(-1)` → `f(0)`", "`f(-1)` → `f(-2)`", "`f(-1)` → `f(1)`"}),
        ("return f(True)", {"`f(True)` → `f(False)`"}),
        ("return f('a')", {"`f('a')` → `f('')`"}),
        ("return a[b:]", {"`a[b:]` → `a[:]`", "`a[b:]` → `a[b:-1]`"}),
        ("return a[:b, c]", {"`a[:b, c]` → `a[:, c]`", "`a[:b, c]` → `a[1:b, c]`"}),
        ("return x.max()", {"`x.max()` → `x.min()`"}),
        ("return a if b else c", {"`a if b else c` → `a if not b else c`"}),
        ("raise ValueError(f'{a + 1}')", set()),
        ("b: int = a", set()),
    ],
)
def test_each_kind_of_change_is_made(line, expected):
    assert keys(f"def f(a, b, c=1, *, d: int = 1 + 1):\n    '''Doc.'''\n    {line}\n") == expected


def test_what_the_stub_gives_away_is_not_changed():
    source = (
        "class A:\n    '''Doc.'''\n    def __init__(self, n=1):\n        self.n = n + 1\n"
        "    def f(self, m=1):\n        '''Doc.'''\n        return self.n * m\n"
    )
    assert keys(source) == {"`self.n * m` → `self.n / m`"}


def test_keys_are_unique_and_name_the_line_only_where_they_must():
    source = "def f(a):\n    b = g(a + 1)\n    c = h(a + 1)\n    return a + 1 + (a + 1)\n"
    found = [mutant.key for mutant in mutants(source)]
    assert len(found) == len(set(found))
    assert "`a + 1` → `a + 2` in `b = g(a + 1)`" in found
    assert "`a + 1` → `a + 2` in `return a + 1 + (a + 1)` (2)" in found


@every_exercise
def test_mutants_are_programs_that_differ_from_the_solution(exercise):
    found = mutants(exercise.source)
    original = ast.dump(ast.parse(exercise.source))
    assert len(found) >= 3, "hardly anything to get wrong"
    assert all(ast.dump(ast.parse(mutant.source)) != original for mutant in found)
    assert len({mutant.key for mutant in found}) == len(found)
