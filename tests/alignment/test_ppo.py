"""PPO: what must hold before, in and after a step; losses against formulas in float64."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from aigc_lab.alignment.actor import ActorCritic
from aigc_lab.alignment.ppo import (
    Experience,
    PPOSettings,
    policy_loss,
    ppo_optimizer,
    ppo_step,
    value_loss,
)
from aigc_lab.alignment.replies import make_reply_batch, reply_log_probs
from aigc_lab.alignment.rollout import Samples
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.heads import set_dropout
from aigc_lab.models.lora import add_lora, lora_parameters
from aigc_lab.swapping import swap

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [1, 1]]
REPLIES = [[5, 3, 10], [2, 10], [7, 7, 1, 2, 3], [10]]
ENDED = torch.tensor([True, True, False, True])
# One step over all replies at a rate so small that nothing moves: what is reported is the start.
STILL = PPOSettings(n_epochs=1, minibatch_size=4, lr=1e-12)


def make_policy(seed=0):
    torch.manual_seed(seed)
    gpt = GPT(GPTConfig(11, context_length=16, d_model=16, n_layers=2, n_heads=2))
    for p in gpt.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return gpt.double().eval()


def make_samples(pad_token=0):
    batch = make_reply_batch(PROMPTS, REPLIES, 16, pad_token)
    return Samples([None] * 4, batch, [""] * 4, ENDED)


def make_actor(policy, kl_coefficient=0.1):
    return ActorCritic(policy, kl_coefficient).double().eval()


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def step(actor, ref, settings, scores=(1.0, 2.0, 5.0, -1.0), samples=None):
    optimizer = ppo_optimizer(actor, settings)
    scores = torch.tensor(scores, dtype=torch.float64)
    return ppo_step(actor, ref, optimizer, samples or make_samples(), scores, settings, chance())


def experience_of(actor, ref, settings, scores=(1.0, 2.0, 5.0, -1.0), samples=None):
    """What a step would learn from, without learning."""
    found = []

    def catch(actor, optimizer, experience, settings, generator):
        found.append(experience)
        return {}

    with swap("aigc_lab.alignment.ppo._optimise", catch):
        numbers = step(actor, ref, settings, scores, samples)
    return found[0], numbers


# ------------------------------------------------------------------------------------- the start


@pytest.mark.parametrize("lora", [False, True])
def test_at_step_0_the_policy_is_its_reference_and_the_one_that_sampled(lora):
    ref, policy = make_policy(), make_policy()
    if lora:
        add_lora(policy, 2, 4)
    numbers = step(make_actor(policy.double()), ref, STILL)
    assert numbers["kl"] == pytest.approx(0, abs=1e-9)
    assert numbers["kl_k3"] == pytest.approx(0, abs=1e-9)
    assert numbers["kl_old"] == pytest.approx(0, abs=1e-9)
    assert numbers["ratio_max"] == pytest.approx(1, abs=1e-9)
    assert numbers["clip_fraction"] == 0 and numbers["ratio_first"] == pytest.approx(1, abs=1e-9)
    assert numbers["explained_variance"] == pytest.approx(0, abs=1e-9)


def test_values_begin_at_0():
    values = make_actor(make_policy())(make_samples().batch)[1]
    assert values.shape == (4, 5) and (values == 0).all()


def test_dropout_is_off_even_if_the_policy_is_set_to_training():
    ref, policy = make_policy(), make_policy()
    for model in (ref, policy):
        set_dropout(model, 0.3)
        model.train()
    actor = make_actor(policy).train()
    numbers = step(actor, ref, STILL)
    assert numbers["kl"] == pytest.approx(0, abs=1e-9) and numbers["clip_fraction"] == 0
    assert actor.training and ref.training


def test_a_temperature_divides_the_logits_of_policy_and_reference():
    policy, ref = make_policy(), make_policy(1)
    settings = dataclasses.replace(STILL, temperature=0.7)
    found, numbers = experience_of(make_actor(policy), ref, settings)
    batch = make_samples().batch
    expected = reply_log_probs(policy, batch, 0.7)
    assert torch.allclose(found.log_probs, expected)
    kl = (expected - reply_log_probs(ref, batch, 0.7)).sum(1).mean().item()
    assert numbers["kl"] == pytest.approx(kl)


# -------------------------------------------------------------------------- rewards and advantages


def test_a_missing_end_has_its_own_score():
    """In place of the reward's: row 2 was cut off, and its 5.0 does not count."""
    policy, ref = make_policy(), make_policy()
    settings = dataclasses.replace(STILL, lam=1.0, missing_end=-1.0)
    found, numbers = experience_of(make_actor(policy), ref, settings)
    assert found.returns[:, 0].tolist() == pytest.approx([1.0, 2.0, -1.0, -1.0])
    assert numbers["score"] == pytest.approx(0.25) and numbers["ended"] == 0.75
    assert numbers["length"] == pytest.approx((3 + 2 + 5 + 1) / 4)


def test_returns_are_the_score_less_the_price_of_the_rest():
    """γ = λ = 1, with values that are not 0: advantage + value = score − β·ΣKL from there on."""
    policy, ref = make_policy(), make_policy(1)
    actor = make_actor(policy, 0.3)
    torch.nn.init.normal_(actor.value_head.weight)
    found, _ = experience_of(actor, ref, dataclasses.replace(STILL, lam=1.0))
    batch = make_samples().batch
    kl = (reply_log_probs(policy, batch) - reply_log_probs(ref, batch)).detach()
    for row, (score, reply) in enumerate(zip([1.0, 2.0, -1.0, -1.0], REPLIES, strict=True)):
        for t in range(len(reply)):
            expected = score - 0.3 * kl[row, t : len(reply)].sum().item()
            assert found.returns[row, t].item() == pytest.approx(expected, rel=1e-5)


def test_a_value_sees_what_is_before_its_token_and_not_the_token():
    actor = make_actor(make_policy())
    torch.nn.init.normal_(actor.value_head.weight)
    batch = make_reply_batch([[1, 2]], [[3, 4, 5]], 16)
    other = make_reply_batch([[1, 2]], [[3, 6, 5]], 16)
    same = (actor(batch)[1] - actor(other)[1])[0].abs() < 1e-9
    assert same.tolist() == [True, True, False]


def test_advantages_are_whitened_over_the_tokens_of_replies():
    found, _ = experience_of(make_actor(make_policy()), make_policy(1), STILL)
    mask = found.batch.reply_mask
    assert found.advantages[mask].mean().item() == pytest.approx(0, abs=1e-9)
    assert found.advantages[mask].std(correction=0).item() == pytest.approx(1, rel=1e-5)
    assert (found.advantages[~mask] == 0).all()


def test_the_scale_of_rewards_does_not_matter_when_they_are_whitened():
    settings = dataclasses.replace(STILL, whiten_rewards=True)
    small, large = (
        experience_of(
            make_actor(make_policy(), 0.1 * scale),
            make_policy(1),
            dataclasses.replace(settings, missing_end=-scale),
            [scale * s for s in (1.0, 2.0, 5.0, -1.0)],
        )[0].returns
        for scale in (1.0, 50.0)
    )
    assert torch.allclose(small, large, rtol=1e-3)


# ----------------------------------------------------------------------------------------- losses


def test_policy_loss_by_cases():
    """(ratio, advantage) → loss and gradient of log p, by the formula of the paper."""
    cases = [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # rose enough
        (0.5, 2.0, -1.0, -1.0),  # fell by mistake: pushed back
        (1.5, -2.0, 3.0, 3.0),  # rose by mistake: pushed back
        (0.5, -2.0, 1.6, 0.0),  # fell enough
    ]
    for ratio, advantage, loss, gradient in cases:
        log_probs = torch.tensor([np.log(ratio)], requires_grad=True)
        found = policy_loss(log_probs, torch.zeros(1), torch.tensor([advantage]), 0.2)
        found.sum().backward()
        assert found.item() == pytest.approx(loss, rel=1e-6)
        assert log_probs.grad.item() == pytest.approx(gradient, rel=1e-6)


def test_first_gradient_is_that_of_reinforce():
    """On the policy that sampled, the clipped loss has the gradient of −A·log p."""
    logits = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    tokens, advantages = torch.arange(7) % 5, torch.randn(7, dtype=torch.float64)
    log_probs = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    clipped = policy_loss(log_probs, log_probs.detach(), advantages, 0.2).sum()
    plain = -(advantages * log_probs).sum()
    ours, theirs = (torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (clipped, plain))
    assert torch.allclose(ours, theirs)


def test_value_loss_by_cases():
    old, returns = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])
    values = torch.tensor([0.1, 0.9, -0.5], requires_grad=True)
    found = value_loss(values, old, returns, 0.2)
    # 0.9 went further than 0.2: the error of the clipped value, 0.8, is the larger, and is flat.
    assert found.tolist() == pytest.approx([0.9**2 / 2, 0.8**2 / 2, 1.5**2 / 2])
    found.sum().backward()
    assert values.grad.tolist() == pytest.approx([-0.9, 0.0, -1.5])


def test_equal_scores_give_no_policy_gradient():
    """Nothing was better than anything else, so nothing is to be learned but the values."""
    actor = make_actor(make_policy(), 0.0)
    settings = PPOSettings(n_epochs=1, minibatch_size=4, lam=1.0, value_weight=0.0, missing_end=0.7)
    step(actor, make_policy(), settings, scores=(0.7, 0.7, 0.7, 0.7))
    for p in actor.policy.parameters():
        assert p.grad.abs().max() < 1e-6


def test_padding_changes_no_gradient():
    """Another token in the padding, and values that are not numbers there."""
    gradients = []
    for pad_token in (0, 10):
        actor = make_actor(make_policy())
        step(actor, make_policy(1), STILL, samples=make_samples(pad_token))
        gradients.append([p.grad for p in actor.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_a_minibatch_holds_the_numbers_of_its_rows():
    found, _ = experience_of(make_actor(make_policy()), make_policy(1), STILL)
    some = found.rows(torch.tensor([3, 1]))
    for name in ("log_probs", "values", "advantages", "returns"):
        assert torch.equal(getattr(some, name), getattr(found, name)[[3, 1]])
    assert torch.equal(some.batch.tokens, found.batch.tokens[[3, 1]])
    assert isinstance(some, Experience)


# -------------------------------------------------------------------------------------- many steps


@pytest.mark.parametrize("lora", [False, True])
def test_the_probability_of_what_is_rewarded_rises(lora):
    """Replies that are scored highly become likelier, and those scored badly less so."""
    ref, policy = make_policy(), make_policy()
    if lora:
        add_lora(policy, 4, 8)
        policy.double()
    before = reply_log_probs(ref, make_samples().batch).sum(1)
    settings = PPOSettings(n_epochs=4, minibatch_size=4, lr=3e-3, missing_end=-1.0)
    actor = make_actor(policy)
    step(actor, ref, settings, scores=(3.0, -3.0, 0.0, 0.0))
    change = (reply_log_probs(policy, make_samples().batch).sum(1) - before).tolist()
    assert change[0] > 0 > change[1]


def test_only_lora_paths_and_the_value_head_learn():
    policy = make_policy()
    add_lora(policy, 2, 4)
    actor = make_actor(policy.double())
    before = {name: p.clone() for name, p in actor.named_parameters()}
    step(actor, make_policy(1), PPOSettings(minibatch_size=2, lr=1e-2))
    moved = {name for name, p in actor.named_parameters() if not torch.equal(p, before[name])}
    paths = {f"policy.{name}" for name in lora_parameters(policy)}
    assert moved == paths | {"value_head.weight", "value_head.bias"}


def test_reference_does_not_change_and_gets_no_gradient():
    ref = make_policy(1)
    before = copy.deepcopy(ref.state_dict())
    step(make_actor(make_policy()), ref, PPOSettings(minibatch_size=2))
    assert all(torch.equal(before[name], p) for name, p in ref.state_dict().items())
    assert all(p.grad is None for p in ref.parameters())


def test_a_price_pulls_the_policy_back_to_its_reference():
    """No scores at all, only KL: replies that the policy likes more than its reference fall."""
    policy, ref = make_policy(), make_policy(1)
    batch = make_samples().batch
    kl = (reply_log_probs(policy, batch) - reply_log_probs(ref, batch)).sum(1)
    before = reply_log_probs(policy, batch).sum(1)
    settings = PPOSettings(n_epochs=4, minibatch_size=4, lr=3e-3, lam=1.0, missing_end=0.0)
    step(make_actor(policy, 1.0), ref, settings, scores=(0.0, 0.0, 0.0, 0.0))
    change = reply_log_probs(policy, batch).sum(1) - before
    assert change[kl.argmax()] < 0 < change[kl.argmin()]


def test_beta_adapts_and_is_part_of_checkpoints():
    actor = make_actor(make_policy(), 0.1)
    settings = dataclasses.replace(STILL, kl_target=1.0, kl_horizon=100)
    numbers = step(actor, make_policy(), settings)  # KL is 0: far below
    assert numbers["kl_coefficient"] == pytest.approx(0.1)
    assert actor.kl_coefficient.item() == pytest.approx(0.1 * (1 - 0.2 * 4 / 100))
    assert "kl_coefficient" in actor.state_dict()
    fixed = make_actor(make_policy(), 0.1)
    step(fixed, make_policy(), STILL)
    assert fixed.kl_coefficient.item() == pytest.approx(0.1)


def test_the_same_seed_makes_the_same_step():
    settings = PPOSettings(minibatch_size=2, lr=1e-2)
    actors = [make_actor(make_policy()) for _ in range(2)]
    for actor in actors:
        step(actor, make_policy(1), settings)
    for one, other in zip(*(a.parameters() for a in actors), strict=True):
        assert torch.equal(one, other)


def test_optimizer_has_the_settings_of_the_detail_list():
    actor = make_actor(make_policy())
    group = ppo_optimizer(actor, PPOSettings(lr=1e-4)).param_groups[0]
    assert (group["lr"], group["eps"], group["decay"]) == (1e-4, 1e-5, 0.0)


@pytest.mark.parametrize(
    "settings",
    [{"clip": 0.0}, {"n_epochs": 0}, {"gamma": 1.1}, {"lam": -0.1}, {"kl_target": 0.0}],
)
def test_refuses_settings_that_make_no_sense(settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=f"{name}="):
        PPOSettings(**settings)
