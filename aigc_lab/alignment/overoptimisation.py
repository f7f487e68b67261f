"""A policy that is optimised for a reward model too far, and what delays it.

    python -m aigc_lab.alignment.overoptimisation    # half an hour, one core; --resume goes on

Weak reward models are trained on few comparisons. Policies are trained on them by PPO, three seeds
each: without a price of distance, with one, and without one on the worst of four reward models.
After every step the learned ("proxy") reward and the gold one are recorded, which no policy learns
from. `aigc_lab/weights/overoptimisation/results.json` holds what was measured.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from aigc_lab.alignment.labellers import Labeller, label, sample_pairs
from aigc_lab.alignment.making import normalise_on, train_ppo, with_lora
from aigc_lab.alignment.ppo import PPOSettings
from aigc_lab.alignment.recipes import PPORecipe
from aigc_lab.alignment.reward import RewardSettings, score_samples, train_reward_model
from aigc_lab.alignment.rollout import Samples
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.reward_model import RewardModel
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.recorded import reader_of, record_command, record_runs
from aigc_lab.training.run_folder import TrainSettings

RESULTS = FOLDER / "overoptimisation" / "results.json"
COMMAND = "python -m aigc_lab.alignment.overoptimisation"
KEPT = (
    "score", "gold", "kl", "entropy", "length", "ended", "explained_variance", "clip_fraction",
    "kl_old",
)  # fmt: skip


@dataclass(frozen=True)
class Overoptimisation:
    """The study.

    Args:
        n_pairs, n_epochs: of a weak reward model's comparisons, and passes over them.
        n_models: reward models, each with its own comparisons and order.
        n_members: of an ensemble.
        n_steps, n_prompts: of each run of PPO, and its replies in a step.
        ppo: how to optimise; its price of distance is changed from way to way.
        price: β, where there is one.
        seeds: of the runs. Run s uses reward model 2·s, and an ensemble those after it too.
    """

    n_pairs: int = 2000
    n_epochs: int = 2
    n_models: int = 6
    n_members: int = 4
    n_steps: int = 40
    n_prompts: int = 64
    ppo: PPOSettings = dataclasses.field(
        default_factory=lambda: PPOSettings(n_epochs=2, lr=1e-3, kl_coefficient=0.0)
    )
    price: float = 0.25
    seeds: tuple[int, ...] = (0, 1, 2)

    def ways(self) -> dict[str, tuple[float, int]]:
        """The price of distance, and how many reward models, of each way."""
        return {
            "no price": (0.0, 1),
            "a price": (self.price, 1),
            "worst of several": (0.0, self.n_members),
        }


def weak_reward_model(study: Overoptimisation, number: int) -> RewardModel:
    """Reward model `number`, trained on its own few comparisons."""
    chat, tokenizer = load_shipped("chat")
    world = WorldSettings()
    prompts = story_prompts(world, study.n_pairs, start=100_000 + number * study.n_pairs)
    pairs = sample_pairs(chat, tokenizer, prompts, seed=number)
    preferences = label(pairs, Labeller(seed=number))
    settings = RewardSettings(n_epochs=study.n_epochs)
    model = train_reward_model(chat, tokenizer, preferences, settings, seed=number)
    normalise_on(model, chat, tokenizer, world)
    return model


def worst_of(models: Sequence[RewardModel], samples: Samples) -> torch.Tensor:
    """The lowest score that any of several reward models gives, `(B,)`."""
    return torch.stack([score_samples(model, samples) for model in models]).amin(0)


def run(
    study: Overoptimisation, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make all runs that are not in the file yet.

    Returns:
        "settings", and "runs": "WAY/SEED" → a list for each of `KEPT`, with one number a step.
    """
    reward_model = cache(partial(weak_reward_model, study))

    def measure(price: float, n_members: int, seed: int) -> dict[str, list[float]]:
        first = 2 * seed
        members = [reward_model((first + i) % study.n_models) for i in range(n_members)]
        return _train(study, price, partial(worst_of, members), seed)

    cells = [
        (f"{way}/{seed}", partial(measure, price, n_members, seed))
        for seed in study.seeds
        for way, (price, n_members) in study.ways().items()
    ]
    return record_runs(path, dataclasses.asdict(study), cells, resume, show_progress)


def _train(
    study: Overoptimisation, price: float, reward: Callable[[Samples], torch.Tensor], seed: int
) -> dict[str, list[float]]:
    ref_model, tokenizer = load_shipped("chat")
    recipe = PPORecipe(
        name="over",
        preset="full",
        training=TrainSettings(n_steps=study.n_steps, last_rate=0.1, seed=seed),
        ppo=dataclasses.replace(study.ppo, kl_coefficient=price),
        n_prompts=study.n_prompts,
        world=WorldSettings(seed=10 + seed),
        seed=seed,
    )
    torch.manual_seed(seed)
    policy = with_lora(ref_model, recipe.rank, recipe.alpha)
    with tempfile.TemporaryDirectory() as folder:
        log = train_ppo(
            policy, ref_model, tokenizer, reward, recipe, Path(folder), show_progress=False
        )
    return {name: [round(line[name], 4) for line in log] for name in KEPT}


load_results = reader_of(RESULTS, COMMAND)
main = record_command(run, Overoptimisation, RESULTS)


if __name__ == "__main__":
    main(prog_name=COMMAND)
