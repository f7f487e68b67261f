"""Batches to train on: windows of one long text, or whole documents packed into rows.

A source is a function of the step: `source.batch(step)` depends on its settings and on `step`,
and on nothing that happened before. So a training that resumes needs no position in the data.

Shapes: B rows, T tokens in a row.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from aigc_lab.data.synthetic import NO_TARGET


@dataclass(frozen=True)
class Batch:
    """What one pass through the model needs.

    Args:
        tokens: what the model reads, `(B, T)` int64.
        targets: the token that follows each of them, or `NO_TARGET`, `(B, T)` int64.
        documents: to which document of its row each token belongs, `(B, T)` int64; None if every
            row is one piece.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor | None = None

    @property
    def n_targets(self) -> int:
        """Number of tokens to be predicted."""
        return int((self.targets != NO_TARGET).sum())

    @property
    def shape(self) -> torch.Size:
        """Rows and tokens in a row, (B, T)."""
        return self.tokens.shape

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        documents = None if self.documents is None else self.documents.to(device)
        return Batch(self.tokens.to(device), self.targets.to(device), documents)


class AnyBatch(Protocol):
    """What training needs to know of a batch, whatever is in it."""

    @property
    def n_targets(self) -> int:
        """Number of tokens to be predicted."""

    @property
    def shape(self) -> torch.Size:
        """Rows and tokens in a row."""

    def to(self, device: torch.device | str) -> "AnyBatch":
        """The same batch on another device."""


class Source(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> AnyBatch:
        """The batch of a step, the same whenever it is asked for."""


class Windows:
    """Random windows of one long text.

    Args:
        tokens: the text, `(N,)` integers.
        context_length: tokens T of a window.
        batch_size: windows B of a batch.
        seed: of the draw, at least 0.

    Raises:
        ValueError: the text is no row of tokens, or too short for a window and its last target.
    """

    def __init__(self, tokens: torch.Tensor, context_length: int, batch_size: int, seed: int = 0):
        _check_text(tokens, context_length, batch_size)
        if len(tokens) <= context_length:
            raise ValueError(
                f"a text of {len(tokens)} tokens has no window of context_length={context_length} "
                "and a target after it: take a longer text or a shorter context"
            )
        self.tokens = tokens.long()
        self.context_length, self.batch_size, self.seed = context_length, batch_size, seed

    def batch(self, step: int) -> Batch:
        """The windows of a step: every place in the text is equally likely, for each anew."""
        chance = np.random.default_rng([self.seed, step])
        starts = chance.integers(len(self.tokens) - self.context_length, size=self.batch_size)
        index = torch.from_numpy(starts)[:, None] + torch.arange(self.context_length)  # (B, T)
        return Batch(self.tokens[index], self.tokens[index + 1])


def consecutive_windows(
    tokens: torch.Tensor, context_length: int, batch_size: int = 32
) -> Iterator[Batch]:
    """The whole text, window after window, for an evaluation that leaves nothing out.

    Every token but the first is a target once. Only the last window may be shorter; it comes
    alone.

    Args:
        tokens: the text, `(N,)` integers.
        context_length: tokens T of a window; at its beginning the model knows nothing of the
            text before it, so a longer context also makes the task easier.
        batch_size: most windows of a batch.

    Raises:
        ValueError: the text is no row of tokens, or has no target.
    """
    _check_text(tokens, context_length, batch_size)
    if len(tokens) < 2:
        raise ValueError(f"a text of {len(tokens)} tokens has nothing to predict")
    inputs, targets = tokens[:-1].long(), tokens[1:].long()
    n_whole = len(inputs) // context_length * context_length
    rows = inputs[:n_whole].view(-1, context_length), targets[:n_whole].view(-1, context_length)
    for parts in zip(*(part.split(batch_size) for part in rows), strict=True):
        if len(parts[0]):
            yield Batch(*parts)
    if n_whole < len(inputs):
        yield Batch(inputs[None, n_whole:], targets[None, n_whole:])


class PackedDocuments:
    """Whole documents, several in a row, none cut.

    A document of n tokens becomes n + 2: the start token also ends it, as in GPT-2, so that the
    model learns to stop. It fills n + 1 places of a row: all but the last are read, all but the
    first are targets. What is left of a row is padding, a document of its own without targets.

    A batch is the fixed number `n_documents` of documents that follow those of the step before,
    in as many rows as they need. The number of rows therefore varies a little. To fix the rows
    instead, some documents would have to be left out, and those would be the ones that fit badly:
    the model would see too few long documents.

    Longest first, each document goes into the first row with room (first-fit decreasing). Short
    documents fill the gaps, and what stays empty is mostly in the last row. So rows are at least
    95 % full if there are about 16 of them or more and the typical document is at most a third of
    a row: choose `n_documents` ≥ 16 · context_length / (mean length + 1), and see `share_filled`.

    Args:
        document_ids: gives the token ids of document number i, without special tokens; called
            with i = first_document + step · n_documents, and the numbers after it.
        start_token: the id that begins and ends every document.
        context_length: tokens T of a row.
        n_documents: documents of a batch.
        first_document: number of the first document of step 0.
        is_target: given the n token ids of a document, n + 1 truth values for them and the token
            that ends it: whether it is to be learned. The others are only read. By default all
            are learned.

    Raises:
        ValueError: a length or number below 1 (below 0 for the first document).
    """

    def __init__(
        self,
        document_ids: Callable[[int], Sequence[int]],
        start_token: int,
        context_length: int,
        n_documents: int,
        first_document: int = 0,
        is_target: Callable[[Sequence[int]], Sequence[bool]] | None = None,
    ):
        if context_length < 1 or n_documents < 1 or first_document < 0:
            raise ValueError(
                f"context_length={context_length} and n_documents={n_documents} must be at least "
                f"1, first_document={first_document} at least 0"
            )
        self.document_ids, self.start_token = document_ids, start_token
        self.context_length, self.n_documents = context_length, n_documents
        self.first_document, self.is_target = first_document, is_target

    def batch(self, step: int) -> Batch:
        """The documents of a step, packed.

        Raises:
            ValueError: a document does not fit into a row; names it and its length.
        """
        first = self.first_document + step * self.n_documents
        documents = []
        for number in range(first, first + self.n_documents):
            ids = [self.start_token, *self.document_ids(number), self.start_token]
            if len(ids) - 1 > self.context_length:
                raise ValueError(
                    f"document {number} has {len(ids) - 2} tokens and one to start: more than "
                    f"context_length={self.context_length}; make documents shorter or the "
                    "context longer"
                )
            documents.append(ids)
        rows = first_fit_decreasing([len(ids) - 1 for ids in documents], self.context_length)
        shape = len(rows), self.context_length
        tokens = np.full(shape, self.start_token)
        targets = np.full(shape, NO_TARGET)
        numbers = np.zeros(shape, dtype=np.int64)
        for row, members in enumerate(rows):
            end = 0
            for number, member in enumerate(members):
                start, end = end, end + len(documents[member]) - 1
                tokens[row, start:end] = documents[member][:-1]
                targets[row, start:end] = self._targets(documents[member])
                numbers[row, start:end] = number
            numbers[row, end:] = len(members)
        return Batch(*map(torch.from_numpy, (tokens, targets, numbers)))

    def _targets(self, ids: list[int]) -> np.ndarray:
        """What is to be predicted at each place of a document, both ends included: `(n + 1,)`."""
        targets = np.array(ids[1:])
        if self.is_target is None:
            return targets
        flags = np.asarray(self.is_target(ids[1:-1]), dtype=bool)
        if flags.shape != targets.shape:
            raise ValueError(
                f"is_target gave {len(flags)} values for a document of {len(ids) - 2} tokens: it "
                "must give one for each and one for the end"
            )
        return np.where(flags, targets, NO_TARGET)


class OneAfterAnother:
    """Batches of one source for the first steps, then those of another.

    Args:
        first, then: sources.
        n_first: steps of the first. Each source counts its steps from 0.

    Raises:
        ValueError: a negative number of steps.
    """

    def __init__(self, first: Source, n_first: int, then: Source):
        if n_first < 0:
            raise ValueError(f"n_first={n_first} must be at least 0")
        self.first, self.n_first, self.then = first, n_first, then

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        if step < self.n_first:
            return self.first.batch(step)
        return self.then.batch(step - self.n_first)


def share_filled(batch: Batch) -> float:
    """Share of the places of a batch that have a target; the rest is computed for nothing."""
    return batch.n_targets / batch.targets.numel()


def first_fit_decreasing(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Distribute things over rows: the longest first, each into the first row that has room.

    Args:
        lengths: of the things, each at most `room`.
        room: length of a row.

    Returns:
        For each row the indices of its things. It takes at most 11/9 of the rows that are
        needed, and one more.

    Source: Johnson 1973.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        for row, space in enumerate(left):
            if lengths[index] <= space:
                rows[row].append(index)
                left[row] -= lengths[index]
                break
        else:
            rows.append([index])
            left.append(room - lengths[index])
    return rows


def _check_text(tokens: torch.Tensor, context_length: int, batch_size: int) -> None:
    if tokens.dim() != 1:
        raise ValueError(f"a text is one row of tokens (N,), not {tuple(tokens.shape)}")
    if context_length < 1 or batch_size < 1:
        raise ValueError(
            f"context_length={context_length} and batch_size={batch_size} must be at least 1"
        )
