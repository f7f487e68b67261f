"""The command line of training: `python -m aigc_lab train --help`."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from aigc_lab.models.shipped import ShippedModelError
from aigc_lab.training.interruptions import Stopped
from aigc_lab.training.recipes import PRESETS, RECIPES, get_recipe
from aigc_lab.training.run_folder import CHECKPOINT_FILE, LOG_FILE
from aigc_lab.training.running import run_recipe


def run_options(names: Iterable[str]) -> Callable[[Callable], Callable]:
    """The argument and the options of a command that trains by one of several recipes."""
    options = (
        click.argument("name", metavar="RECIPE", type=click.Choice(list(names))),
        click.option("--preset", type=click.Choice(PRESETS), default="full", show_default=True),
        click.option("--resume", is_flag=True, help="Go on with the run in the folder."),
        click.option("--force", is_flag=True, help="Overwrite the run in the folder."),
        click.option(
            "--folder", type=click.Path(path_type=Path), help="By default runs/RECIPE-PRESET."
        ),
    )

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def in_folder(
    run: Callable[[Path], Any],
    name: str,
    preset: str,
    resume: bool,
    force: bool,
    folder: Path | None,
) -> tuple[Any, Path]:
    """Call `run` with the folder; errors become messages, and Ctrl-C the status of one.

    Returns:
        What `run` returned, and the folder.
    """
    if resume and force:
        raise click.UsageError("--resume goes on and --force begins anew: give one of them")
    folder = folder or Path("runs") / f"{name}-{preset}"
    if force:
        for file in (CHECKPOINT_FILE, LOG_FILE):
            (folder / file).unlink(missing_ok=True)
    try:
        return run(folder), folder
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        raise SystemExit(130) from None  # as shells report Ctrl-C
    except (OSError, ValueError, FloatingPointError, MemoryError, ShippedModelError) as error:
        raise click.ClickException(str(error)) from error


def ship_command(
    ship: Callable[[str, Path], dict[str, Any]], names: Iterable[str]
) -> click.Command:
    """The command line that puts the model of a finished run among the book's weights.

    Args:
        ship: judges the model of a recipe's run and writes it; returns its scores.
        names: of the recipes.
    """

    @click.command(help="Judge the model of a finished run of RECIPE and put it among the weights.")
    @click.argument("name", metavar="RECIPE", type=click.Choice(list(names)))
    @click.option("--run", type=click.Path(path_type=Path), help="By default runs/RECIPE-full.")
    def main(name: str, run: Path | None) -> None:
        try:
            scores = ship(name, run or Path("runs") / f"{name}-full")
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        click.echo(json.dumps(scores, indent=1))

    return main


@click.command("train")
@run_options(RECIPES)
def train(name: str, preset: str, resume: bool, **where: Any) -> None:
    """Train a model by RECIPE.

    Ctrl-C saves; --resume goes on as if nothing had happened. With the preset "quick" it takes
    about a minute.
    """

    def run(folder: Path):
        return run_recipe(get_recipe(name, preset), folder, resume=resume)

    (_, data, log), folder = in_folder(run, name, preset, resume, **where)
    last = log[-1]
    floor = "" if data.floor is None else f" (nothing can be below {data.floor:.3f})"
    click.echo(
        f"{last['tokens']:,} tokens in {last['seconds']:,.0f} s; held-out loss "
        f"{last['eval_loss']:.3f} nats per token{floor}; everything is in {folder}"
    )
