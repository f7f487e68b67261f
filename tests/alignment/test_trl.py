"""Losses and gradients against those of TRL, on random inputs."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from aigc_lab.alignment.dpo import DPOSettings, dpo_loss
from aigc_lab.alignment.grpo import GRPOSettings, mean_of_tokens, token_losses

MASK = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]


def random_logs(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 6, dtype=torch.float64, generator=generator) * 0.4 for _ in range(n)]


class _Model(torch.nn.Module):
    is_gradient_checkpointing = False


def accelerator():
    return SimpleNamespace(
        device="cpu",
        num_processes=1,
        sync_gradients=False,
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )


def metrics():
    return {mode: defaultdict(list) for mode in ("train", "eval")}


def trl_grpo_loss(logs, old, ref, advantages, **settings):
    """TRL's loss of log-probabilities `(B, R)`, as its trainer computes it."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    given = dict(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        use_vllm=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        accelerator=accelerator(),
        _entropy_bonus_enabled=False,
        _metrics=metrics(),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logs, torch.zeros_like(logs), None),
    )
    trainer = SimpleNamespace(**given | settings)
    ones = torch.ones(4, 3, dtype=torch.long)
    inputs = {
        "prompt_ids": ones,
        "prompt_mask": ones,
        "completion_ids": torch.ones(4, 6, dtype=torch.long),
        "completion_mask": MASK.long(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
        "num_items_in_batch": MASK.sum(),
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("high", [0.2, 0.28])
@pytest.mark.parametrize(
    ("loss_type", "mean"),
    [("grpo", "replies"), ("bnpo", "tokens"), ("dapo", "tokens"), ("dr_grpo", "fixed")],
)
def test_grpo(loss_type, mean, high, beta):
    logs, old, ref = random_logs()
    advantages = torch.tensor([1.2, -0.3, 0.5, -1.4], dtype=torch.float64)
    ours, theirs = (logs.clone().requires_grad_() for _ in range(2))
    settings = GRPOSettings(clip_high=high, kl_coefficient=beta, mean=mean, longest=9)
    loss = mean_of_tokens(token_losses(ours, old, advantages, settings, ref), MASK, settings)
    expected = trl_grpo_loss(
        theirs, old, ref, advantages, loss_type=loss_type, beta=beta,
        epsilon_low=0.2, epsilon_high=high, max_completion_length=9,
    )  # fmt: skip
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert ours.grad.abs().max() > 0.01
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-12)


def trl_dpo_loss(logs, ref_logs, mask, **settings):
    """TRL's loss of log-probabilities of tokens `(2B, R)`, 0 where masked: chosen, rejected."""
    from trl.trainer.dpo_trainer import DPOTrainer

    def outputs(values):
        other = torch.zeros_like(values)
        return lambda **_: SimpleNamespace(
            log_probs=values, entropy=other, mean_logits=other, is_top1=other > 0
        )

    given = dict(
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=False,
        ref_model=outputs(ref_logs),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        f_divergence_type="reverse_kl",
        loss_weights=[1.0],
        use_weighting=False,
        model=_Model(),
        accelerator=accelerator(),
        _metrics=metrics(),
        _total_train_tokens=0,
        _tp_size=1,
    )
    # One column more, in front: TRL has not shifted its labels yet.
    mask = torch.cat([torch.zeros(len(mask), 1), mask], dim=1).long()
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
    trainer = SimpleNamespace(**given | settings)
    return DPOTrainer._compute_loss(trainer, outputs(logs), inputs, return_outputs=False)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("loss_type", "settings", "rows"),
    [
        ("sigmoid", DPOSettings(beta=0.3), [0, 1, 2, 3]),
        ("ipo", DPOSettings(beta=0.3, kind="ipo", per_token=True), [0, 1, 2, 3]),
        # TRL smooths labels in "aot" only, which sorts the margins; for one pair that is DPO's.
        ("aot", DPOSettings(beta=0.3, label_smoothing=0.1), [0, 2]),
    ],
)
def test_dpo(loss_type, settings, rows, seed):
    mask = MASK[rows]
    logs, ref_logs = (torch.where(mask, x[rows], 0.0) for x in random_logs(2, seed))
    ours, theirs = (logs.clone().requires_grad_() for _ in range(2))
    # TRL's mean for IPO divides by the completion's tokens, as ours.
    lengths = mask.sum(1) if settings.per_token else 1
    whole, ref_whole = (x.sum(1) / lengths for x in (ours, ref_logs))
    loss = dpo_loss(*whole.chunk(2), *ref_whole.chunk(2), settings).mean()
    expected = trl_dpo_loss(
        theirs, ref_logs, mask, loss_types=[loss_type], beta=settings.beta,
        label_smoothing=settings.label_smoothing,
    )  # fmt: skip
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert ours.grad.abs().max() > 0.01
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-12)
