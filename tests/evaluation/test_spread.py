"""What several runs gave, as text and as smooth lines."""

import numpy as np
import pytest

from aigc_lab.evaluation.spread import running_mean, show_seeds


def test_seeds_are_shown_with_their_mean_and_both_ends():
    assert show_seeds([0.5, 0.1, 0.3]) == "0.30 (0.10 to 0.50)"
    assert show_seeds(np.array([0.1234, 0.1]), ".1%") == "11.2% (10.0% to 12.3%)"


def test_a_running_mean_is_a_convolution_of_each_line():
    values = np.random.default_rng(0).normal(size=(2, 3, 11))
    for width in (1, 4, 11):
        found = running_mean(values, width)
        assert found.shape == (2, 3, 12 - width)
        for run, line in zip(values.reshape(6, 11), found.reshape(6, -1), strict=True):
            np.testing.assert_allclose(line, np.convolve(run, np.ones(width) / width, "valid"))


@pytest.mark.parametrize("width", [0, 4])
def test_a_width_that_does_not_fit_is_refused(width):
    with pytest.raises(ValueError, match=f"width={width} must lie between 1 and the 3 values"):
        running_mean([1.0, 2.0, 3.0], width)
