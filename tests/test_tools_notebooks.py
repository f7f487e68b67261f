"""tools/notebooks.py: what makes a notebook stale, and that a failure harms nothing."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

from tools import dependencies, notebooks

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
{more}---
"""


def chapter_text(*cells: str, prose: str = "Some prose.", more: str = "") -> str:
    parts = [HEADER.format(more=more), "# 02 · Toy\n", prose + "\n"]
    for cell in cells:
        parts += ["```{code-cell} ipython3", cell, "```\n", "More prose.\n"]
    return "\n".join(parts)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A small repository: data.a uses data.b, and one chapter imports data.a."""
    files = {
        "_config.yml": 'repository: {url: ""}\n',
        "aigc_lab/__init__.py": "",
        "aigc_lab/data/__init__.py": "",
        "aigc_lab/data/a.py": "def f():\n    from .b import g\n    return g()\n",
        "aigc_lab/data/b.py": "import aigc_lab.deep.c\ndef g():\n    return 1\n",
        "aigc_lab/data/unrelated.py": "x = 1\n",
        "aigc_lab/deep/__init__.py": "",
        "aigc_lab/deep/c.py": "from .. import settings\n",
        "aigc_lab/settings.py": "y = 1\n",
        "data/one.txt": "1\n",
        "data/two.csv": "2\n",
        "book/chapters/02_toy.md": chapter_text("from aigc_lab.data.a import f", "1 + 1"),
        "book/chapters/01_prose.md": "# 01 · Prose\n\nNo code.\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace running by an instant fake that gives every cell an output; lists what was run."""
    names: list[str] = []

    def execute(notebook, folder: Path, name: str) -> None:
        names.append(name)
        for count, cell in enumerate(notebooks.code_cells(notebook), start=1):
            cell["execution_count"] = count
            cell["outputs"] = [
                nbformat.v4.new_output("stream", name="stdout", text=f"run {count}\n")
            ]

    monkeypatch.setattr(notebooks, "execute", execute)
    return names


def toy(book: Path) -> notebooks.Chapter:
    (chapter,) = notebooks.chapters(book)
    return chapter


def code_hash(book: Path, *cells: str, more: str = "") -> str:
    return notebooks.code_sha256(notebooks.from_text(chapter_text(*cells, more=more), book), book)


def modules(book: Path, *cells: str) -> set[str]:
    found = dependencies.modules_of(notebooks.from_text(chapter_text(*cells), book), book)
    return {path.relative_to(book / "aigc_lab").as_posix() for path in found}


# ------------------------------------------------------------------------------------- dependencies


def test_imports_are_followed_through_modules_packages_and_functions(book: Path) -> None:
    assert modules(book, "from aigc_lab.data.a import f") == {
        "__init__.py",
        "data/__init__.py",
        "data/a.py",
        "data/b.py",
        "deep/__init__.py",
        "deep/c.py",
        "settings.py",
    }


@pytest.mark.parametrize(
    "cell",
    [
        "import aigc_lab.data.unrelated",
        "import aigc_lab.data.unrelated as u",
        "from aigc_lab.data import unrelated",
        "from aigc_lab.data.unrelated import x",
        "from aigc_lab.data.unrelated import *",
        "def late():\n    from aigc_lab.data import unrelated",
        "%matplotlib inline\nimport aigc_lab.data.unrelated",
        "%%time\nimport aigc_lab.data.unrelated",
        "files = !ls\nimport aigc_lab.data.unrelated",
    ],
)
def test_every_form_of_import_is_seen(book: Path, cell: str) -> None:
    assert modules(book, cell) == {"__init__.py", "data/__init__.py", "data/unrelated.py"}


def test_other_packages_and_other_languages_count_for_nothing(book: Path) -> None:
    cells = ("import numpy, aigc_laboratory", "%%bash\nimport aigc_lab.data.a", "import os.path")
    assert modules(book, *cells) == set()


@pytest.mark.parametrize(
    "name", ["data/a.py", "data/b.py", "deep/c.py", "settings.py", "__init__.py"]
)
def test_changing_a_module_that_is_reached_changes_the_hash(book: Path, name: str) -> None:
    before = code_hash(book, "from aigc_lab.data.a import f")
    path = book / "aigc_lab" / name
    path.write_text(path.read_text() + "# changed\n")
    assert code_hash(book, "from aigc_lab.data.a import f") != before


def test_changing_an_unrelated_module_does_not_change_the_hash(book: Path) -> None:
    before = code_hash(book, "from aigc_lab.data.a import f")
    (book / "aigc_lab/data/unrelated.py").write_text("x = 2\n")
    assert code_hash(book, "from aigc_lab.data.a import f") == before


def test_files_that_a_chapter_reads_count(book: Path) -> None:
    more = "aigc_lab_reads:\n- data/*.txt\n"
    before = code_hash(book, "1", more=more)
    assert before != code_hash(book, "1")
    (book / "data/two.csv").write_text("changed\n")
    assert code_hash(book, "1", more=more) == before
    (book / "data/one.txt").write_text("changed\n")
    changed = code_hash(book, "1", more=more)
    assert changed != before
    (book / "data/three.txt").write_text("new\n")
    assert code_hash(book, "1", more=more) != changed


def test_a_glob_without_a_match_is_an_error(book: Path) -> None:
    with pytest.raises(notebooks.Problem, match=r"nothing/\*"):
        code_hash(book, "1", more="aigc_lab_reads: ['nothing/*']\n")


def test_a_cell_that_is_no_python_is_an_error_that_names_it(book: Path) -> None:
    with pytest.raises(notebooks.Problem, match="code cell 2"):
        modules(book, "x = 1", "x = = 1")


# --------------------------------------------------------------------------------- making notebooks


def test_first_time_runs_and_second_time_changes_nothing(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    before = toy(book).notebook_path.read_bytes()
    assert "nothing changed" in notebooks.make(toy(book), root=book)
    assert toy(book).notebook_path.read_bytes() == before
    assert runs == ["02_toy"]
    assert notebooks.check(toy(book), book) is None


def test_prose_alone_keeps_the_outputs(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    text = chapter_text("from aigc_lab.data.a import f", "1 + 1", prose="Other prose.")
    toy(book).text_path.write_text(text, encoding="utf-8")
    assert "text changed" in notebooks.check(toy(book), book) or "differs" in notebooks.check(
        toy(book), book
    )
    notebooks.make(toy(book), root=book)
    assert runs == ["02_toy"]
    made = notebooks.read(toy(book).notebook_path)
    assert "Other prose." in made.cells[0].source
    assert made.cells[1].outputs[0].text == "run 1\n"
    assert notebooks.check(toy(book), book) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("book/chapters/02_toy.md", "1 + 1", "1 + 2"), "code cells in the chapter's text changed"),
        (("aigc_lab/settings.py", "y = 1", "y = 2"), "aigc_lab code or a file"),
    ],
    ids=["text", "code"],
)
def test_changed_code_is_noticed_and_run_again(book, runs, change, message) -> None:
    notebooks.make(toy(book), root=book)
    path = book / change[0]
    path.write_text(path.read_text("utf-8").replace(change[1], change[2]), "utf-8")
    found = notebooks.check(toy(book), book)
    assert message in found
    assert "make notebooks NB=02" in found
    notebooks.make(toy(book), root=book)
    assert runs == ["02_toy", "02_toy"]
    assert notebooks.check(toy(book), book) is None


def test_force_runs_although_nothing_changed(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    notebooks.make(toy(book), force=True, root=book)
    assert runs == ["02_toy", "02_toy"]


def test_a_cell_edited_in_the_notebook_only_is_noticed(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    path = toy(book).notebook_path
    path.write_text(path.read_text("utf-8").replace("1 + 1", "1 + 3"), "utf-8")
    assert "make notebooks NB=02" in notebooks.check(toy(book), book)
    notebooks.make(toy(book), root=book)
    assert runs == ["02_toy", "02_toy"], "outputs of edited cells are not to be trusted"


def test_prose_edited_in_the_notebook_only_is_noticed(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    path = toy(book).notebook_path
    path.write_text(path.read_text("utf-8").replace("Some prose.", "My prose."), "utf-8")
    assert "differs from its text" in notebooks.check(toy(book), book)


def test_notebook_without_text_is_noticed(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    toy(book).notebook_path.rename(book / "notebooks/07_lost.ipynb")
    assert "07_lost" in "\n".join(notebooks.orphans(book))
    assert "no notebook yet" in notebooks.check(toy(book), book)


def test_text_and_notebook_say_the_same_after_a_round_trip(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    made = notebooks.read(toy(book).notebook_path)
    again = notebooks.from_text(jupytext.writes(made, fmt="md:myst"), book)
    assert [cell.source for cell in again.cells] == [cell.source for cell in made.cells]
    assert [cell.id for cell in again.cells] == [cell.id for cell in made.cells]


def test_ids_follow_the_content(book: Path) -> None:
    def ids(*cells: str) -> list[str]:
        return [c.id for c in notebooks.code_cells(notebooks.from_text(chapter_text(*cells), book))]

    first, second = ids("a = 1", "b = 2")
    assert ids("a = 1", "new = 0", "b = 2")[::2] == [first, second]
    assert len(set(ids("a = 1", "a = 1", "a = 1"))) == 3


def test_streams_that_the_kernel_cut_are_joined() -> None:
    pieces = [
        nbformat.v4.new_output("stream", name=name, text=text)
        for name, text in [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]
    ]
    joined = notebooks.merged(pieces)
    assert [(o.name, o.text) for o in joined] == [
        ("stdout", "ab\n"),
        ("stderr", "c"),
        ("stdout", "d"),
    ]


# ----------------------------------------------------------------------------------- really running


def test_running_fills_outputs_and_a_failing_cell_leaves_the_old_notebook(book, capsys) -> None:
    text = chapter_text("print('hello')", "6 * 7")
    toy(book).text_path.write_text(text, encoding="utf-8")
    assert notebooks.main(["run"], root=book) == 0
    made = notebooks.read(toy(book).notebook_path)
    first, second = notebooks.code_cells(made)
    assert first.outputs[0].text == "hello\n"
    assert second.outputs[0].data["text/plain"] == "42"
    assert [first.execution_count, second.execution_count] == [1, 2]
    assert "execution" not in first.metadata
    assert notebooks.main(["check"], root=book) == 0

    before = toy(book).notebook_path.read_bytes()
    toy(book).text_path.write_text(chapter_text("x = 0", "1 / x  # here"), encoding="utf-8")
    capsys.readouterr()
    assert notebooks.main(["run", "--only", "2"], root=book) == 1
    message = capsys.readouterr().err
    assert "02_toy: cell 4" in message
    assert "1 / x  # here" in message
    assert "ZeroDivisionError: division by zero" in message
    assert toy(book).notebook_path.read_bytes() == before
    assert list((book / "notebooks").iterdir()) == [toy(book).notebook_path]
    assert notebooks.main(["check"], root=book) == 1


# ------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize(
    "wanted", ["2", "02", "02_", "02_toy", "02_toy.ipynb", "notebooks/02_toy.ipynb"]
)
def test_a_chapter_is_found_by_number_or_name(book: Path, wanted: str) -> None:
    assert notebooks.select(notebooks.chapters(book), wanted) == [toy(book)]


def test_an_unknown_chapter_is_refused_with_a_list(book: Path, capsys) -> None:
    assert notebooks.main(["run", "--only", "17"], root=book) == 1
    message = capsys.readouterr().err
    assert "NB=17" in message
    assert "02_toy" in message


def test_pages_without_code_are_no_chapters_here(book: Path) -> None:
    assert [chapter.name for chapter in notebooks.chapters(book)] == ["02_toy"]


# -------------------------------------------------------------------------------------------- Colab


def give_address(book: Path, url: str = "https://github.com/someone/some-book") -> None:
    (book / "_config.yml").write_text(
        yaml.safe_dump({"repository": {"url": url, "branch": "main"}})
    )


def test_without_an_address_there_is_no_set_up_cell(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    assert "colab" not in toy(book).notebook_path.read_text("utf-8")


def test_with_an_address_the_first_cell_sets_up_colab(book, runs) -> None:
    notebooks.make(toy(book), root=book)
    give_address(book)
    assert "differs" in notebooks.check(toy(book), book)
    notebooks.make(toy(book), root=book)
    assert runs == ["02_toy"], "a new address is no reason to run"
    assert notebooks.check(toy(book), book) is None
    first = notebooks.read(toy(book).notebook_path).cells[0]
    assert first.metadata.tags == ["colab-setup", "remove-cell"]
    assert "git clone" in first.source
    assert "https://github.com/someone/some-book" in first.source


def test_the_set_up_cell_does_nothing_elsewhere(book: Path) -> None:
    source = notebooks.setup_cell("https://github.com/someone/some-book", "main").source
    names: dict[str, object] = {}
    exec(
        compile(source, "cell", "exec"), names
    )  # get_ipython is not defined: calling it would fail
    assert "os" not in names


def test_the_set_up_cell_never_reaches_the_text(book, runs) -> None:
    give_address(book)
    notebooks.make(toy(book), root=book)
    made = notebooks.read(toy(book).notebook_path)
    # What saving in Jupyter Lab writes holds the cell; reading the text drops it, so there is one
    # only.
    text = jupytext.writes(made, fmt="md:myst")
    again = notebooks.from_text(text, book)
    assert sum(notebooks.is_setup(cell) for cell in again.cells) == 1
