"""Choosing the next token, against transformers' processors and against counting."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_lab.generation.sampling import (
    Sampling,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
)

transformers = pytest.importorskip("transformers")


def random_logits(n=20, vocab=50, seed=0, scale=3.0):
    return scale * torch.randn(n, vocab, generator=torch.Generator().manual_seed(seed))


TOKENS = torch.randint(50, (20, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("k", [1, 2, 10, 50, 80])
def test_top_k_is_theirs(k):
    expected = transformers.TopKLogitsWarper(k)(TOKENS, random_logits())
    assert torch.equal(keep_top_k(random_logits(), k), expected)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.9, 0.99, 1.0])
def test_top_p_is_theirs(p):
    expected = transformers.TopPLogitsWarper(p)(TOKENS, random_logits())
    assert torch.equal(keep_top_p(random_logits(), p), expected)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 1.0])
def test_min_p_is_theirs(p):
    expected = transformers.MinPLogitsWarper(p)(TOKENS, random_logits())
    assert torch.equal(keep_min_p(random_logits(), p), expected)


@pytest.mark.parametrize("penalty", [0.5, 1.3, 5.0])
def test_repetition_penalty_is_theirs(penalty):
    theirs = transformers.RepetitionPenaltyLogitsProcessor(penalty)
    found = penalise_repetition(random_logits(), TOKENS, penalty)
    assert torch.equal(found, theirs(TOKENS, random_logits()))
    assert not torch.equal(found, random_logits())


def test_all_settings_together_in_their_order():
    chosen = Sampling(repetition_penalty=1.2, temperature=0.7, top_k=30, top_p=0.8, min_p=0.02)
    logits = random_logits()
    for processor in (
        transformers.RepetitionPenaltyLogitsProcessor(1.2),
        transformers.TemperatureLogitsWarper(0.7),
        transformers.TopKLogitsWarper(30),
        transformers.TopPLogitsWarper(0.8),
        transformers.MinPLogitsWarper(0.02),
    ):
        logits = processor(TOKENS, logits)
    torch.testing.assert_close(chosen.adjust(random_logits(), TOKENS), logits)


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=12),
    st.floats(0.01, 1.0),
)
@settings(deadline=None)
def test_top_p_keeps_the_smallest_set_that_reaches_p(values, p):
    logits = torch.tensor([values], dtype=torch.float64)
    kept = keep_top_p(logits, p)[0].isfinite()
    probabilities = logits.softmax(-1)[0]
    assert probabilities[kept].sum() >= p - 1e-9
    assert probabilities[kept].min() >= probabilities[~kept].max() if (~kept).any() else True
    if kept.sum() > 1:  # without the least likely one of them it would not be enough
        assert probabilities[kept].sum() - probabilities[kept].min() < p + 1e-9


def test_of_equally_likely_tokens_top_p_keeps_no_more_than_it_needs():
    assert keep_top_p(torch.zeros(1, 10), 0.3).isfinite().sum() in (3, 4)


def test_drawing_follows_the_probabilities():
    probabilities = torch.tensor([0.0, 0.5, 0.3, 0.0, 0.15, 0.05, 0.0])
    n = 20_000
    drawn = draw(probabilities.expand(n, -1), torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=7).double()
    assert counts[probabilities == 0].sum() == 0
    expected = n * probabilities[probabilities > 0].double()
    chi_square = ((counts[probabilities > 0] - expected) ** 2 / expected).sum()
    assert chi_square < 16.27  # 3 degrees of freedom, p = 0.001


def test_the_smallest_p_keeps_one_token():
    assert torch.equal(keep_top_p(random_logits(), 1e-12), keep_top_k(random_logits(), 1))


def test_a_random_number_of_zero_draws_no_impossible_token(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **more: torch.zeros(shape).double())
    assert draw(torch.tensor([[0.0, 0.0, 0.4, 0.6]])).tolist() == [2]


def test_drawing_is_decided_by_the_generator():
    probabilities = random_logits().softmax(-1)
    runs = [draw(probabilities, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_certain_token_is_always_drawn():
    for place in (0, 3, 6):
        certain = torch.nn.functional.one_hot(torch.tensor([place] * 100), 7).float()
        assert (draw(certain) == place).all()


def test_greedy_takes_the_most_likely_whatever_else_is_set():
    logits = random_logits()
    for chosen in (Sampling(temperature=0), Sampling(temperature=0, top_k=5, top_p=0.5)):
        assert torch.equal(chosen.choose(logits), logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_temperature_divides_the_logits(temperature):
    adjusted = Sampling(temperature=temperature).adjust(random_logits())
    torch.testing.assert_close(adjusted, random_logits() / temperature)


def test_adjusting_leaves_the_logits_as_they_were():
    logits = random_logits()
    before = logits.clone()
    Sampling(1.5, 0.5, 3, 0.5, 0.1).choose(logits, TOKENS)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"temperature": -1}, "temperature=-1 must be at least 0"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"top_p": 0.0}, "top_p=0.0 must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"min_p": -0.1}, "min_p=-0.1"),
        ({"repetition_penalty": 0}, "repetition_penalty=0 must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**more)


def test_half_of_the_probability_of_two_tokens_is_one_bit():
    # A worked example: temperature 0.5 squares the odds.
    logits = torch.tensor([[math.log(3.0), 0.0]])
    probabilities = Sampling(temperature=0.5).adjust(logits).softmax(-1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.9, 0.1]]))
