"""The fit against laws that are known, an optimiser of another kind, and a search by force."""

import numpy as np
import pytest
import torch

from aigc_lab.training.scaling_law import ScalingLaw, bootstrap, fit, leave_one_out

SIZES, TOKENS = map(
    np.ravel, np.meshgrid([1e4, 4e4, 1.5e5, 4e5, 1e6], [5e4, 2e5, 5e5, 1e6], indexing="ij")
)


@pytest.mark.parametrize(
    "law",
    [
        ScalingLaw(50, 0.4, 900, 0.6),
        ScalingLaw(400, 0.35, 2000, 0.35),
        ScalingLaw(3, 0.2, 3e5, 1.0),
    ],
)
def test_a_law_without_noise_is_found(law):
    found = fit(SIZES, TOKENS, law.excess(SIZES, TOKENS))
    for name in ("a", "alpha", "b", "beta"):
        assert getattr(found, name) == pytest.approx(getattr(law, name), rel=1e-3)


def noisy(spread, seed):
    law = ScalingLaw(50, 0.4, 900, 0.6)
    noise = np.random.default_rng(seed).normal(size=len(SIZES))
    return law, law.excess(SIZES, TOKENS) * np.exp(spread * noise)


def test_with_noise_no_other_optimiser_finds_a_better_one():
    _, excess = noisy(0.1, 0)
    law = fit(SIZES, TOKENS, excess)
    error = (np.log(law.excess(SIZES, TOKENS) / excess) ** 2).sum()
    theta = torch.tensor([4.0, 0.4, 7.0, 0.6], dtype=torch.float64, requires_grad=True)
    x, z, y = (torch.log(torch.tensor(v)) for v in (SIZES, TOKENS, excess))
    optimizer = torch.optim.LBFGS([theta], max_iter=300, tolerance_change=0, lr=0.5)

    def closure():
        optimizer.zero_grad()
        a, alpha, b, beta = theta
        loss = (torch.logaddexp(a - alpha * x, b - beta * z) - y).pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert error <= closure().item() + 1e-9


def test_the_bootstrap_covers_the_truth_and_shrinks_with_the_noise():
    spreads = []
    for spread in (0.1, 0.02):
        law, excess = noisy(spread, 1)
        low, high = np.percentile(
            [one.alpha for one in bootstrap(SIZES, TOKENS, excess, n_draws=60)], [1, 99]
        )
        assert low < law.alpha < high
        spreads.append(high - low)
    assert spreads[1] < spreads[0] / 2


def test_bootstrap_is_repeatable():
    _, excess = noisy(0.1, 2)
    first, second = (bootstrap(SIZES, TOKENS, excess, n_draws=3, seed=5) for _ in range(2))
    assert first == second and first != bootstrap(SIZES, TOKENS, excess, n_draws=3, seed=6)


def test_leaving_one_out_predicts_it_and_finds_the_odd_one():
    _, excess = noisy(0, 0)
    assert np.abs(leave_one_out(SIZES, TOKENS, excess)).max() < 1e-3
    excess[7] *= 2
    errors = leave_one_out(SIZES, TOKENS, excess)
    assert errors.argmin() == 7
    assert errors[7] == pytest.approx(-np.log(2), abs=1e-3)


@pytest.mark.parametrize("flops", [1e10, 1e13])
def test_the_best_size_is_the_best_of_many(flops):
    law = ScalingLaw(50, 0.4, 900, 0.6)
    n, d = law.best_size(flops)
    assert 6 * n * d == pytest.approx(flops)
    others = n * np.linspace(0.5, 2, 301)
    assert others[law.excess(others, flops / 6 / others).argmin()] == pytest.approx(n, rel=0.01)


def test_too_little_or_impossible_data_is_refused():
    with pytest.raises(ValueError, match=r"3 runs .* at least four"):
        fit(SIZES[:3], TOKENS[:3], np.ones(3))
    with pytest.raises(ValueError, match=r"smallest number of -0\.1.*only positive"):
        fit(SIZES, TOKENS, np.full(len(SIZES), -0.1))
