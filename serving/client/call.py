"""One call of a server as a value: what to send, how its answer is read, and when it may be sent again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import orjson

from serinus.serving.client.errors import Refused, refusal
from serinus.serving.errors import Violation

__all__ = ["Call", "Reply", "Resend", "get", "post"]

T = TypeVar("T")


class Resend(StrEnum):
    """When a call that did not succeed may be sent again by itself."""

    ALWAYS = "always"
    """Doing it twice comes to the same: reads, predictions under one request id, ground truth."""
    REFUSED = "refused"
    """Doing it twice counts twice, but a server that answers 429 or 503 has not done it: events."""
    UNSENT = "unsent"
    """Doing it twice does more: only where no connection came about. Whatever changes a rollout."""
    NEVER = "never"
    """Not to be reached is an answer too: whether the server is ready."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value. Raises `Refused` where it has none, as no Serinus server answers."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Refused(f"The answer ({self.status}) is not JSON, which no Serinus server sends: check the address.",
                          self.status) from None

    def error(self) -> Refused:
        """The error that this reply is, with the server's own sentence."""
        wait = self.headers.get("retry-after", "")
        try:
            document = self.json()
            told = str(document.get("detail") or document.get("error") or document["message"])
            violations = tuple(Violation(**found) for found in document.get("violations", ()))
        except (Refused, KeyError, TypeError, AttributeError):
            told, violations = f"The server answered {self.status} without a sentence of its own.", ()
        return refusal(self.status)(told, self.status, self.headers.get("x-request-id", ""), violations,
                                    float(wait) if wait.isdigit() else None)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`read` makes of a good reply what the caller gets."""

    method: str
    path: str
    read: Callable[[Reply], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    resend: Resend = Resend.UNSENT

    def result(self, reply: Reply) -> T:
        """What the caller gets. Raises `Refused` for an error, or for a document that is none of a server's."""
        if reply.status >= 400:
            raise reply.error()
        try:
            return self.read(reply)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"{self.method} {self.path} was answered in a form that this client does not know "
                          f"({type(error).__name__}: {error}): check the address, and the server's release.",
                          reply.status) from None


def get(path: str, read: Callable[[Any], T]) -> Call[T]:
    """A look at a JSON document."""
    return Call("GET", path, lambda reply: read(reply.json()), resend=Resend.ALWAYS)


def post(path: str, document: Any, read: Callable[[Any], T], resend: Resend = Resend.UNSENT) -> Call[T]:
    """A JSON document for a JSON document."""
    return Call("POST", path, lambda reply: read(reply.json()), orjson.dumps(document),
                {"content-type": "application/json"}, resend)
