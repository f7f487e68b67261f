"""GRPO: what must hold before, in and after a step; losses against formulas in float64."""

import copy

import numpy as np
import pytest
import torch

from aigc_lab.alignment.grpo import (
    GRPOSettings,
    group_advantages,
    grpo_step,
    have_differences,
    mean_of_tokens,
    token_losses,
)
from aigc_lab.alignment.replies import make_reply_batch, reply_log_probs
from aigc_lab.alignment.rollout import Samples
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.optimizers import AdamW

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]
REPLIES = [
    [5, 3, 10], [2, 10], [7, 7, 1, 2, 10], [10],
    [1, 10], [4, 4, 4, 10], [10], [8, 10],
    [3, 10], [6, 2, 10], [9, 9, 9, 9, 10], [10],
]  # fmt: skip
REWARDS = torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0], dtype=torch.float64)
G4 = GRPOSettings(group_size=4)


def make_policy(seed=0):
    torch.manual_seed(seed)
    gpt = GPT(GPTConfig(11, context_length=16, d_model=16, n_layers=2, n_heads=2))
    for p in gpt.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return gpt.double().eval()


def make_samples(pad_token=0, rows=slice(None)):
    prompts = [prompt for prompt in PROMPTS for _ in range(4)][rows]
    replies = REPLIES[rows]
    batch = make_reply_batch(prompts, replies, 16, pad_token)
    ended = torch.ones(len(replies), dtype=torch.bool)
    return Samples([None] * len(replies), batch, [""] * len(replies), ended)


def step(policy, settings=G4, rewards=REWARDS, samples=None, ref=None, lr=1e-3):
    optimizer = AdamW(policy.parameters(), lr=lr, weight_decay=0.0)
    chance = torch.Generator().manual_seed(0)
    return grpo_step(policy, ref, optimizer, samples or make_samples(), rewards, settings, chance)


def changes(policy, before):
    pairs = zip(policy.parameters(), before.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


# ------------------------------------------------------------ advantages


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_those_of_the_paper(scale):
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(5, 4))
    expected = rewards - rewards.mean(1, keepdims=True)
    if scale == "group":
        expected /= rewards.std(1, ddof=1, keepdims=True) + 1e-4
    if scale == "batch":
        expected /= rewards.std(ddof=1) + 1e-4
    found = group_advantages(torch.from_numpy(rewards.ravel()), 4, scale)
    assert np.allclose(found.numpy(), expected.ravel())


def test_equal_rewards_give_no_advantage_and_are_told():
    found = group_advantages(REWARDS, 4)
    assert torch.equal(found[4:8], torch.zeros(4, dtype=torch.float64))
    assert have_differences(REWARDS, 4).tolist() == [True, False, True]


def test_a_group_is_of_one_prompt():
    shifted = REWARDS + torch.tensor([0.0, 10, 100]).repeat_interleave(4)  # prompts of other worth
    assert torch.allclose(group_advantages(shifted, 4), group_advantages(REWARDS, 4))


def test_rewards_that_are_no_groups_are_refused():
    with pytest.raises(ValueError, match="no groups of 5"):
        group_advantages(REWARDS, 5)


# ------------------------------------------------------------ losses


def random_inputs(seed=0):
    rng = np.random.default_rng(seed)
    logs, old, ref = (-3 * rng.random((4, 5)) for _ in range(3))
    mask = np.arange(5) < np.array([5, 1, 3, 2])[:, None]
    return logs, old, ref, rng.normal(size=4), mask


def losses_by_hand(logs, old, ref, advantages, low, high, beta):
    found = np.empty_like(logs)
    for (i, t), _ in np.ndenumerate(logs):
        ratio = np.exp(logs[i, t] - old[i, t])
        clipped = min(max(ratio, 1 - low), 1 + high)
        k3 = np.exp(ref[i, t] - logs[i, t]) - (ref[i, t] - logs[i, t]) - 1
        found[i, t] = -min(ratio * advantages[i], clipped * advantages[i]) + beta * k3
    return found


@pytest.mark.parametrize("high", [None, 0.5])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("mean", ["replies", "tokens", "fixed"])
def test_losses_and_their_means_are_the_formulas(high, beta, mean):
    logs, old, ref, advantages, mask = random_inputs()
    settings = GRPOSettings(clip=0.2, clip_high=high, kl_coefficient=beta, mean=mean, longest=20)
    by_hand = losses_by_hand(logs, old, ref, advantages, 0.2, high or 0.2, beta)
    inputs = [torch.from_numpy(x) for x in (logs, old, advantages)]
    losses = token_losses(*inputs, settings, torch.from_numpy(ref))
    assert np.allclose(losses.numpy(), by_hand)
    rows = [row[m] for row, m in zip(by_hand, mask, strict=True)]
    expected = {
        "replies": np.mean([row.mean() for row in rows]),
        "tokens": np.concatenate(rows).mean(),
        "fixed": np.concatenate(rows).sum() / (4 * 20),
    }[mean]
    losses[~torch.from_numpy(mask)] = torch.nan  # what stands in the padding must not be read
    found = mean_of_tokens(losses, torch.from_numpy(mask), settings)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_a_price_without_a_reference_is_refused():
    x = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="give the reference's"):
        token_losses(x, x, x[0], GRPOSettings(kl_coefficient=0.1))


# ------------------------------------------------------------ steps


def test_at_step_0_the_loss_is_0_and_the_gradient_is_reinforce():
    policy, samples = make_policy(), make_samples()
    before = copy.deepcopy(policy)
    numbers = step(policy, ref=before, samples=samples, lr=1e-12)
    assert numbers["loss"] == pytest.approx(0, abs=1e-12)
    assert numbers["kl"] == 0 and numbers["clip_fraction"] == 0
    # The same gradient with no ratio in sight: mean over replies of −A · mean log π.
    advantages = group_advantages(REWARDS, 4)
    logs, lengths = reply_log_probs(before, samples.batch), samples.batch.reply_mask.sum(1)
    (-(advantages * logs.sum(1) / lengths).mean()).backward()
    norm = torch.stack([p.grad.norm() for p in before.parameters()]).norm().item()
    assert norm > 0.01 and numbers["gradient_norm"] == pytest.approx(norm, rel=1e-6)


def test_equal_rewards_change_nothing():
    for settings in (G4, GRPOSettings(group_size=4, only_informative=True)):
        policy = make_policy()
        before = copy.deepcopy(policy)
        numbers = step(policy, settings, torch.ones(12, dtype=torch.float64))
        assert numbers["no_difference"] == 1 and numbers["gradient_norm"] == 0
        assert changes(policy, before) == 0


def test_groups_without_difference_are_counted_and_thin_out_the_others():
    policy, other = make_policy(), make_policy()
    numbers = step(policy, lr=1e-12)
    only = step(other, GRPOSettings(group_size=4, only_informative=True), lr=1e-12)
    assert numbers["no_difference"] == pytest.approx(1 / 3, abs=1e-6) == only["no_difference"]
    assert only["gradient_norm"] == pytest.approx(1.5 * numbers["gradient_norm"], rel=1e-6)
    kept = [*range(4), *range(8, 12)]
    prompts = [prompt for prompt in PROMPTS for _ in range(4)]
    batch = make_reply_batch([prompts[i] for i in kept], [REPLIES[i] for i in kept], 16)
    samples = Samples([None] * 8, batch, [""] * 8, torch.ones(8, dtype=torch.bool))
    alone = step(make_policy(), rewards=REWARDS[kept], samples=samples, lr=1e-12)
    assert only["gradient_norm"] == pytest.approx(alone["gradient_norm"], rel=1e-6)


def test_junk_in_the_padding_changes_nothing():
    one, other = make_policy(), make_policy()
    settings = GRPOSettings(group_size=4, kl_coefficient=0.1, n_epochs=2, minibatch_size=5)
    numbers = step(one, settings, ref=make_policy(1))
    again = step(other, settings, samples=make_samples(pad_token=7), ref=make_policy(1))
    assert numbers == pytest.approx(again, rel=1e-9)
    assert changes(one, other) < 1e-12


def test_the_step_makes_better_replies_likelier():
    policy, samples = make_policy(), make_samples()
    before = reply_log_probs(policy, samples.batch).sum(1).detach()
    for _ in range(3):
        step(policy, GRPOSettings(group_size=4, n_epochs=2), samples=samples)
    moved = reply_log_probs(policy, samples.batch).sum(1).detach() - before
    for group in (slice(0, 4), slice(8, 12)):
        right = REWARDS[group] == 1
        assert moved[group][right].mean() > moved[group][~right].mean() + 0.05


def test_the_clip_is_counted_where_the_policy_has_moved_away():
    settings = GRPOSettings(group_size=4, n_epochs=8, max_norm=1e9)
    assert step(make_policy(), settings, lr=0.02)["clip_fraction"] > 0.1


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="group_size=1"):
        GRPOSettings(group_size=1)
    with pytest.raises(ValueError, match="scale='std'"):
        GRPOSettings(scale="std")
    with pytest.raises(ValueError, match="mean='all'"):
        GRPOSettings(mean="all")
    with pytest.raises(ValueError, match="clip_high=0"):
        GRPOSettings(clip_high=0)
