"""The port that a server would take."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.doctor.check import Check
from serinus.serving.doctor.port import look_at_port
from serinus.serving.home import Home, RunFolder
from serinus.serving.settings import ServerSettings, Settings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def look(home: Path, host: str = "127.0.0.1", port: int = 0) -> Check:
    (found,) = look_at_port(Settings(home=home, server=ServerSettings(host=host, port=port)), Home(home))
    return found


def test_a_free_port_is_in_order(tmp_path: Path, taken: int) -> None:
    """So is any one."""
    assert look(tmp_path).says == "Any free one on 127.0.0.1."
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert look(tmp_path, port=port) == Check("port", "ok", f"127.0.0.1:{port} is free.")


def test_a_port_of_another_program_is_a_warning(tmp_path: Path, taken: int) -> None:
    """Nothing is wrong yet; a server would not start."""
    found = look(tmp_path, port=taken)
    assert found.state == "warning" and "is taken by another program" in found.says and "--port" in found.advice


def test_the_port_of_our_own_server_is_in_order(tmp_path: Path, taken: int) -> None:
    """Its run folder says which it has."""
    run = RunFolder(Home(tmp_path).run / "server-1")
    run.claim(os.getpid())
    run.settings.write_text(Settings(home=tmp_path, server=ServerSettings(port=taken)).model_dump_json())
    assert look(tmp_path, port=taken).says == (
        f"127.0.0.1:{taken} is that of this home's running server, process {os.getpid()}.")


def test_an_address_of_another_machine_is_a_problem(tmp_path: Path) -> None:
    """Nobody could listen there."""
    found = look(tmp_path, host="192.0.2.1", port=3000)
    assert found.state == "problem" and "cannot assign requested address" in found.says
