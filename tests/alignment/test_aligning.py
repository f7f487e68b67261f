"""Recipes of alignment: runs in a folder, resumed bit for bit; what is shipped; the commands."""

import copy
import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from aigc_lab.__main__ import main as command_line
from aigc_lab.alignment import making
from aigc_lab.alignment.judging import judge_policy, policy_scores, win_rate
from aigc_lab.alignment.making import run_aligned, with_lora
from aigc_lab.alignment.recipes import ALIGNED, aligned_recipe
from aigc_lab.alignment.rollout import sample_replies
from aigc_lab.alignment.running import run_steps
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.lora import lora_parameters
from aigc_lab.models.shipped import FOLDER, ShippedModelError, load_shipped, shipped_notes
from aigc_lab.models.shipped_adapter import save_shipped_adapter
from aigc_lab.training.run_folder import TrainSettings, read_log


@pytest.fixture(scope="module")
def chat():
    return load_shipped("chat")


def short(name, n_steps=2, **changes):
    """A recipe cut down to seconds."""
    recipe = aligned_recipe(name, "quick")
    training = dataclasses.replace(
        recipe.training, n_steps=n_steps, n_warmup=0, log_every=1, checkpoint_every=1
    )
    small = {"n_pairs": 8, "batch_size": 4} if hasattr(recipe, "n_pairs") else {}
    if name in ("ppo", "grpo"):
        small = {"n_prompts": 4}
    return dataclasses.replace(recipe, training=training, **small, **changes)


class Counter(torch.nn.Module):
    """One number that a step moves by chance."""

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(1))


def count(folder, n_steps, stop_after=None, resume=False):
    torch.manual_seed(0)
    model = Counter()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def step(number, chance):
        if number == stop_after:
            raise FloatingPointError("NaN")
        optimizer.zero_grad()
        (model.value * torch.randn(1, generator=chance)).sum().backward()
        optimizer.step()
        return {"value": model.value.item(), "lr": optimizer.param_groups[0]["lr"]}

    settings = TrainSettings(n_steps=n_steps, last_rate=0.1, checkpoint_every=1)
    log = run_steps(step, model, [optimizer], settings, folder, resume=resume, show_progress=False)
    return model.value.item(), log


def test_a_run_that_was_broken_off_goes_on_bit_for_bit(tmp_path):
    whole, log = count(tmp_path / "whole", 5)
    with pytest.raises(FloatingPointError):
        count(tmp_path / "broken", 5, stop_after=3)
    assert [line["step"] for line in read_log(tmp_path / "broken")] == [1, 2, 3]
    again, log_again = count(tmp_path / "broken", 5, resume=True)
    assert again == whole
    assert log_again == log
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]


def test_every_step_has_its_own_chance_and_the_rates_fall_in_a_line(tmp_path):
    _, log = count(tmp_path, 4)
    moves = [b["value"] - a["value"] for a, b in zip(log, log[1:], strict=False)]
    assert len({round(move, 6) for move in moves}) == 3
    rates = [line["lr"] for line in log]
    assert rates == pytest.approx([0.5 * (0.1 + 0.9 * left) for left in (1, 0.75, 0.5, 0.25)])


@pytest.mark.parametrize("name", list(ALIGNED))
def test_a_run_writes_its_log_and_can_be_resumed(tmp_path, name, available):
    available(name)
    recipe = short(name)
    model, log = run_aligned(recipe, tmp_path / "run", show_progress=False)
    assert [line["step"] for line in log] == [1, 2]
    again, log_again = run_aligned(recipe, tmp_path / "run", resume=True, show_progress=False)
    assert log_again == log
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    with pytest.raises(FileExistsError, match="--resume"):
        run_aligned(recipe, tmp_path / "run")
    other = dataclasses.replace(recipe, seed=1)
    with pytest.raises(ValueError, match="another recipe"):
        run_aligned(other, tmp_path / "run", resume=True)
    with pytest.raises(FileNotFoundError, match="leave out --resume"):
        run_aligned(recipe, tmp_path / "none", resume=True)


@pytest.fixture
def available():
    """Skip a recipe that needs a shipped model which is not there."""

    def check(name):
        for used in aligned_recipe(name).uses:
            try:
                load_shipped(used)
            except ShippedModelError as error:
                pytest.skip(str(error))

    return check


def test_a_policy_changes_and_its_reference_does_not(tmp_path, chat):
    before = copy.deepcopy(chat[0].state_dict())
    policy, log = run_aligned(short("grpo", n_steps=3), tmp_path, show_progress=False)
    assert any(line["no_difference"] < 1 for line in log)
    moved = [p for name, p in lora_parameters(policy).items() if "lora_B" in name]
    assert all(p.abs().sum() > 0 for p in moved)  # they begin at 0
    for name, parameter in load_shipped("chat")[0].state_dict().items():
        assert torch.equal(parameter, before[name])


def test_scores_of_a_reward_model_are_0_and_1_on_the_reference(tmp_path, chat):
    model, _ = run_aligned(short("reward"), tmp_path, show_progress=False)
    prompts = story_prompts(WorldSettings(), making.N_TO_NORMALISE)
    samples = sample_replies(*chat, prompts, generator=torch.Generator().manual_seed(0))
    scores = making.score_samples(model, samples)
    assert scores.mean().item() == pytest.approx(0, abs=1e-4)
    assert scores.std().item() == pytest.approx(1, abs=1e-4)


def test_a_nan_reward_ends_a_run_with_the_batch_saved(tmp_path, chat, available):
    model, tokenizer = chat
    policy = with_lora(model, 2, 4.0)
    recipe = short("ppo")

    def reward(samples):
        return torch.tensor([0.0, 1.0, float("nan"), 2.0])

    with pytest.raises(
        FloatingPointError, match=r"reply 2 is nan at step 0.*bad_batch_0"
    ) as caught:
        making.train_ppo(policy, model, tokenizer, reward, recipe, tmp_path, show_progress=False)
    assert "last checkpoint is good" in str(caught.value)
    lines = [json.loads(line) for line in (tmp_path / "bad_batch_0.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    assert lines[2]["score"] == "nan"
    assert lines[2]["messages"][0][0] == "user"
    assert lines[2]["reply"]


def test_an_adapter_ships_and_loads_as_a_plain_model(tmp_path, chat):
    model, tokenizer = chat
    policy = with_lora(model, 2, 4.0)
    with torch.no_grad():
        for p in lora_parameters(policy).values():
            p.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    (tmp_path / "chat").symlink_to(FOLDER / "chat")
    notes = {"log": [{"step": 1}], "scores": {"gold": 2.0}}
    save_shipped_adapter(tmp_path / "toy", policy, "chat", "abc", notes)
    loaded, its_tokenizer = load_shipped("toy", tmp_path)
    assert its_tokenizer.vocab_size == tokenizer.vocab_size
    assert not lora_parameters(loaded)
    tokens = torch.tensor([tokenizer.encode("Tell me a story about Mia.")])
    with torch.no_grad():
        ours, theirs, base = loaded(tokens), policy(tokens), model(tokens)
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=5e-3)  # float16
    assert (ours - base).abs().max() > 0.1
    found = shipped_notes("toy", tmp_path)
    assert found["scores"] == {"gold": 2.0}
    assert found["log"] == [{"step": 1}]
    (tmp_path / "toy" / "adapter.safetensors").write_bytes(b"damaged")
    with pytest.raises(ShippedModelError, match="damaged"):
        load_shipped("toy", tmp_path)


def test_the_hash_covers_settings_and_the_models_before(monkeypatch):
    recipe = aligned_recipe("dpo")
    assert recipe.sha256() == aligned_recipe("dpo").sha256()
    assert recipe.sha256() != dataclasses.replace(recipe, lr=2e-3).sha256()
    assert recipe.sha256() != aligned_recipe("dpo", "quick").sha256()
    before = recipe.sha256()
    monkeypatch.setattr("aigc_lab.alignment.recipes.weights_hash", lambda name: "other")
    assert recipe.sha256() != before


def test_unknown_names_are_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no recipe 'rlhf'; choose from reward, ppo"):
        aligned_recipe("rlhf")
    with pytest.raises(ValueError, match="no preset 'slow'; choose from quick, full"):
        aligned_recipe("ppo", "slow")


def test_the_command_line(tmp_path, monkeypatch, chat):
    monkeypatch.setattr(
        "aigc_lab.alignment.commands.aligned_recipe", lambda name, preset: SHORT_DPO
    )
    folder = str(tmp_path / "run")
    runner = CliRunner()
    done = runner.invoke(command_line, ["align", "dpo", "--folder", folder])
    assert done.exit_code == 0, done.output
    assert "everything is in" in done.output
    again = runner.invoke(command_line, ["align", "dpo", "--folder", folder])
    assert again.exit_code == 1
    assert "--resume" in again.output
    both = runner.invoke(command_line, ["align", "dpo", "--resume", "--force"])
    assert both.exit_code == 2
    forced = runner.invoke(command_line, ["align", "dpo", "--folder", folder, "--force"])
    assert forced.exit_code == 0, forced.output


SHORT_DPO = short("dpo")


def test_judging_a_policy_beside_its_reference(chat):
    model, tokenizer = chat
    prompts = story_prompts(WorldSettings(seed=1), 12)
    before = judge_policy(model, model, tokenizer, prompts, seed=0)
    assert before.kl.abs().max() < 1e-4
    policy = with_lora(model, 2, 4.0)
    with torch.no_grad():
        for p in lora_parameters(policy).values():
            p.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    judged = judge_policy(policy, model, tokenizer, prompts, seed=0, batch_size=5)
    # The mean of log π − log π_ref over the policy's own replies, by hand for one of them.
    batch = judged.samples.batch
    row = 7
    real = batch.attention_mask[row]
    tokens = batch.tokens[row][real][None]
    n_reply = int(batch.reply_mask[row].sum())
    with torch.no_grad():
        log_probs = [
            m(tokens).log_softmax(-1)[0, :-1].gather(-1, tokens[0, 1:, None])[-n_reply:].sum()
            for m in (policy, model)
        ]
    assert judged.kl[row].item() == pytest.approx((log_probs[0] - log_probs[1]).item(), abs=1e-3)
    scores = policy_scores(judged, before)
    sd = before.gold.std()
    assert scores["gain"] == pytest.approx(((judged.gold.mean() - before.gold.mean()) / sd).item())
    assert scores["kl"] == pytest.approx(judged.kl.mean().item())
    assert policy_scores(before, before)["win_rate"] == 0.5


def test_win_rate_counts_ties_half():
    assert (
        win_rate(torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([0.0, 2.0, 4.0, -1.0])) == 0.625
    )
