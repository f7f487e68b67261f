"""From a recipe of alignment to a trained model in a folder."""

import copy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_lab.alignment.actor import ActorCritic
from aigc_lab.alignment.dpo import dpo_loss_of
from aigc_lab.alignment.grpo import grpo_step
from aigc_lab.alignment.judging import gold_of
from aigc_lab.alignment.labellers import label, sample_pairs
from aigc_lab.alignment.pairs import PairBatch, PairSource
from aigc_lab.alignment.ppo import ppo_optimizer, ppo_step
from aigc_lab.alignment.recipes import (
    AlignedRecipe,
    ComparedRecipe,
    DPORecipe,
    GRPORecipe,
    PPORecipe,
    RewardRecipe,
)
from aigc_lab.alignment.reward import loss_of_pairs, new_reward_model, score_samples
from aigc_lab.alignment.rollout import Reward, checked_scores, sample_replies
from aigc_lab.alignment.running import run_steps
from aigc_lab.alignment.verifiable import SHORT_SUMS, try_task
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import add_lora, lora_parameters
from aigc_lab.models.reward_model import RewardModel
from aigc_lab.models.shipped import load_shipped
from aigc_lab.training.loop import train
from aigc_lab.training.optimizers import AdamW, make_optimizers
from aigc_lab.training.running import check_recipe_file, refuse_existing_run, write_recipe_file

N_TO_NORMALISE = 512  # replies of the reference on which scores get mean 0 and deviation 1


def run_aligned(
    recipe: AlignedRecipe, folder: str | Path, *, resume: bool = False, show_progress: bool = True
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train by a recipe.

    Returns:
        The model (a reward model, or a policy with LoRA paths) and the lines of the log.

    Raises:
        FileExistsError: the folder has a run and `resume` is not set.
        FileNotFoundError: there is nothing to resume.
        ValueError: the run in the folder was begun by another recipe.
        FloatingPointError: a loss or a reward is not finite; the last checkpoint stays.
    """
    folder = Path(folder)
    if resume:
        check_recipe_file(folder, recipe.sha256)
    else:
        refuse_existing_run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe_file(folder, recipe, recipe.sha256())
    make = {
        RewardRecipe: _make_reward,
        PPORecipe: _make_ppo,
        DPORecipe: _make_dpo,
        GRPORecipe: _make_grpo,
    }[type(recipe)]
    torch.manual_seed(recipe.seed)
    return make(recipe, folder, resume=resume, show_progress=show_progress)


class Comparisons:
    """The comparisons of a recipe as batches; they are made when the first batch is asked for.

    Replies come from the model that the recipe starts from, two to each request. A finished run
    that is opened again does not sample them anew.
    """

    def __init__(self, recipe: ComparedRecipe, model: GPT, tokenizer: Tokenizer):
        self.recipe, self.model, self.tokenizer = recipe, model, tokenizer

    @cached_property
    def source(self) -> PairSource:
        """Batches of pairs, shuffled."""
        recipe = self.recipe
        prompts = story_prompts(recipe.world, recipe.n_pairs)
        pairs = sample_pairs(self.model, self.tokenizer, prompts, recipe.seed)
        return PairSource(
            self.tokenizer,
            label(pairs, recipe.labeller),
            self.model.config.context_length,
            recipe.batch_size,
            recipe.seed,
        )

    def batch(self, step: int) -> PairBatch:
        """The batch of a step, the same whenever it is asked for."""
        return self.source.batch(step)


def _make_reward(
    recipe: RewardRecipe, folder: Path, **running
) -> tuple[RewardModel, list[dict[str, Any]]]:
    chat, tokenizer = load_shipped(recipe.start)
    model = new_reward_model(chat)
    source = Comparisons(recipe, chat, tokenizer)
    optimizers = make_optimizers(model, recipe.lr, muon=True, muon_lr=recipe.muon_lr)
    log = train(model, optimizers, source, recipe.training, folder, loss=loss_of_pairs, **running)
    normalise_on(model, chat, tokenizer, recipe.world)
    return model, log


def normalise_on(
    model: RewardModel, ref_model: GPT, tokenizer: Tokenizer, world: WorldSettings
) -> None:
    """Make scores 0 ± 1 on replies of the reference, so that a price of a nat keeps its meaning."""
    prompts = story_prompts(world, N_TO_NORMALISE)
    chance = torch.Generator().manual_seed(0)
    scores = score_samples(model, sample_replies(ref_model, tokenizer, prompts, generator=chance))
    model.normalise(scores.mean().item(), scores.std().item())


def _make_ppo(recipe: PPORecipe, folder: Path, **running) -> tuple[GPT, list[dict[str, Any]]]:
    ref_model, tokenizer = load_shipped(recipe.start)
    reward_model, _ = load_shipped(recipe.uses[0])
    policy = with_lora(ref_model, recipe.rank, recipe.alpha)
    log = train_ppo(
        policy,
        ref_model,
        tokenizer,
        partial(score_samples, reward_model),
        recipe,
        folder,
        **running,
    )
    return policy, log


def with_lora(model: GPT, rank: int, alpha: float) -> GPT:
    """A copy of a model with LoRA paths: a policy whose reference stays as it is."""
    policy = copy.deepcopy(model)
    add_lora(policy, rank, alpha)
    return policy


def train_ppo(
    policy: GPT,
    ref_model: GPT,
    tokenizer: Tokenizer,
    reward: Reward,
    recipe: PPORecipe,
    folder: Path,
    **running,
) -> list[dict[str, Any]]:
    """Train a policy by PPO on stories, with any reward; `running` as in `run_steps`.

    Returns:
        The lines of the log: what `ppo_step` returns, and for each step the mean "gold" worth of
        the replies, of which the policy learns nothing.
    """
    actor = ActorCritic(policy, recipe.ppo.kl_coefficient)
    optimizer = ppo_optimizer(actor, recipe.ppo)

    def step(number: int, chance: torch.Generator) -> dict[str, Any]:
        prompts = story_prompts(recipe.world, recipe.n_prompts, number * recipe.n_prompts)
        samples = sample_replies(
            policy, tokenizer, prompts, temperature=recipe.ppo.temperature, generator=chance
        )
        scores = checked_scores(reward, samples, folder, number)
        numbers = ppo_step(actor, ref_model, optimizer, samples, scores, recipe.ppo, chance)
        return numbers | {"gold": gold_of(samples).mean().item()}

    return run_steps(step, actor, [optimizer], recipe.training, folder, **running)


def _make_dpo(recipe: DPORecipe, folder: Path, **running) -> tuple[GPT, list[dict[str, Any]]]:
    ref_model, tokenizer = load_shipped(recipe.start)
    policy = with_lora(ref_model, recipe.rank, recipe.alpha)
    optimizer = lora_optimizer(policy, recipe.lr)
    source, loss = Comparisons(recipe, ref_model, tokenizer), dpo_loss_of(ref_model, recipe.dpo)
    return policy, train(policy, [optimizer], source, recipe.training, folder, loss=loss, **running)


def lora_optimizer(policy: GPT, lr: float) -> AdamW:
    """For LoRA paths; decay would pull them to nothing, and the policy to its reference."""
    return AdamW(list(lora_parameters(policy).values()), lr=lr, weight_decay=0.0)


def _make_grpo(recipe: GRPORecipe, folder: Path, **running) -> tuple[GPT, list[dict[str, Any]]]:
    model, tokenizer = load_shipped(recipe.start)
    policy = with_lora(model, recipe.rank, recipe.alpha)
    ref_model = model if recipe.grpo.kl_coefficient else None
    optimizer = lora_optimizer(policy, recipe.lr)

    def step(number: int, chance: torch.Generator) -> dict[str, Any]:
        prompts = SHORT_SUMS.prompts(recipe.n_prompts, recipe.seed * 1_000_003 + number, False)
        samples = try_task(
            SHORT_SUMS,
            policy,
            tokenizer,
            prompts,
            recipe.grpo.group_size,
            temperature=recipe.grpo.temperature,
            generator=chance,
        )
        rewards = checked_scores(SHORT_SUMS.reward, samples, folder, number)
        return grpo_step(policy, ref_model, optimizer, samples, rewards, recipe.grpo, chance)

    return policy, run_steps(step, policy, [optimizer], recipe.training, folder, **running)
