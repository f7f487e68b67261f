"""`check`, `hint` and `solution` as the reader calls them, and what an exercise is made of."""

from __future__ import annotations

import ast
import dataclasses
import io
import sys

import numpy as np
import pytest
from small import ALL, Stack, centre, count_words, product

from aigc_lab.exercises import catalog, progress, verdict
from aigc_lab.exercises.checking import check, hint, judge_words, solution
from aigc_lab.exercises.declaring import (
    Case,
    DeclarationError,
    Draw,
    Mistake,
    Question,
    chapter_of,
    size_of,
)
from aigc_lab.exercises.verdict import Verdict

QUESTION = Question(
    chapter="small", name="why", title="Why", minutes=5, statement="Why?", answer="**Because.**"
)


@pytest.fixture(autouse=True)
def small_book(monkeypatch):
    """A book whose only exercises are those of the tests."""
    items = {item.id: item for item in (*ALL, QUESTION)}
    real = catalog.find

    def find(exercise_id):
        return items[exercise_id] if exercise_id in items else real(exercise_id)

    monkeypatch.setattr(catalog, "find", find)


# ------------------------------------------------------------------------------------------ check


def test_check_shows_the_verdict_and_gives_it_back(capsys):
    found = check("small/centre", centre.solution)
    assert found
    assert capsys.readouterr().out == (
        "✔ small/centre: passed\n  Right on 9 inputs, edge cases among them.\n"
    )
    found = check("small/centre", lambda x: x)
    assert not found
    out = capsys.readouterr().out
    assert out.startswith("✗ small/centre: not right yet\n")
    assert out.rstrip().endswith("A hint: python -m aigc_lab exercises hint small/centre")


def test_check_of_a_stub_shows_what_to_do(capsys):
    assert not check("small/centre", centre.compiled(centre.stub))
    assert capsys.readouterr().out.startswith("○ small/centre: not yet\n  Replace")


def test_swapped_arguments_are_understood(capsys):
    assert check(centre.solution, "small/centre")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("attention/softmx", "'attention/softmax'"),
        ("attention/", "'attention/"),
        ("softmaxx", "'attention/softmax'"),
        ("atention/softmax", "'attention/softmax'"),
        ("ATTENTION/SOFTMAX", "`python -m aigc_lab exercises` lists them all"),
        ("", "lists them all"),
        (None, "there is no exercise None"),
        (7, "there is no exercise 7"),
    ],
)
@pytest.mark.parametrize("call", [lambda name: check(name, len), hint, solution])
def test_an_unknown_id_is_an_error_that_names_similar_ones(name, meant, call):
    with pytest.raises(ValueError, match="there is no exercise") as error:
        call(name)
    assert meant in str(error.value)


def test_the_name_alone_is_enough():
    assert catalog.find("softmax") is catalog.find("attention/softmax")


def test_two_functions_and_no_id_is_an_error_with_a_sentence():
    with pytest.raises(ValueError, match="there is no exercise"):
        check(centre.solution, centre.solution)


def test_a_broken_console_still_shows_the_verdict(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    check("small/centre", centre.solution)
    sys.stdout.flush()
    assert raw.getvalue().startswith(b"? small/centre: passed")


# -------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("answer", ["", "  \n ", "short", None, 3, len, ["a long enough list"]])
def test_without_an_answer_the_readers_stays_without_ours(answer, capsys):
    assert not check("small/why", answer)
    out = capsys.readouterr().out
    assert "Write your answer between the quotes" in out
    assert "Because" not in out
    assert progress.load() == {}


def test_with_an_answer_ours_is_shown_and_it_is_done(capsys):
    assert check("small/why", "I think because it must be.")
    out = capsys.readouterr().out
    assert "There is no single right answer. This is ours:" in out
    assert out.rstrip().endswith("**Because.**")
    assert progress.load()["small/why"]["state"] == progress.DONE


def test_a_question_with_one_answer_says_so():
    one = dataclasses.replace(QUESTION, has_one_answer=True)
    assert judge_words(one, "Because it must be.").lines == ("Compare yours with ours:",)


# ------------------------------------------------------------------------------- hint and solution


def test_a_hint_can_be_asked_for_by_number(capsys):
    hint("small/centre", 2)
    assert capsys.readouterr().out == "**Hint 2 of 3.** Second.\n"
    assert progress.load() == {}


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_hint_that_is_not_there_is_an_error(number):
    with pytest.raises(ValueError, match=f"small/centre has the hints 1 to 3, not {number}"):
        hint("small/centre", number)


def test_a_question_has_no_hints(capsys):
    hint("small/why")
    assert "has no hints" in capsys.readouterr().out


def test_solution_shows_the_code_without_the_declaration(capsys):
    solution("small/centre")
    out = capsys.readouterr().out
    assert out.startswith("```python\ndef centre(x: np.ndarray) -> np.ndarray:\n")
    assert "return 2 * (x - mean)" in out
    assert "Mistake" not in out
    solution("small/why")
    assert capsys.readouterr().out == "**Because.**\n"


# ---------------------------------------------------------------------------------------- verdicts


def test_a_verdict_is_true_if_it_passed():
    assert Verdict("a/b", verdict.PASSED)
    assert not Verdict("a/b", verdict.WRONG)
    assert not Verdict("a/b", verdict.NOT_YET)


def test_the_html_of_a_verdict_is_escaped_and_marks_code():
    html = Verdict("a/<b>", verdict.WRONG, ("`x < 1 & y` is <i>not</i>\nnext",)).to_html()
    assert "a/&lt;b&gt;" in html
    assert "<code>x &lt; 1 &amp; y</code> is &lt;i&gt;not&lt;/i&gt;<br>next" in html


def test_long_lines_are_wrapped_in_a_terminal():
    shown = str(Verdict("a/b", verdict.WRONG, ("word " * 60, "one\ntwo")))
    assert max(len(line) for line in shown.splitlines()) <= 88
    assert "\n  one\n  two" in shown


# --------------------------------------------------------------------------------------- declaring


@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
def test_a_stub_is_the_solution_without_its_code(exercise):
    stub, full = ast.parse(exercise.stub).body[0], ast.parse(exercise.source).body[0]
    assert stub.name == full.name
    assert ast.get_docstring(stub) == ast.get_docstring(full)
    if isinstance(full, ast.FunctionDef):
        assert ast.unparse(stub.args) == ast.unparse(full.args)
        assert len(stub.body) == 2
    assert "your code here" in exercise.stub


def test_a_known_mistake_that_cannot_be_made_is_the_authors_error():
    twice = Mistake("Twice.", "x", "y")
    nowhere = Mistake("Nowhere.", "no such piece", "y")
    with pytest.raises(DeclarationError, match=r"small/centre: 'x' must stand .* does so 4 times"):
        centre.wrong_implementation(twice)
    with pytest.raises(DeclarationError, match="does so 0 times"):
        centre.wrong_implementation(nowhere)
    with pytest.raises(DeclarationError, match="needs a function or changes"):
        Mistake("Nothing.")
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Mistake("Half a pair.", "a", "b", "c")


def test_cases_come_smallest_first_three_times_each():
    cases = centre.drawn_cases()
    assert [case.size for case in cases] == sorted(case.size for case in cases)
    assert [case.label for case in cases].count("one number") == 3


def test_the_same_seed_draws_the_same():
    a, b, c = Draw(1), Draw(1), Draw(2)
    assert (a.array(3) == b.array(3)).all()
    assert a.integers(0, 99, 5) == b.integers(0, 99, 5)
    assert a.tensor(2).tolist() == b.tensor(2).tolist() != c.tensor(2).tolist()
    assert all(3 <= Draw(n).integer(3, 5) < 5 for n in range(20))
    assert np.abs(Draw(0).array(1000, scale=1e-3)).max() < 0.1


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (3, 1),
        (None, 1),
        ("text", 4),
        (b"ab", 2),
        ([1, [2, 3]], 3),
        ({"key": [1, 2]}, 5),
        (np.zeros((2, 3)), 6),
        (np.zeros(()), 1),
        ([], 0),
    ],
)
def test_the_size_of_a_value_is_how_much_there_is_to_look_at(value, size):
    assert size_of(value) == size
    assert Case("c", value, k=value).size == 2 * size


def test_names_of_arguments_come_from_the_function_or_from_call():
    assert product.parameters == ["a", "b"]
    assert Stack.parameters == ["numbers"]


def test_chapters_are_named_without_their_number():
    assert chapter_of("aigc_lab.exercises.ch04_attention") == "attention"
    assert count_words.id == "small/count_words"
    assert catalog.chapters()["attention"] == "ch04_attention"


def test_every_exercise_is_found_under_its_id():
    for item in catalog.all_exercises():
        assert catalog.find(item.id) is item
