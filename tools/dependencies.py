"""What a notebook depends on: its code cells, the modules they import, the files they read."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aigc_lab"
SETUP_TAG = "colab-setup"
# Tags that change what running a cell does; all other metadata is for show.
RUN_TAGS = {"raises-exception", "skip-execution"}


class Problem(Exception):
    """Something an author can mend; the message says what and how."""


def sha256(*parts: str | bytes) -> str:
    """Return one digest of several parts, whose borders count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(str(len(data)).encode() + b":" + data)
    return digest.hexdigest()


def cells_sha256(notebook: NotebookNode) -> str:
    """Return the digest of what is run: the code cells in order, and tags that matter to it."""
    parts = []
    for cell in code_cells(notebook):
        tags = sorted(RUN_TAGS.intersection(cell.metadata.get("tags", [])))
        parts += [cell.source, " ".join(tags)]
    return sha256(*parts)


def code_sha256(notebook: NotebookNode, root: Path = ROOT) -> str:
    """Return the digest of the modules and files that a notebook depends on, with paths."""
    paths = set(modules_of(notebook, root)) | set(files_read(notebook, root))
    parts: list[str | bytes] = []
    for path in sorted(paths):
        parts += [path.relative_to(root).as_posix(), path.read_bytes()]
    return sha256(*parts)


def files_read(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """Return the files that ``aigc_lab_reads`` names; a pattern without a match is a Problem."""
    found = []
    for pattern in notebook.metadata.get("aigc_lab_reads", []):
        matches = [path for path in root.glob(pattern) if path.is_file()]
        if not matches:
            raise Problem(f"aigc_lab_reads: {pattern!r} matches no file")
        found += [path for path in matches if "__pycache__" not in path.parts]
    return found


def modules_of(notebook: NotebookNode, root: Path = ROOT) -> list[Path]:
    """Return the sources of every ``aigc_lab`` module that the cells import, however indirectly."""
    pending: list[str] = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        try:
            tree = ast.parse(plain_python(cell.source))
        except SyntaxError as error:
            raise Problem(f"code cell {number} is not valid Python: {error}") from error
        pending += imported_names(tree, package="")
    seen: dict[str, Path] = {}
    while pending:
        name = pending.pop()
        # Importing a.b.c runs a, a.b and a.b.c.
        for depth in range(1, name.count(".") + 2):
            module = ".".join(name.split(".")[:depth])
            path = module_file(module, root)
            if path is None:
                break
            if module not in seen:
                seen[module] = path
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                tree = ast.parse(path.read_bytes(), filename=str(path))
                pending += imported_names(tree, package)
    return sorted(seen.values())


def imported_names(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names below ``aigc_lab`` that a module imports anywhere, also inside functions.

    ``from a.b import c`` yields ``a.b.c``: c may be a submodule; if not, a.b is found on the way.
    """
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if alias.name != "*" else base for alias in node.names]
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def module_file(module: str, root: Path = ROOT) -> Path | None:
    """Return the source file of a dotted name below the root, None where it is no module."""
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def plain_python(source: str) -> str:
    """Return a cell's source with IPython's magics turned into calls, so that it can be parsed."""
    first, _, rest = source.partition("\n")
    if first.startswith("%%"):
        # %%time and its like run the rest as Python; %%bash and %%html do not.
        python_magics = ("%%time", "%%timeit", "%%capture", "%%prun")
        return plain_python(rest) if first.split()[0] in python_magics else ""
    return TransformerManager().transform_cell(source)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the chapter's own code cells, without the set-up cell for Colab."""
    return [c for c in notebook.cells if c.cell_type == "code" and not is_setup(c)]


def is_setup(cell: NotebookNode) -> bool:
    """Say whether a cell is the set-up cell for Colab."""
    return SETUP_TAG in cell.metadata.get("tags", [])
