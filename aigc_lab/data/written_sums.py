"""Sums as text, one token a character: the answer at once, or after something else is written.

    plain      37+48=85
    reversed   37+48=58                        the answer's last digit first
    dots       37+48=................;85       as many tokens as the steps, with nothing in them
    steps      37+48=7+8=15c1;3+4+1=8;85       digit by digit; "c1" is the carry

Sources: Nye et al. 2021 (scratchpads), Lee et al. 2023 (the ways to write a sum), Pfau et al. 2024
(dots).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from aigc_lab.data.batches import Batch
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum
from aigc_lab.data.tiny_world.sums import steps

END = "<|endoftext|>"
WAYS = ("plain", "reversed", "dots", "steps")


class Characters:
    """A tokenizer with one token a character, and one that begins and ends each text.

    Args:
        alphabet: the characters that it knows; the first gets id 1, for 0 is the end.
    """

    def __init__(self, alphabet: str = "0123456789+=;c."):
        self.alphabet = alphabet
        self.special_tokens = {END: 0}
        self._ids = {character: i for i, character in enumerate(alphabet, start=1)}

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """Token ids.

        Raises:
            ValueError: a character that is not in the alphabet.
        """
        if unknown := set(text) - set(self.alphabet):
            raise ValueError(f"{text!r} has {sorted(unknown)}; known is only {self.alphabet!r}")
        return [self._ids[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """Text; the token that ends it is left out."""
        return "".join(self.alphabet[i - 1] for i in ids if i)


def ask_sum(a: int, b: int) -> str:
    """What a model is asked: "37+48="."""
    return f"{a}+{b}="


def steps_text(a: int, b: int) -> str:
    """The steps of a sum: "7+8=15c1;3+4+1=8"."""
    return ";".join(steps(a, b)).replace(" carry ", "c").replace(" ", "")


def write_answer(a: int, b: int, way: str) -> str:
    """What is to be written after the question, in one of `WAYS`.

    Raises:
        ValueError: an unknown way.
    """
    if way not in WAYS:
        raise ValueError(f"way={way!r} is not one of {WAYS}")
    result = str(a + b)
    if way == "plain":
        return result
    if way == "reversed":
        return result[::-1]
    before = steps_text(a, b)
    return f"{'.' * len(before) if way == 'dots' else before};{result}"


def read_result(text: str, way: str) -> int | None:
    """The result that a written answer gives; None if what should be a number is none.

    Only what stands after the last ";" counts: the numbers of the steps are no answer.
    """
    last = text.split(";")[-1]
    if not last.isdecimal():
        return None
    return int(last[::-1] if way == "reversed" else last)


def draw_sums(
    n: int, digits: Sequence[int], seed: int, held_out: bool = False
) -> list[tuple[int, int]]:
    """Pairs of numbers with equally many digits each.

    Args:
        n: how many; a pair may come twice.
        digits: numbers of digits, which are drawn evenly.
        seed: of the draw.
        held_out: pairs that are never drawn otherwise, about 1 in 12.

    Raises:
        ValueError: no number of digits, or one below 1.
    """
    if not digits or min(digits) < 1:
        raise ValueError(
            f"digits={tuple(digits)} must hold at least one number of digits, each at least 1"
        )
    chance = np.random.default_rng([seed, held_out])
    found: list[tuple[int, int]] = []
    while len(found) < n:
        d = int(chance.choice(digits))
        low = 10 ** (d - 1) if d > 1 else 0
        a, b = chance.integers(low, 10**d, size=2).tolist()
        if is_held_out_sum(a, b) == held_out:
            found.append((a, b))
    return found


class WrittenSums:
    """Batches of sums, drawn from a fixed list; only what is written after "=" is learned.

    Args:
        sums: the pairs of numbers.
        way: how the answers are written, one of `WAYS`.
        batch_size: sums B of a batch.
        seed: of the draw of batches.

    Raises:
        ValueError: no sums, or an unknown way.
    """

    def __init__(
        self, sums: Sequence[tuple[int, int]], way: str, batch_size: int = 64, seed: int = 0
    ):
        if not sums:
            raise ValueError("sums is empty: there is nothing to draw batches from")
        self.batch_size, self.seed, characters = batch_size, seed, Characters()
        rows = []
        for a, b in sums:
            asked, answer = characters.encode(ask_sum(a, b)), write_answer(a, b, way)
            rows.append((len(asked), [0, *asked, *characters.encode(answer), 0]))
        self.lengths = np.array([len(row) for _, row in rows])
        self._tokens = torch.zeros(len(rows), self.lengths.max(), dtype=torch.long)
        self._targets = torch.full_like(self._tokens, NO_TARGET)
        for i, (n_asked, row) in enumerate(rows):
            self._tokens[i, : len(row)] = torch.tensor(row)
            self._targets[i, n_asked : len(row) - 1] = torch.tensor(row[n_asked + 1 :])

    def chosen(self, step: int) -> np.ndarray:
        """Which of the sums are in the batch of a step."""
        chance = np.random.default_rng([self.seed, step])
        return chance.integers(len(self.lengths), size=self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step; its rows end in padding, which is no target."""
        chosen = self.chosen(step)
        T = int(self.lengths[chosen].max()) - 1
        return Batch(self._tokens[chosen, :T], self._targets[chosen, :T])

    def n_tokens(self, step: int) -> int:
        """Tokens that the model reads in the batch of a step, without padding."""
        return int((self.lengths[self.chosen(step)] - 1).sum())
