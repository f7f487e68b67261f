"""Our recipe for tiny Shakespeare beside a plain GPT-2 with AdamW, trained in turns.

The two take turns of some steps each, so that whatever else the machine does hits both alike. Only
training is timed, not evaluation. A loss is measured on the whole held-out text, in consecutive
windows.
"""

import time
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from aigc_lab.data.batches import consecutive_windows
from aigc_lab.models.gpt import GPT
from aigc_lab.training.loop import highest_rates, mean_loss, training_step
from aigc_lab.training.making_data import Data, make_data
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recipes import Recipe, get_recipe
from aigc_lab.training.run_folder import Progress
from aigc_lab.training.running import make_model
from benchmarks.timing import Result

N_TURNS = 50
TARGET = 1.88  # nats per character
LARGEST_SHARE = 0.5  # of the baseline's tokens, in which ours reaches TARGET
LEAST_GAIN = 0.15  # nats per character that ours ends lower, in no more time


@dataclass
class Arm:
    """One of the two, and how far it is."""

    recipe: Recipe
    model: GPT
    data: Data
    optimizers: list[torch.optim.Optimizer]
    rates: list[list[float]]
    progress: Progress = field(default_factory=Progress)
    seconds: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe) -> "Arm":
        """Before the first step."""
        model = make_model(recipe)
        decay = recipe.weight_decay
        optimizers = make_optimizers(model, recipe.lr, weight_decay=decay, muon=recipe.muon)
        return cls(recipe, model, make_data(recipe), optimizers, highest_rates(optimizers))

    def train_to(self, step: int) -> None:
        """Train on, and add the time that it takes."""
        start = time.perf_counter()
        while self.progress.step < step:
            training_step(
                self.model,
                self.optimizers,
                self.rates,
                self.data.source,
                self.recipe.training,
                self.progress,
            )
        self.seconds += time.perf_counter() - start

    def loss(self, context_length: int) -> float:
        """On the whole held-out text, in windows of this length."""
        last = [batch.tokens.flatten() for batch in self.data.held_out]
        end = self.data.held_out[-1].targets[-1, -1:]
        text = torch.cat([*last, end])
        return mean_loss(self.model, consecutive_windows(text, context_length))


def run(ours: Recipe | None = None, baseline: Recipe | None = None) -> list[Result]:
    """Train both; a few minutes on an idle processor."""
    mine = Arm.of(ours or get_recipe("shakespeare"))
    plain = Arm.of(baseline or get_recipe("shakespeare-baseline"))
    contexts = [arm.recipe.model.context_length for arm in (mine, plain)]
    allowed = LARGEST_SHARE * _all_tokens(plain)
    reached = None  # tokens after which ours was first seen at TARGET
    for turn in tqdm(range(1, N_TURNS + 1), desc="shakespeare", unit="turn"):
        for arm in (mine, plain):
            arm.train_to(arm.recipe.training.n_steps * turn // N_TURNS)
        # Looking takes time too, so only where it matters.
        is_near = 0.5 * allowed < mine.progress.tokens <= 1.2 * allowed
        if reached is None and is_near and mine.loss(min(contexts)) <= TARGET:
            reached = mine.progress.tokens
    return [
        _result_of_tokens(reached, mine, plain, min(contexts)),
        *(_result_of_time(mine, plain, *pair) for pair in _pairs(contexts)),
    ]


def _all_tokens(arm: Arm) -> int:
    data, training = arm.recipe.data, arm.recipe.training
    return training.n_steps * data.batch_size * arm.recipe.model.context_length


def _pairs(contexts: list[int]) -> list[tuple[int, int]]:
    """Contexts for ours and the baseline: the same for both, then each its own."""
    same = min(contexts), min(contexts)
    return [same] if contexts[0] == contexts[1] else [same, (contexts[0], contexts[1])]


def _result_of_tokens(reached: int | None, mine: Arm, plain: Arm, context: int) -> Result:
    whole = _all_tokens(plain)
    return Result(
        task=f"tokens of tiny Shakespeare until the loss is {TARGET} (context {context})",
        ours="not reached" if reached is None else f"{reached:,}",
        peers=f"GPT-2, AdamW: {whole:,} in all",
        ratio="" if reached is None else f"{reached / whole:.2f}x",
        promise=f"at most {LARGEST_SHARE:g}x",
        kept=reached is not None and reached <= LARGEST_SHARE * whole,
    )


def _result_of_time(mine: Arm, plain: Arm, mine_context: int, plain_context: int) -> Result:
    losses = mine.loss(mine_context), plain.loss(plain_context)
    return Result(
        task=f"loss at the end (context {mine_context} and {plain_context})",
        ours=f"{losses[0]:.3f} in {mine.seconds:.0f} s",
        peers=f"GPT-2, AdamW: {losses[1]:.3f} in {plain.seconds:.0f} s",
        ratio=f"{losses[0] - losses[1]:+.3f}, {mine.seconds / plain.seconds:.2f}x",
        promise=f"{LEAST_GAIN:g} lower in no more time",
        kept=losses[1] - losses[0] >= LEAST_GAIN and mine.seconds <= plain.seconds,
    )
