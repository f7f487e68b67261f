"""Real text that is there without a network: Python's own documentation, and this book.

Python ships the reference behind `help("for")` as one dictionary of plain English with code
samples (about half a megabyte; the exact text depends on the Python version). The book's pages
come from the repository, so they need a checkout (`pip install -e .`), not a bare wheel.
"""

import ast
import re
import textwrap
from pathlib import Path
from pydoc_data.topics import topics

ROOT = Path(__file__).resolve().parents[2]
# The pages whose text the tokenizer chapter learns from.
BOOK_PAGES = ("book/chapters/0[1-4]_*.md", "book/guide_zh.md")
_HAN = re.compile(r"[\u4e00-\u9fff]")


def python_docs() -> list[str]:
    """Python's reference documentation, one text per topic, sorted by topic."""
    return [topics[name] for name in sorted(topics)]


def book_pages(root: Path = ROOT) -> list[str]:
    """The book's first chapters and its Chinese guide, as written (MyST Markdown).

    Raises:
        FileNotFoundError: the package was installed without the book around it.
    """
    pages = [
        path.read_text(encoding="utf-8")
        for pattern in BOOK_PAGES
        for path in sorted(root.glob(pattern))
    ]
    if not pages:
        raise FileNotFoundError(
            f"no pages of the book under {root}: clone the repository and install it from there "
            "with `pip install -e .`"
        )
    return pages


def chinese_sentences(texts: list[str]) -> list[str]:
    """The sentences with at least eight Chinese characters, and at least as many as others."""
    sentences = re.findall(r"[^。！？\n]+[。！？]", "\n".join(texts))
    return [s for s in sentences if len(_HAN.findall(s)) >= max(8, len(s) / 2)]


def code_samples(texts: list[str]) -> list[str]:
    """Indented blocks of two lines or more that are valid Python."""
    samples = []
    for text in texts:
        for block in re.findall(r"(?:^ {3,}.*\n|^\s*\n)+", text, flags=re.MULTILINE):
            sample = textwrap.dedent(block).strip("\n")
            if "\n" in sample and is_python(sample):
                samples.append(sample)
    return samples


def is_python(text: str) -> bool:
    """Whether Python's parser accepts `text`."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
