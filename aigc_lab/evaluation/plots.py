"""The look of the book's figures, and the few kinds of picture that several chapters draw.

Colours are those of Okabe and Ito, which readers with colour blindness can tell apart.
"""

import html
import inspect
import textwrap
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib_inline.backend_inline import set_matplotlib_formats

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
RED, SKY, BLACK = "#D55E00", "#56B4E9", "#222222"
COLOURS = (BLUE, ORANGE, GREEN, PINK, RED, SKY, BLACK)
# For quantities with a sign: blue below zero, white at zero, red above.
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "white", RED])
# For quantities from zero up.
POSITIVE = LinearSegmentedColormap.from_list("positive", ["white", BLUE, "#00243b"])
# Pale backgrounds for tokens, one after another.
_TOKEN_COLOURS = ("#cfe6f5", "#fbe6bd", "#c9ebdf", "#f3dcea")


def use_book_style() -> None:
    """Set matplotlib's defaults for every figure of a notebook."""
    set_matplotlib_formats("retina")  # sharp on dense screens
    plt.rcParams.update(
        {
            "figure.figsize": (6.2, 3.1),
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "font.size": 10,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )


def heatmap(
    axes: Axes,
    matrix: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    signed: bool = False,
    numbers: bool = False,
    limit: float | None = None,
) -> None:
    """Draw a matrix as coloured cells.

    Args:
        axes: where to draw.
        matrix: `(R, C)` numbers; NaN stays grey.
        rows, columns: labels of the rows and columns.
        title: heading.
        signed: colours around zero, instead of from zero up.
        numbers: write each number into its cell.
        limit: the value of the darkest colour; by default the largest in the matrix.
    """
    matrix = np.asarray(matrix, dtype=float)
    limit = np.nanmax(np.abs(matrix)) if limit is None else limit
    axes.set_facecolor("#dddddd")
    axes.imshow(
        matrix,
        cmap=SIGNED if signed else POSITIVE,
        vmin=-limit if signed else 0,
        vmax=limit,
        aspect="equal" if 1 / 2 < matrix.shape[0] / matrix.shape[1] < 2 else "auto",
        interpolation="nearest",
    )
    for labels, axis in ((rows, axes.yaxis), (columns, axes.xaxis)):
        if len(labels):
            axis.set_ticks(range(len(labels)), labels)
    if numbers:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                dark = abs(value) > 0.55 * limit
                axes.text(
                    column, row, f"{value:.2g}", ha="center", va="center", fontsize=8,
                    color="white" if dark else BLACK,
                )  # fmt: skip
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)


def seed_lines(
    axes: Axes, x: Sequence[float], runs: np.ndarray, label: str, **line: object
) -> None:
    """A line for the mean of several seeds and a band from the lowest to the highest.

    Args:
        axes: where to draw.
        x: `(N,)` horizontal positions.
        runs: `(S, N)`, one row per seed.
        label: name in the legend.
        **line: passed on to `Axes.plot`.
    """
    runs = np.asarray(runs)
    (drawn,) = axes.plot(x, runs.mean(0), label=label, **line)
    axes.fill_between(x, runs.min(0), runs.max(0), color=drawn.get_color(), alpha=0.2, lw=0)


class TokenStrip:
    """Tokens as coloured boxes in a notebook, separated by bars in a terminal.

    Args:
        tokens: the bytes of each token; bytes that are not whole characters are shown in hex.
        marked: for each token whether it stands out; the others are then grey.

    Raises:
        ValueError: another number of marks than of tokens.
    """

    def __init__(self, tokens: Sequence[bytes], marked: Sequence[bool] | None = None):
        self.tokens = [_visible(token) for token in tokens]
        if marked is not None and len(marked) != len(tokens):
            raise ValueError(f"marked has {len(marked)} values for {len(tokens)} tokens")
        self.marked = marked

    def __repr__(self) -> str:
        marked = self.marked or [False] * len(self.tokens)
        return "|".join(
            f"*{token}*" if mark else token for token, mark in zip(self.tokens, marked, strict=True)
        )

    def _repr_html_(self) -> str:
        boxes = (
            f'<span style="background:{self._colour(i)};color:#222;'
            'padding:1px 2px;border-radius:3px;margin:1px;display:inline-block;white-space:pre">'
            f"{html.escape(token)}</span>"
            for i, token in enumerate(self.tokens)
        )
        return f'<div style="line-height:1.9;font-family:monospace">{"".join(boxes)}</div>'

    def _colour(self, number: int) -> str:
        if self.marked is None:
            return _TOKEN_COLOURS[number % len(_TOKEN_COLOURS)]
        return _TOKEN_COLOURS[1] if self.marked[number] else "#eeeeee"


def _visible(token: bytes) -> str:
    """A token as text, with spaces and line ends made visible."""
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")


class Source:
    """The source of a function or class, highlighted in a notebook.

    A chapter shows the reference code itself, never a copy of it.
    """

    def __init__(self, *objects: object):
        self.text = "\n\n\n".join(
            textwrap.dedent(inspect.getsource(item)).rstrip() for item in objects
        )

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


class WordGrid:
    """Weights between the words of two texts as a table of coloured cells, in any script.

    Matplotlib's own font has no Chinese characters; a browser has.

    Args:
        weights: `(R, S)` numbers from 0 to 1.
        rows, columns: the words.
        links: pairs (row, column) to be framed.

    Raises:
        ValueError: another number of words than the weights have rows or columns.
    """

    def __init__(
        self,
        weights: np.ndarray,
        rows: Sequence[str],
        columns: Sequence[str],
        links: Iterable[tuple[int, int]] = (),
    ):
        self.weights = np.asarray(weights, dtype=float)
        if self.weights.shape != (len(rows), len(columns)):
            raise ValueError(
                f"weights have shape {self.weights.shape}, but there are {len(rows)} rows and "
                f"{len(columns)} columns of words"
            )
        self.rows, self.columns, self.links = list(rows), list(columns), set(links)

    def __repr__(self) -> str:
        best = (self.columns[row.argmax()] for row in self.weights)
        return ", ".join(f"{word} → {found}" for word, found in zip(self.rows, best, strict=True))

    def _repr_html_(self) -> str:
        tall = "writing-mode:vertical-rl;transform:rotate(180deg);font-weight:normal;padding:2px"
        head = "".join(f'<th style="{tall}">{html.escape(word)}</th>' for word in self.columns)
        body = "".join(
            f'<tr><th style="font-weight:normal;padding:0 6px">{html.escape(word)}</th>'
            + "".join(self._cell(row, column) for column in range(len(self.columns)))
            + "</tr>"
            for row, word in enumerate(self.rows)
        )
        table = "border-collapse:collapse;width:auto;font-size:85%;line-height:1.3"
        return (
            '<div style="overflow-x:auto"><table style="' + table + f'"><tr><th></th>{head}</tr>'
            f"{body}</table></div>"
        )

    def _cell(self, row: int, column: int) -> str:
        weight = self.weights[row, column]
        frame = f"2px solid {RED}" if (row, column) in self.links else "1px solid #ddd"
        colour = to_hex(POSITIVE(float(weight)))
        return (
            f'<td title="{weight:.2f}" style="background:{colour};border:{frame};padding:0;'
            'width:1.4em;height:1.4em"></td>'
        )
