"""What the last cell of some exercises runs: a small training, with the book's code or yours."""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from aigc_lab.data.synthetic import exact_distance
from aigc_lab.evaluation import plots
from aigc_lab.models.tiny_transformer import TinyTransformer
from aigc_lab.training.fit import fit


def look_back_losses(n_steps: int = 100, seed: int = 0) -> list[float]:
    """Train a small causal Transformer with RoPE to name the token three places back.

    Returns:
        The loss of each step, in nats per token.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = TinyTransformer(8, "rope", d_model=32)

    def batch_loss() -> torch.Tensor:
        tokens, targets = exact_distance(16, 24, generator)
        return F.cross_entropy(model(tokens)[0].transpose(1, 2), targets)

    return fit(model, batch_loss, n_steps, learning_rate=8e-3)


def compare_curves(book: list[float], yours: list[float], n_first: int = 20) -> float:
    """Draw two loss curves; return by how much they differ at most in the first steps.

    Later steps may differ more: rounding errors grow as training goes on.
    """
    plots.use_book_style()
    _, axes = plt.subplots()
    axes.plot(book, lw=3, alpha=0.5, label="with the book's function")
    axes.plot(yours, lw=1, color=plots.BLACK, label="with yours")
    axes.set(xlabel="training step", ylabel="loss (nats per token)")
    axes.legend()
    gap = max(abs(a - b) for a, b in zip(book[:n_first], yours[:n_first], strict=True))
    print(f"loss at the end: {book[-1]:.3f} with the book's function, {yours[-1]:.3f} with yours;")
    print(f"in the first {n_first} steps the two differ by {gap:.0e} at most")
    return gap
