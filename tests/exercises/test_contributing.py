"""The exercise that CONTRIBUTING.md shows is whole, short, and passes the gates."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from mutants import FastJudge, mutants

from aigc_lab.exercises.checking import judge
from aigc_lab.exercises.declaring import Exercise

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.fixture
def example(tmp_path, monkeypatch) -> Exercise:
    """The exercise, declared in a module of its own."""
    file = tmp_path / "ch99_example.py"
    file.write_text(CODE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("ch99_example", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ch99_example", module)
    spec.loader.exec_module(module)
    (found,) = (item for item in vars(module).values() if isinstance(item, Exercise))
    return found


def test_it_takes_fewer_than_forty_lines():
    assert len(CODE.splitlines()) < 40


def test_stub_solution_and_mistakes_are_told_apart(example):
    assert judge(example, example.compiled(example.stub)).status == "not yet"
    assert judge(example, example.solution)
    assert len(example.mistakes) >= 3
    for mistake in example.mistakes:
        assert judge(example, example.wrong_implementation(mistake)).mistake == mistake.says


def test_no_change_of_an_operator_passes(example):
    bench = FastJudge(example)
    found = mutants(example.source)
    assert len(found) > 5
    passing = [m.key for m in found if not bench.fails(example.compiled(m.source))]
    assert passing == []
