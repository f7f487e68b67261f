"""tools/exercises.py: notebooks and pages made from declarations; nobody's answers are lost."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from aigc_lab.exercises import catalog, progress
from aigc_lab.exercises.declaring import Exercise, Question
from tools import exercises, notebooks
from tools.dependencies import Problem

ROOT = Path(__file__).resolve().parent.parent
SETS = exercises.sets(ROOT)

every_set = pytest.mark.parametrize("chosen", SETS, ids=lambda chosen: chosen.name)


@pytest.fixture
def one(tmp_path: Path) -> exercises.Set:
    """A chapter's exercises in an empty repository."""
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").write_text('repository: {url: ""}\n')
    include = "```{include} ../book/exercises/04_attention.md\n```\n"
    text = tmp_path / "book" / "chapters" / "04_attention.md"
    text.write_text(f"# 04 · Attention\n\n## Exercises\n\n{include}")
    return exercises.Set("attention", "04_attention", tmp_path)


def items(chosen: exercises.Set) -> list:
    return catalog.exercises_of(chosen.chapter)


# ------------------------------------------------------------------------ what is in the repository


def test_the_committed_files_agree_with_the_declarations() -> None:
    assert SETS
    assert [problem for chosen in SETS for problem in exercises.check(chosen)] == []
    assert exercises.orphans(ROOT) == []


@every_set
def test_every_exercise_is_in_the_notebook_with_its_check(chosen) -> None:
    notebook = exercises.make_notebook(chosen)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for number, item in enumerate(items(chosen), start=1):
        assert f"## {chosen.number}.{number} {item.title}\n" in text
        assert item.statement in text
        assert any(f'check("{item.id}"' in source for source in code)


@every_set
def test_the_notebook_gives_no_solution_away(chosen) -> None:
    everything = "\n".join(cell.source for cell in exercises.make_notebook(chosen).cells)
    for item in items(chosen):
        if isinstance(item, Question):
            assert item.answer not in everything
        else:
            given = item.stub.removesuffix('raise NotImplementedError("your code here")\n')
            assert item.source.startswith(given) and given != item.stub
            assert item.source.removeprefix(given).strip() not in everything
            for hint in item.hints:
                assert hint not in everything


@every_set
def test_the_page_has_each_exercise_numbered_as_in_the_notebook_and_folded(chosen) -> None:
    page = exercises.make_page(chosen)
    found = re.findall(r"^`+\{exercise\} (.*)\n:label: (.*)$", page, re.MULTILINE)
    assert found == [(item.title, exercises.label(item)) for item in items(chosen)]
    solutions = re.findall(r"^`+\{solution\} (.*)\n:class: dropdown$", page, re.MULTILINE)
    assert solutions == [exercises.label(item) for item in items(chosen)]
    n_hints = sum(len(item.hints) for item in items(chosen) if isinstance(item, Exercise))
    assert page.count("{dropdown} Hint") == n_hints


@every_set
def test_code_fits_on_the_page(chosen) -> None:
    blocks = re.findall(r"```python\n(.*?)```", exercises.make_page(chosen), re.DOTALL)
    assert blocks
    assert [line for code in blocks for line in code.splitlines() if len(line) > 80] == []


@every_set
def test_the_notebook_runs_untouched_and_says_not_yet(chosen, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.json"))
    notebook = nbformat.read(chosen.notebook_path, as_version=4)
    notebooks.execute(notebook, chosen.notebook_path.parent, chosen.name)
    said: dict[str, list[str]] = {}
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        named = re.search(r'^(?:if )?check\("([^"]+)"', cell.source, re.MULTILINE)
        if named is None:
            assert outputs == [], cell.source
            continue
        assert [output.output_type for output in outputs] == ["display_data"], cell.source
        assert "not yet" in outputs[0].data["text/html"]
        said.setdefault(named[1], []).append(outputs[0].data["text/plain"])
    assert list(said) == [item.id for item in items(chosen)]
    for item in items(chosen):
        assert all(text.startswith(f"○ {item.id}: not yet") for text in said[item.id])
    # An exercise that nobody has tried is still open.
    assert not (tmp_path / "progress.json").exists()


# --------------------------------------------------------------------------------- making the files


def test_writing_twice_changes_nothing(one) -> None:
    assert exercises.write(one) == (
        "wrote notebooks/exercises/04_attention.ipynb, book/exercises/04_attention.md"
    )
    assert exercises.check(one) == []
    assert exercises.write(one) == "nothing changed"


def edit(one: exercises.Set, change) -> None:
    notebook = nbformat.read(one.notebook_path, as_version=4)
    change(notebook)
    nbformat.write(notebook, one.notebook_path)


def write_an_answer(notebook) -> None:
    cell = next(cell for cell in notebook.cells if "NotImplementedError" in cell.source)
    cell.source = cell.source.replace("raise NotImplementedError", "return 42 #")


def test_a_notebook_with_answers_is_never_overwritten(one) -> None:
    exercises.write(one)
    edit(one, write_an_answer)
    before = one.notebook_path.read_bytes()
    with pytest.raises(Problem, match=r"written into notebooks/exercises/04_attention.ipynb"):
        exercises.write(one)
    assert one.notebook_path.read_bytes() == before
    assert "holds somebody's answers" in exercises.check(one)[0]


def test_an_added_or_deleted_cell_counts_as_work(one) -> None:
    for change in (
        lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("1")),
        lambda notebook: notebook.cells.pop(),
    ):
        one.notebook_path.unlink(missing_ok=True)
        exercises.write(one)
        edit(one, change)
        with pytest.raises(Problem):
            exercises.write(one)


def test_a_notebook_that_was_only_run_is_renewed(one) -> None:
    exercises.write(one)

    def run(notebook) -> None:
        notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]

    edit(one, run)
    assert exercises.check(one) != []
    exercises.write(one)
    assert exercises.check(one) == []


def test_a_damaged_notebook_is_left_alone(one) -> None:
    exercises.write(one)
    one.notebook_path.write_text('{"cells": [')
    with pytest.raises(Problem, match="damaged"):
        exercises.write(one)
    assert one.notebook_path.read_text() == '{"cells": ['


def test_check_names_what_is_missing_or_old(one) -> None:
    found = "\n".join(exercises.check(one))
    assert "04_attention.ipynb is missing" in found and "04_attention.md differs" in found
    exercises.write(one)
    one.page_path.write_text(one.page_path.read_text() + "more")
    assert exercises.check(one) == [
        "book/exercises/04_attention.md differs from its declarations; `make notebooks`"
    ]


def test_check_wants_the_page_included_in_its_chapter(one) -> None:
    exercises.write(one)
    (one.root / "book" / "chapters" / "04_attention.md").write_text("# 04 · Attention\n")
    assert "does not include its exercises" in exercises.check(one)[0]


def test_files_without_declarations_are_named(one) -> None:
    exercises.write(one)
    assert exercises.orphans(one.root) == []
    (one.root / "notebooks" / "exercises" / "99_none.ipynb").write_text("{}")
    assert "there is no aigc_lab/exercises/ch99_none.py" in exercises.orphans(one.root)[0]


def test_with_an_address_the_notebook_can_set_itself_up_in_colab(one) -> None:
    (one.root / "_config.yml").write_text('repository: {url: "https://github.com/a/b"}\n')
    first = exercises.make_notebook(one).cells[0]
    assert "git clone" in first.source and "remove-cell" in first.metadata.tags
    exercises.write(one)
    assert exercises.check(one) == []
