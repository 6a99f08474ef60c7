"""A running server, through its control calls."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from serinus.serving.errors import CommandError
from serinus.serving.store import JournalEntry

__all__ = ["RemoteRollouts", "RemoteServer"]

_PATIENCE_S = 30.0
_PAGE = 1000


class RemoteServer:
    """A server by its address. The token comes from the environment, so that it stands in no process list."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise CommandError(f"--url {url!r}: expected http://HOST:PORT or https://HOST:PORT.")
        self._token = os.environ.get("SERINUS_CONTROL_TOKEN") if token is None else token
        # A control call goes straight to the server that was named, never through a proxy of the environment.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method: str, path: str, body: dict[str, Any] | None,
             patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """The JSON object of an answer. Raises `CommandError` with the server's own sentence."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            with self._opener.open(request, timeout=patience_s) as response:
                return dict(json.loads(response.read()))
        except urllib.error.HTTPError as error:
            raise CommandError(_told(error, self.url)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CommandError(f"{self.url} cannot be asked: {reason}. Does a server listen there?") from None


class RemoteRollouts(RemoteServer):
    """See `Rollouts`."""

    @property
    def where(self) -> str:
        """See `Rollouts`."""
        return self.url

    def act(self, model: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Rollouts`."""
        return self.call("POST", f"/api/rollouts/{quote(model)}/{verb}", body)

    def roll_back(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Rollouts`."""
        return self.call("POST", f"/api/rollouts/{quote(model)}/rollback", body)

    def status(self, model: str) -> dict[str, Any]:
        """See `Rollouts`."""
        return self.call("GET", f"/api/rollouts/{quote(model)}", None)

    def analysis(self, model: str) -> dict[str, Any]:
        """See `Rollouts`."""
        return self.call("GET", f"/api/rollouts/{quote(model)}/analysis", None)

    def journal(self, model: str) -> list[JournalEntry]:
        """See `Rollouts`."""
        found: list[JournalEntry] = []
        while True:
            after = found[-1].seq if found else 0
            path = f"/api/rollouts/{quote(model)}/journal?after={after}&limit={_PAGE}"
            page = self.call("GET", path, None)["entries"]
            found += [JournalEntry(**entry) for entry in page]
            if len(page) < _PAGE:
                return found

    def traffic(self) -> list[dict[str, Any]]:
        """See `Rollouts`."""
        return [self.call("GET", "/api/traffic", None)]


def _told(error: urllib.error.HTTPError, url: str) -> str:
    """The server's own sentence, or what it answered instead of one."""
    try:
        document = json.loads(error.read())
        return str(document.get("detail") or document["error"])
    except (OSError, ValueError, KeyError, AttributeError):
        return f"{url} answered {error.code} {error.reason}, which no Serinus server does: check the address."
