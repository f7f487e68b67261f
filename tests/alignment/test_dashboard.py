"""The dashboard: what is drawn is what was logged."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from aigc_lab.alignment.dashboard import as_log, column, draw_dashboard, draw_frontier

NAMES = (
    *("score", "gold", "kl", "kl_k3", "kl_old", "entropy", "surprise", "clip_fraction"),
    *("explained_variance", "length", "ended"),
)


def logs(n_seeds=2, n_steps=5):
    chance = np.random.default_rng(0)
    return [{name: chance.random(n_steps).tolist() for name in NAMES} for _ in range(n_seeds)]


def test_steps_become_columns():
    log = as_log([{"kl": 0.0, "gold": 1.0}, {"kl": 2.0, "gold": 3.0}])
    assert log == {"kl": [0.0, 2.0], "gold": [1.0, 3.0]} and as_log([]) == {}


def test_a_column_goes_as_far_as_the_shortest_log():
    both = [{"kl": [1, 2, 3]}, {"kl": [4, 5]}]
    np.testing.assert_array_equal(column(both, "kl"), [[1, 2], [4, 5]])


def test_refuses_what_was_not_logged():
    with pytest.raises(ValueError, match=r"no 'gold'; it has \['kl'\]"):
        column([{"kl": [1]}], "gold")
    with pytest.raises(ValueError, match="no log"):
        column([], "kl")


def test_each_panel_shows_the_mean_of_its_numbers():
    some = logs()
    figure = draw_dashboard(some, gold_mean=0.5, gold_sd=2.0)
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]
    for name in NAMES:
        values = column(some, name)
        expected = (values - 0.5) / 2.0 if name == "gold" else values
        assert any(np.shape(y) == (5,) and np.allclose(y, expected.mean(0)) for y in drawn), name
    plt.close(figure)


def test_frontier_draws_each_seed_against_the_root_of_kl_below_the_ceiling():
    some = [{"kl": [0.0, 4.0, -0.1], "score": [0.0, 1.0, 0.5]}]
    figure, axes = plt.subplots()
    draw_frontier(axes, some, np.array([[0.0, 0.7, 0.2]]))
    proxy, gold, ceiling = axes.get_lines()
    np.testing.assert_allclose(proxy.get_xdata(), [0, 2, 0])
    np.testing.assert_allclose(gold.get_ydata(), [0.0, 0.7, 0.2])
    np.testing.assert_allclose(ceiling.get_ydata()[-1], np.sqrt(2 * 4))
    plt.close(figure)
