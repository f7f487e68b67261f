"""The kinds of picture that several chapters draw."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from aigc_lab.evaluation import plots


def relative_luminance(colour):
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_token_strip_shows_what_cannot_be_seen():
    strip = plots.TokenStrip([b"a b", b"\n", b"\t", b"\xe4\xb8", "中".encode()])
    assert repr(strip) == "a␣b|↵|⇥|\\xe4\\xb8|中"


def test_token_strip_escapes_html():
    page = plots.TokenStrip([b"<script>"])._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_token_strip_marks_what_stands_out():
    strip = plots.TokenStrip([b"a", b"b", b"c"], [False, True, False])
    assert repr(strip) == "a|*b*|c"
    boxes = strip._repr_html_().split("<span")[1:]
    assert [plots._TOKEN_COLOURS[1] in box for box in boxes] == [False, True, False]
    with pytest.raises(ValueError, match="2 values for 3 tokens"):
        plots.TokenStrip([b"a", b"b", b"c"], [True, False])


def test_token_strip_text_has_contrast():
    for colour in plots._TOKEN_COLOURS:
        assert (relative_luminance(colour) + 0.05) / (relative_luminance("#222222") + 0.05) > 7


def test_source_is_the_source():
    shown = plots.Source(relative_luminance)
    assert "def relative_luminance(colour):" in repr(shown)
    assert shown._repr_markdown_().startswith("```python\ndef relative_luminance")


def test_heatmap_labels_numbers_and_limits():
    _, axes = plt.subplots()
    matrix = np.array([[0.0, 1.0], [np.nan, 0.25]])
    plots.heatmap(axes, matrix, rows=["r", "s"], columns=["c", "d"], title="t", numbers=True)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["r", "s"]
    assert sorted(text.get_text() for text in axes.texts) == ["0", "0.25", "1"]
    assert axes.images[0].get_clim() == (0, 1)
    plots.heatmap(axes, matrix, signed=True, limit=3)
    assert axes.images[-1].get_clim() == (-3, 3)
    plt.close("all")


def test_seed_lines_draw_mean_and_range():
    _, axes = plt.subplots()
    runs = np.array([[1.0, 2.0], [3.0, 8.0], [2.0, 2.0]])
    plots.seed_lines(axes, [0, 1], runs, "name")
    assert axes.lines[0].get_ydata() == pytest.approx([2, 4])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1 and band[:, 1].max() == 8
    plt.close("all")


def test_a_grid_of_words_has_a_cell_for_each_pair_in_any_script():
    weights = np.array([[0.0, 1.0, 0.25], [0.5, 0.0, 0.0]])
    grid = plots.WordGrid(weights, ["灯", "<b>"], ["the", "lamp", "&"], links=[(0, 1)])
    page = grid._repr_html_()
    cells = re.findall(r'<td title="([\d.]+)" style="background:(#\w+);border:(\dpx)', page)
    assert [float(weight) for weight, _, _ in cells] == weights.ravel().tolist()
    assert [border for _, _, border in cells] == ["1px", "2px", "1px", "1px", "1px", "1px"]
    colours = [colour for _, colour, _ in cells]
    assert colours[0] == colours[4] == "#ffffff" and len(set(colours)) == 4
    assert "灯" in page and "&lt;b&gt;" in page and "&amp;" in page and "<b>" not in page
    assert repr(grid) == "灯 → lamp, <b> → the"


def test_a_grid_with_too_few_words_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\), but there are 2 rows and 2 columns"):
        plots.WordGrid(np.zeros((2, 3)), ["a", "b"], ["c", "d"])
