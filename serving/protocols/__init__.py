"""The seam to wire formats: bytes to an inference request, an answer or an error to bytes.

A protocol is one object with three methods (`Protocol`); it knows HTTP status codes, nothing behind it does.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping

from serinus.models.signature import Signature
from serinus.serving.errors import RequestError
from serinus.serving.request import Answer, InferenceRequest

__all__ = ["STATUS", "ErrorAnswer", "Headers", "Protocol", "Rendered"]

Headers = Mapping[bytes, bytes]
"""A request's headers, names in lower case."""


class Rendered(typing.NamedTuple):
    """The body of a successful answer. `head` holds further header lines, each ended by CR LF."""

    body: bytes
    content_type: bytes = b"application/json"
    head: bytes = b""


class ErrorAnswer(typing.NamedTuple):
    """An error as a protocol says it."""

    status: int
    content_type: bytes
    body: bytes


class Protocol(typing.Protocol):
    """One wire format."""

    name: str
    routes: tuple[str, ...]
    """Templates of the paths that it answers, with `{model}` and `{version}` where the path names them."""

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """The request in `body`. Raises `RequestError` (`InvalidRequest`, `InvalidInput`, …) with one sentence."""

    def render(self, answer: Answer) -> Rendered:
        """A successful answer, in the form that the request asked for (`InferenceRequest.reply`)."""

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """The body of a failed one."""


STATUS = {"invalid_request": 400, "invalid_input": 400, "unsupported_encoding": 415, "too_large": 413,
          "not_found": 404, "unavailable": 503, "overloaded": 429, "rate_limited": 429, "timeout": 504,
          "cancelled": 499, "unauthorised": 401, "prediction_failed": 500, "unrecorded": 503, "internal": 500}
"""HTTP status of each kind of request error, unless a protocol says otherwise."""
