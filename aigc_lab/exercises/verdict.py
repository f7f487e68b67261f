"""What the reader sees after a check: text in a terminal, HTML in a notebook."""

from __future__ import annotations

import html
import re
import sys
import textwrap
from dataclasses import dataclass, field

PASSED, NOT_YET, WRONG = "passed", "not yet", "wrong"
HEADS = {
    PASSED: ("\N{HEAVY CHECK MARK}", "passed", "#2e7d32"),
    NOT_YET: ("\N{WHITE CIRCLE}", "not yet", "#757575"),
    WRONG: ("\N{BALLOT X}", "not right yet", "#c62828"),
}


@dataclass(frozen=True)
class Verdict:
    """The result of a check; true if it passed.

    `lines` are sentences in which `backticks` mark code; `mistake` is the known mistake that was
    recognised, if any; `kind` is what was found first: "raised", "type", "shape", "value", ...
    """

    exercise_id: str
    status: str
    lines: tuple[str, ...] = ()
    kind: str = ""
    mistake: str = ""
    answer: str = field(default="", repr=False)  # markdown, for questions

    def __bool__(self) -> bool:
        return self.status == PASSED

    def __str__(self) -> str:
        mark, word, _ = self._head()
        rows = [f"{mark} {self.exercise_id}: {word}"]
        for line in self.lines:
            for part in line.split("\n"):
                rows += textwrap.wrap(part, 86, initial_indent="  ", subsequent_indent="  ")
        if self.status == WRONG:
            rows.append(f"  A hint: python -m aigc_lab exercises hint {self.exercise_id}")
        if self.answer:
            rows += ["", self.answer]
        return "\n".join(rows)

    def _head(self) -> tuple[str, str, str]:
        mark, word, colour = HEADS[self.status]
        return mark, "answered" if self.answer else word, colour

    def _ipython_display_(self) -> None:
        """Show nothing: `check` has shown it already."""

    def to_html(self) -> str:
        """Return the verdict as HTML that suits light and dark notebooks."""
        mark, word, colour = self._head()
        hint = [f'A hint: `hint("{self.exercise_id}")`'] if self.status == WRONG else []
        rows = "".join(f"<div>{_inline(line)}</div>" for line in [*self.lines, *hint])
        return (
            f'<div style="border-left: 4px solid {colour}; padding: 0.2em 0.8em; '
            f'max-width: 44em"><strong>{mark} {html.escape(self.exercise_id)}: {word}</strong>'
            f"{rows}</div>"
        )

    def show(self) -> None:
        """Show it: as HTML in a notebook, as text elsewhere."""
        if in_notebook():
            from IPython.display import Markdown, display

            display({"text/html": self.to_html(), "text/plain": str(self)}, raw=True)
            if self.answer:
                display(Markdown(self.answer))
        else:
            print_text(str(self))


def show_text(text: str) -> None:
    """Show markdown: rendered in a notebook, as it is elsewhere."""
    if in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(text))
    else:
        print_text(text)


def in_notebook() -> bool:
    """Say whether we run in a Jupyter kernel (also Colab's and VS Code's)."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def print_text(text: str) -> None:
    """Print, on a terminal that cannot show a character with a ? in its place."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))


def _inline(line: str) -> str:
    escaped = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(line, quote=False))
    return escaped.replace("\n", "<br>")
