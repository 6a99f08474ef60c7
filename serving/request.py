"""What travels along the request line: the inference request, and the answer that a protocol renders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from serinus.serving.errors import Violation

__all__ = ["Answer", "InferenceRequest", "Referred", "is_request_id"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_request_id(text: str) -> bool:
    """Whether a client's id is fit for headers, the log and telemetry."""
    return _REQUEST_ID.fullmatch(text) is not None


class InferenceRequest(NamedTuple):
    """One call in domain words, the same for every protocol. Arrays are handed on, never copied.

    A named tuple for its price: it is made on every request.
    """

    inputs: Mapping[str, NDArray[Any]]
    """Named columns `[rows]` or tensors `[rows, …]` of the signature's types."""
    rows: int
    outputs: tuple[str, ...] | None = None
    """The outputs asked for; None means the model's default ones."""
    request_id: str | None = None
    """The client's own, out of the body; a header has precedence."""
    routing_key: str | None = None
    violations: tuple[Violation, ...] = ()
    """What was remarked without being refused."""
    reply: Any = None
    """What the protocol noted for its own answer: the form that the caller wants."""
    where: str = "$.{name}[{row}]"
    """The path of a value in the body, with `name`, `index` (of the input among those sent) and `row` to fill in."""
    block: NDArray[Any] | None = None
    """All inputs as one array `[inputs, rows]` in the signature's order, where the protocol has read them so."""
    counts: Mapping[str, int] | None = None
    """How many violations there are of each kind, where not all of them need be listed."""
    sent: Mapping[str, NDArray[Any]] | None = None
    """The inputs as they came, where some were clipped or imputed: monitors must see what is wrong with them."""
    prediction_keys: str | tuple[str | None, ...] | None = None
    """The caller's own keys, out of the body: one for all rows or one for each; a header has precedence."""


class Referred(NamedTuple):
    """A row whose answer a person should decide, and why."""

    row: int
    reason: str


class Answer(NamedTuple):
    """What a protocol needs to render an answer."""

    request: InferenceRequest
    outputs: Mapping[str, NDArray[Any]]
    model: str
    version: str
    role: str
    request_id: str
    prediction: str
    """Text of the request's UUID; a prediction id is this, `-`, the row's number."""
    referred: tuple[Referred, ...] | None = None
    """The rows that a person should decide; None where nobody asks for that."""
    novelty_p: tuple[float | None, ...] | None = None
    """Each row's novelty p-value, None for one that was not observed; None where nobody asked for them."""
