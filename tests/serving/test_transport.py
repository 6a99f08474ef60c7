"""An answer is sent whole where uvicorn lets us, and is the same by either way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serinus.serving import transport
from serinus.serving.transport import send_whole

HEAD = b"content-type: text/plain\r\ncontent-length: 5\r\nx-request-id: 7\r\n"


async def ask(request: bytes, seen: list[bool]) -> bytes:
    """What a real uvicorn answers on one connection, with an application that answers by `send_whole`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        writes = []
        cycle = send.__self__
        write = cycle.transport.write
        cycle.transport = Counting(cycle.transport, writes)
        await send_whole(send, 200, HEAD, b"hello")
        cycle.transport.write = write
        seen.append(len(writes) == 1)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", http="httptools", access_log=False,
                                               log_level="error"))
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(request)
        answer = b""
        while answer.count(b"hello") < request.count(b"POST"):
            answer += await asyncio.wait_for(reader.read(4096), 5)
        writer.close()
        server.should_exit = True
        await serving
    return answer


class Counting:
    """A transport that notes each write."""

    def __init__(self, inner: Any, writes: list[bytes]) -> None:
        self._inner = inner
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._inner.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def test_uvicorn_lets_us_answer_in_one_write() -> None:
    """This pins the attributes of uvicorn that it leans on; two requests on one connection are both answered."""
    seen: list[bool] = []
    answer = asyncio.run(ask(POST + POST, seen))
    assert seen == [True, True]
    head = answer.split(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"HTTP/1.1 200 OK"
    assert {b"content-type: text/plain", b"content-length: 5", b"x-request-id: 7"} <= set(head)
    assert any(line.startswith(b"date: ") for line in head)


def test_a_connection_that_ends_is_answered_by_plain_asgi() -> None:
    """uvicorn then adds `connection: close` and closes it."""
    seen: list[bool] = []
    answer = asyncio.run(ask(POST.replace(b"Host", b"Connection: close\r\nHost"), seen))
    assert seen == [False]
    assert b"connection: close" in answer
    assert answer.endswith(b"hello")


def test_another_uvicorn_is_answered_by_plain_asgi(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the attributes are not there, nothing is lost but the shortcut."""
    slots = dict.fromkeys(("response_started", "keep_alive"))

    class Other:
        def __init__(self) -> None:
            self.messages: list[dict[str, Any]] = []
            self.__dict__ |= slots

        async def send(self, message: dict[str, Any]) -> None:
            self.messages.append(message)

    monkeypatch.setattr(transport, "RequestResponseCycle", Other)
    other = Other()
    send: Callable[[Any], Awaitable[None]] = other.send
    asyncio.run(send_whole(send, 200, HEAD, b"hello"))
    start, body = other.messages
    assert (b"x-request-id", b"7") in start["headers"]
    assert body["body"] == b"hello"
    assert RequestResponseCycle is not Other
