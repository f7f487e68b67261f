"""Renew the third-party files that the site carries with it: ``python -m tools.vendor``.

For maintainers. Fetches MathJax from npm at a pinned version and checksum, keeps the parts that the
site uses, and writes a manifest of their checksums, which ``tests/test_site.py`` compares with the
files. Building the book needs neither npm nor a network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = "3.2.2"
SHA512 = (
    "06df9249553c7811b6ef30a155ec0e89c62ced7b1db78d2a9b8f94a47c97ee4d"
    "3f3bd36588f73ec7bee4d7f144b0fb2328f64626fb5164cd6f3be81e5b43a11b"
)
TARGET = ROOT / "book" / "site_assets" / "vendor" / f"mathjax-{VERSION}"
# The "full" build holds every TeX extension, so that \boldsymbol or \cancel fetch nothing later.
KEEP = {
    "package/LICENSE": "LICENSE",
    "package/es5/tex-chtml-full.js": "tex-chtml-full.js",
    "package/es5/output/chtml/fonts/woff-v2/": "output/chtml/fonts/woff-v2/",
}


def wanted(name: str) -> str | None:
    """Return where a member of the archive goes below the target folder; None leaves it out."""
    for source, target in KEEP.items():
        if name == source or (source.endswith("/") and name.startswith(source)):
            return target + name[len(source) :]
    return None


def manifest(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a vendored folder, the manifest itself left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "MANIFEST.json"
    }


def fetch(into: Path) -> Path:
    """Download the npm archive and check it against the pinned checksum."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(
            "npm was not found. Install Node.js to renew the vendored files; "
            "`make book` does not need it."
        )
    command = [npm, "pack", "--silent", f"mathjax@{VERSION}"]
    done = subprocess.run(command, cwd=into, capture_output=True, text=True)
    archive = into / f"mathjax-{VERSION}.tgz"
    if done.returncode or not archive.exists():
        sys.exit(f"`npm pack mathjax@{VERSION}` failed:\n{done.stderr.strip()}")
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != SHA512:
        sys.exit(f"mathjax {VERSION}: sha512 is {found}, expected {SHA512}. Nothing was changed.")
    return archive


def main() -> None:
    """Replace the vendored folder by the files of a freshly checked archive."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = fetch(Path(temporary))
        shutil.rmtree(TARGET, ignore_errors=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                target = wanted(member.name)
                data = tar.extractfile(member) if target and member.isfile() else None
                if data is not None:
                    path = TARGET / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data.read())
    files = manifest(TARGET)
    (TARGET / "MANIFEST.json").write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(files)} files from mathjax {VERSION}")


if __name__ == "__main__":
    main()
