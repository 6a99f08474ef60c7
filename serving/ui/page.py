"""Answers for `/ui`: the files below `static`, read once. They hold no data, so they need no token."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

__all__ = ["KINDS", "STATIC", "Page"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

STATIC = Path(__file__).with_name("static")
KINDS: Mapping[str, bytes] = {
    ".html": b"text/html; charset=utf-8", ".css": b"text/css; charset=utf-8", ".svg": b"image/svg+xml",
    ".js": b"text/javascript; charset=utf-8", "": b"text/plain; charset=utf-8"}
"""What is served, by suffix; other files are not there."""
# Nothing runs that is not one of these files, and no text can become HTML: the browser refuses both.
_SAFE: tuple[Header, ...] = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     b"require-trusted-types-for 'script'; trusted-types 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"cache-control", b"no-cache"), (b"vary", b"accept-encoding"))


class _File(NamedTuple):
    kind: bytes
    data: bytes
    packed: bytes
    tag: bytes


class Page:
    """The dashboard's files."""

    def is_asked(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request is one for the dashboard."""
        path = str(scope["path"])
        return path == "/ui" or path.startswith("/ui/")

    async def answer(self, scope: Mapping[str, Any], send: Send) -> None:
        """Answer it."""
        path, headers = scope["path"], dict(scope["headers"])
        if scope["method"] not in ("GET", "HEAD"):
            await _say(send, 405, f"{path} takes GET, got {scope['method']}.", (b"allow", b"GET, HEAD"))
        elif path == "/ui":
            await _say(send, 308, "The dashboard is at /ui/.", (b"location", b"ui/"))
        elif (file := (await asyncio.to_thread(_files)).get(path.removeprefix("/ui/") or "index.html")) is None:
            await _say(send, 404, f"There is no {path}; the dashboard is at /ui/.")
        elif headers.get(b"if-none-match") == file.tag:
            await _send(send, 304, b"", (b"etag", file.tag), *_SAFE)
        else:
            packed = b"gzip" in headers.get(b"accept-encoding", b"")
            body = file.packed if packed else file.data
            encoding = [(b"content-encoding", b"gzip")] if packed else []
            await _send(send, 200, body, (b"content-type", file.kind), (b"content-length", b"%d" % len(body)),
                        (b"etag", file.tag), *encoding, *_SAFE)


@cache
def _files() -> Mapping[str, _File]:
    """All of them by their path below `/ui/`."""
    found = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
    return {name: _read(path) for name, path in found.items() if path.suffix in KINDS}


def _read(path: Path) -> _File:
    data = path.read_bytes()
    tag = b'"%b"' % sha256(data).hexdigest()[:32].encode()
    return _File(KINDS[path.suffix], data, gzip.compress(data, mtime=0), tag)


async def _say(send: Send, status: int, sentence: str, *head: Header) -> None:
    body = orjson.dumps({"error": sentence})
    await _send(send, status, body, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
                *head)


async def _send(send: Send, status: int, body: bytes, *head: Header) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(head)})
    await send({"type": "http.response.body", "body": body})
