"""With a user's own provider: the same spans, by their sampler, processors and exporters."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from serinus.serving.telemetry import Trace
from serinus.serving.telemetry.encoder import TraceEncoder
from serinus.serving.telemetry.otlp import decode, envelope, request_body
from serinus.serving.telemetry.sdk_spans import SdkSpans
from tests.serving.telemetry.traces import ANSWERED, DETAILED, FAILED, REFUSED, SHARED

ROOT = Path(__file__).parents[3]
STEPS = DETAILED._replace(steps=(("scale", DETAILED.marks.predict_started_ns + 50_000),))
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8-01"

# A program that has set up its own OpenTelemetry before it serves; prints what its exporter saw.
USERS_PROGRAM = """
import asyncio, json
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from serinus.models import wrap
from serinus.serving import create_app
from tests.serving.asgi import PEOPLE, ROW

def predict(frame):
    with trace.get_tracer("mine").start_as_current_span("look up"):
        return frame["visits"].to_numpy(dtype=float)

async def main():
    app = create_app({"people": wrap(predict, signature=PEOPLE)})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for _ in range(2):
            answer = await client.post("/predict", json={"rows": [ROW]}, headers={"traceparent": "%s"})
            print(answer.status_code, answer.headers["traceparent"])
    app.close()
    assert trace.get_tracer_provider() is provider
    for span in exporter.get_finished_spans():
        print(span.name, f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}",
              f"{span.parent.span_id:016x}" if span.parent else "-")

asyncio.run(main())
"""


def spans_of(done: Trace) -> list[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = SdkSpans(provider)
    ids = spans.begin({b"traceparent": PARENT}, done.route, done.marks.started_ns)
    spans.put(done._replace(ids=ids))
    return sorted(exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.name))


def described(name: str, started: Any, ended: Any, kind: int, failed: bool, attributes: dict[str, Any]) -> Any:
    return name, started, ended, kind, failed, attributes


@pytest.mark.parametrize("done", [ANSWERED, FAILED, REFUSED, SHARED, DETAILED, STEPS])
def test_they_say_what_ours_say(done: Trace) -> None:
    """Names, times, kinds, statuses and attributes of all spans, beside those that we encode ourselves."""
    theirs = [described(span.name, span.start_time, span.end_time, span.kind.value + 1,
                        span.status.status_code.value == 2, dict(span.attributes or {})) for span in spans_of(done)]
    (scope,) = decode(request_body(envelope({}, "1"), [TraceEncoder().encode(done)])).resource_spans[0].scope_spans
    ours = [described(span.name, span.start_time_unix_nano, span.end_time_unix_nano, span.kind, span.status.code == 2,
                      {field.key: getattr(field.value, field.value.WhichOneof("value")) for field in span.attributes})
            for span in scope.spans]
    assert theirs == sorted(ours, key=lambda span: (span[1], span[0]))


def test_the_callers_span_is_the_parent() -> None:
    """By the propagators that the user has chosen."""
    (server,) = [span for span in spans_of(ANSWERED) if span.name.startswith("POST")]
    assert server.parent is not None and server.context is not None
    assert f"{server.context.trace_id:032x}-{server.parent.span_id:016x}" == PARENT.decode()[3:52]


def test_their_sampler_decides() -> None:
    """What it does not sample is not recorded, and is passed on as not sampled."""
    ids = SdkSpans(TracerProvider(sampler=ALWAYS_OFF)).begin({}, "/predict", 1)
    assert not ids.sampled and ids.traceparent.endswith("-00")


class Stuck(SpanExporter):
    """A backend that takes a connection and never answers."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.released.wait(60)
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("exporter", [InMemorySpanExporter(), Stuck()])
def test_what_their_processor_holds_is_sent_at_the_end(exporter: SpanExporter) -> None:
    """A worker ends by a signal, which runs no exit handlers; a backend that hangs holds the end up no longer than
    said."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    spans = SdkSpans(provider)
    spans.put(ANSWERED._replace(ids=spans.begin({}, ANSWERED.route, 1)))
    began = time.monotonic()
    spans.close(0.3 if isinstance(exporter, Stuck) else 20)
    assert time.monotonic() - began < 10
    if isinstance(exporter, Stuck):
        exporter.released.set()
    else:
        assert isinstance(exporter, InMemorySpanExporter) and len(exporter.get_finished_spans()) == 2


def test_a_users_program_gets_our_spans_and_keeps_its_provider() -> None:
    """Their provider sees SERVER and `predict` spans; spans that a function makes are children of its request's."""
    program = USERS_PROGRAM % PARENT.decode()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    answers, spans = done.stdout.splitlines()[:2], [line.rsplit(" ", 3) for line in done.stdout.splitlines()[2:]]
    assert all(line.startswith("200 00-4bf92f3577b34da6a3ce929d0e0e4736-") for line in answers)
    servers = [span_id for name, _, span_id, _ in spans if name == "POST /predict"]
    assert servers == [line.split("-")[2] for line in answers]
    for name in ("predict people", "look up"):
        assert [parent for other, _, _, parent in spans if other == name and parent != "-"] == servers  # "-": warm-up
