"""tools/env.py: what it says when something is missing, and when an environment counts as
complete.
"""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools import env

SOURCE = Path(env.__file__)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder, with a space in its name, that looks like the repository to tools/env.py."""
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("requirements-site.txt", "requirements.txt", "constraints.txt", "pyproject.toml"):
        (folder / name).write_text(f"# {name}\n")
    return folder


@pytest.fixture
def makes_venv(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the making of environments by an instant fake; lists when it was asked."""
    made: list[str] = []

    def create(root: str) -> None:
        made.append(root)
        python = Path(env.venv_python(root))
        if python.parent.parent.exists():
            shutil.rmtree(python.parent.parent)
        python.parent.mkdir(parents=True)
        # A program that runs and answers as the real interpreter would.
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setattr(env, "create", create)
    return made


class Installer:
    """Stands for pip: notes what it was asked for and may fail."""

    def __init__(self, fail: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.fail = fail

    def __call__(self, root: str, arguments: list[str]) -> None:
        self.calls.append(arguments)
        if self.fail:
            raise env.Problem("pip could not install the packages.")


def ensure(project: Path, level: str, fail: bool = False, explicit: bool = False) -> Installer:
    installer = Installer(fail)
    env.ensure(str(project), level, explicit=explicit, install=installer)
    return installer


# ---------------------------------------------------------------------------------- what is missing


def test_source_is_readable_by_an_old_python() -> None:
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))
    assert "from __future__ import annotations" not in SOURCE.read_text(encoding="utf-8")


def test_source_needs_only_the_standard_library() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert modules <= set(sys.stdlib_module_names)


def test_old_python_is_refused_with_its_version_and_a_way_out() -> None:
    with pytest.raises(env.Problem) as caught:
        env.check_python((3, 9, 2), "book", which=lambda name: None)
    assert "Python 3.9.2" in str(caught.value)
    assert "3.11 or newer" in str(caught.value)
    assert "make PYTHON=python3.12 book" in str(caught.value)


def test_old_python_points_to_a_newer_one_that_is_installed() -> None:
    with pytest.raises(env.Problem, match=r"make PYTHON=python3\.13 test"):
        env.check_python((3, 8, 1), "test", which=lambda name: name == "python3.13" or None)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 14, 1), (4, 0, 0)])
def test_new_enough_python_is_accepted(version: tuple[int, int, int]) -> None:
    env.check_python(version, "book")


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_missing_venv_names_the_debian_package(missing: str) -> None:
    with pytest.raises(env.Problem, match=r"apt-get install python3\.12-venv") as caught:
        env.check_venv_module((3, 12, 1), find=lambda name: None if name == missing else object())
    assert missing in str(caught.value)


@pytest.mark.parametrize("level", env.LEVELS)
def test_low_disk_names_both_numbers(project: Path, level: str) -> None:
    need = env.NEED_MB[level]
    with pytest.raises(env.Problem, match=f"{need} MB are needed, {need - 1} MB are free"):
        env.check_disk(str(project), level, free=need - 1, present=0)
    env.check_disk(str(project), level, free=need, present=0)


def test_what_is_installed_counts_towards_the_disk_space(project: Path) -> None:
    need = env.NEED_MB["full"]
    env.check_disk(str(project), "full", free=300, present=need - 300)
    with pytest.raises(env.Problem, match="200 MB are needed"):
        env.check_disk(str(project), "full", free=100, present=need)


def test_problem_becomes_a_message_and_a_status(monkeypatch, capsys) -> None:
    def refuse(*_: object) -> None:
        raise env.Problem("the reason")

    monkeypatch.setattr(env, "ensure", refuse)
    assert env.main(["site"]) == 1
    assert capsys.readouterr().err.strip() == "the reason"


def test_failed_pip_shows_its_last_lines(project: Path, makes_venv: list[str]) -> None:
    env.create(str(project))
    with pytest.raises(env.Problem) as caught:
        env.run_pip(str(project), ["--no-index", "--find-links", ".", "no-such-package-anywhere"])
    assert "no-such-package-anywhere" in str(caught.value)
    assert "again" in str(caught.value)


def test_real_environment_in_a_path_with_a_space(project: Path) -> None:
    env.create(str(project))
    assert env.probe(env.venv_python(str(project)))[:2] == sys.version_info[:2]
    assert not env.is_complete(str(project), "site")


# ------------------------------------------------------------------------------------------- stamps


def test_first_run_makes_and_installs_second_does_nothing(project, makes_venv) -> None:
    assert ensure(project, "site").calls == [["-r", "requirements-site.txt"]]
    assert len(makes_venv) == 1
    assert ensure(project, "site").calls == []
    assert len(makes_venv) == 1


def test_full_contains_site_and_installs_the_package(project, makes_venv) -> None:
    calls = ensure(project, "full").calls
    assert calls[0] == ["-r", "requirements.txt"]
    assert calls[1][-2:] == ["-e", "."]
    assert "--no-deps" in calls[1]
    assert ensure(project, "site").calls == []


def test_site_is_upgraded_to_full_in_place(project, makes_venv) -> None:
    ensure(project, "site")
    assert ensure(project, "full").calls
    assert len(makes_venv) == 1


@pytest.mark.parametrize("name", ["requirements-site.txt", "constraints.txt"])
def test_changed_pins_make_both_levels_stale(project, makes_venv, name: str) -> None:
    ensure(project, "full")
    (project / name).write_text("changed\n")
    assert not env.is_complete(str(project), "site")
    assert not env.is_complete(str(project), "full")


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_package_makes_only_full_stale(project, makes_venv, name: str) -> None:
    ensure(project, "full")
    (project / name).write_text("changed\n")
    assert env.is_complete(str(project), "site")
    assert not env.is_complete(str(project), "full")
    assert ensure(project, "full").calls


def test_moved_folder_installs_the_package_again(project, makes_venv) -> None:
    ensure(project, "full")
    moved = project.rename(project.parent / "elsewhere")
    assert not env.is_complete(str(moved), "full")


def test_failed_install_leaves_no_stamp_and_the_next_run_resumes(project, makes_venv) -> None:
    ensure(project, "site")
    with pytest.raises(env.Problem):
        ensure(project, "full", fail=True)
    # The site's packages may be half replaced by now, so that level is not complete either.
    assert not env.is_complete(str(project), "site")
    assert not env.is_complete(str(project), "full")
    assert ensure(project, "full").calls
    assert env.is_complete(str(project), "full")
    assert len(makes_venv) == 1


def test_vanished_python_is_replaced(project, makes_venv) -> None:
    ensure(project, "site")
    python = Path(env.venv_python(str(project)))
    python.unlink()
    os.symlink(project / "no" / "such" / "python3", python)
    assert ensure(project, "site").calls
    assert len(makes_venv) == 2


def test_environment_without_pip_is_replaced(project, makes_venv) -> None:
    ensure(project, "site")
    Path(env.venv_python(str(project))).write_text("#!/bin/sh\nexit 1\n")
    assert ensure(project, "site").calls
    assert len(makes_venv) == 2


def test_another_python_replaces_only_if_it_was_asked_for(project, makes_venv, monkeypatch) -> None:
    ensure(project, "site")
    other = (*sys.version_info[:1], sys.version_info[1] + 1, 0)
    assert env.is_usable(str(project), explicit=False, version=other)
    assert not env.is_usable(str(project), explicit=True, version=other)
    assert env.is_usable(str(project), explicit=True, version=tuple(sys.version_info[:3]))


def test_old_python_may_still_use_a_finished_environment(project, makes_venv, monkeypatch) -> None:
    ensure(project, "site")
    monkeypatch.setattr(env.sys, "version_info", (3, 9, 2))
    assert ensure(project, "site").calls == []
    with pytest.raises(env.Problem, match=r"Python 3\.9\.2"):
        ensure(project, "site", explicit=True)


def test_low_disk_stops_before_anything_is_removed(project, makes_venv, monkeypatch) -> None:
    ensure(project, "site")
    monkeypatch.setattr(env.shutil, "disk_usage", lambda path: _Usage(1))
    with pytest.raises(env.Problem, match="Not enough disk space"):
        ensure(project, "full")
    assert env.is_complete(str(project), "site")


class _Usage:
    def __init__(self, megabytes: int) -> None:
        self.free = megabytes * 10**6


# ------------------------------------------------------------------------------------- command line


def test_makefile_passes_on_a_python_that_was_named() -> None:
    root = SOURCE.parent.parent

    def dry_run(*arguments: str, **extra: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k not in {"PYTHON", "MAKEFLAGS"}}
        return subprocess.run(
            ["make", "-n", "env-site", *arguments],
            cwd=root,
            env={**environment, **extra},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "--explicit" not in dry_run()
    assert '"python3.12" tools/env.py site --explicit' in dry_run("PYTHON=python3.12")
    assert "--explicit" in dry_run(PYTHON="python3.12")
