"""The recipes of what alignment makes: the reward model, and policies that were trained on it.

"quick" takes about a minute on two processor cores; "full" makes what the book ships.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aigc_lab.alignment.dpo import DPOSettings
from aigc_lab.alignment.grpo import GRPOSettings
from aigc_lab.alignment.labellers import Labeller
from aigc_lab.alignment.ppo import PPOSettings
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.models.shipped import weights_hash
from aigc_lab.training.run_folder import TrainSettings

N_TO_HASH = 5
PRESETS = ("quick", "full")


@dataclass(frozen=True, kw_only=True)
class AlignedRecipe:
    """What all recipes of alignment have.

    Args:
        name, preset: of the recipe.
        training: how many steps.
        world: whose requests for stories are used, with their seed.
        seed: of what is new in the model, and of all sampling.
        start: name of the shipped model with which it begins.
        uses: names of the other shipped models that it depends on.
    """

    name: str
    preset: str
    training: TrainSettings
    world: WorldSettings = dataclasses.field(default_factory=WorldSettings)
    seed: int = 0
    start: str = "chat"
    uses: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Hash over all that decides what comes out, the weights it begins with included."""
        settings = dataclasses.asdict(self)
        settings["hashes"] = [weights_hash(name) for name in (self.start, *self.uses)]
        settings["prompts"] = [prompt.text for prompt in story_prompts(self.world, N_TO_HASH)]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ComparedRecipe(AlignedRecipe):
    """What learns from comparisons.

    Args:
        n_pairs: of replies, each compared once.
        batch_size: pairs of an update.
        labeller: who compares.
    """

    n_pairs: int
    batch_size: int = 32
    labeller: Labeller = dataclasses.field(default_factory=Labeller)

    @property
    def n_requests(self) -> int:
        """Number of requests for stories in training."""
        return self.n_pairs


@dataclass(frozen=True, kw_only=True)
class RewardRecipe(ComparedRecipe):
    """A reward model.

    Args:
        lr, muon_lr: highest learning rates.
    """

    lr: float = 1e-3
    muon_lr: float = 2e-3


@dataclass(frozen=True, kw_only=True)
class PPORecipe(AlignedRecipe):
    """A policy trained by PPO on a shipped reward model, the first of `uses`.

    Args:
        ppo: how to optimise.
        n_prompts: replies of a step.
        rank, alpha: of the LoRA paths.
    """

    ppo: PPOSettings
    n_prompts: int = 64
    rank: int = 8
    alpha: float = 16.0

    @property
    def n_requests(self) -> int:
        """Number of requests for stories in training."""
        return self.n_prompts * self.training.n_steps


@dataclass(frozen=True, kw_only=True)
class DPORecipe(ComparedRecipe):
    """A policy trained by DPO.

    Args:
        dpo: which loss.
        lr: highest learning rate.
        rank, alpha: of the LoRA paths.
    """

    dpo: DPOSettings
    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True, kw_only=True)
class GRPORecipe(AlignedRecipe):
    """A policy trained by GRPO on sums, whose results a rule can check.

    Args:
        grpo: how to optimise.
        n_prompts: sums of a step; each gets a group of replies.
        lr: learning rate at the start.
        rank, alpha: of the LoRA paths.
    """

    grpo: GRPOSettings
    n_prompts: int = 16
    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0


def reward(preset: str) -> RewardRecipe:
    """The reward model of the book."""
    n_pairs = _choose(preset, quick=512, full=16_000)
    n_steps = _choose(preset, quick=32, full=1_000)
    return RewardRecipe(
        name="reward",
        preset=preset,
        n_pairs=n_pairs,
        training=_training(n_steps, n_warmup=n_steps // 20),
    )


def ppo(preset: str) -> PPORecipe:
    """The chat model after PPO on the reward model."""
    return PPORecipe(
        name="ppo",
        preset=preset,
        training=_training(_choose(preset, quick=15, full=60)),
        ppo=PPOSettings(n_epochs=2, lr=1e-3, kl_coefficient=0.1),
        uses=("reward",),
    )


def dpo(preset: str) -> DPORecipe:
    """The chat model after DPO on the comparisons that the reward model learned from."""
    n_steps = _choose(preset, quick=32, full=500)
    return DPORecipe(
        name="dpo",
        preset=preset,
        training=_training(n_steps, n_warmup=n_steps // 20),
        n_pairs=_choose(preset, quick=512, full=16_000),
        dpo=DPOSettings(beta=0.3),
        lr=_choose(preset, quick=3e-3, full=1.5e-3),
    )


def grpo(preset: str) -> GRPORecipe:
    """The chat model after GRPO on sums that ask for a short answer."""
    return GRPORecipe(
        name="grpo",
        preset=preset,
        training=_training(_choose(preset, quick=40, full=300)),
        grpo=GRPOSettings(only_informative=True),
    )


ALIGNED: dict[str, Callable[[str], AlignedRecipe]] = {
    "reward": reward,
    "ppo": ppo,
    "dpo": dpo,
    "grpo": grpo,
}


def aligned_recipe(name: str, preset: str = "full") -> Any:
    """The recipe of this name.

    Raises:
        ValueError: an unknown recipe or preset; names those that there are.
    """
    if name not in ALIGNED:
        raise ValueError(f"there is no recipe {name!r}; choose from {', '.join(ALIGNED)}")
    return ALIGNED[name](preset)


def _training(n_steps: int, n_warmup: int = 0) -> TrainSettings:
    return TrainSettings(
        n_steps=n_steps, n_warmup=n_warmup, last_rate=0.05, log_every=10, checkpoint_every=50
    )


def _choose(preset: str, *, quick: Any, full: Any) -> Any:
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}")
    return quick if preset == "quick" else full
