"""The address that a server would listen on: free, or taken, and by whom."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from serinus.serving.doctor.check import Check, ok, problem, warning
from serinus.serving.home import Home
from serinus.serving.settings import Settings

__all__ = ["look_at_port"]


def look_at_port(settings: Settings, home: Home) -> Iterator[Check]:
    """One line. A server of this home that has it is in order."""
    host, port = settings.server.host, settings.server.port
    if not port:
        yield ok("port", f"Any free one on {host}.")
        return
    refusal = _refusal(host, port)
    if refusal is None:
        yield ok("port", f"{host}:{port} is free.")
    elif refusal.errno != errno.EADDRINUSE:
        yield problem("port", f"Nobody can listen on {host}:{port} here: {(refusal.strerror or str(refusal)).lower()}.",
                      "Set server.host to an address of this machine, or server.port to 1024 or more.")
    elif pid := _ours(home, host, port):
        yield ok("port", f"{host}:{port} is that of this home's running server, process {pid}.")
    else:
        yield warning("port", f"{host}:{port} is taken by another program.",
                      "Give `serinus serve` another --port, or end that program.")


def _refusal(host: str, port: int) -> OSError | None:
    """Why a server could not listen there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)  # a port that is bound and shared shows here
    except OSError as error:
        return error
    return None


def _ours(home: Home, host: str, port: int) -> str:
    """The pid of the server of this home that listens there; empty where there is none."""
    for run in home.servers():
        try:
            server = Settings.model_validate_json(run.settings.read_bytes()).server
            if (server.host, server.port) == (host, port):
                return run.owner.read_text().split()[0]
        except (OSError, ValueError):  # it begins, or ended meanwhile
            continue
    return ""
