"""DPO: the loss and its gradient against the paper's formulas in float64."""

import copy
import math

import numpy as np
import pytest
import torch

from aigc_lab.alignment.dpo import (
    DPOSettings,
    dpo_loss,
    dpo_loss_of,
    pair_numbers,
    whole_log_probs,
)
from aigc_lab.alignment.pairs import PairBatch
from aigc_lab.alignment.replies import make_reply_batch
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.optimizers import AdamW

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8]]
CHOSEN = [[5, 3, 10], [2, 10]]
REJECTED = [[7, 7, 1, 2, 10], [9, 10]]


def make_policy(seed=0):
    torch.manual_seed(seed)
    gpt = GPT(GPTConfig(11, context_length=16, d_model=16, n_layers=2, n_heads=2))
    for p in gpt.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return gpt.double().eval()


def make_pairs(pad_token=0, prompts=PROMPTS):
    replies = make_reply_batch(prompts * 2, CHOSEN + REJECTED, 16, pad_token)
    return PairBatch(replies, torch.zeros(2))


def random_logs(seed=0, n=6):
    rng = np.random.default_rng(seed)
    return [torch.tensor(-30 * rng.random(n), requires_grad=True) for _ in range(4)]


def log_prob_by_hand(gpt, prompt, reply):
    """Sum of log p of the reply's tokens, one forward pass without any padding."""
    with torch.no_grad():
        logs = gpt(torch.tensor([prompt + reply]))[0].log_softmax(-1)
    return sum(logs[len(prompt) + i - 1, token].item() for i, token in enumerate(reply))


def test_the_loss_is_ln_2_at_the_start_and_has_a_gradient():
    ref, batch = make_policy(), make_pairs()
    policy = copy.deepcopy(ref)
    loss = dpo_loss_of(ref, DPOSettings(beta=0.3))(policy, batch)
    assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-12)
    loss.backward()
    assert max(p.grad.abs().max() for p in policy.parameters()) > 1e-3
    assert all(p.grad is None for p in ref.parameters())


def test_the_log_probs_of_whole_replies_are_sums_over_their_tokens():
    gpt = make_policy()
    found = whole_log_probs(gpt, make_pairs())
    means = whole_log_probs(gpt, make_pairs(), per_token=True)
    for row, (prompt, reply) in enumerate(zip(PROMPTS * 2, CHOSEN + REJECTED, strict=True)):
        expected = log_prob_by_hand(gpt, prompt, reply)
        assert found[row].item() == pytest.approx(expected, abs=1e-9)
        assert means[row].item() == pytest.approx(expected / len(reply), abs=1e-9)


@pytest.mark.parametrize("beta", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradient_are_the_papers(beta, smoothing):
    logs = random_logs()
    w, x, rw, rx = (part.detach().numpy() for part in logs)
    margin = beta * ((w - rw) - (x - rx))
    p = 1 / (1 + np.exp(-margin))
    expected = (1 - smoothing) * np.log1p(np.exp(-margin)) + smoothing * np.log1p(np.exp(margin))
    losses = dpo_loss(*logs, DPOSettings(beta=beta, label_smoothing=smoothing))
    assert np.allclose(losses.detach().numpy(), expected, rtol=1e-9)
    losses.sum().backward()
    # Rafailov et al., section 4: −β σ(r̂_l − r̂_w) [∇ log π(w) − ∇ log π(l)]
    pull = -beta * ((1 - smoothing) * (1 - p) - smoothing * p)
    assert np.allclose(logs[0].grad.numpy(), pull, atol=1e-12)
    assert np.allclose(logs[1].grad.numpy(), -pull, atol=1e-12)
    assert logs[2].grad is None and logs[3].grad is None


def test_ipo_pulls_the_margin_to_a_half_over_beta():
    logs = random_logs(1)
    w, x, rw, rx = (part.detach().numpy() for part in logs)
    losses = dpo_loss(*logs, DPOSettings(beta=0.2, kind="ipo"))
    assert np.allclose(losses.detach().numpy(), ((w - rw - x + rx) - 2.5) ** 2)
    zero = torch.zeros(1)
    assert dpo_loss(zero + 2.5, zero, zero, zero, DPOSettings(beta=0.2, kind="ipo")).item() == 0


def test_what_is_in_the_padding_and_how_far_it_reaches_changes_nothing():
    ref, policy = make_policy(), make_policy(1)
    loss = dpo_loss_of(ref, DPOSettings())
    plain = loss(policy, make_pairs()).item()
    assert loss(policy, make_pairs(pad_token=9)).item() == pytest.approx(plain, abs=1e-12)
    alone = 0.0
    for row in range(2):  # each pair in a batch of its own: less padding, on both sides
        replies = make_reply_batch([PROMPTS[row]] * 2, [CHOSEN[row], REJECTED[row]], 16)
        alone += loss(policy, PairBatch(replies, torch.zeros(1))).item()
    assert alone == pytest.approx(plain, abs=1e-9)


def test_a_few_steps_move_the_margin_and_leave_the_reference():
    ref, batch = make_policy(), make_pairs()
    policy, before = copy.deepcopy(ref), copy.deepcopy(ref.state_dict())
    optimizer = AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    assert pair_numbers(policy, ref, [batch], 0.1) == {
        "chosen": 0.0, "rejected": 0.0, "margin": 0.0, "right": 0.0,
    }  # fmt: skip
    for _ in range(10):
        optimizer.zero_grad()
        dpo_loss_of(ref, DPOSettings())(policy, batch).backward()
        optimizer.step()
    numbers = pair_numbers(policy, ref, [batch, batch], 0.1)
    assert numbers["right"] == 1 and numbers["chosen"] > numbers["rejected"]
    gap = numbers["chosen"] - numbers["rejected"]
    assert numbers["margin"] == pytest.approx(0.1 * gap, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in ref.state_dict().items())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kind='hinge'"):
        DPOSettings(kind="hinge")
    with pytest.raises(ValueError, match="beta=0"):
        DPOSettings(beta=0)
    with pytest.raises(ValueError, match="half of the votes"):
        DPOSettings(label_smoothing=0.5)
    with pytest.raises(ValueError, match="leave it out with 'ipo'"):
        DPOSettings(kind="ipo", label_smoothing=0.1)
    with pytest.raises(ValueError, match="sums over tokens"):
        DPOSettings(per_token=True)
    policy = make_policy()
    with pytest.raises(ValueError, match="its own reference"):
        dpo_loss_of(policy, DPOSettings())(policy, make_pairs())
