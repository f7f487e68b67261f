"""aigc_lab.models.positional against the formulas, the papers' numbers and transformers."""

import cmath
import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from aigc_lab.models.positional import (
    HALF_SPLIT,
    INTERLEAVED,
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    apply_rope,
    frequencies,
    interleaved_to_half_split,
    rope_angles,
    sinusoidal,
)

FLOAT32_STEP = 2.0**-24  # half the distance between floats just below 1


def exact(tensor, expected, atol=0.0, rtol=0.0):
    torch.testing.assert_close(tensor, expected, atol=atol, rtol=rtol)


# -------------------------------------------------------------------- sinusoidal


@pytest.mark.parametrize(
    ("n_positions", "d_model", "base"), [(50, 16, 1e4), (7, 2, 1e4), (9, 6, 50)]
)
def test_sinusoidal_is_the_papers_formula(n_positions, d_model, base):
    encoding = sinusoidal(n_positions, d_model, base)
    assert encoding.shape == (n_positions, d_model)
    assert encoding.dtype == torch.float32
    for t in range(n_positions):
        for i in range(d_model // 2):
            angle = t / base ** (2 * i / d_model)
            assert encoding[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=FLOAT32_STEP)
            assert encoding[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=FLOAT32_STEP)


def test_sinusoidal_is_exact_far_out():
    """In float32 the angle 100,000 would be rounded to 1/128 and its sine be wrong by as much."""
    encoding = sinusoidal(100_001, 4)[100_000]
    expected = [math.sin(1e5), math.cos(1e5), math.sin(1e3), math.cos(1e3)]
    assert encoding.tolist() == pytest.approx(expected, abs=FLOAT32_STEP)


@pytest.mark.parametrize("k", [1, 5, 37])
def test_a_shift_is_a_rotation(k):
    """PE(t + k) = R_k PE(t), where R_k does not depend on t."""
    d_model = 8
    encoding = sinusoidal(100, d_model).double()
    rotation = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(d_model // 2):
        angle = k * 10_000 ** (-2 * i / d_model)
        sine, cosine = math.sin(angle), math.cos(angle)
        rotation[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            [[cosine, sine], [-sine, cosine]]
        )
    exact(encoding[k:], encoding[:-k] @ rotation.T, atol=4 * FLOAT32_STEP)


def test_frequencies():
    values = frequencies(8, base=16.0)
    assert values.dtype == torch.float64
    assert values.tolist() == pytest.approx([1.0, 0.5, 0.25, 0.125], rel=1e-15)
    assert frequencies(4).tolist() == pytest.approx([1.0, 0.01], rel=1e-15)


@pytest.mark.parametrize("n_dims", [0, -2, 1, 7])
def test_dimensions_without_pairs(n_dims):
    message = rf"^{n_dims} dimensions cannot be cut into pairs: .*even, positive d_model or head"
    with pytest.raises(ValueError, match=message):
        frequencies(n_dims)
    with pytest.raises(ValueError, match=message):
        sinusoidal(3, n_dims)
    with pytest.raises(ValueError, match=message):
        rope_angles(torch.arange(3), n_dims)


# -------------------------------------------------------------------- learned


def test_learned_positions():
    torch.manual_seed(0)
    learned = LearnedPositions(200, 300)
    assert [parameter.shape for parameter in learned.parameters()] == [(200, 300)]
    assert learned.table.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for n in (0, 1, 199, 200):
        assert torch.equal(learned(n), learned.table.weight[:n])
    learned(3).sum().backward()
    assert learned.table.weight.grad[:3].eq(1).all()
    assert learned.table.weight.grad[3:].eq(0).all()
    with pytest.raises(ValueError, match=r"201 tokens .*context_length=200: .*position 200; short"):
        learned(201)


# -------------------------------------------------------------------- rotary


def qk(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))


def test_half_split_is_transformers_llama():
    q, k = (x.float() for x in qk(2, 3, 40, 16))
    config = LlamaConfig(hidden_size=48, num_attention_heads=3, head_dim=16)
    positions = torch.stack([torch.arange(40), torch.arange(40) + 9])
    cos, sin = LlamaRotaryEmbedding(config)(q, positions)
    expected = apply_rotary_pos_emb(q, k, cos, sin)
    ours = rope_angles(positions, 16)
    for x, rotated in zip((q, k), expected, strict=True):
        # Its angles are float32: at position 48 they are off by up to 48 * 2^-24.
        exact(apply_rope(x, *ours, HALF_SPLIT), rotated, atol=48 * 4 * FLOAT32_STEP)


def test_interleaved_is_a_product_of_complex_numbers():
    x, _ = qk(2, 3, 11, 8)
    positions = torch.arange(11)
    angles = positions[:, None] * 10_000.0 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.unflatten(-1, (4, 2)).contiguous())
    expected = torch.view_as_real(pairs * turns).flatten(-2)
    cos, sin = rope_angles(positions, 8)
    exact(apply_rope(x, cos, sin, pairing=INTERLEAVED), expected, atol=16 * FLOAT32_STEP)


def test_the_two_pairings_by_hand():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    cos, sin = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])  # quarter turn, no turn
    assert apply_rope(x, cos, sin, INTERLEAVED).flatten().tolist() == [-2, 1, 3, 4]
    assert apply_rope(x, cos, sin, HALF_SPLIT).flatten().tolist() == [-3, 2, 1, 4]


@pytest.mark.parametrize("pairing", [INTERLEAVED, HALF_SPLIT])
def test_scores_depend_only_on_the_distance(pairing):
    q, k = qk(1, 2, 12, 8)
    angles = {shift: rope_angles(torch.arange(12) + shift, 8) for shift in (0, 5, 1000)}

    def scores(shift):
        cos, sin = angles[shift]
        turned = (apply_rope(x, cos, sin, pairing) for x in (q, k))
        return torch.einsum("bhid,bhjd->bhij", *turned)

    exact(scores(5), scores(0), atol=100 * FLOAT32_STEP)
    exact(scores(1000), scores(0), atol=100 * FLOAT32_STEP)
    # And they do depend on it, and lengths stay.
    plain = torch.einsum("bhid,bhjd->bhij", q, k)
    assert (scores(0) - plain).abs().max() > 0.1
    exact(apply_rope(q, *angles[5], pairing).norm(dim=-1), q.norm(dim=-1), atol=1e-6)


def test_rope_angles_far_out_and_their_shapes():
    positions = torch.tensor([0, 1, 100_000])
    cos, sin = rope_angles(positions, 6, base=500.0)
    assert cos.shape == sin.shape == (3, 3)
    assert cos.dtype == sin.dtype == torch.float32
    for t, position in enumerate(positions.tolist()):
        for i in range(3):
            turn = cmath.exp(1j * position * 500.0 ** (-2 * i / 6))
            # 1e5 * 2^-53 from the float64 angle is far below a step of float32.
            assert cos[t, i].item() == pytest.approx(turn.real, abs=FLOAT32_STEP)
            assert sin[t, i].item() == pytest.approx(turn.imag, abs=FLOAT32_STEP)
    assert rope_angles(torch.zeros(4, 7), 6)[0].shape == (4, 7, 3)


def test_positions_per_sequence():
    x, _ = qk(2, 3, 5, 8)
    positions = torch.stack([torch.arange(5), torch.arange(5) + 3])
    both = apply_rope(x, *rope_angles(positions, 8), HALF_SPLIT)
    for b in range(2):
        alone = apply_rope(x[b : b + 1], *rope_angles(positions[b], 8), HALF_SPLIT)
        assert torch.equal(both[b : b + 1], alone)


@pytest.mark.parametrize("pairing", [INTERLEAVED, HALF_SPLIT])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rope_keeps_dtype_and_shape(pairing, dtype):
    x = torch.randn(2, 3, 5, 8).to(dtype)
    turned = apply_rope(x, *rope_angles(torch.arange(5), 8), pairing)
    assert turned.dtype == dtype
    assert turned.shape == x.shape
    assert torch.equal(turned[:, :, 0], x[:, :, 0])  # position 0 does not turn


def test_bad_arguments_of_apply_rope():
    x = torch.zeros(1, 2, 5, 8)
    angles = rope_angles(torch.arange(5), 8)
    with pytest.raises(ValueError, match=r"pairing='rotated' is neither 'interleaved' nor 'half_"):
        apply_rope(x, *angles, pairing="rotated")
    for wrong in (rope_angles(torch.arange(4), 8), rope_angles(torch.arange(5), 6)):
        shape = str(tuple(wrong[0].shape)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(
            ValueError, match=rf"\(1, 2, 5, 8\) needs .*\(\.\.\., 5, 4\), not {shape}"
        ):
            apply_rope(x, *wrong, HALF_SPLIT)
    with pytest.raises(ValueError, match=r"\(\.\.\., 5, 3\.5\), not \(5, 3\)"):
        apply_rope(torch.zeros(1, 2, 5, 7), *rope_angles(torch.arange(5), 6), HALF_SPLIT)


# -------------------------------------------------------------------- from one pairing to the other


def permute_as_transformers_script(weight, n_heads, dim1, dim2):
    """The formula in transformers' convert_llama_weights_to_hf.py."""
    return weight.view(n_heads, dim1 // n_heads // 2, 2, dim2).transpose(1, 2).reshape(dim1, dim2)


@pytest.mark.parametrize(("n_heads", "head_dim", "d_model"), [(1, 4, 4), (3, 8, 10), (4, 2, 8)])
def test_conversion_is_that_of_transformers(n_heads, head_dim, d_model):
    rows = n_heads * head_dim
    weight = torch.arange(rows * d_model, dtype=torch.float32).view(rows, d_model)
    converted = interleaved_to_half_split(weight, n_heads)
    assert torch.equal(converted, permute_as_transformers_script(weight, n_heads, rows, d_model))
    bias = weight[:, 0].contiguous()
    assert torch.equal(interleaved_to_half_split(bias, n_heads), converted[:, 0])


def test_conversion_within_a_head_by_hand():
    assert interleaved_to_half_split(torch.arange(12), 2).tolist() == [
        0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11,
    ]  # fmt: skip


def test_converted_weights_give_the_same_scores():
    generator = torch.Generator().manual_seed(0)
    n_heads, head_dim, d_model = 2, 8, 10
    x = torch.randn(1, 6, d_model, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, n_heads * head_dim, d_model, generator=generator, dtype=torch.float64)
    angles = rope_angles(torch.arange(6), head_dim)

    def scores(q_weight, k_weight, pairing):
        q, k = (
            apply_rope(
                (x @ w.T).unflatten(-1, (n_heads, head_dim)).transpose(1, 2), *angles, pairing
            )
            for w in (q_weight, k_weight)
        )
        return q @ k.transpose(-2, -1)

    converted = [interleaved_to_half_split(weight, n_heads) for weight in weights]
    expected = scores(*weights, INTERLEAVED)
    exact(scores(*converted, HALF_SPLIT), expected, atol=1e-12)
    assert (scores(*weights, HALF_SPLIT) - expected).abs().max() > 0.1


@pytest.mark.parametrize(("rows", "n_heads"), [(6, 2), (8, 3), (9, 3)])
def test_rows_that_cannot_be_cut(rows, n_heads):
    with pytest.raises(
        ValueError, match=rf"^{rows} rows cannot be cut into n_heads={n_heads} heads"
    ):
        interleaved_to_half_split(torch.zeros(rows, 4), n_heads)


# -------------------------------------------------------------------- ALiBi


def test_slopes_are_the_papers():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    exact(alibi_slopes(16), torch.tensor([2 ** (-i / 2) for i in range(1, 17)]))
    assert alibi_slopes(1).tolist() == [2.0**-8]
    # 12 heads, as in the authors' code: the 8 of 8 heads, then every second of 16 heads.
    twelve = [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    exact(alibi_slopes(12), torch.tensor(twelve))


@pytest.mark.parametrize("n_heads", range(1, 41))
def test_alibi_is_blooms_up_to_a_constant_per_row(n_heads):
    """Bloom adds slope * key position: in each row the same up to a constant, so to softmax."""
    n = 9
    bloom = build_alibi_tensor(torch.ones(1, n), n_heads, torch.float32).view(n_heads, 1, n)
    ours = alibi_bias(n_heads, n)
    past = torch.ones(n, n, dtype=torch.bool).tril()
    difference = (ours - bloom).masked_fill(~past, 0.0)
    exact(difference, difference[..., :1].expand_as(ours).masked_fill(~past, 0.0), atol=1e-5)
    # Its powers are float32: the error grows with the exponent, at most n_heads.
    exact(alibi_slopes(n_heads), bloom[:, 0, 1], rtol=(n_heads + 2) * 2 * FLOAT32_STEP)
    exact(alibi_slopes(n_heads), torch.tensor(slopes_as_authors_code(n_heads)), rtol=2**-23)


def slopes_as_authors_code(n: int) -> list[float]:
    if math.log2(n).is_integer():
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]
    closest = 2 ** math.floor(math.log2(n))
    extra = slopes_as_authors_code(2 * closest)[0::2][: n - closest]
    return slopes_as_authors_code(closest) + extra


@pytest.mark.parametrize(("n_queries", "n_keys"), [(4, 4), (1, 6), (3, 5), (5, None)])
def test_alibi_bias_with_and_without_a_cache(n_queries, n_keys):
    bias = alibi_bias(2, n_queries, n_keys)
    n_keys = n_keys or n_queries
    assert bias.shape == (2, n_queries, n_keys)
    assert bias.dtype == torch.float32
    for head, slope in enumerate([2.0**-4, 2.0**-8]):
        for i in range(n_queries):
            for j in range(n_keys):
                distance = abs(i + n_keys - n_queries - j)
                assert bias[head, i, j].item() == -slope * distance


def test_bad_arguments_of_alibi():
    with pytest.raises(ValueError, match="n_queries=4 exceeds n_keys=3"):
        alibi_bias(2, 4, 3)
    for n_heads in (0, -1):
        with pytest.raises(ValueError, match=rf"n_heads={n_heads} must be at least 1"):
            alibi_slopes(n_heads)
