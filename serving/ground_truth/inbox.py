"""Takes ground truth in over HTTP: reads the body, answers at once, and leaves the rest to the steward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from serinus.serving.errors import ControlRefused
from serinus.serving.expectations import deployment_key
from serinus.serving.ground_truth.outcomes import BodyUnreadable, read_body
from serinus.serving.ground_truth.spool import Spool, SpoolError
from serinus.serving.home import Home
from serinus.serving.settings import Settings

__all__ = ["Inbox"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Inbox:
    """Where one worker takes ground truth in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.ground_truth
        self._home = Home(settings.home)
        self._spool = Spool(self._home.spool, self._settings.spool_bytes)

    async def take(self, headers: Mapping[bytes, bytes], receive: Receive) -> dict[str, Any]:
        """Take one body; how many outcomes were accepted, and why others were not. Raises `ControlRefused`."""
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise ControlRefused("Ground truth is taken without Content-Encoding.", "unsupported")
        body = await self._read(receive)
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
        return await asyncio.to_thread(self._keep, body, media_type)  # a large one takes a while

    def end_file(self) -> None:
        """Let go of the file that is written; what comes later begins another one."""
        self._spool.close()

    def _keep(self, body: bytes, media_type: str) -> dict[str, Any]:
        try:
            secret = deployment_key(self._home.path)
            intake = read_body(body, media_type, time.time(), self._settings.rows, secret)
            if intake.rows:
                self._spool.append(intake.rows)
        except BodyUnreadable as error:
            raise ControlRefused(str(error), "invalid") from None
        except SpoolError as error:
            raise ControlRefused(str(error), "unavailable") from None
        return intake.answer()

    async def _read(self, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ControlRefused("The client went away before its body was whole.", "invalid")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._settings.body_bytes:
                raise ControlRefused(f"The body is over ground_truth.body_bytes, {self._settings.body_bytes:,}. "
                                     "Send it in parts.", "invalid")
            if not message.get("more_body"):
                return b"".join(parts)
