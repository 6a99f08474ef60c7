"""What one answered request leaves for its spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from opentelemetry import context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, set_span_in_context

from serinus.serving.telemetry import names

__all__ = ["Marks", "SpanContextIds", "Trace", "within"]

_Result = TypeVar("_Result")
_MASK64 = (1 << 64) - 1


class SpanContextIds(NamedTuple):
    """Where a request stands in its trace. `parent_id` is 0 when the trace began here."""

    trace_id: int
    span_id: int
    parent_id: int
    sampled: bool
    span: Span | None = None
    """The span that the user's own provider started, if there is one."""

    @property
    def traceparent(self) -> str:
        """The W3C header that a callee or caller is given."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.sampled else '00'}"


class Marks(NamedTuple):
    """When a request passed each stage, in their order. 0: it did not."""

    started_ns: int
    parsed_ns: int
    validated_ns: int
    routed_ns: int
    predict_started_ns: int
    predict_ended_ns: int
    rendered_ns: int
    recorded_ns: int


class Trace(NamedTuple):
    """What one answered request leaves for its two spans. Times are Unix nanoseconds."""

    ids: SpanContextIds
    method: str
    path: str
    route: str
    protocol_version: str
    status: int
    error_type: str
    model: str
    version: str
    role: str
    reason: str
    """Why this version answered: OpenTelemetry's feature-flag reasons (static, split, targeting_match, …)."""
    request_id: str
    prediction_id: str
    rows: int
    batch_rows: int
    """Rows of the call that this request shared; 0 when it ran by itself."""
    violations: int
    detail: str
    """Why the stages are told one by one: error, violation, candidate, slow or sample; empty when they are not."""
    marks: Marks
    ended_ns: int
    steps: tuple[tuple[str, int], ...] = ()
    """The steps inside the model's call: name, and when it ended."""
    novelty_p: float | None = None
    """The smallest of the rows'; None where nothing is compared."""
    drift: str = ""
    """Where the version's stream stands."""

    @property
    def predict_ended_ns(self) -> int:
        """When the model's call ended, or this request's patience with it."""
        return self.marks.predict_ended_ns or self.ended_ns

    @property
    def predict_id(self) -> int:
        """Span id of the `predict` child."""
        return self.ids.span_id ^ (self.ids.trace_id & _MASK64) or 1

    @property
    def spans(self) -> int:
        """How many spans it makes."""
        predicted = bool(self.model and self.marks.predict_started_ns)
        return 1 + predicted + sum(1 for _ in self.inner_steps()) + sum(1 for _ in self.stages())

    def inner_steps(self) -> Iterator[tuple[str, int, int]]:
        """Name, start and end of each step of the model, if the request is interesting; the last one is `predict`."""
        started = self.marks.predict_started_ns
        if not self.detail or not self.steps or not started:
            return
        for step, ended in (*self.steps, ("predict", self.predict_ended_ns)):
            yield f"step {step}", started, max(started, ended)
            started = max(started, ended)

    def stages(self) -> Iterator[tuple[str, int, int, bool]]:
        """Name, start, end and failure of each stage besides `predict` that the request reached, if it is interesting;
        the one where it failed lasts to the end."""
        if not self.detail:
            return
        marks, failed = self.marks, bool(self.error_type)
        ends = (marks.parsed_ns, marks.validated_ns, marks.routed_ns, marks.predict_started_ns, marks.rendered_ns,
                marks.recorded_ns, 0 if failed else self.ended_ns)
        started = marks.started_ns
        for stage, ended in zip(names.STAGES, ends, strict=True):
            if not ended and failed:
                yield stage, started, self.ended_ns, True
                return
            if ended:
                yield stage, started, max(started, ended), False
                started = max(started, ended)
            if stage == "queue" and ended:
                started = self.predict_ended_ns
                if failed and not marks.rendered_ns:  # the model's call failed, and its span says so
                    return


def within(ids: SpanContextIds, function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a function with the request's span as the current one: its own spans become children, its log lines know
    the trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if ids.sampled else TraceFlags.DEFAULT)
    span = ids.span or NonRecordingSpan(SpanContext(ids.trace_id, ids.span_id, is_remote=False, trace_flags=flags))
    token = context.attach(set_span_in_context(span))
    try:
        return function(*arguments)
    finally:
        context.detach(token)
