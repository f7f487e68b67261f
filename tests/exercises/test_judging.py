"""Whatever a reader hands in, the verdict is right, says what helps, and nothing breaks."""

from __future__ import annotations

import copy
import dataclasses
import functools
import sys
import time
import types

import numpy as np
import pytest
import torch
from small import ALL, Stack, centre, count_words, numbers_with_sum, product

from aigc_lab.exercises import calling, catalog, verdict
from aigc_lab.exercises.checking import judge
from aigc_lab.exercises.declaring import Case, Exercise, Mistake, exercise


def right(x):
    return 2 * (x - x.mean(axis=-1, keepdims=True))


def text_of(found: verdict.Verdict) -> str:
    return "\n".join(found.lines)


# --------------------------------------------------------------------------------- right or wrong


@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
def test_the_solution_passes_and_the_stub_is_not_yet(exercise):
    assert judge(exercise, exercise.solution).status == verdict.PASSED
    stub = judge(exercise, exercise.compiled(exercise.stub))
    assert stub.status == verdict.NOT_YET
    assert "Replace `raise NotImplementedError`" in text_of(stub)


@pytest.mark.parametrize(
    ("exercise", "mistake"),
    [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes[:2]],
    ids=lambda value: getattr(value, "id", "") or value.says,
)
def test_a_mistake_is_recognised_first(exercise, mistake):
    found = judge(exercise, exercise.wrong_implementation(mistake))
    assert found.status == verdict.WRONG
    assert found.mistake == mistake.says == found.lines[0]


def test_another_program_with_the_same_mistake_is_recognised():
    def row_by_row(x):
        return np.apply_along_axis(lambda row: row - sum(row) / len(row), -1, x)

    found = judge(centre, row_by_row)
    assert found.kind == "value"
    assert found.lines[0] == "You forgot to double."


def test_of_two_mistakes_at_once_the_one_behind_most_failures_is_named():
    largest = centre.drawn_cases()[-1].size

    def both(x):
        return x + 3 if x.size == largest else right(x) / 2

    found = judge(centre, both)
    assert found.lines[0] == "On this input, it looks like this: You forgot to double."
    assert found.mistake == "You forgot to double."


def test_a_mistake_that_explains_only_the_smallest_failure_is_not_named():
    def another(x):
        return right(x) / 2 if x.shape == (1, 3) else x + 3

    assert judge(centre, another).mistake == ""


def test_an_unknown_mistake_is_described_and_not_named():
    found = judge(centre, lambda x: right(x) + x)
    assert found.mistake == ""
    assert "differ" in found.lines[0]


def test_the_smallest_failing_input_is_shown():
    def wrong_for_more_than_one_row(x):
        return right(x) if x.shape[0] == 1 else 3 * right(x)

    found = judge(centre, wrong_for_more_than_one_row)
    sizes = {case.size for case in centre.drawn_cases() if case.label == "a matrix"}
    assert f"Input (a matrix): x = array {min(sizes) // 6}×6" in text_of(found)
    assert "All of yours are 3 times the right ones." in text_of(found)


def test_several_random_inputs_and_edge_cases_are_tried():
    seen = []
    judge(centre, lambda x: seen.append(x.copy()) or right(x))
    by_shape = {x.shape for x in seen}
    assert (1,) in by_shape
    assert (1, 3) in by_shape
    assert len({x.tobytes() for x in seen if x.shape == (1, 3)}) == 3


def test_an_answer_right_for_one_draw_only_fails():
    first = {case.args[0].tobytes(): right(case.args[0]) for case in centre.cases(draw_of(0))}
    found = judge(centre, lambda x: first.get(x.tobytes(), np.zeros_like(x)))
    assert found.status == verdict.WRONG


def draw_of(seed):
    from aigc_lab.exercises.declaring import Draw

    return Draw(seed)


def test_raising_comes_before_type_type_before_shape_and_so_on():
    steps = [
        ("raised", lambda x: 1 / 0),
        ("type", lambda x: list(x)),
        ("shape", lambda x: right(x)[None]),
        ("dtype", lambda x: right(x).astype("float32")),
        ("nan", lambda x: right(x) * np.nan),
        ("value", lambda x: right(x) + 1),
    ]
    order = [name for name, _ in steps]
    for n, (kind, worst) in enumerate(steps):
        for _, other in steps[n:]:
            # The worse failure is on the larger input and is told all the same.
            found = judge(centre, lambda x, a=worst, b=other: (a if x.size > 3 else b)(x))
            assert found.kind == kind, (kind, order)


# ---------------------------------------------------------------------------------- bad input


def raises(x):
    return x.no_such_attribute


def prints(x):
    print("secret", file=sys.stderr)
    print("hello")
    return right(x)


def prints_and_is_wrong(x):
    for n in range(100):
        print("step", n)
    return x


def generator(x):
    yield right(x)


async def coroutine(x):
    return right(x)


async def async_generator(x):
    yield right(x)


def recursion(x):
    return recursion(x)


def mutual(x):
    return mutual_too(x)


def mutual_too(x):
    return [mutual(y) for y in [x]]


def exits(x):
    sys.exit("bye")


class Odd(BaseException):
    """Not an Exception."""


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def raises_odd(x):
    raise Odd("strange")


def raises_mute(x):
    raise Mute


def raises_generator_exit(x):
    raise GeneratorExit


def catches_all_and_fails(x):
    try:
        raise ValueError("inside")
    except BaseException:
        raise KeyError("in the handler") from None


@pytest.mark.parametrize(
    ("function", "kind", "helps"),
    [
        (lambda: None, "raised", "It should take (x). Yours takes (): too many"),
        (lambda x, y: x, "raised", "Yours takes (x, y): missing a required argument: 'y'"),
        (lambda *, x: x, "raised", "Yours takes (*, x): too many positional arguments"),
        (raises, "raised", "AttributeError: 'numpy.ndarray' object has no attribute"),
        (lambda x: None, "type", "but is None. Does every way through the function end in a r"),
        (prints_and_is_wrong, "value", "Printed on this input:\nstep 0\nstep 1\nstep 2\nstep 3"),
        (generator, "type", "but is a generator. `yield` makes a generator"),
        (coroutine, "type", "but is a coroutine. `async def` makes a coroutine"),
        (async_generator, "type", "but is an async_generator."),
        (lambda x: right(x).tolist(), "type", "is a list. np.array makes an array of a list."),
        (lambda x: torch.from_numpy(right(x)), "type", "A tensor's .numpy() is an array."),
        (lambda x: (right(x),), "type", "should be a numpy array, but is a tuple."),
        (lambda x: right, "type", "Did you forget the parentheses of a call?"),
        (lambda x: right(x).astype(np.float32), "dtype", "of dtype float64, but is float32"),
        (lambda x: right(x).astype(int), "dtype", "of dtype float64, but is int64"),
        (lambda x: right(x) > 0, "dtype", "of dtype float64, but is bool"),
        (exits, "raised", "It ends the program (sys.exit or exit); return the answer instead."),
        (lambda x: exit(), "raised", "It ends the program"),
        (lambda x: quit(0), "raised", "It ends the program"),
        (recursion, "raised", "It calls itself without end."),
        (mutual, "raised", "It calls itself without end."),
        (raises_odd, "raised", "Odd: strange"),
        (raises_mute, "raised", "Mute: (no message)"),
        (raises_generator_exit, "raised", "GeneratorExit: (no message)"),
        (catches_all_and_fails, "raised", "KeyError: 'in the handler'"),
        (lambda x: np.full_like(x, np.nan), "nan", "The answer is NaN in 1 of 1 places"),
        (lambda x: right(x) / 0, "nan", "The answer is NaN in 1 of 1 places"),
        (lambda x: x + np.inf, "nan", "is infinite in 1 of 1 places, first at [0]"),
        (lambda x: right(x).T, "shape", "The sizes are right, their order is not: a transpose?"),
        (lambda x: right(x)[None], "shape", "should have shape (1,), but has (1, 1)."),
        (lambda x: right(x).sum(), "type", "should be a numpy array, but is a number (float)."),
        (lambda x: np.zeros((9, 9, 9)), "shape", "but has (9, 9, 9)"),
        (np.linalg.inv, "raised", "LinAlgError"),
        (len, "type", "should be a numpy array, but is a whole number (int)."),
        (int, "raised", "TypeError"),
        (functools.partial(np.add, 1), "value", "differ"),
        (type("Callable", (), {"__call__": lambda self, x: x})(), "value", "differ"),
        (type("Answer", (), {"__init__": lambda self, x: None}), "type", "but is an Answer."),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_answer_gets_a_sentence_that_helps(function, kind, helps):
    found = judge(centre, function)
    assert found.status == verdict.WRONG
    assert found.kind == kind
    assert helps in text_of(found)
    assert "Traceback" not in str(found)
    assert "aigc_lab" not in text_of(found)
    assert judge(centre, right), "the process is not what it was"


@pytest.mark.parametrize(
    "function",
    [
        right,
        lambda *args, **kwargs: right(*args, **kwargs),
        functools.partial(lambda factor, x: factor * right(x), 1.0),
        type("Callable", (), {"__call__": lambda self, x: right(x)})(),
        type("Holder", (), {"method": lambda self, x: right(x)})().method,
        lambda y: right(y),
    ],
)
def test_whatever_can_be_called_may_be_right(function):
    assert judge(centre, function)


def test_a_function_without_source_is_judged_and_its_line_numbered():
    names = {}
    exec("def f(x):\n    y = 1\n    return y / 0\n", names)
    found = judge(centre, names["f"])
    assert "ZeroDivisionError: division by zero\nin line 3 of f" in text_of(found)


def test_the_readers_own_line_is_shown_not_one_of_a_library_or_ours():
    def calls_a_library(x):
        return torch.nn.functional.linear(torch.zeros(2), torch.zeros(3, 3))

    found = judge(centre, calls_a_library)
    assert ": `return torch.nn.functional.linear(torch.zeros(2), torch.zeros(3, 3))`" in (
        text_of(found)
    )
    assert "of calls_a_library" in text_of(found)


def test_the_innermost_line_of_the_readers_is_shown():
    def outer(x):
        def inner(y):
            return y["key"]

        return inner(x)

    found = judge(centre, outer)
    assert 'of inner: `return y["key"]`' in text_of(found)


def test_code_beside_the_package_is_the_readers(tmp_path):
    folder = calling.LIBRARIES[-1]  # .../aigc_lab
    assert not calling._is_library(folder + "_of_mine/notes.py")
    assert calling._is_library(folder + "/exercises/running.py")


def test_printing_is_kept_back_and_no_mistake(capsys):
    found = judge(centre, prints)
    assert found.status == verdict.PASSED
    assert "It prints; that was kept back here." in text_of(found)
    assert capsys.readouterr() == ("", "")


def test_a_lot_of_printing_is_cut():
    def prints_a_lot(x):
        for _ in range(10_000):
            print("x" * 100)
        return x

    outcome = calling.call(lambda f, x: f(x), prints_a_lot, (1,), {}, ["x"], 5)
    assert len(outcome.printed) == calling.MOST_PRINTED
    assert len(str(judge(centre, prints_a_lot))) < 2_000


@pytest.mark.parametrize("result", [None, 3, "text", [1, 2], np.zeros(3), torch.zeros(3)])
def test_a_result_instead_of_the_function_is_told_so(result):
    found = judge(centre, result)
    assert found.status == verdict.WRONG
    assert "must be your function itself: `check('small/centre', centre)`" in text_of(found)


def test_an_interruption_reaches_the_reader():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(centre, interrupted)
    assert judge(centre, right)


def test_not_implemented_from_a_library_is_not_taken_for_the_stub():
    def uses_meta(x):
        return torch.zeros(3, device="meta").cpu()

    found = judge(centre, uses_meta)
    assert found.status == verdict.WRONG
    assert "NotImplementedError" in text_of(found)


def test_not_implemented_by_a_helper_of_the_readers_is_not_yet():
    def helper():
        raise NotImplementedError

    assert judge(centre, lambda x: helper()).status == verdict.NOT_YET


def test_unfinished_for_some_inputs_is_not_yet():
    def half(x):
        if x.ndim > 1:
            raise NotImplementedError("your code here")
        return right(x)

    assert judge(centre, half).status == verdict.NOT_YET


# ------------------------------------------------------------------------------------------ exit


def test_exit_as_in_ipython_does_not_end_anything():
    """There it is an object among the notebook's names, whose call ends the kernel."""
    ended = []
    names = {"exit": lambda *args: ended.append("exit"), "quit": lambda: ended.append("quit")}
    exec("def f(x):\n    exit()\ndef g(x):\n    return quit()\n", names)
    before = dict(names)
    for name in "fg":
        found = judge(centre, names[name])
        assert "It ends the program" in text_of(found)
    assert ended == []
    assert names["exit"] is before["exit"]
    assert names["quit"] is before["quit"]


def test_exit_is_held_back_in_methods_and_helpers_too(monkeypatch):
    ended = []
    main = types.ModuleType("__main__")
    main.exit = lambda *args: ended.append("main")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(
        "def helper():\n    exit()\nclass A:\n    def __call__(self, x):\n        helper()",
        vars(main),
    )
    found = judge(centre, main.A())
    assert "It ends the program" in text_of(found)
    assert ended == []


def test_pythons_own_exit_does_not_close_standard_input():
    import builtins
    import site

    class Input:
        closed = False

        def close(self):
            self.closed = True

    stdin, ours = sys.stdin, Input()
    before = builtins.__dict__.get("exit")
    builtins.exit = site._sitebuiltins.Quitter("exit", "Ctrl-D")
    sys.stdin = ours
    try:
        judge(centre, lambda x: exit())
        assert isinstance(builtins.exit, site._sitebuiltins.Quitter)
    finally:
        sys.stdin = stdin
        builtins.exit = before
    assert not ours.closed


def test_names_of_the_readers_are_not_added_or_lost():
    names = {}
    exec("def f(x):\n    return x\n", names)
    before = set(names)
    judge(centre, names["f"])
    assert set(names) == before


# ----------------------------------------------------------------------------- changing arguments


@pytest.mark.parametrize(
    ("exercise", "function"),
    [
        (centre, lambda x: x.__imul__(0) * 0 + 0),
        (centre, lambda x: x.sort() or right(x)),
        (product, lambda a, b: a.mul_(b)),
    ],
    ids=["zeroed", "sorted", "tensor"],
)
def test_the_cases_are_never_changed(exercise, function):
    cases = exercise.drawn_cases()
    before = copy.deepcopy([case.args for case in cases])
    fixed = dataclasses.replace(exercise, cases=lambda draw: cases)
    judge(fixed, function)
    for args, case in zip(before, cases, strict=True):
        assert calling.same(args, case.args)


def test_a_right_answer_that_changes_its_argument_does_not_pass():
    def in_place(x):
        answer = right(x)
        x[...] = 0
        return answer

    found = judge(centre, in_place)
    assert found.status == verdict.WRONG
    assert found.kind == "changed"
    assert "The answers are right, but it changes its argument `x`" in text_of(found)
    assert "Input (one number)" in text_of(found)


def test_a_wrong_answer_that_changes_its_argument_is_told_both():
    def in_place(x):
        x += 1
        return x

    found = judge(centre, in_place)
    assert "It also changes its argument `x` in place." in text_of(found)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, 2], lambda v: v.append(3)),
        ([[1], [2]], lambda v: v[0].append(3)),
        ([1.0, 2.0], lambda v: v.__setitem__(0, "text")),
        ([torch.zeros(2)], lambda v: v.__setitem__(0, None)),
        ([[1]], lambda v: v.__setitem__(0, 5)),
        ({"a": 1}, lambda v: v.update(b=2)),
        ({"a": [1]}, lambda v: v["a"].append(2)),
        ({1, 2}, lambda v: v.add(3)),
        (bytearray(b"ab"), lambda v: v.extend(b"c")),
        (np.zeros(3), lambda v: v.fill(1)),
        (np.zeros((2, 3)), lambda v: v.resize((3, 2), refcheck=False)),
        (torch.zeros(3), lambda v: v.add_(1)),
        (torch.zeros(2, 3), lambda v: v.t_()),
        (torch.zeros(3, dtype=torch.bfloat16), lambda v: v.add_(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_change_of_an_argument_is_noticed(value, change):
    outcome = calling.call(lambda f, x: f(x), change, (value,), {}, ["x"], 5)
    assert outcome.problem == ""
    assert outcome.changed == ["x"]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        np.array([np.nan, 1.0]),
        torch.tensor([float("nan")]),
        torch.zeros(2, dtype=torch.bfloat16),
        [np.float32("nan")],
        {"a": (1, None, "x", b"y", 2j)},
        np.array([None, "a"], dtype=object),
        object(),
        {3, 4},
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_left_alone_is_not_called_changed(value):
    outcome = calling.call(lambda f, x: f(x), lambda x: None, (value,), {}, ["x"], 5)
    assert outcome.problem == ""
    assert outcome.changed == []


# ------------------------------------------------------------------------- nothing is given away


def test_no_verdict_prints_the_right_answer():
    def numbers_in(text):
        return {word.strip(".,;:()[]`'+") for word in text.split()}

    wrong = [
        lambda x: right(x) + 1,
        lambda x: right(x) * 1.5,
        lambda x: np.zeros_like(x),
        lambda x: x * np.nan,
        lambda x: -right(x),
        lambda x: right(x)[..., :1],
        lambda x: None,
    ]
    for function in wrong:
        said = numbers_in(str(judge(centre, function)))
        for case in centre.drawn_cases():
            for number in right(case.args[0]).ravel():
                for digits in (3, 4, 5, 6):
                    if abs(number) > 1e-9:
                        assert f"{number:.{digits}g}" not in said


def test_no_verdict_prints_right_text_or_lists():
    exercise = dataclasses.replace(
        count_words,
        solution=lambda text: ["right", *text.split(), "answer"],
        cases=lambda draw: [Case("words", "a b")],
        mistakes=(),
    )
    for wrong in (["a"], ["right", "x"], [], ["right", "a", "b", "answer", "z"], "text", None):
        said = str(judge(exercise, lambda text, wrong=wrong: wrong))
        assert "answer'" not in said
        assert "right'" not in said.replace(repr(wrong), "")


# ------------------------------------------------------------------------------------------ numbers


def test_nothing_of_the_readers_warns_or_shows(recwarn, capsys):
    import warnings

    def warns(x):
        warnings.warn("mine", stacklevel=1)
        np.log(-np.ones(1))
        return right(x)

    assert judge(centre, warns)
    assert capsys.readouterr() == ("", "")
    assert not [w for w in recwarn if "mine" in str(w.message)]


def test_the_solution_that_fails_is_our_error_and_says_so():
    broken = dataclasses.replace(centre, solution=lambda x: 1 / 0)
    with pytest.raises(RuntimeError, match=r"the solution of small/centre failed on 'one number'"):
        judge(broken, right)


# --------------------------------------------------------------------------------- classes


def test_a_class_is_run_by_call():
    class Mine:
        def __init__(self, limit):
            self.found = ()

        def push(self, item):
            self.found = (item, self.found)

        def pop(self):
            item, self.found = self.found
            return item

    assert judge(Stack, Mine)


def test_a_class_with_one_method_missing_or_unfinished():
    class Unfinished:
        def __init__(self, limit):
            pass

        def push(self, item):
            pass

        def pop(self):
            raise NotImplementedError("your code here")

    class NoPop:
        def __init__(self, limit):
            pass

        def push(self, item):
            pass

    assert judge(Stack, Unfinished).status == verdict.NOT_YET
    found = judge(Stack, NoPop)
    assert "AttributeError: 'NoPop' object has no attribute 'pop'" in text_of(found)
    assert judge(Stack, lambda limit: None).kind == "raised"


def test_the_stub_of_a_class_keeps_init_and_empties_the_methods():
    stub = Stack.stub
    assert "self.limit = limit" in stub
    assert "append" not in stub
    assert stub.count("raise NotImplementedError") == 2
    assert '"""Put on top."""' in stub


# ------------------------------------------------------------------------------------ many answers


def test_verify_accepts_every_right_answer_and_says_what_is_wrong():
    assert judge(numbers_with_sum, lambda total: [total - 1, 1])
    assert judge(numbers_with_sum, lambda total: [1] * total)
    found = judge(numbers_with_sum, lambda total: [total, 5])
    assert "Your numbers add up to 5, not 0." in text_of(found)


def test_verify_is_not_asked_about_another_type():
    found = judge(numbers_with_sum, lambda total: None)
    assert found.kind == "type"


# -------------------------------------------------------------------------------------- gradients


def test_right_gradients_pass_and_are_mentioned():
    found = judge(product, lambda a, b: b * a)
    assert found
    assert "The gradients are right, too." in found.lines


@pytest.mark.parametrize(
    ("function", "helps"),
    [
        (lambda a, b: (a * b).detach(), "no gradient reaches `a`"),
        (lambda a, b: a * b.detach(), "no gradient reaches `b`"),
        (lambda a, b: torch.tensor((a * b).tolist()), "no gradient reaches `a`"),
        (lambda a, b: torch.from_numpy(a.numpy() * b.numpy()), "With gradients switched on: "),
        (lambda a, b: a * b + (a - a.detach()), "The gradient of `a` has the right shape; 1 of"),
        (
            lambda a, b: a * b + 0 * torch.sqrt(a - a.detach()),
            "The answer is right. The gradient of `a` is NaN",
        ),
    ],
    ids=["cut", "b cut", "tolist", "numpy", "wrong", "nan"],
)
def test_a_wrong_gradient_is_told(function, helps):
    found = judge(product, function)
    assert found.status == verdict.WRONG
    assert found.kind == "gradient"
    assert helps in text_of(found)


def test_no_grad_is_seen():
    def without(a, b):
        with torch.no_grad():
            return a * b

    assert "no gradient reaches `a`" in text_of(judge(product, without))
    assert torch.is_grad_enabled()


def test_no_gradient_where_it_is_zero_is_right():
    exercise = dataclasses.replace(
        product,
        solution=lambda a, b: a * b + (a - a),
        cases=lambda draw: [Case("zero", torch.zeros(2), torch.zeros(2))],
    )
    assert judge(exercise, lambda a, b: a.detach() * b + b.detach() * a)
    assert judge(exercise, lambda a, b: torch.zeros(2))


def test_a_right_gradient_of_other_operations_passes():
    def other(a, b):
        return ((a + b) ** 2 - (a - b) ** 2) / 4

    assert judge(product, other)


# ----------------------------------------------------------------------------------------- mistakes


def test_a_mistake_may_be_a_function():
    exercise = dataclasses.replace(centre, mistakes=(Mistake("You give back x.", lambda x: x),))
    assert judge(exercise, lambda x: 1.0 * x).mistake == "You give back x."


def test_a_mistake_that_raises_is_recognised_by_its_error():
    exercise = dataclasses.replace(
        centre, mistakes=(Mistake("You index the batch.", lambda x: x[99]),)
    )
    assert judge(exercise, lambda x: [y for y in (x[99],)]).mistake == "You index the batch."
    assert judge(exercise, lambda x: x[100]).mistake == ""
    assert judge(exercise, lambda x: {}["a"]).mistake == ""


def test_judging_takes_about_as_long_as_the_function():
    def slow(x):
        time.sleep(0.01)
        return right(x)

    started = time.monotonic()
    assert judge(centre, slow)
    assert time.monotonic() - started < 5


def test_the_exercises_of_these_tests_are_exercises():
    assert all(isinstance(exercise, Exercise) for exercise in ALL)


def test_a_list_of_tensors_is_as_good_as_a_tuple_for_the_gradients_too():
    exercise = catalog.find("attention/scaled_dot_product")
    assert judge(exercise, lambda *args, **kwargs: list(exercise.solution(*args, **kwargs)))


def test_a_case_that_every_draw_gives_is_counted_once():
    exercise = catalog.find("attention/shapes_in_attention")
    labels = [case.label for case in exercise.drawn_cases()]
    assert labels.count("one head") == 1 and labels.count("a real layer") == 3
    assert f"Right on {len(labels)} inputs" in judge(exercise, exercise.solution).lines[0]


def test_a_solution_may_call_itself_and_others():
    def steps(draw):
        yield Case("none", 0)
        yield Case("some", 4)

    module = sys.modules[__name__]
    try:
        module.countdown = exercise(
            title="Countdown", minutes=1, statement="...", hints=[], cases=steps, mistakes=[]
        )(_countdown)
        assert judge(module.countdown, lambda n: list(range(n, -1, -1)))
    finally:
        del module.countdown


def _countdown(n: int) -> list[int]:
    """Down to 0."""
    return [0] if n == 0 else [n, *countdown(n - 1)]  # noqa: F821
