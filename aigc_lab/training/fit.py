"""The smallest training loop that deserves the name, for experiments inside a chapter."""

from collections.abc import Callable

import torch
from torch import nn


def fit(
    model: nn.Module,
    loss_of_batch: Callable[[], torch.Tensor],
    n_steps: int,
    learning_rate: float = 3e-3,
) -> list[float]:
    """Train `model` with Adam; the learning rate falls linearly to 0.

    Args:
        model: what is trained; its parameters change in place.
        loss_of_batch: draws a batch, runs the model and returns the loss, a scalar tensor.
        n_steps: number of updates.
        learning_rate: the rate at the first step.

    Returns:
        The loss of each step, before its update.

    Raises:
        FloatingPointError: the loss is NaN or infinite; says at which step.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    losses = []
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / n_steps)
        loss = loss_of_batch()
        losses.append(loss.item())
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {losses[-1]} at step {step}: look for a division by zero or a row "
                f"that is masked completely, or lower learning_rate={learning_rate}"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses
