"""`swap` puts a function in place of the book's, everywhere, and takes it out again."""

from __future__ import annotations

import functools
import sys
import types
import warnings

import pytest
import torch

import aigc_lab.models.attention as attention
import aigc_lab.models.tiny_transformer as tiny_transformer
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.exercises import swap
from aigc_lab.models.tiny_transformer import TinyTransformer

ATTEND = "aigc_lab.models.attention.attend"


@pytest.fixture
def book(monkeypatch):
    """A small package inside aigc_lab: two modules, the second imports from the first."""

    def helper(x, y=2, *, z=3):
        return ("book", x, y, z)

    class Base:
        def method(self, x):
            return ("base", x)

    class Holder(Base):
        @staticmethod
        def static(x):
            return ("static", x)

        @classmethod
        def of_class(cls, x):
            return x

        def own(self, x):
            return ("own", x)

    first, second = types.ModuleType("aigc_lab.one"), types.ModuleType("aigc_lab.two")
    for thing in (helper, Base.method, Holder.own, Holder.static):
        thing.__module__ = "aigc_lab.one"
    first.helper, first.Base, first.Holder, first.number = helper, Base, Holder, 7
    second.helper = second.alias = helper
    second.use = lambda *args, **kwargs: (
        second.helper(*args, **kwargs),
        second.alias(*args, **kwargs),
    )
    import aigc_lab

    for name, module in (("one", first), ("two", second)):
        monkeypatch.setitem(sys.modules, f"aigc_lab.{name}", module)
        monkeypatch.setattr(aigc_lab, name, module, raising=False)
    return types.SimpleNamespace(one=first, two=second, helper=helper)


# --------------------------------------------------------------------------------------- the swap


def test_the_model_runs_the_readers_function_and_afterwards_its_own_again():
    torch.manual_seed(0)
    model = TinyTransformer(8, "rope", d_model=32)
    tokens = torch.randint(8, (2, 5))
    own = attention.attend
    before = model(tokens)[0]

    def nothing(q, k, v, *, mask=None):
        weights = torch.zeros(*q.shape[:-1], k.shape[-2])
        return weights @ v, weights

    with swap(ATTEND, nothing) as swapped:
        during = model(tokens)[0]
        assert swapped.calls > 0
    assert not torch.allclose(before, during)
    assert torch.equal(before, model(tokens)[0])
    assert attention.attend is own


def test_it_is_replaced_in_every_module_under_every_name(book):
    with swap("aigc_lab.one.helper", lambda x: ("mine", x)) as swapped:
        assert book.two.use(1) == (("mine", 1), ("mine", 1))
        assert book.one.helper(1) == ("mine", 1)
    assert swapped.calls == 3
    assert book.one.helper is book.two.helper is book.two.alias is book.helper


def test_it_may_be_named_by_a_module_that_imports_it(book):
    with swap("aigc_lab.two.alias", lambda x: "mine"):
        assert book.one.helper(1) == "mine"
    assert book.two.alias is book.one.helper is book.helper


def test_it_is_restored_after_an_error(book):
    def broken(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"), swap("aigc_lab.one.helper", broken):
        book.two.use(1)
    assert book.two.helper is book.two.alias is book.helper


def test_nested_swaps_are_undone_one_by_one(book):
    with swap("aigc_lab.one.helper", lambda x: "outer") as outer:
        with swap("aigc_lab.one.helper", lambda x: "inner") as inner:
            assert book.two.use(1) == ("inner", "inner")
        assert book.two.use(1) == ("outer", "outer")
    assert (outer.calls, inner.calls) == (2, 2)
    assert book.two.use(1) == (("book", 1, 2, 3),) * 2
    assert book.two.alias is book.helper


def test_two_targets_can_be_swapped_at_once(book):
    with (
        swap("aigc_lab.one.helper", lambda x: "function"),
        swap("aigc_lab.one.Holder.own", lambda self, x: "method"),
    ):
        assert book.one.helper(1) == "function"
        assert book.one.Holder().own(1) == "method"
    assert book.one.Holder().own(1) == ("own", 1)


def test_a_module_imported_only_inside_the_block_is_restored_too(book, monkeypatch):
    with swap("aigc_lab.one.helper", lambda x: "mine"):
        late = types.ModuleType("aigc_lab.late")
        late.helper = book.one.helper  # as `from aigc_lab.one import helper` does
        monkeypatch.setitem(sys.modules, "aigc_lab.late", late)
        assert late.helper(1) == "mine"
    assert late.helper is book.helper


def test_the_readers_function_may_call_the_original(book):
    with swap("aigc_lab.one.helper", lambda x: ("around", book.two.helper(x))) as swapped:
        assert book.one.helper(1) == ("around", ("book", 1, 2, 3))
        assert book.one.helper(2) == ("around", ("book", 2, 2, 3))
    assert swapped.calls == 2


def test_a_swap_that_nothing_calls_warns_where_the_reader_can_see(book):
    warned = pytest.warns(UserWarning, match=r"aigc_lab\.one\.helper was swapped but never")
    with warned as found, swap("aigc_lab.one.helper", lambda x: x):
        pass
    assert found[0].filename == __file__


def test_a_swap_that_is_called_does_not_warn(book):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with swap("aigc_lab.one.helper", lambda x: x):
            book.one.helper(1)


# --------------------------------------------------------------------------------------- arguments


def test_defaults_that_the_readers_function_does_not_take_are_left_out(book):
    with swap("aigc_lab.one.helper", lambda x: x):
        assert book.one.helper(5) == 5
        assert book.one.helper(5, 2) == 5
        assert book.one.helper(5, y=2, z=3) == 5


def test_a_value_that_the_readers_function_cannot_take_is_an_error(book):
    with swap("aigc_lab.one.helper", lambda x: x):
        with pytest.raises(TypeError, match=r"calls aigc_lab\.one\.helper with y=9, but your <lam"):
            book.one.helper(5, 9)
        with pytest.raises(TypeError, match=r"with z=a Tensor of shape \(2,\), but your"):
            book.one.helper(5, z=torch.zeros(2))
        with pytest.raises(TypeError, match=r"with z='x+\.\.\., but your"):
            book.one.helper(5, z="x" * 99)


def test_true_is_not_taken_for_the_default_one(book):
    def target(x, flag=1):
        return x

    target.__module__ = "aigc_lab.one"
    book.one.target = target
    with (
        swap("aigc_lab.one.target", lambda x: x),
        pytest.raises(TypeError, match="flag=True"),
    ):
        book.one.target(0)
        book.one.target(0, flag=True)


def test_arguments_that_it_takes_are_given_by_name(book):
    with swap("aigc_lab.one.helper", lambda first, *, z=0: (first, z)):
        assert book.one.helper(5, z=3) == (5, 3)
        assert book.one.helper(x=5, z=4) == (5, 4)
    with swap("aigc_lab.one.helper", lambda x, **rest: (x, rest)):
        assert book.one.helper(5, 6, z=4) == (5, {"y": 6, "z": 4})


def test_targets_with_any_number_of_arguments_can_be_swapped(book):
    def target(*args, **kwargs):
        return None

    target.__module__ = "aigc_lab.one"
    book.one.target = target
    with swap("aigc_lab.one.target", lambda *args, **kwargs: (args, kwargs)):
        assert book.one.target(1, 2, a=3) == ((1, 2), {"a": 3})


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(lambda factor, x: factor * x, 2),
        type("Twice", (), {"__call__": lambda self, x: 2 * x})(),
        lambda *args: 2 * args[0],
    ],
    ids=["partial", "object", "star"],
)
def test_anything_callable_can_be_put_in_place(book, function):
    with swap("aigc_lab.one.helper", function):
        assert book.one.helper(4) == 8
        if isinstance(function, functools.partial):
            with pytest.raises(TypeError, match="but your function has no argument 'y'"):
                book.one.helper(4, y=9)


def test_a_builtin_that_hides_its_arguments_can_be_put_in_place(book):
    with swap("aigc_lab.one.helper", max):
        assert book.one.helper([4, 9]) == 9


# ---------------------------------------------------------------------------------------- methods


def test_a_method_is_replaced_for_all_objects_and_restored():
    tokenizer = Tokenizer.__new__(Tokenizer)
    own = vars(Tokenizer)["_merge"]

    def mine(self, data):
        return ["mine", data]

    with swap("aigc_lab.data.tokenizer.Tokenizer._merge", mine) as swapped:
        assert tokenizer._merge(b"ab") == ["mine", b"ab"]
        assert Tokenizer._merge(tokenizer, b"c") == ["mine", b"c"]
    assert swapped.calls == 2
    assert vars(Tokenizer)["_merge"] is own


def test_a_static_method_stays_one(book):
    own = vars(book.one.Holder)["static"]
    with swap("aigc_lab.one.Holder.static", lambda x: ("mine", x)):
        assert book.one.Holder.static(1) == ("mine", 1)
        assert book.one.Holder().static(1) == ("mine", 1)
    assert vars(book.one.Holder)["static"] is own


def test_an_inherited_method_is_replaced_in_the_named_class_only(book):
    with swap("aigc_lab.one.Holder.method", lambda self, x: "mine"):
        assert book.one.Holder().method(1) == "mine"
        assert book.one.Base().method(1) == ("base", 1)
    assert "method" not in vars(book.one.Holder)
    assert book.one.Holder().method(1) == ("base", 1)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("attend", "must be the full name of a function of the book, such as 'aigc_lab.models"),
        ("math.sqrt", "must be the full name"),
        ("aigc_lab.attend", "must be the full name"),
        ("", "must be the full name"),
        (None, "must be the full name"),
        ("aigc_lab.models.atention.attend", "aigc_lab.models has no 'atention'; did you mean"),
        ("aigc_lab.models.attention.atend", "has no 'atend'; did you mean 'attend'"),
        ("aigc_lab.models.attention.zzzz", r"aigc_lab\.models\.attention has no 'zzzz'$"),
        ("aigc_lab.data.tokenizer.Tokenizer._merg", "did you mean '_merge'"),
        ("aigc_lab.data.tokenizer.Tokenizer", "is a type, not a function"),
        ("aigc_lab.data.tokenizer.Tokenizer.load", "is a method, not a function"),
        ("aigc_lab.models.attention", "is a module, not a function"),
        ("aigc_lab.models.attention.attend.x", "has no 'x'"),
        ("aigc_lab.models.attention.math.sqrt", "is a builtin_function_or_method, not a"),
        (
            "aigc_lab.models.attention.nn.functional.softmax",
            "is a function of torch.nn.functional, not of",
        ),
    ],
)
def test_a_target_that_does_not_fit_is_told_why(target, message):
    with pytest.raises(ValueError, match=message), swap(target, lambda: None):
        pass


@pytest.mark.parametrize("function", [None, 3, "text", torch.zeros(2)])
def test_what_cannot_be_called_cannot_be_put_in_place(function):
    own = attention.attend
    with (
        pytest.raises(
            TypeError, match=r"swap needs a function to put in place of aigc_lab\.models"
        ),
        swap(ATTEND, function),
    ):
        pass
    assert attention.attend is own


def test_a_module_not_imported_yet_is_found(monkeypatch):
    import aigc_lab.models

    name = "aigc_lab.models.tiny_transformer"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(aigc_lab.models, "tiny_transformer")
    warned = pytest.warns(UserWarning, match="never called")
    with warned, swap(f"{name}.TinyTransformer.forward", lambda self, tokens: None):
        pass
    assert tiny_transformer.TinyTransformer is TinyTransformer
