"""The numbers to look at while a policy learns, on one figure.

A log holds a list for each number, with one entry a step. Several logs are seeds of one run: a line
is their mean, a band goes from the lowest to the highest.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aigc_lab.alignment.best_of_n import gaussian_ceiling
from aigc_lab.evaluation import plots

Log = Mapping[str, Sequence[float]]


def as_log(steps: Sequence[Mapping[str, float]]) -> Log:
    """A log from one dictionary for each step, as `run_steps` returns them."""
    return {name: [step[name] for step in steps] for name in steps[0]} if steps else {}


def column(logs: Sequence[Log], name: str) -> np.ndarray:
    """One number of every step of every seed: `(S, N)`, as far as the shortest log goes.

    Raises:
        ValueError: no logs, or one without this number; names those that it has.
    """
    if not logs:
        raise ValueError("there is no log: nothing to show")
    for log in logs:
        if name not in log:
            raise ValueError(f"the log has no {name!r}; it has {sorted(log)}")
    n_steps = min(len(log[name]) for log in logs)
    return np.array([log[name][:n_steps] for log in logs], dtype=float)


def draw_dashboard(logs: Sequence[Log], gold_mean: float, gold_sd: float) -> Figure:
    """All panels, for the seeds of one run.

    Args:
        logs: with what `ppo_step` returns and "gold", the mean gold reward of each step's replies.
        gold_mean, gold_sd: of single replies of the reference; gold is shown in these units, as
            proxy scores are that were normalised on the reference.

    Raises:
        ValueError: as `column`.
    """
    figure, panels = plt.subplots(4, 2, figsize=(6.2, 8.4))
    gold = (column(logs, "gold") - gold_mean) / gold_sd
    draw_frontier(panels[0, 0], logs, gold)
    _draw(panels[0, 1], {"proxy": column(logs, "score"), "gold": gold}, "reward (sd)")
    names = {"kl": "k1", "kl_k3": "k3"}
    _draw(panels[1, 0], _columns(logs, names), "KL to reference (nats)")
    names = {"entropy": "entropy", "surprise": "surprise"}
    _draw(panels[1, 1], _columns(logs, names), "nats a token")
    names = {"clip_fraction": "clip fraction", "kl_old": "KL to the old policy"}
    _draw(panels[2, 0], _columns(logs, names), "in the last pass")
    _draw(panels[2, 1], _columns(logs, {"explained_variance": ""}), "explained variance")
    _draw(panels[3, 0], _columns(logs, {"length": ""}), "length (tokens)")
    _draw(panels[3, 1], _columns(logs, {"ended": ""}), "share that ended")
    panels[2, 1].axhline(0, color=plots.BLACK, lw=0.8)
    for axes in (panels[1, 1], panels[3, 0]):
        axes.set_ylim(bottom=0)
    panels[3, 1].set_ylim(0, 1.03)
    for axes in panels[3]:
        axes.set_xlabel("step")
    return figure


def draw_frontier(axes: Axes, logs: Sequence[Log], gold: np.ndarray) -> None:
    """Proxy and gold against the root of KL, with the ceiling for Gaussian rewards.

    Args:
        axes: where to draw.
        logs: of the seeds, S of N steps.
        gold: gold rewards in units of the reference's deviation, `(S, N)`.
    """
    distance = np.sqrt(np.maximum(column(logs, "kl"), 0))
    shown = (("proxy", column(logs, "score"), plots.BLUE), ("gold", gold, plots.ORANGE))
    for name, values, colour in shown:
        for seed, (x, y) in enumerate(zip(distance, values, strict=True)):
            label = name if seed == 0 else None
            axes.plot(x, y, "o", color=colour, ms=2.5, alpha=0.6, label=label)
    x = np.linspace(0, distance.max(), 50)
    axes.plot(x, gaussian_ceiling(x**2), "--", color=plots.BLACK, lw=1, label="ceiling")
    axes.set(xlabel="√KL", ylabel="reward (sd)")
    axes.legend(fontsize=8)


def _columns(logs: Sequence[Log], names: dict[str, str]) -> dict[str, np.ndarray]:
    return {label: column(logs, name) for name, label in names.items()}


def _draw(axes: Axes, lines: dict[str, np.ndarray], label: str) -> None:
    for name, runs in lines.items():
        plots.seed_lines(axes, range(1, runs.shape[1] + 1), runs, name)
    axes.set_ylabel(label)
    if len(lines) > 1:
        axes.legend(fontsize=8)
