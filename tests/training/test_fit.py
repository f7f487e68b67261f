"""aigc_lab.training.fit."""

import pytest
import torch
from torch import nn

from aigc_lab.training.fit import fit


def test_learns_a_regression():
    torch.manual_seed(0)
    inputs = torch.randn(64, 3)
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3
    model = nn.Linear(3, 1)
    losses = fit(model, lambda: nn.functional.mse_loss(model(inputs), targets), 300, 0.1)
    assert len(losses) == 300
    assert all(type(loss) is float for loss in losses)
    assert losses[0] > 1
    assert losses[-1] < 1e-4
    torch.testing.assert_close(
        model.weight.detach(), torch.tensor([[1.0, -2.0, 0.5]]), atol=0.02, rtol=0
    )


def test_the_rate_falls_linearly_to_zero_and_each_loss_is_from_before_its_update():
    """Adam's step for a constant gradient is exactly the learning rate, so steps show rates."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    losses = fit(model, lambda: model.weight.sum(), 4, learning_rate=0.4)
    weights = [0.0, -0.4, -0.4 - 0.3, -0.4 - 0.3 - 0.2]
    assert losses == pytest.approx(weights, abs=1e-6)
    assert model.weight.item() == pytest.approx(weights[-1] - 0.1, abs=1e-6)


def test_gradients_do_not_pile_up():
    """With piled-up gradients Adam would overshoot after the sign changes."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    signs = iter([1.0, -1.0])
    fit(model, lambda: next(signs) * model.weight.sum(), 2, learning_rate=0.1)
    # First step -0.1. Then by hand: m = 0.9 * 0.1 - 0.1, m / (1 - 0.9^2) = -0.01 / 0.19; v = 1.
    assert model.weight.item() == pytest.approx(-0.1 + 0.05 * 0.01 / 0.19, abs=1e-8)


def test_default_rate():
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    fit(model, lambda: model.weight.sum(), 1)
    assert model.weight.item() == pytest.approx(-3e-3, abs=1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_stops_at_a_loss_that_is_not_finite(bad):
    model = nn.Linear(1, 1)
    factors = iter([1.0, 1.0, bad, 1.0])
    with pytest.raises(FloatingPointError, match=rf"the loss is {bad}.* at step 2: .*lower learn"):
        fit(model, lambda: next(factors) * (1 + model.weight.pow(2).sum()), 4)
    assert next(factors) == 1.0  # no step more
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_no_steps():
    model = nn.Linear(1, 1)
    before = model.weight.clone()
    assert fit(model, lambda: pytest.fail("no batch is needed"), 0) == []
    assert torch.equal(model.weight, before)
