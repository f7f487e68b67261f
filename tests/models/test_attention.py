"""aigc_lab.models.attention against torch's own attention."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aigc_lab.models.attention import MultiHeadAttention, attend, causal_mask, padding_mask
from aigc_lab.models.positional import HALF_SPLIT, apply_rope, rope_angles

# Both sides sum at most some hundred float64 products of size 1, in different orders.
TOLERANCE = 1e-12


def close(tensor, expected, atol=TOLERANCE):
    torch.testing.assert_close(tensor, expected, atol=atol, rtol=0)


def inputs(B=2, H=4, H_kv=None, Tq=5, Tk=7, D=8, Dv=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (B, H, Tq, D), (B, H_kv or H, Tk, D), (B, H_kv or H, Tk, Dv)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]


def random_mask(*shape, seed=0):
    """Random, but each query may look somewhere."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=generator) < 0.6
    mask[..., 0] |= ~mask.any(-1)
    return mask


def same_with_gradients(ours, theirs, tensors):
    close(ours, theirs)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    our_gradients = torch.autograd.grad((ours * weights).sum(), tensors, retain_graph=True)
    their_gradients = torch.autograd.grad((theirs * weights).sum(), tensors, retain_graph=True)
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        close(our_gradient, their_gradient)


# -------------------------------------------------------------------- attend


@pytest.mark.parametrize(("Tq", "Tk"), [(5, 7), (7, 5), (1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("scale", [None, 0.3, 1.0])
def test_plain(Tq, Tk, scale):
    q, k, v = inputs(Tq=Tq, Tk=Tk)
    expected = F.scaled_dot_product_attention(q, k, v, scale=scale)
    same_with_gradients(attend(q, k, v, scale=scale)[0], expected, (q, k, v))


def test_causal():
    q, k, v = inputs(Tq=7, Tk=7)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    same_with_gradients(attend(q, k, v, mask=causal_mask(7))[0], expected, (q, k, v))


@pytest.mark.parametrize(
    "shape", [(5, 7), (1, 7), (2, 1, 5, 7), (2, 4, 5, 7), (4, 1, 7), (2, 1, 1, 7)]
)
def test_masks(shape):
    q, k, v = inputs()
    mask = random_mask(*shape)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out, weights = attend(q, k, v, mask=mask)
    same_with_gradients(out, expected, (q, k, v))
    assert weights[~mask.expand_as(weights)].eq(0).all()


@pytest.mark.parametrize("shape", [(5, 7), (2, 4, 5, 7), (4, 5, 7), (1, 4, 1, 7)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_bias(shape, scale):
    q, k, v = inputs()
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(2)).double()
    bias.requires_grad_()
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    same_with_gradients(attend(q, k, v, bias=bias, scale=scale)[0], expected, (q, k, v, bias))


def test_bias_as_additive_mask_and_together_with_a_mask():
    q, k, v = inputs()
    mask, bias = random_mask(5, 7), torch.randn(4, 5, 7).double()
    additive = torch.zeros(5, 7).double().masked_fill(~mask, -torch.inf)
    close(attend(q, k, v, bias=additive)[0], attend(q, k, v, mask=mask)[0])
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias + additive)
    close(attend(q, k, v, mask=mask, bias=bias)[0], expected)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_grouped_queries(n_kv_heads, masked):
    q, k, v = inputs(H_kv=n_kv_heads)
    mask = random_mask(2, 4, 5, 7) if masked else None
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    same_with_gradients(attend(q, k, v, mask=mask)[0], expected, (q, k, v))


def test_weights_are_a_softmax_and_the_output_their_average():
    q, k, v = inputs()
    for mask in (None, random_mask(2, 1, 5, 7)):
        out, weights = attend(q, k, v, mask=mask)
        assert weights.shape == (2, 4, 5, 7)
        close(weights.sum(-1), torch.ones(2, 4, 5).double())
        assert weights.ge(0).all()
        close(out, torch.einsum("bhij,bhjd->bhid", weights, v))


def test_a_query_that_may_look_nowhere():
    q, k, v = inputs()
    mask = random_mask(2, 1, 5, 7)
    mask[0, 0, 2] = False
    mask[1] = False
    out, weights = attend(q, k, v, mask=mask)
    nowhere = ~mask.any(-1).expand(2, 4, 5)
    assert weights[nowhere].eq(0).all()
    assert out[nowhere].eq(0).all()
    close(weights[~nowhere].sum(-1), torch.ones_like(weights[~nowhere].sum(-1)))
    with torch.autograd.set_detect_anomaly(True):  # not even a NaN that is thrown away later
        out, weights = attend(q, k, v, mask=mask)
        gradients = torch.autograd.grad(out.pow(2).sum() + weights.pow(2).sum(), (q, k, v))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0][nowhere].eq(0).all()
    assert all(gradient[1].eq(0).all() for gradient in gradients)
    # The other rows do not notice.
    expected = F.scaled_dot_product_attention(q[:1], k[:1], v[:1], attn_mask=mask[:1])
    close(out[0][~nowhere[0]], expected[0][~nowhere[0]])


def test_a_bias_of_minus_infinity_hides_like_a_mask():
    q, k, v = inputs()
    mask = random_mask(2, 1, 5, 7)
    mask[0, 0, 2] = False
    shows = random_mask(4, 5, 7, seed=1)
    shows[:, 3] = False  # query 3 sees nothing
    bias = torch.randn(4, 5, 7).double()
    hiding = bias.masked_fill(~shows, -torch.inf)
    for given, expected in (
        ({"bias": hiding}, {"bias": bias, "mask": shows}),
        ({"bias": hiding, "mask": mask}, {"bias": bias, "mask": mask & shows}),
    ):
        with torch.autograd.set_detect_anomaly(True):
            out, weights = attend(q, k, v, **given)
            expected_out, expected_weights = attend(q, k, v, **expected)
            close(weights, expected_weights)
            same_with_gradients(out, expected_out, (q, k, v))
    assert attend(q, k, v, bias=torch.full((5, 7), -torch.inf))[0].eq(0).all()


def test_half_precision_does_not_overflow_before_the_scale():
    """The products sum to 64 * 32 * 32 = 65,536, more than float16 holds; scaled, to 8,192."""
    q = torch.full((1, 1, 2, 64), 32.0, dtype=torch.float16)
    out, weights = attend(q, q, q)
    assert out.eq(32).all()
    assert weights.eq(0.5).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_single_precision_bias_leaves_half_precision_alone(dtype):
    q, k, v = (x.detach().to(dtype) for x in inputs())
    out, weights = attend(q, k, v, bias=torch.zeros(4, 5, 7))
    assert out.dtype == weights.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores_stay_finite(dtype):
    q, k, v = (x.detach().to(dtype) for x in inputs(Tq=7, Dv=8))
    q, k = (1e4 * q).requires_grad_(), k.requires_grad_()
    for mask in (None, causal_mask(7)):
        out, weights = attend(q, k, v, mask=mask, scale=1.0)
        assert weights.isfinite().all()
        if mask is not None:  # not even the highest score overrules the mask
            assert weights[..., ~mask].eq(0).all()
        close(weights.sum(-1), torch.ones(2, 4, 7, dtype=dtype), atol=1e-6)
        gradients = torch.autograd.grad(out.sum(), (q, k))
        assert all(gradient.isfinite().all() for gradient in gradients)
    # Where the largest score leads by thousands, the query takes that value alone.
    scores = (q @ k.transpose(-2, -1)).detach()
    first, second = scores.topk(2, dim=-1).values.unbind(-1)
    out = attend(q, k, v, scale=1.0)[0]
    chosen = v.gather(2, scores.argmax(-1, keepdim=True).expand(-1, -1, -1, 8))
    clear = first - second > 200
    assert clear.sum() > 40
    close(out[clear], chosen[clear])


def test_gradients_against_finite_differences():
    q, k, v = inputs(B=1, H=2, H_kv=1, Tq=3, Tk=4, D=2, Dv=3)
    mask = random_mask(3, 4)
    mask[1] = False
    bias = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *x: attend(*x[:3], mask=mask, bias=x[3]), (q, k, v, bias)
    )


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 5, 8), (4, 7, 8), (4, 7, 6)), "must have four dimensions"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (4, 7, 6)), "must have four dimensions"),
        (((2, 4, 5, 8), (2, 4, 7, 6), (2, 4, 7, 6)), "q and k must have the same head_dim"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 6, 6)), "k and v must agree in B, H and T"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (2, 2, 7, 6)), "k and v must agree in B, H and T"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (1, 4, 7, 6)), "k and v must agree in B, H and T"),
        (((2, 4, 5, 8), (1, 4, 7, 8), (1, 4, 7, 6)), "q and k must have the same batch size"),
        (((2, 4, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6)), "must be a multiple of the key heads"),
        (((2, 2, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)), "must be a multiple of the key heads"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message):
    with pytest.raises(ValueError, match=message) as caught:
        attend(*(torch.zeros(shape) for shape in shapes))
    assert f"q {shapes[0]}, k {shapes[1]}, v {shapes[2]}" in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 7), (5, 5), (3, 1, 1, 7), (1, 2, 4, 5, 7), (2, 2, 5, 7)])
def test_masks_that_do_not_fit(shape):
    q, k, v = inputs()
    message = r"of shape \(.*\) does not broadcast to .*\(2, 4, 5, 7\); .*mask\[:, None, None, :\]"
    with pytest.raises(ValueError, match="mask " + message) as caught:
        attend(q, k, v, mask=torch.ones(shape, dtype=torch.bool))
    assert str(shape) in str(caught.value)
    with pytest.raises(ValueError, match="bias " + message):
        attend(q, k, v, bias=torch.ones(shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_masks_that_are_not_boolean(dtype):
    q, k, v = inputs()
    with pytest.raises(ValueError, match=rf"mask must be boolean.*not {dtype}; .*into `bias`"):
        attend(q, k, v, mask=torch.ones(5, 7, dtype=dtype))


# -------------------------------------------------------------------- masks


@pytest.mark.parametrize(("n_queries", "n_keys"), [(4, None), (4, 4), (1, 5), (3, 5), (0, 3)])
def test_causal_mask(n_queries, n_keys):
    mask = causal_mask(n_queries, n_keys)
    n_keys = n_queries if n_keys is None else n_keys
    assert mask.dtype == torch.bool
    assert mask.shape == (n_queries, n_keys)
    for i, j in itertools.product(range(n_queries), range(n_keys)):
        assert mask[i, j].item() == (j <= i + n_keys - n_queries)


def test_causal_mask_with_too_many_queries():
    with pytest.raises(ValueError, match="n_queries=4 exceeds n_keys=3"):
        causal_mask(4, 3)
    assert causal_mask(2, device=torch.device("meta")).device.type == "meta"


def test_padding_mask():
    mask = padding_mask(torch.tensor([0, 2, 3]), 3)
    assert mask.shape == (3, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[False] * 3, [True, True, False], [True] * 3]
    assert padding_mask(torch.tensor([], dtype=torch.int64), 3).shape == (0, 1, 1, 3)
    for bad in (torch.tensor([1.0, 2.0]), torch.tensor([[1, 2]]), torch.tensor(1)):
        with pytest.raises(ValueError, match=r"one integer per sequence, \(B,\), not torch\."):
            padding_mask(bad, 3)
    for bad in ([4, 1], [1, -1]):
        with pytest.raises(ValueError, match=rf"lengths \[{bad[0]}, {bad[1]}\] .*0 and n_keys=3"):
            padding_mask(torch.tensor(bad), 3)


# -------------------------------------------------------------------- MultiHeadAttention


def pair(bias: bool, d_model=12, n_heads=3):
    """Ours and torch's with the same weights."""
    torch.manual_seed(0)
    ours = MultiHeadAttention(d_model, n_heads, bias=bias).double()
    theirs = nn.MultiheadAttention(d_model, n_heads, bias=bias, batch_first=True).double()
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
    theirs.out_proj.weight.data = ours.o_proj.weight.data.clone()
    if bias:
        theirs.in_proj_bias.data = torch.cat([p.bias.data for p in projections])
        theirs.out_proj.bias.data = ours.o_proj.bias.data.clone()
    return ours, theirs


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("masking", ["none", "causal", "padding"])
def test_module_equals_torchs(bias, cross, masking):
    ours, theirs = pair(bias)
    x = torch.randn(2, 5, 12).double().requires_grad_()
    context = torch.randn(2, 7, 12).double().requires_grad_() if cross else None
    source = x if context is None else context
    n_keys = source.shape[1]
    mask, settings = None, {}
    if masking == "causal":
        mask = causal_mask(5, n_keys)
        settings = {"attn_mask": ~mask}
    elif masking == "padding":
        lengths = torch.tensor([3, n_keys])
        mask = padding_mask(lengths, n_keys)
        settings = {"key_padding_mask": ~mask[:, 0, 0]}
    out, weights = ours(x, context, mask=mask)
    expected, expected_weights = theirs(x, source, source, average_attn_weights=False, **settings)
    close(weights, expected_weights)
    same_with_gradients(out, expected, (x, source) if cross else (x,))
    # Gradients of the parameters too.
    out.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    ours_in = torch.cat([p.weight.grad for p in (ours.q_proj, ours.k_proj, ours.v_proj)])
    close(ours_in, theirs.in_proj_weight.grad, atol=1e-11)
    close(ours.o_proj.weight.grad, theirs.out_proj.weight.grad, atol=1e-11)


@pytest.mark.parametrize("n_kv_heads", [1, 2])
def test_grouped_queries_are_multi_head_attention_with_repeated_weights(n_kv_heads):
    torch.manual_seed(0)
    grouped = MultiHeadAttention(16, 4, n_kv_heads, bias=True).double()
    full = MultiHeadAttention(16, 4, bias=True).double()
    assert grouped.k_proj.out_features == grouped.v_proj.out_features == 4 * n_kv_heads
    state = {}
    for name, tensor in grouped.state_dict().items():
        if name.startswith(("k_proj", "v_proj")):
            heads = tensor.unflatten(0, (n_kv_heads, 4))
            tensor = heads.repeat_interleave(4 // n_kv_heads, dim=0).flatten(0, 1)
        state[name] = tensor
    full.load_state_dict(state)
    x = torch.randn(2, 6, 16).double()
    for ours, expected in zip(grouped(x), full(x), strict=True):
        close(ours, expected)


@pytest.mark.parametrize("bias", [False, True])
def test_parameters(bias):
    module = MultiHeadAttention(12, 6, 2, bias=bias)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    weights = {"q_proj": (12, 12), "k_proj": (4, 12), "v_proj": (4, 12), "o_proj": (12, 12)}
    expected = {f"{name}.weight": shape for name, shape in weights.items()}
    if bias:
        expected |= {f"{name}.bias": shape[:1] for name, shape in weights.items()}
    assert shapes == expected
    assert MultiHeadAttention(4, 2).o_proj.bias is None


def test_bias_and_rope_reach_the_scores():
    torch.manual_seed(0)
    module = MultiHeadAttention(16, 4, 2).double()
    x, bias = torch.randn(2, 6, 16).double(), torch.randn(4, 6, 6).double()
    angles = rope_angles(torch.arange(6), 4)
    q = module.q_proj(x).view(2, 6, 4, 4).transpose(1, 2)
    k, v = (
        p(x).view(2, 6, 2, 4).transpose(1, 2).repeat_interleave(2, 1)
        for p in (module.k_proj, module.v_proj)
    )
    heads = F.scaled_dot_product_attention(
        apply_rope(q, *angles, HALF_SPLIT), apply_rope(k, *angles, HALF_SPLIT), v, attn_mask=bias
    )
    expected = module.o_proj(heads.transpose(1, 2).reshape(2, 6, 16))
    close(module(x, bias=bias, rope=angles)[0], expected)
    assert (module(x, bias=bias)[0] - expected).abs().max() > 1e-3
    assert (module(x, rope=angles)[0] - expected).abs().max() > 1e-3


def test_without_positions_or_masks_order_does_not_matter():
    torch.manual_seed(0)
    module = MultiHeadAttention(12, 3).double()
    x, order = torch.randn(2, 6, 12).double(), torch.randperm(6)
    close(module(x[:, order])[0], module(x)[0][:, order])
    assert (module(x[:, order])[0] - module(x)[0]).abs().max() > 1e-3


def test_bad_arguments_of_the_module():
    with pytest.raises(ValueError, match="d_model=10 is not divisible by n_heads=3"):
        MultiHeadAttention(10, 3)
    with pytest.raises(ValueError, match="n_heads=0"):
        MultiHeadAttention(10, 0)
    for n_kv_heads in (0, 3, 8, -1):
        with pytest.raises(
            ValueError, match=f"n_heads=4 is not divisible by n_kv_heads={n_kv_heads}"
        ):
            MultiHeadAttention(8, 4, n_kv_heads)
    module, x = MultiHeadAttention(8, 2), torch.zeros(2, 5, 8)
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 8\), not \(2, 5, 6\)"):
        module(torch.zeros(2, 5, 6))
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 8\), not \(5, 8\)"):
        module(torch.zeros(5, 8))
    with pytest.raises(ValueError, match=r"context must have shape \(B, T, 8\), not \(2, 5, 6\)"):
        module(x, torch.zeros(2, 5, 6))
    with pytest.raises(ValueError, match="rope compares places in one sequence"):
        module(x, x, rope=rope_angles(torch.arange(5), 4))


def test_nan_in_a_bias_stays_visible():
    q, k, v = torch.randn(3, 1, 1, 2, 4)
    bias = torch.tensor([[0.0, torch.nan], [0.0, 0.0]])
    out, _ = attend(q, k, v, bias=bias)
    assert out[0, 0, 0].isnan().all() and out[0, 0, 1].isfinite().all()


@pytest.mark.parametrize("lengths", [torch.tensor([1.5, 2.0]), torch.tensor([[1, 2]])])
def test_lengths_must_be_a_row_of_integers(lengths):
    with pytest.raises(ValueError, match="lengths must be one integer per sequence"):
        padding_mask(lengths, 4)


def test_no_heads_or_no_width():
    with pytest.raises(ValueError, match="at least one head"):
        attend(torch.zeros(1, 2, 3, 4), torch.zeros(1, 0, 3, 4), torch.zeros(1, 0, 3, 4))
    with pytest.raises(ValueError, match="head_dim at least 1"):
        attend(torch.zeros(1, 1, 3, 0), torch.zeros(1, 1, 3, 0), torch.zeros(1, 1, 3, 4))
