"""The committed notebooks: made from their text, run from top to bottom, fit to publish."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = notebooks.chapters(ROOT)
LIMIT = 1_500_000  # bytes
# Paths of somebody's machine, and addresses of objects: neither belongs in print.
PRIVATE = re.compile(r"(?:/home/|/root/|/Users/|/tmp/|[A-Z]:\\Users\\)[^\s'\"]+|\b0x[0-9a-f]{8,}\b")

every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


def notebook(chapter: notebooks.Chapter):
    """The committed notebook."""
    found = notebooks.read(chapter.notebook_path)
    assert found is not None, f"missing: run `make notebooks NB={chapter.number}`"
    return found


def outputs(chapter: notebooks.Chapter):
    """Each output with the number of its cell among the code cells."""
    for number, cell in enumerate(notebooks.code_cells(notebook(chapter)), start=1):
        for output in cell.outputs:
            yield number, cell, output


def texts_of(output) -> list[str]:
    """The text in an output, pictures left out."""
    if output.output_type == "stream":
        return [output.text]
    data = output.get("data", {})
    return [value for kind, value in data.items() if not kind.startswith("image/")]


def test_there_are_chapters_and_no_stray_notebooks() -> None:
    assert CHAPTERS
    assert notebooks.orphans(ROOT) == []


@every_chapter
def test_notebook_agrees_with_its_text_and_code(chapter) -> None:
    assert notebooks.check(chapter, ROOT) is None


@every_chapter
def test_every_cell_was_run_in_order(chapter) -> None:
    counts = [cell.execution_count for cell in notebooks.code_cells(notebook(chapter))]
    assert counts == list(range(1, len(counts) + 1))


@every_chapter
def test_no_cell_failed_or_warned(chapter) -> None:
    wrong = [
        (number, output.get("ename") or output.get("text"))
        for number, cell, output in outputs(chapter)
        if (
            output.output_type == "error"
            and "raises-exception" not in cell.metadata.get("tags", [])
        )
        or (output.output_type == "stream" and output.name == "stderr")
    ]
    assert wrong == []


@every_chapter
def test_every_picture_has_alternative_text(chapter) -> None:
    without = []
    for number, cell, output in outputs(chapter):
        pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if pictures and not str(alt).strip():
            without.append(f"code cell {number}: add mystnb: {{image: {{alt: ...}}}}")
    assert without == []


@every_chapter
def test_outputs_name_no_machine(chapter) -> None:
    user = getpass.getuser()
    # Short or common names ("root", "runner") are also words.
    names = rf"|\b{re.escape(user)}\b" if len(user) > 4 and user not in {"runner", "admin"} else ""
    pattern = re.compile(f"{PRIVATE.pattern}|{re.escape(str(ROOT))}{names}")
    found = [
        (number, match.group())
        for number, _, output in outputs(chapter)
        for text in texts_of(output)
        if (match := pattern.search(str(text)))
    ]
    assert found == []


@every_chapter
def test_notebook_is_small_enough_to_review(chapter) -> None:
    assert chapter.notebook_path.stat().st_size < LIMIT


@every_chapter
def test_notebook_is_written_in_the_normal_form(chapter) -> None:
    made = notebook(chapter)
    text = notebooks.dumps(made)
    assert chapter.notebook_path.read_text(encoding="utf-8") == text
    notebooks.normalise(made)
    assert notebooks.dumps(made) == text
    assert set(made.metadata) <= {
        "aigc_lab",
        "aigc_lab_reads",
        "kernelspec",
        "language_info",
        "mystnb",
    }
