"""The shipped policies' recipes with three seeds each: what part of their scores is luck?

    python -m aigc_lab.alignment.seeds ppo    # a quarter of an hour, one core; --resume goes on

The scores on held-out prompts lie in `aigc_lab/weights/seeds/results.json`, beside those of others.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from aigc_lab.alignment.making import run_aligned
from aigc_lab.alignment.recipes import ALIGNED, aligned_recipe
from aigc_lab.alignment.shipping import scores_of
from aigc_lab.models.shipped import FOLDER
from aigc_lab.training.recorded import reader_of, record_runs
from aigc_lab.training.run_folder import CHECKPOINT_FILE

RESULTS = FOLDER / "seeds" / "results.json"
COMMAND = "python -m aigc_lab.alignment.seeds"
SEEDS = (0, 1, 2)
RUNS = Path("runs")


def run(names: list[str], path: Path, preset: str = "full", **recording) -> dict[str, Any]:
    """Train by each recipe with each seed, unless it is in the file already.

    Args:
        names: of recipes.
        path: of the results.
        preset: of the recipes.
        recording: resume and show_progress, as in `record_runs`.

    Returns:
        "runs": "NAME/SEED" → scores, of `aigc_lab.alignment.shipping.scores_of`.
    """
    cells = [
        (f"{name}/{seed}", partial(_measure, name, preset, seed))
        for name in names
        for seed in SEEDS
    ]
    return record_runs(path, {"preset": preset}, cells, **recording)


def _measure(name: str, preset: str, seed: int) -> dict[str, Any]:
    recipe = aligned_recipe(name, preset)
    recipe = dataclasses.replace(
        recipe, seed=seed, training=dataclasses.replace(recipe.training, seed=seed)
    )
    folder = RUNS / f"{name}-{preset}{f'-seed{seed}' if seed else ''}"  # seed 0 can be shipped
    is_there = (folder / CHECKPOINT_FILE).exists()
    model, _ = run_aligned(recipe, folder, resume=is_there, show_progress=False)
    return scores_of(recipe, model)


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.argument("names", nargs=-1, metavar="RECIPE...", type=click.Choice(list(ALIGNED)))
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
def main(names: tuple[str, ...], results: Path, resume: bool) -> None:
    """Train by RECIPE... with three seeds and write the scores."""
    torch.set_num_threads(1)
    run(list(names or ALIGNED), results, resume=resume)


if __name__ == "__main__":
    main(prog_name=COMMAND)
