"""Make or renew the virtual environment ``.venv``: ``python3 tools/env.py site`` or ``... full``.

``site`` installs what builds the book (requirements-site.txt), ``full`` adds torch, Jupyter and the
tests (requirements.txt) and the package itself. A stamp in .venv, written only after everything
succeeded, holds a digest of what was asked for; while it matches there is nothing to do.

This file is run by whatever python3 the reader has, before anything is installed: standard library
only, and no syntax that Python 3.6 cannot read, so that an old Python gets a sentence and not a
SyntaxError.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
NEWEST = (3, 14)  # the newest for which every pinned package has a ready-made wheel
LEVELS = ("site", "full")

# Free megabytes needed: the measured size of .venv (270 and 1,770) plus room for pip to unpack.
NEED_MB = {"site": 400, "full": 2600}
# What torch may take instead on Linux with an x86-64 processor, where some package indexes give the
# build with the CUDA libraries: an estimate, so worth a note but no refusal.
CUDA_MB = 9000


class Problem(Exception):
    """Something the reader can mend; the message says what is wrong and what to do."""


def say(text):
    """Print a line at once, so that it stands before what pip prints."""
    print(text, flush=True)


def dotted(version):
    """(3, 11, 7) -> '3.11.7'."""
    return ".".join(str(part) for part in version)


def venv_python(root):
    """Path of the environment's interpreter, whether it exists or not."""
    return os.path.join(root, ".venv", "bin", "python")


def stamp_path(root, level):
    """Path of the file that says: this level is completely installed."""
    return os.path.join(root, ".venv", ".complete-" + level)


def digest(root, level):
    """Digest of everything a level is made from.

    The folder's own path counts for the full level: the editable install points to it, so a moved
    folder needs a new one.
    """
    names = ["requirements-site.txt", "constraints.txt"]
    if level == "full":
        names += ["requirements.txt", "pyproject.toml"]
    sha = hashlib.sha256(level.encode())
    for name in names:
        path = os.path.join(root, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                sha.update(name.encode() + b"\0" + file.read())
    if level == "full":
        sha.update(root.encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def is_complete(root, level):
    """True if the level's stamp is there and belongs to today's requirements."""
    try:
        with open(stamp_path(root, level)) as file:
            return file.read().strip() == digest(root, level)
    except OSError:
        return False


def probe(python):
    """Version of an interpreter as a tuple, or None if it does not run (gone, or half made)."""
    code = "import sys, pip; print(*sys.version_info[:3])"
    try:
        out = subprocess.check_output([python, "-c", code], stderr=subprocess.DEVNULL)
        return tuple(int(part) for part in out.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def newer_pythons(which=shutil.which):
    """Commands on the PATH that would do instead of a Python that is too old."""
    return [
        name
        for name in ("python3.%d" % minor for minor in range(NEWEST[1], OLDEST[1] - 1, -1))
        if which(name)
    ]


def check_python(version, target, which=shutil.which):
    """Raise Problem if this Python is too old for the book."""
    if tuple(version[:2]) >= OLDEST:
        return
    found = newer_pythons(which)
    if found:
        advice = "A newer one is installed: run\n    make PYTHON=%s %s" % (found[0], target)
    else:
        advice = (
            "Install Python %s or newer (python.org, your system's packages, or conda), "
            "then run for example\n"
            "    make PYTHON=python3.12 %s" % (dotted(OLDEST), target)
        )
    raise Problem(
        "This book needs Python %s or newer; %s is Python %s.\n%s"
        % (dotted(OLDEST), sys.executable or "this one", dotted(version[:3]), advice)
    )


def check_venv_module(version, find=None):
    """Raise Problem if Python lacks venv or ensurepip (Debian and Ubuntu package them apart)."""
    if find is None:
        from importlib.util import find_spec as find
    missing = [name for name in ("venv", "ensurepip") if find(name) is None]
    if missing:
        package = "python%d.%d-venv" % tuple(version[:2])
        raise Problem(
            "This Python comes without its module %s, so it cannot make an environment.\n"
            "On Debian or Ubuntu run\n    sudo apt-get install %s\nand try again."
            % (" and ".join(missing), package)
        )


def size_mb(folder):
    """Megabytes that a folder takes, links not followed."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_size
            except OSError:
                pass
    return total // 10**6


def check_disk(root, level, free=None, present=None, need=None):
    """Raise Problem if the disk lacks room for what is still to be installed."""
    if free is None:
        free = shutil.disk_usage(root).free // 10**6
    if present is None:
        present = size_mb(os.path.join(root, ".venv"))
    if need is None:
        need = NEED_MB[level]
    # pip needs some room even where nearly all is installed already.
    missing = max(need - present, 200)
    if free < missing:
        raise Problem(
            "Not enough disk space for the %s environment in %s:\n"
            "%d MB are needed, %d MB are free. "
            "Free some space and try again; what is installed is kept."
            % (level, os.path.join(root, ".venv"), missing, free)
        )
    cuda_possible = sys.platform.startswith("linux") and os.uname().machine == "x86_64"
    if level == "full" and cuda_possible and free < CUDA_MB - present:
        say(
            "Note: %d MB are free; a torch that brings the CUDA libraries along needs up to %d."
            % (free, CUDA_MB)
        )


def run_pip(root, arguments):
    """Run pip, show its progress, and raise Problem with its last lines if it fails."""
    command = [venv_python(root), "-m", "pip", "--disable-pip-version-check", "install"] + arguments
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    tail = []
    for line in process.stdout:
        line = line.rstrip()
        tail = tail[-14:] + [line]
        if line.startswith(("Collecting", "Downloading", "Installing", "Successfully", "ERROR")):
            say("  " + (line if len(line) < 110 else line[:107] + "..."))
    if process.wait():
        advice = (
            "Run the same command again: pip keeps what it has downloaded and goes on from there."
        )
        version = probe(venv_python(root)) or OLDEST
        if version[:2] > NEWEST:
            advice += (
                "\nThe pinned packages were made for Python %s to %s, this is %s: "
                "try make PYTHON=python%s"
                % (
                    dotted(OLDEST),
                    dotted(NEWEST),
                    dotted(version),
                    dotted(NEWEST),
                )
            )
        raise Problem(
            "pip could not install the packages. Its last lines:\n  %s\n%s"
            % ("\n  ".join(tail), advice)
        )


def create(root):
    """Make a fresh .venv with the Python that runs this file."""
    folder = os.path.join(root, ".venv")
    if os.path.islink(folder):
        os.unlink(folder)
    elif os.path.isdir(folder):
        shutil.rmtree(folder)
    say("Making .venv with Python %s ..." % dotted(sys.version_info[:3]))
    done = subprocess.run(
        [sys.executable, "-m", "venv", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode or probe(venv_python(root)) is None:
        text = done.stdout.decode("utf-8", "replace").strip()
        raise Problem("Python could not make an environment in %s:\n%s" % (folder, text))


def is_usable(root, explicit, version=None):
    """True if .venv runs, is new enough, and is of the Python that was asked for, if one was."""
    present = probe(venv_python(root))
    if present is None or present[:2] < OLDEST:
        return False
    wanted = tuple((version or sys.version_info)[:2])
    return not explicit or present[:2] == wanted


def ensure(root, level, explicit=False, target="book", install=run_pip):
    """Bring .venv to the given level, doing nothing if it is there already."""
    usable = is_usable(root, explicit)
    if usable and is_complete(root, level):
        return
    if not usable:
        check_python(sys.version_info, target)
        check_venv_module(sys.version_info)
        if os.path.isdir(os.path.join(root, ".venv")):
            say("The environment in .venv is unfinished, or its Python is gone or another.")
        check_disk(root, level, present=0)
        create(root)
    else:
        check_disk(root, level)
    # From here on the environment is in between: only a finished run stamps it again.
    for name in LEVELS:
        if os.path.exists(stamp_path(root, name)):
            os.remove(stamp_path(root, name))
    say(
        "Installing what the %s environment lacks (%s) ..."
        % (level, "minutes" if level == "full" else "a minute")
    )
    names = {"site": "requirements-site.txt", "full": "requirements.txt"}
    install(root, ["-r", names[level]])
    if level == "full":
        install(root, ["--no-deps", "--no-build-isolation", "-e", "."])
    # The full level contains the site's.
    for name in LEVELS[: LEVELS.index(level) + 1]:
        with open(stamp_path(root, name), "w") as file:
            file.write(digest(root, name) + "\n")


def main(arguments=None):
    """Read the command line and make the environment; a Problem becomes a message."""
    parser = argparse.ArgumentParser(description="Make or renew the virtual environment .venv.")
    parser.add_argument("level", choices=LEVELS)
    parser.add_argument(
        "--explicit", action="store_true", help="remake .venv unless it is of this very Python"
    )
    parser.add_argument("--target", default="book", help="make target to name in advice")
    options = parser.parse_args(arguments)
    try:
        ensure(ROOT, options.level, options.explicit, options.target)
    except Problem as problem:
        sys.stderr.write("\n%s\n" % problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
