"""Programs of other projects that some tests run. Where one is missing its tests skip, and say what to install.

With `REQUIRE_PROGRAMS=1`, as in CI, they fail instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from serinus.serving.files import locked
from tests.benchmarks.peers import Peer, PeerError
from tests.integration.server import eventually

__all__ = ["free_port", "listens", "missing", "program", "running", "venv"]


def missing(what: str) -> None:
    """Skip the test, or fail where nothing may be missing."""
    if os.environ.get("REQUIRE_PROGRAMS") == "1":
        pytest.fail(what)
    pytest.skip(what)


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not on the path: apt-get install {package}")
    return str(found)


def venv(name: str, *requirements: str) -> Path:
    """The `bin` folder of an environment with these packages, made on first use and kept in `$PROGRAMS_VENVS`, else
    `~/.cache/serinus-tests/venvs`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("PROGRAMS_VENVS") or Path(cache, "serinus-tests", "venvs"))
    folder.mkdir(parents=True, exist_ok=True)
    peer = Peer(name, requirements)
    with locked(folder / f"{name}.lock"):
        try:
            peer.install(folder)
        except PeerError as error:
            missing(f"{name} could not be installed: {error}")
    return peer.python(folder).parent


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, ports: Sequence[int], timeout: float = 20.0,
            environ: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Run a program that listens on these ports, and end it with all its children; gives the file it prints to."""
    output = folder / f"{Path(command[0]).name}.txt"
    with output.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **(environ or {})})
    try:
        eventually(lambda: process.poll() is not None or all(map(listens, ports)), timeout, output.read_text)
        assert process.poll() is None, output.read_text()
        yield output
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
