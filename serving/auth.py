"""Who may call `/api`: a check of Host, Origin, content type and token, and who holds the token.

Loopback is a convenience, not authentication: without a token, `/api` answers only where the server is bound to
loopback and no proxy has forwarded the call: neither the settings nor a header speak of one. Under plain `bentoml
serve` BentoML binds where it was told to, so the address at which the call came in must be loopback too. The peer's
address is never asked; behind a proxy it is the proxy's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Mapping, Sequence
from typing import Any

from serinus.serving.errors import ControlRefused
from serinus.serving.settings import Settings
from serinus.serving.tokens import tokens_of

__all__ = ["authorise", "is_loopback"]

_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")


def is_loopback(host: str) -> bool:
    """Whether an address or name means this host alone."""
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authorise(settings: Settings, headers: Mapping[bytes, bytes], method: str, *, untyped: bool = False,
              scope: str | None = None, media_types: Container[str] = ("application/json",),
              server: Sequence[Any] | None = None) -> str:
    """The name of the token with which the call is allowed, empty for one without. Raises `ControlRefused` (kind
    `forbidden`, `unauthorised` or `unsupported`).

    `scope` is what the token must be good for: `read` of a GET and `operate` of others, where nothing is said.
    `untyped`: a call without any content type will do (clients of the Open Inference Protocol send none); a form's
    content type, which a page of another origin may send unasked, will not, and must not be in `media_types`. `server`
    is the address and port of this host at which the call came in, where that is known.
    """
    _check_host(settings, headers)
    if method not in ("GET", "HEAD"):
        _check_origin(headers)
        content_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        typed = content_type.decode("latin-1") in media_types
        if not typed and not (untyped and b"content-type" not in headers):
            raise ControlRefused("A control call needs Content-Type: application/json.", "unsupported")
    loopback = is_loopback(settings.server.host) and _came_in_locally(server)
    return _check_token(settings, headers, scope or ("read" if method in ("GET", "HEAD") else "operate"), loopback)


def _came_in_locally(server: Sequence[Any] | None) -> bool:
    """By loopback, or by a Unix socket, which has no port."""
    return server is None or server[1] is None or is_loopback(str(server[0]))


def _check_host(settings: Settings, headers: Mapping[bytes, bytes]) -> None:
    host = _host_name(headers.get(b"host", b""))
    if not (is_loopback(host) or host == settings.server.host or host in settings.control.allowed_hosts):
        raise ControlRefused(f"Host {host!r} may not be used for control calls: use the server's own address, or add "
                             "it to control.allowed_hosts.", "forbidden")


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    origin = headers.get(b"origin")
    if origin is not None and origin.split(b"//", 1)[-1] != headers.get(b"host", b""):
        raise ControlRefused("A page of another origin may not make control calls.", "forbidden")


def _check_token(settings: Settings, headers: Mapping[bytes, bytes], scope: str, loopback: bool) -> str:
    tokens = tokens_of(settings.control)
    if not tokens:
        proxied = settings.control.behind_proxy or any(name in headers for name in _FORWARDED)
        if loopback and not proxied:
            return ""
        raise ControlRefused("Control calls are closed: the server is not bound to loopback or stands behind a proxy, "
                             "and no token is set. Set SERINUS_CONTROL_TOKEN.", "forbidden")
    holder = tokens.holder(headers.get(b"authorization", b""))
    if holder is None:
        raise ControlRefused("The control token is missing or wrong: send Authorization: Bearer TOKEN.",
                             "unauthorised")
    if scope not in holder.scopes:
        raise ControlRefused(f"Token {holder.name!r} has no scope {scope!r}, but {', '.join(sorted(holder.scopes))}.",
                             "forbidden")
    return holder.name


def _host_name(header: bytes) -> str:
    host = header.decode("latin-1").strip()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
