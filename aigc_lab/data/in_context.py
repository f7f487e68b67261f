"""Tasks that can only be solved from the context, each with the best answer that anyone can give.

Both make a new secret for every sequence: a mapping of keys to values, or the transition
probabilities of a Markov chain. The weights of a model cannot hold it, so what is right after many
tokens and wrong after few was learned while reading.

Sources: Chan et al. 2022 and Garg et al. 2022 for training on fresh tasks, Edelman et al. 2024 for
the Markov chains.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from aigc_lab.data.batches import Batch
from aigc_lab.data.synthetic import NO_TARGET


@dataclass(frozen=True)
class Mappings:
    """Sequences x1 y1 x2 y2 …, in which y is what this sequence's mapping gives for x.

    Each key has a value of its own drawing, in every sequence anew; keys repeat as they fall.
    Token ids: keys 0 .. n_keys - 1, then the values.

    Args:
        n_keys, n_values: how many there are.
        n_pairs: pairs of a sequence, which has twice as many tokens.
        batch_size: sequences B of a batch.
        seed: sequences of different seeds have nothing to do with each other.

    Raises:
        ValueError: a size below 1.
    """

    n_keys: int = 8
    n_values: int = 8
    n_pairs: int = 16
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        _check_sizes(self, "n_keys", "n_values", "n_pairs", "batch_size")

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.n_keys + self.n_values

    def batch(self, step: int) -> Batch:
        """Tokens and targets, `(B, 2 · n_pairs)`; only the values are targets, of their keys."""
        chance = np.random.default_rng([self.seed, step])
        mapping = chance.integers(self.n_values, size=(self.batch_size, self.n_keys))
        keys = chance.integers(self.n_keys, size=(self.batch_size, self.n_pairs))
        values = self.n_keys + np.take_along_axis(mapping, keys, axis=1)
        tokens = np.stack([keys, values], axis=2).reshape(self.batch_size, -1)
        targets = np.full_like(tokens, NO_TARGET)
        targets[:, 0::2] = values
        return Batch(torch.from_numpy(tokens), torch.from_numpy(targets))

    def best_accuracy(self, n_shots: int) -> float:
        """How often the best reader names the value of a random key after `n_shots` pairs.

        A key that was among them is certain; for any other one value is as good as another.
        """
        unseen = (1 - 1 / self.n_keys) ** n_shots
        return 1 - unseen + unseen / self.n_values

    def text(self, tokens: torch.Tensor) -> str:
        """A sequence for people: keys as letters, values as numbers."""
        names = [chr(ord("a") + t) if t < self.n_keys else str(t - self.n_keys) for t in tokens]
        return " ".join(names)


def repeats(keys: torch.Tensor) -> torch.Tensor:
    """Where a key has occurred before in its row: boolean, of the shape `(B, N)` of the keys."""
    same = keys[:, :, None] == keys[:, None, :]
    return same.tril(-1).any(-1)


@dataclass(frozen=True)
class MarkovChains:
    """Sequences of states, each drawn with transition probabilities of its own.

    The first state is drawn evenly; each row of the transition matrix comes from a Dirichlet
    distribution whose K parameters are all `alpha`.

    Args:
        n_states: K.
        length: states T of a sequence.
        alpha: 1 makes all rows of probabilities equally likely; smaller, nearly certain ones.
        batch_size: sequences B of a batch.
        seed: sequences of different seeds have nothing to do with each other.

    Raises:
        ValueError: a size below 1, fewer than two states of a sequence, or alpha not above 0.
    """

    n_states: int = 3
    length: int = 64
    alpha: float = 1.0
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _check_sizes(self, "n_states", "batch_size")
        if self.length < 2:
            raise ValueError(f"length={self.length} must be at least 2: a state and the next one")
        if not self.alpha > 0:
            raise ValueError(f"alpha={self.alpha} must be above 0")

    def batch(self, step: int) -> Batch:
        """Tokens and the states that follow them, both `(B, T - 1)`."""
        chance = np.random.default_rng([self.seed, step])
        rows = (self.batch_size, self.n_states)
        sums = chance.dirichlet([self.alpha] * self.n_states, size=rows).cumsum(-1)  # (B, K, K)
        lots = chance.random((self.batch_size, self.length))
        states = np.empty((self.batch_size, self.length), dtype=np.int64)
        states[:, 0] = lots[:, 0] * self.n_states
        each = np.arange(self.batch_size)
        for t in range(1, self.length):
            passed = sums[each, states[:, t - 1], :-1] < lots[:, t, None]  # (B, K - 1)
            states[:, t] = passed.sum(-1)
        states = torch.from_numpy(states)
        return Batch(states[:, :-1], states[:, 1:])

    def best(self, tokens: torch.Tensor) -> torch.Tensor:
        """The probabilities of the next state that follow from the context: `(B, T, K)`.

        After state i they are (n_ij + α) / (n_i + Kα), where n_ij counts the steps from i to j so
        far and n_i the steps from i. This is the mean of the posterior, so nothing is better.
        """
        states = F.one_hot(tokens, self.n_states).double()  # (B, T, K)
        steps = torch.einsum("bti,btj->btij", states[:, :-1], states[:, 1:])
        counts = F.pad(steps.cumsum(1), (0, 0, 0, 0, 1, 0))  # (B, T, K, K); none at first
        return self._smoothed(torch.einsum("bti,btij->btj", states, counts))

    def by_frequency(self, tokens: torch.Tensor) -> torch.Tensor:
        """What a reader says who counts the states and not what follows what: `(B, T, K)`."""
        return self._smoothed(F.one_hot(tokens, self.n_states).double().cumsum(1))

    def _smoothed(self, counts: torch.Tensor) -> torch.Tensor:
        counts = counts + self.alpha
        return counts / counts.sum(-1, keepdim=True)


def _check_sizes(task: Mappings | MarkovChains, *names: str) -> None:
    for name in names:
        if getattr(task, name) < 1:
            raise ValueError(f"{name}={getattr(task, name)} must be at least 1")
