"""Our attention beside torch's own, on the processor."""

import torch
from torch.nn import functional as F

from aigc_lab.models.attention import attend, causal_mask
from benchmarks.timing import Result, median_seconds

BATCH, HEADS, HEAD_DIM = 2, 8, 64


def run(lengths: tuple[int, ...], repeats: int) -> list[Result]:
    """Causal attention forward and backward at each sequence length."""
    return [_measure(length, repeats) for length in lengths]


def _measure(length: int, repeats: int) -> Result:
    torch.manual_seed(0)
    shape = BATCH, HEADS, length, HEAD_DIM
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    mask = causal_mask(length)

    def ours() -> torch.Tensor:
        out, _ = attend(q, k, v, mask=mask)
        torch.autograd.grad(out.sum(), (q, k, v))
        return out

    def peer() -> torch.Tensor:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        torch.autograd.grad(out.sum(), (q, k, v))
        return out

    torch.testing.assert_close(ours(), peer())
    our_time, peer_time = median_seconds(ours, peer, repeats=repeats)
    return Result(
        task=f"causal attention there and back, B={BATCH} H={HEADS} T={length} D={HEAD_DIM}",
        ours=f"{1000 * our_time:.1f} ms",
        peers=f"torch {1000 * peer_time:.1f} ms",
        ratio=f"{our_time / peer_time:.1f}x",
    )
