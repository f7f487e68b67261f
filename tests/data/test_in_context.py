"""Tasks of which each sequence has a secret of its own, and their best readers."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from aigc_lab.data.in_context import Mappings, MarkovChains, repeats
from aigc_lab.data.synthetic import NO_TARGET


def test_a_key_has_one_value_in_its_sequence_and_others_elsewhere():
    task = Mappings(n_keys=5, n_values=7, n_pairs=20, batch_size=6)
    batch = task.batch(3)
    assert batch.shape == (6, 40)
    seen = set()
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        keys, values = row[0::2], row[1::2]
        assert set(keys) <= set(range(5)) and set(values) <= set(range(5, 12))
        mapping = dict(zip(keys, values, strict=True))
        assert [mapping[key] for key in keys] == values
        assert targets[0::2] == values and set(targets[1::2]) == {NO_TARGET}
        seen.add(tuple(sorted(mapping.items())))
    assert len(seen) == 6
    assert torch.equal(batch.tokens, task.batch(3).tokens)
    assert not torch.equal(batch.tokens, task.batch(4).tokens)
    other = dataclasses.replace(task, seed=1)
    assert not torch.equal(batch.tokens, other.batch(3).tokens)
    assert task.text(batch.tokens[0, :2]).split()[0] in "abcde"


def test_keys_and_values_are_drawn_evenly_and_apart():
    task = Mappings(n_keys=4, n_values=3, n_pairs=8, batch_size=4000)
    tokens = task.batch(0).tokens
    table = torch.zeros(4, 3)
    for key in range(4):
        for value in range(3):
            both = (tokens[:, 0] == key) & (tokens[:, 1] == 4 + value)
            table[key, value] = both.float().mean()
    assert (table - 1 / 12).abs().max() < 5 * math.sqrt(1 / 12 / 4000)


def test_the_best_accuracy_is_what_a_perfect_reader_has():
    task = Mappings(n_keys=6, n_values=5, n_pairs=12, batch_size=5000)
    batch = task.batch(1)
    keys, values = batch.tokens[:, 0::2].numpy(), batch.tokens[:, 1::2].numpy()
    for n_shots in (0, 1, 5, 11):
        right = 0
        for row_keys, row_values in zip(keys, values, strict=True):
            known = dict(zip(row_keys[:n_shots], row_values[:n_shots], strict=True))
            right += known.get(row_keys[n_shots], task.n_keys) == row_values[n_shots]
        best = task.best_accuracy(n_shots)
        assert abs(right / 5000 - best) < 4 * math.sqrt(best * (1 - best) / 5000)
    expected = [[False, False, True, False, True]]
    assert repeats(torch.tensor([[3, 1, 3, 2, 1]])).tolist() == expected


def test_the_best_reader_of_a_chain_is_the_mean_of_the_posterior():
    """Two states: the posterior of each row is integrated on a grid."""
    alpha = 0.7
    task = MarkovChains(n_states=2, length=12, alpha=alpha, batch_size=5)
    tokens = task.batch(0).tokens
    grid = (np.arange(200_000) + 0.5) / 200_000
    prior = grid ** (alpha - 1) * (1 - grid) ** (alpha - 1)
    best = task.best(tokens)
    assert best.shape == (5, 11, 2)
    for row, states in enumerate(tokens.tolist()):
        for t, now in enumerate(states):
            steps = list(zip(states[:t], states[1 : t + 1], strict=True))
            ones, zeros = steps.count((now, 1)), steps.count((now, 0))
            weight = prior * grid**ones * (1 - grid) ** zeros
            assert math.isclose(
                best[row, t, 1].item(), (weight * grid).sum() / weight.sum(), abs_tol=2e-3
            )
    assert torch.allclose(best.sum(-1), torch.ones(5, 11, dtype=torch.double))


def test_no_other_count_reads_chains_better():
    task = MarkovChains(batch_size=2000, length=40)
    batch = task.batch(0)

    def loss(probabilities):
        return -probabilities.gather(2, batch.targets[..., None]).log().mean().item()

    best = loss(task.best(batch.tokens))
    for alpha in (0.5, 2.0):
        other = dataclasses.replace(task, alpha=alpha)
        assert best < loss(other.best(batch.tokens))
    by_frequency = loss(task.by_frequency(batch.tokens))
    assert best + 0.05 < by_frequency < math.log(3)


def test_chains_follow_transition_probabilities_of_their_dirichlet():
    """The variance of a row's entry is that of the Dirichlet distribution, (K-1)/(K²(Kα+1))."""
    task = MarkovChains(n_states=3, length=3000, alpha=0.5, batch_size=200)
    tokens = task.batch(0).tokens.numpy()
    found = []
    for states in tokens:
        from_0 = states[1:][states[:-1] == 0]
        if len(from_0) > 200:
            found.append((from_0 == 2).mean())
    variance = 2 / 9 / (3 * 0.5 + 1)
    assert len(found) > 100 and abs(np.var(found) - variance) < 0.35 * variance
    assert len({tuple(row[:30]) for row in tokens.tolist()}) > 190


@pytest.mark.parametrize("name", ["n_keys", "n_values", "n_pairs", "batch_size"])
def test_impossible_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        Mappings(**{name: 0})
    with pytest.raises(ValueError, match="length=1"):
        MarkovChains(length=1)
    with pytest.raises(ValueError, match="alpha=0"):
        MarkovChains(alpha=0)
