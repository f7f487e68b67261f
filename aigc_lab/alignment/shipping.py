"""From a finished run of alignment to a model that comes with the book.

python -m aigc_lab.alignment.shipping reward          # from runs/reward-full
"""

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_lab.alignment.judging import judge_policy, policy_scores
from aigc_lab.alignment.labellers import bayes_ceiling, sample_pairs
from aigc_lab.alignment.making import run_aligned
from aigc_lab.alignment.recipes import (
    ALIGNED,
    AlignedRecipe,
    GRPORecipe,
    RewardRecipe,
    aligned_recipe,
)
from aigc_lab.alignment.reward import expected_accuracy
from aigc_lab.alignment.verifiable import SHORT_SUMS, try_task
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import StoryPrompt, story_prompts
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.pass_at_k import mean_pass_at_k
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import lora_layers
from aigc_lab.models.shipped import FOLDER, load_shipped, save_shipped
from aigc_lab.models.shipped_adapter import save_shipped_adapter
from aigc_lab.training.commands import ship_command
from aigc_lab.training.run_folder import read_log

HELD_OUT = WorldSettings(seed=1)
N_HELD_OUT, N_PAIRS = 1000, 3000  # prompts for a policy, and for a reward model
N_SUMS, N_TRIES = 200, 16
ALL = ["person", "thing", "place"]  # that a request can ask for


def ship(name: str, run: str | Path, folder: str | Path = FOLDER) -> dict[str, Any]:
    """Judge the model of a finished run on held-out prompts and write it to `folder`/`name`.

    Returns:
        The scores, as `scores_of`.

    Raises:
        ValueError: the run is of another recipe, or not finished.
        FileNotFoundError: there is no run.
    """
    recipe = aligned_recipe(name)
    log = read_log(run)
    n_steps = log[-1]["step"] if log else 0
    if n_steps < recipe.training.n_steps:
        raise ValueError(
            f"the run in {run} is at step {n_steps} of {recipe.training.n_steps}: finish it with "
            f"`python -m aigc_lab align {name} --resume`"
        )
    model, log = run_aligned(recipe, run, resume=True, show_progress=False)
    scores = scores_of(recipe, model)
    notes, place = {"log": log, "scores": scores}, Path(folder) / name
    if lora_layers(model):
        save_shipped_adapter(place, model, recipe.start, recipe.sha256(), notes)
    else:
        _, tokenizer = load_shipped(recipe.start)
        save_shipped(place, model, tokenizer, recipe.sha256(), notes)
    return scores


def scores_of(recipe: AlignedRecipe, model: nn.Module) -> dict[str, Any]:
    """What a trained model is worth on held-out prompts.

    Returns:
        Of a reward model "accuracy" (the chance to foresee a vote of its labeller on `N_PAIRS`
        pairs of fresh replies) and its "ceiling", and both as "_new" for requests that were not in
        training, which all ask for three things, and as "_met" for those of training that do, too;
        of a policy that writes stories those of
        `policy_scores`; of one that adds "before" and "after", with those of `sum_scores`.
    """
    before, tokenizer = load_shipped(recipe.start)
    if isinstance(recipe, GRPORecipe):
        return {
            "before": sum_scores(before, tokenizer),
            "after": sum_scores(model, tokenizer),
        }
    if isinstance(recipe, RewardRecipe):
        drawn = {
            "": story_prompts(HELD_OUT, N_PAIRS),
            "_new": new_prompts(recipe, N_PAIRS),
            "_met": [p for p in _trained_on(recipe) if p.request.constraints() == ALL][:N_PAIRS],
        }
        scores = {}
        for which, prompts in drawn.items():
            if not prompts:  # a short training may ask for no such thing
                continue
            pairs = sample_pairs(before, tokenizer, prompts, seed=1)
            scores["accuracy" + which] = expected_accuracy(model, tokenizer, pairs, recipe.labeller)
            scores["ceiling" + which] = bayes_ceiling(pairs, recipe.labeller)
        return scores
    # The same for all of them: what DPO's votes are about, the reward model's are about, too.
    prompts = new_prompts(recipe, N_HELD_OUT, aligned_recipe("dpo", recipe.preset))
    judged = judge_policy(model, before, tokenizer, prompts, seed=1)
    # Another seed: with the same one both would begin with the same words by chance.
    return policy_scores(judged, judge_policy(before, before, tokenizer, prompts, seed=2))


def new_prompts(recipe: AlignedRecipe, n: int, *others: AlignedRecipe) -> list[StoryPrompt]:
    """Requests for stories that ask for what no request in the recipes' training asked for.

    Another seed would not be enough: there are only so many ways to ask for little.
    """
    seen = {prompt.request for one in (recipe, *others) for prompt in _trained_on(one)}
    found: list[StoryPrompt] = []
    for start in itertools.count(step=n):
        more = story_prompts(HELD_OUT, n, start)
        found += [prompt for prompt in more if prompt.request not in seen]
        if len(found) >= n:
            return found[:n]


def _trained_on(recipe: AlignedRecipe) -> list[StoryPrompt]:
    return story_prompts(recipe.world, recipe.n_requests)


def sum_scores(policy: GPT, tokenizer: Tokenizer) -> dict[str, float]:
    """pass@1 and pass@8 on held-out sums that ask for a short answer, of `N_TRIES` tries each."""
    prompts, chance = SHORT_SUMS.prompts(N_SUMS, 0, True), torch.Generator().manual_seed(1)
    samples = try_task(SHORT_SUMS, policy, tokenizer, prompts, N_TRIES, generator=chance)
    right = SHORT_SUMS.reward(samples).view(-1, N_TRIES) > 0
    found = {f"pass@{k}": mean_pass_at_k(right, k) for k in (1, 8)}
    return found | {"length": samples.batch.reply_mask.sum(1).float().mean().item()}


main = ship_command(ship, ALIGNED)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(prog_name="python -m aigc_lab.alignment.shipping")
