"""Tasks with a known best answer."""

import pytest
import torch

from aigc_lab.data.synthetic import NO_TARGET, exact_distance


@pytest.mark.parametrize("distance", [1, 3, 5])
def test_target_is_the_token_that_many_places_back(distance):
    tokens, targets = exact_distance(
        4, 12, torch.Generator().manual_seed(0), vocab_size=5, distance=distance
    )
    assert tokens.shape == targets.shape == (4, 12)
    assert tokens.dtype == targets.dtype == torch.int64
    for row in range(4):
        for t in range(12):
            wanted = tokens[row, t - distance] if t >= distance else NO_TARGET
            assert targets[row, t] == wanted
    assert set(tokens.unique().tolist()) == set(range(5))


def test_the_generator_decides():
    draws = [exact_distance(2, 8, torch.Generator().manual_seed(s))[0] for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("distance", [0, 8, -1])
def test_a_distance_without_targets_is_refused(distance):
    with pytest.raises(ValueError, match=rf"distance={distance} .*length=8"):
        exact_distance(2, 8, torch.Generator(), distance=distance)
