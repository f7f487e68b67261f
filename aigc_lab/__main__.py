"""The package's commands: `python -m aigc_lab --help`."""

import importlib
import logging

import click

from aigc_lab.data.download import DATA_SETS, DownloadError, data_folder, download, is_good

# Commands that need numpy or torch, and where they are.
MODULES = {
    "align": "aigc_lab.alignment.commands",
    "chat": "aigc_lab.generation.chat_command",
    "exercises": "aigc_lab.exercises.commands",
    "feedback": "aigc_lab.alignment.feedback.command",
    "train": "aigc_lab.training.commands",
}


class Commands(click.Group):
    """Loads the commands that need numpy or torch only where they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return sorted([*super().list_commands(ctx), *MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name."""
        if cmd_name in MODULES:
            return getattr(importlib.import_module(MODULES[cmd_name]), cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands)
def main() -> None:
    """Commands of aigc_lab, the code of the book Build ChatGPT from Scratch."""


@main.command("download")
@click.argument("names", nargs=-1, type=click.Choice(sorted(DATA_SETS)), metavar="NAME...")
@click.option("--list", "show_list", is_flag=True, help="Show what there is and do nothing else.")
def download_command(names: tuple[str, ...], show_list: bool) -> None:
    """Fetch the data sets NAME... that are not there yet."""
    if show_list:
        _print_list()
        return
    if not names:
        raise click.UsageError(
            "name a data set; the list of all: python -m aigc_lab download --list"
        )
    logging.getLogger("pooch").setLevel(logging.ERROR)  # errors become messages of our own
    for name in names:
        try:
            for path in download(DATA_SETS[name], progress=True):
                click.echo(path)
        except DownloadError as error:
            click.echo(err=True)  # ends the line of a progress bar that stopped half-way
            raise click.ClickException(str(error)) from error


def _print_list() -> None:
    folder = data_folder()
    click.echo(f"Folder: {folder}")
    for data_set in DATA_SETS.values():
        size = sum(file.size for file in data_set.files) / 1e6
        there = all(is_good(file, folder / file.name) for file in data_set.files)
        click.echo(
            f"{data_set.name:16} {size:6.2f} MB  {'there' if there else 'absent':7} "
            f"{data_set.description} ({data_set.licence})"
        )


if __name__ == "__main__":
    main(prog_name="python -m aigc_lab")
