"""aigc_lab.models.attention_numpy against torch, autograd and finite differences."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aigc_lab.models.attention_numpy import (
    attend_backward,
    attend_blockwise,
    attend_forward,
    softmax,
)

SIZES = [(5, 7, 4, 3), (7, 5, 4, 6), (1, 1, 1, 1), (1, 9, 2, 2), (9, 1, 3, 2)]


def arrays(Tq, Tk, D, Dv, seed=0, size=1.0):
    generator = np.random.default_rng(seed)
    shapes = (Tq, D), (Tk, D), (Tk, Dv)
    q, k, v = (generator.standard_normal(shape) for shape in shapes)
    return size * q, size * k, v


def torch_attention(q, k, v, mask=None):
    q, k, v = (torch.tensor(x, requires_grad=True) for x in (q, k, v))
    return (q, k, v), F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def close(ours, expected, rtol=1e-10, atol=1e-13):
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=atol)


def test_softmax():
    scores = np.random.default_rng(0).standard_normal((3, 4, 5))
    expected = torch.tensor(scores).softmax(-1).numpy()
    close(softmax(scores), expected, rtol=1e-14)
    close(softmax(scores + 1e5), expected, rtol=1e-9)
    close(softmax(np.array([1e5, 0.0, -1e300, -np.inf])), [1, 0, 0, 0])


@pytest.mark.parametrize("sizes", SIZES)
def test_forward_is_torchs(sizes):
    q, k, v = arrays(*sizes)
    out, weights = attend_forward(q, k, v)
    _, expected = torch_attention(q, k, v)
    close(out, expected.detach().numpy())
    assert weights.shape == (len(q), len(k))
    close(weights.sum(-1), 1, rtol=1e-14)
    close(out, weights @ v)


@pytest.mark.parametrize("sizes", SIZES)
def test_backward_is_autograds(sizes):
    q, k, v = arrays(*sizes, seed=1)
    d_out = np.random.default_rng(2).standard_normal((len(q), v.shape[1]))
    tensors, out = torch_attention(q, k, v)
    expected = torch.autograd.grad(out, tensors, torch.tensor(d_out))
    ours = attend_backward(d_out, q, k, v, attend_forward(q, k, v)[1])
    for gradient, expected_gradient in zip(ours, expected, strict=True):
        close(gradient, expected_gradient.numpy())


def test_backward_is_the_slope_of_finite_differences():
    tensors = arrays(3, 4, 2, 3, seed=3)
    d_out = np.random.default_rng(4).standard_normal((3, 3))

    def loss(*tensors):
        return (attend_forward(*tensors)[0] * d_out).sum()

    gradients = attend_backward(d_out, *tensors, attend_forward(*tensors)[1])
    step = 1e-5  # the error is about step^2 + 1e-16 / step
    for number, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):
            up, down = ([x.copy() for x in tensors] for _ in range(2))
            up[number][place] += step
            down[number][place] -= step
            assert gradient[place] == pytest.approx(
                (loss(*up) - loss(*down)) / (2 * step), abs=1e-8
            )


@pytest.mark.parametrize(
    ("Tq", "Tk"), [(1, 1), (5, 5), (7, 12), (12, 12), (1, 9), (16, 16), (13, 40)]
)
@pytest.mark.parametrize("block", [1, 2, 3, 5, 8, 16, 64])
@pytest.mark.parametrize("causal", [False, True])
def test_blockwise_is_plain(Tq, Tk, block, causal):
    q, k, v = arrays(Tq, Tk, 4, 3, seed=Tq + Tk)
    mask = torch.ones(Tq, Tk, dtype=torch.bool).tril(Tk - Tq) if causal else None
    _, expected = torch_attention(q, k, v, mask)
    close(attend_blockwise(q, k, v, block, causal), expected.detach().numpy())


def test_blockwise_with_more_queries_than_keys_and_the_default_block():
    q, k, v = arrays(150, 70, 4, 3)
    close(attend_blockwise(q, k, v), attend_forward(q, k, v)[0])
    close(attend_blockwise(q, k, v, block=20), attend_forward(q, k, v)[0])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_blockwise_with_extreme_scores(causal, order):
    """Scores up to about 1e8 that rise or fall from block to block: exp would overflow at 710."""
    q, k, v = arrays(20, 20, 4, 3, seed=5, size=1e3)
    q, k = np.abs(q), np.abs(k)
    k = k[np.argsort(order * k.sum(-1))]
    mask = torch.ones(20, 20, dtype=torch.bool).tril() if causal else None
    _, expected = torch_attention(q, k, v, mask)
    with np.errstate(over="raise", invalid="raise"):
        out = attend_blockwise(q, k, v, 3, causal)
    # A score of 1e8 is itself only known to 1e8 * 2^-52.
    close(out, expected.detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"block": 64}, {"block": 64, "causal": True}])
def test_blockwise_never_holds_the_matrix(arguments):
    T, block = 4096, 64
    q, k, v = arrays(T, T, 8, 8)
    attend_blockwise(q[:100], k[:100], v[:100])  # what numpy allocates once
    tracemalloc.start()
    attend_blockwise(q, k, v, **arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The output and a few blocks, not the 128 MiB of the matrix of weights.
    assert peak < q.nbytes + 16 * block * block * 8 < T * T * 8 / 100


def test_blockwise_keeps_single_precision_and_takes_integers():
    q, k, v = arrays(6, 6, 4, 3)
    single = attend_blockwise(*(x.astype(np.float32) for x in (q, k, v)))
    assert single.dtype == np.float32
    close(single, attend_forward(q, k, v)[0], rtol=1e-5, atol=1e-6)
    integers = [np.rint(3 * x).astype(np.int64) for x in (q, k, v)]
    close(attend_blockwise(*integers, block=4), attend_forward(*integers)[0])


def test_causal_looks_at_no_later_key():
    q, k, v = arrays(10, 12, 4, 3)
    before = attend_blockwise(q, k, v, 4, causal=True)
    k[7:], v[7:] = 100.0, -50.0
    after = attend_blockwise(q, k, v, 4, causal=True)
    np.testing.assert_array_equal(after[:5], before[:5])  # query i sees keys up to i + 2
    assert (after[5:] != before[5:]).any(-1).all()


def test_blocks_in_the_future_are_not_even_read():
    q, k, v = arrays(12, 12, 4, 3)
    expected = attend_blockwise(q, k, v, 4, causal=True)
    k[8:] = v[8:] = np.nan
    np.testing.assert_array_equal(attend_blockwise(q, k, v, 4, causal=True)[:8], expected[:8])


def test_bad_arguments():
    q, k, v = arrays(5, 4, 2, 2)
    for block in (0, -3):
        with pytest.raises(ValueError, match=f"block={block} must be at least 1"):
            attend_blockwise(q, k, v, block)
    with pytest.raises(ValueError, match="causal attention needs Tq <= Tk, not 5 > 4"):
        attend_blockwise(q, k, v, causal=True)


@pytest.mark.parametrize(("n_keys", "n_values"), [(0, 0), (4, 3), (3, 4), (0, 2)])
def test_keys_without_values(n_keys, n_values):
    message = f"one value per key, at least one: {n_keys} keys, {n_values} values"
    with pytest.raises(ValueError, match=message):
        attend_blockwise(np.zeros((2, 3)), np.zeros((n_keys, 3)), np.zeros((n_values, 3)))


def test_single_precision_stays_single():
    q, k, v = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    out, weights = attend_forward(q, k, v)
    gradients = attend_backward(out, q, k, v, weights)
    assert {x.dtype for x in (out, weights, *gradients, attend_blockwise(q, k, v))} == {q.dtype}


@pytest.mark.parametrize("n_values", [2, 4])
def test_one_value_per_key(n_values):
    with pytest.raises(ValueError, match="one value per key"):
        attend_blockwise(np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((n_values, 4)))


def test_no_keys():
    with pytest.raises(ValueError, match="at least one"):
        attend_blockwise(np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((0, 4)))
