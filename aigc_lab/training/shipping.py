"""From a finished run to a model that comes with the book.

python -m aigc_lab.training.shipping base             # from runs/base-full
"""

import json
from pathlib import Path
from typing import Any

import click

from aigc_lab.data.tiny_world.settings import SPLITS
from aigc_lab.evaluation.world_probes import probe, story_scores, write_stories
from aigc_lab.models.shipped import FOLDER, save_shipped
from aigc_lab.training.recipes import RECIPES, WorldData, get_recipe
from aigc_lab.training.run_folder import read_log
from aigc_lab.training.running import hash_of_run, run_recipe

N_STORIES = 200


def ship(name: str, run: str | Path, folder: str | Path = FOLDER) -> dict[str, Any]:
    """Probe the model of a finished run and write it to `folder`/`name`.

    Args:
        name: of the recipe, which must be of the tiny world.
        run: folder of the run.
        folder: in which the models' folders lie.

    Returns:
        The scores: "stories", of `story_scores` for `N_STORIES` plain samples, and "worlds", of
        `probe` for each split of the held-out world.

    Raises:
        ValueError: the run is of another recipe or not finished, or the recipe is of no world.
        FileNotFoundError: there is no run.
    """
    recipe = get_recipe(name)
    if not isinstance(recipe.data, WorldData):
        raise ValueError(f"{name!r} learns from a text and not from the tiny world: nothing probes")
    log = read_log(run)
    n_steps = log[-1]["step"] if log else 0
    if n_steps < recipe.training.n_steps:
        raise ValueError(
            f"the run in {run} is at step {n_steps} of {recipe.training.n_steps}: finish it with "
            f"`python -m aigc_lab train {name} --resume`"
        )
    model, data, log = run_recipe(recipe, run, resume=True, show_progress=False)
    stories = write_stories(model, data.tokenizer, N_STORIES)
    worlds = {
        split: probe(model, data.tokenizer, recipe.data.held_out.replace(split=split))
        for split in SPLITS
    }
    scores = {"stories": story_scores(stories), "worlds": worlds}
    notes = {"log": log, "scores": scores}
    save_shipped(Path(folder) / name, model, data.tokenizer, hash_of_run(run, recipe), notes)
    return scores


@click.command()
@click.argument("name", metavar="RECIPE", type=click.Choice(list(RECIPES)))
@click.option("--run", type=click.Path(path_type=Path), help="By default runs/RECIPE-full.")
def main(name: str, run: Path | None) -> None:
    """Probe the model of a finished run of RECIPE and put it among the book's weights."""
    try:
        scores = ship(name, run or Path("runs") / f"{name}-full")
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main(prog_name="python -m aigc_lab.training.shipping")
