"""One SERVER span and one `predict` child for every request, at a few microseconds.

A request keeps its marks (Unix nanoseconds) and hands them over when its last byte has left; a thread encodes
them in batches and sends them by the standard OTLP exporter, which reads the standard `OTEL_*` variables. With no
endpoint configured there is no exporter, no thread and no noise, yet ids and context still travel. Where the user has
set a global TracerProvider, theirs is used instead, and never replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from random import getrandbits
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from serinus.serving.telemetry.exporter import open_exporter
from serinus.serving.telemetry.sdk_spans import SdkSpans
from serinus.serving.telemetry.span_queue import SpanQueue
from serinus.serving.telemetry.trace import SpanContextIds, Trace

__all__ = ["Tracing", "parse_traceparent"]

_SAGEMAKER = b"x-amzn-sagemaker-custom-attributes"
_CARRIED = re.compile(rb"traceparent=([0-9a-f-]{55})")


def parse_traceparent(header: bytes) -> tuple[int, int, bool] | None:
    """Trace id, parent id and sampled flag of a W3C `traceparent`; None when it is not a valid one."""
    parts = header.strip().split(b"-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == b"ff":
        return None
    if (parts[0] == b"00" and len(parts) != 4) or not b"".join(parts[:4]).isalnum() or header != header.lower():
        return None
    try:
        trace_id, parent_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    return (trace_id, parent_id, bool(flags & 1)) if trace_id and parent_id else None


class Sink(Protocol):
    """Where the traces of answered requests go."""

    def put(self, done: Trace) -> None:
        """Take one; never blocks."""

    def close(self, timeout_s: float) -> None:
        """Send what is left, for at most so many seconds."""


class Tracing:
    """Decides who is sampled, gives ids, and sends spans in the background.

    `environ` is the process's (standard `OTEL_*` variables); `resource` adds to what the SDK finds there.
    """

    def __init__(self, resource: Mapping[str, Any], *, enabled: bool = True,
                 on_counts: Callable[[int, int], None] = lambda exported, dropped: None) -> None:
        self.enabled = enabled and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        provider = TracerProvider(resource=Resource.create(dict(resource)), shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._always = _is_always_on(self._sampler)
        self._users = _users_spans() if self.enabled else None
        self._sink: Sink | None = self._users
        if self.enabled and self._users is None and (exporter := open_exporter()) is not None:
            self._sink = SpanQueue(exporter, provider.resource.attributes, on_counts)

    @property
    def exporting(self) -> bool:
        """Whether spans go anywhere."""
        return self._sink is not None

    def begin(self, headers: Mapping[bytes, bytes], route: str, started_ns: int) -> SpanContextIds | None:
        """Ids for a request that arrives, as child of the caller's span if there is one; None when switched off."""
        if not self.enabled:
            return None
        if self._users is not None:
            return self._users.begin(headers, route, started_ns)
        header = headers.get(b"traceparent") or (_carried(headers[_SAGEMAKER]) if _SAGEMAKER in headers else None)
        parent = parse_traceparent(header) if header else None
        trace_id, parent_id, parent_sampled = parent or (getrandbits(128) or 1, 0, True)
        sampled = parent_sampled if self._always else self._ask(trace_id, parent_id, parent_sampled, route)
        return SpanContextIds(trace_id, getrandbits(64) or 1, parent_id, sampled)

    def end(self, done: Trace) -> None:
        """The request is answered: its spans may go."""
        if self._sink is not None and done.ids.sampled:
            self._sink.put(done)

    def close(self, timeout_s: float = 3.0) -> None:
        """Send what is queued, for at most `timeout_s` seconds."""
        if self._sink is not None:
            self._sink.close(timeout_s)

    def _ask(self, trace_id: int, parent_id: int, parent_sampled: bool, route: str) -> bool:
        context = None
        if parent_id:
            flags = TraceFlags(TraceFlags.SAMPLED if parent_sampled else TraceFlags.DEFAULT)
            remote = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(NonRecordingSpan(remote))
        result = self._sampler.should_sample(context, trace_id, f"POST {route}", SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE


def _is_always_on(sampler: Any) -> bool:
    # The SDK's default, asked of thousands of requests a second: the answer is then the parent's flag.
    if not isinstance(sampler, ParentBased):
        return False
    description = sampler.get_description()  # type: ignore[no-untyped-call]
    return bool(description == ParentBased(ALWAYS_ON).get_description())  # type: ignore[no-untyped-call]


def _carried(attributes: bytes) -> bytes | None:
    """A traceparent in SageMaker's custom attributes: the only header of a client that reaches a container there."""
    found = _CARRIED.search(attributes)
    return found[1] if found else None


def _users_spans() -> SdkSpans | None:
    """Spans by the global provider, where somebody has set one."""
    provider = trace.get_tracer_provider()
    return SdkSpans(provider) if isinstance(provider, TracerProvider) else None
