"""Masked means and whitening against numpy on the unmasked numbers alone."""

import numpy as np
import pytest
import torch

from aigc_lab.alignment.masked import masked_mean, whiten

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)


def numbers(junk=float("nan")):
    """Some numbers with junk where they are masked."""
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(MASK, 3 * values + 1, junk)


@pytest.mark.parametrize("junk", [0.0, 1e9, float("nan"), float("inf")])
def test_mean_is_that_of_the_unmasked_numbers_whatever_stands_elsewhere(junk):
    values = numbers(junk)
    assert masked_mean(values, MASK).item() == pytest.approx(values[MASK].numpy().mean())
    expected = [row[kept].numpy().mean() for row, kept in zip(values, MASK, strict=True)]
    np.testing.assert_allclose(masked_mean(values, MASK, dim=1), expected)


def test_a_row_that_is_masked_completely_has_mean_0():
    mask = MASK.clone()
    mask[1] = False
    assert masked_mean(numbers(), mask, dim=1)[1] == 0


@pytest.mark.parametrize("junk", [0.0, 1e9, float("nan")])
def test_whitened_numbers_have_mean_0_and_deviation_1(junk):
    values = numbers(junk)
    kept = values[MASK].numpy()
    whitened = whiten(values, MASK)
    np.testing.assert_allclose(whitened[MASK], (kept - kept.mean()) / kept.std(), rtol=1e-6)
    assert (whitened[~MASK] == 0).all()


def test_without_a_shift_only_the_scale_changes():
    values = numbers()
    scaled = whiten(values, MASK, shift_mean=False)
    np.testing.assert_allclose(scaled[MASK], values[MASK] / values[MASK].std(correction=0))
    assert (scaled[~MASK] == 0).all()
    assert whiten(torch.tensor([0.0, 0.0, 4.0]), torch.ones(3).bool(), False)[0] == 0


def test_equal_numbers_are_whitened_to_0():
    assert whiten(torch.full((2, 3), 0.7), torch.ones(2, 3).bool()).abs().max() < 1e-6


def test_gradients_pass_over_masked_nans():
    values = numbers().requires_grad_()
    masked_mean(values**2, MASK).backward()
    assert values.grad[MASK].isfinite().all()


def test_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match=r"mask has shape \(2, 3\), values \(3, 4\)"):
        masked_mean(numbers(), torch.ones(2, 3).bool())
    with pytest.raises(ValueError, match="False everywhere"):
        whiten(numbers(), torch.zeros(3, 4).bool())
