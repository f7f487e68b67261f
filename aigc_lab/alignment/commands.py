"""The command line of alignment: `python -m aigc_lab align --help`."""

from pathlib import Path
from typing import Any

import click

from aigc_lab.alignment.making import run_aligned
from aigc_lab.alignment.recipes import ALIGNED, aligned_recipe
from aigc_lab.training.commands import in_folder, run_options


@click.command("align")
@run_options(ALIGNED)
def align(name: str, preset: str, resume: bool, **where: Any) -> None:
    """Train a reward model or a policy by RECIPE.

    Ctrl-C saves; --resume goes on as if nothing had happened. With the preset "quick" it takes
    about a minute.
    """

    def run(folder: Path):
        return run_aligned(aligned_recipe(name, preset), folder, resume=resume)

    (_, log), folder = in_folder(run, name, preset, resume, **where)
    numbers = {key: value for key, value in log[-1].items() if isinstance(value, int | float)}
    last = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    click.echo(f"{last}; everything is in {folder}")
