"""AdamW and Muon by hand, and which parameters get which.

AdamW moves each number by about the learning rate, in the direction of its average gradient.
Muon treats a weight matrix as a whole: it replaces the average gradient G = U S Vᵀ by U Vᵀ, so that
rare directions move as far as common ones.

Sources: Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2019 (decoupled weight decay), Jordan et
al. 2024 (Muon), Liu et al. 2025 (the scale that lets Muon share AdamW's learning rate).
"""

import math
from collections.abc import Iterable

import torch
from torch import nn


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay.

    Args:
        params: parameters, or groups of them as in `torch.optim`.
        lr: learning rate: about how far each number moves in a step.
        betas: how much of the running averages of gradient and squared gradient is kept.
        eps: keeps the quotient finite.
        weight_decay: share of each number, times lr, that is taken away in a step.

    Raises:
        ValueError: a negative rate or decay, or a beta outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        _check_settings(lr, weight_decay, *betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    state["mean"] = torch.zeros_like(p)  # running average of the gradient
                    state["square"] = torch.zeros_like(p)  # and of its square
                state["step"] += 1
                state["mean"].lerp_(p.grad, 1 - beta1)
                state["square"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                # Averages that start at 0 are too small at first: divide by what they have seen.
                seen1, seen2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
                size = (state["square"].sqrt() / math.sqrt(seen2)).add_(group["eps"])
                p.mul_(1 - group["lr"] * group["decay"])
                p.addcdiv_(state["mean"], size, value=-group["lr"] / seen1)


class Muon(torch.optim.Optimizer):
    """Momentum whose direction is made orthogonal; for weight matrices inside the blocks only.

    Args:
        params: matrices, or groups of them as in `torch.optim`.
        lr: as for AdamW: each number moves by about 0.2 to 0.4 of it.
        momentum: how much of the running average of the gradient is kept.
        weight_decay: share of each number, times lr, that is taken away in a step.
        dtype: in which the orthogonal matrix is computed; bfloat16 is exact enough and faster on
            a GPU.

    A group may have "parts", the numbers of rows of several matrices that are kept as one, such as
    those of queries, keys and values. Each is then made orthogonal by itself. Taken as one, the
    part with the largest gradient (the values, early in training) would leave the others hardly
    any step.

    Raises:
        ValueError: a parameter that is no matrix, a negative rate or decay, or a momentum outside
            [0, 1).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ):
        _check_settings(lr, weight_decay, momentum)
        defaults = {"lr": lr, "momentum": momentum, "decay": weight_decay, "dtype": dtype}
        super().__init__(params, {**defaults, "parts": None})
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        f"Muon is for matrices, not for a parameter of shape {tuple(p.shape)}; "
                        "give it to AdamW"
                    )
                if group["parts"] is not None and sum(group["parts"]) != len(p):
                    raise ValueError(f"parts={group['parts']} must sum to the {len(p)} rows")

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["mean"] = torch.zeros_like(p)
                state["mean"].lerp_(p.grad, 1 - group["momentum"])
                # Nesterov: look one step ahead, by averaging with the gradient once more.
                direction = p.grad.lerp(state["mean"], group["momentum"])
                p.mul_(1 - group["lr"] * group["decay"])
                sizes = list(group["parts"] or [len(p)])
                for old, part in zip(p.split(sizes), direction.split(sizes), strict=True):
                    part = orthogonal(part.to(group["dtype"])).to(p.dtype)
                    # The numbers of U Vᵀ have mean square 1/max(rows, columns).
                    scale = 0.2 * math.sqrt(max(part.shape))
                    old.add_(part, alpha=-group["lr"] * scale)


def orthogonal(matrix: torch.Tensor, n_steps: int = 5) -> torch.Tensor:
    """Move all singular values of a matrix to about 1 (0.7 to 1.2), keeping U and V.

    Each step applies s → 3.4445 s − 4.7750 s³ + 2.0315 s⁵ to all singular values at once, by
    matrix products only. Its slope at 0 is steep, so five steps also lift small ones.

    Args:
        matrix: `(n, m)`.
        n_steps: number of steps; singular values below about 0.001 of the norm need more.

    Returns:
        `(n, m)`.

    Source: Jordan et al. 2024.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix  # the smaller side first: smaller products
    x = x / x.norm().clamp(min=1e-7)  # no singular value above 1
    for _ in range(n_steps):
        square = x @ x.T  # U S² Uᵀ
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if is_tall else x


def make_optimizers(
    model: nn.Module,
    lr: float,
    *,
    weight_decay: float = 0.1,
    muon: bool = False,
    muon_lr: float | None = None,
) -> list[torch.optim.Optimizer]:
    """Optimizers for a model: decay for matrices only, Muon (if wanted) for those in the blocks.

    Biases and norms are not decayed: they are few, and 0 is no better a value for them than
    another.

    Args:
        model: the model.
        lr: highest learning rate.
        weight_decay: of matrices.
        muon: whether Muon trains the matrices in the blocks.
        muon_lr: its highest learning rate, if that is not `lr`.
    """
    matrices: dict[tuple[int, ...] | None, list[nn.Parameter]] = {}
    tables, vectors = [], []
    for name, p in model.named_parameters():
        if p.dim() < 2:
            vectors.append(p)
        elif "blocks." in name:
            layer = model.get_submodule(name.removesuffix(".weight"))
            matrices.setdefault(getattr(layer, "parts", None), []).append(p)
        else:
            tables.append(p)
    all_matrices = [p for group in matrices.values() for p in group]
    decayed = {"params": tables if muon else tables + all_matrices, "decay": weight_decay}
    kept = {"params": vectors, "decay": 0.0}
    found: list[torch.optim.Optimizer] = [AdamW([decayed, kept], lr, betas=(0.9, 0.95))]
    if muon:
        groups = [{"params": group, "parts": parts} for parts, group in matrices.items()]
        found.append(Muon(groups, lr if muon_lr is None else muon_lr, weight_decay=weight_decay))
    return found


def warmup_then_decay(step: int, n_steps: int, n_warmup: int, last: float = 0.0) -> float:
    """Factor of the learning rate at a step: rises linearly to 1, then falls as half a cosine.

    Args:
        step: 0 .. n_steps - 1.
        n_steps: number of all steps.
        n_warmup: number of steps that rise; the first has the factor 1/n_warmup.
        last: the factor towards which it falls.

    Raises:
        ValueError: a step outside the range, or a warm-up longer than the training.
    """
    if not 0 <= step < n_steps or not 0 <= n_warmup <= n_steps:
        raise ValueError(
            f"step={step} must lie in 0 .. n_steps-1={n_steps - 1}, and n_warmup={n_warmup} in "
            f"0 .. {n_steps}"
        )
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = (step - n_warmup) / (n_steps - n_warmup)
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))


def clip_gradients(parameters: Iterable[torch.Tensor], largest: float) -> float:
    """Scale all gradients down so that their common norm is at most `largest`.

    Returns:
        The norm before, which is worth watching.

    Raises:
        FloatingPointError: a gradient is NaN or infinite.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(g.double().pow(2).sum().item() for g in gradients))
    if not math.isfinite(norm):
        raise FloatingPointError(f"the norm of the gradients is {norm}: lower the learning rate")
    if norm > largest:
        for g in gradients:
            g.mul_(largest / norm)
    return norm


def _check_settings(lr: float, weight_decay: float, *shares: float) -> None:
    if lr < 0 or weight_decay < 0:
        raise ValueError(f"lr={lr} and weight_decay={weight_decay} must be at least 0")
    for share in shares:
        if not 0 <= share < 1:
            raise ValueError(f"a beta or momentum of {share} must be at least 0 and less than 1")
