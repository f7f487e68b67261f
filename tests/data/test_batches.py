"""Batches: nothing lost, nothing twice, targets only inside a document, the same every time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_lab.data.batches import (
    Batch,
    OneAfterAnother,
    PackedDocuments,
    Windows,
    consecutive_windows,
    first_fit_decreasing,
    share_filled,
)
from aigc_lab.data.synthetic import NO_TARGET

START = 999


def same(a: Batch, b: Batch) -> bool:
    pairs = [(a.tokens, b.tokens), (a.targets, b.targets)]
    if a.documents is not None:
        pairs.append((a.documents, b.documents))
    return all(torch.equal(x, y) for x, y in pairs)


# ------------------------------------------------------------------------------------------ windows


@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_windows_are_pieces_of_the_text(n, length, batch_size, step):
    if n <= length:
        return
    text = torch.arange(n) * 3
    batch = Windows(text, length, batch_size, seed=4).batch(step)
    assert batch.documents is None
    assert batch.tokens.shape == batch.targets.shape == (batch_size, length)
    assert batch.n_targets == batch_size * length
    # The text counts in threes, so a piece of it is known by its first token.
    steps = torch.arange(length) * 3
    assert torch.equal(batch.tokens, batch.tokens[:, :1] + steps)
    assert torch.equal(batch.targets, batch.tokens + 3)
    assert batch.targets.max() <= text[-1]


def test_windows_depend_on_step_and_seed_only():
    text = torch.arange(1000)
    a, b, other = (Windows(text, 8, 4, seed) for seed in (1, 1, 2))
    late = a.batch(7)
    for step in range(7):
        b.batch(step)
    assert same(late, b.batch(7))
    assert not same(late, a.batch(8))
    assert not same(late, other.batch(7))


def test_every_place_of_the_text_is_equally_likely():
    source = Windows(torch.arange(12), 3, batch_size=90, seed=0)
    starts = torch.cat([source.batch(step).tokens[:, 0] for step in range(100)])
    counts = torch.bincount(starts, minlength=9)
    assert len(counts) == 9  # 0 .. 8: the last window's target is the last token
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


@given(st.integers(2, 70), st.integers(1, 12), st.integers(1, 5))
def test_consecutive_windows_have_every_token_once_as_target(n, length, batch_size):
    text = torch.arange(n)
    batches = list(consecutive_windows(text, length, batch_size))
    assert torch.equal(torch.cat([b.targets.flatten() for b in batches]), text[1:])
    assert torch.equal(torch.cat([b.tokens.flatten() for b in batches]), text[:-1])
    assert all(b.tokens.shape[1] == length for b in batches[:-1])
    assert all(len(b.tokens) <= batch_size for b in batches)


@pytest.mark.parametrize(
    ("text", "length", "size", "message"),
    [
        (torch.arange(8), 8, 1, "text of 8 tokens has no window of context_length=8"),
        (torch.zeros(2, 9), 4, 1, r"one row of tokens \(N,\), not \(2, 9\)"),
        (torch.arange(8), 0, 1, "context_length=0 and batch_size=1 must be at least 1"),
        (torch.arange(8), 4, 0, "context_length=4 and batch_size=0 must be at least 1"),
    ],
)
def test_windows_that_cannot_be_are_refused(text, length, size, message):
    with pytest.raises(ValueError, match=message):
        Windows(text, length, size)


def test_a_text_of_one_token_has_nothing_to_predict():
    with pytest.raises(ValueError, match="1 tokens has nothing to predict"):
        next(consecutive_windows(torch.arange(1), 4))


# ---------------------------------------------------------------------------------------- documents


def documents_of(batch: Batch) -> list[list[int]]:
    """The documents of a batch as (start, ids ..., start), read back from tokens and targets."""
    found = []
    for tokens, targets, numbers in zip(batch.tokens, batch.targets, batch.documents, strict=True):
        for number in numbers.unique():
            here = numbers == number
            if (targets[here] == NO_TARGET).all():  # padding: at the end of the row
                assert here[-1] and number == numbers.max()
                continue
            assert not (targets[here] == NO_TARGET).any()
            assert torch.equal(tokens[here][1:], targets[here][:-1])
            found.append([*tokens[here].tolist(), targets[here][-1].item()])
    return found


lengths_of_documents = st.lists(st.integers(0, 15), min_size=1, max_size=40)


@given(lengths_of_documents, st.integers(1, 10), st.integers(0, 3), st.integers(0, 5))
def test_every_document_is_there_once_and_whole(lengths, n_documents, step, first):
    def ids(number):
        return [number * 100 + i for i in range(lengths[number % len(lengths)])]

    source = PackedDocuments(ids, START, 16, n_documents, first)
    batch = source.batch(step)
    begin = first + step * n_documents
    expected = [[START, *ids(i), START] for i in range(begin, begin + n_documents)]
    assert sorted(documents_of(batch)) == sorted(expected)
    assert batch.tokens.shape == batch.targets.shape == batch.documents.shape
    assert batch.tokens.dtype == batch.targets.dtype == batch.documents.dtype == torch.int64
    assert batch.n_targets == sum(len(ids) - 1 for ids in expected)
    assert same(batch, source.batch(step))


@given(st.lists(st.integers(1, 16), max_size=60))
def test_first_fit_decreasing_is_legal_and_near_the_least_number_of_rows(lengths):
    rows = first_fit_decreasing(lengths, 16)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    used = [sum(lengths[i] for i in row) for row in rows]
    assert all(0 < u <= 16 for u in used)
    # No two rows could be one.
    assert all(a + b > 16 for i, a in enumerate(used) for b in used[i + 1 :])


def test_a_known_packing():
    assert first_fit_decreasing([2, 9, 5, 4], 10) == [[1], [2, 3], [0]]
    assert first_fit_decreasing([1, 9, 5, 4], 10) == [[1, 0], [2, 3]]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_with_the_advised_number_of_documents_rows_are_95_percent_full(seed):
    lengths = np.random.default_rng(seed).integers(10, 120, size=1000).tolist()  # mean 64.5
    n_documents = -(-16 * 256 // 65)
    source = PackedDocuments(lambda i: [1] * lengths[i], START, 256, n_documents)
    filled = [share_filled(source.batch(step)) for step in range(8)]
    assert sum(filled) / 8 >= 0.95


def test_a_document_longer_than_a_row_is_named():
    source = PackedDocuments(lambda i: [1] * i, START, context_length=8, n_documents=4)
    assert source.batch(1).n_targets == 5 + 6 + 7 + 8  # numbers 4 .. 7
    with pytest.raises(ValueError, match=r"document 8 has 8 tokens .* context_length=8"):
        source.batch(2)


@pytest.mark.parametrize("settings", [(0, 1, 0), (4, 0, 0), (4, 1, -1)])
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ValueError, match="must be at least 1, first_document="):
        PackedDocuments(lambda i: [1], START, *settings)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_what_is_no_target_is_read_but_not_learned(lengths):
    texts = [[100 * i + j for j in range(n)] for i, n in enumerate(lengths)]

    def is_even(ids):
        return [*(token % 2 == 0 for token in ids), True]

    settings = {"start_token": START, "context_length": 16, "n_documents": len(texts)}
    whole = PackedDocuments(texts.__getitem__, **settings).batch(0)
    part = PackedDocuments(texts.__getitem__, **settings, is_target=is_even).batch(0)
    assert torch.equal(part.tokens, whole.tokens)
    assert torch.equal(part.documents, whole.documents)
    wanted = (whole.targets % 2 == 0) | (whole.targets == START)
    assert torch.equal(part.targets, torch.where(wanted, whole.targets, NO_TARGET))


def test_truth_values_of_another_number_are_refused():
    packed = PackedDocuments(lambda i: [1, 2, 3], START, 16, 1, is_target=lambda ids: [True] * 3)
    with pytest.raises(ValueError, match="gave 3 values for a document of 3 tokens"):
        packed.batch(0)


def test_one_source_comes_after_another_and_each_begins_at_its_start():
    first = PackedDocuments(lambda i: [i], START, 4, 1)
    then = PackedDocuments(lambda i: [500 + i], START, 4, 1)
    both = OneAfterAnother(first, 2, then)
    assert [int(both.batch(step).tokens[0, 1]) for step in range(4)] == [0, 1, 500, 501]
    assert same(OneAfterAnother(first, 0, then).batch(3), then.batch(3))
    with pytest.raises(ValueError, match="n_first=-1 must be at least 0"):
        OneAfterAnother(first, -1, then)
