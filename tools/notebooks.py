"""Make the notebooks from the chapters' text: regenerate, run if needed, check.

``notebooks/NN_name.ipynb`` comes from ``book/chapters/NN_name.md``::

    python -m tools.notebooks run [--only 04] [--force]
    python -m tools.notebooks check

A notebook is run again when its code cells changed, or the code or files that they depend on: every
module of ``aigc_lab`` that they import, directly or through other modules, and the files that the
chapter's front matter names in ``aigc_lab_reads`` (a list of globs relative to the root of the
repository). When only prose changed, the outputs are kept. Three hashes in the notebook's metadata,
under ``aigc_lab``, say what it was made from.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from aigc_lab.files import write_atomically
from tools.dependencies import (
    PACKAGE,
    ROOT,
    SETUP_TAG,
    Problem,
    cells_sha256,
    code_cells,
    code_sha256,
    is_setup,
    sha256,
)

TIMEOUT = 600  # seconds for one chapter's slowest cell
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}


@dataclass(frozen=True)
class Chapter:
    """One chapter: its text, and the notebook made from it."""

    name: str
    text_path: Path
    notebook_path: Path

    @property
    def number(self) -> str:
        """The digits at the front of the name, as given on the command line."""
        return self.name.split("_")[0]


# ----------------------------------------------------------------------------------------- chapters


def chapters(root: Path = ROOT) -> list[Chapter]:
    """Return the chapters that have code: those whose text starts with a jupytext header."""
    found = []
    for path in sorted((root / "book" / "chapters").glob("[0-9][0-9]_*.md")):
        if "jupytext" in front_matter(path.read_text(encoding="utf-8")):
            found.append(Chapter(path.stem, path, root / "notebooks" / f"{path.stem}.ipynb"))
    return found


def select(found: list[Chapter], only: str | None) -> list[Chapter]:
    """Return the chapters that ``only`` names by number or by the beginning of their name."""
    if not only:
        return found
    wanted = Path(only).stem
    wanted = wanted.zfill(2) if wanted.isdigit() else wanted
    chosen = [c for c in found if c.number == wanted or c.name.startswith(wanted)]
    if not chosen:
        names = "\n".join(f"  {c.name}" for c in found) or "  (none)"
        raise Problem(f"No chapter with code is called NB={only}. The chapters are:\n{names}")
    return chosen


def front_matter(text: str) -> dict[str, Any]:
    """Return the YAML block at the top of a page, empty if there is none."""
    match = re.match(r"---\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    data = yaml.safe_load(match.group(1)) if match else None
    return data if isinstance(data, dict) else {}


def repository(root: Path = ROOT) -> tuple[str, str]:
    """Return address (perhaps empty) and branch of the repository from ``_config.yml``."""
    path = root / "_config.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    entry = config.get("repository") or {}
    return (entry.get("url") or "").strip().rstrip("/"), (entry.get("branch") or "main").strip()


# --------------------------------------------------------------------------------- text to notebook


def setup_cell(address: str, branch: str) -> NotebookNode:
    """Return the hidden first cell, which in Colab fetches and installs the package."""
    folder = address.rsplit("/", 1)[-1].removesuffix(".git")
    source = "\n".join(
        [
            "# In Google Colab: fetch the book's repository and install its package.",
            "import importlib.util",
            "",
            'if importlib.util.find_spec("google") and importlib.util.find_spec("google.colab"):',
            "    import os",
            "",
            f'    if not os.path.isdir("/content/{folder}"):',
            f'        get_ipython().system("git clone --depth 1 --branch {branch} {address}'
            f' /content/{folder}")',
            f'    get_ipython().system("pip install --quiet -e /content/{folder}")',
            "    import site",
            "",
            f'    site.addsitedir("/content/{folder}")  # this session started before the install',
            f'    os.chdir("/content/{folder}/notebooks")',
        ]
    )
    metadata = {"tags": [SETUP_TAG, "remove-cell"]}
    return nbformat.v4.new_code_cell(source, metadata=metadata, id=SETUP_TAG)


def from_text(text: str, root: Path = ROOT) -> NotebookNode:
    """Return the notebook, without outputs, that a chapter's text stands for."""
    notebook = jupytext.reads(text, fmt="md:myst")
    notebook.cells = [cell for cell in notebook.cells if not is_setup(cell)]
    reads = {
        key: notebook.metadata[key]
        for key in ("aigc_lab_reads", "mystnb")
        if key in notebook.metadata
    }
    complete(notebook, reads, root)
    return notebook


def complete(notebook: NotebookNode, metadata: dict[str, Any], root: Path = ROOT) -> None:
    """Give a notebook, in place, what all have: set-up cell, metadata, normal form."""
    address, branch = repository(root)
    if address:
        notebook.cells.insert(0, setup_cell(address, branch))
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNELSPEC, "language_info": LANGUAGE_INFO, **metadata}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    normalise(notebook)


def normalise(notebook: NotebookNode) -> None:
    """Take out, in place, what differs between runs that gave the same results.

    Cell ids follow from the content, so that inserting a cell leaves the others' ids alone.
    """
    used: dict[str, int] = {}
    for cell in notebook.cells:
        if not is_setup(cell):
            stem = sha256(cell.cell_type, cell.source)[:12]
            used[stem] = used.get(stem, 0) + 1
            cell["id"] = stem if used[stem] == 1 else f"{stem}-{used[stem]}"
        for key in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell["outputs"] = merged(cell.get("outputs", []))
            cell.setdefault("execution_count", None)


def merged(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream: where the kernel cuts them is a matter of timing."""
    result: list[NotebookNode] = []
    for output in outputs:
        output.pop("transient", None)
        if (
            result
            and output.output_type == result[-1].output_type == "stream"
            and output.name == result[-1].name
        ):
            result[-1]["text"] += output.text
        else:
            result.append(output)
    return result


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    """Return a copy as ``from_text`` would give it: for comparing a notebook with its text."""
    bare = copy.deepcopy(notebook)
    bare.metadata.pop(PACKAGE, None)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return bare


def dumps(notebook: NotebookNode) -> str:
    """Return the notebook as JSON with sorted keys and a line of text per line, for small diffs."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode | None:
    """Return a notebook, or None if it is missing or no longer readable."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.validator.NotebookValidationError):
        return None


# ------------------------------------------------------------------------------------ run and check


def reason_to_run(fresh: NotebookNode, old: NotebookNode | None, root: Path = ROOT) -> str | None:
    """Say why a notebook must be run (again), or None if the outputs of ``old`` still hold."""
    if old is None:
        return "there is no notebook yet"
    stored = old.metadata.get(PACKAGE, {})
    cells = cells_sha256(fresh)
    if cells != stored.get("cells_sha256") or cells != cells_sha256(old):
        return "the code cells in the chapter's text changed"
    if code_sha256(fresh, root) != stored.get("code_sha256"):
        return "the aigc_lab code or a file that the chapter uses changed"
    if any(cell.execution_count is None for cell in code_cells(old)):
        return "some cells were never run"
    return None


def take_outputs(fresh: NotebookNode, old: NotebookNode) -> None:
    """Give the fresh notebook, in place, the outputs of the old one with the same code cells."""
    for new_cell, old_cell in zip(code_cells(fresh), code_cells(old), strict=True):
        new_cell["outputs"] = old_cell.outputs
        new_cell["execution_count"] = old_cell.execution_count


def execute(notebook: NotebookNode, folder: Path, name: str) -> None:
    """Run all cells in place; a Problem names the chapter, the cell and the error."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    current: list[int] = []
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        # The kernel would warn about its local socket at every start; errors are still shown.
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=lambda cell, cell_index: current.append(cell_index),
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        where = f"{name}: cell {current[-1] + 1 if current else '?'}"
        source = notebook.cells[current[-1]].source if current else ""
        what = (
            f"{error.ename}: {error.evalue}"
            if isinstance(error, CellExecutionError)
            else str(error)
        )
        quoted = "\n".join(f"    {line}" for line in source.splitlines())
        raise Problem(
            f"{where} failed:\n{quoted}\n  {what}\nThe old notebook was left as it was."
        ) from error
    # A run counts from 1, however the kernel was used before, and the set-up cell does not count.
    for count, cell in enumerate(code_cells(notebook), start=1):
        cell["execution_count"] = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output["execution_count"] = count
    for cell in notebook.cells:
        if is_setup(cell):
            cell["outputs"], cell["execution_count"] = [], None


def stamp(notebook: NotebookNode, text: str, root: Path = ROOT) -> None:
    """Write into the metadata what the notebook was made from."""
    notebook.metadata[PACKAGE] = {
        "text_sha256": sha256(text),
        "cells_sha256": cells_sha256(notebook),
        "code_sha256": code_sha256(notebook, root),
    }


def make(chapter: Chapter, force: bool = False, root: Path = ROOT) -> str:
    """Bring one notebook up to date and say what was done."""
    text = chapter.text_path.read_text(encoding="utf-8")
    old = read(chapter.notebook_path)
    try:
        fresh = from_text(text, root)
        reason = "asked to" if force else reason_to_run(fresh, old, root)
        if reason is None:
            take_outputs(fresh, old)
            done = "outputs kept"
        else:
            print(f"{chapter.name}: running, as {reason} ...", flush=True)
            started = time.perf_counter()
            # Taken before the run: code edited during it must count as changed afterwards.
            stamp(fresh, text, root)
            stamped = fresh.metadata[PACKAGE]
            execute(fresh, chapter.notebook_path.parent, chapter.name)
            fresh.metadata = nbformat.from_dict(
                {**from_text(text, root).metadata, PACKAGE: stamped}
            )
            done = f"ran in {time.perf_counter() - started:.0f} s"
    except Problem as problem:
        message = str(problem)
        raise Problem(
            message if message.startswith(chapter.name) else f"{chapter.name}: {message}"
        ) from problem
    normalise(fresh)
    if reason is None:
        stamp(fresh, text, root)
    nbformat.validate(fresh)
    result = dumps(fresh)
    if chapter.notebook_path.exists() and chapter.notebook_path.read_text("utf-8") == result:
        return f"{done}, nothing changed"
    write_atomically(chapter.notebook_path, result.encode("utf-8"))
    return done


def check(chapter: Chapter, root: Path = ROOT) -> str | None:
    """Say what is out of step between text, code and notebook; None if all is well."""
    text = chapter.text_path.read_text(encoding="utf-8")
    mend = f"run `make notebooks NB={chapter.number}`"
    try:
        fresh = from_text(text, root)
        old = read(chapter.notebook_path)
        reason = reason_to_run(fresh, old, root)
    except Problem as problem:
        return f"{chapter.name}: {problem}"
    if reason:
        return f"{chapter.name}: {reason}; {mend}"
    assert old is not None
    if dumps(fresh) != dumps(without_outputs(old)):
        return f"{chapter.name}: the notebook differs from its text (no code changed); {mend}"
    if old.metadata[PACKAGE].get("text_sha256") != sha256(text):
        return f"{chapter.name}: the text changed (no code changed); {mend}"
    return None


def orphans(root: Path = ROOT) -> list[str]:
    """Say which notebooks have no text."""
    names = {chapter.name for chapter in chapters(root)}
    return [
        f"{path.stem}: notebooks/{path.name} has no text in book/chapters/; delete or rename it"
        for path in sorted((root / "notebooks").glob("*.ipynb"))
        if path.stem not in names
    ]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run or check the chapters named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the notebooks from the chapters' text.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="regenerate, and run what changed")
    run.add_argument("--force", action="store_true", help="run even what did not change")
    run.add_argument("--only", help="number or beginning of the name of a chapter")
    commands.add_parser("check", help="only say what is out of step")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            for chapter in select(chapters(root), options.only):
                print(f"{chapter.name}: {make(chapter, options.force, root)}", flush=True)
            return 0
        problems = [found for chapter in chapters(root) if (found := check(chapter, root))]
        problems += orphans(root)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    for problem_text in problems:
        print(problem_text, file=sys.stderr)
    if not problems:
        print(f"{len(chapters(root))} notebooks agree with their text and code")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
