"""tools/book.py and tools/book_extension.py: strict builds, numbers by chapter, buttons."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from tools import book, book_extension

ROOT = Path(__file__).resolve().parent.parent
GOOD = "# 04 · Small\n\n```{exercise} One\n:label: one\nDo it.\n```\n\nSee {ref}`one`.\n"
BAD = GOOD + "\nSee {ref}`no-such-label`.\n"


def test_chapters_are_known_by_their_file_names() -> None:
    assert book_extension.chapter_number("notebooks/04_attention") == 4
    assert book_extension.chapter_number("book/chapters/01_what") == 1
    assert book_extension.chapter_number("book/glossary") is None


def test_numbers_start_anew_in_each_chapter() -> None:
    sphinx = {
        "book/index": {"figure": {"a": (1,)}},
        "notebooks/02_x": {"figure": {"c": (3,), "b": (2,)}, "exercise": {"e": (1,)}},
        "notebooks/04_y": {"figure": {"d": (4,)}},
        "book/glossary": {"figure": {"f": (5,)}},
    }
    assert book_extension.renumber(sphinx) == {
        "book/index": {"figure": {"a": (1,)}},
        "notebooks/02_x": {"figure": {"b": (2, 1), "c": (2, 2)}, "exercise": {"e": (2, 1)}},
        "notebooks/04_y": {"figure": {"d": (4, 1)}},
        "book/glossary": {"figure": {"f": (2,)}},
    }


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of one notebook, with this book's own configuration."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["local_extensions"] = {"book_extension": str(ROOT / "tools")}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/04_small\n")
    assets = tmp_path / "book" / "site_assets"
    shutil.copytree(ROOT / "book/site_assets", assets, ignore=shutil.ignore_patterns("vendor"))
    (tmp_path / "book" / "references.bib").write_text("")
    write_notebook(tmp_path, GOOD)
    return tmp_path


def write_notebook(root: Path, text: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(text)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    path = root / "notebooks" / "04_small.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def built_page(root: Path) -> BeautifulSoup:
    page = root / "_build" / "html" / "notebooks" / "04_small.html"
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def outward_links(root: Path) -> list[str]:
    links = [tag["href"] for tag in built_page(root).find_all("a", href=True)]
    return [link for link in links if link.startswith("http")]


@pytest.mark.slow
def test_a_warning_fails_the_build_the_second_time_too(small_book: Path) -> None:
    write_notebook(small_book, BAD)
    assert book.build(small_book) != 0
    assert book.build(small_book) != 0
    write_notebook(small_book, GOOD)
    assert book.build(small_book) == 0
    assert "Exercise 4.1" in built_page(small_book).get_text()
    assert outward_links(small_book) == []


@pytest.mark.slow
def test_an_address_brings_the_buttons(small_book: Path) -> None:
    config = yaml.safe_load((small_book / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = "https://github.com/someone/some-book"
    (small_book / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert book.build(small_book) == 0
    links = "\n".join(outward_links(small_book))
    place = "someone/some-book"
    colab = f"colab.research.google.com/github/{place}/blob/main/notebooks/04_small.ipynb"
    assert colab in links
    assert f"mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/notebooks/04_small.ipynb" in links
    assert f"{place}/edit/main/book/chapters/04_small.md" in links
