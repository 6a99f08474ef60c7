"""What both clients know of HTTP: addresses, headers, and what an attempt that failed means."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from serinus import __version__
from serinus.serving.client.call import Call, Reply
from serinus.serving.client.errors import Busy, ClientError, Refused, Unreachable
from serinus.serving.client.retries import Failure

__all__ = ["Address", "failed", "headers_of", "to_reply"]

_CONNECTIONS = 100
_KEPT_S = 4.0
"""Less than the server keeps a connection on which nothing is asked, so that it is not closed under a request."""
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and who asks it. The token comes from the environment (`SERINUS_CONTROL_TOKEN`) unless it is given."""

    url: str
    token: str | None
    actor: str

    @classmethod
    def of(cls, url: str, token: str | None, actor: str | None) -> Address:
        """Check what a person wrote."""
        if not url.startswith(("http://", "https://")):
            raise ClientError(f"url: expected http://HOST:PORT or https://HOST:PORT, got {url!r}.")
        return cls(url.rstrip("/"), os.environ.get("SERINUS_CONTROL_TOKEN") if token is None else token,
                   actor or _user())

    def options(self, timeout: float, further: Mapping[str, Any]) -> dict[str, Any]:
        """For httpx. A call goes straight to the server that was named, never through a proxy of the environment."""
        headers = {"user-agent": f"serinus/{__version__}", **further.get("headers", {})}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        limits = httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEPT_S)
        return {"base_url": self.url, "timeout": timeout, "trust_env": False, "limits": limits, **further,
                "headers": headers}


def headers_of(call: Call[Any]) -> dict[str, str]:
    """The call's own, and the caller's trace context where the program traces itself."""
    headers = dict(call.headers)
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def to_reply(response: httpx.Response) -> Reply:
    """A whole answer."""
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()},
                 response.content)


def failed(error: Exception, url: str, timeout: float) -> tuple[ClientError, Failure | None]:
    """The error that the caller gets, and how the attempt failed; None where another one makes no sense."""
    if isinstance(error, Busy):
        return error, Failure.REFUSED
    if isinstance(error, Refused):
        return error, None
    if isinstance(error, _UNSENT):
        return Unreachable(f"{url} cannot be reached: {_why(error)}. Does a server listen there?"), Failure.UNSENT
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"{url} did not answer within {timeout:g} s. Give it a longer timeout, or send less."), None
    return Unreachable(f"The connection to {url} broke: {_why(error)}."), Failure.BROKEN


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _user() -> str:
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "client"
