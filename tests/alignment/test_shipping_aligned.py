"""Shipping what alignment made: scores, adapters and whole models, and three seeds."""

import dataclasses
import json

import pytest
import torch

from aigc_lab.alignment import seeds, shipping
from aigc_lab.alignment.judging import judge_policy
from aigc_lab.alignment.labellers import sample_pairs
from aigc_lab.alignment.making import run_aligned
from aigc_lab.alignment.recipes import aligned_recipe
from aigc_lab.alignment.reward import new_reward_model
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.lora import lora_parameters
from aigc_lab.models.reward_model import RewardModel
from aigc_lab.models.shipped import FOLDER, load_shipped, shipped_notes


def short(name):
    recipe = aligned_recipe(name, "quick")
    training = dataclasses.replace(recipe.training, n_steps=2, n_warmup=0)
    small = {"n_pairs": 8, "batch_size": 4} if hasattr(recipe, "n_pairs") else {"n_prompts": 4}
    return dataclasses.replace(recipe, training=training, **small)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Few prompts to judge on, and the folder of shipped models with "chat" in it."""
    for name, value in {"N_HELD_OUT": 6, "N_PAIRS": 6, "N_SUMS": 3, "N_TRIES": 8}.items():
        monkeypatch.setattr(shipping, name, value)
    monkeypatch.setattr(shipping, "aligned_recipe", lambda name, preset="full": short(name))
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "chat").symlink_to(FOLDER / "chat")
    return folder


def test_a_reward_model_ships_whole(few, tmp_path):
    trained, _ = run_aligned(short("reward"), tmp_path / "run", show_progress=False)
    scores = shipping.ship("reward", tmp_path / "run", few)
    assert 0 < scores["accuracy"] <= scores["ceiling"] < 1
    with pytest.warns(UserWarning, match="another recipe"):  # this one was cut short
        model, _ = load_shipped("reward", few)
    assert isinstance(model, RewardModel)
    torch.testing.assert_close(model.score.weight, trained.score.weight, atol=1e-3, rtol=1e-3)
    assert shipped_notes("reward", few)["scores"] == scores


def test_a_reward_model_is_judged_on_requests_of_three_kinds(few, monkeypatch):
    recipe = dataclasses.replace(short("reward"), n_pairs=300)
    trained_on = {p.request for p in story_prompts(recipe.world, 300)}
    asked = []

    def note(model, tokenizer, prompts, seed):
        asked.append([prompt.request for prompt in prompts])
        return sample_pairs(model, tokenizer, prompts, seed)

    monkeypatch.setattr(shipping, "sample_pairs", note)
    scores = shipping.scores_of(recipe, new_reward_model(load_shipped("chat")[0]))
    assert set(scores) == {
        name + which for name in ("accuracy", "ceiling") for which in ("", "_new", "_met")
    }
    _, new, met = asked
    assert len(new) == len(met) == 6
    assert not trained_on & set(new) and trained_on >= set(met)
    assert all(request.constraints() == ["person", "thing", "place"] for request in met)


def test_policies_are_judged_on_requests_that_are_new_to_all_of_them(few, monkeypatch):
    asked = []

    def note(policy, ref_model, tokenizer, prompts, seed):
        asked.append([prompt.request for prompt in prompts])
        return judge_policy(policy, ref_model, tokenizer, prompts, seed)

    monkeypatch.setattr(shipping, "judge_policy", note)
    monkeypatch.setattr(shipping, "aligned_recipe", lambda name, preset: voted)
    voted = dataclasses.replace(short("dpo"), n_pairs=400)
    chat = load_shipped("chat")[0]
    for recipe in (voted, short("ppo")):
        shipping.scores_of(recipe, chat)
    trained_on = {p.request for p in story_prompts(voted.world, 400)}
    assert asked[0] == asked[1] == asked[2] == asked[3] and len(asked[0]) == 6
    assert not trained_on & set(asked[0])


def test_a_policy_ships_as_an_adapter(few, tmp_path):
    run_aligned(short("dpo"), tmp_path / "run", show_progress=False)
    scores = shipping.ship("dpo", tmp_path / "run", few)
    assert set(scores) >= {"gold", "gain", "win_rate", "kl"}
    assert (few / "dpo" / "adapter.safetensors").stat().st_size < 400_000
    with pytest.warns(UserWarning, match="another recipe"):
        model, _ = load_shipped("dpo", few)
    assert not lora_parameters(model)


def test_a_policy_that_adds_is_judged_by_pass_at_k(few, tmp_path):
    run_aligned(short("grpo"), tmp_path / "run", show_progress=False)
    scores = shipping.ship("grpo", tmp_path / "run", few)
    for when in ("before", "after"):
        assert 0 <= scores[when]["pass@1"] <= scores[when]["pass@8"] <= 1


def test_a_run_that_is_not_finished_is_refused(few, tmp_path, monkeypatch):
    run_aligned(short("dpo"), tmp_path / "run", show_progress=False)
    monkeypatch.setattr(shipping, "aligned_recipe", lambda name: aligned_recipe(name, "quick"))
    with pytest.raises(ValueError, match=r"step 2 of 32.*align dpo --resume"):
        shipping.ship("dpo", tmp_path / "run", few)


def test_three_seeds_are_three_runs_of_one_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "aligned_recipe", lambda name, preset: short(name))
    monkeypatch.setattr(seeds, "RUNS", tmp_path)
    monkeypatch.setattr(
        seeds, "scores_of", lambda recipe, model: {"seed": recipe.seed, "sum": _sum(model)}
    )
    found = seeds.run(["dpo"], tmp_path / "results.json", show_progress=False)
    assert list(found["runs"]) == ["dpo/0", "dpo/1", "dpo/2"]
    assert [run["seed"] for run in found["runs"].values()] == [0, 1, 2]
    assert len({run["sum"] for run in found["runs"].values()}) == 3
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        "dpo-full", "dpo-full-seed1", "dpo-full-seed2",
    ]  # fmt: skip
    first = json.loads((tmp_path / "dpo-full" / "recipe.json").read_text())
    assert first["recipe"]["seed"] == 0


def _sum(model):
    return sum(p.double().sum().item() for p in lora_parameters(model).values())
