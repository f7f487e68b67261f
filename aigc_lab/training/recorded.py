"""Results that were recorded once, because making them takes longer than a chapter may."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.files import write_atomically


def read_results(path: Path, command: str) -> dict[str, Any]:
    """Recorded results.

    Args:
        path: of the file, JSON.
        command: that makes it, for the error.

    Raises:
        FileNotFoundError: there are none; names the command.
    """
    if not path.exists():
        raise FileNotFoundError(f"there are no results in {path}: make them with `{command}`")
    return json.loads(path.read_text(encoding="utf-8"))


def write_results(path: Path, found: dict[str, Any]) -> None:
    """Write results, whole or not at all; the folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found, indent=1).encode())


def reader_of(path: Path, command: str) -> Callable[..., dict[str, Any]]:
    """The function `load_results` of a study: reads what ships with the book, or another file.

    Args:
        path: of the shipped results.
        command: that makes them, for the error of `read_results`.
    """

    def load_results(path: Path = path) -> dict[str, Any]:
        return read_results(path, command)

    return load_results


def record_runs(
    path: Path,
    settings: dict[str, Any],
    cells: Sequence[tuple[str, Callable[[], dict[str, Any]]]],
    resume: bool = False,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Make every run that is not in the file yet; the file is written after each.

    Args:
        path: of the file.
        settings: of the study, which JSON can hold.
        cells: the name of each run, and what makes its results.
        resume: keep the runs that are in the file.
        show_progress: whether to show a bar.

    Returns:
        "settings", and "runs": name of each run → its results.

    Raises:
        ValueError: the file to resume holds runs of other settings.
    """
    found = json.loads(json.dumps({"settings": settings, "runs": {}}))  # as it will be read
    if resume and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["settings"] != found["settings"]:
            raise ValueError(f"{path} has other settings: remove it, or leave out --resume")
        found = before
    for name, make in (bar := tqdm(cells, disable=not show_progress)):
        bar.set_description(name)
        if name not in found["runs"]:
            found["runs"][name] = make()
            write_results(path, found)
    return found


def record_command(run: Callable[..., Any], study: Callable[[], Any], path: Path) -> click.Command:
    """The command line of a study that is recorded run by run.

    Args:
        run: makes the runs of a study, with a path and `resume`, as by `record_runs`.
        study: makes the study with its usual settings.
        path: where its results ship.
    """

    @click.command(help="Make the runs and write what was measured.")
    @click.option("--results", type=click.Path(path_type=Path), default=path)
    @click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
    def main(results: Path, resume: bool) -> None:
        torch.set_num_threads(1)
        try:
            run(study(), results, resume)
        except ValueError as error:
            raise click.ClickException(str(error)) from error

    return main
