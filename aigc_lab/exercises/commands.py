"""The command line of the exercises: `python -m aigc_lab exercises --help`."""

from __future__ import annotations

import inspect
import itertools
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from aigc_lab.exercises import catalog, checking, progress
from aigc_lab.exercises.calling import readers_line
from aigc_lab.exercises.declaring import Exercise, Question
from aigc_lab.files import write_atomically

SECONDS_FOR_A_FILE = 120
MARKS = {progress.DONE: "\N{HEAVY CHECK MARK}", progress.TRIED: "\N{MULTIPLICATION SIGN}"}


class ExerciseId(click.ParamType):
    """The id of an exercise, such as attention/softmax."""

    name = "id"

    def convert(self, value: Any, param: Any, ctx: Any) -> Exercise | Question:
        """Return the exercise of this id."""
        try:
            return catalog.find(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group("exercises", invoke_without_command=True)
@click.pass_context
def exercises(context: click.Context) -> None:
    """List the exercises, what is done, and the next one to do."""
    warnings.showwarning = lambda message, *_, **__: click.echo(f"note: {message}", err=True)
    if context.invoked_subcommand is None:
        list_exercises()


def list_exercises() -> None:
    """Print chapters and exercises with their state."""
    state = progress.load()
    items = catalog.all_exercises()
    width = max(len(item.id) for item in items)
    done = 0
    following = None
    for chapter, module in catalog.chapters().items():
        click.echo(f"\n{module[2:4]} {chapter.replace('_', ' ')}")
        for item in catalog.exercises_of(chapter):
            is_now = state.get(item.id, {}).get("state", progress.OPEN)
            done += is_now == progress.DONE
            if following is None and is_now != progress.DONE:
                following = item
            words = "  (in words)" if isinstance(item, Question) else ""
            click.echo(
                f"  {MARKS.get(is_now, ' ')} {is_now:5} {item.minutes:3} min  "
                f"{item.id:{width}}  {item.title}{words}"
            )
    click.echo(f"\n{done} of {len(items)} done.", nl=False)
    if following:
        click.echo(f" Next: {following.id}, {following.title}.")
        click.echo(f"In the notebook: {notebook_of(following)}")
        if isinstance(following, Question):
            click.echo(f"or here:         python -m aigc_lab exercises answer {following.id}")
        else:
            click.echo(
                f"or in a file:    python -m aigc_lab exercises start {following.id} my.py\n"
                f"                 python -m aigc_lab exercises watch my.py"
            )
    else:
        click.echo(" That is all of them. Congratulations!")
    click.echo(f"(kept in {progress.path()})")


def notebook_of(item: Exercise | Question) -> str:
    """Return the notebook that an exercise is in, relative to the repository."""
    module = catalog.chapters()[item.chapter]
    return f"notebooks/exercises/{module.removeprefix('ch')}.ipynb"


@exercises.command("hint")
@click.argument("exercise", type=ExerciseId())
def hint_command(exercise: Exercise | Question) -> None:
    """Show the next hint of exercise ID."""
    checking.hint(exercise.id)


@exercises.command("solution")
@click.argument("exercise", type=ExerciseId())
def solution_command(exercise: Exercise | Question) -> None:
    """Show a solution of exercise ID."""
    checking.solution(exercise.id)


@exercises.command("start")
@click.argument("exercise", type=ExerciseId())
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def start_command(exercise: Exercise | Question, file: Path) -> None:
    """Add the stub of exercise ID to FILE (made if it does not exist)."""
    if isinstance(exercise, Question):
        raise click.UsageError(
            f"{exercise.id} is a question to answer in words: "
            f"python -m aigc_lab exercises answer {exercise.id}"
        )
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if f"def {exercise.name}(" in before or f"class {exercise.name}" in before:
        raise click.UsageError(f"{file} has a {exercise.name} already; nothing was changed")
    quoted = "".join(f"# {line}".rstrip() + "\n" for line in exercise.statement.splitlines())
    imports = [
        line for line in catalog.imports_of(exercise.chapter) if line not in before.splitlines()
    ]
    parts = [
        before.rstrip(),
        "\n".join(imports),
        f"# {exercise.id}: {exercise.title} ({exercise.minutes} minutes)\n{quoted}{exercise.stub}",
    ]
    text = "\n\n".join(part for part in parts if part)
    if not file.parent.is_dir():
        raise click.UsageError(f"there is no folder {file.parent}")
    write_atomically(file, text.encode("utf-8"))
    click.echo(f"{exercise.name} is in {file}; now: python -m aigc_lab exercises watch {file}")


@exercises.command("answer")
@click.argument("exercise", type=ExerciseId())
def answer_command(exercise: Exercise | Question) -> None:
    """Answer the question ID in words, then see our answer."""
    if isinstance(exercise, Exercise):
        raise click.UsageError(
            f"{exercise.id} is answered by a function: "
            f"python -m aigc_lab exercises start {exercise.id} my.py"
        )
    click.echo(f"{exercise.statement}\n")
    text = click.prompt("Your answer, in a sentence or two", default="", show_default=False)
    checking.check(exercise.id, text)


@exercises.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check_command(file: Path) -> None:
    """Check every function in FILE that has the name of an exercise."""
    by_name = {item.name: item for item in catalog.all_exercises()}
    source = str(file.resolve())
    sys.path.insert(0, str(file.resolve().parent))  # as if it were run as a program
    try:
        names = runpy.run_path(source, run_name="exercises")
    except SyntaxError as error:
        raise click.ClickException(
            f"{file.name}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}"
        ) from None
    except (Exception, SystemExit) as error:
        raise click.ClickException(
            f"{file.name} stops with {type(error).__name__}: {error}{readers_line(error)}"
        ) from None
    found = [
        (by_name[name], value)
        for name, value in names.items()
        if name in by_name and not (inspect.ismodule(value) or inspect.isbuiltin(value))
    ]
    if not found:
        raise click.ClickException(
            f"{file.name} defines no function with the name of an exercise; "
            f"`python -m aigc_lab exercises start ID {file}` adds one"
        )
    verdicts = [checking.check(item.id, value) for item, value in found]
    sys.exit(0 if all(verdicts) else 1)


@exercises.command("watch")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def watch_command(file: Path) -> None:
    """Check FILE now and every time it is saved, until Ctrl+C."""
    import watchfiles

    target = file.resolve()
    seen = None
    # The folder is watched, not the file: many editors save by putting a new file in its place.
    # The look once a second catches a save that came while the last one was being checked.
    changes = watchfiles.watch(
        target.parent, recursive=False, yield_on_timeout=True, rust_timeout=1000
    )
    for _ in itertools.chain([None], changes):
        version = version_of(target)
        if version not in (None, seen):
            seen = version
            check_in_new_process(file)
    click.echo("\nstopped")


def version_of(file: Path) -> tuple[int, ...] | None:
    """Return what differs after a save, None while there is no file."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def check_in_new_process(file: Path) -> None:
    """Run the file from scratch, so that nothing is left over from before."""
    if sys.stdout.isatty():
        click.clear()
    else:
        click.echo()
    command = [sys.executable, "-m", "aigc_lab", "exercises", "check", str(file)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        subprocess.run(command, env=environment, check=False, timeout=SECONDS_FOR_A_FILE)
    except subprocess.TimeoutExpired:
        click.echo(
            f"{file.name} was stopped after {SECONDS_FOR_A_FILE} seconds. Is there a loop outside "
            "the functions that never ends?"
        )
    click.echo(f"... waiting for {file.name} to be saved (Ctrl+C ends this)")
