"""Comparing answers: how close is close enough, and what the difference looks like."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from numbers import Number

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_lab.exercises.comparing import KINDS, Difference, compare, tolerance_of
from aigc_lab.exercises.declaring import Case, Exercise, Mistake
from aigc_lab.exercises.running import difference, nudged, tolerance

Pair = namedtuple("Pair", "a b")


def own(value):
    """The tolerance of a value whose rounding moves nothing."""
    return tolerance_of(value, value, 1.0, 0.0)


def between(expected, got, axes=""):
    return compare(expected, got, own(expected), axes)


def exercise_of(solution, *args, **more) -> Exercise:
    """An exercise with one case."""
    return Exercise(
        chapter="t",
        name="t",
        title="t",
        minutes=1,
        statement="t",
        hints=("t",),
        solution=solution,
        cases=lambda draw: [Case("c", *args)],
        mistakes=(Mistake("None", lambda *a: None),),
        **more,
    )


def judged(solution, other, *args, **more) -> Difference | None:
    """The difference of two functions on these arguments, with the tolerance they ask for."""
    exercise = exercise_of(solution, *args, **more)
    return difference(exercise, exercise.drawn_cases()[0], other(*args))


# -------------------------------------------------------------------------------------- properties


ZOO = [
    None,
    True,
    False,
    np.True_,
    0,
    1,
    -7,
    10**30,
    10**5000,
    1.0,
    0.0,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    1 + 2j,
    complex("nan"),
    np.float32(1.5),
    np.int8(3),
    np.float64("nan"),
    Fraction(1, 3),
    Decimal("0.1"),
    "",
    "text",
    "\ud800",
    np.str_("text"),
    b"",
    b"bytes",
    bytearray(b"bytes"),
    [],
    [1, 2, 3],
    [1.0, "a", None],
    [[1.0], [2.0, [3.0]]],
    (),
    (1, 2),
    Pair(1, 2),
    {},
    {"a": 1},
    {"a": [1.0], 2: None},
    Counter("aab"),
    defaultdict(list, a=[1]),
    OrderedDict(a=1),
    set(),
    {1, 2},
    frozenset({1}),
    range(3),
    len,
    int,
    object,
    iter([1]),
    np.zeros(0),
    np.zeros((0, 3)),
    np.zeros((2, 0)),
    np.array(3.0),
    np.array(3),
    np.array(True),
    np.arange(6),
    np.arange(6.0).reshape(2, 3),
    np.arange(6, dtype=np.uint8),
    np.array([-128, 127], dtype=np.int8),
    np.array([True, False]),
    np.array([1 + 1j, 2.0]),
    np.array([1, None, "a"], dtype=object),
    np.array(["a", "b"]),
    np.array([b"a"]),
    np.array([np.nan, np.inf, -np.inf, 0]),
    np.array([1e308, -1e308]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    np.zeros(2, dtype=[("a", float), ("b", int)]),
    np.ma.masked_array([1.0, 2.0], [True, False]),
    np.float16([1, 2]),
    torch.zeros(0),
    torch.tensor(3.0),
    torch.tensor(3),
    torch.zeros(2, 3),
    torch.ones(2, 3),
    torch.ones(2, 3).T,
    torch.ones(2, requires_grad=True),
    torch.nn.Parameter(torch.ones(2)),
    torch.tensor([True, False]),
    torch.tensor([1, 2]),
    torch.tensor([1, 2], dtype=torch.int16),
    torch.tensor([1, 2], dtype=torch.uint8),
    torch.tensor([1.0, 2.0], dtype=torch.half),
    torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    torch.tensor([1.0, 2.0], dtype=torch.float64),
    torch.tensor([1.0, 2.0], dtype=torch.float8_e4m3fn),
    torch.tensor([1 + 1j, 2.0]),
    torch.tensor([1 + 1j, 2.0]).conj(),
    torch.tensor([float("nan"), float("inf")]),
    torch.eye(2).to_sparse(),
    torch.Size([2, 3]),
    torch.zeros(2).expand(3, 2),
    [torch.zeros(2), np.zeros(2)],
    (torch.zeros(2), [1]),
    {"w": torch.zeros(2)},
]


@pytest.mark.parametrize("expected", ZOO, ids=lambda v: f"{type(v).__name__}")
def test_anything_can_be_compared_with_anything(expected):
    for got in ZOO:
        found = between(expected, got)
        assert found is None or found.kind in KINDS
        assert found is None or (found.message and "Traceback" not in found.message)


@pytest.mark.parametrize("value", ZOO, ids=lambda v: f"{type(v).__name__}")
def test_a_value_does_not_differ_from_itself(value):
    if isinstance(value, Iterator) or (isinstance(value, Number) and value != value):
        value = None  # no copy is like it, or it is not even like itself
    try:
        copied = copy.deepcopy(value)
    except RuntimeError:  # a tensor that is a view
        copied = value
    assert between(value, copied) is None


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["float32", "float64", "int64", "bool", "complex128"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_side=4, min_side=0))
    )
)
def test_any_array_is_its_own_equal_as_array_and_as_tensor(array):
    assert between(array, array.copy()) is None
    tensor = torch.from_numpy(array.copy())
    assert between(tensor, tensor.clone()) is None


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        "float64",
        hnp.array_shapes(max_side=4),
        elements=st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3),
    ),
    st.integers(0, 10**6),
)
def test_one_number_changed_is_found_wherever_it_is(array, place):
    other = array.copy()
    other.flat[place % array.size] += np.abs(array).max() * 1e-6
    assert between(array, other).kind == "value"


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=100)
@given(nested)
def test_nested_values_do_not_differ_from_their_copies(value):
    assert between(value, copy.deepcopy(value)) is None


@settings(deadline=None, max_examples=100)
@given(nested, nested)
def test_nested_values_can_be_compared(a, b):
    found = between(a, b)
    assert found is None or found.kind in KINDS


# ---------------------------------------------------------------------------------------- tolerance


def float_32(n: int, scale: float) -> torch.Tensor:
    return scale * torch.from_numpy(np.random.default_rng(n).normal(size=(8, 64))).float()


SCALES = [1e-30, 1e-8, 1.0, 1e8, 1e30]


@pytest.mark.parametrize("scale", SCALES)
def test_another_order_of_operations_passes_at_every_scale(scale):
    def by_columns(x):
        return torch.stack([x[:, n] for n in torch.randperm(x.shape[1]).tolist()]).sum(0)

    assert judged(lambda x: x.sum(1), by_columns, float_32(0, scale)) is None


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("error", [1e-3, -1e-3])
def test_a_relative_error_of_a_thousandth_fails_at_every_scale(scale, error):
    x = float_32(1, scale)
    found = judged(lambda x: 2 * x, lambda x: 2 * x * (1 + error), x)
    assert found.kind == "value"


@pytest.mark.parametrize("scale", SCALES)
def test_zeros_fail_at_every_scale(scale):
    x = float_32(2, scale)
    found = judged(lambda x: 2 * x, torch.zeros_like, x)
    assert "All of yours are zero." in found.message


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_numbers_are_judged_beside_their_size(scale):
    assert judged(lambda x: 3 * x, lambda x: x + x + x, 0.1 * scale) is None
    assert judged(lambda x: 3 * x, lambda x: 3 * x * (1 + 1e-9), 0.1 * scale).kind == "value"
    assert judged(lambda x: 3 * x, lambda x: 0.0, 0.1 * scale).kind == "value"


def test_float64_is_held_to_more_digits_than_float32():
    x = np.random.default_rng(3).normal(size=100)
    assert judged(lambda x: x, lambda x: x * (1 + 1e-6), x).kind == "value"
    assert judged(lambda x: x, lambda x: x * np.float32(1 + 5e-7), x.astype("float32")) is None


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_short_numbers_are_held_to_the_digits_they_have(dtype):
    x = float_32(4, 1.0).to(dtype)
    eps = torch.finfo(dtype).eps
    assert judged(lambda x: x, lambda x: x * (1 + 2 * eps), x) is None
    assert judged(lambda x: x, lambda x: 2 * x, x).kind == "value"


def test_zero_but_for_rounding_may_be_zero_otherwise():
    x = np.full((2, 10), 0.1) * [[1], [3]]

    def centred(x):
        return x - x.mean(axis=1, keepdims=True)

    assert centred(x).any()
    assert judged(centred, lambda x: np.zeros_like(x), x) is None
    assert judged(centred, lambda x: np.full_like(x, 3e-15), x) is None
    assert judged(centred, lambda x: np.full_like(x, 1e-6), x).kind == "value"


def test_an_answer_of_zeros_is_held_to_the_size_of_the_inputs():
    x = np.array([1e6, -1e6])
    assert judged(lambda x: x - x, lambda x: (x + 0.1) - x - 0.1, x) is None
    assert judged(lambda x: x - x, lambda x: x * 1e-3, x).kind == "value"


def test_inputs_inside_lists_count():
    blocks = [np.array([1e6]), {"k": np.array([-1e6])}]
    assert judged(lambda b: b[0] - b[0], lambda b: (b[0] + 0.1) - b[0] - 0.1, blocks) is None


def test_an_ill_conditioned_answer_gets_more_room_but_not_much():
    def in_order(x):
        return float(sum(x.tolist()))

    n_moved = 0
    for seed in range(100):
        x = 1e8 * np.random.default_rng(seed).normal(size=20)
        x[-1] = 1.0 - x[:-1].sum()  # all together about 1: eight of sixteen digits cancel
        n_moved += in_order(x[::-1]) != in_order(x)
        assert judged(in_order, lambda x: in_order(x[::-1]), x) is None
        assert judged(in_order, lambda x: 1.001 * in_order(x), x).kind == "value"
    assert n_moved > 50


def test_rtol_widens():
    x = np.arange(1.0, 5.0)
    near = dict(solution=lambda x: x, other=lambda x: x * 1.0005, rtol=1e-3)
    assert judged(near["solution"], near["other"], x, rtol=near["rtol"]) is None
    assert judged(near["solution"], near["other"], x).kind == "value"


def test_whole_numbers_text_and_truth_have_no_tolerance():
    assert own(7) == own("a") == own(True) == own(np.arange(3)) == own(torch.arange(3)) == 0
    assert between(10**12, 10**12 + 1).kind == "value"
    assert between(np.array([10**16]), np.array([10**16 + 1])).kind == "value"


def test_the_tolerance_has_the_form_of_the_answer():
    value = {"a": [1.0, (2.0, "x")], "b": np.ones(3)}
    found = own(value)
    assert found["a"][0] > 0
    assert found["a"][1][1] == 0.0
    assert 0 < found["b"] < 1e-12


def test_nudging_moves_every_float_by_its_last_digits_and_nothing_else():
    case = Case(
        "c", 1.0, 7, "text", np.ones(3), [torch.ones(2)], Pair(1.0, 2), k={"a": np.arange(3)}
    )
    moved, other, _ = nudged(case)
    assert (moved.args[3] != other.args[3]).any()
    assert moved.args[0] != 1.0
    assert moved.args[1:3] == (7, "text")
    assert (moved.args[3] != 1).all()
    assert np.abs(moved.args[3] - 1).max() < 1e-15
    assert (moved.args[4][0] != 1).all()
    assert isinstance(moved.args[5], Pair)
    assert (moved.kwargs["k"]["a"] == np.arange(3)).all()
    assert moved.args[4][0].dtype == torch.float32
    whole = nudged(Case("c", torch.tensor([5], dtype=torch.int16)))
    assert all((one.args[0] == 5).all() for one in whole)


def test_a_solution_that_fails_on_nudged_inputs_has_a_tolerance_all_the_same():
    def only_exact(x):
        if x[0] != 1.0:
            raise ValueError
        return x

    exercise = exercise_of(only_exact, np.ones(3))
    case = exercise.drawn_cases()[0]
    assert 0 < tolerance(exercise, case, np.ones(3)) < 1e-12


# ----------------------------------------------------------------------------- what differs


A = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 31.0]])


@pytest.mark.parametrize(
    ("got", "pattern"),
    [
        (2 * A, " All of yours are 2 times the right ones."),
        (A / 3, " All of yours are 0.3333 times the right ones."),
        (A * 1.00001, " All of yours are 1.00001 times the right ones."),
        (-A, " All of yours have the wrong sign."),
        (-2 * A, " All of yours are -2 times the right ones."),
        (A + 0.5, " All of yours are off by the same +0.5."),
        (A - 3, " All of yours are off by the same -3."),
        (0 * A, " All of yours are zero."),
        (A[::-1], " They are the right numbers in another order."),
        (np.sqrt(A), "; the right numbers go up to about 30."),
    ],
)
@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_simple_patterns_are_named(got, pattern, make):
    found = between(make(A), make(got.copy()))
    assert found.kind == "value"
    assert found.message.endswith(pattern)


def test_no_pattern_is_claimed_that_is_not_there():
    other = A.copy()
    other[0, 0] = 2
    message = between(A, other).message
    assert "All of yours" not in message
    assert "another order" not in message


def test_where_it_differs_is_said_with_the_names_of_the_axes():
    other = A.copy()
    other[1, 1:] = 0
    message = between(A, other, "head key").message
    assert message == (
        "The answer has the right shape; 2 of 6 numbers differ, all of them at head=1. The largest "
        "difference is 31, at head=1, key=2, where yours is 0; the right numbers go up to about 30."
    )
    assert "at axis 0=1" in between(A, other).message
    assert "at [1, 2], where" in between(A, other, "one").message


def test_parts_of_a_tuple_are_named():
    axes = ("out: row column", "weights: row")
    found = compare((A, A[0]), (A, A[0] + 1), own((A, A[0])), axes)
    assert found.message.startswith("`weights` has the right shape; 3 of 3 numbers differ.")
    found = compare((A, A[0]), (A.T, A[0] + 1), own((A, A[0])), axes)
    assert found.message.startswith("`out` should have shape (row=2, column=3), but has (3, 2).")


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ((2, 3), (3, 2), "has (3, 2). The sizes are right, their order is not: a transpose?"),
        ((2, 3), (2, 1, 3), "has (2, 1, 3). An axis of size 1 is missing or too many."),
        ((2, 3), (2,), "has (2,). Axes are missing: was something summed that should stay?"),
        ((2, 3), (2, 4), "should have shape (B=2, T=3), but has (2, 4)."),
        ((2, 3), (2, 3, 4), "should have shape (B=2, T=3), but has (2, 3, 4)."),
    ],
)
def test_a_wrong_shape_says_both_shapes_and_a_guess(expected, got, message):
    found = between(torch.zeros(expected), torch.zeros(got), "B T")
    assert found.kind == "shape"
    assert found.message.endswith(message)


def test_a_wrong_shape_is_told_before_the_dtype_and_the_dtype_before_the_values():
    assert between(np.zeros(2), np.ones(3, int)).kind == "shape"
    assert between(np.zeros(2), np.ones(2, int)).kind == "dtype"
    found = between(np.zeros(2, "float32"), np.ones(2))
    assert "Something double came in" in found.message


def test_the_most_basic_difference_of_several_parts_is_told():
    found = compare((A, A, A), (A + 1, A[0], A), own((A, A, A)), ("a: ", "b: ", "c: "))
    assert found.kind == "shape"
    assert "`b`" in found.message


@pytest.mark.parametrize(
    ("expected", "got", "kind", "words"),
    [
        (np.array(1.0), np.array(2.0), "value", "1 of 1 numbers differ"),
        (np.array(1.0), np.array(np.nan), "nan", "is NaN in 1 of 1 places, first at the only"),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0]), "value", "one of the two is infinite"),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf]), "nan", "infinite in 1 of 2"),
        (np.array([np.nan, 1.0]), np.array([0.0, 1.0]), "value", "1 of 2 numbers differ"),
        (np.array([1.0, 2.0]), np.array([np.nan, np.inf]), "nan", "is NaN or infinite in 2 of 2"),
        (np.array([True, False]), np.array([False, True]), "value", "the other way round?"),
        (np.array([1 + 1j, 2]), np.array([1 - 1j, 2]), "value", "1 of 2 numbers differ"),
        (np.array(["a", "b"]), np.array(["a", "c"]), "value", "1 of 2 entries differ"),
        (np.array([0.0, 0.0]), np.array([0.0, 1.0]), "value", "where yours is 1."),
        (1.0, 2.0, "value", "The answer is 2, too large, 2 times the right one."),
        (1.0, 1.00001, "value", "1.00001 times the right one."),
        (4.0, -1.0, "value", "too small, -0.25 times"),
        (5, 7, "value", "The answer is 7, too large."),
        (5, 12345678, "value", "The answer is 12345678, too large."),
        (5, 10**90, "value", "The answer is 1000000"),
        (1.0, float("nan"), "nan", "The answer is nan."),
        (float("nan"), 1.0, "value", "The answer is 1, which is not right."),
        (float("inf"), 1.0, "value", "The answer is 1, which is not right."),
        (1.0, 10**400, "nan", "The answer is inf."),
        (1 + 1j, 1 - 1j, "value", "which is not right."),
        (True, False, "value", "The answer should not be False here."),
        (True, np.False_, "value", "The answer should not be False here."),
        (True, 1, "type", "should be True or False, but is a whole number (int)."),
        (
            3,
            3.0,
            "type",
            "should be a whole number (int), but is a number (float). // divides whole",
        ),
        (3, "3", "type", "should be a whole number (int), but is text (str)."),
        ("a", b"a", "type", "should be text (str), but is bytes. bytes.decode() gives text."),
        (b"a", [97], "type", "bytes() makes bytes of a list of numbers."),
        ([1], np.array([1]), "type", "An array's .tolist() is a list."),
        ([1], torch.tensor([1]), "type", "A tensor's .tolist() is a list."),
        ([1], range(1), "type", "but is a range. list() makes a list of it."),
        ([1], map(abs, [1]), "type", "but is a map. list() makes a list of it."),
        ([1], {1}, "type", "but is a set. list() makes a list of it."),
        (torch.ones(1), [1.0], "type", "torch.tensor or torch.stack makes a tensor of a list."),
        (torch.ones(1), np.ones(1), "type", "torch.from_numpy makes a tensor of an array."),
        (np.ones(1), torch.ones(1), "type", "A tensor's .numpy() is an array."),
        ((1, 2), (1, 2, 3), "type", "should have 2 parts, but has 3."),
        (None, 1, "type", "should be None, but is a whole number (int)."),
        ({1}, {2}, "value", "The answer is not the right one."),
        ([1, 2, 3], [1, 5, 3], "value", "differs from entry 1 on (counted from 0), where yours is"),
        ([1, 2, 3], [1, 2], "value", "have 3 entries, but has 2; what is there is right"),
        ([1, 2], [1, 2, 3], "value", "is right up to entry 2: something follows that should not"),
        ([1, [2.0]], [1, ["x"]], "type", "Entry 0 should be a number (float), but is text (str)."),
        ([1], ["x" * 500], "type", "Entry 0 should be a whole number (int), but is text (str)."),
        (["x"], ["y" * 500], "value", "..."),
        ("abc", "abd", "value", "differs from character 2 on (counted from 0), where yours is 'd'"),
        ("abc", "ab", "value", "have 3 characters, but has 2; what is there is right: the end"),
        (b"abc", b"axc", "value", "differs from byte 1 on (counted from 0), where yours is b'x'."),
        ({"a": 1, "b": 2}, {"a": 1}, "value", "lacks 1 of 2 keys and has 0 that do not belong"),
        ({"a": 1}, {"a": 1, "z": 2}, "value", "has 1 that do not belong there, such as 'z'."),
        ({"a": 1}, {"a": 2}, "value", "The entry 'a' is 2, too large."),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else type(value).__name__,
)
def test_a_difference_is_put_into_words(expected, got, kind, words):
    found = between(expected, got)
    assert found.kind == kind
    assert words in found.message
    assert len(found.message) < 400


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ((1, 2), [1, 2]),
        ([1, 2], (1, 2)),
        ((2, 3), torch.Size([2, 3])),
        ((1, 2), Pair(1, 2)),
        ({"a": 2, "b": 1}, Counter("aab")),
        ({"a": [1]}, defaultdict(list, a=[1])),
        ({"a": 1}, OrderedDict(a=1)),
        (1.0, 1),
        (1.0, np.float64(1.0)),
        (1.0, torch.tensor(1.0, dtype=torch.float64)),
        (1.0, np.array(1.0)),
        (3, np.int64(3)),
        (3, torch.tensor(3)),
        (True, np.True_),
        (True, torch.tensor(True)),
        ("a", np.str_("a")),
        (float("nan"), float("nan")),
        (-float("inf"), -float("inf")),
        (0.0, -0.0),
        (torch.ones(2), torch.ones(2, requires_grad=True)),
        (torch.ones(2), torch.nn.Parameter(torch.ones(2))),
        (torch.tensor([1 + 1j]), torch.tensor([1 - 1j]).conj()),
        (np.ones((2, 3)), np.ones((3, 2)).T),
        (torch.eye(2), torch.eye(2).to_sparse()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_amounts_to_the_same_is_the_same(expected, got):
    assert between(expected, got) is None


def test_a_coroutine_given_back_is_closed(recwarn):
    async def answer():
        return 1

    assert "`async def` makes a coroutine" in between(1, answer()).message
    assert not [w for w in recwarn if "never awaited" in str(w.message)]


def test_what_cannot_be_shown_is_not():
    class Bad:
        def __repr__(self):
            raise RuntimeError("no")

    mine = Bad()
    assert "where yours is a Bad, too long to be shown" in between([Bad()], [mine]).message
    huge = between(5, 10**5000).message  # Python refuses to print it
    assert huge == "The answer is a whole number (int), too long to be shown, too large."


@pytest.mark.parametrize(
    ("expected", "got"),
    [(np.zeros((1, 1, 3)), np.zeros(3)), (np.zeros((2, 2)), np.zeros((2, 1, 2, 1)))],
)
def test_an_axis_of_size_one_is_only_named_where_it_is_the_one_thing_wrong(expected, got):
    assert "axis of size 1" not in compare(expected, got, 0.0).message


def test_one_wrong_boolean_is_no_reason_to_speak_of_the_other_way_round():
    found = compare(np.array([True]), np.array([False]), 0.0)
    assert "other way round" not in found.message and "1 of 1 entries" in found.message


def test_none_in_a_tuple_is_not_taken_for_a_missing_return():
    found = compare((1.0, 2.0), (1.0, None), [0.0, 0.0], ("a:", "b:"))
    assert found.message == "`b` should be a number (float), but is None."


def test_a_tiny_difference_is_shown_with_the_digits_that_differ():
    found = compare(np.array([1.0, 2.0]), np.array([0.999999998, 2.0]), 1e-12)
    assert "0.999999998" in found.message
