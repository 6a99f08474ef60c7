"""Answers for the document and the page: made when asked for, kept until the served versions change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from serinus.serving.openapi.document import Parts, make_document
from serinus.serving.openapi.page import make_page
from serinus.serving.protocols import Protocol
from serinus.serving.router import Router
from serinus.serving.settings import Settings

__all__ = ["Documentation"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON, _HTML = b"application/json", b"text/html; charset=utf-8"
# The page needs nothing but its own style; a name that got past the escaping could do nothing either.
_PAGE_ONLY = ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
               b"form-action 'none'; frame-ancestors 'none'"), (b"x-content-type-options", b"nosniff"),
              (b"vary", b"accept"))


class _Made(NamedTuple):
    """A document, its JSON and its tag. `of`: which state of the routing table it describes, and which parts."""

    of: tuple[int, Parts]
    document: dict[str, Any]
    text: bytes
    tag: bytes


class Documentation:
    """`/openapi.json`, `/docs`, and `/` where HTML is asked for."""

    def __init__(self, settings: Settings, router: Router, protocols: Iterable[Protocol]) -> None:
        self._settings = settings
        self._router = router
        self._protocols = tuple(protocols)
        self._generation = 0
        self._kept: _Made | None = None

    def forget(self) -> None:
        """Make everything anew when it is next asked for, after the router changed."""
        self._generation += 1
        self._kept = None

    def is_asked(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request is one for documentation."""
        path = scope["path"]
        return path in ("/openapi.json", "/docs") or (path in ("", "/") and _wants_html(scope))

    async def answer(self, scope: Mapping[str, Any], send: Send, parts: Parts) -> None:
        """Answer it. `parts`: what the server has besides inference."""
        if scope["method"] not in ("GET", "HEAD"):
            text = orjson.dumps({"error": f"{scope['path']} takes GET, got {scope['method']}."})
            await _send(send, 405, _JSON, text, (b"allow", b"GET, HEAD"))
            return
        headers = dict(scope["headers"])
        made = await asyncio.to_thread(self._made, parts)
        text, tag, kind = made.text, made.tag, _JSON
        more: tuple[tuple[bytes, bytes], ...] = ()
        if scope["path"] != "/openapi.json":
            text = await asyncio.to_thread(make_page, made.document, _base(scope, headers))
            tag, kind, more = _tag(text), _HTML, _PAGE_ONLY
        known = headers.get(b"if-none-match", b"")
        if known == b"*" or tag in (given.strip().removeprefix(b"W/") for given in known.split(b",")):
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", tag), *more]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await _send(send, 200, kind, text, (b"etag", tag), (b"cache-control", b"no-cache"), *more)

    def _made(self, parts: Parts) -> _Made:
        kept, of = self._kept, (self._generation, parts)
        if kept is None or kept.of != of:
            document = make_document(self._settings, self._protocols, dict(self._router.routes), parts)
            text = orjson.dumps(document)
            kept = self._kept = _Made(of, document, text, _tag(text))
        return kept


def _tag(text: bytes) -> bytes:
    return b'"%b"' % sha256(text).hexdigest()[:32].encode()


def _wants_html(scope: Mapping[str, Any]) -> bool:
    """Whether HTML is preferred to JSON; `*/*` is content with JSON."""
    accepted = dict(scope["headers"]).get(b"accept", b"").decode("latin-1").lower()
    return _weight(accepted, "text/html") > max(_weight(accepted, "application/json"), 0.0)


def _weight(accepted: str, kind: str) -> float:
    for entry in accepted.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name == kind:
            quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
            try:
                return float(quality)
            except ValueError:
                return 0.0
    return 0.0


def _base(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
    """The address under which the reader reached the server, as far as it is known."""
    host = headers.get(b"host", b"127.0.0.1:3000").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '').rstrip('/')}"


async def _send(send: Send, status: int, kind: bytes, text: bytes, *further: tuple[bytes, bytes]) -> None:
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(text)), *further]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": text})
