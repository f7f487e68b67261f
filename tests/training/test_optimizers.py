"""AdamW and Muon against torch's own; schedules and clipping."""

import math

import pytest
import torch
from torch import nn

from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.optimizers import (
    AdamW,
    Muon,
    clip_gradients,
    make_optimizers,
    orthogonal,
    warmup_then_decay,
)


def train(make, shapes, n_steps=30, seed=0, scale=1.0):
    """Parameters after some steps on a made-up loss."""
    torch.manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    targets = [torch.randn(shape) for shape in shapes]
    optimizer = make(parameters)
    for step in range(n_steps):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + step % 3)
        pairs = zip(parameters, targets, strict=True)
        loss = sum(scale * (p - t).pow(4).mean() + p.sum() for p, t in pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return parameters


SHAPES = [(4, 6), (6, 4), (5,), ()]


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95), (0.0, 0.5)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_adamw_is_torchs(decay, betas, scale):
    settings = {"lr": 0.01, "betas": betas, "eps": 1e-6, "weight_decay": decay}
    ours = train(lambda p: AdamW(p, **settings), SHAPES, scale=scale)
    theirs = train(lambda p: torch.optim.AdamW(p, **settings), SHAPES, scale=scale)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_muon_is_torchs(momentum):
    def run(make):
        generator = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.ones(shape)) for shape in SHAPES[:2]]
        optimizer = make(parameters)
        for _ in range(5):  # gradients that change their mind: momentum matters
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
        return parameters

    more = {"lr": 0.01, "momentum": momentum, "weight_decay": 0.1}
    ours = run(lambda p: Muon(p, **more, dtype=torch.bfloat16))
    theirs = run(lambda p: torch.optim.Muon(p, **more, adjust_lr_fn="match_rms_adamw"))
    for a, b in zip(ours, theirs, strict=True):
        # bfloat16 has three digits, and the two do the same sums in another order.
        assert (a - b).norm() < 0.06 * (b - 1).norm()


@pytest.mark.parametrize("shape", [(8, 8), (3, 20), (20, 3), (1, 5)])
def test_orthogonal_moves_singular_values_to_one_and_keeps_the_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix, n_steps=8)
    inside = u.T @ found @ v.T
    values = inside.diagonal()
    assert s.max() / s.min() > 3 or min(shape) < 8  # there was something to do
    assert values.min() > 0.65 and values.max() < 1.25
    torch.testing.assert_close(inside, values.diag(), atol=1e-4, rtol=0)


def test_orthogonal_of_zero_is_zero():
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_orthogonal_does_not_depend_on_the_size():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonal(1e-3 * matrix), orthogonal(1e3 * matrix))


def test_a_muon_step_moves_numbers_as_far_as_the_docstring_says():
    parameter = nn.Parameter(torch.zeros(64, 256))
    parameter.grad = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    Muon([parameter], lr=1.0, weight_decay=0.0).step()
    assert 0.1 < parameter.detach().pow(2).mean().sqrt() < 0.4


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_parameters_without_gradient_stay(make):
    parameter = nn.Parameter(torch.ones(2, 2))
    make([parameter], lr=1.0).step()
    assert torch.equal(parameter, torch.ones(2, 2))


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_the_state_can_be_saved_and_loaded(make):
    def run(stop_after):
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.randn(3, 4))
        optimizer = make([parameter], lr=0.1)
        for step in range(6):
            if step == stop_after:
                saved = optimizer.state_dict()
                optimizer = make([parameter], lr=0.1)
                optimizer.load_state_dict(saved)
            optimizer.zero_grad()
            parameter.pow(2).sum().backward()
            optimizer.step()
        return parameter

    assert torch.equal(run(3), run(None))


@pytest.mark.parametrize("muon", [False, True])
def test_every_parameter_of_a_model_is_in_one_optimizer(muon):
    model = GPT(GPTConfig.gpt2(vocab_size=20, context_length=8, d_model=8, n_layers=2, n_heads=2))
    groups = [g for o in make_optimizers(model, 0.01, muon=muon) for g in o.param_groups]
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    for group in groups:
        assert all((p.dim() >= 2) == (group["decay"] > 0) for p in group["params"])


def test_muon_gets_the_matrices_inside_the_blocks():
    model = GPT(GPTConfig(11, context_length=4, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2))
    rest, muon = make_optimizers(model, 0.01, muon=True, muon_lr=0.002)
    assert {g["lr"] for g in rest.param_groups} == {0.01}
    assert {g["lr"] for g in muon.param_groups} == {0.002}
    found = {id(p): g["parts"] for g in muon.param_groups for p in g["params"]}
    inside = {n: p for n, p in model.named_parameters() if n.startswith("blocks.") and p.dim() == 2}
    assert set(found) == {id(p) for p in inside.values()}
    # Fused matrices are known by their parts: queries, keys and values; gate and up.
    assert found[id(model.blocks[0].attention.qkv.weight)] == (16, 8, 8)
    width = model.config.ff_width
    assert found[id(model.blocks[1].feed_forward.gate_up.weight)] == (width, width)
    assert found[id(model.blocks[1].feed_forward.down.weight)] is None


def test_muon_treats_the_parts_of_a_matrix_as_matrices():
    """With gradients of very different size, as queries and values have early in training."""
    torch.manual_seed(0)
    parts = [nn.Parameter(torch.randn(rows, 6)) for rows in (4, 8, 6)]
    gradients = [torch.randn(p.shape) * size for p, size in zip(parts, (1e-4, 1, 30), strict=True)]
    fused = nn.Parameter(torch.cat([p.detach() for p in parts]))
    alone = Muon(parts, lr=0.1)
    together = Muon([{"params": [fused], "parts": (4, 8, 6)}], lr=0.1)
    for _ in range(3):
        for p, gradient in zip(parts, gradients, strict=True):
            p.grad = gradient
        fused.grad = torch.cat(gradients)
        alone.step()
        together.step()
    torch.testing.assert_close(fused, torch.cat(list(parts)))


def test_parts_must_be_all_of_the_matrix():
    with pytest.raises(ValueError, match=r"parts=\(1, 1\) must sum to the 3 rows"):
        Muon([{"params": [nn.Parameter(torch.zeros(3, 2))], "parts": (1, 1)}])


def test_the_schedule_rises_and_falls():
    factors = [warmup_then_decay(step, 100, 10, last=0.1) for step in range(100)]
    assert factors[0] == 0.1 and factors[9] == factors[10] == 1.0
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.1 < factors[-1] < 0.102
    assert factors[55] == pytest.approx(0.55)


@pytest.mark.parametrize("n_warmup", [0, 5])
def test_the_schedule_may_be_all_warmup_or_none(n_warmup):
    assert warmup_then_decay(4 if n_warmup else 0, 5, n_warmup) == 1.0


@pytest.mark.parametrize("step", [-1, 10])
def test_a_step_outside_the_training_is_refused(step):
    with pytest.raises(ValueError, match=rf"step={step} must lie in 0 \.\. n_steps-1=9"):
        warmup_then_decay(step, 10, 2)
    with pytest.raises(ValueError, match="n_warmup=11"):
        warmup_then_decay(0, 10, 11)


@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping_is_torchs(largest):
    def gradients():
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
        for p in parameters[:3]:
            p.grad = torch.randn(p.shape)
        return parameters

    ours, theirs = gradients(), gradients()
    norm = clip_gradients(ours, largest)
    expected = nn.utils.clip_grad_norm_(theirs, largest)
    assert norm == pytest.approx(expected.item())
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_gradient_is_not_clipped_but_reported(value):
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, value])
    with pytest.raises(FloatingPointError, match="norm of the gradients is"):
        clip_gradients([parameter], 1.0)


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (AdamW, {"lr": -1}, "lr=-1"),
        (AdamW, {"weight_decay": -0.1}, "weight_decay=-0.1"),
        (AdamW, {"betas": (0.9, 1.0)}, "1.0 must be at least 0 and less than 1"),
        (Muon, {"momentum": 1.5}, "1.5 must be"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, more, message):
    with pytest.raises(ValueError, match=message):
        make([nn.Parameter(torch.zeros(2, 2))], **more)


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"shape \(3,\); give it to AdamW"):
        Muon([nn.Parameter(torch.zeros(3))])
