"""Sphinx extension of this book: numbers by chapter, page languages, repository buttons.

Named in ``_config.yml`` under ``sphinx: local_extensions``.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

CHAPTER = re.compile(r"(?:^|/)(\d\d)_[^/]*$")


def chapter_number(docname: str) -> int | None:
    """Return the number in a chapter's file name (4 for ``notebooks/04_attention``), else None."""
    match = CHAPTER.search(docname)
    return int(match.group(1)) if match else None


def renumber(
    fignumbers: dict[str, dict[str, dict[str, tuple[int, ...]]]],
) -> dict[str, dict[str, dict[str, tuple[int, ...]]]]:
    """Number figures, tables, equations and exercises within their chapter: 4.1, 4.2, ...

    Sphinx can do so only when it numbers the chapters too, but here their numbers stand in titles
    and file names. Pages that are no chapter keep a plain number, counted over all such pages.
    """
    plain: dict[str, int] = {}
    result: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
    for docname, by_type in fignumbers.items():
        chapter = chapter_number(docname)
        result[docname] = {}
        for figtype, by_id in by_type.items():
            # Sphinx's own order, so that a chapter's first figure is its number 1.
            ordered = sorted(by_id, key=lambda node_id: by_id[node_id])
            numbers: dict[str, tuple[int, ...]] = {}
            for position, node_id in enumerate(ordered, start=1):
                if chapter is None:
                    plain[figtype] = plain.get(figtype, 0) + 1
                    numbers[node_id] = (plain[figtype],)
                else:
                    numbers[node_id] = (chapter, position)
            result[docname][figtype] = numbers
    return result


def _number_by_chapter(app: Sphinx, env: BuildEnvironment) -> list[str]:
    env.toc_fignumbers = renumber(env.toc_fignumbers)
    return []


def _set_buttons(app: Sphinx, config: Config) -> None:
    """Show repository, Colab and Binder buttons exactly when there is an address."""
    options = config.html_theme_options
    filled = bool((options.get("repository_url") or "").strip())
    for button in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
        options[button] = filled
    buttons = options.setdefault("launch_buttons", {})
    on_github = "github.com/" in (options.get("repository_url") or "")
    buttons["colab_url"] = "https://colab.research.google.com" if on_github else ""
    buttons["binderhub_url"] = "https://mybinder.org" if filled else ""
    buttons["notebook_interface"] = "jupyterlab"


def _set_language(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let a page's front matter (``lang: zh``) set the language of its <html> element."""
    language = app.env.metadata.get(pagename, {}).get("lang")
    if language:
        context["language"] = language


def _edit_the_text(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Point a chapter's edit button to its text, from which the notebook is made."""
    for entry in context.get("header_buttons", []):
        for button in entry.get("buttons", [entry]):
            if "/edit/" in button.get("url", "") and pagename.startswith("notebooks/"):
                name = pagename.removeprefix("notebooks/")
                start = button["url"].removesuffix(f"{pagename}.ipynb")
                button["url"] = f"{start}book/chapters/{name}.md"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the hooks."""
    app.connect("config-inited", _set_buttons)
    # After Sphinx's own numbering, which runs on the same event at the default priority 500.
    app.connect("env-get-updated", _number_by_chapter, priority=900)
    app.connect("html-page-context", _set_language)
    # After the theme has made its buttons.
    app.connect("html-page-context", _edit_the_text, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
