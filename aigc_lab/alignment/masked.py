"""Means and whitening over the real tokens of a batch; padding counts for nothing."""

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    """Mean over the places where a mask is True.

    Args:
        values: numbers of any shape; those that are masked may be anything, NaN too.
        mask: boolean, of the same shape.
        dim: axis to take the mean over; by default all.

    Returns:
        A scalar, or a tensor without the axis; 0 for a row that is masked completely.

    Raises:
        ValueError: shapes that differ, or a mask without a True.
    """
    _check(values, mask)
    kept = torch.where(mask, values, 0.0)  # and not a product: 0 · NaN is NaN
    if dim is None:
        return kept.sum() / mask.sum()
    return kept.sum(dim) / mask.sum(dim).clamp(min=1)


def whiten(values: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True) -> torch.Tensor:
    """Divide by the standard deviation over the unmasked places, and make their mean 0.

    Args:
        values, mask: as in `masked_mean`.
        shift_mean: whether the mean becomes 0. Rewards are only divided: a constant added to the
            reward of every token would be a reward, or a price, for length.

    Returns:
        A tensor of the same shape, 0 where masked.

    Raises:
        ValueError: as `masked_mean`.
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    centred = values - mean if shift_mean else values
    return torch.where(mask, centred * (variance + 1e-8).rsqrt(), 0.0)


def _check(values: torch.Tensor, mask: torch.Tensor) -> None:
    if values.shape != mask.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, values {tuple(values.shape)}")
    if not mask.any():
        raise ValueError("mask is False everywhere: there is no token to take a mean over")
