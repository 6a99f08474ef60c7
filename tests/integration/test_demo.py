"""The demo tells the whole story by itself, and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.server import CHECKOUT, eventually

SENTENCES = (
    r"✓ 200  (benign|malignant) \([\d.]+%\), by version 1, as prediction [0-9a-f-]{36}-0",
    r"✓ 422  .*'mean radius' at \$\.rows\[0\].*expected FP64, got string 'n/a'",
    r"✓ 600 answered in",
    r"✓ Prediction log: 601 predictions answered, 601 found exactly once",
    r"✓ GET /metrics: 602 requests sent, 602 counted",
    r"✓ OpenTelemetry: 602 requests sent, 602 SERVER spans arrived",
    r"POST /predict/\{model\} +[\d.]+ ms\n +└─ predict tumour +[\d.]+ ms",
    r"\$ kill -9 \d+\n ✓ \d+ requests answered meanwhile",
    r"✓ 2 of 2 workers follow after \d+ ms",
    r"✓ They ask again: 500 of 500 meet the same version",
    r"✓ Version 1 answers again in 2 of 2 workers after \d+ ms",
    r"✓ Ended after [\d.]+ s; 0 processes are left",
    r"every claim held",
)
_MARK = "DEMO_TEST"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files lie in the test's own folder, so that what is left behind is seen."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1",
            _MARK: str(folder)}


def _demo(environ: dict[str, str], folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "serinus", "demo", *flags], env=environ, cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def _processes(environ: dict[str, str]) -> Iterator[int]:
    """Everything that was started with this environment and lives."""
    mark = f"{_MARK}={environ[_MARK]}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def test_the_demo_tells_the_whole_story(environ: dict[str, str], tmp_path: Path) -> None:
    """Every claim holds, the key sentences are there, no line is too wide for a terminal, nothing is left."""
    output, _ = (process := _demo(environ, tmp_path)).communicate(timeout=150)
    assert process.returncode == 0, output
    for sentence in SENTENCES:
        assert re.search(sentence, output), f"{sentence}\n\n{output}"
    assert [line for line in output.splitlines() if len(line) > 110 and environ["TMPDIR"] not in line] == []
    assert "\x1b" not in output
    assert list(_processes(environ)) == []
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize("moment", ["Train two", "Serve them", "600 requests", "$ kill -9"])
def test_an_interrupted_demo_leaves_nothing(moment: str, environ: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C at any moment ends every process, removes the temporary home, and shows no stack trace."""
    process = _demo(environ, tmp_path)
    assert process.stdout is not None
    seen = ""
    while moment not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    # CPython ends itself by SIGINT, 130 to a shell, when the interrupt has passed through an exec() of an import.
    assert process.returncode in (130, -signal.SIGINT), rest
    assert "Traceback" not in rest
    assert list(_processes(environ)) == []
    assert [path.name for path in Path(environ["TMPDIR"]).iterdir() if path.name.startswith("serinus")] == []


def test_a_killed_demo_takes_its_server_along(environ: dict[str, str], tmp_path: Path) -> None:
    """Even SIGKILL, which nobody can catch, leaves no process."""
    process = _demo(environ, tmp_path)
    assert process.stdout is not None
    while "Ready after" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: not list(_processes(environ)), 30.0, lambda: f"left: {list(_processes(environ))}")


def test_a_home_that_is_not_empty_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """The demo counts what is in its home, so it wants one for itself."""
    output, _ = (process := _demo(environ, tmp_path, "--home", str(tmp_path))).communicate(timeout=60)
    assert process.returncode == 1
    assert output == f"serinus: --home {tmp_path} is not empty, and the demo counts what is in it: give a new folder.\n"
