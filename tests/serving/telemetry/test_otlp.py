"""What we encode by hand is what OpenTelemetry's own encoder gives for the same spans."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serinus import __version__
from serinus.serving.telemetry import Marks, Trace
from serinus.serving.telemetry.encoder import TraceEncoder
from serinus.serving.telemetry.otlp import (
    INTERNAL,
    SERVER,
    SpanTemplate,
    attribute,
    decode,
    double_attribute,
    envelope,
    integer_attribute,
    request_body,
    string_attribute,
    string_key,
    varint,
)
from tests.serving.telemetry.traces import ANSWERED, DETAILED, FAILED, LONG, REFUSED, RESOURCE, SHARED, START, by_sdk


def encoded(*traces: Trace) -> Any:
    encoder = TraceEncoder()
    return decode(request_body(envelope(RESOURCE, __version__), map(encoder.encode, traces)))


def attributes(fields: Any) -> dict[str, Any]:
    found = {field.key: field.value for field in fields}
    assert len(found) == len(fields)
    return found


def fields(span: Span) -> dict[str, Any]:
    """Everything that a span says, with attributes in any order; the low byte of its flags apart."""
    shown = {descriptor.name: getattr(span, descriptor.name) for descriptor in span.DESCRIPTOR.fields}
    return shown | {"attributes": attributes(span.attributes), "flags": span.flags & ~0xFF}


@pytest.mark.parametrize("done", [ANSWERED, FAILED, REFUSED, LONG, SHARED],
                         ids=["answered", "failed", "refused", "long", "shared"])
def test_our_spans_are_the_sdks(done: Trace) -> None:
    """Every field of both spans, the resource and the scope, decoded by OpenTelemetry's own classes."""
    (ours,) = encoded(done).resource_spans
    spans = ours.scope_spans[0].spans
    (theirs,) = by_sdk(done, int.from_bytes(spans[-1].span_id)).resource_spans
    assert [fields(span) for span in spans] == [fields(span) for span in theirs.scope_spans[0].spans]
    assert attributes(ours.resource.attributes) == attributes(theirs.resource.attributes)
    scope, other = ours.scope_spans[0].scope, theirs.scope_spans[0].scope
    assert (scope.name, scope.version) == (other.name, other.version)


def test_the_flags_say_sampled() -> None:
    """The SDK leaves the W3C flags out of its low byte; the protocol has them there."""
    server, predict = encoded(ANSWERED).resource_spans[0].scope_spans[0].spans
    assert (server.flags, predict.flags) == (0x301, 0x101)


def test_the_predict_span_is_a_child_of_its_own() -> None:
    """Same trace, its parent the server span, an id that is neither its nor the caller's."""
    server, predict = encoded(ANSWERED).resource_spans[0].scope_spans[0].spans
    assert predict.trace_id == server.trace_id
    assert predict.parent_span_id == server.span_id
    assert predict.span_id not in (server.span_id, server.parent_span_id, bytes(8))
    assert (
        server.start_time_unix_nano
        <= predict.start_time_unix_nano
        < predict.end_time_unix_nano
        <= server.end_time_unix_nano
    )


def stages(done: Trace) -> list[tuple[str, int, int, bool]]:
    """Name, start and end after the request's start in µs, and whether it failed, of all spans but the first."""
    server, *others = encoded(done).resource_spans[0].scope_spans[0].spans
    assert {span.parent_span_id for span in others} == {server.span_id}
    assert len({span.span_id for span in others}) == len(others)
    return [(span.name, (span.start_time_unix_nano - START) // 1000, (span.end_time_unix_nano - START) // 1000,
             span.status.code == 2) for span in others]


def test_an_interesting_request_tells_every_stage() -> None:
    """One after the other, without a gap, around the model's own call."""
    assert stages(DETAILED) == [
        ("predict wine", 30, 230, False), ("parse", 0, 15, False), ("validate", 15, 20, False),
        ("route", 20, 25, False), ("queue", 25, 30, False), ("render", 230, 260, False),
        ("record", 260, 280, False), ("respond", 280, 300, False)]
    server = encoded(DETAILED).resource_spans[0].scope_spans[0].spans[0]
    assert attributes(server.attributes)["serinus.detail"].string_value == "candidate"


def test_an_interesting_request_tells_the_models_steps() -> None:
    """As children of `predict`, one after the other up to its end; other requests do not."""
    steps = (("scale", START + 90_000), ("encode", START + 130_000))
    told = DETAILED._replace(steps=steps)
    server, predict, *others = encoded(told).resource_spans[0].scope_spans[0].spans
    inner = [span for span in others if span.parent_span_id == predict.span_id]
    assert [(span.name, (span.start_time_unix_nano - START) // 1000, (span.end_time_unix_nano - START) // 1000)
            for span in inner] == [("step scale", 30, 90), ("step encode", 90, 130), ("step predict", 130, 230)]
    assert len([span for span in others if span.parent_span_id == server.span_id]) == 7
    assert len(encoded(told._replace(detail="")).resource_spans[0].scope_spans[0].spans) == 2


NOTHING = Marks(START, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("marks", "told"), [
    (NOTHING, [("parse", 0, 300, True)]),
    (NOTHING._replace(parsed_ns=START + 10_000), [("parse", 0, 10, False), ("validate", 10, 300, True)]),
    (DETAILED.marks._replace(rendered_ns=0, recorded_ns=0),
     [("predict wine", 30, 230, True), ("parse", 0, 15, False), ("validate", 15, 20, False), ("route", 20, 25, False),
      ("queue", 25, 30, False)]),
    (DETAILED.marks._replace(recorded_ns=0),
     [("predict wine", 30, 230, True), ("parse", 0, 15, False), ("validate", 15, 20, False), ("route", 20, 25, False),
      ("queue", 25, 30, False), ("render", 230, 260, False), ("record", 260, 300, True)]),
])
def test_the_stage_that_failed_lasts_to_the_end(marks: Marks, told: list[tuple[str, int, int, bool]]) -> None:
    """It carries the error; what came after it did not happen."""
    assert stages(DETAILED._replace(marks=marks, error_type="invalid_input", detail="error")) == told


@pytest.mark.parametrize("done", [
    ANSWERED, DETAILED, DETAILED._replace(steps=(("scale", START + 90_000),)),
    DETAILED._replace(marks=NOTHING, error_type="invalid_input", detail="error")])
def test_a_trace_knows_how_many_spans_it_makes(done: Trace) -> None:
    """What is counted as exported or dropped is what would have arrived."""
    assert done.spans == len(encoded(done).resource_spans[0].scope_spans[0].spans)


def test_without_a_prediction_log_nothing_is_recorded() -> None:
    """The stage is left out."""
    names = [name for name, *_ in stages(DETAILED._replace(marks=DETAILED.marks._replace(recorded_ns=0)))]
    assert names == ["predict wine", "parse", "validate", "route", "queue", "render", "respond"]


def test_many_requests_share_a_body() -> None:
    """One resource, one scope, all spans in order; templates of other statuses do not mix."""
    traces = [ANSWERED, REFUSED, FAILED, ANSWERED._replace(request_id="b")]
    (scope,) = encoded(*traces).resource_spans[0].scope_spans
    assert [span.name for span in scope.spans] == [
        "POST /predict/{model}",
        "predict wine",
        "POST /predict/{model}",
        "POST /predict/{model}",
        "predict wine",
        "POST /predict/{model}",
        "predict wine",
    ]
    ids = [
        attributes(span.attributes)["serinus.request.id"].string_value for span in scope.spans if span.kind == SERVER
    ]
    assert ids == ["order-17", "order-17", "order-17", "b"]


def test_an_empty_body_is_a_body() -> None:
    """Nobody sends it, but it is valid."""
    assert len(encoded().resource_spans[0].scope_spans[0].spans) == 0


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_protobufs(value: int) -> None:
    """Seven bits a byte, the lowest first."""
    span = Span.FromString(b"\x50" + varint(value))  # field 10, dropped_attributes_count: the low 32 bits
    assert span.dropped_attributes_count == value & 0xFFFF_FFFF


@given(st.text(min_size=1), st.text(st.characters()) | st.integers(0, 2**63 - 1) | st.floats(allow_nan=False))
def test_any_attribute_comes_back(name: str, value: str | int | float) -> None:
    """Of any length; what UTF-8 cannot say is replaced, and nothing is raised on the exporter's thread."""
    name = name.encode("utf-8", "replace").decode()
    (found,) = Span.FromString(attribute(name, value)).attributes
    assert found.key == name
    wanted = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
    assert found.value.WhichOneof("value") == kind
    assert getattr(found.value, kind) == wanted


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 16_382, 16_383, 16_384, 70_000])
def test_lengths_are_right_at_every_border(length: int) -> None:
    """Where a length needs another byte, inside and outside."""
    template = SpanTemplate("n" * length, INTERNAL, {"k" * (length + 1): "v" * length}, error=True)
    more = (
        string_attribute(string_key("t"), "x" * length)
        + integer_attribute(string_key("i"), length)
        + double_attribute(string_key("d"), 0.5)
    )
    data = template.encode(b"t" * 16, b"s" * 8, b"", 1, 2, more)
    body = decode(request_body(envelope({}, "1"), [data, data]))
    first, second = body.resource_spans[0].scope_spans[0].spans
    assert first == second
    assert (len(first.name), first.status.code, first.parent_span_id) == (length, 2, b"")
    found = attributes(first.attributes)
    assert len(found["k" * (length + 1)].string_value) == len(found["t"].string_value) == found["i"].int_value == length
