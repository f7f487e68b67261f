"""PPO with its famous bugs, each planted for a few steps: what the dashboard shows of them.

    python -m aigc_lab.alignment.ppo_bugs            # eight minutes, one core

The reward is the gold reward itself, so nothing is wrong but the bug. The logs of three seeds for
each lie in `aigc_lab/weights/ppo_bugs/results.json`.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from aigc_lab.alignment.actor import ActorCritic
from aigc_lab.alignment.judging import gold_of
from aigc_lab.alignment.making import with_lora
from aigc_lab.alignment.planted_bugs import Bug, bugs
from aigc_lab.alignment.ppo import PPOSettings, ppo_optimizer, ppo_step
from aigc_lab.alignment.rollout import sample_replies
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.heads import set_dropout
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.recorded import reader_of, record_runs

RESULTS = FOLDER / "ppo_bugs" / "results.json"
COMMAND = "python -m aigc_lab.alignment.ppo_bugs"
SHOWN = (
    *("score", "gold", "kl", "kl_k3", "kl_old", "entropy", "surprise", "length", "ended"),
    *("explained_variance", "clip_fraction", "ratio_first", "ratio_max"),
)


@dataclass(frozen=True)
class BugStudy:
    """How each is run.

    Args:
        n_steps, n_prompts: steps, and replies of each.
        seeds: of the requests and of all chance.
        ppo: how to optimise.
        rank, alpha: of the LoRA paths.
    """

    n_steps: int = 8
    n_prompts: int = 32
    seeds: tuple[int, ...] = (0, 1, 2)
    ppo: PPOSettings = dataclasses.field(
        default_factory=lambda: PPOSettings(n_epochs=2, lr=1e-3, kl_coefficient=0.1)
    )
    rank: int = 8
    alpha: float = 16.0


def run_with(bug: Bug, study: BugStudy, seed: int) -> dict[str, Any]:
    """A few steps of PPO with a bug: a list for each number, and a "sample" of the policy."""
    ref_model, tokenizer = load_shipped("chat")
    torch.manual_seed(seed)
    policy = with_lora(ref_model, study.rank, study.alpha)
    set_dropout(policy, bug.dropout)
    settings = dataclasses.replace(study.ppo, temperature=bug.temperature)
    actor = ActorCritic(policy, settings.kl_coefficient).eval()
    optimizer = ppo_optimizer(actor, settings)
    found: dict[str, Any] = {name: [] for name in SHOWN}
    for step in range(study.n_steps):
        prompts = story_prompts(
            WorldSettings(seed=10 + seed), study.n_prompts, step * study.n_prompts
        )
        chance = torch.Generator().manual_seed(1000 * seed + step)
        with bug.planted():
            samples = sample_replies(
                policy, tokenizer, prompts, temperature=bug.sampling_temperature, generator=chance
            )
            gold = gold_of(samples)
            numbers = ppo_step(actor, ref_model, optimizer, samples, gold, settings, chance)
        for name in SHOWN:
            value = gold.mean().item() if name == "gold" else numbers[name]
            found[name].append(round(value, 5))
    prompts, chance = story_prompts(WorldSettings(seed=1), 1), torch.Generator().manual_seed(0)
    sample = sample_replies(policy, tokenizer, prompts, generator=chance).texts[0]
    return found | {"sample": sample}


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
def main(results: Path, resume: bool) -> None:
    """Run PPO with each bug and each seed."""
    torch.set_num_threads(1)
    study = BugStudy()
    cells = [
        (f"{name}, seed {seed}", lambda bug=bug, seed=seed: run_with(bug, study, seed))
        for name, bug in bugs(load_shipped("chat")[1]).items()
        for seed in study.seeds
    ]
    record_runs(results, dataclasses.asdict(study), cells, resume=resume)


if __name__ == "__main__":
    # Under its own name: `swap` looks for functions in the modules of aigc_lab, not in __main__.
    from aigc_lab.alignment import ppo_bugs

    ppo_bugs.main(prog_name=COMMAND)
