"""Sends a small answer whole, in one write, where uvicorn's httptools server is underneath; by plain ASGI elsewhere.

uvicorn looks at every header of every answer with two regular expressions and writes head and body apart: a seventh
of what a small prediction costs. Our headers are made here and are known to be clean. What this leans on are uvicorn's
own attributes; a test pins them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["send_whole"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
except ImportError:
    STATUS_LINE, RequestResponseCycle = {}, None  # type: ignore[misc, assignment]


async def send_whole(send: Send, status: int, head: bytes, body: bytes) -> None:
    """Answer a request that is not HEAD. `head` holds whole header lines ended by CR LF, Content-Length included."""
    cycle = getattr(send, "__self__", None)
    if type(cycle) is RequestResponseCycle and _send_at_once(cycle, status, head, body):
        return
    headers = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n") if line]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _send_at_once(cycle: Any, status: int, head: bytes, body: bytes) -> bool:
    """False, and nothing done, when something special is going on with the connection, or uvicorn has changed."""
    try:
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or cycle.access_log:
            return False
        if not cycle.keep_alive:
            return False
        write, received, end = cycle.transport.write, cycle.message_event, cycle.on_response
        lines = STATUS_LINE[status], _common(cycle.default_headers), head, b"\r\n", body
    except (AttributeError, KeyError):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    write(b"".join(lines))
    received.set()
    end()
    return True


_last: tuple[Any, bytes] = (None, b"")


def _common(headers: list[tuple[bytes, bytes]]) -> bytes:
    """uvicorn's own headers (the date), which it makes anew once a second, as lines."""
    global _last
    if _last[0] is not headers:
        _last = headers, b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return _last[1]
