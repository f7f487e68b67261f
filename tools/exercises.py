"""Make the exercises' notebooks and pages from their declarations in ``aigc_lab/exercises``.

    python -m tools.exercises write
    python -m tools.exercises check

``chNN_name.py`` becomes ``notebooks/exercises/NN_name.ipynb``, with stubs and cells that check
them, and ``book/exercises/NN_name.md``, which the chapter's text includes. A notebook in which a
reader has written is never overwritten.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from aigc_lab.exercises import catalog
from aigc_lab.exercises.declaring import Exercise, Question
from aigc_lab.files import write_atomically
from tools.dependencies import PACKAGE, ROOT, Problem, is_setup, sha256
from tools.format_chapters import format_code
from tools.notebooks import complete, dumps, read

Item = Exercise | Question
ENGINE = "from aigc_lab.exercises import check, hint, solution, swap"


@dataclass(frozen=True)
class Set:
    """The exercises of one chapter and the two files made from them."""

    chapter: str  # "attention"
    name: str  # "04_attention"
    root: Path

    @property
    def number(self) -> int:
        """The chapter's number."""
        return int(self.name[:2])

    @property
    def notebook_path(self) -> Path:
        """Where the reader writes."""
        return self.root / "notebooks" / "exercises" / f"{self.name}.ipynb"

    @property
    def page_path(self) -> Path:
        """What the chapter's page includes."""
        return self.root / "book" / "exercises" / f"{self.name}.md"

    def title(self) -> str:
        """The chapter's title, from its text."""
        text = (self.root / "book" / "chapters" / f"{self.name}.md").read_text(encoding="utf-8")
        return re.search(r"^# (.*)$", text, re.MULTILINE)[1]


def sets(root: Path = ROOT) -> list[Set]:
    """Return the chapters that have exercises."""
    found = catalog.chapters().items()
    return [Set(chapter, module.removeprefix("ch"), root) for chapter, module in found]


def label(item: Item) -> str:
    """Return the label under which pages refer to an exercise: ``attention-softmax-backward``."""
    return item.id.replace("/", "-").replace("_", "-")


# --------------------------------------------------------------------------------------- notebook


def make_notebook(chosen: Set) -> NotebookNode:
    """Return the notebook, not run."""
    intro = (
        f"# Exercises: {chosen.title()}\n\n"
        "Most exercises are functions with their code missing. Write the code, run the cell, then "
        "run the cell below it: it tells you whether the function is right and, if not, what it "
        "does wrong. The others are questions to be answered in words: write between the quotes, "
        'run the cell, and compare. `hint("...")` gives one hint at a time, `solution("...")` a '
        f"solution. The chapter is [here](../{chosen.name}.ipynb). In a shell, "
        "`python -m aigc_lab exercises` shows what you have done so far."
    )
    imports = "\n".join([*catalog.imports_of(chosen.chapter), "", ENGINE])
    cells = [_markdown(intro), _code(imports)]
    for number, item in enumerate(catalog.exercises_of(chosen.chapter), start=1):
        head = f"## {chosen.number}.{number} {item.title}\n\n*About {item.minutes} minutes.*"
        cells.append(_markdown(f"{head} {item.statement}"))
        cells += _question_cells(item) if isinstance(item, Question) else _exercise_cells(item)
    notebook = nbformat.v4.new_notebook(cells=cells)
    complete(notebook, {}, chosen.root)
    notebook.metadata[PACKAGE] = {"generated_sha256": content_sha256(notebook)}
    nbformat.validate(notebook)
    return notebook


def _exercise_cells(item: Exercise) -> list[NotebookNode]:
    call = f'check("{item.id}", {item.name})'
    cells = [_code(item.stub), _code(f'{call}\n# hint("{item.id}")')]
    if item.pipeline:
        code = textwrap.dedent(item.pipeline).strip()
        text = "Once it is right, the next cell puts **your** function to work."
        cells += [_markdown(text), _code(f"if {call}:\n{textwrap.indent(code, '    ')}")]
    return cells


def _question_cells(item: Question) -> list[NotebookNode]:
    return [_code(f'my_answer = """\n\n"""\ncheck("{item.id}", my_answer)')]


def _markdown(text: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text.strip())


def _code(text: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(_formatted(text))


def _formatted(code: str) -> str:
    """Format code for a box on the page, which is narrower than a cell."""
    return format_code(code, "notebooks/exercises").strip()


def content_sha256(notebook: NotebookNode) -> str:
    """Return the digest of what stands in the cells, whatever came of running them."""
    cells = [cell for cell in notebook.cells if not is_setup(cell)]
    return sha256(*(part for cell in cells for part in (cell.cell_type, cell.source)))


def holds_work(notebook: NotebookNode) -> bool:
    """Say whether somebody wrote into a notebook since it was made."""
    return content_sha256(notebook) != notebook.metadata.get(PACKAGE, {}).get("generated_sha256")


# ------------------------------------------------------------------------------------------- page


def make_page(chosen: Set) -> str:
    """Return the markdown that the chapter's page includes."""
    parts = [
        f"% Made from aigc_lab/exercises/ch{chosen.name}.py by `make notebooks`: edit that file.",
        "To have your answers checked, write them in the notebook "
        f"{{download}}`exercises/{chosen.name}.ipynb <exercises/{chosen.name}.ipynb>`: it says "
        "what differs, recognises common mistakes, and gives one hint at a time. In a shell, "
        "`python -m aigc_lab exercises` lists what you have done.",
    ]
    for item in catalog.exercises_of(chosen.chapter):
        parts.append(_question_on_page(item) if isinstance(item, Question) else _on_page(item))
    return "\n\n".join(parts) + "\n"


def _on_page(item: Exercise) -> str:
    body = [
        f"{_head(item)}{item.statement}",
        f"```python\n{_formatted(item.stub)}\n```",
    ]
    for number, text in enumerate(item.hints, start=1):
        body.append(f"````{{dropdown}} Hint {number}\n{text}\n````")
    solution = f"```python\n{_formatted(item.source)}\n```"
    if item.pipeline:
        solution += "\n\nThe notebook goes on and puts your function to work."
    return _exercise(item, "\n\n".join(body), solution)


def _question_on_page(item: Question) -> str:
    answer = item.answer
    if not item.has_one_answer:
        answer = f"There is no single right answer. This is ours.\n\n{answer}"
    return _exercise(item, f"{_head(item)}{item.statement}", answer)


def _head(item: Item) -> str:
    words = ", in words" if isinstance(item, Question) else ""
    return f"`{item.id}`, *about {item.minutes} minutes{words}*\n\n"


def _exercise(item: Item, body: str, solution: str) -> str:
    return (
        f"``````{{exercise}} {item.title}\n:label: {label(item)}\n\n{body}\n``````\n\n"
        f"``````{{solution}} {label(item)}\n:class: dropdown\n\n{solution}\n``````"
    )


# ------------------------------------------------------------------------------------------- main


def write(chosen: Set) -> str:
    """Bring both files up to date and say what was done."""
    fresh, old = make_notebook(chosen), read(chosen.notebook_path)
    if old is None and chosen.notebook_path.exists():
        raise Problem(f"{_where(chosen)} is damaged; mend it or delete it")
    if old is not None and holds_work(old) and content_sha256(old) != content_sha256(fresh):
        raise Problem(
            f"somebody has written into {_where(chosen)}; it was left as it is. Keep it under "
            "another name outside the folder, delete it here, then run this again"
        )
    done = [
        path.relative_to(chosen.root).as_posix()
        for path, text in (
            (chosen.notebook_path, dumps(fresh)),
            (chosen.page_path, make_page(chosen)),
        )
        if _write_if_other(path, text)
    ]
    return f"wrote {', '.join(done)}" if done else "nothing changed"


def _where(chosen: Set) -> str:
    return chosen.notebook_path.relative_to(chosen.root).as_posix()


def _write_if_other(path: Path, text: str) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, text.encode("utf-8"))
    return True


def check(chosen: Set) -> list[str]:
    """Say what is out of step with the declarations."""
    found = []
    old, name = read(chosen.notebook_path), _where(chosen)
    if old is None:
        found.append(f"{name} is missing; run `make notebooks`")
    elif holds_work(old):
        found.append(
            f"{name} holds somebody's answers. Keep them under another name, then restore it: "
            f"git checkout -- {name}"
        )
    elif dumps(old) != dumps(make_notebook(chosen)):
        found.append(f"{name} differs from its declarations; run `make notebooks`")
    page = chosen.page_path
    if not page.exists() or page.read_text(encoding="utf-8") != make_page(chosen):
        found.append(f"book/exercises/{page.name} differs from its declarations; `make notebooks`")
    text = chosen.root / "book" / "chapters" / f"{chosen.name}.md"
    include = f"```{{include}} ../book/exercises/{chosen.name}.md\n```"
    if include not in text.read_text(encoding="utf-8"):
        found.append(f"book/chapters/{chosen.name}.md does not include its exercises:\n{include}")
    return found


def orphans(root: Path = ROOT) -> list[str]:
    """Say which files belong to no declarations."""
    names = {chosen.name for chosen in sets(root)}
    files = [*root.glob("notebooks/exercises/*.ipynb"), *root.glob("book/exercises/*.md")]
    return [
        f"{path.relative_to(root).as_posix()}: there is no aigc_lab/exercises/ch{path.stem}.py; "
        "delete or rename it"
        for path in sorted(files)
        if path.stem not in names
    ]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write or check all files; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the exercises' notebooks and pages.")
    parser.add_argument("command", choices=["write", "check"])
    command = parser.parse_args(arguments).command
    problems = []
    for chosen in sets(root):
        try:
            if command == "check":
                problems += check(chosen)
            else:
                print(f"exercises of {chosen.name}: {write(chosen)}", flush=True)
        except Problem as problem:
            problems.append(str(problem))
    problems += orphans(root)
    for problem_text in problems:
        print(problem_text, file=sys.stderr)
    if command == "check" and not problems:
        print(f"the exercises of {len(sets(root))} chapters agree with their declarations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
