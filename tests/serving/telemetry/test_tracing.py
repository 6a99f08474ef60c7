"""Who is sampled, and what becomes of the spans: sent, or counted as lost, and never in anybody's way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serinus.serving.telemetry import SpanContextIds, Tracing
from serinus.serving.telemetry.otlp import decode
from serinus.serving.telemetry.span_queue import SpanQueue
from serinus.serving.telemetry.tracing import parse_traceparent
from tests.serving.telemetry.traces import ANSWERED

VALID = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
IDS = (0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)


class Collector(ThreadingHTTPServer):
    """A real OTLP endpoint on loopback that keeps what it is sent, and answers `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[str]:
        requests = [decode(body) for body in self.bodies]
        return [
            span.name
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server = self.server
        assert isinstance(server, Collector)
        if server.status == 200:
            server.bodies.append(body)
        self.send_response(server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return monkeypatch


def headers(traceparent: bytes | None) -> dict[bytes, bytes]:
    return {} if traceparent is None else {b"traceparent": traceparent}


def wait_for(condition, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


# traceparent


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (VALID, True),
        (VALID[:-2] + b"00", False),
        (VALID[:-2] + b"03", True),
        (VALID[:-2] + b"02", False),
        (b" " + VALID + b" ", True),
        (b"01" + VALID[2:], True),
        (b"cc" + VALID[2:] + b"-what-ever", True),
    ],
)
def test_a_valid_traceparent(header: bytes, sampled: bool) -> None:
    """A future version may have more parts; of the flags only the first bit is known."""
    assert parse_traceparent(header) == (*IDS, sampled)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"rubbish",
        VALID.upper(),
        VALID[:-3],
        VALID + b"-00",
        VALID + b"0",
        b"ff" + VALID[2:],
        VALID[1:],
        b"00-" + b"0" * 32 + VALID[35:],
        VALID[:36] + b"0" * 16 + b"-01",
        VALID.replace(b"4bf9", b"4bg9"),
        VALID.replace(b"4bf9", b"4b 9"),
        VALID.replace(b"4bf9", b"4b_9"),
        VALID.replace(b"-", b"_"),
        VALID[:-2] + b"0x",
        b"\xff" * 55,
        VALID.replace(b"4bf92f", b"+bf92f"),
        b"cc" + VALID[2:] + b"what",
    ],
)
def test_an_invalid_traceparent(header: bytes) -> None:
    """Starts a new trace, as the recommendation says; upper case and zeros are not valid."""
    assert parse_traceparent(header) is None


def test_what_is_sent_on_is_valid() -> None:
    """And says the same."""
    for sampled in (True, False):
        ids = SpanContextIds(*IDS, 5, sampled)
        assert parse_traceparent(ids.traceparent.encode()) == (*IDS, sampled)


# Sampling


def share(tracing: Tracing, header: bytes | None = None) -> float:
    found = [tracing.begin(headers(header), "/predict", 1) for _ in range(2000)]
    assert all(ids is not None for ids in found)
    return sum(ids.sampled for ids in found if ids is not None) / 2000


@pytest.mark.parametrize(
    ("sampler", "argument", "alone", "under_sampled", "under_unsampled"),
    [
        (None, None, 1, 1, 0),
        ("always_on", None, 1, 1, 1),
        ("always_off", None, 0, 0, 0),
        ("parentbased_always_on", None, 1, 1, 0),
        ("parentbased_always_off", None, 0, 1, 0),
        ("traceidratio", "0.25", 0.25, None, None),
        ("parentbased_traceidratio", "0.25", 0.25, 1, 0),
    ],
)
def test_the_standard_samplers_decide(
    environ: pytest.MonkeyPatch,
    sampler: str | None,
    argument: str | None,
    alone: float,
    under_sampled: float | None,
    under_unsampled: float | None,
) -> None:
    """Asked before a request is answered, with the caller's decision where there is one."""
    if sampler:
        environ.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument:
        environ.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    tracing = Tracing({})
    assert share(tracing) == pytest.approx(alone, abs=0.05 if argument else 0)
    if under_sampled is not None:
        assert share(tracing, VALID) == under_sampled
        assert share(tracing, VALID[:-2] + b"00") == under_unsampled


def test_a_ratio_is_of_the_trace_not_of_the_span(environ: pytest.MonkeyPatch) -> None:
    """All services decide alike about one trace."""
    environ.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    environ.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    assert share(Tracing({}), VALID) in (0, 1)


def test_ids_are_new_and_never_zero() -> None:
    """A trace begins here, or goes on with the caller as parent."""
    tracing = Tracing({})
    found = [tracing.begin({}, "x", 1) for _ in range(500)]
    assert len({ids.trace_id for ids in found if ids}) == len({ids.span_id for ids in found if ids}) == 500
    assert all(ids and ids.trace_id and ids.span_id and ids.parent_id == 0 for ids in found)
    child = tracing.begin(headers(VALID), "x", 1)
    assert child is not None and (child.trace_id, child.parent_id) == IDS
    assert child.span_id != IDS[1]


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {}])
def test_switched_off_is_off(environ: pytest.MonkeyPatch, off: dict[str, str], collector: Collector) -> None:
    """By our setting, or by the standard variable."""
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    for name, value in off.items():
        environ.setenv(name, value)
    tracing = Tracing({}, enabled=bool(off))
    assert tracing.begin(headers(VALID), "x", 1) is None
    assert not tracing.exporting


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}]
)
def test_without_an_endpoint_there_is_no_exporter(environ: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """No thread and no noise; ids are still given."""
    for name, value in variables.items():
        environ.setenv(name, value)
    before = threading.active_count()
    tracing = Tracing({})
    tracing.end(ANSWERED)
    assert not tracing.exporting
    assert threading.active_count() == before
    assert tracing.begin({}, "x", 1) is not None
    tracing.close()


def test_an_exporter_that_is_not_there_is_said(environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Rather than silently replaced."""
    environ.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert not Tracing({}).exporting
    assert "OTEL_TRACES_EXPORTER=zipkin is not supported" in caplog.text


# Sending


def test_spans_arrive(environ: pytest.MonkeyPatch, collector: Collector) -> None:
    """By the standard exporter at the standard variables; unsampled ones stay here; what was sent is counted."""
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    counts: list[tuple[int, int]] = []
    tracing = Tracing({"service.name": "t"}, on_counts=lambda *both: counts.append(both))
    assert tracing.exporting
    for _ in range(3):
        tracing.end(ANSWERED)
    tracing.end(ANSWERED._replace(ids=ANSWERED.ids._replace(sampled=False)))
    tracing.close()
    assert sorted(collector.spans()) == ["POST /predict/{model}"] * 3 + ["predict wine"] * 3
    assert counts[-1] == (6, 0)


def test_a_quiet_server_sends_what_it_has(environ: pytest.MonkeyPatch, collector: Collector) -> None:
    """After the delay, not only when a batch is full."""
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    tracing = Tracing({})
    tracing.end(ANSWERED)
    wait_for(lambda: len(collector.spans()) == 2)
    tracing.close()


def test_a_dead_collector_costs_nothing_but_its_spans(
    environ: pytest.MonkeyPatch, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused connections: put does not wait, each loss is counted, one line says so and one that it is over."""
    counts: list[tuple[int, int]] = []
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        environ.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
        tracing = Tracing({}, on_counts=lambda *both: counts.append(both))
        for number in range(3):
            started = time.monotonic()
            for _ in range(100):
                tracing.end(ANSWERED)
            assert time.monotonic() - started < 2
            wait_for(lambda number=number: bool(counts) and counts[-1] == (0, 200 * (number + 1)))
        started = time.monotonic()
        tracing.close()
        assert time.monotonic() - started < 3.5
    lines = [record.message for record in caplog.records if record.name == "serinus.telemetry"]
    (line,) = lines
    assert line.startswith("The OpenTelemetry backend does not take spans; answers are not affected. The exporter ")


def test_the_end_of_an_outage_is_said_once(caplog: pytest.LogCaptureFixture, environ: pytest.MonkeyPatch) -> None:
    """With what was lost; the next outage is a new one."""
    answers = iter([False, False, True, True, False])
    sent: list[bytes] = []

    def send(body: bytes) -> bool:
        sent.append(body)
        return next(answers, True)

    queue = SpanQueue(send, {}, lambda *_: None)
    for number in range(5):
        queue.put(ANSWERED)
        wait_for(lambda number=number: len(sent) > number)
        wait_for(lambda number=number: queue.exported + queue.dropped == 2 * (number + 1))
    queue.close(1)
    assert (queue.exported, queue.dropped) == (4, 6)
    assert [record.message for record in caplog.records] == [
        "The OpenTelemetry backend does not take spans; answers are not affected.",
        "The OpenTelemetry backend takes spans again; 4 were lost.",
        "The OpenTelemetry backend does not take spans; answers are not affected.",
    ]


def test_a_full_queue_loses_the_oldest_and_counts_them(environ: pytest.MonkeyPatch) -> None:
    """While a batch is on its way nothing waits; every span is either sent or counted."""
    environ.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    environ.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    go, sending, bodies = threading.Event(), threading.Event(), []

    def send(body: bytes) -> bool:
        sending.set()
        go.wait(5)
        bodies.append(body)
        return True

    counts: list[tuple[int, int]] = []
    queue = SpanQueue(send, {}, lambda *both: counts.append(both))
    queue.put(ANSWERED)
    assert sending.wait(5)
    started = time.monotonic()
    for number in range(100):
        queue.put(ANSWERED._replace(request_id=f"r{number}"))
    assert time.monotonic() - started < 2
    go.set()
    queue.close(5)
    ids = [
        field.value.string_value
        for body in bodies
        for span in decode(body).resource_spans[0].scope_spans[0].spans
        for field in span.attributes
        if field.key == "serinus.request.id"
    ]
    assert ids == ["order-17", *(f"r{number}" for number in range(90, 100))]
    assert counts[-1] == (22, 180)


def test_a_collector_that_never_answers_does_not_hold_up_the_end(
    environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts the connection and then nothing: closing takes its time and no more, and says what is lost."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracing = Tracing({})
        for _ in range(2000):
            tracing.end(ANSWERED)
        time.sleep(0.05)
        started = time.monotonic()
        tracing.close(0.3)
        assert 0.25 < time.monotonic() - started < 2.5
    assert "did not take the last" in caplog.text


def test_an_exporter_that_raises_does_not_end_the_thread(environ: pytest.MonkeyPatch) -> None:
    """It is a guest here."""
    calls: list[bytes] = []

    def send(body: bytes) -> bool:
        calls.append(body)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return True

    queue = SpanQueue(send, {}, lambda *_: None)
    queue.put(ANSWERED)
    wait_for(lambda: queue.dropped == 2)
    queue.put(ANSWERED)
    wait_for(lambda: queue.exported == 2)
    queue.close(1)


def test_the_default_wait_at_the_end_is_three_seconds() -> None:
    """A shutdown is not held up by somebody else's machine."""
    assert Tracing.close.__defaults__ == (3.0,)


def test_the_context_may_come_in_sagemakers_attributes() -> None:
    """The only header of a client's that SageMaker passes on; a traceparent of its own goes first."""
    carried = {b"x-amzn-sagemaker-custom-attributes": b"team=a;traceparent=" + VALID}
    tracing = Tracing({})
    found = tracing.begin(carried, "/invocations", 1)
    assert found is not None and (found.trace_id, found.parent_id) == IDS
    other = VALID.replace(b"4bf9", b"5bf9")
    found = tracing.begin(carried | {b"traceparent": other}, "/invocations", 1)
    assert found is not None and f"{found.trace_id:032x}".startswith("5bf9")
    assert tracing.begin({b"x-amzn-sagemaker-custom-attributes": b"traceparent=none"}, "/", 1) is not None
