"""Sums in four ways, as batches."""

import numpy as np
import pytest
import torch

from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum
from aigc_lab.data.written_sums import (
    WAYS,
    Characters,
    WrittenSums,
    ask_sum,
    draw_sums,
    read_result,
    steps_text,
    write_answer,
)


def test_the_four_ways_to_write_a_sum():
    written = {way: write_answer(37, 48, way) for way in WAYS}
    assert written["plain"] == "85" and written["reversed"] == "58"
    assert written["steps"] == "7+8=15c1;3+4+1=8;85"
    assert written["dots"] == "." * len("7+8=15c1;3+4+1=8") + ";85"
    assert len(written["dots"]) == len(written["steps"])
    with pytest.raises(ValueError, match="way='words' is not one of"):
        write_answer(1, 2, "words")


def test_steps_carry_as_in_school():
    """Each step is computed here from the column's digits."""
    for a, b in draw_sums(200, (1, 2, 3, 4), seed=0):
        carry, columns = 0, steps_text(a, b).split(";")
        assert len(columns) == max(len(str(a)), len(str(b)))
        for place, column in enumerate(columns):
            terms, result = column.split("c")[0].split("=")
            digits = [a // 10**place % 10, b // 10**place % 10] + [1] * carry
            assert [int(term) for term in terms.split("+")] == digits
            assert int(result) == sum(digits)
            carry = int(sum(digits) > 9)
            assert ("c" in column) == bool(carry)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_can_be_read(way):
    for a, b in draw_sums(50, (1, 2, 3), seed=1):
        assert read_result(write_answer(a, b, way), way) == a + b


@pytest.mark.parametrize("text", ["", "7+8=15", "7+8=15c1;", "7+8=15;8 5", "85;x"])
def test_what_is_no_number_is_no_result(text):
    assert read_result(text, "steps") is None


def test_characters_come_back():
    characters = Characters()
    text = "37+48=7+8=15c1;3+4+1=8;85..."
    ids = characters.encode(text)
    assert 0 not in ids and max(ids) < characters.vocab_size
    assert characters.decode([0, *ids, 0]) == text
    with pytest.raises(ValueError, match="'x'"):
        characters.encode("3x4")


def test_held_out_sums_are_in_no_training():
    digits = (1, 2, 3)
    train, test = draw_sums(3000, digits, 0), draw_sums(300, digits, 0, held_out=True)
    assert not set(train) & set(test)
    assert all(is_held_out_sum(a, b) for a, b in test)
    assert all(len(str(a)) == len(str(b)) for a, b in train)
    shares = np.bincount([len(str(a)) for a, _ in train])[1:] / 3000
    assert np.abs(shares - 1 / 3).max() < 0.05
    assert train == draw_sums(3000, digits, 0) != draw_sums(3000, digits, 1)


@pytest.mark.parametrize("digits", [(), (0,), (2, -1)])
def test_sums_without_digits_are_refused(digits):
    with pytest.raises(ValueError, match="at least one number of digits, each at least 1"):
        draw_sums(3, digits, 0)


def test_a_batch_asks_only_for_what_is_written():
    sums = [(7, 8), (37, 48), (123, 456)]
    source = WrittenSums(sums, "steps", batch_size=8, seed=2)
    batch, characters = source.batch(5), Characters()
    found = set()
    for read, targets in zip(batch.tokens, batch.targets, strict=True):
        is_target = targets != NO_TARGET
        answer = targets[is_target].tolist()
        assert read[0] == 0 and answer[-1] == 0
        asked = characters.decode(read[: is_target.int().argmax() + 1].tolist())
        a, b = (int(n) for n in asked.rstrip("=").split("+"))
        assert asked == ask_sum(a, b)
        assert characters.decode(answer) == write_answer(a, b, "steps")
        first = int(is_target.int().argmax())
        n = len(answer)
        assert read[first + 1 : first + n].tolist() == answer[:-1]  # each is read, then the next
        assert not is_target[first + n :].any()
        found.add((a, b))
    assert found <= set(sums) and len(found) > 1
    n_read = sum(
        len(ask_sum(*sums[i])) + len(write_answer(*sums[i], "steps")) + 1 for i in source.chosen(5)
    )
    assert source.n_tokens(5) == n_read
    assert torch.equal(batch.tokens, source.batch(5).tokens)
    with pytest.raises(ValueError, match="sums is empty"):
        WrittenSums([], "plain")
