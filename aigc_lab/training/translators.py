"""Translators compared: with and without attention, and with the norm in two places.

    python -m aigc_lab.training.translators        # half an hour, one core; --resume goes on

First the three recipes that translate, "translator-lstm", "translator-attention" and
"translator", the last also with label smoothing: the same sentences in the same order, three
seeds. Then deep Transformers with the layer norm after each addition or before each function,
each with and without a warm-up.

What is measured lies in `aigc_lab/weights/translators/results.json`; chapter 05 draws it.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from aigc_lab.data.tiny_world.translation import SentencePairs
from aigc_lab.evaluation.translation import SEED, scores_by_split, translation_scores
from aigc_lab.models.transformer import TransformerConfig
from aigc_lab.training.loop import mean_loss, training_steps
from aigc_lab.training.losses import translation_loss
from aigc_lab.training.making_data import Data, make_data
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recipes import N_CHINESE, N_ENGLISH, Recipe, get_recipe
from aigc_lab.training.recorded import reader_of, record_runs
from aigc_lab.training.running import make_model

RESULTS = Path(__file__).resolve().parents[1] / "weights" / "translators" / "results.json"
COMMAND = "python -m aigc_lab.training.translators"
KINDS = ("translator-lstm", "translator-attention", "translator")


@dataclass(frozen=True)
class Comparison:
    """What is trained.

    Args:
        preset: of the three recipes.
        seeds: of the weights, and of the sentences.
        measure_at: steps at which the three translate `n_measured` new sentences.
        n_measured, n_final: sentences of a measurement, and of each split at the end.
        label_smoothing: of the Transformer that has it.
        norm_layers, norm_width, norm_steps: size of the Transformers with the norm in two places,
            and how long they are trained.
        norm_lr, norm_warmup: their highest learning rate, and the steps of the warm-up.
    """

    preset: str = "full"
    seeds: tuple[int, ...] = (0, 1, 2)
    measure_at: tuple[int, ...] = (50, 100, 150, 200, 300, 400, 600, 800)
    n_measured: int = 150
    n_final: int = 400
    label_smoothing: float = 0.1
    norm_layers: int = 4
    norm_width: int = 64
    norm_steps: int = 160
    norm_lr: float = 5e-3
    norm_warmup: int = 60

    def cells(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Name of each run, and what makes its results."""
        for seed in self.seeds:
            for kind in KINDS:
                recipe = dataclasses.replace(get_recipe(kind, self.preset), seed=seed)
                yield f"{kind}/{seed}", lambda recipe=recipe: self._compare(recipe)
            data = dataclasses.replace(recipe.data, label_smoothing=self.label_smoothing)
            recipe = dataclasses.replace(recipe, data=data)
            yield f"translator, smoothed/{seed}", lambda recipe=recipe: self._compare(recipe)
            for norm in ("pre", "post"):
                for n_warmup in (0, self.norm_warmup):
                    recipe = self._norm_recipe(norm, n_warmup, seed)
                    yield recipe.name, lambda recipe=recipe: self._losses(recipe)

    def _norm_recipe(self, norm: str, n_warmup: int, seed: int) -> Recipe:
        recipe = get_recipe("translator", "quick")
        warm = "with" if n_warmup else "without"
        return dataclasses.replace(
            recipe,
            name=f"{norm}-norm {warm} warm-up/{seed}",
            model=TransformerConfig(
                N_ENGLISH,
                N_CHINESE,
                d_model=self.norm_width,
                n_layers=self.norm_layers,
                norm=norm,
            ),
            training=dataclasses.replace(
                recipe.training, n_steps=self.norm_steps, n_warmup=n_warmup, last_rate=1.0
            ),
            lr=self.norm_lr,
            seed=seed,
        )

    def _compare(self, recipe: Recipe) -> dict[str, Any]:
        measured = list(SentencePairs(SEED - 1).pairs(self.n_measured))
        curve, losses, seconds = {}, [], 0.0
        for run in steps_of(recipe):
            losses.append(round(run.loss, 4))
            seconds = run.seconds
            if run.step in self.measure_at:
                scores = translation_scores(run.model, run.data.tokenizer, measured)
                curve[str(run.step)] = {name: round(value, 4) for name, value in scores.items()}
        return {
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "seconds": round(seconds, 1),
            "losses": losses,
            "curve": curve,
            "held_out_loss": round(mean_loss(run.model, run.data.held_out, translation_loss), 5),
            "scores": scores_by_split(run.model, run.data.tokenizer, self.n_final),
        }

    def _losses(self, recipe: Recipe) -> dict[str, Any]:
        return {"losses": [round(run.loss, 4) for run in steps_of(recipe)]}


@dataclass
class Run:
    """A training after some of its steps; `seconds` without what happened between steps."""

    model: torch.nn.Module
    data: Data
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0


def steps_of(recipe: Recipe) -> Iterator[Run]:
    """Train by a recipe, and stop after each step to look at the model."""
    data, model = make_data(recipe), make_model(recipe)
    optimizers = make_optimizers(model, recipe.lr, weight_decay=recipe.weight_decay)
    run = Run(model, data)
    steps = training_steps(model, optimizers, data.source, recipe.training, data.loss)
    for progress, loss in steps:
        run.step, run.loss, run.seconds = progress.step, loss, progress.seconds
        yield run


def run(
    comparison: Comparison, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make every cell that is not in the file yet; the file is written after each.

    Returns:
        "settings", and "runs": name of each cell → its results.

    Raises:
        ValueError: the file to resume holds runs of other settings.
    """
    settings, cells = dataclasses.asdict(comparison), list(comparison.cells())
    return record_runs(path, settings, cells, resume, show_progress)


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
def main(results: Path, resume: bool) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    try:
        run(Comparison(), results, resume)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name=COMMAND)
