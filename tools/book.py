"""Build the site into ``_build/html`` from the committed notebooks: ``python -m tools.book``.

Every build starts from nothing and treats warnings as errors. After a failed strict build an
incremental one would pass, because pages that were read before are not read again, and so neither
are their warnings.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JUPYTER_BOOK = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"


def build(root: Path = ROOT) -> int:
    """Build the book found in ``root`` strictly and from a clean start; return the exit status."""
    for leftover in ("html", ".doctrees", "jupyter_execute"):
        shutil.rmtree(root / "_build" / leftover, ignore_errors=True)
    # -n reports references that lead nowhere, -W fails on warnings, --keep-going shows all of them.
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", ".", "-W", "-n", "--keep-going"]
    environment = dict(os.environ)
    if not sys.stdout.isatty():
        environment["NO_COLOR"] = "1"
    return subprocess.run(command, cwd=root, env=environment).returncode


def main() -> int:
    """Build and say how to read the result."""
    parser = argparse.ArgumentParser(description="Build the site into _build/html.")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that holds _config.yml")
    root = parser.parse_args().root.resolve()
    started = time.perf_counter()
    status = build(root)
    if status:
        print("\nThe book was not built: see the warnings and errors above.", file=sys.stderr)
        return status
    html = root / "_build" / "html"
    print(f"\nBuilt in {time.perf_counter() - started:.0f} s. To read it:")
    print(f"  open this file in a browser:  {html / 'index.html'}")
    print("  or serve it:                  python3 -m http.server --directory _build/html 8000")
    print("                                and open http://localhost:8000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
