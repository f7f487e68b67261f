"""The command line of alignment: `python -m aigc_lab align --help`."""

from pathlib import Path

import click

from aigc_lab.alignment.making import run_aligned
from aigc_lab.alignment.recipes import ALIGNED, PRESETS, aligned_recipe
from aigc_lab.models.shipped import ShippedModelError
from aigc_lab.training.interruptions import Stopped
from aigc_lab.training.run_folder import CHECKPOINT_FILE, LOG_FILE


@click.command("align")
@click.argument("name", metavar="RECIPE", type=click.Choice(list(ALIGNED)))
@click.option("--preset", type=click.Choice(PRESETS), default="full", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--force", is_flag=True, help="Overwrite the run in the folder.")
@click.option("--folder", type=click.Path(path_type=Path), help="By default runs/RECIPE-PRESET.")
def align(name: str, preset: str, resume: bool, force: bool, folder: Path | None) -> None:
    """Train a reward model or a policy by RECIPE.

    Ctrl-C saves; --resume goes on as if nothing had happened. With the preset "quick" it takes
    about a minute.
    """
    if resume and force:
        raise click.UsageError("--resume goes on and --force begins anew: give one of them")
    folder = folder or Path("runs") / f"{name}-{preset}"
    if force:
        for file in (CHECKPOINT_FILE, LOG_FILE):
            (folder / file).unlink(missing_ok=True)
    try:
        _, log = run_aligned(aligned_recipe(name, preset), folder, resume=resume)
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        raise SystemExit(130) from None  # as shells report Ctrl-C
    except (OSError, ValueError, FloatingPointError, MemoryError, ShippedModelError) as error:
        raise click.ClickException(str(error)) from error
    numbers = {key: value for key, value in log[-1].items() if isinstance(value, int | float)}
    last = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    click.echo(f"{last}; everything is in {folder}")
