"""Votes, and the exact sum over all texts of a small model."""

import itertools
import math
from collections import Counter

import pytest
import torch

from aigc_lab.generation.generate import generate
from aigc_lab.generation.voting import Paths, add_up, all_paths, majority_vote, shares_of
from aigc_lab.models.gpt import GPT, GPTConfig


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ([3, 5, 5], 5),
        ([5, 3, 3, 5], 5),  # as many: the first to come
        ([3, 5, 5, 3], 3),
        ([None, None, None, 7], 7),  # no answer is no vote
        ([None, None], None),
        ([], None),
        (["a", 1, "a"], "a"),
    ],
)
def test_the_majority_wins(answers, winner):
    assert majority_vote(answers) == winner


def model_of(vocab_size: int) -> GPT:
    torch.manual_seed(3)
    model = GPT(GPTConfig(vocab_size, context_length=12, d_model=16, n_layers=1, n_heads=2))
    with torch.no_grad():
        model.embedding.weight.mul_(4)
    return model.eval()


def test_all_texts_of_a_small_model_are_found_with_their_probabilities():
    """Compared with a list of all texts of up to five tokens, each scored by itself."""
    model = model_of(3)  # 0 ends; 1 and 2 are letters
    found = all_paths(model, [1, 2], end=0, smallest=1e-12, max_new_tokens=6)
    expected, beginning = {}, {}
    for n in range(6):
        for text in itertools.product((1, 2), repeat=n):
            row = [1, 2, *text, 0]
            with torch.no_grad():
                logs = model(torch.tensor([row[:-1]]))[0].double().log_softmax(-1)
            each = [logs[i - 1, row[i]].item() for i in range(2, len(row))]
            expected[text], beginning[text] = math.exp(sum(each)), math.exp(sum(each[:-1]))
    got = {tuple(t): p for t, p in zip(found.texts, found.probabilities, strict=True)}
    assert got.keys() == expected.keys()
    assert all(math.isclose(got[text], expected[text], rel_tol=1e-4) for text in got)
    assert math.isclose(found.missing, 1 - sum(expected.values()), abs_tol=1e-6)
    assert found.probabilities == sorted(found.probabilities, reverse=True)
    # Where unlikely beginnings are given up, less is found, and what is missing is known.
    fewer = all_paths(model, [1, 2], end=0, smallest=0.02, max_new_tokens=6)
    assert len(fewer.texts) < len(found.texts)
    kept = {text for text in expected if beginning[text] >= 0.02}
    assert {tuple(text) for text in fewer.texts} == kept
    assert min(fewer.probabilities) < 0.02  # an unlikely end is no reason to give up a text
    assert math.isclose(sum(fewer.probabilities) + fewer.missing, 1, abs_tol=1e-6)
    assert fewer.missing > found.missing


def test_the_sum_over_paths_is_what_samples_come_to():
    model = model_of(4)
    paths = all_paths(model, [1], end=0, smallest=1e-7, max_new_tokens=11)
    exact = add_up(paths, lambda text: sum(text) % 3 if text else None)
    assert math.isclose(sum(exact.values()) + paths.missing, 1, abs_tol=1e-6)
    assert list(exact.values()) == sorted(exact.values(), reverse=True)
    n = 4000
    rows = generate(
        model,
        torch.ones(n, 1, dtype=torch.long),
        11,
        stop_tokens=[0],
        generator=torch.Generator().manual_seed(0),
    ).tolist()
    texts = [row[: row.index(0)] for row in rows if 0 in row]
    counts = Counter(sum(text) % 3 if text else None for text in texts)
    for answer, p in exact.items():
        error = 4 * math.sqrt(p * (1 - p) / n) + paths.missing
        assert abs(counts[answer] / n - p) < error
    assert len(exact) == 4


def test_sums_and_shares():
    paths = Paths([[1], [2], [1, 1], [3]], [0.4, 0.3, 0.1, 0.1], 0.1)
    found = add_up(paths, lambda text: text[0] if text[0] < 3 else None)
    assert found == pytest.approx({1: 0.5, 2: 0.3, None: 0.1})
    assert shares_of([4, None, 4, 5]) == {4: 0.5, None: 0.25, 5: 0.25}
    for smallest in (0, 1, -1):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            all_paths(model_of(3), [1], end=0, smallest=smallest)
