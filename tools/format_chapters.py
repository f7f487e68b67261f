"""Format the code cells of the chapters' text with ruff, as `ruff format` does for notebooks.

    python -m tools.format_chapters            # book/chapters/*.md in place

The notebooks are made from these texts, so formatting a notebook would be undone by the next
`make notebooks`.
"""

import re
import subprocess
import sys

from aigc_lab.files import write_atomically
from tools.notebooks import ROOT, chapters

CELL = re.compile(
    r"(?P<head>^```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n|(?::[^\n]*\n)*\n?))"
    r"(?P<code>.*?)(?P<end>^```$)",
    re.MULTILINE | re.DOTALL,
)


def format_code(code: str, folder: str = "notebooks") -> str:
    """Format one cell of a notebook in this folder, with the settings of its ruff.toml."""
    name = f"{folder}/cell.py"
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", name, "-"]
    result = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT)
    if result.returncode:
        raise SystemExit(f"ruff cannot format this cell:\n{code}\n{result.stderr}")
    return result.stdout


def format_text(text: str) -> str:
    """Return the text of a chapter with each code cell formatted."""
    return CELL.sub(lambda cell: cell["head"] + format_code(cell["code"]) + cell["end"], text)


def main() -> None:
    """Format all chapters that need it."""
    for chapter in chapters():
        text = chapter.text_path.read_text(encoding="utf-8")
        formatted = format_text(text)
        if formatted != text:
            write_atomically(chapter.text_path, formatted.encode("utf-8"))
            print(f"formatted {chapter.text_path.name}")


if __name__ == "__main__":
    main()
