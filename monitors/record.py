"""The prediction record: what one answered request was, as log and monitors see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PredictionRecord"]


class PredictionRecord(NamedTuple):
    """One answered request: all its rows, with the arrays that the model took and gave (never copies).

    A named tuple, not a dataclass: it is made on every request and costs a third of a frozen dataclass.
    """

    prediction_uuid: bytes
    """16 bytes of a UUIDv7; a prediction id is its text form, `-`, and the row's number."""
    request_id: str
    """The client's if it gave a valid one; it may repeat."""
    received_ns: int
    """Unix time of arrival in nanoseconds."""
    duration_ns: int
    """From arrival until this record was made."""
    model: str
    version: str
    role: str
    """stable | candidate | shadow."""
    rows: int
    inputs: Mapping[str, NDArray[Any]]
    """Named columns `[rows]` or tensors `[rows, …]`, as the model saw them."""
    outputs: Mapping[str, NDArray[Any]]
    routing_key_hash: int
    """64 bits of the routing key's hash; 0 when the request had no key."""
    trace_id: int
    """128 bits; 0 when the request is not traced."""
    span_id: int
    violations: Mapping[str, int] | None = None
    """How many values broke an expectation, by its kind; None: none did."""
    novelty: NDArray[np.float64] | None = None
    """Each row's novelty p-value, NaN where it was not observed; None: no row was."""
