"""Fitting the scaling law: excess loss from the numbers of parameters and of tokens.

    excess(N, D) = A / N^α + B / D^β

The first part is what a model of N parameters cannot express, the second what D tokens have not
taught it. What the law usually needs besides, the entropy of the text, is known in the tiny world
and has been subtracted already.

Source: Hoffmann et al. 2022 (this form, their third approach).
"""

from dataclasses import dataclass

import numpy as np

FLOPS_PER_PARAMETER_AND_TOKEN = 6  # forward and backward


@dataclass(frozen=True)
class ScalingLaw:
    """A / N^α + B / D^β.

    Args:
        a, alpha: of the number of parameters N.
        b, beta: of the number of tokens D.
    """

    a: float
    alpha: float
    b: float
    beta: float

    def excess(self, n_parameters: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
        """Nats per target above the floor, of the shape of its arguments together."""
        return self.a * n_parameters**-self.alpha + self.b * n_tokens**-self.beta

    def best_size(self, flops: float) -> tuple[float, float]:
        """Parameters N and tokens D that make the excess smallest where 6·N·D = flops.

        There the derivative of A·N^−α + B·(flops/6N)^−β with respect to log N is 0:
        α·A·N^−α = β·B·D^−β.
        """
        product = flops / FLOPS_PER_PARAMETER_AND_TOKEN  # N · D
        ratio = self.alpha * self.a / (self.beta * self.b)
        n = (ratio * product**self.beta) ** (1 / (self.alpha + self.beta))
        return n, product / n


def fit(
    n_parameters: np.ndarray, n_tokens: np.ndarray, excess: np.ndarray, n_steps: int = 200
) -> ScalingLaw:
    """The law with the smallest squared error of log(excess), by Levenberg and Marquardt's steps.

    The logarithm makes an error of 10 % count alike for small and large losses.

    Args:
        n_parameters, n_tokens, excess: `(n,)` positive numbers, one for each run.
        n_steps: most steps from each start.

    Raises:
        ValueError: fewer than four runs (there are four unknowns), or a number that is not
            positive.
    """
    data = np.stack([n_parameters, n_tokens, excess]).astype(float)
    if data.shape[1] < 4 or not (data > 0).all():
        raise ValueError(
            f"{data.shape[1]} runs with a smallest number of {data.min(initial=np.inf):g}: the fit "
            "needs at least four, and only positive numbers"
        )
    log_n, log_d, log_excess = np.log(data)
    centre = log_n.mean(), log_d.mean()  # unknowns that do not depend on each other fit faster
    x, z = log_n - centre[0], log_d - centre[1]
    level = log_excess.mean() - np.log(2)
    best, smallest = None, np.inf
    for slope in (0.2, 0.5, 1.0):
        for share in (-1.0, 0.0, 1.0):  # which part is the larger one
            start = np.array([level + share, slope, level - share, slope])
            found, error = _descend(start, x, z, log_excess, n_steps)
            if error < smallest:
                best, smallest = found, error
    log_a, alpha, log_b, beta = best
    return ScalingLaw(
        float(np.exp(log_a + alpha * centre[0])),
        float(alpha),
        float(np.exp(log_b + beta * centre[1])),
        float(beta),
    )


def _descend(theta, x, z, target, n_steps) -> tuple[np.ndarray, float]:
    """Least squares of log(e^{a − αx} + e^{b − βz}) − target; theta is (a, α, b, β)."""

    def parts(theta):
        return theta[0] - theta[1] * x, theta[2] - theta[3] * z

    def residual(theta):
        return np.logaddexp(*parts(theta)) - target

    damping, error = 1e-2, (residual(theta) ** 2).sum()
    for _ in range(n_steps):
        first, second = parts(theta)
        share = np.exp(first - np.logaddexp(first, second))  # of the first part in the excess
        jacobian = np.stack([share, -share * x, 1 - share, -(1 - share) * z], axis=1)  # (n, 4)
        square, slope = jacobian.T @ jacobian, jacobian.T @ residual(theta)
        step = np.linalg.solve(square + damping * np.eye(4), -slope)
        new_error = (residual(theta + step) ** 2).sum()
        if new_error < error:
            finished = error - new_error < 1e-14 * (1 + error)
            theta, error, damping = theta + step, new_error, damping / 3
            if finished:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return theta, error


def bootstrap(
    n_parameters: np.ndarray,
    n_tokens: np.ndarray,
    excess: np.ndarray,
    n_draws: int = 200,
    seed: int = 0,
) -> list[ScalingLaw]:
    """Fits to runs drawn anew with replacement: how much the law depends on which runs there are.

    Draws with fewer than two sizes or two amounts of text determine no law and are drawn again.

    Args:
        n_parameters, n_tokens, excess: `(n,)`, as for `fit`.
        n_draws: number of fits.
        seed: of the draws.

    Source: Efron 1979.
    """
    chance, laws = np.random.default_rng(seed), []
    data = np.stack([n_parameters, n_tokens, excess])
    while len(laws) < n_draws:
        drawn = data[:, chance.integers(data.shape[1], size=data.shape[1])]
        if len(set(drawn[0])) > 1 and len(set(drawn[1])) > 1:
            laws.append(fit(*drawn))
    return laws


def leave_one_out(n_parameters: np.ndarray, n_tokens: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Error of log(excess) for each run, predicted by the law fitted to all others: `(n,)`."""
    data = np.stack([n_parameters, n_tokens, excess])
    errors = []
    for i in range(data.shape[1]):
        law = fit(*np.delete(data, i, axis=1))
        errors.append(np.log(law.excess(data[0, i], data[1, i]) / data[2, i]))
    return np.array(errors)
