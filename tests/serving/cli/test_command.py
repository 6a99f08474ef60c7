"""The group of all commands: wrong usage, errors, and readers who have seen enough."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("words", [("sevre",), ("models", "foo"), ("models", "register"), ("rollout", "start"),
                                   ("log", "show", "--limit", "x"), ("serve", "--port", "x")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], cli: Any) -> None:
    """With a hint at help, and no stack trace."""
    said = cli(*words)
    assert said.code == 2 and "Usage: serinus" in said.err and "Traceback" not in said.err


def test_an_unknown_setting_is_a_sentence(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, with what was probably meant."""
    monkeypatch.setenv("SERINUS_SERVER_PROT", "1")
    said = cli("models", "list")
    assert said.code == 1
    assert said.err == ("serinus: Unknown setting 'server.prot' (from SERINUS_SERVER_PROT). "
                        "Did you mean 'server.port'?\n")


def test_a_named_home_needs_no_settings(cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback with --home works whatever the environment says."""
    monkeypatch.setenv("SERINUS_SERVER_PROT", "1")
    assert cli("models", "list", "--home", home).code == 0


def test_a_taken_port_is_a_sentence(cli: Any, home: Path) -> None:
    """A second server on the same port says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = cli("serve", "--port", port)
    assert said.code == 1
    assert said.err.startswith(f"serinus: Cannot listen on 127.0.0.1:{port}: Address already in use.")


def test_a_reader_who_has_seen_enough_is_no_error(home: Path, checkout: Path) -> None:
    """`serinus … | head` prints no stack trace."""
    shell = f"'{sys.executable}' -m serinus models list --json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(checkout)}, cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")
